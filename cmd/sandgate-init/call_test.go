//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

func TestCallEndsAsTheProgramDid(t *testing.T) {
	t.Run("by socket", func(t *testing.T) { callsEndAsTheProgramDid(t, startCell(t)) })
	t.Run("by stdin and stdout", func(t *testing.T) { callsEndAsTheProgramDid(t, startCellByStdio(t)) })
}

func callsEndAsTheProgramDid(t *testing.T, c *testCell) {
	t.Helper()
	type end struct {
		Code, Signal   int
		Stdout, Stderr string
	}
	for _, tc := range []struct {
		name   string
		script string
		want   end
	}{
		{"success", "echo hi", end{0, 0, "hi\n", ""}},
		{"failure", "echo no >&2; exit 7", end{7, 0, "", "no\n"}},
		{"exit 137 of its own", "exit 137", end{137, 0, "", ""}},
		{"exit 255", "exit 255", end{255, 0, "", ""}},
		{"segmentation fault", "kill -SEGV $$", end{-1, int(unix.SIGSEGV), "", ""}},
		{"kill of its own", "kill -KILL $$", end{-1, int(unix.SIGKILL), "", ""}},
		{"not pid 1", "test $$ -gt 1 && echo yes", end{0, 0, "yes\n", ""}},
		{"SIGTERM has its default", "kill -TERM $$; sleep 5", end{-1, int(unix.SIGTERM), "", ""}},
		{"empty stdin", "wc -c", end{0, 0, "0\n", ""}},
		{"home and workspace", "cd; pwd; cd -; touch a ~/b /tmp/c /var/tmp/d /dev/shm/e", end{0, 0, "/home/agent\n/workspace\n", ""}},
		{"nothing is left of the call before", "ls -A /workspace ~ /tmp /dev/shm", end{0, 0, "/dev/shm:\n\n/home/agent:\n\n/tmp:\n\n/workspace:\n", ""}},
		{"devices", "echo x >/dev/null; head -c 3 /dev/zero | wc -c; echo out >/dev/stdout; echo err >/dev/stderr", end{0, 0, "3\nout\n", "err\n"}},
		{"an orphan is reaped", "(sleep 0.01 &) ; sleep 0.1; ls -d /proc/[0-9]* | wc -l", end{0, 0, "4\n", ""}},
		{"loopback", "exec 3<>/dev/tcp/127.0.0.1/9", end{1, 0, "", "bash: connect: Connection refused\nbash: line 1: /dev/tcp/127.0.0.1/9: Connection refused\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := c.run(t, base("bash", "-c", tc.script))
			got := end{r.ExitCode, r.Signal, string(r.stdout), string(r.stderr)}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("end (-want +got):\n%s", diff)
			}
			if r.TimedOut || r.Cancelled || r.OutputLimit || r.DiskFull || r.StartError != "" {
				t.Errorf("got %+v, want an end by itself", r.Exit)
			}
		})
	}
}

func TestProgramCannotStart(t *testing.T) {
	c := startCell(t)
	with := func(change func(*cell.Exec), argv ...string) cell.Exec {
		x := base(argv...)
		change(&x)
		return x
	}
	same := func(*cell.Exec) {}
	for _, tc := range []struct {
		name  string
		exec  cell.Exec
		errno unix.Errno
		text  string
	}{
		{"not in PATH", with(same, "no-such-program"), unix.ENOENT, `program "no-such-program" not found in PATH "/usr/bin:/bin"`},
		{"no such file", with(same, "/no/such/file"), unix.ENOENT, `execute "/no/such/file"`},
		{"not executable", with(same, "/etc/passwd"), unix.EACCES, `execute "/etc/passwd"`},
		{"no such directory", with(func(x *cell.Exec) { x.Cwd = "/nowhere" }, "true"), unix.ENOENT, `working directory "/nowhere"`},
		{"more files than the cell may open", with(func(x *cell.Exec) { x.OpenFiles = 1 << 40 }, "true"), unix.EPERM, "open files"},
		{"arguments too long", with(same, "true", strings.Repeat("x", 200<<10)), unix.E2BIG, "argument list too long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := c.run(t, tc.exec)
			if r.StartErrno != int(tc.errno) || !strings.Contains(r.StartError, tc.text) || r.ExitCode != -1 {
				t.Errorf("got %+v, want errno %d and %q", r.Exit, tc.errno, tc.text)
			}
			if r.started != nil {
				t.Error("started was reported")
			}
		})
	}
}

