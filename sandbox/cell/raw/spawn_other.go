//go:build linux && !amd64

package raw

import "syscall"

// SharesMemory says that Spawn can; here each process gets a copy.
const SharesMemory = false

//go:nosplit
//go:norace
func spawn(flags, _ uintptr, _ *machine, _, parentTID uintptr) (uintptr, syscall.Errno) {
	pid, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, flags&^syscall.CLONE_VM, 0, parentTID, 0, 0, 0)
	return pid, e
}

// threadMemory is of no interest where no assembly is called.
func threadMemory() uintptr { return 0 }
