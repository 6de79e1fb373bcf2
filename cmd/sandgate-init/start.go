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

// What follows takes a call from its Exec to its program: the stage is fitted to it,
// the holder gets its script, waits for the host's release and is executed.

// begin fits the stage to the call, if it does not fit as it is, and starts the
// program.
func (c *call) begin(s *server) {
	c.began, c.deadline = s.now, s.now.Add(readyWithin)
	if c.request.Terminal != nil {
		var err error
		if c.terminal, err = c.stage.openTerminal(*c.request.Terminal); err != nil {
			c.abort(err)
			return
		}
	}
	steps := 1
	c.phase = starting
	if !c.fitsAsItIs() {
		c.phase = fitting
		steps += refitSteps
	}
	script := s.plan.arena.Inbox(stageInbox, steps, &s.plan.rooms[stageInbox])
	if c.phase == fitting {
		s.plan.refit(script, c.stage, &c.request.Exec)
	}
	number := uint64(0)
	if c.request.Door {
		number = c.request.Seq
	}
	script.Reap(s.plan.holder, callFilesystems(c.request.Workspace), s.plan.fds[fdControl], s.plan.door, number)
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
	return x.Terminal == nil && x.Workspace == n.spec.Workspace && x.Workspace != cell.WorkspaceMoved
}

// start tells the holder what to become.
func (c *call) start(s *server) {
	c.phase = starting
	c.holder = s.plan.holderScript(&c.request, c.terminal)
	message, err := c.holder.Message()
	if err != nil {
		c.abort(err)
		return
	}
	c.toHolder = message
	if len(message) > bulk {
		s.forks[c.stage.spec.Slot].bulky = true
	}
	if c.released {
		if c.request.Hold && !c.request.Door {
			c.toHolder = append(c.toHolder, releaseByte)
		}
		c.letGo(s)
		return
	}
	c.writeHolder()
	c.makeNext(s) // while the host gets ready, the processors have time
	c.lookAt = s.now.Add(c.quiet())
}

// atDoor reports that the program waits at its door, for all that init knows.
func (c *call) atDoor() bool { return c.request.Door && !c.released }

// lookAtDoor looks whether a program has been let run of which nobody tells, every now and
// then; of one that has written something, soon.
func (c *call) lookAtDoor(s *server) (executed bool) {
	if c.spoke {
		if soon := s.now.Add(tick); soon.Before(c.lookAt) {
			c.lookAt = soon
		}
	}
	if s.now.Before(c.lookAt) {
		return false
	}
	c.lookAt = s.now.Add(c.quiet())
	fds := []unix.PollFd{{Fd: int32(c.stage.start)}} //nolint:gosec // a descriptor
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&unix.POLLERR != 0
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
	if !c.request.Door { // else the host has let it
		c.toHolder = append(c.toHolder, releaseByte)
	}
	c.letGo(s)
}

// letGo tells the holder the last that it waits for. While it becomes the program, the
// next stage is made, if the call was not held.
func (c *call) letGo(s *server) {
	c.releasedAt, c.deadline = s.now, s.now.Add(readyWithin)
	c.writeHolder()
	c.makeNext(s)
}

// makeNext asks for the stage after this call's, once.
func (c *call) makeNext(s *server) {
	if c.request.Next == nil || c.nextAsked {
		return
	}
	c.nextAsked = true
	if err := s.prepare(*c.request.Next); err != nil {
		s.poison(err)
	}
}

// pollStart adds what a call waits for whose program is to start. The end of the holder's
// descriptor tells of its execve, and of its end; a quick program's end is worth the only
// wake-up, so for a while after the release nothing else is waited for.
func (c *call) pollStart(s *server, sooner func(time.Time)) {
	if c.atDoor() && len(c.toHolder) == 0 {
		s.watch(c.stage.report, unix.POLLIN)
		sooner(c.lookAt)
		c.watchOutput(s)
		return
	}
	if c.released {
		s.watch(c.stage.report, unix.POLLIN)
		sooner(c.deadline)
		if quiet := c.releasedAt.Add(c.quiet()); len(c.toHolder) == 0 && s.now.Before(quiet) {
			sooner(quiet)
			c.watchOutput(s)
			return
		}
		if c.lookedAt.IsZero() {
			c.lookedAt = s.now
		}
	}
	var events int16
	if len(c.toHolder) > 0 {
		events = unix.POLLOUT
	}
	s.watch(c.stage.start, events)
}

