//go:build linux

package raw

import (
	"errors"
	"syscall"
	"unsafe"
)

// Kinds of records that a process writes to its report descriptor: a header of
// kind and size in bytes, 32 bits each, then the body.
const (
	RecordFault = 1 // tag, errno, detail: 32 bits each. The process has ended.
	RecordEnd   = 2 // see End
	RecordUser  = 16
)

const (
	sigBlock   = 0
	sigSetmask = 2
	prExit     = syscall.SYS_EXIT_GROUP
)

// machine is the state of the interpreter; it lies on the stack of the process, or in
// the arena that of a Role.
type machine struct {
	base    unsafe.Pointer // of the arena
	scratch uintptr        // offset of memory for the interpreter itself
	drop    uintptr        // offset of the ranges that slim drops
	report  uintptr        // offset of the report descriptor, 32 bits

	// For fork alone, whose frame has no room for them.
	keepLow, keepHigh uintptr // where its stack must be
	signal            uintptr // that tells of the process's end
}

// Fork starts a process that runs a script of the arena. report is where the
// descriptor for its records is, which the script may change. The process
// starts with all signals blocked; its end is told by a signal, if that is not 0, and to
// wait4(2) with __WALL. The caller must be the main goroutine, locked to the main thread.
func (a *Arena) Fork(s *Script, report Int, signal syscall.Signal) (pid int, err error) {
	for range 10 {
		// #nosec G103 -- addresses are what this package is about
		m := machine{base: unsafe.Pointer(&a.mem[0]), scratch: a.scratch, report: report.off, drop: a.drop}
		if err := a.findRuntime(uintptr(unsafe.Pointer(&m))); err != nil { // #nosec G103 -- likewise
			return 0, err
		}
		m.keepLow, m.keepHigh, m.signal = a.keepLow, a.keepHigh, uintptr(signal)
		p, e := fork(&m, s.off)
		if e == syscall.EAGAIN && p == 1 { // it was moved
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(p), nil
	}
	return 0, errors.New("the stack of the forking goroutine does not stay where it is")
}

// fork must not be preempted by a signal in the child, whose handlers are those
// of a runtime that is not there. The stack may have been moved, by its growth or by
// the collector, since somebody looked where it is: outside of what is kept it
// forks nothing and returns 1 and EAGAIN. From here on it cannot move.
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func fork(m *machine, pc uintptr) (uintptr, syscall.Errno) {
	if at := uintptr(unsafe.Pointer(m)); at < m.keepLow+stackWindow/2 || at >= m.keepHigh-stackWindow/2 { //nolint:gosec // an address
		return 1, syscall.EAGAIN
	}
	all := (*uint64)(m.base)
	*all = ^uint64(0)
	before := uintptr(m.base) + 8
	if _, _, e := syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, sigBlock, uintptr(m.base), before, 8, 0, 0); e != 0 {
		return 0, e
	}
	pid, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, m.signal, 0, 0, 0, 0, 0)
	if e == 0 && pid == 0 {
		interpret(m, pc)
	}
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, sigSetmask, before, 0, 8, 0, 0)
	return pid, e
}

//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) word(off uintptr) *uintptr { return (*uintptr)(unsafe.Add(m.base, off)) }

//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) int(off uintptr) uintptr { return uintptr(*(*int32)(unsafe.Add(m.base, off))) } //nolint:gosec // a descriptor

//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) arg(o *op, i int) uintptr {
	switch o.mode[i] {
	case fromWord:
		return *m.word(o.args[i])
	case fromInt:
		return m.int(o.args[i])
	}
	return o.args[i]
}

// interpret never returns.
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func interpret(m *machine, pc uintptr) {
	for {
		o := (*op)(unsafe.Add(m.base, pc))
		pc += opBytes
		switch o.code {
		case opCall:
			m.call(o)
		case opFork, opSpawn:
			if m.clone(o) == 0 { // the child, with memory of its own
				if pc = o.target; o.code == opSpawn {
					m = (*machine)(unsafe.Add(m.base, o.args[1]))
				}
			}
		case opReadAll:
			m.readAll(o)
		case opJump:
			pc = m.arg(o, 0)
		case opExitIfZero:
			if m.arg(o, 0) == 0 {
				exit(0)
			}
		case opCopy:
			*(*int32)(unsafe.Add(m.base, o.args[1])) = *(*int32)(unsafe.Add(m.base, o.args[0]))
		case opSlim:
			m.slim()
		case opSignals:
			m.signals()
		case opReap:
			m.reap(o)
		case opExec:
			m.exec(o)
		case opPass:
			m.pass(o)
		default:
			exit(m.arg(o, 0))
		}
	}
}

