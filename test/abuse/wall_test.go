package abuse

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

func TestShadowEnvironmentSocketAndJournalAreInvisible(t *testing.T) {
	d := daemon(t)
	r := run(t, d, "cat /etc/shadow")
	wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_EXITED)
	if r.GetExitCode() == 0 || len(r.GetStdout().GetHead()) > 0 {
		t.Errorf("/etc/shadow: exit %d with %d bytes, want neither", r.GetExitCode(), r.GetStdout().GetTotalBytes())
	}
	r = run(t, d, "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'")
	if out := daemontest.Text(r.GetStdout()); strings.Contains(out, "canary-of-the-daemon-environment") {
		t.Errorf("the daemon's environment is visible:\n%.2000s", out)
	}
	for _, path := range []string{d.DataDir, d.Socket, filepath.Join(d.DataDir, "journal"), "/root", "/var/lib", "/run/containerd", "/boot"} {
		r = run(t, d, "test -e "+path+" && ls -la "+path)
		if r.GetExitCode() == 0 && r.GetStdout().GetTotalBytes() > 0 && !onlyEmptyDir(daemontest.Text(r.GetStdout())) {
			t.Errorf("%s is visible: %.600s", path, daemontest.Text(r.GetStdout()))
		}
	}
	wantStdout(t, run(t, d, "ls -A /home; ls -A /home/agent"), "agent\n")
	r = run(t, d, "ls /proc/self/fd | sort -n | tr '\\n' ' '")
	if got := daemontest.Text(r.GetStdout()); got != "0 1 2 3 " { // 3 is ls reading the directory
		t.Errorf("open descriptors: got %q, want 0, 1, 2 and ls's own 3", got)
	}
}

// onlyEmptyDir reports whether an ls -la shows a directory with nothing in it.
func onlyEmptyDir(ls string) bool {
	for line := range strings.SplitSeq(strings.TrimSpace(ls), "\n") {
		if !strings.HasPrefix(line, "total") && !strings.HasSuffix(line, " .") && !strings.HasSuffix(line, " ..") {
			return false
		}
	}
	return true
}

func TestNothingOutsideTheWorkspaceCanBeWritten(t *testing.T) {
	d := daemon(t)
	r := run(t, d, `for p in / /etc /usr /usr/bin /bin /lib /proc/sys/kernel/core_pattern /sys /dev /sandgate-init /.sandgate /home /root /opt /var; do
	if [ -d $p ]; then (echo x > $p/.probe) 2>/dev/null && { rm -f $p/.probe; echo "wrote in $p"; }; else (echo x > $p) 2>/dev/null && echo "wrote $p"; fi; done; true`)
	wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_EXITED)
	for line := range strings.FieldsSeq(strings.ReplaceAll(daemontest.Text(r.GetStdout()), "wrote in ", "")) {
		if line != "/home" && line != "/dev" { // tmpfs of the call itself would be fine, anything else not
			t.Errorf("wrote in %s", line)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "canary"), []byte("safe"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = run(t, d, fmt.Sprintf("ln -s %s out; echo x > out/canary; cat out/canary; ln /etc/passwd hard; mknod dev c 1 3; echo $?", dir))
	if out := daemontest.Text(r.GetStdout()); strings.Contains(out, "safe") {
		t.Errorf("the machine's files are visible through a symlink: %q", out)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "canary")); err != nil || string(got) != "safe" {
		t.Errorf("the canary was changed: %q, %v", got, err)
	}
}

