//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cell/seccomp"
)

// lastCapability bounds the search for capabilities that the kernel knows.
const lastCapability = 63

// dropPrivileges takes every privilege from the calling thread, for good: groups,
// ids, capabilities in all five sets, the gaining of new ones, system calls. The
// thread must be the main one: execve kills all others.
func dropPrivileges(filter []byte) error {
	if unix.Gettid() != unix.Getpid() {
		return errors.New("holder does not run on its main thread")
	}
	// A call's processes are what the kernel should end first. It is an offer to
	// the machine, no wall: gVisor, for one, need not have it.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0o600); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("raise oom score: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	for c := uintptr(0); c <= lastCapability; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			if errors.Is(err, unix.EINVAL) {
				break // beyond the last one that the kernel knows
			}
			return fmt.Errorf("drop capability %d from the bounding set: %w", c, err)
		}
	}
	// The raw calls change this thread only; those of package syscall would want
	// every thread of the runtime to follow.
	for _, step := range []struct {
		what    string
		nr      uintptr
		a, b, c uintptr
	}{
		{"groups", unix.SYS_SETGROUPS, 0, 0, 0},
		{"gid", unix.SYS_SETRESGID, cell.PayloadGID, cell.PayloadGID, cell.PayloadGID},
		{"uid", unix.SYS_SETRESUID, cell.PayloadUID, cell.PayloadUID, cell.PayloadUID},
	} {
		if _, _, e := unix.RawSyscall(step.nr, step.a, step.b, step.c); e != 0 {
			return fmt.Errorf("set %s: %w", step.what, e)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("clear capabilities: %w", err)
	}
	unix.Umask(0o022)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return installFilter(filter)
}

func installFilter(filter []byte) error {
	count := len(filter) / seccomp.InstructionBytes
	if count == 0 || len(filter)%seccomp.InstructionBytes != 0 || count > 4096 {
		return fmt.Errorf("seccomp program of %d bytes is not 1 to 4096 instructions", len(filter))
	}
	program := unix.SockFprog{
		Len:    uint16(count),
		Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0])), //nolint:gosec // as seccomp(2) wants it
	}
	const setModeFilter = 1                                                                                        // SECCOMP_SET_MODE_FILTER
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, setModeFilter, 0, uintptr(unsafe.Pointer(&program))); e != 0 { //nolint:gosec // likewise
		return fmt.Errorf("install seccomp filter: %w", e)
	}
	return nil
}

// readProof reads from the kernel what this process is now.
func readProof() (cell.Proof, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return cell.Proof{}, fmt.Errorf("read proof: %w", err)
	}
	p := cell.Proof{SeccompMode: -1, UID: -1, GID: -1, Namespaces: make(map[string]string)}
	caps := map[string]*uint64{
		"CapEff": &p.CapEffective, "CapPrm": &p.CapPermitted, "CapInh": &p.CapInheritable,
		"CapBnd": &p.CapBounding, "CapAmb": &p.CapAmbient,
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		key, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		switch key {
		case "Uid":
			p.UID, err = strconv.Atoi(fields[0])
		case "Gid":
			p.GID, err = strconv.Atoi(fields[0])
		case "NoNewPrivs":
			p.NoNewPrivs = fields[0] == "1"
		case "Seccomp":
			p.SeccompMode, err = strconv.Atoi(fields[0])
		default:
			if to := caps[key]; to != nil {
				*to, err = strconv.ParseUint(fields[0], 16, 64)
			}
		}
		if err != nil {
			return cell.Proof{}, fmt.Errorf("read proof: %s: %w", key, err)
		}
	}
	for _, ns := range []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} {
		if link, err := os.Readlink("/proc/self/ns/" + ns); err == nil {
			p.Namespaces[ns] = link // what is not there is not claimed
		}
	}
	return p, nil
}
