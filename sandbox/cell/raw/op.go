//go:build linux

package raw

import (
	"fmt"
	"syscall"
	"unsafe"
)

// What an op does.
const (
	opCall       = iota // a system call
	opFork              // clone(2): the child goes on at target, the parent with the next op
	opSpawn             // likewise, in the role args[1], with the same memory on the stack args[2] unless it is 0
	opReadAll           // reads args[2] bytes from args[0] to args[1]; an end of file ends the process
	opJump              // goes on at the offset args[0]
	opExitIfZero        // ends the process, with status 0, when args[0] is zero
	opSlim              // unmaps what only the Go runtime needs
	opSignals           // gives every signal its default action
	opReap              // waits for the program and ends what it left; see reap.go
	opExec              // tries the paths of a list one after another; see interp.go
	opCopy              // copies 32 bits from offset args[0] to offset args[1]
	opPass              // waits at the door args[2] for the number args[1] from args[0]; see door.go
	opExit              // ends the process with status args[0]
)

// How the interpreter gets an argument.
const (
	immediate = iota
	fromWord  // the 64 bits at this offset of the arena
	fromInt   // the 32 bits at this offset, a descriptor mostly
)

// op is one step of a script. It lies in the arena as it is.
type op struct {
	code   uint32
	tag    uint32 // of its fault
	nr     uintptr
	args   [6]uintptr
	mode   [6]uint8
	ignore [3]uint8 // errnos that count as success
	_      [7]byte
	keep   uintptr // offset+1 where the result goes as a word; 0: nowhere
	target uintptr // offset of the op to go on with
}

const opBytes = unsafe.Sizeof(op{})

// Word is a place of 64 bits in the arena.
type Word struct{ off uintptr }

// Int is a place of 32 bits in the arena.
type Int struct{ off uintptr }

// Script is a list of ops under construction, with the data that they point to.
// It is not safe for concurrent use.
type Script struct {
	arena *Arena
	off   uintptr // of the first op within the arena
	buf   []byte  // ops, then data
	ops   int
	max   int
	tags  []string
	room  *Room // of an inbox
}

// add appends an op. A script that is larger than was announced is a mistake of
// the program, not of its input.
func (s *Script) add(o op, tag string) int {
	if s.ops == s.max {
		panic("raw: script has more ops than were reserved")
	}
	o.tag = uint32(len(s.tags)) //nolint:gosec // a few hundred at most
	s.tags = append(s.tags, tag)
	*(*op)(unsafe.Pointer(&s.buf[uintptr(s.ops)*opBytes])) = o //nolint:gosec // the arena's own layout
	s.ops++
	return s.ops - 1
}

func (s *Script) at(i int) *op {
	return (*op)(unsafe.Pointer(&s.buf[uintptr(i)*opBytes])) //nolint:gosec // as above
}

// Data puts bytes beside the ops and returns their address in the processes.
func (s *Script) Data(b []byte) uintptr {
	for len(s.buf)%8 != 0 {
		s.buf = append(s.buf, 0)
	}
	at := uintptr(len(s.buf))
	s.buf = append(s.buf, b...)
	return s.arena.base() + s.off + at
}

// Bytes is what Data put at an address, to be changed until the script is used.
func (s *Script) Bytes(addr uintptr, n int) []byte {
	off := addr - s.arena.base() - s.off
	return s.buf[off : off+uintptr(n)]
}

// String is Data with a NUL behind.
func (s *Script) String(v string) uintptr {
	at := uintptr(len(s.buf))
	s.buf = append(s.buf, v...)
	s.buf = append(s.buf, 0)
	return s.arena.base() + s.off + at
}

// Strings puts an array of strings there, as argv and envp are.
func (s *Script) Strings(v []string) uintptr {
	list := make([]uintptr, 0, len(v)+1)
	for _, x := range v {
		list = append(list, s.String(x))
	}
	return s.words(append(list, 0))
}

func (s *Script) words(v []uintptr) uintptr {
	return s.Data(unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*8)) //nolint:gosec // its bytes
}