func TestThereIsNoNetworkOfAnyKind(t *testing.T) {
	d := daemon(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // nothing was written
	abstract, err := net.Listen("unix", "@sandgate-abuse-test")
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close() //nolint:errcheck // nothing was written
	r := python(t, d, fmt.Sprintf(`
import socket, errno, os
def attempt(name, f):
    try:
        f()
        print("REACHED", name)
    except OSError as e:
        print("no", name, errno.errorcode.get(e.errno, e.errno))
def tcp(host, port):
    s = socket.socket(); s.settimeout(3); s.connect((host, port))
def udp(host):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b"x", (host, 53))
attempt("host loopback", lambda: tcp("127.0.0.1", %d))
attempt("public", lambda: tcp("192.0.2.1", 80))
attempt("metadata", lambda: tcp("169.254.169.254", 80))
attempt("udp", lambda: udp("192.0.2.53"))
attempt("v6", lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)))
attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect("\0sandgate-abuse-test"))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3))
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("dns", lambda: socket.getaddrinfo("secret.evil.test", 80))
print(sorted(n for _, n in socket.if_nameindex()))
`, netip.MustParseAddrPort(ln.Addr().String()).Port()))
	wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_EXITED)
	out := daemontest.Text(r.GetStdout())
	if strings.Contains(out, "REACHED") || strings.Count(out, "no ") != 10 {
		t.Errorf("network: want ten refusals, got:\n%s%s", out, daemontest.Text(r.GetStderr()))
	}
	if got := r.GetReceipt().GetNetwork(); got != "none" {
		t.Errorf("receipt: network %q, want none", got)
	}
}

func TestCallCannotKillItsInit(t *testing.T) {
	d := daemon(t)
	r := run(t, d, "kill -9 1; echo $?; kill -9 -1; echo others killed")
	if o := r.GetOutcome(); o != sandgatev1.Outcome_OUTCOME_EXITED && o != sandgatev1.Outcome_OUTCOME_SIGNALED {
		t.Errorf("outcome: got %v, want EXITED or SIGNALED", o)
	}
	if out := daemontest.Text(r.GetStdout()); strings.HasPrefix(out, "0\n") {
		t.Errorf("kill of pid 1 was permitted: %q", out)
	}
	r = run(t, d, "for p in /proc/[0-9]*; do kill -STOP ${p#/proc/} 2>/dev/null; done; echo on", daemontest.Timeout(5e9))
	if o := r.GetOutcome(); o != sandgatev1.Outcome_OUTCOME_EXITED && o != sandgatev1.Outcome_OUTCOME_TIMED_OUT {
		t.Errorf("outcome: got %v, want EXITED or TIMED_OUT (it stops itself)", o)
	}
}

func TestForbiddenSystemCallsHaveNoEffect(t *testing.T) {
	d := daemon(t)
	r := python(t, d, `
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
calls = {"ptrace": (101, 0, 0, 0, 0), "keyctl": (250, 0, 0), "add_key": (248, b"user", b"x", b"y", 1, 0), "bpf": (321, 0, 0, 0),
  "userfaultfd": (323, 0), "io_uring_setup": (425, 8, 0), "perf_event_open": (298, 0, 0, -1, -1, 0), "mount": (165, b"none", b"/tmp", b"tmpfs", 0, 0),
  "unshare_user": (272, 0x10000000), "unshare_net": (272, 0x40000000), "setns": (308, 0, 0), "clone_newuser": (56, 0x10000000 | 17, 0, 0, 0, 0),
  "clone3": (435, 0, 0), "open_tree": (428, -100, b"/", 1), "fsopen": (430, b"tmpfs", 0), "move_mount": (429, 0, b"", 0, b"", 0),
  "pivot_root": (155, b"/", b"/"), "chroot": (161, b"/tmp"), "reboot": (169, 0xfee1dead, 672274793, 0, 0), "kexec_load": (246, 0, 0, 0, 0),
  "init_module": (175, 0, 0, b""), "process_vm_readv": (310, 1, 0, 0, 0, 0, 0), "open_by_handle_at": (304, 0, 0, 0), "syslog": (103, 3, 0, 0), "memfd_secret": (447, 0)}
for name, args in sorted(calls.items()):
    ctypes.set_errno(0)
    got = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if got == 0 and name == "clone_newuser" and os.getpid() == 1: os._exit(0)
    print(name, got, errno.errorcode.get(ctypes.get_errno(), "0"))
`)
	wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_EXITED)
	lines := strings.Split(strings.TrimSpace(daemontest.Text(r.GetStdout())), "\n")
	if len(lines) != 25 {
		t.Fatalf("got %d lines, want 25:\n%s\n%s", len(lines), strings.Join(lines, "\n"), daemontest.Text(r.GetStderr()))
	}
	for _, line := range lines {
		f := strings.Fields(line)
		if f[1] != "-1" || (f[2] != "EPERM" && f[2] != "ENOSYS" && f[2] != "EACCES") {
			t.Errorf("%s: want -1 with EPERM or ENOSYS", line)
		}
	}
}

