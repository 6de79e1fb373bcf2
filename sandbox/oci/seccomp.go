package oci

import (
	"crypto/sha256"
	_ "embed" // for the list of system calls
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// allowed lists the system calls that need no look at their arguments, one per
// line. It is containerd's and moby's default list without what a tool has no
// business with (ptrace, process_vm_*, modify_ldt, name_to_handle_at,
// memfd_secret, vmsplice, …) and without the 32-bit calls.
//
//go:embed seccomp_allow.txt
var allowed string

// forInit are the calls with which init builds the inner wall, beside clone with
// flags. A call's program never reaches them: its own filter, inside, refuses
// them. The host attaches workspaces from outside, where no filter is.
func forInit() []string {
	return []string{"mount", "mount_setattr", "sethostname", "umount2"}
}

// Address families and errno values as the kernel numbers them, equal on all
// architectures that Go builds for Linux.
const (
	afUnix       = 1
	afInet       = 2
	afInet6      = 10
	afNetlink    = 16
	cloneNewUser = 0x10000000
	cloneNewNet  = 0x40000000

	errnoPerm = 1
	errnoSys  = 38
)

// Seccomp returns the filter of the outer wall: an allowlist, everything else is
// EPERM. Only the native architecture is listed, so a 32-bit system call kills.
func Seccomp() *specs.LinuxSeccomp {
	perm, nosys := uint(errnoPerm), uint(errnoSys)
	syscalls := []specs.LinuxSyscall{
		{Names: strings.Fields(allowed), Action: specs.ActAllow},
		{Names: forInit(), Action: specs.ActAllow},
		// Any namespace but another user namespace, in which a process would have
		// capabilities that it has not here.
		{
			Names: []string{"clone"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: 0, Value: cloneNewUser, ValueTwo: 0, Op: specs.OpMaskedEqual}},
		},
		// The fork servers of init make themselves network namespaces, nothing else.
		equalTo("unshare", cloneNewNet),
		// The flags of clone3 are behind a pointer, where a filter cannot look.
		// ENOSYS makes libraries fall back to clone, whose flags the inner wall checks.
		{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &nosys},
	}
	for _, family := range []uint64{afUnix, afInet, afInet6, afNetlink} {
		syscalls = append(syscalls, equalTo("socket", family))
	}
	for _, persona := range []uint64{0, 0x8, 0x20000, 0x20008, 0xffffffff} {
		syscalls = append(syscalls, equalTo("personality", persona))
	}
	return &specs.LinuxSeccomp{
		DefaultAction:   specs.ActErrno,
		DefaultErrnoRet: &perm,
		Syscalls:        syscalls,
	}
}

// SeccompSHA256 names a filter: the hash of its JSON, hexadecimal.
func SeccompSHA256(s *specs.LinuxSeccomp) (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode seccomp filter: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

func equalTo(name string, value uint64) specs.LinuxSyscall {
	return specs.LinuxSyscall{
		Names: []string{name}, Action: specs.ActAllow,
		Args: []specs.LinuxSeccompArg{{Index: 0, Value: value, Op: specs.OpEqualTo}},
	}
}
