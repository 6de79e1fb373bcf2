package cell

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var sampleExec = Exec{
	Argv: []string{"bash", "-c", "echo \xff", ""}, Env: []string{"A=1", "B="}, Cwd: "/workspace/x",
	WallTime: 3 * time.Second, OutputBytes: 100, Live: true, OutputTotalBytes: 1 << 40, DiskBytes: 1 << 30, FileBytes: 7, OpenFiles: 8, Pids: 9,
	Workspace: WorkspaceMoved, Next: &Stage{Slot: 1, Workspace: WorkspaceCell, DiskBytes: 7},
}

var sampleProof = Proof{
	UID: 1000, GID: 1000, NoNewPrivs: true, SeccompMode: 2, SeccompSHA256: "ab", CapEffective: 1, CapPermitted: 2,
	CapInheritable: 3, CapBounding: 1<<64 - 1, CapAmbient: 5, Namespaces: map[string]string{"pid": "pid:[1]", "mnt": "mnt:[2]"},
}

var sampleExit = Exit{
	ExitCode: -1, Signal: 9, TimedOut: true, DiskFull: true, StartError: "no", StartErrno: 2, StdoutTotal: 1 << 50, StderrTotal: 3,
	BackgroundKilled: 4, RunTime: time.Hour, OwnTime: time.Minute, ReapTime: time.Second, Answered: 7, CPUUser: 1, CPUSystem: 2, MaxRSSBytes: 5, Poisoned: "why",
}

func TestMessagesSurviveTheWay(t *testing.T) {
	check := func(name string, want, got any, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	hello := Hello{Protocol: 1, Version: "v1", SeccompSHA256: "00", Doors: true}
	h, err := DecodeHello(AppendHello(nil, hello))
	check("hello", hello, h, err)
	prepared := Prepared{StagePID: 12, HolderPID: 3, Proof: sampleProof}
	p, err := DecodePrepared(AppendPrepared(nil, prepared))
	check("prepared", prepared, p, err)
	proof, err := DecodeProof(AppendProof(nil, sampleProof))
	check("proof", sampleProof, proof, err)
	r, err := DecodeExec(AppendExec(nil, 77, sampleExec, false))
	check("exec", Request{Exec: sampleExec, Seq: 77}, r, err)
	withStdin := sampleExec
	withStdin.Stdin = strings.NewReader("")
	r, err = DecodeExec(AppendExec(nil, 78, withStdin, false))
	check("exec with stdin", Request{Exec: sampleExec, Seq: 78, HasStdin: true}, r, err)
	atDoor := sampleExec
	atDoor.Ready = func() error { return nil }
	r, err = DecodeExec(AppendExec(nil, 78, atDoor, true))
	check("exec at a door", Request{Exec: sampleExec, Seq: 78, Hold: true, Door: true}, r, err)
	if r, err = DecodeExec(AppendExec(nil, 78, sampleExec, true)); !errors.Is(err, ErrProtocol) {
		t.Errorf("a door for a call that is not held: got %+v, %v", r, err)
	}
	withTerminal := sampleExec
	withTerminal.Terminal = &Size{Rows: 24, Cols: 80}
	r, err = DecodeExec(AppendExec(nil, 79, withTerminal, false))
	check("exec with a terminal", Request{Exec: withTerminal, Seq: 79}, r, err)
	signal, err := DecodeSignal(AppendSignal(nil, 15))
	check("signal", 15, signal, err)
	size, err := DecodeResize(AppendResize(nil, Size{Rows: 1, Cols: 65535}))
	check("resize", Size{Rows: 1, Cols: 65535}, size, err)
	started := Started{OpenFiles: 1, FileBytes: 2, CoreBytes: 3, Pids: 6, DiskBytes: map[string]int64{"/tmp": 4}, WallTime: 5}
	s, err := DecodeStarted(AppendStarted(nil, started))
	check("started", started, s, err)
	o, err := DecodeOutput(append(AppendOutputHeader(nil, Stderr, 1<<40), "data"...))
	check("output", Output{Stream: Stderr, Offset: 1 << 40, Data: []byte("data")}, o, err)
	x, err := DecodeExit(AppendExit(nil, sampleExit))
	check("exit", sampleExit, x, err)
	seq, n, err := DecodeCredit(AppendCredit(nil, 9, 1000))
	check("credit", []int64{9, 1000}, []int64{int64(seq), n}, err) //nolint:gosec // a small number
	seq, rest, err := DecodeSeq(append(AppendSeq(nil, 9), "rest"...))
	check("seq", "rest", string(rest), err)
	check("seq", uint64(9), seq, nil)
}

// TestShortenedMessagesAreRefused cuts each message at every length.
func TestShortenedMessagesAreRefused(t *testing.T) {
	for name, m := range map[string]struct {
		body   []byte
		decode func([]byte) error
	}{
		"hello":    {AppendHello(nil, Hello{Version: "v"}), func(b []byte) error { _, err := DecodeHello(b); return err }},
		"prepared": {AppendPrepared(nil, Prepared{Proof: sampleProof}), func(b []byte) error { _, err := DecodePrepared(b); return err }},
		"exec":     {AppendExec(nil, 1, sampleExec, false), func(b []byte) error { _, err := DecodeExec(b); return err }},
		"started":  {AppendStarted(nil, Started{DiskBytes: map[string]int64{"/tmp": 1}}), func(b []byte) error { _, err := DecodeStarted(b); return err }},
		"signal":   {AppendSignal(nil, 9), func(b []byte) error { _, err := DecodeSignal(b); return err }},
		"resize":   {AppendResize(nil, Size{Rows: 1, Cols: 2}), func(b []byte) error { _, err := DecodeResize(b); return err }},
		"exit":     {AppendExit(nil, sampleExit), func(b []byte) error { _, err := DecodeExit(b); return err }},
		"credit":   {AppendCredit(nil, 1, 2), func(b []byte) error { _, _, err := DecodeCredit(b); return err }},
	} {
		for i := range m.body {
			if err := m.decode(m.body[:i]); !errors.Is(err, ErrProtocol) {
				t.Errorf("%s cut to %d of %d bytes: got %v, want a protocol error", name, i, len(m.body), err)
			}
		}
		if err := m.decode(append(bytes.Clone(m.body), 0)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s with a byte too many: got %v, want a protocol error", name, err)
		}
	}
}

func TestExecIsValidated(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Exec)
		want   string
	}{
		"no argv":             {func(x *Exec) { x.Argv = nil }, "argv is empty"},
		"empty program":       {func(x *Exec) { x.Argv = []string{""} }, "argv is empty"},
		"NUL in an argument":  {func(x *Exec) { x.Argv = []string{"a", "b\x00"} }, "NUL"},
		"NUL in environment":  {func(x *Exec) { x.Env = []string{"A=\x00"} }, "NUL"},
		"no equals sign":      {func(x *Exec) { x.Env = []string{"A"} }, "KEY=VALUE"},
		"no key":              {func(x *Exec) { x.Env = []string{"=A"} }, "KEY=VALUE"},
		"relative cwd":        {func(x *Exec) { x.Cwd = "a" }, "relative"},
		"NUL in cwd":          {func(x *Exec) { x.Cwd = "/\x00" }, "NUL"},
		"no wall time":        {func(x *Exec) { x.WallTime = 0 }, "wall time"},
		"no output":           {func(x *Exec) { x.OutputBytes = 0 }, "output bytes"},
		"too much output":     {func(x *Exec) { x.OutputBytes = MaxOutputBytes + 1 }, "output bytes"},
		"no disk":             {func(x *Exec) { x.DiskBytes = 0 }, "disk bytes"},
		"negative open files": {func(x *Exec) { x.OpenFiles = -1 }, "negative"},
		"negative pids":       {func(x *Exec) { x.Pids = -1 }, "negative"},
	} {
		x := sampleExec
		tc.change(&x)
		if err := x.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
		if _, err := DecodeExec(AppendExec(nil, 1, x, false)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: decoded with %v, want a protocol error", name, err)
		}
	}
}

