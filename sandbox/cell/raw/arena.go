//go:build linux

package raw

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// MaxInboxBytes bounds a script that is sent to a waiting process.
const MaxInboxBytes = 2 << 20

// Inboxes is how many places there are for scripts that come to waiting processes.
// Processes that share their memory must not share one.
const Inboxes = 2

const (
	signalBytes  = 16 // all signals, and the mask before
	scratchBytes = 16 << 10
	maxDrops     = 255
	stackWindow  = 16 << 10 // around the stack pointer; nosplit code has less
	programBytes = 384 << 10
	stackBytes   = 8 << 10 // of a process that shares its memory; the linker bounds nosplit code to a tenth
)

// Arena is memory that is at the same address in a process and in all processes
// that it forks, each with its own copy unless it was Spawned. The inboxes at its end
// are where waiting processes take scripts; their pages exist only where they were
// written.
type Arena struct {
	mem     []byte
	used    uintptr
	scratch uintptr
	drop    uintptr
	inboxes uintptr

	keepLow, keepHigh uintptr // of the stack, whatever findRuntime writes down
}

// NewArena makes an arena. It stays for the life of the process.
func NewArena() (*Arena, error) {
	mem, err := syscall.Mmap(-1, 0, programBytes+Inboxes*MaxInboxBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("make arena: %w", err)
	}
	a := &Arena{mem: mem, used: signalBytes, inboxes: programBytes}
	a.scratch, a.drop = a.reserve(scratchBytes), a.reserve(16*(maxDrops+1))
	return a, nil
}

func (a *Arena) base() uintptr { return uintptr(unsafe.Pointer(&a.mem[0])) } // #nosec G103 -- it is not the collector's memory

func (a *Arena) reserve(n uintptr) uintptr {
	off := (a.used + 15) &^ 15
	if off+n > a.inboxes {
		panic("raw: the arena is full")
	}
	a.used = off + n
	return off
}

// Word reserves a place of 64 bits.
func (a *Arena) Word() Word { return Word{a.reserve(8)} }

// Reserve reserves n bytes and returns their address.
func (a *Arena) Reserve(n int) uintptr { return a.base() + a.reserve(uintptr(n)) }

// Addr is the address of a Word.
func (a *Arena) Addr(w Word) uintptr { return a.base() + w.off }

// WordAt is the place of 64 bits at an address that Reserve returned.
func (a *Arena) WordAt(addr uintptr) Word { return Word{addr - a.base()} }

// IntAt is the place of 32 bits at an address that Reserve returned.
func (a *Arena) IntAt(addr uintptr) Int { return Int{addr - a.base()} }

// Bytes is the memory at an address that Reserve or Addr returned.
func (a *Arena) Bytes(addr uintptr, n int) []byte {
	off := addr - a.base()
	return a.mem[off : off+uintptr(n) : off+uintptr(n)]
}

// Script begins a script of up to so many ops that will be Put into the arena.
func (a *Arena) Script(ops, dataBytes int) *Script {
	off := a.reserve(uintptr(ops)*opBytes + uintptr(dataBytes))
	return &Script{arena: a, off: off, max: ops, buf: make([]byte, uintptr(ops)*opBytes, uintptr(ops)*opBytes+uintptr(dataBytes))}
}

// Put writes a script into the arena, where processes forked from now on find it.
func (a *Arena) Put(s *Script) {
	if uintptr(len(s.buf)) > uintptr(cap(s.buf)) || s.off+uintptr(len(s.buf)) > a.used {
		panic("raw: script outgrew its reservation")
	}
	copy(a.mem[s.off:], s.buf)
}

// Role is what a forked process needs of its own to run scripts while the one that
// forked it does the same in the same memory. One process at a time may have it.
type Role struct{ off uintptr }

// Role reserves one, whose records go to report's descriptor.
func (a *Arena) Role(report Int) Role {
	off := a.reserve(unsafe.Sizeof(machine{}))
	*(*machine)(unsafe.Pointer(&a.mem[off])) = machine{ //nolint:gosec // memory that the collector does not know
		base: unsafe.Pointer(&a.mem[0]), scratch: a.reserve(scratchBytes), drop: a.drop, report: report.off, //nolint:gosec // likewise
	}
	return Role{off}
}

// Stack reserves a stack for a Spawned process and returns its address.
func (a *Arena) Stack() uintptr { return a.base() + a.reserve(stackBytes) + stackBytes }

