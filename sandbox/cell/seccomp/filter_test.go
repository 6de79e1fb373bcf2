//go:build linux && (amd64 || arm64)

package seccomp

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/bpf"
	"gvisor.dev/gvisor/pkg/seccomp"

	"github.com/sandgate/sandgate/sandbox/cell/seccomp/rules"
)

// run executes the filter as the kernel would.
func run(t *testing.T, p Program, arch uint32, nr uintptr, args ...uint64) uint32 {
	t.Helper()
	data := linux.SeccompData{Nr: int32(nr), Arch: arch} //nolint:gosec // numbers of system calls
	copy(data.Args[:], args)
	buf := make([]byte, data.SizeBytes())
	got, err := bpf.Exec[bpf.NativeEndian](instructionsOf(t, p), seccomp.DataAsBPFInput(&data, buf))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// loaded are programs as the tests run them, by their bytes.
var loaded = map[string]bpf.Program{}

func instructionsOf(t *testing.T, p Program) bpf.Program {
	t.Helper()
	if done, ok := loaded[string(p)]; ok {
		return done
	}
	var instructions []bpf.Instruction
	for i := 0; i+InstructionBytes <= len(p); i += InstructionBytes {
		instructions = append(instructions, bpf.Instruction{
			OpCode: binary.LittleEndian.Uint16(p[i:]), JumpIfTrue: p[i+2], JumpIfFalse: p[i+3],
			K: binary.LittleEndian.Uint32(p[i+4:]),
		})
	}
	compiled, err := bpf.Compile(instructions, false)
	if err != nil {
		t.Fatal(err)
	}
	loaded[string(p)] = compiled
	return compiled
}

const (
	allow = uint32(linux.SECCOMP_RET_ALLOW)
	perm  = uint32(linux.SECCOMP_RET_ERRNO) | uint32(unix.EPERM)
	nosys = uint32(linux.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)
)

func TestFilterDecides(t *testing.T) {
	p, err := Build()
	if err != nil {
		t.Fatal(err)
	}
	const high = 1 << 32
	for _, tc := range []struct {
		name string
		nr   uintptr
		args []uint64
		want uint32
	}{
		{"read", unix.SYS_READ, nil, allow},
		{"execve", unix.SYS_EXECVE, nil, allow},
		{"exit_group", unix.SYS_EXIT_GROUP, nil, allow},
		{"futex", unix.SYS_FUTEX, nil, allow},
		{"statx", unix.SYS_STATX, nil, allow},
		{"openat2, whose mode cannot be seen", unix.SYS_OPENAT2, nil, nosys},
		{"fchmod", unix.SYS_FCHMOD, []uint64{3, 0o755}, allow},
		{"fchmod set-user-id", unix.SYS_FCHMOD, []uint64{3, 0o4755}, perm},
		{"fchmod set-group-id under high bits", unix.SYS_FCHMOD, []uint64{3, high | 0o2755}, perm},
		{"fchmodat sticky", unix.SYS_FCHMODAT, []uint64{3, 0, 0o1777}, allow},
		{"fchmodat set-user-id", unix.SYS_FCHMODAT, []uint64{3, 0, 0o4755}, perm},
		{"fchmodat2 set-user-id", unix.SYS_FCHMODAT2, []uint64{3, 0, 0o4755}, perm},
		{"mknodat set-group-id", unix.SYS_MKNODAT, []uint64{3, 0, unix.S_IFREG | 0o2755}, perm},
		{"openat to read, mode unset", unix.SYS_OPENAT, []uint64{3, 0, unix.O_RDONLY, 0o7777}, allow},
		{"openat to create", unix.SYS_OPENAT, []uint64{3, 0, unix.O_CREAT | unix.O_WRONLY, 0o644}, allow},
		{"openat to create set-user-id", unix.SYS_OPENAT, []uint64{3, 0, unix.O_CREAT | unix.O_WRONLY, 0o4755}, perm},
		{"openat of a nameless set-user-id file", unix.SYS_OPENAT, []uint64{3, 0, unix.O_TMPFILE | unix.O_RDWR, 0o4755}, perm},
		{"clone of a process", unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, allow},
		{"clone of a thread", unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD}, allow},
		{"clone newuser", unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER}, perm},
		{"clone newns among others", unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_NEWNS}, perm},
		{"clone newcgroup", unix.SYS_CLONE, []uint64{unix.CLONE_NEWCGROUP}, perm},
		{"clone newtime", unix.SYS_CLONE, []uint64{unix.CLONE_NEWTIME}, perm},
		{"clone newpid under high bits", unix.SYS_CLONE, []uint64{high | unix.CLONE_NEWPID}, perm},
		{"clone3", unix.SYS_CLONE3, nil, nosys},
		{"socket unix", unix.SYS_SOCKET, []uint64{unix.AF_UNIX}, allow},
		{"socket inet6", unix.SYS_SOCKET, []uint64{unix.AF_INET6}, allow},
		{"socket netlink route", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, allow},
		{"socket netlink audit", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, perm},
		{"socket netlink audit under high bits", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, high | unix.NETLINK_AUDIT}, perm},
		{"socket vsock", unix.SYS_SOCKET, []uint64{unix.AF_VSOCK}, perm},
		{"socket packet", unix.SYS_SOCKET, []uint64{unix.AF_PACKET}, perm},
		{"socketpair unix", unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX}, allow},
		{"socketpair tipc", unix.SYS_SOCKETPAIR, []uint64{unix.AF_TIPC}, perm},
		{"ioctl of a terminal", unix.SYS_IOCTL, []uint64{0, unix.TCGETS}, allow},
		{"ioctl TIOCSTI", unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}, perm},
		{"ioctl TIOCSTI under high bits", unix.SYS_IOCTL, []uint64{0, high | unix.TIOCSTI}, perm},
		{"ioctl TIOCLINUX", unix.SYS_IOCTL, []uint64{0, unix.TIOCLINUX}, perm},
		{"personality asked for", unix.SYS_PERSONALITY, []uint64{0xffffffff}, allow},
		{"personality without randomisation", unix.SYS_PERSONALITY, []uint64{0x0040000}, perm},
		{"ptrace", unix.SYS_PTRACE, nil, perm},
		{"mount", unix.SYS_MOUNT, nil, perm},
		{"unshare", unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWUSER}, perm},
		{"setns", unix.SYS_SETNS, nil, perm},
		{"bpf", unix.SYS_BPF, nil, perm},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, nil, perm},
		{"open_tree", unix.SYS_OPEN_TREE, nil, perm},
		{"number of the future", 4000, nil, nosys},
		{"x32 read", 0x40000000, nil, nosys},
		{"minus one", 0xffffffff, nil, nosys},
	} {
		if got := run(t, p, seccomp.LINUX_AUDIT_ARCH, tc.nr, tc.args...); got != tc.want {
			t.Errorf("%s: got %#x, want %#x", tc.name, got, tc.want)
		}
	}
	if got := run(t, p, 0x40000003, 3); got != perm { // read of i386
		t.Errorf("a 32-bit call: got %#x, want EPERM", got)
	}
}

