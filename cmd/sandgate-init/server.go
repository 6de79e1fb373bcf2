//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cell/seccomp"
)

const (
	// maxDescriptor is more than the highest that init ever gets with one call
	// running and the next one prepared. Beyond it something leaks, and the cell is
	// given up.
	maxDescriptor = 64
	// readyWithin bounds the making of a stage, and the start of a program in it.
	readyWithin = 10 * time.Second
	// goneAfter bounds the kernel's taking away of a stage that has ended.
	goneAfter = 2 * time.Second
	// tick is how often init looks for what does not wake it.
	tick = time.Millisecond
	// quietFor is how long a program that says nothing may run before init and the host
	// are woken for it. Most that only have something to do have ended by then.
	quietFor = 4 * tick
	// outRoom is how much may wait to be written to the host before init stops to
	// read a program's output.
	outRoom = 512 << 10
)

// server is init. It is one loop over one poll(2), in which nothing blocks, so
// that a Kill is always heard and no goroutine has to be woken for a call. It
// runs at most one call while at most one stage waits for the next.
type server struct {
	in, out int   // the host, not blocking
	doors   []int // by slot, where the host lets programs run; nil: it does not
	given   []int // descriptors that came and no frame was read that has them
	frames  cell.FrameBuffer
	pending []byte    // frames for the host
	written int       // bytes of pending that the host has got
	buffer  []byte    // for output
	room    [3][]byte // for the tails of output, by cell.Stream

	plan   *plan
	digest string // of the seccomp program
	below  bool   // the workspace below is bound: see bindBelow
	forks  [cell.Slots]*forkServer

	call  *call
	next  *stage   // being made, or told to the host
	dead  []*stage // have ended, not reaped yet
	spent *stage   // of a call whose end the host was told: it is to be buried
	doubt error    // why no further stage could be made
	told  bool     // the host knows of doubt

	strain strain // of the machine
	spare  []byte // for the records of a stage to come

	fds   []unix.PollFd
	quiet time.Duration // of a short wait
	idle  bool          // a short wait has seen nothing
	now   time.Time     // of this round of the loop
	clock cell.Clock
}

// runInit serves the host until it hangs up. As PID 1 it takes everything in the
// cell along when it ends.
func runInit() int {
	if os.Getpid() != 1 {
		logf("must be PID 1 of a cell, is %d: it is started by sandgated", os.Getpid())
		return 2
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM, unix.SIGINT)
	go func() {
		<-stop
		os.Exit(0)
	}()
	in, out, err := openHost()
	if err != nil {
		logf("%v", err)
		return 1
	}
	s, err := newServer(in, out)
	if err == nil {
		// All fork servers are forked. A goroutine that is locked to its thread takes two
		// changes of thread when the runtime interrupts it.
		runtime.UnlockOSThread()
		err = s.serve()
	}
	if err != nil {
		logf("%v", err)
		return 1
	}
	return 0
}

func newServer(in, out int) (*server, error) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("make init undumpable: %w", err)
	}
	first, last, err := filters(in != out)
	if err != nil {
		return nil, err
	}
	// A call's processes are what the kernel should end first, and their view of
	// /proc is read-only. It is an offer to the machine, no wall: gVisor need not
	// have it.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0o600); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("raise oom score: %w", err)
	}
	if err := buildTemplate(in == out); err != nil {
		return nil, err
	}
	s := &server{in: in, out: out, quiet: quietly, digest: seccomp.Join(first, last).SHA256()}
	if in != out { // gVisor
		s.quiet = quietlyInGVisor
	}
	if s.clock, err = cell.NewClock(); err != nil {
		return nil, err
	}
	if s.plan, err = newPlan(first, last, in != out); err != nil {
		return nil, err
	}
	hello := cell.Hello{Protocol: cell.ProtocolVersion, Version: version, SeccompSHA256: s.digest, Doors: s.takesDoors()}
	for i := range s.forks {
		if s.forks[i], err = s.plan.startForkServer(); err != nil {
			return nil, err
		}
		hello.ForkServers[i] = s.forks[i].pid
	}
	s.send(cell.KindHello, cell.AppendHello(nil, hello))
	return s, nil
}

// filters returns the programs that the fork servers install, if any, and that the holder
// does.
func filters(whole bool) (first, last seccomp.Program, err error) {
	if whole { // gVisor
		last, err = seccomp.Build()
	} else {
		first, last, err = seccomp.Parts()
	}
	if err != nil {
		return nil, nil, err
	}
	for _, p := range []seccomp.Program{first, last} {
		if n := len(p) / seccomp.InstructionBytes; len(p)%seccomp.InstructionBytes != 0 || n > 4096 {
			return nil, nil, fmt.Errorf("seccomp program of %d bytes is not up to 4096 instructions", len(p))
		}
	}
	return first, last, nil
}

// serve runs until the host is gone, or an error leaves nothing to serve.
func (s *server) serve() error {
	for {
		if err := s.flush(); err != nil {
			return err
		}
		s.burySpent()
		if err := s.poll(s.pollSet()); err != nil {
			return fmt.Errorf("wait for the host: %w", err)
		}
		s.now = time.Now()
		if s.fds[0].Revents != 0 {
			if gone, err := s.read(); gone || err != nil {
				return err
			}
		}
		s.advance()
	}
}

// advance takes every part as far as it can go now. Each reads what poll says that there
// is to be read, and does not wait.
func (s *server) advance() {
	if s.next != nil && !s.next.clear {
		s.prepareOn()
	}
	if s.call != nil && s.call.advance(s) {
		s.finish(s.call)
	}
}

