//go:build linux

package raw

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// End is what a stage tells when its program and all that it left are gone.
type End struct {
	Status     syscall.WaitStatus
	CPUUser    time.Duration
	CPUSystem  time.Duration
	MaxRSS     int64 // bytes
	Background int64 // processes that were alive when the program had ended
	Full       bool  // one of the file systems asked about has no room
	// Ran is the time from the program's passing its door to all of it being gone; 0 if it
	// had no door, or was ended before it has passed.
	Ran time.Duration
	// Ended is when the kernel told the stage of the program's own end, by the monotonic
	// clock; Buried is how long it took from then until nothing that it had left was there.
	Ended, Buried time.Duration
}

// Layout of the scratch memory while a stage reaps.
const (
	reapRecord   = 0   // header and endBody
	reapStatus   = 96  // int32
	reapRusage   = 128 // struct rusage
	clockScratch = 320 // struct timespec
	reapStatfs   = 512
	reapPath     = 1024
	reapStat     = 1536 // text of /proc/N/stat, cut
	reapStatCap  = 512
	reapDir      = 2048
	reapDirCap   = scratchBytes - reapDir
)

// cwd stands for AT_FDCWD, which no absolute path needs.
const cwd = ^uintptr(99)

// endBody follows the header of a RecordEnd.
type endBody struct {
	status, full             uint32
	user, system, rss, alive int64
	ran                      int64
	ended, gone              uintptr // nanoseconds of the monotonic clock
}

const endBytes = 8 + int(unsafe.Sizeof(endBody{}))

// Reap appends the last step of a stage: it waits for the process whose pid is in
// program, ends whatever that left behind, looks at the file systems when it
// failed and writes a RecordEnd to the descriptor in the process's report word. Then
// it stays until the other end of the pipe leave is closed: its own end, which takes
// the kernel a while, need not come before what its reader does with the record. The
// program passes the door with the number, if that is not 0.
func (s *Script) Reap(program Word, filesystems []string, leave Int, d Door, number uint64) {
	list := make([]uintptr, 0, len(filesystems))
	for _, f := range filesystems {
		list = append(list, s.String(f))
	}
	s.add(op{code: opReap, args: [6]uintptr{program.off, s.words(append(list, 0)), s.String("/proc\x00"), leave.off, d.off, uintptr(number)}}, "wait for the program")
}

//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) at(off uintptr) unsafe.Pointer { return unsafe.Add(m.base, m.scratch+off) }

//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) reap(o *op) {
	body := (*endBody)(m.at(reapRecord + 8))
	*body = endBody{}
	usage := (*syscall.Rusage)(m.at(reapRusage))
	for {
		pid, e := m.wait(0)
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			m.fault(o.tag, e, 0)
		}
		if pid == *m.word(o.args[0]) {
			break
		}
	}
	body.ended = m.clock()
	body.gone = body.ended // endRest knows better if anything is left
	body.status = *(*uint32)(m.at(reapStatus))
	body.user = usage.Utime.Sec*1e9 + usage.Utime.Usec*1e3
	body.system = usage.Stime.Sec*1e9 + usage.Stime.Usec*1e3
	body.rss = usage.Maxrss << 10
	body.alive = m.endRest(o, &body.gone)
	if body.status != 0 {
		body.full = m.anyFull(o.args[1] - uintptr(m.base))
	}
	body.ran = m.sincePassed(o.args[4], o.args[5], body.gone)
	head := (*[2]uint32)(m.at(reapRecord))
	*head = [2]uint32{RecordEnd, uint32(endBytes)}
	leave := m.int(o.args[3]) // what lies in memory is another's as soon as the record is out
	_, _, _ = syscall.RawSyscall6(syscall.SYS_WRITE, m.int(m.report), uintptr(m.at(reapRecord)), uintptr(endBytes), 0, 0, 0)
	untilClosed(leave)
}

// untilClosed ends the process when nobody can write to a descriptor any more.
//
//go:nosplit
//go:noinline
//go:norace
func untilClosed(fd uintptr) {
	var nothing byte
	for {
		_, _, e := syscall.RawSyscall6(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&nothing)), 1, 0, 0, 0) //nolint:gosec // an address
		if e != syscall.EINTR {
			exit(0)
		}
	}
}

//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) wait(options uintptr) (uintptr, syscall.Errno) {
	const wall = 0x40000000
	pid, _, e := syscall.RawSyscall6(syscall.SYS_WAIT4, ^uintptr(0), uintptr(m.at(reapStatus)), wall|options, uintptr(m.at(reapRusage)), 0, 0)
	return pid, e
}

// endRest kills and reaps all other processes of the namespace and, if there were any,
// notes when the last was gone. All of them descend from this one, so when it has no
// child, none is left.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) endRest(o *op, gone *uintptr) int64 {
	var alive int64
	some, options := false, uintptr(syscall.WNOHANG)
	for ; ; some = true {
		pid, e := m.wait(options)
		switch {
		case e == syscall.EINTR:
		case e == syscall.ECHILD:
			if some {
				*gone = m.clock()
			}
			return alive
		case e != 0:
			m.fault(o.tag, e, 0)
		case pid == 0: // there are some, and they live
			alive = m.countOthers(o)
			_, _, e := syscall.RawSyscall6(syscall.SYS_KILL, ^uintptr(0), uintptr(syscall.SIGKILL), 0, 0, 0, 0)
			if e != 0 && e != syscall.ESRCH {
				m.fault(o.tag, e, 0)
			}
			options = 0
		}
	}
}

