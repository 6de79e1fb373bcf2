package cell

import (
	"errors"
	"fmt"
	"strings"
)

// The Append functions append a message's body to b; the Decode functions take
// a body apart and return an ErrProtocol for anything that is not exactly one
// message within its bounds.

// AppendHello encodes h.
func AppendHello(b []byte, h Hello) []byte {
	e := encoder{b}
	e.int(int64(h.Protocol))
	e.string(h.Version)
	e.string(h.SeccompSHA256)
	for _, pid := range h.ForkServers {
		e.int(int64(pid))
	}
	e.bool(h.Doors)
	return e.b
}

// DecodeHello decodes a Hello.
func DecodeHello(body []byte) (Hello, error) {
	d := decoder{b: body}
	h := Hello{Protocol: d.int(), Version: d.string(), SeccompSHA256: d.string()}
	for i := range h.ForkServers {
		h.ForkServers[i] = d.int()
	}
	h.Doors = d.bool()
	return h, d.finish("hello")
}

// AppendProof encodes p.
func AppendProof(b []byte, p Proof) []byte {
	e := encoder{b}
	e.int(int64(p.UID))
	e.int(int64(p.GID))
	e.bool(p.NoNewPrivs)
	e.int(int64(p.SeccompMode))
	e.string(p.SeccompSHA256)
	for _, c := range []uint64{p.CapEffective, p.CapPermitted, p.CapInheritable, p.CapBounding, p.CapAmbient} {
		e.uint(c)
	}
	e.stringMap(p.Namespaces)
	return e.b
}

func (d *decoder) proof() Proof {
	return Proof{
		UID: d.int(), GID: d.int(), NoNewPrivs: d.bool(), SeccompMode: d.int(), SeccompSHA256: d.string(),
		CapEffective: d.uint(), CapPermitted: d.uint(), CapInheritable: d.uint(), CapBounding: d.uint(),
		CapAmbient: d.uint(), Namespaces: d.stringMap(),
	}
}

// DecodeProof decodes a Proof.
func DecodeProof(body []byte) (Proof, error) {
	d := decoder{b: body}
	p := d.proof()
	return p, d.finish("proof")
}

// AppendPrepared encodes p.
func AppendPrepared(b []byte, p Prepared) []byte {
	e := encoder{b}
	e.int(int64(p.Slot))
	e.int(int64(p.StagePID))
	e.int(int64(p.HolderPID))
	return AppendProof(e.b, p.Proof)
}

// DecodePrepared decodes a Prepared.
func DecodePrepared(body []byte) (Prepared, error) {
	d := decoder{b: body}
	p := Prepared{Slot: d.int(), StagePID: d.int(), HolderPID: d.int(), Proof: d.proof()}
	if p.Slot < 0 || p.Slot >= Slots {
		d.fail("no such slot")
	}
	return p, d.finish("prepared")
}

// AppendExec encodes x under the number seq of the call; Stdin, Control and Ready stay behind.
// A call with Ready may be let run by a door.
func AppendExec(b []byte, seq uint64, x Exec, door bool) []byte {
	e := encoder{b}
	e.uint(seq)
	e.strings(x.Argv)
	e.strings(x.Env)
	e.string(x.Cwd)
	e.int(int64(x.WallTime))
	for _, v := range []int64{x.OutputBytes, x.OutputTotalBytes, x.DiskBytes, x.FileBytes, x.OpenFiles, x.Pids} {
		e.int(v)
	}
	e.uint(uint64(x.Workspace))
	e.bool(x.Live)
	e.bool(x.Stdin != nil)
	e.bool(x.Ready != nil)
	e.bool(door)
	e.bool(x.Terminal != nil)
	if x.Terminal != nil {
		e.size(*x.Terminal)
	}
	e.bool(x.Next != nil)
	if x.Next != nil {
		return AppendStage(e.b, *x.Next)
	}
	return e.b
}

// AppendStage encodes s, the body of a Prepare.
func AppendStage(b []byte, s Stage) []byte {
	e := encoder{b}
	e.int(int64(s.Slot))
	e.uint(uint64(s.Workspace))
	e.int(s.DiskBytes)
	return e.b
}