// clone returns 0 in a child that goes on here. One that shares the memory goes on with
// interpret on its own stack.
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func (m *machine) clone(o *op) uintptr {
	var pid uintptr
	var e syscall.Errno
	if o.code == opSpawn {
		role := (*machine)(unsafe.Add(m.base, o.args[1]))
		pid, e = spawn(m.arg(o, 0), m.arg(o, 2), role, o.target, o.args[3])
	} else {
		pid, _, e = syscall.RawSyscall6(o.nr, m.arg(o, 0), 0, 0, 0, 0, 0)
	}
	if e != 0 {
		m.fault(o.tag, e, 0)
	}
	if pid != 0 && o.keep != 0 {
		*m.word(o.keep - 1) = pid
	}
	return pid
}

// exit is a function of its own for the sake of its callers' frames, of which nosplit
// code has little.
//
//go:nosplit
//go:noinline
//go:norace
func exit(status uintptr) {
	for {
		_, _, _ = syscall.RawSyscall6(prExit, status, 0, 0, 0, 0, 0)
	}
}

//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) call(o *op) {
	for {
		r, _, e := syscall.RawSyscall6(o.nr, m.arg(o, 0), m.arg(o, 1), m.arg(o, 2), m.arg(o, 3), m.arg(o, 4), m.arg(o, 5))
		if e == syscall.EINTR {
			continue
		}
		if e != 0 && e != syscall.Errno(o.ignore[0]) && e != syscall.Errno(o.ignore[1]) && e != syscall.Errno(o.ignore[2]) {
			m.fault(o.tag, e, 0)
		}
		if o.keep != 0 {
			*m.word(o.keep - 1) = r
		}
		return
	}
}

//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) readAll(o *op) {
	fd, to, left := m.arg(o, 0), m.arg(o, 1), m.arg(o, 2)
	for left > 0 {
		n, _, e := syscall.RawSyscall6(syscall.SYS_READ, fd, to, left, 0, 0, 0)
		switch {
		case e == syscall.EINTR:
		case e != 0:
			m.fault(o.tag, e, 0)
		case n == 0:
			exit(0)
		default:
			to, left = to+n, left-n
		}
	}
}

// fault tells why the process cannot go on, and ends it.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) fault(tag uint32, e syscall.Errno, detail uint32) {
	rec := (*[5]uint32)(unsafe.Add(m.base, m.scratch))
	*rec = [5]uint32{RecordFault, 20, tag, uint32(e), detail} //nolint:gosec // error numbers are small
	_, _, _ = syscall.RawSyscall6(syscall.SYS_WRITE, m.int(m.report), uintptr(m.base)+m.scratch, 20, 0, 0, 0)
	exit(1)
}

// slim unmaps the ranges that findRuntime wrote down.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) slim() {
	for at := m.drop; *m.word(at + 8) != 0; at += 16 {
		_, _, _ = syscall.RawSyscall6(syscall.SYS_MUNMAP, *m.word(at), *m.word(at + 8), 0, 0, 0, 0)
	}
}

// signals works on what the kernel says it can.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) signals() {
	action := (*[4]uintptr)(unsafe.Add(m.base, m.scratch)) // SIG_DFL, no flags, no mask
	*action = [4]uintptr{}
	for sig := uintptr(1); sig <= 64; sig++ {
		_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, sig, uintptr(m.base)+m.scratch, 0, 8, 0, 0)
	}
}

// exec tries args[1] paths, whose addresses are at args[0], with argv and envp
// at args[2] and args[3]. As a shell does, it passes over what is not there and
// what it may not execute.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) exec(o *op) {
	list := o.args[0] - uintptr(m.base)
	last, at := syscall.ENOENT, uintptr(0)
	for i := range o.args[1] {
		_, _, e := syscall.RawSyscall6(syscall.SYS_EXECVE, *m.word(list + i*8), o.args[2], o.args[3], 0, 0, 0)
		switch e {
		case syscall.ENOENT, syscall.ENOTDIR, syscall.ENAMETOOLONG:
		case syscall.EACCES:
			if last == syscall.ENOENT {
				last, at = e, i
			}
		default:
			m.fault(o.tag, e, uint32(i))
		}
	}
	m.fault(o.tag, last, uint32(at))
}

// Exec appends the execution of the first of paths that can be; see execve(2).
// Its fault's detail is the index of the path that failed.
func (s *Script) Exec(tag string, paths, argv, env []string) {
	list := make([]uintptr, 0, len(paths))
	for _, p := range paths {
		list = append(list, s.String(p))
	}
	at := s.words(append(list, 0))
	s.add(op{code: opExec, args: [6]uintptr{at, uintptr(len(paths)), s.Strings(argv), s.Strings(env)}}, tag)
}