// TestNoSetuidFileCanBeMade tries the ways to leave a file in a workspace that
// would run as its owner on the machine.
func TestNoSetuidFileCanBeMade(t *testing.T) {
	d := daemon(t)
	r := python(t, d, `
import os
def attempt(name, f):
    try:
        f()
        print("MADE", name)
    except OSError as e:
        print("no", name, e.errno)
open("f", "w").close()
attempt("chmod u+s", lambda: os.chmod("f", 0o4755))
attempt("chmod g+s", lambda: os.chmod("f", 0o2755))
attempt("fchmod", lambda: os.fchmod(os.open("f", os.O_RDONLY), 0o6755))
attempt("open", lambda: os.open("g", os.O_CREAT | os.O_WRONLY, 0o4755))
attempt("mknod", lambda: os.mknod("h", 0o104755))
os.chmod("f", 0o1755)
print(oct(os.stat("f").st_mode))
`)
	wantStdout(t, r, "no chmod u+s 1\nno chmod g+s 1\nno fchmod 1\nno open 1\nno mknod 1\n0o101755\n")
}

func TestReceiptShowsTheKernelsOwnView(t *testing.T) {
	d := daemon(t)
	r := run(t, d, "grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd|Uid):' /proc/self/status | tr '\\t' ' '; readlink /proc/self/ns/net; readlink /proc/self/ns/pid")
	wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_EXITED)
	out := daemontest.Text(r.GetStdout())
	rc := r.GetReceipt()
	for _, want := range []string{
		"NoNewPrivs: 1\n", "Seccomp: 2\n", "CapEff: 0000000000000000\n", "CapBnd: 0000000000000000\n",
		fmt.Sprintf("Uid: %[1]d %[1]d %[1]d %[1]d\n", rc.GetUid()), rc.GetNamespaces()["net"], rc.GetNamespaces()["pid"],
	} {
		if want == "" || !strings.Contains(out, want) {
			t.Errorf("the call sees %q, want %q as in the receipt", out, want)
		}
	}
	if rc.GetUid() == 0 || rc.GetHostUid() < 65536 || !rc.GetNoNewPrivs() || rc.GetSeccompMode() != 2 || rc.GetCapEffective() != 0 || rc.GetCapBounding() != 0 {
		t.Errorf("receipt: %v", rc)
	}
	if hostNet, err := os.Readlink("/proc/self/ns/net"); err != nil || hostNet == rc.GetNamespaces()["net"] {
		t.Errorf("the call's network namespace is the machine's (%s, %v)", hostNet, err)
	}
	for name, want := range map[string]int64{"memory_bytes": 128 << 20, "pids": 64, "cpu_millis": 1000} {
		if got := rc.GetEnforced()[name]; got != want {
			t.Errorf("enforced %s: got %d, want %d", name, got, want)
		}
	}
}

func TestNothingOfOneCallIsSeenByTheNext(t *testing.T) {
	d := daemon(t)
	const session = "abuse-next"
	run(t, d, "echo secret > /tmp/left; echo secret > /dev/shm/left; echo secret > ~/.bashrc; (setsid sleep 500 &); cat /proc/sys/kernel/hostname", daemontest.Session(session))
	r := run(t, d, "ls -A /tmp /dev/shm ~ | grep -c -E 'left|bashrc'; ps ax 2>/dev/null | grep -c '[s]leep 500'", daemontest.Session(session))
	wantStdout(t, r, "0\n0\n")
	other := run(t, d, "ls -A /workspace", daemontest.Session("abuse-other"))
	run(t, d, "echo mine > /workspace/mine", daemontest.Session(session))
	wantStdout(t, other, "")
	wantStdout(t, run(t, d, "ls -A /workspace", daemontest.Session("abuse-other")), "")
	wantStdout(t, run(t, d, "cat /workspace/mine", daemontest.Session(session)), "mine\n")
}