func (d *decoder) stage() Stage {
	s := Stage{Slot: d.int()}
	kind := d.uint()
	s.DiskBytes = d.int64()
	if s.Slot < 0 || s.Slot >= Slots || kind > uint64(WorkspaceBelow) || kind == uint64(WorkspaceEmpty) || s.DiskBytes < 0 {
		d.fail("no such stage")
		return Stage{}
	}
	s.Workspace = WorkspaceKind(kind)
	return s
}

// DecodeStage decodes a Stage.
func DecodeStage(body []byte) (Stage, error) {
	d := decoder{b: body}
	s := d.stage()
	return s, d.finish("prepare")
}

// Request is an Exec as init gets it.
type Request struct {
	Exec            // without Stdin, Control and Ready
	Seq      uint64 // number of the call, carried by its Stdin, StdinClose, Release, Signal, Resize and Kill frames
	HasStdin bool   // whether Stdin frames and a StdinClose will come
	Hold     bool   // the program is not to be executed before a Release
	Door     bool   // a held program is let run by its slot's door, whether a Release comes or not
}

// DecodeExec decodes an Exec and checks it with Validate.
func DecodeExec(body []byte) (Request, error) {
	d := decoder{b: body}
	seq := d.uint()
	x := Exec{
		Argv: d.strings(), Env: d.strings(), Cwd: d.string(), WallTime: d.duration(),
		OutputBytes: d.int64(), OutputTotalBytes: d.int64(), DiskBytes: d.int64(), FileBytes: d.int64(), OpenFiles: d.int64(),
		Pids: d.int64(),
	}
	kind := d.uint()
	x.Live = d.bool()
	hasStdin, hold, door := d.bool(), d.bool(), d.bool()
	if d.bool() {
		size := d.size()
		x.Terminal = &size
	}
	if d.bool() {
		next := d.stage()
		x.Next = &next
	}
	if err := d.finish("exec"); err != nil {
		return Request{}, err
	}
	if door && (!hold || seq == 0) {
		return Request{}, fmt.Errorf("decode exec: a door for a program that nobody holds: %w", ErrProtocol)
	}
	if kind > uint64(WorkspaceBelow) {
		return Request{}, fmt.Errorf("decode exec: workspace kind %d: %w", kind, ErrProtocol)
	}
	x.Workspace = WorkspaceKind(kind)
	if err := x.Validate(); err != nil {
		return Request{}, fmt.Errorf("decode exec: %w: %w", err, ErrProtocol)
	}
	return Request{Exec: x, Seq: seq, HasStdin: hasStdin, Hold: hold, Door: door}, nil
}

// Validate says what is wrong with x, or nil.
func (x *Exec) Validate() error {
	switch {
	case len(x.Argv) == 0 || x.Argv[0] == "":
		return errors.New("argv is empty: name a program")
	case x.Cwd != "" && x.Cwd[0] != '/':
		return fmt.Errorf("cwd %q is relative: give an absolute path", x.Cwd)
	case strings.ContainsRune(x.Cwd, 0):
		return errors.New("cwd contains a NUL byte")
	case x.WallTime <= 0:
		return fmt.Errorf("wall time is %v: must be positive", x.WallTime)
	case x.OutputBytes <= 0 || x.OutputBytes > MaxOutputBytes:
		return fmt.Errorf("output bytes is %d: must be 1 to %d", x.OutputBytes, MaxOutputBytes)
	case x.DiskBytes <= 0:
		return fmt.Errorf("disk bytes is %d: must be positive", x.DiskBytes)
	case x.OutputTotalBytes < 0 || x.FileBytes < 0 || x.OpenFiles < 0 || x.Pids < 0:
		return fmt.Errorf("negative limit: output total %d, file bytes %d, open files %d, pids %d", x.OutputTotalBytes, x.FileBytes, x.OpenFiles, x.Pids)
	}
	for _, a := range x.Argv {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("argument %q contains a NUL byte", a)
		}
	}
	for _, kv := range x.Env {
		if strings.ContainsRune(kv, 0) {
			return errors.New("environment entry contains a NUL byte")
		}
		if strings.IndexByte(kv, '=') < 1 {
			return errors.New("environment entry is not of the form KEY=VALUE")
		}
	}
	return nil
}

// AppendStarted encodes s.
func AppendStarted(b []byte, s Started) []byte {
	e := encoder{b}
	e.int(s.OpenFiles)
	e.int(s.FileBytes)
	e.int(s.CoreBytes)
	e.int(s.Pids)
	e.intMap(s.DiskBytes)
	e.int(int64(s.WallTime))
	return e.b
}

