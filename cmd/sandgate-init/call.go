//go:build linux

package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cell/raw"
)

// cause is why init ended a call.
type cause int

const (
	byItself cause = iota
	timedOut
	cancelled
	outputLimit
)

// phase is how far a call is.
type phase int

const (
	fitting  phase = iota // its stage is being fitted to it
	starting              // its holder is to become the program
	running               // the program runs
	burying               // its stage was killed or has ended without a report
	draining              // its tree is gone, the rest of its output is read
	flushing              // the tails of its output go to the host
)

// call is one running call.
type call struct {
	stage   *stage
	request cell.Request
	holder  *raw.Script // what the holder was told, for its faults

	phase    phase
	deadline time.Time // of the phase; while running, of the call
	began    time.Time // the program's start
	endedAt  time.Time // its own end, or when init ended it; zero: neither, or it never ran
	cause    cause     // the first one counts
	fault    error     // why it is over, if neither its program nor the host is at fault
	isUp     bool      // the program was executed

	started   []byte    // body of the Started frame, until it is sent
	startedBy time.Time // when it is to be sent at the latest

	toHolder   []byte        // not yet written
	released   bool          // the host lets the program run
	releasedAt time.Time     // when the holder was told so
	limits     *cell.Started // what the holder has set, once it has told
	lookedAt   time.Time     // when init began to look whether it runs
	lookAt     time.Time     // when init looks whether it has passed its door
	spoke      bool          // it has written something since
	nextAsked  bool          // the next stage is being made
	stdin      stdin
	terminal   *terminal     // nil: pipes
	early      []unix.Signal // to be sent once it runs
	pumps      [3]pump       // by cell.Stream
	total      int64         // bytes of both streams
	pace       pace          // of reading them
	flow       flow          // likewise

	end cell.Exit
}

func newCall(n *stage, request cell.Request, room *[3][]byte) *call {
	c := &call{stage: n, request: request, end: cell.Exit{ExitCode: -1}}
	c.stdin, c.released = stdin{ended: !request.HasStdin}, !request.Hold
	for _, stream := range []cell.Stream{cell.Stdout, cell.Stderr} {
		c.pumps[stream] = newPump(stream, request.OutputBytes, room[stream])
		if request.Live {
			c.pumps[stream].head = math.MaxInt64
		}
	}
	return c
}

// frame handles a frame of the host for this call.
func (c *call) frame(s *server, kind cell.Kind, rest []byte) error {
	switch kind {
	case cell.KindStdin:
		return c.stdin.add(rest)
	case cell.KindStdinClose:
		c.stdin.ended = true
	case cell.KindRelease:
		c.release(s)
	case cell.KindSignal:
		signal, err := cell.DecodeSignal(rest)
		if err != nil {
			return err
		}
		c.signal(unix.Signal(signal))
	case cell.KindResize:
		size, err := cell.DecodeResize(rest)
		if err != nil {
			return err
		}
		c.resize(size)
	case cell.KindKill:
		logf("call %d is killed: %q", c.request.Seq, rest)
		c.kill(cancelled)
	}
	return nil
}

// kill ends the whole tree of the call.
func (c *call) kill(why cause) {
	if c.cause != byItself || c.phase > running {
		return
	}
	c.cause = why
	c.endedNow()
	c.stage.kill()
}

// endedNow notes that init ends a program that runs.
func (c *call) endedNow() {
	if c.isUp && c.endedAt.IsZero() {
		c.endedAt = time.Now()
	}
}

// abort ends a call that cannot go on, by no fault of its program.
func (c *call) abort(err error) {
	if c.fault == nil {
		c.fault = err
	}
	c.endedNow()
	c.stage.kill()
	c.toBurying()
}

func (c *call) toBurying() {
	c.phase, c.deadline = burying, time.Now().Add(goneAfter)
}