var update = flag.Bool("update", false, "write the compiled filter anew")

// TestCompiledFilterIsTheRules: what cells get is what the rules say now.
func TestCompiledFilterIsTheRules(t *testing.T) {
	for _, tc := range []struct {
		file  string
		rules func() ([]byte, error)
		built func() (Program, error)
	}{
		{"filter_amd64.bin", rules.Build, Build},
		{"filter_amd64_preparing.bin", rules.BuildPreparing, preparing},
	} {
		want, err := tc.rules()
		if err != nil {
			t.Fatal(err)
		}
		if *update && runtime.GOARCH == "amd64" {
			if err := os.WriteFile(tc.file, want, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Log("written: run the test again to build it in")
			continue
		}
		got, err := tc.built()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s has digest %s, the rules %s: run this test with -update", tc.file, got.SHA256(), Program(want).SHA256())
		}
	}
}

// TestPartsRefuseWhatTheWholeRefuses compares them on every number that a system call
// may have and on arguments that rules look at. Of two programs the kernel takes the
// stricter answer, and of two refusals that of the program installed last.
func TestPartsRefuseWhatTheWholeRefuses(t *testing.T) {
	whole, err := Build()
	if err != nil {
		t.Fatal(err)
	}
	first, last, err := Parts()
	if err != nil {
		t.Fatal(err)
	}
	const high = 1 << 32
	values := []uint64{0, 1, unix.AF_UNIX, unix.AF_VSOCK, unix.TIOCSTI, high | unix.TIOCSTI, 0o4755, high | 0o2755, 0xffffffff, ^uint64(0)}
	for bit := range 40 {
		values = append(values, 1<<bit)
	}
	for nr := range uintptr(1100) {
		for _, arch := range []uint32{seccomp.LINUX_AUDIT_ARCH, 0x40000003} {
			for _, v := range values {
				args := []uint64{v, v, v, v}
				want := run(t, whole, arch, nr, args...)
				got := run(t, last, arch, nr, args...)
				if got == allow {
					got = run(t, first, arch, nr, args...)
				}
				if got != want {
					t.Fatalf("call %d of architecture %#x with %#x: got %#x from the parts, want %#x", nr, arch, v, got, want)
				}
			}
			if nr%64 != 0 {
				break // the other architecture is refused as a whole
			}
		}
	}
	for _, nr := range rules.Preparing() {
		if got := run(t, first, seccomp.LINUX_AUDIT_ARCH, nr, unix.CLONE_NEWNS); got != allow {
			t.Errorf("call %d of a stage: got %#x, want it allowed", nr, got)
		}
	}
	if got, want := last.SHA256(), Join(first, last).SHA256(); got == want {
		t.Error("the digest of both is that of one")
	}
}
