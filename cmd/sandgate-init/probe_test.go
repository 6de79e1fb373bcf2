//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probe is a program inside a call: it tells on its stdout what it finds there.
func probe(args []string) int {
	runtime.LockOSThread()
	var v any
	switch args[0] {
	case "self":
		v = lookAround()
	case "syscalls":
		v = tryForbidden()
	case "crc":
		sum := crc32.NewIEEE()
		n, err := io.Copy(sum, os.Stdin)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		v = map[string]int64{"bytes": n, "crc": int64(sum.Sum32())}
	case "tty":
		v = tryTerminal()
	case "ptys":
		n := 0
		for ; n < 1000; n++ {
			if _, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0); err != nil {
				break
			}
		}
		fmt.Printf("opened %d\n", n)
		return 0
	case "burst":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return 2
		}
		if _, err := os.Stdout.Write(pattern(n)); err != nil {
			return 1
		}
		return 3
	default:
		return 2
	}
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		return 1
	}
	return 0
}

// pattern is n bytes that show a loss, a repetition and a change of order.
func pattern(n int) []byte {
	p := make([]byte, n)
	x := uint32(2463534242)
	for i := range p {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		p[i] = byte(x & 0xff)
	}
	return p
}

// surroundings are what a program finds at its start.
type surroundings struct {
	Args, Env    []string
	Descriptors  []string
	Status       map[string]string
	Pid, Session int
	OOMScoreAdj  string
	Hostname     string
	Limits       map[string]uint64
	Umask        int
}

func lookAround() surroundings {
	s := surroundings{Args: os.Args, Status: make(map[string]string), Limits: make(map[string]uint64), Pid: os.Getpid()}
	if sid, err := unix.Getsid(0); err == nil {
		s.Session = sid
	}
	names, err := readNames("/proc/self/fd")
	if err != nil {
		s.Descriptors = []string{err.Error()}
	}
	for _, n := range names {
		if to, err := os.Readlink("/proc/self/fd/" + n); err == nil && !strings.Contains(to, "/proc/") && !strings.HasPrefix(to, "anon_inode") {
			s.Descriptors = append(s.Descriptors, n) // the runtime's own and the directory just read do not count
		}
	}
	sort.Strings(s.Descriptors)
	env, _ := os.ReadFile("/proc/self/environ") // an empty one fails the test
	s.Env = strings.Split(strings.TrimSuffix(string(env), "\x00"), "\x00")
	text, _ := os.ReadFile("/proc/self/status") // an empty map fails the test
	for line := range strings.SplitSeq(string(text), "\n") {
		k, v, _ := strings.Cut(line, ":")
		s.Status[k] = strings.TrimSpace(v)
	}
	adj, _ := os.ReadFile("/proc/self/oom_score_adj") // likewise
	s.OOMScoreAdj = strings.TrimSpace(string(adj))
	s.Hostname, _ = os.Hostname()
	for name, r := range map[string]int{"fsize": unix.RLIMIT_FSIZE, "core": unix.RLIMIT_CORE, "nofile": unix.RLIMIT_NOFILE} {
		var l unix.Rlimit
		if unix.Getrlimit(r, &l) == nil {
			s.Limits[name] = l.Max
		}
	}
	s.Umask = unix.Umask(0)
	return s
}