// pollSet adds what the call waits for.
func (c *call) pollSet(s *server, sooner func(time.Time)) {
	switch c.phase {
	case fitting:
		s.watch(c.stage.report, unix.POLLIN)
		sooner(c.deadline)
	case starting:
		c.pollStart(s, sooner)
	case running:
		s.watch(c.stage.report, unix.POLLIN)
		if c.cause == byItself {
			sooner(c.deadline)
		}
	case burying:
		sooner(s.now.Add(tick))
	case draining, flushing:
		if s.waiting() < outRoom { // there is room again: nothing else would wake the loop
			sooner(s.now)
		}
	}
	if c.started != nil {
		sooner(c.startedBy)
	}
	if s.waiting() < outRoom && (c.phase == running || c.phase == burying) && !c.lets(s, sooner) {
		for _, stream := range []cell.Stream{cell.Stdout, cell.Stderr} {
			if fd := c.stage.output[stream]; fd >= 0 {
				s.watch(fd, unix.POLLIN)
			}
		}
	}
	if c.phase == running && c.stage.stdin >= 0 && len(c.stdin.pending) > 0 {
		s.watch(c.stage.stdin, unix.POLLOUT)
	}
}

// lets reports whether a running program's output is not read at present, since it writes
// more than is worth it or will soon have written more, and until when.
func (c *call) lets(s *server, sooner func(time.Time)) bool {
	if c.phase != running || c.cause != byItself {
		return false // what is left is no more than fits the pipes
	}
	until := c.pace.until(s.now)
	if until.IsZero() {
		until = c.flow.until(s.now)
	}
	if until.IsZero() {
		return false
	}
	sooner(until)
	return true
}

// advance takes the call as far as it can go; done says that it is over.
func (c *call) advance(s *server) (done bool) {
	switch c.phase {
	case fitting:
		c.fit(s)
	case starting:
		c.awaitStart(s)
	}
	if c.phase == running {
		c.stdin.pump(c, s)
	}
	if c.phase >= running && c.phase <= draining && !c.lets(s, func(time.Time) {}) {
		c.pumpOutput(s)
	}
	if c.phase == running {
		c.awaitEnd(s)
	}
	if c.phase == burying {
		c.awaitGone(s)
	}
	if c.phase == draining {
		c.pumpOutput(s)
		if c.drained(cell.Stdout) && c.drained(cell.Stderr) {
			c.settle()
		}
	}
	if c.started != nil && (c.phase == flushing || !s.now.Before(c.startedBy)) {
		c.tellStarted(s)
	}
	if c.phase != flushing {
		return false
	}
	for _, stream := range []cell.Stream{cell.Stdout, cell.Stderr} {
		if !c.pumps[stream].flush(s) {
			return false
		}
	}
	return true
}

// tellStarted sends the news of the start. A short program's come with its end,
// so that the host is woken once.
func (c *call) tellStarted(s *server) {
	if c.started != nil {
		s.send(cell.KindStarted, c.started)
		c.started = nil
		s.announce()
	}
}

// unsaid reports whether the host is soon to be told that the program runs, or of its end.
func (c *call) unsaid() bool {
	return (c.released || c.request.Door) && c.phase <= starting || c.started != nil
}

// awaitEnd waits for the stage's report that the program and all that it left
// are gone.
func (c *call) awaitEnd(s *server) {
	if c.cause == byItself && !s.now.Before(c.deadline) {
		c.kill(timedOut)
	}
	if err := c.stage.look(s); err != nil {
		c.abort(err)
		return
	}
	kind, body, ok, err := c.stage.record()
	switch {
	case err != nil:
		c.abort(err)
	case ok && kind == raw.RecordEnd:
		c.over(s, body)
	case ok && kind == raw.RecordFault:
		f, ferr := raw.DecodeFault(body)
		c.abort(errors.Join(ferr, fmt.Errorf("the call's stage: %w", f.Errno)))
	case ok:
		c.abort(fmt.Errorf("record kind %d from a stage whose program runs: %w", kind, cell.ErrProtocol))
	case c.stage.ended:
		if c.cause == byItself {
			c.fault = errStageGone
			c.endedNow()
		}
		c.toBurying()
	}
}