// watchOutput waits for the first words of a program for which init has more patience than
// for one that has something to say.
func (c *call) watchOutput(s *server) {
	if c.quiet() <= tick {
		return
	}
	for _, stream := range []cell.Stream{cell.Stdout, cell.Stderr} {
		if fd := c.stage.output[stream]; fd >= 0 {
			s.watch(fd, unix.POLLIN)
		}
	}
}

// quiet is how long after its release a program may run before init looks at it: most have
// ended by then. One that is to be fed, or that somebody watches, has a tick, and so has one
// that has written something.
func (c *call) quiet() time.Duration {
	x := &c.request.Exec
	if c.spoke || c.request.HasStdin || x.Live || x.Terminal != nil {
		return tick
	}
	return min(quietFor, max(x.WallTime, tick))
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
	moved := x.Workspace == cell.WorkspaceMoved || x.Workspace == cell.WorkspaceBelow && c.stage.spec.Workspace != cell.WorkspaceBelow
	if moved && seen.workspace == c.stage.mounts.workspace {
		return errors.New("workspace was not mounted by the host")
	}
	if x.Workspace == cell.WorkspaceEmpty && (seen.workspace == c.stage.mounts.workspace || seen.writable) {
		return errors.New("make the workspace read-only: the kernel lets it be written to")
	}
	return nil
}

// nextRecord takes the stage's next record while the program does not run. A
// fault, and the end of the reports, are errors.
func (c *call) nextRecord(s *server) (kind uint32, body []byte, ok bool, err error) {
	if err := c.stage.look(s); err != nil {
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
	case c.stage.ended:
		return 0, nil, false, errStageGone
	case s.now.After(c.deadline):
		return 0, nil, false, fmt.Errorf("nothing after %v", readyWithin)
	}
	return 0, nil, false, nil
}

// awaitStart waits for the holder to be another program, or to have failed.
func (c *call) awaitStart(s *server) {
	c.writeHolder()
	c.spoke = c.spoke || s.saw(c.stage.output[cell.Stdout]) != 0 || s.saw(c.stage.output[cell.Stderr]) != 0
	executed := s.saw(c.stage.start)&unix.POLLERR != 0 // or ended
	if c.atDoor() {
		executed = c.lookAtDoor(s) || executed
	}
	var err error
	if executed {
		err = c.stage.readRecords() // all that it said before
	} else {
		err = c.stage.look(s)
	}
	if err != nil {
		c.abort(err)
		return
	}
	for c.phase == starting {
		kind, body, ok, err := c.stage.record()
		if err != nil {
			c.abort(err)
			return
		}
		if !ok {
			break
		}
		c.startRecord(s, kind, body)
	}
	switch {
	case c.phase != starting:
	case (executed || c.stage.ended) && !c.released && c.cause != byItself: // killed while it waited
		c.toBurying()
	case (executed || c.stage.ended) && (c.released || c.request.Door) && c.limits != nil: // it may have run
		c.up(s)
	case c.stage.ended:
		c.abort(errStageGone)
	case c.released && s.now.After(c.deadline):
		c.abort(fmt.Errorf("the program is not started after %v", readyWithin))
	}
}