// Room is memory for an inbox's scripts, one after another. It is not safe for concurrent
// use.
type Room struct{ script, message []byte }

// roomBytes is the most that a Room keeps of each kind.
const roomBytes = 64 << 10

// Inbox begins a script of up to so many ops for a process that waits for it with
// Receive. It is made in room, if that is not nil: its message must have been written
// before the next script is begun there.
func (a *Arena) Inbox(inbox, ops int, room *Room) *Script {
	if room == nil {
		room = &Room{}
	}
	n := ops * int(opBytes)
	buf := room.script
	if cap(buf) < n {
		buf = make([]byte, n, n+4096)
	}
	buf = buf[:n]
	clear(buf)
	return &Script{arena: a, off: a.inboxAt(inbox), max: ops, buf: buf, tags: make([]string, 0, ops), room: room}
}

func (a *Arena) inboxAt(inbox int) uintptr { return a.inboxes + uintptr(inbox)*MaxInboxBytes }

// InboxMemory is the address and the size of all inboxes.
func (a *Arena) InboxMemory() (addr, size uintptr) {
	return a.base() + a.inboxes, Inboxes * MaxInboxBytes
}

// Message is the script as it is sent to the waiting process; for those of an Inbox, once
// for each.
func (s *Script) Message() ([]byte, error) {
	if len(s.buf) > MaxInboxBytes {
		return nil, fmt.Errorf("request of %d bytes for a prepared process, at most %d: %w", len(s.buf), MaxInboxBytes, syscall.E2BIG)
	}
	out := binary.NativeEndian.AppendUint64(s.room.message[:0], uint64(len(s.buf)))
	out = append(out, s.buf...)
	if cap(s.buf) <= roomBytes && cap(out) <= roomBytes {
		s.room.script, s.room.message = s.buf, out
	}
	return out, nil
}

// Receive appends the taking of a Message from a descriptor into an inbox and goes on
// with it.
func (s *Script) Receive(tag string, fd any, inbox int) {
	size, at := s.arena.Word(), s.arena.inboxAt(inbox)
	s.ReadAll(tag, fd, s.arena.Addr(size), 8)
	s.ReadAll(tag, fd, s.arena.base()+at, size)
	s.Jump(at)
}

// findRuntime writes down which memory only the Go runtime needs: anonymous
// mappings other than this arena, the stack that the forked process goes on with,
// which lies around sp, and what the calling thread has of its own. That must be the
// main one.
func (a *Arena) findRuntime(sp uintptr) error {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("look for the runtime's memory: %w", err)
	}
	page := uintptr(os.Getpagesize())
	low, high := (sp-stackWindow)&^(page-1), (sp+stackWindow)&^(page-1)
	a.keepLow, a.keepHigh = low, high
	if strings.Contains(string(text), ".so") { // a C library: the thread's own memory may be anywhere
		a.keepLow, a.keepHigh = 0, ^uintptr(0)
		clear(a.mem[a.drop : a.drop+16])
		return nil
	}
	at := a.drop
	keep := [][2]uintptr{{low, high}, {a.base(), a.base() + uintptr(len(a.mem))}}
	if own := threadMemory(); own != 0 {
		keep = append(keep, [2]uintptr{own &^ (page - 1), own&^(page-1) + page})
	}
	var drop func(from, to uintptr, keep [][2]uintptr)
	drop = func(from, to uintptr, keep [][2]uintptr) {
		switch {
		case from >= to || at >= a.drop+16*maxDrops:
		case len(keep) == 0:
			binary.NativeEndian.PutUint64(a.mem[at:], uint64(from))
			binary.NativeEndian.PutUint64(a.mem[at+8:], uint64(to-from))
			at += 16
		default:
			drop(from, min(to, max(from, keep[0][0])), keep[1:])
			drop(max(from, min(to, keep[0][1])), to, keep[1:])
		}
	}
	for line := range strings.Lines(string(text)) {
		var from, to uintptr
		var perms, offset, device string
		var inode uint64
		// Anonymous memory has no inode and, but for the kernel's own, no name.
		if n, _ := fmt.Sscanf(line, "%x-%x %s %s %s %d", &from, &to, &perms, &offset, &device, &inode); n != 6 || inode != 0 ||
			strings.Contains(line, "[") && !strings.Contains(line, "[anon: Go") {
			continue
		}
		drop(from, to, keep)
	}
	clear(a.mem[at : at+16])
	return nil
}
