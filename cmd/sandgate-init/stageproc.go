//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

const (
	// readyWithin bounds the making of a stage, and the start of a program in it.
	readyWithin = 10 * time.Second
	// goneAfter bounds the kernel's taking away of a killed stage.
	goneAfter = 2 * time.Second
	// pipeBytes is asked for the program's output, so that a fast writer need
	// not wait for init at every page.
	pipeBytes = 256 << 10
)

const stageNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
	unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP

// stageProc is init's view of a stage: its pid and init's ends of its pipes.
type stageProc struct {
	pid      int
	prepared cell.Prepared

	control *os.File // frames to the stage
	report  *os.File // frames from the stage
	holder  *os.File // frames from the holder
	stdin   *os.File
	output  [3]*os.File // by cell.Stream

	fromStage, fromHolder *cell.FrameReader

	gone chan struct{} // closed when the stage was reaped, its namespace with it
}

// pipes are the ends that the stage gets.
type pipes struct{ control, report, holder, stdin, stdout, stderr int }

// newStage makes a stage and waits until it and its holder are ready.
func (s *server) newStage() (*stageProc, error) {
	p, theirs, err := openPipes()
	if err != nil {
		return nil, err
	}
	null := s.null.Fd()
	s.children.Lock() // until the pid is known
	p.pid, err = forkStage(&syscall.ProcAttr{
		Dir: "/",
		Env: childEnv(),
		Files: []uintptr{
			null, null, 2, uintptr(theirs.control), uintptr(theirs.report), uintptr(theirs.holder),
			uintptr(theirs.stdin), uintptr(theirs.stdout), uintptr(theirs.stderr),
		},
	})
	if err == nil {
		s.stages[p.pid] = true
	}
	s.children.Unlock()
	for _, f := range []int{theirs.control, theirs.report, theirs.holder, theirs.stdin, theirs.stdout, theirs.stderr} {
		err = errors.Join(err, unix.Close(f))
	}
	if err != nil {
		return nil, fmt.Errorf("start stage: %w", err)
	}
	go s.reap(p)
	if err := p.awaitReady(s); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// forkStage leaves out the cgroup namespace where the kernel has none to give.
func forkStage(attr *syscall.ProcAttr) (int, error) {
	argv := []string{"sandgate-init", faceStage}
	attr.Sys = &syscall.SysProcAttr{Cloneflags: stageNamespaces, Setsid: true}
	pid, err := syscall.ForkExec(selfExe, argv, attr) //nolint:gosec // this very binary
	if errors.Is(err, unix.EINVAL) {
		attr.Sys.Cloneflags &^= unix.CLONE_NEWCGROUP
		pid, err = syscall.ForkExec(selfExe, argv, attr) //nolint:gosec // likewise
	}
	return pid, err
}

// reap waits for a stage; checkChildren may have been faster.
func (s *server) reap(p *stageProc) {
	for {
		_, err := unix.Wait4(p.pid, nil, unix.WALL, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil && !errors.Is(err, unix.ECHILD) {
			logf("wait for stage %d: %v", p.pid, err)
		}
		break
	}
	s.children.Lock()
	delete(s.stages, p.pid)
	s.children.Unlock()
	close(p.gone)
}

func (p *stageProc) awaitReady(s *server) error {
	deadline := time.Now().Add(readyWithin)
	for _, f := range []*os.File{p.control, p.report, p.holder} {
		if err := f.SetDeadline(deadline); err != nil {
			return fmt.Errorf("bound the stage's start: %w", err)
		}
	}
	if err := cell.NewFrameWriter(p.control).Write(kindSetup, s.filter); err != nil {
		return fmt.Errorf("set the stage up: %w", err)
	}
	body, err := expectOrFault(p.fromStage, cell.KindPrepared)
	if err != nil {
		return fmt.Errorf("prepare stage: %w", err)
	}
	if p.prepared, err = cell.DecodePrepared(body); err != nil {
		return err
	}
	if body, err = expectOrFault(p.fromHolder, kindProof); err != nil {
		return fmt.Errorf("prepare holder: %w", err)
	}
	if p.prepared.Proof, err = cell.DecodeProof(body); err != nil {
		return err
	}
	p.prepared.StagePID, p.prepared.Proof.SeccompSHA256 = p.pid, s.digest
	for _, f := range []*os.File{p.control, p.report, p.holder} {
		if err := f.SetDeadline(time.Time{}); err != nil {
			return fmt.Errorf("unbound the stage: %w", err)
		}
	}
	return nil
}

// expectOrFault reads a frame of a kind, or the fault that came in its place.
func expectOrFault(r *cell.FrameReader, want cell.Kind) ([]byte, error) {
	kind, body, err := r.Next()
	switch {
	case err != nil:
		return nil, err
	case kind == want:
		return body, nil
	case kind == cell.KindExit:
		end, err := cell.DecodeExit(body)
		if err != nil {
			return nil, err
		}
		return nil, errors.New(end.StartError)
	}
	return nil, fmt.Errorf("frame kind %d, want %d: %w", kind, want, cell.ErrProtocol)
}

// kill ends the stage, and with it everything in its pid namespace.
func (p *stageProc) kill() {
	select {
	case <-p.gone: // its pid may be another's by now
	default:
		if err := unix.Kill(p.pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			logf("kill stage %d: %v", p.pid, err)
		}
	}
}

// waitGone waits for the kernel to have taken the stage away, within goneAfter.
func (p *stageProc) waitGone() bool {
	timer := time.NewTimer(goneAfter)
	defer timer.Stop()
	select {
	case <-p.gone:
		return true
	case <-timer.C:
		return false
	}
}

// close closes init's ends.
func (p *stageProc) close() {
	for _, f := range []*os.File{p.control, p.report, p.holder, p.stdin, p.output[cell.Stdout], p.output[cell.Stderr]} {
		if f != nil {
			_ = f.Close() // stdin may be closed already; nothing buffered is lost
		}
	}
}

// openPipes makes all pipes of a stage. Those of the program belong to its user,
// or it could not open /dev/stdout.
func openPipes() (*stageProc, pipes, error) {
	p := &stageProc{gone: make(chan struct{})}
	var theirs pipes
	var opened []int
	var failed error
	pipe := func(mine **os.File, their *int, iWrite bool, size int) {
		if failed != nil {
			return
		}
		var ends [2]int
		if failed = unix.Pipe2(ends[:], unix.O_CLOEXEC); failed != nil {
			return
		}
		opened = append(opened, ends[0], ends[1])
		my, other := ends[0], ends[1]
		if iWrite {
			my, other = other, my
		}
		if failed = unix.SetNonblock(my, true); failed != nil {
			return
		}
		if size > 0 { // more is only faster; the kernel may refuse it
			_, _ = unix.FcntlInt(uintptr(my), unix.F_SETPIPE_SZ, size)
		}
		*mine, *their = os.NewFile(uintptr(my), "pipe"), other
	}
	pipe(&p.control, &theirs.control, true, 0)
	pipe(&p.report, &theirs.report, false, 0)
	pipe(&p.holder, &theirs.holder, false, 0)

	failed = errors.Join(failed, asPayload(func() {
		pipe(&p.stdin, &theirs.stdin, true, 0)
		pipe(&p.output[cell.Stdout], &theirs.stdout, false, pipeBytes)
		pipe(&p.output[cell.Stderr], &theirs.stderr, false, pipeBytes)
	}, &theirs))
	if failed != nil {
		for _, f := range opened {
			_ = unix.Close(f) // on the way to an error already
		}
		return nil, theirs, fmt.Errorf("make pipes: %w", failed)
	}
	p.fromStage = cell.NewFrameReader(bufio.NewReaderSize(p.report, 4096))
	p.fromHolder = cell.NewFrameReader(bufio.NewReaderSize(p.holder, 4096))
	return p, theirs, nil
}

// asPayload lets open make pipes that belong to the program's user: the kernel
// gives a pipe to the file system uid of the thread that makes it.
func asPayload(open func(), p *pipes) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.SetfsuidRetUid(cell.PayloadUID)
	if errors.Is(err, unix.ENOSYS) { // gVisor; there init needs CAP_CHOWN
		open()
		for _, f := range []int{p.stdin, p.stdout, p.stderr} {
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
