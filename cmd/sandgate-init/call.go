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
	cause    cause     // the first one counts
	fault    error     // why it is over, if neither its program nor the host is at fault
	isUp     bool      // the program was executed

	started   []byte    // body of the Started frame, until it is sent
	startedBy time.Time // when it is to be sent at the latest

	toHolder []byte // not yet written
	released bool   // the host lets the program run
	stdin    stdin
	pumps    [3]pump // by cell.Stream
	total    int64   // bytes of both streams

	end cell.Exit
}

func newCall(n *stage, request cell.Request) *call {
	c := &call{stage: n, request: request, end: cell.Exit{ExitCode: -1}}
	c.stdin, c.released = stdin{ended: !request.HasStdin}, !request.Hold
	for _, stream := range []cell.Stream{cell.Stdout, cell.Stderr} {
		c.pumps[stream] = newPump(stream, request.OutputBytes)
	}
	return c
}

// begin fits the stage to the call, if it does not fit as it is, and starts the
// program.
func (c *call) begin(s *server) {
	c.began, c.deadline = s.now, s.now.Add(readyWithin)
	script := s.plan.arena.Inbox(32, nil)
	c.phase = starting
	if !c.fitsAsItIs() {
		c.phase = fitting
		s.plan.refit(script, c.stage, &c.request.Exec)
	}
	script.Reap(s.plan.holder, callFilesystems(c.request.Workspace))
	message, err := script.Message()
	if err == nil {
		err = writeAll(c.stage.control, message)
	}
	if err != nil {
		c.abort(fmt.Errorf("hand the call to its stage: %w", err))
		return
	}
	if c.phase == starting {
		c.start(s)
	}
}

// fitsAsItIs reports whether the stage was made for such a call.
func (c *call) fitsAsItIs() bool {
	n, x := c.stage, &c.request.Exec
	for _, path := range callFilesystems(x.Workspace) {
		if !fits(n.mounts.sizes[path], x.DiskBytes) {
			return false
		}
	}
	return x.Workspace == n.spec.Workspace && x.Workspace != cell.WorkspaceMoved
}

// start tells the holder what to become.
func (c *call) start(s *server) {
	c.phase = starting
	c.holder = s.plan.holderScript(&c.request, nil)
	message, err := c.holder.Message()
	if err != nil {
		c.abort(err)
		return
	}
	c.toHolder = message
	if c.request.Hold && c.released {
		c.toHolder = append(c.toHolder, releaseByte)
	}
	c.writeHolder()
}

// releaseByte is what a holder waits for just before it becomes the program.
const releaseByte = 'r'

// release lets the program run.
func (c *call) release(s *server) {
	if c.released {
		return
	}
	c.released = true
	if c.phase != starting {
		return // it comes behind the rest
	}
	c.deadline = s.now.Add(readyWithin)
	c.toHolder = append(c.toHolder, releaseByte)
	c.writeHolder()
}

func (c *call) writeHolder() {
	for len(c.toHolder) > 0 {
		n, err := unix.Write(c.stage.start, c.toHolder)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil: // it has ended; its report says why
			c.toHolder = nil
		default:
			c.toHolder = c.toHolder[n:]
		}
	}
}

// writeAll is for a message that a new pipe has room for.
func writeAll(fd int, b []byte) error {
	n, err := unix.Write(fd, b)
	if err == nil && n < len(b) {
		err = fmt.Errorf("%d of %d bytes were taken", n, len(b))
	}
	return err
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
	c.stage.kill()
}