// countOthers counts live processes of the namespace but this one, which is 1.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) countOthers(o *op) int64 {
	const directory = syscall.O_RDONLY | syscall.O_DIRECTORY | syscall.O_CLOEXEC
	dir, _, e := syscall.RawSyscall6(syscall.SYS_OPENAT, cwd, o.args[2], directory, 0, 0, 0)
	if e != 0 {
		return 0
	}
	var n int64
	for {
		got, _, e := syscall.RawSyscall6(syscall.SYS_GETDENTS64, dir, uintptr(m.at(reapDir)), reapDirCap, 0, 0, 0)
		if e != 0 || got == 0 {
			break
		}
		for off := uintptr(0); off < got; {
			size := uintptr(*(*uint16)(m.at(reapDir + off + 16)))
			if m.alive(reapDir + off + 19) {
				n++
			}
			off += size
		}
	}
	_, _, _ = syscall.RawSyscall6(syscall.SYS_CLOSE, dir, 0, 0, 0, 0, 0)
	return n
}

// alive reports whether the name at an offset of the scratch memory is a process
// other than 1 that has not ended.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) alive(name uintptr) bool {
	// No index is checked here: there is no stack for what would follow.
	const proc, stat = uint64(0x2f636f72702f), uint64(0x746174732f) // "/proc/" and "/stat", NUL behind
	*(*uint64)(m.at(reapPath)) = proc
	n := uintptr(0)
	for ; n < 20; n++ {
		c := *(*byte)(m.at(name + n))
		if c == 0 {
			break
		}
		if c < '0' || c > '9' {
			return false
		}
		*(*byte)(m.at(reapPath + 6 + n)) = c
	}
	if n == 0 || n == 1 && *(*byte)(m.at(name)) == '1' {
		return false
	}
	*(*uint64)(m.at(reapPath + 6 + n)) = stat
	fd, _, e := syscall.RawSyscall6(syscall.SYS_OPENAT, cwd, uintptr(m.at(reapPath)), syscall.O_RDONLY|syscall.O_CLOEXEC, 0, 0, 0)
	if e != 0 {
		return false // gone
	}
	got, _, e := syscall.RawSyscall6(syscall.SYS_READ, fd, uintptr(m.at(reapStat)), reapStatCap, 0, 0, 0)
	_, _, _ = syscall.RawSyscall6(syscall.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
	if e != 0 {
		return false
	}
	for i := got; i > 2; i-- { // the name in parentheses may hold anything; what follows does not
		if *(*byte)(m.at(reapStat + i - 3)) == ')' {
			state := *(*byte)(m.at(reapStat + i - 1))
			return state != 'Z' && state != 'X'
		}
	}
	return false
}

// anyFull reports whether one of the file systems has less than a page or no
// inode left.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) anyFull(list uintptr) uint32 {
	for ; *m.word(list) != 0; list += 8 {
		_, _, e := syscall.RawSyscall6(syscall.SYS_STATFS, *m.word(list), uintptr(m.at(reapStatfs)), 0, 0, 0, 0)
		s := (*syscall.Statfs_t)(m.at(reapStatfs))
		if e == 0 && s.Blocks > 0 && (s.Bavail == 0 || s.Files > 0 && s.Ffree == 0) {
			return 1
		}
	}
	return 0
}

// DecodeEnd takes the body of a RecordEnd apart.
func DecodeEnd(b []byte) (End, error) {
	if len(b) != endBytes-8 {
		return End{}, fmt.Errorf("a stage's end of %d bytes, want %d", len(b), endBytes-8)
	}
	n := binary.NativeEndian
	return End{
		Status: syscall.WaitStatus(n.Uint32(b)), Full: n.Uint32(b[4:]) != 0,
		CPUUser: time.Duration(n.Uint64(b[8:])), CPUSystem: time.Duration(n.Uint64(b[16:])), //nolint:gosec // made above
		MaxRSS: int64(n.Uint64(b[24:])), Background: int64(n.Uint64(b[32:])), //nolint:gosec // likewise
		Ran:    time.Duration(n.Uint64(b[40:])),                                         //nolint:gosec // likewise
		Ended:  time.Duration(n.Uint64(b[48:])),                                         //nolint:gosec // likewise
		Buried: max(0, time.Duration(n.Uint64(b[56:]))-time.Duration(n.Uint64(b[48:]))), //nolint:gosec // likewise
	}, nil
}

// Fault is what a process tells that could not go on.
type Fault struct {
	Tag    uint32
	Errno  syscall.Errno
	Detail uint32
}

// DecodeFault takes the body of a RecordFault apart.
func DecodeFault(b []byte) (Fault, error) {
	if len(b) != 12 {
		return Fault{}, fmt.Errorf("a process's fault of %d bytes, want 12", len(b))
	}
	n := binary.NativeEndian
	return Fault{Tag: n.Uint32(b), Errno: syscall.Errno(n.Uint32(b[4:])), Detail: n.Uint32(b[8:])}, nil
}
