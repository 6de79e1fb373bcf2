package sandboxtest

import (
	"bytes"
	"context"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/sandbox"
)

// RunIsolation is what a Runtime that isolates by the kernel has to keep beyond
// Run. Its cases are hostile; each is followed by a call that has to work.
func RunIsolation(t *testing.T, newRuntime NewRuntime) {
	t.Helper()
	cases := []contractCase{
		{"signal is told by name", testSignal},
		{"program that is not there", testStartFailed},
		{"20 MiB of stdin come back", testLargeStdin},
		{"environment is exactly the call's", testEnvironment},
		{"working directory", testCwd},
		{"deadline ends what has fled", testDeadlineTree},
		{"background child with the pipe", testBackground},
		{"memory bomb in a grandchild", testMemoryBomb},
		{"fork bomb", testForkBomb},
		{"yes on both streams", testYes},
		{"output limit", testOutputLimit},
		{"disk limit", testDiskLimit},
		{"cpu is bounded", testCPU},
		{"cell serves its key only", testReuse},
		{"nothing passes to the next call", testNothingPasses},
		{"never reused", testNeverReused},
		{"session end destroys its cells", testEndSession},
		{"receipt shows the kernel's numbers", testReceipt},
		{"workspace keeps its owner", testWorkspaceOwner},
		{"workspace read-only", testWorkspaceReadOnly},
		{"no network", testNoNetwork},
		{"machine is invisible", testMachineInvisible},
		{"no privilege to be had", testNoPrivilege},
	}
	for i, c := range cases {
		cases[i].run = func(t *testing.T, rt sandbox.Runtime) {
			c.run(t, rt)
			wantExit(t, mustRun(t, rt, Call("exit 0")), 0)
		}
	}
	runCases(t, newRuntime, cases)
}

func testSignal(t *testing.T, rt sandbox.Runtime) {
	for script, want := range map[string]string{"kill -SEGV $$": "SIGSEGV", "kill -KILL $$": "SIGKILL", "kill -TERM $$": "SIGTERM"} {
		res := mustRun(t, rt, Call(script))
		wantOutcome(t, res, sandbox.OutcomeSignaled)
		if res.Signal != want {
			t.Errorf("%s: signal %q, want %q", script, res.Signal, want)
		}
	}
}

func testStartFailed(t *testing.T, rt sandbox.Runtime) {
	for _, argv := range [][]string{{"no-such-program"}, {"/no/such/program"}, {"/etc/passwd"}, {"/usr"}} {
		call := Call("")
		call.Argv = argv
		res := mustRun(t, rt, call)
		wantOutcome(t, res, sandbox.OutcomeStartFailed)
		if res.Message == "" || strings.Contains(res.Message, "\n") {
			t.Errorf("%v: message %q, want one line", argv, res.Message)
		}
	}
}

func testLargeStdin(t *testing.T, rt sandbox.Runtime) {
	data := make([]byte, 20<<20)
	source := rand.NewChaCha8([32]byte{1})
	if _, err := io.ReadFull(source, data); err != nil {
		t.Fatal(err)
	}
	call := Call("cat")
	call.Stdin = bytes.NewReader(data)
	call.Limits.OutputBytes = 24 << 20
	res := mustRun(t, rt, call)
	wantExit(t, res, 0)
	got := append(slices.Clone(res.Stdout.Head), res.Stdout.Tail...)
	if crc32.ChecksumIEEE(got) != crc32.ChecksumIEEE(data) {
		t.Errorf("%d bytes came back of %d, or others (total %d)", len(got), len(data), res.Stdout.TotalBytes)
	}
}

func testEnvironment(t *testing.T, rt sandbox.Runtime) {
	call := Call("")
	call.Argv = []string{"/usr/bin/env"}
	call.Env = []string{"A=1", "B=x y\nz", "PATH=/usr/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C"}
	res := mustRun(t, rt, call)
	wantExit(t, res, 0)
	if got, want := string(res.Stdout.Head), strings.Join(call.Env, "\n")+"\n"; got != want {
		t.Errorf("environment (-want +got):\n%s", cmp.Diff(want, got))
	}
	call.Env = nil
	res = mustRun(t, rt, call)
	for line := range strings.Lines(string(res.Stdout.Head)) {
		if name, _, _ := strings.Cut(line, "="); !slices.Contains([]string{"HOME", "PATH", "TMPDIR", "LC_CTYPE", "SHELL"}, name) {
			t.Errorf("unasked variable %q", line)
		}
	}
}

