//go:build linux

package main

import (
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// quietly is how long at most a wait may last of which the Go runtime
// is not told. It saves the runtime two system calls and a wake-up of its monitor
// for each event of a call. It is less than what makes the monitor interrupt a
// goroutine, and more than mostly passes between the calls of a busy client.
const quietly = 8 * time.Millisecond

// quietlyInGVisor is the same where each system call of the runtime's own takes turns
// with the program on one processor: there it is longer than mostly passes between two
// calls of a session. What else the runtime has to do (a collection, the answer to
// SIGTERM) waits as long at most. The monitor must not interrupt goroutines there:
// sandbox/containerd says so in their environment.
const quietlyInGVisor = 250 * time.Millisecond

// loopSlack is how much later than asked for a wait of the loop may end, in nanoseconds:
// what Linux gives a thread by default, see prctl(2).
const loopSlack = 50_000

// poll waits for one of the descriptors. A wait that a signal ended is one that has
// seen nothing.
func (s *server) poll(wait time.Duration) error {
	err := s.wait(wait)
	if errors.Is(err, unix.EINTR) {
		for i := range s.fds {
			s.fds[i].Revents = 0
		}
		return nil
	}
	return err
}

func (s *server) wait(wait time.Duration) error {
	if s.idle {
		limit := -1
		if wait >= 0 {
			limit = int((wait + time.Millisecond - 1) / time.Millisecond)
		}
		_, err := unix.Poll(s.fds, limit)
		s.idle = false
		// The loop may be on another thread now, with the slack of the one that made it: that
		// of the runtime's watching thread is a second.
		_, _, _ = unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, loopSlack, 0, 0, 0, 0)
		return err
	}
	short := s.quiet
	if wait >= 0 {
		short = min(wait, s.quiet)
	}
	limit := unix.NsecToTimespec(int64(short))
	n, _, e := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&s.fds[0])), uintptr(len(s.fds)), //nolint:gosec // as ppoll(2) wants them
		uintptr(unsafe.Pointer(&limit)), 0, 0, 0) //nolint:gosec // likewise
	if e != 0 {
		return e
	}
	s.idle = n == 0 && wait != short
	return nil
}

// saw returns what the last wait has seen of a descriptor, 0 if it was not watched.
func (s *server) saw(fd int) int16 {
	for i := range s.fds {
		if s.fds[i].Fd == int32(fd) { //nolint:gosec // a descriptor
			return s.fds[i].Revents
		}
	}
	return 0
}

// pollSet collects what to wait for, and for how long; less than 0 is without end.
func (s *server) pollSet() time.Duration {
	s.fds = append(s.fds[:0], unix.PollFd{Fd: int32(s.in), Events: unix.POLLIN}) //nolint:gosec // descriptors
	if s.waiting() > 0 {
		s.watch(s.out, unix.POLLOUT)
	}
	var until time.Time
	sooner := func(t time.Time) {
		if until.IsZero() || t.Before(until) {
			until = t
		}
	}
	if n := s.next; n != nil && !n.clear {
		if n.ready() {
			sooner(s.now.Add(tick)) // only stages of calls before are to go
		} else {
			sooner(n.deadline)
			s.watch(n.report, unix.POLLIN)
		}
	}
	if s.call != nil {
		s.call.pollSet(s, sooner)
	}
	if until.IsZero() {
		return -1
	}
	return max(0, time.Until(until))
}

func (s *server) watch(fd int, events int16) {
	s.fds = append(s.fds, unix.PollFd{Fd: int32(fd), Events: events}) //nolint:gosec // a descriptor
}