// Call appends a system call. An argument is a number, a string (given as its
// address), a Word or an Int. A fault names it by tag.
func (s *Script) Call(tag string, nr uintptr, args ...any) *Step {
	o := op{code: opCall, nr: nr}
	s.arguments(&o, args)
	return &Step{s, s.add(o, tag)}
}

func (s *Script) arguments(o *op, args []any) {
	for i, a := range args {
		switch v := a.(type) {
		case int:
			o.args[i] = uintptr(v)
		case uintptr:
			o.args[i] = v
		case string:
			o.args[i] = s.String(v)
		case Word:
			o.args[i], o.mode[i] = v.off, fromWord
		case Int:
			o.args[i], o.mode[i] = v.off, fromInt
		default:
			panic(fmt.Sprintf("raw: argument of type %T", a))
		}
	}
}

// Fork appends a clone(2). The child goes on at the op that To names later.
func (s *Script) Fork(tag string, flags uintptr) *Step {
	return &Step{s, s.add(op{code: opFork, nr: syscall.SYS_CLONE, args: [6]uintptr{flags}}, tag)}
}

// Spawn appends a clone(2) whose child has a role of its own. With CLONE_VM in flags it
// shares the memory of its parent, runs on a stack (what Arena.Stack returned, or a Word
// that holds it) and costs neither the copying of page tables nor, later, that of pages.
// The kernel stores its pid at an address pid before it runs, if that is not 0 and
// CLONE_PARENT_SETTID is in flags.
func (s *Script) Spawn(tag string, flags uintptr, r Role, stack any, pid uintptr) *Step {
	o := op{code: opSpawn, nr: syscall.SYS_CLONE}
	s.arguments(&o, []any{flags, r.off, stack, pid})
	return &Step{s, s.add(o, tag)}
}

// ReadAll appends the reading of n bytes (a number or a Word) to an address. When
// the other end is closed the process ends with status 0.
func (s *Script) ReadAll(tag string, fd any, to uintptr, n any) {
	o := op{code: opReadAll}
	s.arguments(&o, []any{fd, to, n})
	s.add(o, tag)
}

// Jump goes on at what Here returned, a number or a Word that holds it.
func (s *Script) Jump(to any) {
	o := op{code: opJump}
	s.arguments(&o, []any{to})
	s.add(o, "jump")
}

// ExitIfZero ends the process when a Word is zero.
func (s *Script) ExitIfZero(w Word) {
	s.add(op{code: opExitIfZero, args: [6]uintptr{w.off}, mode: [6]uint8{fromWord}}, "exit")
}

// Slim gives the memory of the Go runtime back, so that what the process forks has
// less to copy. Nothing of it is used from Fork on.
func (s *Script) Slim() { s.add(op{code: opSlim}, "slim") }

// Signals gives every signal its default action.
func (s *Script) Signals() { s.add(op{code: opSignals}, "signals") }

// Copy copies a descriptor from one place to another.
func (s *Script) Copy(from, to Int) {
	s.add(op{code: opCopy, args: [6]uintptr{from.off, to.off}}, "copy")
}

// Exit ends the process.
func (s *Script) Exit(status int) { s.add(op{code: opExit, args: [6]uintptr{uintptr(status)}}, "exit") }

// Here is the offset of the next op: where a Fork's child or a Jump goes.
func (s *Script) Here() uintptr { return s.off + uintptr(s.ops)*opBytes }

// Tag is the text of a fault's tag.
func (s *Script) Tag(n uint32) string {
	if int(n) < len(s.tags) {
		return s.tags[n]
	}
	return fmt.Sprintf("step %d", n)
}

// Step is an op that was appended, to be qualified.
type Step struct {
	s *Script
	i int
}

// Ignore takes up to three error numbers for success.
func (t *Step) Ignore(errs ...syscall.Errno) *Step {
	for i, e := range errs {
		t.s.at(t.i).ignore[i] = uint8(e) //nolint:gosec // those named are small
	}
	return t
}

// Keep stores the result.
func (t *Step) Keep(w Word) *Step {
	t.s.at(t.i).keep = w.off + 1
	return t
}

// To names where the child of a Fork goes on.
func (t *Step) To(target uintptr) { t.s.at(t.i).target = target }