// TestNextStageComesAlsoWhenTheProgramCannotStart: the host asked for it with
// the call and does not ask again.
func TestNextStageComesAlsoWhenTheProgramCannotStart(t *testing.T) {
	c := startCell(t)
	for _, argv := range [][]string{{"/no/such/file"}, {"/no/such/file"}, {"true"}} {
		x := base(argv...)
		x.Next = c.after()
		if r := c.run(t, x); r.Poisoned != "" || (r.StartError == "") != (argv[0] == "true") {
			t.Fatalf("%v: got %+v", argv, r.Exit)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := c.Prepare(ctx); err != nil {
		t.Errorf("the next stage: %v", err)
	}
}

// TestProgramHasLostEverything looks at itself from inside.
func TestProgramHasLostEverything(t *testing.T) {
	c := startCellByStdio(t)
	ctx := context.Background()
	prepared, err := c.Prepare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p := prepared.Proof
	if p.UID != 1000 || p.GID != 1000 || !p.NoNewPrivs || p.SeccompMode != 2 ||
		p.CapEffective|p.CapPermitted|p.CapInheritable|p.CapBounding|p.CapAmbient != 0 {
		t.Errorf("proof is %+v", p)
	}
	if p.SeccompSHA256 != c.hello.SeccompSHA256 || len(p.SeccompSHA256) != 64 {
		t.Errorf("got filter digest %q, hello said %q", p.SeccompSHA256, c.hello.SeccompSHA256)
	}
	for _, ns := range []string{"pid", "mnt", "net", "ipc", "uts", "cgroup"} {
		ofCell, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", c.pid, ns))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Namespaces[ns]; got == "" || got == ofCell {
			t.Errorf("namespace %s is %q, the cell's is %q: want a fresh one", ns, got, ofCell)
		}
	}
	x := base("/probe", "probe", "self", "", "two words", "ü")
	x.Env = []string{"A=1", "EMPTY=", "B=x=y", "A=2"}
	x.OpenFiles, x.FileBytes, x.DiskBytes = 100, 1<<20, 8<<20
	r := c.exec(ctx, t, x)
	var got surroundings
	if err := json.Unmarshal(r.stdout, &got); err != nil {
		t.Fatalf("%v: %q %q", err, r.stdout, r.stderr)
	}
	if diff := cmp.Diff(x.Argv, got.Args); diff != "" {
		t.Errorf("argv (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(x.Env, got.Env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"0", "1", "2"}, got.Descriptors); diff != "" {
		t.Errorf("descriptors (-want +got):\n%s", diff)
	}
	zero := strings.Repeat("0", 16)
	for key, want := range map[string]string{
		"NoNewPrivs": "1", "Seccomp": "2", "Uid": "1000\t1000\t1000\t1000", "Gid": "1000\t1000\t1000\t1000",
		"Groups": "", "CapEff": zero, "CapPrm": zero, "CapBnd": zero, "CapInh": zero, "CapAmb": zero, "SigIgn": zero,
	} {
		if got.Status[key] != want {
			t.Errorf("status %s is %q, want %q", key, got.Status[key], want)
		}
	}
	if got.Pid != prepared.HolderPID || got.Session != got.Pid || got.OOMScoreAdj != "1000" || got.Hostname != "sandgate" || got.Umask != 0o022 {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff(map[string]uint64{"nofile": 100, "fsize": 1 << 20, "core": 0}, got.Limits); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	want := &cell.Started{
		OpenFiles: 100, FileBytes: 1 << 20, WallTime: x.WallTime,
		DiskBytes: map[string]int64{"/tmp": 8 << 20, "/dev/shm": 8 << 20, cell.Home: 8 << 20, cell.Workspace: 8 << 20},
	}
	if diff := cmp.Diff(want, r.started); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
}

func TestForbiddenCallsHaveNoEffect(t *testing.T) {
	c := startCell(t)
	r := c.run(t, base("/probe", "probe", "syscalls"))
	var got map[string]int
	if err := json.Unmarshal(r.stdout, &got); err != nil {
		t.Fatalf("%v: %q %q", err, r.stdout, r.stderr)
	}
	if len(got) < 50 {
		t.Errorf("only %d calls were tried", len(got))
	}
	for name, errno := range got {
		want := unix.EPERM
		if name == "clone3" || name == "a call of the future" {
			want = unix.ENOSYS
		}
		if unix.Errno(errno) != want {
			t.Errorf("%s: got errno %d (%v), want %v", name, errno, unix.Errno(errno), want)
		}
	}
}

// TestCellIsReadOnlyToACall tries to leave something for the next call.
func TestCellIsReadOnlyToACall(t *testing.T) {
	c := startCell(t)
	script := `for d in / /usr /usr/bin /etc /home /var /dev /dev/pts /proc /proc/sys/kernel /sys /sandgate-init /probe; do
		if [ -d $d ]; then (echo x > $d/mine) 2>/dev/null && echo "wrote into $d"; else (echo x >> $d) 2>/dev/null && echo "wrote $d"; fi
	done
	(echo 1 > /proc/sys/vm/drop_caches) 2>/dev/null && echo "dropped caches"
	cat /proc/1/environ /proc/1/mem /proc/kcore /proc/keys 2>/dev/null | head -c 100
	ls /proc/1/root/ /proc/1/fd 2>/dev/null
	grep -al canary /proc/*/environ 2>/dev/null
	kill -9 1 2>/dev/null && echo "killed pid 1"
	true`
	if r := c.run(t, base("bash", "-c", script)); len(r.stdout) != 0 || r.ExitCode != 0 {
		t.Errorf("got exit code %d and %q, want 0 and nothing", r.ExitCode, r.stdout)
	}
	if r := c.run(t, base("true")); r.ExitCode != 0 {
		t.Errorf("the next call: got %+v", r.Exit)
	}
}

func TestLargeStdinRoundTrip(t *testing.T) {
	c := startCell(t)
	data := pattern(20 << 20)
	x := base("cat")
	x.Stdin, x.OutputBytes = bytes.NewReader(data), 20<<20
	r := c.run(t, x)
	if !bytes.Equal(r.stdout, data) || r.StdoutTotal != int64(len(data)) {
		t.Errorf("got %d bytes, total %d, crc %x; want %d, crc %x",
			len(r.stdout), r.StdoutTotal, crc32.ChecksumIEEE(r.stdout), len(data), crc32.ChecksumIEEE(data))
	}
	x = base("/probe", "probe", "crc")
	x.Stdin = bytes.NewReader(data)
	r = c.run(t, x)
	want := fmt.Sprintf("{\"bytes\":%d,\"crc\":%d}\n", len(data), crc32.ChecksumIEEE(data))
	if string(r.stdout) != want {
		t.Errorf("got %q, want %q", r.stdout, want)
	}
}

// TestStdinNobodyReads must neither block the call nor fail it.
func TestStdinNobodyReads(t *testing.T) {
	c := startCell(t)
	for _, argv := range [][]string{{"true"}, {"head", "-c", "1"}, {"bash", "-c", "exec <&-; sleep 0.1"}} {
		x := base(argv...)
		x.Stdin = bytes.NewReader(pattern(4 << 20))
		if r := c.run(t, x); r.ExitCode != 0 {
			t.Errorf("%q: got %+v", argv, r.Exit)
		}
	}
}

func TestBurstThenExitLosesNothing(t *testing.T) {
	c := startCell(t)
	x := base("/probe", "probe", "burst", "8388608")
	x.OutputBytes = 8 << 20
	r := c.run(t, x)
	if !bytes.Equal(r.stdout, pattern(8<<20)) || r.ExitCode != 3 {
		t.Errorf("got %d bytes and exit code %d, want all of 8 MiB and 3", len(r.stdout), r.ExitCode)
	}
}

func TestOutputKeepsHeadAndTail(t *testing.T) {
	c := startCell(t)
	x := base("bash", "-c", "seq 1 300000; seq 1 200000 >&2")
	x.OutputBytes = 1001
	r := c.run(t, x)
	var whole bytes.Buffer
	for i := 1; i <= 300000; i++ {
		fmt.Fprintln(&whole, i)
	}
	all := whole.Bytes()
	want := slices.Concat(all[:501], all[len(all)-500:])
	if !bytes.Equal(r.stdout, want) || r.StdoutTotal != int64(len(all)) {
		t.Errorf("got %d bytes of %d, want head and tail of %d", len(r.stdout), r.StdoutTotal, len(all))
	}
	if len(r.stderr) != 1001 || r.StderrTotal != 1288895 {
		t.Errorf("got %d bytes of %d on stderr, want 1001 of 1288895", len(r.stderr), r.StderrTotal)
	}
	for _, o := range r.chunks {
		if o.Stream == cell.Stdout && !bytes.Equal(o.Data, all[o.Offset:o.Offset+int64(len(o.Data))]) {
			t.Errorf("chunk of %d bytes is not what the program wrote at offset %d", len(o.Data), o.Offset)
		}
	}
}

func TestCancelEndsTheCall(t *testing.T) {
	c := startCell(t)
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := c.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, cancel)
	r := c.exec(ctx, t, base("bash", "-c", "trap '' TERM INT; while :; do sleep 1; done"))
	if !r.Cancelled || r.TimedOut || r.ExitCode != -1 || r.Signal != int(unix.SIGKILL) {
		t.Errorf("got %+v, want cancelled", r.Exit)
	}
	if r := c.run(t, base("true")); r.ExitCode != 0 {
		t.Errorf("the next call: got %+v", r.Exit)
	}
}

// TestFileToolRunsAsACall: the built-in tools are this binary's fourth face.
func TestFileToolRunsAsACall(t *testing.T) {
	c := startCell(t)
	r := c.run(t, base("bash", "-c", `echo hello > a; echo '{"path":"a"}' | exec /sandgate-init tool read_file`))
	if r.ExitCode != 0 || !bytes.Contains(r.stdout, []byte("hello")) {
		t.Errorf("got %+v, %q, %q", r.Exit, r.stdout, r.stderr)
	}
}

func TestCommonProgramsWork(t *testing.T) {
	c := startCell(t)
	for _, tc := range []struct{ program, script, want string }{
		{"python3", `python3 -c 'import subprocess,socket,threading,tempfile,multiprocessing as m
t=threading.Thread(target=print,args=("thread",)); t.start(); t.join()
print(subprocess.check_output(["echo","child"]).decode().strip(), tempfile.mkdtemp()[:5], flush=True)
p=m.get_context("fork").Process(target=print,args=("forked",)); p.start(); p.join()
import pty,os; a,b=pty.openpty(); print(os.ttyname(b)[:9])'`, "thread\nchild /tmp/\nforked\n/dev/pts/\n"},
		{"git", "git init -q . && git -c user.name=a -c user.email=b commit -q --allow-empty -m x && git log --format=%s", "x\n"},
		{"node", "node -e 'console.log(require(\"child_process\").execSync(\"echo node\").toString().trim())'", "node\n"},
		{"sort", "seq 3 -1 1 | sort | tr '\\n' ' '; df /tmp >/dev/null && date >/dev/null && nproc >/dev/null && echo ok", "1 2 3 ok\n"},
	} {
		t.Run(tc.program, func(t *testing.T) {
			if _, err := exec.LookPath(tc.program); err != nil {
				t.Skip("not on this machine")
			}
			r := c.run(t, base("bash", "-c", tc.script))
			if string(r.stdout) != tc.want {
				t.Errorf("got %q, want %q; stderr %q, %+v", r.stdout, tc.want, r.stderr, r.Exit)
			}
		})
	}
}