func testCwd(t *testing.T, rt sandbox.Runtime) {
	for cwd, want := range map[string]string{"": "/workspace\n", "/tmp": "/tmp\n", "/usr/bin": "/usr/bin\n"} {
		call := Call("pwd -P")
		call.Cwd = cwd
		res := mustRun(t, rt, call)
		wantExit(t, res, 0)
		if string(res.Stdout.Head) != want {
			t.Errorf("cwd %q: got %q, want %q", cwd, res.Stdout.Head, want)
		}
	}
}

func testDeadlineTree(t *testing.T, rt sandbox.Runtime) {
	call := Call(`trap "" TERM INT HUP
		setsid bash -c 'trap "" TERM; (trap "" TERM; while :; do sleep 1; done) & disown; while :; do sleep 1; done' &
		echo ready; while :; do sleep 1; done`)
	var res sandbox.Result
	for wall := time.Second; wall <= 16*time.Second; wall *= 4 { // an emulated machine takes long to start them all
		call.Limits.WallTime = wall
		res = mustRun(t, rt, call)
		wantOutcome(t, res, sandbox.OutcomeTimedOut)
		if res.Usage.PidsPeak < 0 || res.Usage.PidsPeak >= 4 {
			break
		}
	}
	if res.Usage.OOMKills > 0 || res.Usage.PidsPeak >= 0 && res.Usage.PidsPeak < 4 {
		t.Errorf("usage %+v: want no memory kill and at least 4 processes", res.Usage)
	}
}

func testBackground(t *testing.T, rt sandbox.Runtime) {
	res := mustRun(t, rt, Call("sleep 1000 & echo hi"))
	wantExit(t, res, 0)
	if string(res.Stdout.Head) != "hi\n" || res.Usage.BackgroundKilled != 1 {
		t.Errorf("got %q, %d killed in the background, want hi and 1", res.Stdout.Head, res.Usage.BackgroundKilled)
	}
	if res.RunTime > patience/2 {
		t.Errorf("took %v: waited for the child", res.RunTime)
	}
}

func testMemoryBomb(t *testing.T, rt sandbox.Runtime) {
	call := Call("bash -c 'tail /dev/zero; true'; echo survived")
	call.Limits.MemoryBytes = 48 << 20
	res := mustRun(t, rt, call)
	wantOutcome(t, res, sandbox.OutcomeOutOfMemory)
	if res.Usage.OOMKills < 1 || res.Usage.MemoryPeakBytes >= 0 && res.Usage.MemoryPeakBytes < 40<<20 {
		t.Errorf("usage %+v: want a memory kill and a peak near 48 MiB", res.Usage)
	}
	own := mustRun(t, rt, Call("exit 137"))
	wantExit(t, own, 137)
	if own.Usage.OOMKills != 0 {
		t.Errorf("exit 137 of its own has %d memory kills", own.Usage.OOMKills)
	}
}

// Each one waits for its two children; a fork that is refused is tried again by
// bash for longer than the call has.
const forkBomb = `bomb() { bomb & bomb & wait; }; bomb`

func testForkBomb(t *testing.T, rt sandbox.Runtime) {
	call := Call(forkBomb)
	call.Limits.Pids, call.Limits.WallTime = 40, 4*time.Second
	res := mustRun(t, rt, call)
	wantOutcome(t, res, sandbox.OutcomeTimedOut)
	if res.Usage.PidsPeak >= 0 && res.Usage.PidsPeak != 40 || res.Usage.PidsLimitHits == 0 {
		t.Errorf("peak %d, limit hits %d, want 40 and some", res.Usage.PidsPeak, res.Usage.PidsLimitHits)
	}
}

func testYes(t *testing.T, rt sandbox.Runtime) {
	call := Call("yes & yes >&2")
	call.Limits.WallTime, call.Limits.OutputBytes = 2*time.Second, 64<<10
	res := mustRun(t, rt, call)
	wantOutcome(t, res, sandbox.OutcomeTimedOut)
	for name, o := range map[string]sandbox.Output{"stdout": res.Stdout, "stderr": res.Stderr} {
		if int64(len(o.Head)+len(o.Tail)) > 64<<10 || !o.Truncated() || len(o.Head) == 0 || len(o.Tail) == 0 {
			t.Errorf("%s: head %d, tail %d of %d, want both within 64 KiB", name, len(o.Head), len(o.Tail), o.TotalBytes)
		}
	}
}