// abort ends a call that cannot go on, by no fault of its program.
func (c *call) abort(err error) {
	if c.fault == nil {
		c.fault = err
	}
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
		// The end of the holder's descriptor tells of its execve, and of its end.
		var events int16
		if len(c.toHolder) > 0 {
			events = unix.POLLOUT
		}
		s.watch(c.stage.start, events)
		if c.released {
			sooner(c.deadline)
		}
	case running:
		s.watch(c.stage.report, unix.POLLIN)
		if c.cause == byItself {
			sooner(c.deadline)
		}
	case burying:
		sooner(s.now.Add(tick))
	case flushing:
		if len(s.pending) < outRoom { // there is room again: nothing else would wake the loop
			sooner(s.now)
		}
	}
	if c.started != nil {
		sooner(c.startedBy)
	}
	if len(s.pending) < outRoom && c.phase >= running && c.phase <= draining {
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
	if c.phase >= running && c.phase <= draining {
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
		if c.stage.output[cell.Stdout] < 0 && c.stage.output[cell.Stderr] < 0 {
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

// fit waits until the stage has fitted itself, and looks that it has.
func (c *call) fit(s *server) {
	kind, body, ok, err := c.nextRecord(s)
	switch {
	case err != nil:
		c.abort(fmt.Errorf("fit the stage: %w", err))
	case !ok:
	case kind == recordFitted:
		seen, err := decodeMounts(body)
		if err == nil {
			err = c.checkFit(seen)
		}
		if err != nil {
			c.abort(err)
			return
		}
		c.stage.mounts = seen
		c.start(s)
	default:
		c.abort(fmt.Errorf("record kind %d while a stage is fitted: %w", kind, cell.ErrProtocol))
	}
}

func (c *call) checkFit(seen mounts) error {
	x := &c.request.Exec
	for _, path := range callFilesystems(x.Workspace) {
		if !fits(seen.sizes[path], x.DiskBytes) {
			return fmt.Errorf("size %s to %d bytes: the kernel made it %d", path, x.DiskBytes, seen.sizes[path])
		}
	}
	if x.Workspace == cell.WorkspaceMoved && seen.workspace == c.stage.mounts.workspace {
		return errors.New("workspace was not mounted by the host")
	}
	return nil
}

// nextRecord takes the stage's next record while the program does not run. A
// fault, and the end of the reports, are errors.
func (c *call) nextRecord(s *server) (kind uint32, body []byte, ok bool, err error) {
	ended, err := c.stage.readRecords()
	if err != nil {
		return 0, nil, false, err
	}
	if kind, body, ok, err = c.stage.record(); err != nil || ok {
		if ok && kind == raw.RecordFault && c.phase == fitting {
			f, ferr := raw.DecodeFault(body)
			return kind, nil, false, errors.Join(ferr, fmt.Errorf("step %d: %w", f.Tag, f.Errno))
		}
		return kind, body, ok, err
	}
	switch {
	case ended:
		return 0, nil, false, errStageGone
	case s.now.After(c.deadline):
		return 0, nil, false, fmt.Errorf("nothing after %v", readyWithin)
	}
	return 0, nil, false, nil
}

// awaitStart waits for the holder to be another program, or to have failed.
func (c *call) awaitStart(s *server) {
	c.writeHolder()
	if !hungUp(c.stage.start) {
		if c.released && s.now.After(c.deadline) {
			c.abort(fmt.Errorf("the program is not started after %v", readyWithin))
		}
		return
	}
	ended, err := c.stage.readRecords()
	if err != nil {
		c.abort(err)
		return
	}
	var limits *cell.Started
	for {
		kind, body, ok, err := c.stage.record()
		if err != nil {
			c.abort(err)
			return
		}
		if !ok {
			break
		}
		switch kind {
		case recordStarted:
			x, err := decodeStarted(body, c.request.Pids > 0)
			if err != nil {
				c.abort(err)
				return
			}
			limits = &x
		case raw.RecordFault:
			c.startFailed(body)
			return
		case raw.RecordEnd:
			if limits != nil && c.released { // it ran, and is over already
				c.up(s, *limits)
				c.over(body)
				return
			}
			c.abort(errors.New("the process that was to become the program was ended before"))
			return
		}
	}
	switch {
	case limits != nil && c.released:
		c.up(s, *limits)
	case !c.released && c.cause != byItself: // killed while it waited
		c.toBurying()
	case ended:
		c.abort(errStageGone)
	case c.released && s.now.After(c.deadline):
		c.abort(fmt.Errorf("the program is not started after %v", readyWithin))
	}
}

// hungUp reports whether nobody holds the other end of a pipe that is written to.
func hungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd)}} //nolint:gosec // a descriptor
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLERR != 0
}

// startFailed ends a call whose program could not be executed.
func (c *call) startFailed(body []byte) {
	f, err := raw.DecodeFault(body)
	if err != nil {
		c.abort(err)
		return
	}
	c.end.StartError, c.end.StartErrno = startFault(&c.request.Exec, c.holder, f).Error(), int(f.Errno)
	c.stage.kill()
	c.toBurying()
}

