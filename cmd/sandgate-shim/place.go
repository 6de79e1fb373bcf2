//go:build linux

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What sandbox/containerd calls this program by, and the OCI runtime beside it.
const (
	placeName    = "on-cpu-"
	placeRuntime = "runtime"
)

// placed tells from the name that this program was run by which OCI runtime it is to
// become and on which processor.
func placed(name string) (path string, cpu int, ok bool) {
	number, ok := strings.CutPrefix(filepath.Base(name), placeName)
	if !ok || !filepath.IsAbs(name) {
		return "", 0, false
	}
	cpu, err := strconv.Atoi(number)
	if err != nil || cpu < 0 {
		return "", 0, false
	}
	return filepath.Join(filepath.Dir(name), placeRuntime), cpu, true
}

// becomeOn runs a program in place of this one, on one processor, which everything
// that it starts inherits. It returns only if that fails. A processor that is not
// there any more is no reason to fail: on others it is merely slower.
func becomeOn(cpu int, path string, args []string) error {
	runtime.LockOSThread() // the processor is that of the thread that becomes the program
	defer runtime.UnlockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	_ = unix.SchedSetaffinity(0, &set)
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	return syscall.Exec(path, append([]string{path}, args...), os.Environ()) //nolint:gosec // the operator's own binary
}