func testOutputLimit(t *testing.T, rt sandbox.Runtime) {
	call := Call("yes")
	call.Limits.OutputTotalBytes, call.Limits.OutputBytes = 1<<20, 4096
	res := mustRun(t, rt, call)
	wantOutcome(t, res, sandbox.OutcomeOutputLimit)
	if res.Stdout.TotalBytes < 1<<20 {
		t.Errorf("ended after %d bytes, want at least a MiB", res.Stdout.TotalBytes)
	}
}

func testDiskLimit(t *testing.T, rt sandbox.Runtime) {
	for _, dir := range []string{"/tmp", "/workspace", "/dev/shm"} {
		call := Call("cd " + dir + " && for i in 1 2 3 4 5 6 7 8; do head -c 2M /dev/zero >f$i || exit 9; done")
		call.Limits.DiskBytes = 8 << 20
		res := mustRun(t, rt, call)
		wantOutcome(t, res, sandbox.OutcomeDiskLimit)
		if res.ExitCode != 9 {
			t.Errorf("%s: exit code %d, want the program's own 9", dir, res.ExitCode)
		}
	}
}

func testCPU(t *testing.T, rt sandbox.Runtime) {
	call := Call("while :; do :; done")
	call.Limits.CPUMillis, call.Limits.WallTime = 200, 2*time.Second
	res := mustRun(t, rt, call)
	wantOutcome(t, res, sandbox.OutcomeTimedOut)
	if used := res.Usage.CPUUser + res.Usage.CPUSystem; used > time.Second {
		t.Errorf("used %v of cpu in 2 s under a bound of 200 millis", used)
	}
}

func session(key, script string) sandbox.Call {
	call := Call(script)
	call.ReuseKey = key
	return call
}

// keyCells is how many cells the calls of one key may take in turn.
const keyCells = 2

func testReuse(t *testing.T, rt sandbox.Runtime) {
	served := map[string]int64{}
	for range keyCells + 1 {
		r := mustRun(t, rt, session("reuse-a", "true")).Receipt
		if r.CellCalls != served[r.CellID] {
			t.Errorf("cell %s had served %d calls, %d of this key", r.CellID, r.CellCalls, served[r.CellID])
		}
		served[r.CellID]++
	}
	if len(served) > keyCells {
		t.Errorf("%d cells for %d calls of one key: want at most %d", len(served), keyCells+1, keyCells)
	}
	other := mustRun(t, rt, session("reuse-b", "true")).Receipt
	asCaller := session("reuse-a", "true")
	asCaller.Reuse = sandbox.ReuseCaller
	caller := mustRun(t, rt, asCaller).Receipt
	if served[other.CellID] > 0 || served[caller.CellID] > 0 || caller.CellID == other.CellID {
		t.Errorf("cells %v, %s, %s for three keys, want others for each", served, other.CellID, caller.CellID)
	}
	if other.CellCalls != 0 || caller.CellCalls != 0 {
		t.Errorf("a new key got a cell that had served %d and %d calls", other.CellCalls, caller.CellCalls)
	}
}

func testNothingPasses(t *testing.T, rt sandbox.Runtime) {
	leave := `for d in /tmp /var/tmp /dev/shm /workspace $HOME; do echo secret >$d/left; done
		setsid sleep 1000 & python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("\0left")'; exit 0`
	look := `ls -A /tmp /var/tmp /dev/shm /workspace $HOME; grep -c left /proc/net/unix
		for p in /proc/[0-9]*; do tr '\0' ' ' <$p/cmdline; done | grep -o 'slee[p] 1000'`
	left := mustRun(t, rt, session("passes", leave))
	wantExit(t, left, 0)
	res := mustRun(t, rt, session("passes", look))
	for range keyCells { // until it is the cell's turn again
		if res.Receipt.CellID == left.Receipt.CellID {
			break
		}
		res = mustRun(t, rt, session("passes", look))
	}
	if res.Receipt.CellID != left.Receipt.CellID {
		t.Fatal("no further call was in the same cell: nothing is shown")
	}
	if out := string(res.Stdout.Head); strings.Contains(out, "left") || strings.Contains(out, "sleep") || !strings.Contains(out, "\n0\n") {
		t.Errorf("the next call sees %q", out)
	}
}

func testNeverReused(t *testing.T, rt sandbox.Runtime) {
	seen := map[string]bool{}
	for range 3 {
		call := Call("true")
		call.Reuse, call.ReuseKey = sandbox.ReuseNever, ""
		r := mustRun(t, rt, call).Receipt
		if seen[r.CellID] || r.CellCalls != 0 {
			t.Errorf("cell %s served %d calls before", r.CellID, r.CellCalls)
		}
		seen[r.CellID] = true
	}
}

