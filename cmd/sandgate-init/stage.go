//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
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
	clear     bool // it is ready, and nothing is left of the calls before
	announced bool // the host was told

	control, report, start int // start is the pipe to the holder
	stdin                  int
	output                 [3]int // by cell.Stream
	// held are the program's ends of its output: while init holds them, too, the
	// program's end does not wake it for each of them. When nothing more can be read
	// and nobody is left who could write, that is their end.
	held    [3]int
	room    []byte // for records
	records []byte // read from report, not yet taken
	ended   bool   // nobody can report any more
}

// recordRoom holds the records of most stages.
const recordRoom = 8 << 10

// ready says that the stage and its holder wait for a call.
func (n *stage) ready() bool { return n.pid != 0 && n.proven && n.viewed }

// newStage asks for a stage and does not wait for it.
func (s *server) newStage(spec cell.Stage) (*stage, error) {
	n := &stage{
		spec: spec, deadline: s.now.Add(readyWithin), control: -1, report: -1, start: -1, stdin: -1,
		output: [3]int{-1, -1, -1}, held: [3]int{-1, -1, -1}, room: s.spare,
	}
	s.spare = nil
	theirs, err := n.openPipes()
	if err != nil {
		n.close()
		return nil, err
	}
	// Without doors the holder gets its other pipe twice, and waits at none.
	if theirs[fdDoor] = theirs[fdGo]; s.doors != nil {
		theirs[fdDoor] = s.doors[spec.Slot]
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
	n.held[cell.Stdout], n.held[cell.Stderr] = theirs[fdStdout], theirs[fdStderr]
	for i, fd := range theirs {
		if i != fdStdout && i != fdStderr && i != fdDoor {
			err = errors.Join(err, unix.Close(fd))
		}
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
		_, failed = unix.FcntlInt(uintptr(*mine), unix.F_SETFL, unix.O_NONBLOCK)
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
	}, theirs[fdStdin:fdStderr+1])
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
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
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
	if err := n.look(s); err != nil {
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
	if n.ended {
		return fmt.Errorf("prepare stage: %w", errStageGone)
	}
	return nil
}

func (n *stage) take(s *server, kind uint32, body []byte) (err error) {
	native := binary.NativeEndian
	switch {
	case kind == recordStage && len(body) == 8:
		n.born(int(native.Uint64(body))) //nolint:gosec // a pid
	case kind == recordReady && len(body) == 16+mountsBytes:
		if s.plan.shared {
			n.born(int(native.Uint64(body))) //nolint:gosec // a pid
		}
		n.viewed, n.proven = true, !s.plan.selfProof
		n.prepared.HolderPID = int(native.Uint64(body[8:])) //nolint:gosec // a pid
		n.prepared.Proof.SeccompSHA256 = s.digest
		n.mounts, err = decodeMounts(body[16:])
	case kind == recordProof && s.plan.selfProof:
		n.proven = true
		n.prepared.Proof, err = decodeProof(body)
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

// born notes the stage's pid.
func (n *stage) born(pid int) {
	n.pid = pid
	n.prepared.Slot, n.prepared.StagePID = n.spec.Slot, pid
}

// look reads what the stage's processes have written, if the last wait has seen
// something of it.
func (n *stage) look(s *server) error {
	if s.saw(n.report) == 0 {
		return nil
	}
	return n.readRecords()
}

// readRecords reads what the stage's processes have written. At the end of it, ended is
// set. What a pipe has no more of than was read, the next wait will tell.
func (n *stage) readRecords() error {
	for {
		have := len(n.records)
		if cap(n.records)-have < recordRoom/2 {
			if have > 0 || cap(n.room) < recordRoom {
				n.room = make([]byte, 0, have+recordRoom)
			}
			n.records = append(n.room[:0], n.records...)
		}
		got, err := unix.Read(n.report, n.records[have:cap(n.records)])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return fmt.Errorf("read a stage's report: %w", err)
		}
		n.ended = got == 0
		n.records = n.records[:have+got]
		if n.ended || len(n.records) < cap(n.records) {
			return nil
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
	for _, fd := range []*int{
		&n.control, &n.report, &n.start, &n.stdin,
		&n.output[cell.Stdout], &n.output[cell.Stderr], &n.held[cell.Stdout], &n.held[cell.Stderr],
	} {
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
