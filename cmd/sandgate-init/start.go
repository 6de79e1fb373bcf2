//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"

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
	if x.Workspace == cell.WorkspaceEmpty && (seen.workspace == c.stage.mounts.workspace || seen.writable) {
		return errors.New("make the workspace read-only: the kernel lets it be written to")
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

// refit writes down how a stage is fitted to a call that it was not made for: new
// file systems go over the first ones, which gVisor can do where it cannot resize.
func (p *plan) refit(s *raw.Script, n *stage, x *cell.Exec) {
	own := n.spec.Workspace == cell.WorkspaceEphemeral
	if own && x.Workspace == cell.WorkspaceCell {
		s.Call("uncover the cell's workspace", unix.SYS_UMOUNT2, cell.Workspace, unix.MNT_DETACH)
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