// prepare starts to make a stage; Prepared or Poisoned will tell of it.
func (s *server) prepare(spec cell.Stage) error {
	if s.next != nil {
		return fmt.Errorf("prepare while a stage is prepared: %w", cell.ErrProtocol)
	}
	if s.call != nil && s.call.stage.spec.Slot == spec.Slot {
		return fmt.Errorf("prepare in slot %d, where a call runs: %w", spec.Slot, cell.ErrProtocol)
	}
	if err := s.bindBelow(spec.Workspace); err != nil {
		s.poison(err)
		return nil
	}
	s.burySpent() // before another is made in the memory of its slot
	stage, err := s.newStage(spec)
	if err != nil {
		s.poison(err)
		return nil
	}
	s.next = stage
	return nil
}

// prepareOn goes on with the stage that is being made.
func (s *server) prepareOn() {
	n := s.next
	if !n.ready() {
		err := n.await(s)
		if err == nil && !n.ready() && s.now.After(n.deadline) {
			err = fmt.Errorf("no stage is ready after %v", readyWithin)
		}
		if err != nil {
			n.kill()
			s.bury(n)
			s.next = nil
			s.poison(err)
			return
		}
		if !n.ready() {
			return
		}
		n.deadline = s.now.Add(goneAfter)
		s.forks[n.spec.Slot].network.open(s.forks[n.spec.Slot].pid)
	}
	// The calls before must have left nothing.
	if err := s.reap(); err != nil {
		s.poison(err)
		return
	}
	if len(s.dead) > 0 {
		if s.now.After(n.deadline) {
			s.poison(fmt.Errorf("the stage of a call before is still there after %v", goneAfter))
		}
		return
	}
	n.clear = true
	if s.call == nil || !s.call.unsaid() {
		s.announce()
	}
}

// announce tells the host of the stage that waits, if it is ready and was not told of.
func (s *server) announce() {
	if n := s.next; n != nil && n.clear && !n.announced {
		n.announced = true
		s.send(cell.KindPrepared, cell.AppendPrepared(nil, n.prepared))
	}
}

// reap takes the stages that have ended. There is no way in a sound cell for
// another process to become init's child.
func (s *server) reap() error {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD), err == nil && pid == 0:
			return nil
		case err != nil:
			return fmt.Errorf("look for ended processes: %w", err)
		}
		if s.known(pid) {
			continue
		}
		for i, f := range s.forks {
			if f.pid == pid {
				return fmt.Errorf("fork server %d %s: %w", i, endText(status), f.lastWords(s.plan))
			}
		}
		return fmt.Errorf("process %d became a child of init, is no stage, and %s", pid, endText(status))
	}
}

func endText(status unix.WaitStatus) string {
	if status.Signaled() {
		return fmt.Sprintf("ended by signal %d", status.Signal())
	}
	return fmt.Sprintf("ended with status %d", status.ExitStatus())
}

// known notes that a stage was reaped.
func (s *server) known(pid int) bool {
	for i, d := range s.dead {
		if d.pid == pid {
			d.gone = true
			s.dead = append(s.dead[:i], s.dead[i+1:]...)
			return true
		}
	}
	if s.call != nil && s.call.stage.pid == pid {
		s.call.stage.gone = true
		return true
	}
	if s.next != nil && s.next.pid == pid {
		s.next.gone = true // its reports will end, too
		return true
	}
	return false
}

// bury closes init's ends of a stage that has ended or was killed.
func (s *server) bury(n *stage) {
	n.close()
	if cap(n.room) <= recordRoom {
		s.spare = n.room
	}
	if !n.gone && n.pid != 0 {
		s.dead = append(s.dead, n)
	}
}

// burySpent buries the stage of a call whose end the host was told: closing its pipes, and
// what the kernel does for its end, take longer than all else that init does for the end of
// a call, and the host need not wait for it.
func (s *server) burySpent() {
	if s.spent != nil {
		s.bury(s.spent)
		s.spent = nil
	}
}

// exec runs a call in the stage that waits.
func (s *server) exec(request cell.Request) error {
	if s.call != nil || s.next == nil || !s.next.announced {
		return fmt.Errorf("exec without a prepared stage or within a call: %w", cell.ErrProtocol)
	}
	if request.Door && s.doors == nil {
		return fmt.Errorf("exec by a door, of which there is none: %w", cell.ErrProtocol)
	}
	stage := s.next
	s.next = nil
	s.call = newCall(stage, request, &s.room)
	s.now = time.Now()
	s.call.begin(s)
	return nil
}

// finish ends a call: from now on the next may come.
func (s *server) finish(c *call) {
	s.burySpent()
	s.spent = c.stage
	for stream := range c.pumps {
		s.room[stream] = c.pumps[stream].room()
	}
	s.call = nil
	if s.doubt != nil {
		if c.end.Poisoned == "" {
			c.end.Poisoned = s.doubt.Error()
		}
	}
	s.announce()
	answer := time.Now()
	if c.end.Answered = s.clock.Kernel(answer); !c.endedAt.IsZero() {
		c.end.ReapTime = max(0, answer.Sub(c.endedAt))
	}
	s.send(cell.KindExit, cell.AppendExit(nil, c.end))
	if s.doubt == nil {
		c.makeNext(s) // the host counts on it, also when no program ran that it could be made beside
	}
	if s.doubt != nil {
		s.poison(s.doubt)
	}
}

// poison tells the host that the cell is of no more use. A call that runs well is
// not disturbed: its Exit will tell.
func (s *server) poison(err error) {
	if s.doubt == nil {
		s.doubt = err
	}
	if s.call != nil || s.told {
		return
	}
	s.told = true
	logf("poisoned: %v", s.doubt)
	text := s.doubt.Error()
	s.send(cell.KindPoisoned, []byte(text[:min(len(text), 1024)]))
}

func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "sandgate-init: "+format+"\n", args...)
}