// tryForbidden makes each call that a program must not be able to make, with
// arguments with which it would otherwise do something, and returns the errnos.
func tryForbidden() map[string]int {
	path, _ := unix.BytePtrFromString("/tmp")
	none := uintptr(unsafe.Pointer(path)) //nolint:gosec // an address for a call that is refused
	var buf [256]byte
	b := uintptr(unsafe.Pointer(&buf[0])) //nolint:gosec // likewise
	got := make(map[string]int)
	try := func(name string, nr uintptr, a ...uintptr) {
		var x [6]uintptr
		copy(x[:], a)
		_, _, e := unix.RawSyscall6(nr, x[0], x[1], x[2], x[3], x[4], x[5])
		got[name] = int(e)
	}
	try("ptrace", unix.SYS_PTRACE, unix.PTRACE_ATTACH, 1)
	try("process_vm_readv", unix.SYS_PROCESS_VM_READV, 1, b, 1, b, 1, 0)
	try("keyctl", unix.SYS_KEYCTL, 0, 0)
	try("add_key", unix.SYS_ADD_KEY, b, b, 0, 0, 0)
	try("request_key", unix.SYS_REQUEST_KEY, b, b, 0, 0)
	try("bpf", unix.SYS_BPF, 0, b, 8)
	try("userfaultfd", unix.SYS_USERFAULTFD, 1)
	try("io_uring_setup", unix.SYS_IO_URING_SETUP, 1, b)
	try("perf_event_open", unix.SYS_PERF_EVENT_OPEN, b, 0, 0, 0, 0)
	try("mount", unix.SYS_MOUNT, none, none, 0, unix.MS_BIND, 0)
	try("umount2", unix.SYS_UMOUNT2, none, 0)
	try("fsopen", unix.SYS_FSOPEN, none, 0)
	try("open_tree", unix.SYS_OPEN_TREE, ^uintptr(99), none, 1)
	try("mount_setattr", unix.SYS_MOUNT_SETATTR, ^uintptr(99), none, 0, b, 32)
	try("move_mount", unix.SYS_MOVE_MOUNT, 0, b, 0, b, 0)
	try("pivot_root", unix.SYS_PIVOT_ROOT, none, none)
	try("chroot", unix.SYS_CHROOT, none)
	try("setns", unix.SYS_SETNS, 0, 0)
	try("unshare user", unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
	try("unshare time", unix.SYS_UNSHARE, unix.CLONE_NEWTIME)
	try("clone newuser", unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD), 0, 0, 0, 0)
	try("clone newnet, high bits", unix.SYS_CLONE, 1<<40|unix.CLONE_NEWNET|uintptr(unix.SIGCHLD), 0, 0, 0, 0)
	try("clone3", unix.SYS_CLONE3, b, 88)
	try("socket vsock", unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	try("socket packet", unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW, 0)
	try("socket alg", unix.SYS_SOCKET, unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
	try("socket alg, high bits", unix.SYS_SOCKET, 1<<32|unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
	try("socket netlink audit", unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT)
	try("kexec_load", unix.SYS_KEXEC_LOAD, 0, 0, 0, 0)
	try("init_module", unix.SYS_INIT_MODULE, b, 0, b)
	try("reboot", unix.SYS_REBOOT, 0, 0, 0)
	try("swapon", unix.SYS_SWAPON, none, 0)
	try("acct", unix.SYS_ACCT, 0)
	try("settimeofday", unix.SYS_SETTIMEOFDAY, b, 0)
	try("clock_settime", unix.SYS_CLOCK_SETTIME, 0, b)
	try("personality", unix.SYS_PERSONALITY, 0x0040000)
	try("quotactl", unix.SYS_QUOTACTL, 0, 0, 0, 0)
	try("open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, 0, b, 0)
	try("name_to_handle_at", unix.SYS_NAME_TO_HANDLE_AT, 0, none, b, b, 0)
	try("lookup_dcookie", unix.SYS_LOOKUP_DCOOKIE, 0, b, 0)
	try("nfsservctl", unix.SYS_NFSSERVCTL, 0, 0, 0)
	try("fanotify_init", unix.SYS_FANOTIFY_INIT, 0, 0)
	try("syslog", unix.SYS_SYSLOG, 3, b, 256)
	try("vhangup", unix.SYS_VHANGUP)
	try("memfd_secret", unix.SYS_MEMFD_SECRET, 0)
	try("pidfd_getfd", unix.SYS_PIDFD_GETFD, 0, 0, 0)
	try("sethostname", unix.SYS_SETHOSTNAME, b, 1)
	try("ioctl TIOCSTI", unix.SYS_IOCTL, 0, unix.TIOCSTI, b)
	try("ioctl TIOCSTI, high bits", unix.SYS_IOCTL, 0, 1<<32|unix.TIOCSTI, b)
	try("ioctl TIOCLINUX", unix.SYS_IOCTL, 0, unix.TIOCLINUX, b)
	try("kill init", unix.SYS_KILL, 1, uintptr(unix.SIGKILL))
	try("a call of the future", 9999)
	try("setuid 0", unix.SYS_SETUID, 0)
	runtime.KeepAlive(path)
	if _, err := os.ReadFile("/proc/1/environ"); !errors.Is(err, os.ErrPermission) {
		got["read environ of pid 1"] = 0
	}
	return got
}

// tryTerminal tries to type into its own terminal.
func tryTerminal() map[string]string {
	out := map[string]string{}
	for name, nr := range map[string]uintptr{"TIOCSTI": unix.TIOCSTI, "TIOCLINUX": unix.TIOCLINUX} {
		c := byte(3)                                                                // also the paste of TIOCLINUX
		_, _, e := unix.Syscall(unix.SYS_IOCTL, 0, nr, uintptr(unsafe.Pointer(&c))) //nolint:gosec // as ioctl(2) wants it
		out[name] = unix.ErrnoName(e)
	}
	return out
}