// DecodeStarted decodes a Started.
func DecodeStarted(body []byte) (Started, error) {
	d := decoder{b: body}
	s := Started{
		OpenFiles: d.int64(), FileBytes: d.int64(), CoreBytes: d.int64(), Pids: d.int64(),
		DiskBytes: d.intMap(), WallTime: d.duration(),
	}
	return s, d.finish("started")
}

// AppendOutputHeader encodes everything of an Output but its data, which follows
// directly and reaches to the end of the frame.
func AppendOutputHeader(b []byte, s Stream, offset int64) []byte {
	e := encoder{b}
	e.uint(uint64(s))
	e.int(offset)
	return e.b
}

// DecodeOutput decodes an Output; Data aliases body.
func DecodeOutput(body []byte) (Output, error) {
	d := decoder{b: body}
	s, off := d.uint(), d.int64()
	if d.err != nil {
		return Output{}, d.finish("output")
	}
	if (s != uint64(Stdout) && s != uint64(Stderr)) || off < 0 {
		return Output{}, fmt.Errorf("decode output: stream %d offset %d: %w", s, off, ErrProtocol)
	}
	return Output{Stream: Stream(s), Offset: off, Data: d.b}, nil //nolint:gosec // 1 or 2
}

// AppendExit encodes x.
func AppendExit(b []byte, x Exit) []byte {
	e := encoder{b}
	e.int(int64(x.ExitCode))
	e.int(int64(x.Signal))
	for _, v := range []bool{x.TimedOut, x.Cancelled, x.OutputLimit, x.DiskFull} {
		e.bool(v)
	}
	e.string(x.StartError)
	e.int(int64(x.StartErrno))
	for _, v := range []int64{
		x.StdoutTotal, x.StderrTotal, x.BackgroundKilled, int64(x.RunTime),
		int64(x.OwnTime), int64(x.ReapTime), int64(x.Answered), int64(x.CPUUser), int64(x.CPUSystem), x.MaxRSSBytes,
	} {
		e.int(v)
	}
	e.string(x.Poisoned)
	return e.b
}

// DecodeExit decodes an Exit.
func DecodeExit(body []byte) (Exit, error) {
	d := decoder{b: body}
	x := Exit{
		ExitCode: d.int(), Signal: d.int(), TimedOut: d.bool(), Cancelled: d.bool(), OutputLimit: d.bool(), DiskFull: d.bool(),
		StartError: d.string(), StartErrno: d.int(), StdoutTotal: d.int64(), StderrTotal: d.int64(), BackgroundKilled: d.int64(),
		RunTime: d.duration(), OwnTime: d.duration(), ReapTime: d.duration(), Answered: d.duration(),
		CPUUser: d.duration(), CPUSystem: d.duration(), MaxRSSBytes: d.int64(), Poisoned: d.string(),
	}
	return x, d.finish("exit")
}

// AppendSeq encodes the body of a StdinClose and of a Release, and the start of a Stdin (its data
// follows) and of a Kill (its reason follows).
func AppendSeq(b []byte, seq uint64) []byte {
	e := encoder{b}
	e.uint(seq)
	return e.b
}

// DecodeSeq takes a call's number from body and returns what follows it.
func DecodeSeq(body []byte) (uint64, []byte, error) {
	d := decoder{b: body}
	seq := d.uint()
	if d.err != nil {
		return 0, nil, d.finish("call number")
	}
	return seq, d.b, nil
}

// AppendCredit encodes a StdinAck: n more bytes of call seq's stdin were taken.
func AppendCredit(b []byte, seq uint64, n int64) []byte {
	e := encoder{b}
	e.uint(seq)
	e.int(n)
	return e.b
}

// DecodeCredit decodes a StdinAck.
func DecodeCredit(body []byte) (uint64, int64, error) {
	d := decoder{b: body}
	seq, n := d.uint(), d.int64()
	if err := d.finish("stdin credit"); err != nil {
		return 0, 0, err
	}
	if n < 0 || n > StdinWindowBytes {
		return 0, 0, fmt.Errorf("stdin credit of %d bytes, at most %d: %w", n, StdinWindowBytes, ErrProtocol)
	}
	return seq, n, nil
}