// up notes that the program runs.
func (c *call) up(s *server, limits cell.Started) {
	c.isUp, c.phase, c.began = true, running, s.now
	c.deadline = s.now.Add(c.request.WallTime)
	limits.WallTime, limits.DiskBytes = c.request.WallTime, make(map[string]int64, 4)
	for _, path := range callFilesystems(c.request.Workspace) {
		limits.DiskBytes[path] = c.stage.mounts.sizes[path]
	}
	c.started, c.startedBy = cell.AppendStarted(nil, limits), s.now.Add(tick)
	if next := c.request.Next; next != nil && s.next == nil {
		if err := s.prepare(*next); err != nil {
			s.poison(err)
		}
	}
}

// tellStarted sends the news of the start. A short program's come with its end,
// so that the host is woken once.
func (c *call) tellStarted(s *server) {
	if c.started != nil {
		s.send(cell.KindStarted, c.started)
		c.started = nil
	}
}

// awaitEnd waits for the stage's report that the program and all that it left
// are gone.
func (c *call) awaitEnd(s *server) {
	if c.cause == byItself && !s.now.Before(c.deadline) {
		c.kill(timedOut)
	}
	ended, err := c.stage.readRecords()
	if err != nil {
		c.abort(err)
		return
	}
	kind, body, ok, err := c.stage.record()
	switch {
	case err != nil:
		c.abort(err)
	case ok && kind == raw.RecordEnd:
		c.over(body)
	case ok && kind == raw.RecordFault:
		f, ferr := raw.DecodeFault(body)
		c.abort(errors.Join(ferr, fmt.Errorf("the call's stage: %w", f.Errno)))
	case ok:
		c.abort(fmt.Errorf("record kind %d from a stage whose program runs: %w", kind, cell.ErrProtocol))
	case ended:
		if c.cause == byItself {
			c.fault = errStageGone
		}
		c.toBurying()
	}
}

// over notes how the program ended. After this report nothing of it is left.
func (c *call) over(body []byte) {
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
	c.end.RunTime = time.Since(c.began)
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
	closeFD(&c.stage.stdin)
	c.phase = flushing
}

func (c *call) pumpOutput(s *server) {
	for _, stream := range []cell.Stream{cell.Stdout, cell.Stderr} {
		if fd := &c.stage.output[stream]; *fd >= 0 {
			n, ended := c.pumps[stream].run(c, s, *fd)
			c.total += n
			if ended {
				closeFD(fd)
			}
		}
	}
	if limit := c.request.OutputTotalBytes; limit > 0 && c.total > limit {
		c.kill(outputLimit)
	}
}

// refit writes down how a stage is fitted to a call that it was not made for: new
// file systems go over the first ones, which gVisor can do where it cannot resize.
func (p *plan) refit(s *raw.Script, n *stage, x *cell.Exec) {
	own := n.spec.Workspace == cell.WorkspaceEphemeral
	if own && x.Workspace == cell.WorkspaceCell {
		s.Call("uncover the cell's workspace", unix.SYS_UMOUNT2, cell.Workspace, unix.MNT_DETACH)
	}
	if !own && x.Workspace == cell.WorkspaceEphemeral {
		// What is mounted over a directory goes away when the host removes that.
		s.Call("take the cell's workspace away", unix.SYS_UMOUNT2, cell.Workspace, unix.MNT_DETACH).Ignore(unix.EINVAL)
	}
	if !fits(n.mounts.sizes["/tmp"], x.DiskBytes) || !own && x.Workspace == cell.WorkspaceEphemeral {
		size := sizeOptions(x.DiskBytes)
		scratch(s, s.String("mode=1777,"+size), s.String(ownedOptions()+size), x.Workspace == cell.WorkspaceEphemeral)
	}
	record := s.Data(make([]byte, 8+mountsBytes))
	binary.NativeEndian.PutUint32(s.Bytes(record, 8), recordFitted)
	binary.NativeEndian.PutUint32(s.Bytes(record, 8)[4:], uint32(8+mountsBytes))
	lookAtMounts(s, record+8)
	s.Call("tell that the stage fits", unix.SYS_WRITE, p.fds[fdReport], record, 8+mountsBytes)
}
