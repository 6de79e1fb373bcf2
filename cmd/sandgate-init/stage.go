//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cell/raw"
)

// pipeBytes is asked for the program's output, so that a fast writer need not
// wait for init at every page.
const pipeBytes = 256 << 10

// errStageGone says that all writers of a stage's reports have ended.
var errStageGone = errors.New("the stage ended without a report")

// stage is init's view of a stage: its pid and init's ends of its pipes.
type stage struct {
	spec     cell.Stage
	pid      int
	gone     bool // reaped, and its namespace with it
	prepared cell.Prepared
	mounts   mounts
	deadline time.Time

	proven    bool // the holder's proof came
	viewed    bool // the stage's view is made
	announced bool // the host was told

	control, report, start int // start is the pipe to the holder
	stdin                  int
	output                 [3]int // by cell.Stream
	records                []byte // read from report, not yet taken
}

// ready says that the stage and its holder wait for a call.
func (n *stage) ready() bool { return n.pid != 0 && n.proven && n.viewed }

// newStage asks for a stage and does not wait for it.
func (s *server) newStage(spec cell.Stage) (*stage, error) {
	n := &stage{spec: spec, deadline: s.now.Add(readyWithin), control: -1, report: -1, start: -1, stdin: -1, output: [3]int{-1, -1, -1}}
	theirs, err := n.openPipes()
	if err != nil {
		n.close()
		return nil, err
	}
	server := s.forks[spec.Slot]
	fresh := server.network.touched()
	if fresh {
		server.network.close() // what is open belongs to the old one
	}
	err = server.fork(s.plan, request{
		fresh: fresh, workspace: spec.Workspace == cell.WorkspaceEphemeral, diskBytes: spec.DiskBytes,
	}, theirs)
	if err != nil {
		err = errors.Join(err, s.reap()) // which may know why
	}
	for _, fd := range theirs {
		err = errors.Join(err, unix.Close(fd))
		if fd > maxDescriptor {
			err = errors.Join(err, fmt.Errorf("descriptor %d is in use, at most %d are: something leaks", fd, maxDescriptor))
		}
	}
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// openPipes makes all pipes of a stage and returns the ends that it gets. Those
// of the program belong to its user, or it could not open /dev/stdout.
func (n *stage) openPipes() (theirs [fdCount]int, err error) {
	for i := range theirs {
		theirs[i] = -1
	}
	var failed error
	pipe := func(mine, their *int, iWrite bool, size int) {
		var ends [2]int
		if failed != nil {
			return
		}
		if failed = unix.Pipe2(ends[:], unix.O_CLOEXEC); failed != nil {
			return
		}
		*mine, *their = ends[0], ends[1]
		if iWrite {
			*mine, *their = ends[1], ends[0]
		}
		failed = unix.SetNonblock(*mine, true)
		if size > 0 { // more is only faster; the kernel may refuse it
			_, _ = unix.FcntlInt(uintptr(*mine), unix.F_SETPIPE_SZ, size)
		}
	}
	pipe(&n.control, &theirs[fdControl], true, 0)
	pipe(&n.report, &theirs[fdReport], false, 0)
	pipe(&n.start, &theirs[fdGo], true, 0)
	err = asPayload(func() {
		pipe(&n.stdin, &theirs[fdStdin], true, 0)
		pipe(&n.output[cell.Stdout], &theirs[fdStdout], false, pipeBytes)
		pipe(&n.output[cell.Stderr], &theirs[fdStderr], false, pipeBytes)
	}, theirs[fdStdin:])
	if err = errors.Join(failed, err); err != nil {
		for _, fd := range theirs {
			if fd >= 0 {
				_ = unix.Close(fd) // on the way to an error already
			}
		}
		return theirs, fmt.Errorf("make pipes: %w", err)
	}
	return theirs, nil
}

// asPayload lets open make pipes that belong to the program's user: the kernel
// gives a pipe to the file system uid of the thread that makes it.
func asPayload(open func(), pipes []int) error {
	before, err := unix.SetfsuidRetUid(cell.PayloadUID)
	if errors.Is(err, unix.ENOSYS) { // gVisor; there init needs CAP_CHOWN
		open()
		for _, f := range pipes {
			if err := unix.Fchown(f, cell.PayloadUID, cell.PayloadGID); err != nil {
				return fmt.Errorf("give a pipe to the program's user: %w", err)
			}
		}
		return nil
	}
	open()
	_, back := unix.SetfsuidRetUid(before)
	return errors.Join(err, back)
}

// await takes what there is of the reports of a stage that is being made.
func (n *stage) await(s *server) error {
	ended, err := n.readRecords()
	if err != nil {
		return err
	}
	for {
		kind, body, ok, err := n.record()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := n.take(s, kind, body); err != nil {
			return fmt.Errorf("prepare stage: %w", err)
		}
	}
	if ended {
		return fmt.Errorf("prepare stage: %w", errStageGone)
	}
	return nil
}

func (n *stage) take(s *server, kind uint32, body []byte) (err error) {
	native := binary.NativeEndian
	switch {
	case kind == recordStage && len(body) == 8:
		n.pid = int(native.Uint64(body)) //nolint:gosec // a pid
		n.prepared.Slot, n.prepared.StagePID = n.spec.Slot, n.pid
	case kind == recordReady && len(body) == 8+mountsBytes:
		n.viewed = true
		n.prepared.HolderPID = int(native.Uint64(body)) //nolint:gosec // a pid
		n.mounts, err = decodeMounts(body[8:])
	case kind == recordProof:
		n.proven = true
		if len(body) > 0 {
			n.prepared.Proof, err = decodeProof(body)
		}
		n.prepared.Proof.SeccompSHA256 = s.digest
	case kind == raw.RecordFault:
		f, ferr := raw.DecodeFault(body)
		if ferr != nil {
			return ferr
		}
		err = fmt.Errorf("%s: %w", s.plan.start.Tag(f.Tag), f.Errno)
	default:
		err = fmt.Errorf("record kind %d of %d bytes: %w", kind, len(body), cell.ErrProtocol)
	}
	return err
}

// readRecords reads what the stage's processes have written; ended says that no
// more can come.
func (n *stage) readRecords() (ended bool, err error) {
	for {
		have := len(n.records)
		if cap(n.records)-have < 4096 {
			n.records = append(make([]byte, 0, have+8192), n.records...)
		}
		got, err := unix.Read(n.report, n.records[have:cap(n.records)])
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("read a stage's report: %w", err)
		case got == 0:
			return true, nil
		default:
			n.records = n.records[:have+got]
		}
	}
}

