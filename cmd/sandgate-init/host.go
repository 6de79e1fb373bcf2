//go:build linux

package main

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// openHost returns the descriptors to read from and to write to the host.
func openHost() (in, out int, err error) {
	in, out = 0, 1
	if exists(cell.SocketPath) {
		if in, err = connect(cell.SocketPath); err != nil {
			return 0, 0, err
		}
		out = in
	}
	for _, fd := range []int{in, out} {
		if err := unix.SetNonblock(fd, true); err != nil {
			return 0, 0, fmt.Errorf("open the way to the host: %w", err)
		}
	}
	return in, out, nil
}

// connect is for the socket, which only this process can reach: it is covered
// before there is any other.
func connect(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("reach the host: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return 0, errors.Join(fmt.Errorf("reach the host: %w", err), unix.Close(fd))
	}
	// More than the usual 200 KiB under way is only faster.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, outRoom)
	return fd, nil
}

// read takes what the host has sent; gone says that it hung up.
func (s *server) read() (gone bool, err error) {
	for {
		n, err := s.receive(s.frames.Space(64 << 10))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case errors.Is(err, unix.ECONNRESET), err == nil && n == 0:
			return true, nil
		case err != nil:
			return false, fmt.Errorf("read from the host: %w", err)
		}
		s.frames.Advance(n)
		for {
			kind, body, ok, err := s.frames.Next()
			if err == nil && ok {
				err = s.dispatch(kind, body)
			}
			if err != nil {
				return false, fmt.Errorf("serve the host: %w", err)
			}
			if !ok {
				break
			}
		}
		if n < 64<<10 {
			return false, nil
		}
	}
}

// takesDoors reports that the host can let programs run itself: the stage that tells of
// their end has to see what the holder has noted.
func (s *server) takesDoors() bool { return s.plan.shared && s.in == s.out }

// receive reads from the host, and the doors until they have come.
func (s *server) receive(b []byte) (int, error) {
	if s.doors != nil || !s.takesDoors() {
		return unix.Read(s.in, b)
	}
	rights := make([]byte, unix.CmsgSpace(4*cell.Slots))
	n, got, flags, _, err := unix.Recvmsg(s.in, b, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil || got == 0 && flags&unix.MSG_CTRUNC == 0 {
		return n, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:got])
	if err == nil && (len(messages) != 1 || flags&unix.MSG_CTRUNC != 0 || s.given != nil) {
		err = fmt.Errorf("descriptors in %d messages, want %d in one, once: %w", len(messages), cell.Slots, cell.ErrProtocol)
	}
	if err == nil {
		s.given, err = unix.ParseUnixRights(&messages[0])
	}
	return n, err
}

// takeDoors begins to use the doors that came with a frame.
func (s *server) takeDoors(body []byte) error {
	if len(s.given) != cell.Slots || s.doors != nil || s.call != nil || s.next != nil || len(body) != 0 {
		return fmt.Errorf("doors with %d descriptors, after others or stages, or where none are taken: %w", len(s.given), cell.ErrProtocol)
	}
	s.doors = s.given
	return nil
}

func (s *server) dispatch(kind cell.Kind, body []byte) error {
	switch kind {
	case cell.KindDoors:
		return s.takeDoors(body)
	case cell.KindPrepare:
		spec, err := cell.DecodeStage(body)
		if err != nil {
			return err
		}
		return s.prepare(spec)
	case cell.KindExec:
		request, err := cell.DecodeExec(body)
		if err != nil {
			return err
		}
		return s.exec(request)
	case cell.KindStdin, cell.KindStdinClose, cell.KindRelease, cell.KindSignal, cell.KindResize, cell.KindKill:
		seq, rest, err := cell.DecodeSeq(body)
		if err != nil {
			return err
		}
		if s.call == nil || s.call.request.Seq != seq {
			return nil // came too late for its call
		}
		return s.call.frame(s, kind, rest)
	}
	return fmt.Errorf("frame kind %d is not for init: %w", kind, cell.ErrProtocol)
}

// send puts a frame in line for the host.
func (s *server) send(kind cell.Kind, parts ...[]byte) {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	s.makeRoom(maxOutputHead + n)
	s.pending = cell.AppendFrame(s.pending, kind, parts...)
}

// waiting is how much the host has not got yet.
func (s *server) waiting() int { return len(s.pending) - s.written }

// makeRoom makes room for n more bytes in pending.
func (s *server) makeRoom(n int) {
	if cap(s.pending)-len(s.pending) >= n {
		return
	}
	s.pending = s.pending[:copy(s.pending, s.pending[s.written:])]
	s.written = 0
	s.pending = slices.Grow(s.pending, n)
}

// flush writes what waits for the host, as far as it takes it. When it cannot,
// the host is gone or the protocol is broken: there is nothing left to serve.
func (s *server) flush() error {
	for s.waiting() > 0 {
		n, err := unix.Write(s.out, s.pending[s.written:])
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return fmt.Errorf("write to the host: %w", err)
		default:
			s.written += n
		}
	}
	s.pending, s.written = s.pending[:0], 0
	if cap(s.pending) > 4*outRoom {
		s.pending = nil
	}
	return nil
}
