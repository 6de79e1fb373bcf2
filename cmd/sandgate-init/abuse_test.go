//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// processes are the host pids of all that runs in the cell, zombies included.
func (c *testCell) processes(tb testing.TB) []int {
	tb.Helper()
	of, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", c.pid))
	if err != nil {
		tb.Fatal(err)
	}
	names, err := readNames("/proc")
	if err != nil {
		tb.Fatal(err)
	}
	var pids []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			if ns, err := os.Readlink("/proc/" + n + "/ns/user"); err == nil && ns == of {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// onlyNext prepares a stage and wants init, its fork servers, the stage and its
// holder to be all there is.
func (c *testCell) onlyNext(tb testing.TB) {
	tb.Helper()
	if _, err := c.Prepare(context.Background()); err != nil {
		tb.Fatalf("prepare the next call: %v; log:\n%s", err, c.log)
	}
	if pids := c.processes(tb); len(pids) != 5 {
		for _, pid := range pids {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // only to be shown
			tb.Logf("%d: %q", pid, line)
		}
		tb.Errorf("%d processes in the cell, want init, its two fork servers, stage and holder", len(pids))
	}
	if r := c.exec(context.Background(), tb, base("true")); r.ExitCode != 0 {
		tb.Errorf("the next call: got %+v", r.Exit)
	}
}

func TestDeadlineEndsTheWholeTree(t *testing.T) {
	for name, script := range map[string]string{
		"ignored signals":       "trap '' TERM INT HUP; while :; do sleep 1000; done",
		"setsid, double fork":   "trap '' TERM; for i in 1 2 3; do (setsid bash -c 'trap \"\" TERM; (sleep 1000 &); sleep 1000' &); done; sleep 1000",
		"stopped":               "kill -STOP $$",
		"closed descriptors":    "exec 0<&- 1>&- 2>&-; sleep 1000",
		"yes on both streams":   "yes >&2 & yes",
		"waits for its stdin":   "read x; sleep 1000",
		"fork after fork":       "f() { f | f & }; while :; do (sleep 0.01 &); done",
		"stdin that it ignores": "sleep 1000",
	} {
		t.Run(name, func(t *testing.T) {
			c := startCell(t)
			x := base("bash", "-c", script)
			x.WallTime, x.OutputBytes = 400*time.Millisecond, 64<<10
			if strings.HasPrefix(name, "stdin") {
				x.Stdin = endless{}
			}
			r := c.run(t, x)
			if !r.TimedOut || r.Cancelled || r.OutputLimit || r.ExitCode != -1 || r.Signal != int(unix.SIGKILL) {
				t.Errorf("got %+v, want timed out", r.Exit)
			}
			t.Logf("ended %v after the deadline; %d bytes of output", r.RunTime-x.WallTime, r.StdoutTotal+r.StderrTotal)
			if r.RunTime < x.WallTime || r.RunTime > x.WallTime+5*time.Second {
				t.Errorf("ended after %v, want %v and little more", r.RunTime, x.WallTime)
			}
			if len(r.stdout) > 64<<10 || len(r.stderr) > 64<<10 {
				t.Errorf("%d and %d bytes were kept, want at most 64 KiB", len(r.stdout), len(r.stderr))
			}
			c.onlyNext(t)
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestBackgroundChildDoesNotHoldTheCall(t *testing.T) {
	c := startCell(t)
	r := c.run(t, base("bash", "-c", "sleep 1000 & (setsid sleep 1000 &) ; echo hi; exit 5"))
	if r.ExitCode != 5 || string(r.stdout) != "hi\n" || r.BackgroundKilled != 2 {
		t.Errorf("got %+v and %q, want 5, \"hi\" and 2 killed in the background", r.Exit, r.stdout)
	}
	if r.RunTime > 20*time.Second {
		t.Errorf("took %v", r.RunTime)
	}
	c.onlyNext(t)
}

func TestOutputLimitEndsTheCall(t *testing.T) {
	c := startCell(t)
	x := base("yes")
	x.OutputTotalBytes = 1 << 20
	r := c.run(t, x)
	if !r.OutputLimit || r.TimedOut || r.StdoutTotal <= 1<<20 {
		t.Errorf("got %+v, want the output limit", r.Exit)
	}
	c.onlyNext(t)
}

func TestFullDiskIsTold(t *testing.T) {
	c := startCell(t)
	for _, dir := range []string{"/workspace", "/tmp", "/dev/shm", "/home/agent"} {
		x := base("bash", "-c", "head -c 100M /dev/zero > "+dir+"/big")
		x.DiskBytes, x.FileBytes = 1<<20, 1<<30
		if r := c.run(t, x); !r.DiskFull || r.ExitCode == 0 || r.Signal != 0 {
			t.Errorf("%s: got %+v %q, want a full disk", dir, r.Exit, r.stderr)
		}
	}
	x := base("bash", "-c", "head -c 100M /dev/zero > big || true")
	x.DiskBytes, x.FileBytes = 1<<20, 1<<30
	if r := c.run(t, x); r.DiskFull || r.ExitCode != 0 {
		t.Errorf("got %+v, want success: the program did not mind", r.Exit)
	}
	x = base("bash", "-c", "i=0; while : > f$i; do i=$((i+1)); done; exit 1")
	x.DiskBytes = 64 << 10
	if r := c.run(t, x); !r.DiskFull {
		t.Errorf("got %+v, want a disk full of small files", r.Exit)
	}
}

func TestManyCallsLeaveNothing(t *testing.T) {
	t.Run("by socket", func(t *testing.T) { manyCallsLeaveNothing(t, startCell(t)) })
	t.Run("by stdin and stdout", func(t *testing.T) { manyCallsLeaveNothing(t, startCellByStdio(t)) })
}

func manyCallsLeaveNothing(t *testing.T, c *testCell) {
	t.Helper()
	count := func() int {
		names, err := readNames(fmt.Sprintf("/proc/%d/fd", c.pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	x := base("bash", "-c", "cat >/dev/null; (sleep 100 &); exit 0")
	x.Next = c.after()
	first := 0
	for i := range 300 {
		x.Stdin = strings.NewReader("x")
		if r := c.run(t, x); r.ExitCode != 0 {
			t.Fatalf("call %d: got %+v", i, r.Exit)
		}
		if i == 10 {
			if _, err := c.Prepare(context.Background()); err != nil {
				t.Fatal(err)
			}
			first = count()
			c.exec(context.Background(), t, x)
		}
	}
	if _, err := c.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	// Init tells of a call's end before it closes its pipes.
	const ofACall = 10
	if last := count(); last > first+ofACall {
		t.Errorf("init has %d descriptors open, %d after the first calls", last, first)
	}
	if r := c.exec(context.Background(), t, base("true")); r.ExitCode != 0 {
		t.Errorf("the last call: got %+v", r.Exit)
	}
	c.onlyNext(t)
}

// residentBytes is what a process of the cell has in memory.
func (c *testCell) residentBytes(tb testing.TB, pid int) int64 {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.hostPID(tb, pid)))
	if err != nil {
		tb.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestLargeRequestIsForgotten: the processes of a slot share their memory, which counts
// as that of the next call in it.
func TestLargeRequestIsForgotten(t *testing.T) {
	c := startCell(t)
	if r := c.run(t, base("true")); r.ExitCode != 0 { // in slot 1
		t.Fatalf("got %+v", r.Exit)
	}
	x := base("true")
	x.Env = append(x.Env, "LARGE="+strings.Repeat("x", 120<<10), "TOO="+strings.Repeat("y", 120<<10))
	if r := c.run(t, x); r.ExitCode != 0 { // in slot 0
		t.Fatalf("got %+v", r.Exit)
	}
	large := c.residentBytes(t, c.hello.ForkServers[0])
	for range 2 { // in slot 1, then 0 again
		if r := c.run(t, base("true")); r.ExitCode != 0 {
			t.Fatalf("got %+v", r.Exit)
		}
	}
	if after := c.residentBytes(t, c.hello.ForkServers[0]); after > large-(200<<10) {
		t.Errorf("the fork server has %d bytes after a call with an environment of 240 KiB, and %d after the next", large, after)
	}
}

// hostPID finds the process whose pid within the cell is pid, as a runtime does.
func (c *testCell) hostPID(tb testing.TB, pid int) int {
	tb.Helper()
	for _, p := range c.processes(tb) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if f := strings.Fields(line); len(f) >= 3 && f[0] == "NSpid:" && f[2] == strconv.Itoa(pid) {
				return p
			}
		}
	}
	tb.Fatalf("no process with pid %d in the cell", pid)
	return 0
}

func TestWorkspaceIsMovedInByTheHost(t *testing.T) {
	c := startCell(t)
	ctx := context.Background()
	x := base("bash", "-c", "cat here; echo back > there; ls -n there | cut -d' ' -f3")
	x.Workspace = cell.WorkspaceMoved
	dir, err := os.MkdirTemp("", "sandgate-init-workspace-") //nolint:usetesting // a mapped root must reach it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for name, err := range map[string]error{
		"chown": os.Chown(dir, 101000, 101000),
		"write": os.WriteFile(dir+"/here", []byte("hello\n"), 0o644),
	} {
		if err != nil {
			t.Fatal(name, err)
		}
	}
	p, err := c.Prepare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := moveIn(dir, c.hostPID(t, p.StagePID)); err != nil {
		t.Fatal(err)
	}
	if r := c.exec(ctx, t, x); string(r.stdout) != "hello\n1000\n" {
		t.Errorf("got %q %q, want the workspace's file and uid 1000", r.stdout, r.stderr)
	}
	if text, err := os.ReadFile(dir + "/there"); err != nil || string(text) != "back\n" {
		t.Errorf("got %q, %v on the host, want what the call wrote", text, err)
	}
}

// TestMissingWorkspaceIsRefused: without the mount the program would work on a
// tmpfs that nobody keeps.
func TestMissingWorkspaceIsRefused(t *testing.T) {
	c := startCell(t)
	ctx := context.Background()
	if _, err := c.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	x := base("true")
	x.Workspace = cell.WorkspaceMoved
	end, err := c.Exec(ctx, x, cell.Handlers{})
	if err != nil || end.StartError == "" || end.Poisoned == "" {
		t.Errorf("got %+v, %v, want a start error and a poisoned cell", end, err)
	}
}

// moveIn mounts dir at the workspace of the mount namespace of process pid.
func moveIn(dir string, pid int) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Setns(ns, unix.CLONE_NEWNS)
		}
		if err == nil {
			err = unix.MoveMount(tree, "", unix.AT_FDCWD, cell.Workspace, unix.MOVE_MOUNT_F_EMPTY_PATH)
		}
		done <- err
	}()
	return errors.Join(<-done, unix.Close(ns), unix.Close(tree))
}

func TestStageKilledFromOutsidePoisonsTheCell(t *testing.T) {
	c := startCell(t)
	ctx := context.Background()
	p, err := c.Prepare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	victim := c.hostPID(t, p.StagePID)
	end, err := c.Exec(ctx, base("sleep", "1000"), cell.Handlers{Started: func(cell.Started) {
		if err := unix.Kill(victim, unix.SIGKILL); err != nil {
			t.Error(err)
		}
	}})
	if err != nil || end.Poisoned == "" || end.ExitCode != -1 {
		t.Errorf("got %+v, %v, want a poisoned cell", end, err)
	}
}
