package containerd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/containerd"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// leftovers lists everything on the machine that belongs to a data directory:
// processes in its control groups or with its paths in their arguments, control
// groups, mounts, sockets.
func leftovers(tb testing.TB, dataDir string) []string {
	tb.Helper()
	instance := "sandgate-" + containerd.InstanceOf(dataDir)
	var out []string
	for _, pattern := range []string{"/sys/fs/cgroup/" + instance, "/sys/fs/cgroup/*/" + instance, "/run/" + instance} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, found...)
	}
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		tb.Fatal(err)
	}
	for _, dir := range procs {
		if dir == "/proc/"+strconv.Itoa(os.Getpid()) {
			continue
		}
		args, _ := os.ReadFile(dir + "/cmdline") // it may have ended
		groups, _ := os.ReadFile(dir + "/cgroup")
		if strings.Contains(string(args), instance) || strings.Contains(string(groups), instance) {
			out = append(out, dir+" "+strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, instance) || strings.Contains(line, dataDir) {
			out = append(out, line)
		}
	}
	return out
}

// stays returns what is still there of a data directory after the five seconds
// that an end may take: an ended process can wait for its reaper that long.
func stays(tb testing.TB, dataDir string) []string {
	tb.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if left := leftovers(tb, dataDir); len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// namespacesOf counts the distinct namespaces of a kind that processes are in.
func namespacesOf(tb testing.TB, kind string) []string {
	tb.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*/ns/" + kind)
	if err != nil {
		tb.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range procs {
		if link, err := os.Readlink(p); err == nil {
			seen[link] = true
		}
	}
	var out []string
	for link := range seen {
		out = append(out, link)
	}
	slices.Sort(out)
	return out
}

// threadsOutside lists threads of this process in another mount namespace than
// its parent.
func threadsOutside(tb testing.TB) []string {
	tb.Helper()
	own, err := os.Readlink("/proc/" + strconv.Itoa(os.Getppid()) + "/ns/mnt")
	if err != nil {
		tb.Fatal(err)
	}
	tasks, err := filepath.Glob("/proc/self/task/*/ns/mnt")
	if err != nil {
		tb.Fatal(err)
	}
	return slices.DeleteFunc(tasks, func(task string) bool {
		link, err := os.Readlink(task)
		return err != nil || link == own
	})
}

func TestCloseLeavesNothing(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	before := namespacesOf(t, "net")
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	goroutines := goleak.IgnoreCurrent()
	r := start(t, cfg)
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			call := sandboxtest.Call("sleep 1000 & sleep 0.2")
			call.ReuseKey = fmt.Sprint(i)
			if i%2 == 0 {
				call.Reuse = sandbox.ReuseNever
			}
			if _, err := r.Run(t.Context(), call); err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	wg.Wait()
	dirty := sandboxtest.Call("true")
	dirty.Workspace = sandbox.Workspace{HostDir: t.TempDir(), KeepOwner: true}
	for range 10 { // on whatever threads they come to
		if _, err := r.Run(t.Context(), dirty); err != nil {
			t.Errorf("run with a directory: %v", err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; { // a thread may still be ending
		stayed := threadsOutside(t)
		if len(stayed) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("threads stayed in a cell: %v", stayed)
		}
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatalf("close: %v", err)
	}
	if left := stays(t, cfg.DataDir); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	if after := namespacesOf(t, "net"); os.Getenv("SANDGATE_ALONE") == "1" && len(after) > len(before) {
		t.Errorf("network namespaces grew from %v to %v", before, after)
	}
	if err := goleak.Find(goroutines); err != nil {
		t.Errorf("goroutines: %v", err)
	}
	if now, err := os.ReadDir("/proc/self/fd"); err != nil || len(now) > len(fds)+2 { // the poller and its eventfd stay
		t.Errorf("%d descriptors were open, now %d (%v)", len(fds), len(now), err)
	}
}

const crashEnv = "SANDGATE_TEST_CRASH_DATA_DIR"

// TestCrashingDaemon is the daemon of TestKillNineLeavesNoOrphan.
func TestCrashingDaemon(t *testing.T) {
	dir := os.Getenv(crashEnv)
	if dir == "" {
		t.Skip("only runs as the child of TestKillNineLeavesNoOrphan")
	}
	cfg := testConfig(t)
	cfg.DataDir, cfg.PoolSize = dir, -1 // no cell is half made when it is killed
	r := start(t, cfg)
	out := json.NewEncoder(os.Stdout)
	for i := range 10 {
		go func() {
			call := sandboxtest.Call(`trap "" TERM HUP; setsid sleep 1000 & sleep 1000`)
			call.Reuse, call.ReuseKey = sandbox.ReuseSession, fmt.Sprint(i)
			call.Observer = started(func() { _ = out.Encode("started") }) // the parent reads until it has ten
			_, _ = r.Run(context.Background(), call)                      // it dies with the process
		}()
	}
	<-time.After(5 * time.Minute)
}

type started func()

func (s started) Started(sandbox.Receipt)              { s() }
func (s started) Output(sandbox.Stream, int64, []byte) {}

type startedAs func(sandbox.Receipt)

func (s startedAs) Started(r sandbox.Receipt)            { s(r) }
func (s startedAs) Output(sandbox.Stream, int64, []byte) {}

// inCells keeps the processes that are no shim.
func inCells(left []string) []string {
	return slices.DeleteFunc(left, func(l string) bool {
		return !strings.HasPrefix(l, "/proc/") || strings.Contains(l, "containerd")
	})
}

func TestKillNineLeavesNoOrphan(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrashingDaemon$", "-test.v") //nolint:gosec // this very binary
	child.Env = append(os.Environ(), crashEnv+"="+cfg.DataDir, "SANDGATE_BIN_DIR="+binDir,
		"TMPDIR="+t.TempDir()) // a killed child removes nothing
	pipe, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	running := 0
	for in := bufio.NewScanner(pipe); running < 10 && in.Scan(); {
		if strings.Contains(in.Text(), `"started"`) {
			running++
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := child.Wait(); !errors.As(err, &exit) || running < 10 {
		t.Fatalf("child ended with %v after %d calls had started, want it killed after 10", err, running)
	}

	// Already before the restart no process of a cell is left.
	for deadline := time.Now().Add(5 * time.Second); ; {
		cells := inCells(leftovers(t, cfg.DataDir))
		if len(cells) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("5 s after the kill there is still:\n%s", strings.Join(cells, "\n"))
		}
		<-time.After(10 * time.Millisecond)
	}

	began := time.Now()
	r := start(t, cfg)
	if took := time.Since(began); took > 5*time.Second && os.Getenv("SANDGATE_CGROUP2_GUEST") == "" {
		t.Errorf("restart took %v, want at most 5 s", took) // under emulation it says nothing
	}
	res, err := r.Run(t.Context(), sandboxtest.Call("echo works"))
	if err != nil || string(res.Stdout.Head) != "works\n" {
		t.Errorf("call after restart: %s %q, %v", res.Outcome, res.Stdout.Head, err)
	}
	for _, left := range leftovers(t, cfg.DataDir) {
		if strings.Contains(left, "sleep") {
			t.Errorf("orphan %s", left)
		}
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := stays(t, cfg.DataDir); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}