func TestFrames(t *testing.T) {
	var buf bytes.Buffer
	w := NewFrameWriter(&buf)
	if err := w.Write(KindOutput, []byte("ab"), nil, []byte("c")); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(KindPrepare); err != nil {
		t.Fatal(err)
	}
	before := buf.Len()
	if err := w.Write(KindExec, make([]byte, MaxFrameBytes)); !errors.Is(err, ErrTooLarge) || buf.Len() != before {
		t.Errorf("got %v and %d bytes more, want ErrTooLarge and none", err, buf.Len()-before)
	}
	raw := bytes.Clone(buf.Bytes())
	r := NewFrameReader(&buf)
	for _, want := range []struct {
		kind Kind
		body string
	}{{KindOutput, "abc"}, {KindPrepare, ""}} {
		kind, body, err := r.Next()
		if err != nil || kind != want.kind || string(body) != want.body {
			t.Errorf("got %d %q %v, want %v", kind, body, err, want)
		}
	}
	if _, _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
	for i := 1; i < 8; i++ {
		if _, _, err := NewFrameReader(bytes.NewReader(raw[:i])).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut to %d bytes: got %v, want an unexpected end", i, err)
		}
	}
	for _, bad := range []string{"\x00\x00\x00\x00", "\xff\xff\xff\xff", "\x00\x10\x00\x01"} {
		if _, _, err := NewFrameReader(strings.NewReader(bad)).Next(); !errors.Is(err, ErrProtocol) {
			t.Errorf("length %x: got %v, want a protocol error", bad, err)
		}
	}
}

// bits gives at most so many bytes at once.
type bits struct {
	r    io.Reader
	most int
}

func (b bits) Read(p []byte) (int, error) { return b.r.Read(p[:min(len(p), b.most)]) }