func testEndSession(t *testing.T, rt sandbox.Runtime) {
	before := mustRun(t, rt, session("ends", "true")).Receipt
	if err := rt.EndSession(t.Context(), "ends"); err != nil {
		t.Fatal(err)
	}
	if after := mustRun(t, rt, session("ends", "true")).Receipt; after.CellID == before.CellID {
		t.Errorf("cell %s served on after its session's end", after.CellID)
	}
}

func testReceipt(t *testing.T, rt sandbox.Runtime) {
	call := Call("grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; id -u; ulimit -n; df -B1 --output=size /tmp | tail -1")
	call.Limits.OpenFiles, call.Limits.FileBytes = 77, 1<<20
	res := mustRun(t, rt, call)
	wantExit(t, res, 0)
	r := res.Receipt
	want := map[string]int64{
		"memory_bytes": call.Limits.MemoryBytes, "pids": call.Limits.Pids, "cpu_millis": call.Limits.CPUMillis,
		"wall_time_ms": call.Limits.WallTime.Milliseconds(), "output_bytes": call.Limits.OutputBytes,
		"disk_bytes": call.Limits.DiskBytes, "file_bytes": 1 << 20, "open_files": 77,
	}
	for name, value := range want {
		if r.Enforced[name] != value {
			t.Errorf("enforced %s is %d, want %d", name, r.Enforced[name], value)
		}
	}
	if r.UID != 1000 || r.HostUID < 1000 || !r.NoNewPrivs || r.SeccompMode != 2 || len(r.SeccompSHA256) != 64 || r.CapEffective != 0 || r.CapBounding != 0 {
		t.Errorf("receipt %+v: want an unprivileged user behind a filter", r)
	}
	for _, ns := range []string{"user", "pid", "mnt", "net", "ipc", "uts"} {
		if own, err := os.Readlink("/proc/self/ns/" + ns); err != nil || r.Namespaces[ns] == "" || r.Namespaces[ns] == own {
			t.Errorf("namespace %s is %q, the machine's is %q (%v)", ns, r.Namespaces[ns], own, err)
		}
	}
	seen := regexp.MustCompile(`\s+`).ReplaceAllString(string(res.Stdout.Head), " ")
	if want := "CapBnd: 0000000000000000 CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2 1000 77 33554432 "; !sameWords(seen, want) {
		t.Errorf("the program saw %q, want %q", seen, want)
	}
}