// startRecord takes a record of the holder or the stage before the program is known to run.
func (c *call) startRecord(s *server, kind uint32, body []byte) {
	switch kind {
	case recordStarted:
		limits, err := decodeStarted(body, c.request.Pids > 0)
		if err != nil {
			c.abort(err)
			return
		}
		c.limits = &limits
	case raw.RecordFault:
		c.startFailed(body)
	case raw.RecordEnd:
		if end, err := raw.DecodeEnd(body); err == nil && end.Ran > 0 && c.atDoor() {
			c.released, c.releasedAt = true, s.now.Add(-end.Ran)
		}
		if c.limits != nil && c.released { // it ran, and is over already
			c.up(s)
			c.over(s, body)
			return
		}
		c.abort(errors.New("the process that was to become the program was ended before"))
	}
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

// lateLook is how long after the release the first look may be that says that the program
// has run since then. Beyond it init itself had no processor, which the program is not to
// pay for.
const lateLook = 100 * time.Millisecond

// up notes that the program runs: since its release, as near as one can tell, if it was found
// to run at the first look.
func (c *call) up(s *server) {
	c.isUp, c.phase, c.began = true, running, s.now
	wait := c.quiet()
	switch {
	case c.atDoor(): // found by a look, which was late enough
		c.released, wait = true, 0
	case c.lookedAt.IsZero(), s.now.Sub(c.lookedAt) < 2*tick && c.lookedAt.Sub(c.releasedAt) < lateLook:
		c.began = c.releasedAt
	}
	c.deadline = c.began.Add(c.request.WallTime)
	c.limits.WallTime, c.limits.DiskBytes = c.request.WallTime, make(map[string]int64, 4)
	for _, path := range callFilesystems(c.request.Workspace) {
		c.limits.DiskBytes[path] = c.stage.mounts.sizes[path]
	}
	c.started, c.startedBy = cell.AppendStarted(nil, *c.limits), c.began.Add(wait)
	for _, signal := range c.early {
		c.signal(signal)
	}
	c.early = nil
}

// refitSteps is more than refit writes down.
const refitSteps = 32

// refit writes down how a stage is fitted to a call that it was not made for: new
// file systems go over the first ones, which gVisor can do where it cannot resize.
func (p *plan) refit(s *raw.Script, n *stage, x *cell.Exec) {
	if x.Terminal != nil {
		s.Call("uncover the cell's terminals", unix.SYS_UMOUNT2, terminals, unix.MNT_DETACH)
	}
	own := n.spec.Workspace == cell.WorkspaceEphemeral
	if own && (x.Workspace == cell.WorkspaceCell || x.Workspace == cell.WorkspaceBelow) {
		s.Call("uncover the cell's workspace", unix.SYS_UMOUNT2, cell.Workspace, unix.MNT_DETACH)
	}
	if x.Workspace == cell.WorkspaceBelow && n.spec.Workspace != cell.WorkspaceBelow {
		s.Call("bind the workspace that the host has put below", unix.SYS_MOUNT, workspaceBelow, cell.Workspace, 0, unix.MS_BIND, 0)
	}
	if !own && (x.Workspace == cell.WorkspaceEphemeral || x.Workspace == cell.WorkspaceEmpty) {
		// What is mounted over a directory goes away when the host removes that.
		s.Call("take the cell's workspace away", unix.SYS_UMOUNT2, cell.Workspace, unix.MNT_DETACH).Ignore(unix.EINVAL)
	}
	if !fits(n.mounts.sizes["/tmp"], x.DiskBytes) || !own && x.Workspace == cell.WorkspaceEphemeral {
		size := sizeOptions(x.DiskBytes)
		scratch(s, s.String("mode=1777,"+size), s.String(ownedOptions()+size), x.Workspace == cell.WorkspaceEphemeral)
	}
	if x.Workspace == cell.WorkspaceEmpty {
		s.Call("mount the empty workspace", unix.SYS_MOUNT, "tmpfs", cell.Workspace, "tmpfs", tmpfsFlags|unix.MS_RDONLY,
			fmt.Sprintf("mode=0555,uid=%d,gid=%d,size=4k,nr_inodes=2", cell.PayloadUID, cell.PayloadGID))
	}
	record := s.Data(make([]byte, 8+mountsBytes))
	binary.NativeEndian.PutUint32(s.Bytes(record, 8), recordFitted)
	binary.NativeEndian.PutUint32(s.Bytes(record, 8)[4:], uint32(8+mountsBytes))
	lookAtMounts(s, record+8)
	s.Call("tell that the stage fits", unix.SYS_WRITE, p.fds[fdReport], record, 8+mountsBytes)
}
