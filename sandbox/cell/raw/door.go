//go:build linux

package raw

import (
	"syscall"
	"unsafe"
)

// Door is where a process notes that it was let pass, and when, for the one that shares
// its memory and will tell of its end.
type Door struct{ off uintptr }

// door is what lies there. Nothing clears it: a number is used once.
type door struct {
	number uintptr // of the last that passed
	at     uintptr // nanoseconds of the monotonic clock
}

// DoorMessageBytes is the size of what lets a process pass: its number, as the machine
// writes it.
const DoorMessageBytes = 8

// Door reserves one.
func (a *Arena) Door() Door { return Door{a.reserve(unsafe.Sizeof(door{}))} }

// Pass appends waiting for a number, more than 0, on a descriptor from which nobody else
// reads. Smaller numbers are passed over: they were for those before, which were ended
// before they had read them. When the other end is closed the process ends with status 0.
func (s *Script) Pass(tag string, fd any, number uint64, d Door) {
	o := op{code: opPass}
	s.arguments(&o, []any{fd, uintptr(number), d.off})
	s.add(o, tag)
}

//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) door(off uintptr) *door { return (*door)(unsafe.Add(m.base, off)) }

//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) pass(o *op) {
	got := m.word(m.scratch)
	for {
		n, _, e := syscall.RawSyscall6(syscall.SYS_READ, m.arg(o, 0), uintptr(unsafe.Pointer(got)), DoorMessageBytes, 0, 0, 0) //nolint:gosec // an address
		switch {
		case e == syscall.EINTR:
			continue
		case e != 0:
			m.fault(o.tag, e, 0)
		case n == 0:
			exit(0)
		case n != DoorMessageBytes || *got > o.args[1]:
			m.fault(o.tag, syscall.EPROTO, 0)
		case *got < o.args[1]:
			continue
		}
		d := m.door(o.args[2])
		d.at, d.number = m.clock(), o.args[1]
		return
	}
}

// clock returns nanoseconds of the monotonic clock.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) clock() uintptr {
	const monotonic = 1
	now := (*[2]uintptr)(unsafe.Add(m.base, m.scratch+clockScratch))
	_, _, _ = syscall.RawSyscall6(syscall.SYS_CLOCK_GETTIME, monotonic, uintptr(unsafe.Pointer(now)), 0, 0, 0, 0) //nolint:gosec // an address
	return now[0]*1e9 + now[1]
}

// sincePassed is how long before now, by that clock, a number has passed a door; 0: it
// has not.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) sincePassed(at, number, now uintptr) int64 {
	d := m.door(at)
	if number == 0 || d.number != number {
		return 0
	}
	return max(1, int64(now-d.at)) //nolint:gosec // a duration
}
