//go:build linux

package raw

import (
	"syscall"
	"unsafe"
)

// SharesMemory says that Spawn can: a process that shares its memory begins on a stack
// of its own, which takes a few lines of assembly.
const SharesMemory = true

// cloneOn is clone(2). A child that has a stack goes on with interpret on it, in its
// role; one without returns 0.
//
//go:noescape
func cloneOn(flags, stack uintptr, role *machine, pc, parentTID uintptr) (pid uintptr, errno syscall.Errno)

//go:nosplit
//go:norace
func spawn(flags, stack uintptr, role *machine, pc, parentTID uintptr) (uintptr, syscall.Errno) {
	if stack == 0 {
		pid, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, flags&^syscall.CLONE_VM, 0, parentTID, 0, 0, 0)
		return pid, e
	}
	return cloneOn(flags, stack, role, pc, parentTID)
}

// threadMemory is where the calling thread has what assembly that calls Go, and the
// other way round, looks at.
func threadMemory() uintptr {
	const getFS = 0x1003 // ARCH_GET_FS
	var fs uintptr
	if _, _, e := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, getFS, uintptr(unsafe.Pointer(&fs)), 0); e != 0 { //nolint:gosec // as arch_prctl(2) wants it
		return 0
	}
	return fs - 8
}