func sameWords(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

func testWorkspaceOwner(t *testing.T, rt sandbox.Runtime) {
	dir := workspaceDir(t)
	call := Call("stat -c %u old; cat old; echo new >made; mkdir sub; echo more >>old; rm gone")
	call.Workspace = sandbox.Workspace{HostDir: dir, KeepOwner: true}
	res := mustRun(t, rt, call)
	wantExit(t, res, 0)
	if string(res.Stdout.Head) != "1000\nold\n" || res.Receipt.Workspace != "directory:idmapped" {
		t.Errorf("inside: %q as %q, want the program's own file", res.Stdout.Head, res.Receipt.Workspace)
	}
	for _, name := range []string{"made", "sub", "old"} {
		info, err := os.Lstat(dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Uid != ownerUID || stat.Gid != ownerUID {
			t.Errorf("%s belongs on disk to %d:%d, want %d", name, stat.Uid, stat.Gid, ownerUID)
		}
	}
	if _, err := os.Lstat(dir + "/gone"); !os.IsNotExist(err) {
		t.Errorf("removed file: %v, want it gone", err)
	}
}

func testWorkspaceReadOnly(t *testing.T, rt sandbox.Runtime) {
	call := Call("cat old; echo x >made; echo $?; mount -o remount,rw /workspace 2>/dev/null || echo refused")
	call.Workspace = sandbox.Workspace{HostDir: workspaceDir(t), KeepOwner: true, ReadOnly: true}
	res := mustRun(t, rt, call)
	if string(res.Stdout.Head) != "old\n1\nrefused\n" {
		t.Errorf("got %q, want the file and a refused write and remount", res.Stdout.Head)
	}
	// Without a directory there is an empty one, and nothing can be put into it;
	// the next call, of other limits, gets a workspace of its own again.
	call = Call("echo x >made; echo $?; mkdir d; echo $?; ls -A; mount -o remount,rw /workspace 2>/dev/null || echo refused; echo y >/tmp/y && cat /tmp/y")
	call.Workspace.ReadOnly, call.Reuse, call.ReuseKey = true, sandbox.ReuseSession, "empty"
	res = mustRun(t, rt, call)
	if string(res.Stdout.Head) != "1\n1\nrefused\ny\n" || res.Receipt.Workspace != "ephemeral" {
		t.Errorf("without a directory: got %q (%s) in %q, want refused writes", res.Stdout.Head, res.Stderr.Head, res.Receipt.Workspace)
	}
	call.Argv, call.Workspace.ReadOnly = []string{"sh", "-c", "echo x >made && cat made"}, false
	if res = mustRun(t, rt, call); string(res.Stdout.Head) != "x\n" {
		t.Errorf("writable again: got %q (%s)", res.Stdout.Head, res.Stderr.Head)
	}
}

// ownerUID is an owner that is neither root nor anybody in a cell.
const ownerUID = 54321

func workspaceDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"old", "gone"} {
		if err := os.WriteFile(dir+"/"+name, []byte(name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir+"/"+name, ownerUID, ownerUID); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, ownerUID, ownerUID); err != nil {
		t.Fatal(err)
	}
	return dir
}

func testNoNetwork(t *testing.T, rt sandbox.Runtime) {
	res := mustRun(t, rt, Call(`tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '
		(exec 3<>/dev/tcp/192.0.2.1/80) 2>/dev/null; echo $?; getent hosts example.com; echo $?`))
	wantExit(t, res, 0)
	if string(res.Stdout.Head) != "lo\n1\n2\n" || res.Receipt.Network != "none" {
		t.Errorf("got %q with network %q, want only lo", res.Stdout.Head, res.Receipt.Network)
	}
}

func testMachineInvisible(t *testing.T, rt sandbox.Runtime) {
	t.Setenv("SANDGATE_CANARY", "canary-in-the-daemon")
	res := mustRun(t, rt, Call(`cat /etc/shadow /etc/gshadow 2>/dev/null; ls /root /var/lib /run /home 2>/dev/null
		cat /proc/*/environ 2>/dev/null | tr '\0' '\n' | grep -c CANARY; ls /proc | grep -c '^[0-9]'
		find / -xdev -name '*.sock' 2>/dev/null | head -3; cat /proc/1/cmdline /proc/1/root/etc/hostname 2>/dev/null | tr '\0' ' '; true`))
	wantExit(t, res, 0)
	out := string(res.Stdout.Head)
	if strings.Contains(out, "root:") || strings.Contains(out, ".sock") || !strings.Contains(out, "\n0\n") && !strings.HasPrefix(out, "0\n") {
		t.Errorf("saw %q", out)
	}
}

func testNoPrivilege(t *testing.T, rt sandbox.Runtime) {
	res := mustRun(t, rt, Call(`unshare -U true 2>/dev/null && echo userns; unshare -m true 2>/dev/null && echo mntns
		mount -t tmpfs none /tmp 2>/dev/null && echo mount; mknod /tmp/n c 1 3 2>/dev/null && echo mknod
		echo x >/usr/x 2>/dev/null && echo usr; echo x >/etc/x 2>/dev/null && echo etc; echo 1 >/proc/sys/kernel/pid_max 2>/dev/null && echo sysctl
		kill -9 1 2>/dev/null && echo kill; ls /sys/fs/cgroup 2>/dev/null | grep -q . && echo cgroup
		cp /bin/bash /tmp/b; chmod u+s /tmp/b; /tmp/b -p -c 'id -u'`))
	if got := string(res.Stdout.Head); got != "1000\n" {
		t.Errorf("got %q, want nothing but the user's id", got)
	}
}

// RunCancelStorm cancels many calls at random moments and looks that each one
// ends as cancelled or by itself.
func RunCancelStorm(t *testing.T, rt sandbox.Runtime, calls int) {
	t.Helper()
	for i := range calls {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Duration(rand.IntN(20))*time.Millisecond, func() { cancel(io.ErrClosedPipe) }) //nolint:gosec // not a secret
		res, err := rt.Run(ctx, session("storm", "sleep 0.01"))
		cancel(nil)
		if err != nil || res.Outcome != sandbox.OutcomeCancelled && res.Outcome != sandbox.OutcomeExited {
			t.Errorf("call %d: got %s %s, %v", i, res.Outcome, res.Message, err)
		}
	}
}