// record takes the next whole record.
func (n *stage) record() (kind uint32, body []byte, ok bool, err error) {
	if len(n.records) < 8 {
		return 0, nil, false, nil
	}
	kind, size := binary.NativeEndian.Uint32(n.records), int(binary.NativeEndian.Uint32(n.records[4:]))
	if size < 8 || size > 8192 {
		return 0, nil, false, fmt.Errorf("record of %d bytes from a stage: %w", size, cell.ErrProtocol)
	}
	if len(n.records) < size {
		return 0, nil, false, nil
	}
	body = n.records[8:size]
	n.records = n.records[size:]
	return kind, body, true, nil
}

// kill ends the stage, and with it everything in its pid namespace.
func (n *stage) kill() {
	if n.gone || n.pid == 0 { // its pid may be another's by now
		return
	}
	if err := unix.Kill(n.pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		logf("kill stage %d: %v", n.pid, err)
	}
}

// close closes init's ends.
func (n *stage) close() {
	for _, fd := range []*int{&n.control, &n.report, &n.start, &n.stdin, &n.output[cell.Stdout], &n.output[cell.Stderr]} {
		closeFD(fd)
	}
}

// closeFD closes a descriptor once; nothing buffered is lost with it.
func closeFD(fd *int) {
	if *fd >= 0 {
		_ = unix.Close(*fd)
		*fd = -1
	}
}