// over notes how the program ended. After this report nothing of it is left.
func (c *call) over(s *server, body []byte) {
	end, err := raw.DecodeEnd(body)
	if err != nil {
		c.abort(err)
		return
	}
	c.cause = byItself // even if the deadline came in the same moment
	if end.Status.Signaled() {
		c.end.Signal = int(end.Status.Signal())
	} else {
		c.end.ExitCode = end.Status.ExitStatus()
	}
	c.end.CPUUser, c.end.CPUSystem, c.end.MaxRSSBytes = end.CPUUser, end.CPUSystem, end.MaxRSS
	c.end.BackgroundKilled = end.Background
	c.end.DiskFull = c.end.ExitCode != 0 && end.Full
	c.endedAt = s.clock.Time(end.Ended)
	if c.end.RunTime = end.Ran; end.Ran == 0 {
		c.end.RunTime = time.Since(c.began)
		c.end.OwnTime = c.endedAt.Sub(c.began)
	} else {
		c.end.OwnTime = end.Ran - end.Buried
	}
	c.end.OwnTime = min(max(c.end.OwnTime, 0), c.end.RunTime)
	c.phase = draining
}

// awaitGone waits for the kernel to have taken a killed stage away.
func (c *call) awaitGone(s *server) {
	if err := s.reap(); err != nil && s.doubt == nil {
		s.doubt = err
	}
	switch {
	case c.stage.gone:
	case s.now.After(c.deadline):
		c.end.Poisoned = fmt.Sprintf("the call's stage is still there %v after its kill", goneAfter)
		closeFD(&c.stage.output[cell.Stdout]) // given up
		closeFD(&c.stage.output[cell.Stderr])
	default:
		return
	}
	switch {
	case c.end.StartError != "":
	case c.cause != byItself && (c.isUp || c.cause == cancelled):
		c.end.Signal = 0
		if c.isUp {
			c.end.Signal = int(unix.SIGKILL)
		}
		c.end.TimedOut, c.end.Cancelled, c.end.OutputLimit = c.cause == timedOut, c.cause == cancelled, c.cause == outputLimit
	case c.fault != nil:
		c.end.Poisoned = c.fault.Error()
		if !c.isUp {
			c.end.StartError, c.end.StartErrno = c.fault.Error(), errnoOf(c.fault)
		}
	}
	c.end.RunTime = time.Since(c.began)
	if !c.endedAt.IsZero() {
		c.end.OwnTime = max(0, c.endedAt.Sub(c.began))
	}
	c.phase = draining
}

// errnoOf is the kernel's number for an error, or 0.
func errnoOf(err error) int {
	if e, ok := errors.AsType[unix.Errno](err); ok {
		return int(e)
	}
	return 0
}

// settle is reached when all output was read.
func (c *call) settle() {
	c.end.StdoutTotal, c.end.StderrTotal = c.pumps[cell.Stdout].total, c.pumps[cell.Stderr].total
	if limit := c.request.OutputTotalBytes; limit > 0 && c.total > limit {
		c.end.OutputLimit = true
	}
	c.phase = flushing
}

// drained reports that nothing is left to be read of a stream.
func (c *call) drained(stream cell.Stream) bool {
	return c.stage.output[stream] < 0 || c.pumps[stream].over
}

// pumpOutput reads what poll has seen, and when nobody is left who writes, all.
func (c *call) pumpOutput(s *server) {
	for _, stream := range []cell.Stream{cell.Stdout, cell.Stderr} {
		if fd := &c.stage.output[stream]; !c.drained(stream) && (c.phase == draining || s.saw(*fd) != 0) {
			n, ended := c.pumps[stream].run(c, s, *fd)
			c.total += n
			c.pace.took(n, s.now, s.strain.felt)
			c.flow.took(n, s.now)
			switch {
			case !ended:
			case c.phase == draining: // it is closed with the rest, when the host knows of the end
				c.pumps[stream].over = true
			default:
				closeFD(fd)
			}
		}
	}
	if limit := c.request.OutputTotalBytes; limit > 0 && c.total > limit {
		c.kill(outputLimit)
	}
}