// TestFrameReaderReadsAhead gives frames of all sizes, in pieces of all sizes, and looks
// that each is whole and that a reader that waits after the end of a call holds little.
func TestFrameReaderReadsAhead(t *testing.T) {
	sizes := []int{
		0, 10, 3000, littleBytes - headerBytes - 1, littleBytes - headerBytes, littleBytes, 5, 70_000, 1, OutputChunkBytes, OutputChunkBytes,
		muchBytes + 1, 7, 2000, 2000, 2000, 2000, MaxFrameBytes - 1, OutputChunkBytes, 30,
	}
	var sent bytes.Buffer
	w := NewFrameWriter(&sent)
	for i, n := range sizes {
		if err := w.Write(KindOutput, bytes.Repeat([]byte{byte(i + 1)}, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(KindExit, []byte("end")); err != nil {
		t.Fatal(err)
	}
	for _, most := range []int{1, 3, 1000, littleBytes, 10_000, 64 << 10, sent.Len()} {
		r := NewFrameReader(bits{bytes.NewReader(sent.Bytes()), most})
		for i, n := range sizes {
			kind, body, err := r.Next()
			if err != nil || kind != KindOutput || !bytes.Equal(body, bytes.Repeat([]byte{byte(i + 1)}, n)) {
				t.Fatalf("%d at once: frame %d of %d bytes: got %d bytes, %v", most, i, n, len(body), err)
			}
		}
		if kind, body, err := r.Next(); err != nil || kind != KindExit || string(body) != "end" {
			t.Errorf("%d at once: got %d %q %v, want the exit", most, kind, body, err)
		}
		if _, _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("%d at once: got %v, want the end", most, err)
		}
		if len(r.buf) != littleBytes {
			t.Errorf("%d at once: the reader holds %d bytes while it waits, want %d", most, len(r.buf), littleBytes)
		}
	}
}

// FuzzDecode gives arbitrary bytes to the frame reader and every decoder: none may
// panic, and what decodes must encode to a message that decodes to the same.
func FuzzDecode(f *testing.F) {
	var seed bytes.Buffer
	w := NewFrameWriter(&seed)
	for kind, body := range map[Kind][]byte{
		KindHello: AppendHello(nil, Hello{Protocol: 1, Version: "v"}), KindPrepared: AppendPrepared(nil, Prepared{Proof: sampleProof}),
		KindExec: AppendExec(nil, 1, sampleExec, false), KindExit: AppendExit(nil, sampleExit), KindStdinAck: AppendCredit(nil, 1, 2),
		KindOutput: append(AppendOutputHeader(nil, Stdout, 0), 'x'), KindStarted: AppendStarted(nil, Started{DiskBytes: map[string]int64{"/": 1}}),
	} {
		seed.Reset()
		if err := w.Write(kind, body); err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(seed.Bytes()))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewFrameReader(bytes.NewReader(data))
		for {
			kind, body, err := r.Next()
			if err != nil {
				return
			}
			if len(body) > len(data) {
				t.Fatalf("a body of %d bytes out of %d", len(body), len(data))
			}
			redecode(t, kind, body)
		}
	})
}

func redecode(t *testing.T, kind Kind, body []byte) {
	t.Helper()
	var again any
	var first any
	var err, err2 error
	switch kind {
	case KindHello:
		v, e := DecodeHello(body)
		first, err = v, e
		again, err2 = DecodeHello(AppendHello(nil, v))
	case KindPrepared:
		v, e := DecodePrepared(body)
		first, err = v, e
		again, err2 = DecodePrepared(AppendPrepared(nil, v))
	case KindExec:
		v, e := DecodeExec(body)
		if v.HasStdin {
			v.Stdin = strings.NewReader("")
		}
		encoded := AppendExec(nil, v.Seq, v.Exec, false)
		v.Stdin = nil
		first, err = v, e
		if e == nil {
			again, err2 = DecodeExec(encoded)
		}
	case KindStarted:
		v, e := DecodeStarted(body)
		first, err = v, e
		again, err2 = DecodeStarted(AppendStarted(nil, v))
	case KindOutput:
		v, e := DecodeOutput(body)
		first, err = v, e
		if e == nil {
			again, err2 = DecodeOutput(append(AppendOutputHeader(nil, v.Stream, v.Offset), v.Data...))
		}
	case KindExit:
		v, e := DecodeExit(body)
		first, err = v, e
		again, err2 = DecodeExit(AppendExit(nil, v))
	case KindStdinAck:
		seq, n, e := DecodeCredit(body)
		err = e
		if e == nil {
			_, again, err2 = DecodeCredit(AppendCredit(nil, seq, n))
			first = n
		}
	default:
		if _, rest, err := DecodeSeq(body); err == nil && len(rest) > len(body) {
			t.Fatalf("%d bytes left of %d", len(rest), len(body))
		}
		return
	}
	if err != nil {
		return
	}
	if diff := cmp.Diff(first, again); err2 != nil || diff != "" {
		t.Fatalf("kind %d decoded again: %v (-first +again):\n%s", kind, err2, diff)
	}
}

func TestBadSignalsAreRefused(t *testing.T) {
	for _, n := range []int{-1, 0, 32, 64, 1 << 30} {
		if _, err := DecodeSignal(AppendSignal(nil, n)); !errors.Is(err, ErrProtocol) {
			t.Errorf("signal %d: got %v, want a protocol error", n, err)
		}
	}
}
