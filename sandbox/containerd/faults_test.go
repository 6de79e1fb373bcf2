package containerd_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cgroup"
	"github.com/sandgate/sandgate/sandbox/containerd"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

func TestBadConfigIsRefused(t *testing.T) {
	for want, cfg := range map[string]containerd.Config{
		"data directory": {DataDir: "relative"},
		"run directory":  {DataDir: "/tmp/x", RunDir: "/" + strings.Repeat("long", 30)},
		"max cells":      {DataDir: "/tmp/x", MaxCells: -1},
		"control group":  {DataDir: "/tmp/x", CgroupParent: "a/b"},
		"isolation":      {DataDir: "/tmp/x", Runtimes: map[sandbox.Isolation]containerd.RuntimeClass{"kata": {Binary: "kata-runtime"}}},
	} {
		if _, err := containerd.New(t.Context(), cfg); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an invalid argument naming %q", err, want)
		}
	}
}

// binariesBut is a directory with all programs, one of them replaced by text.
func binariesBut(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	for _, each := range []string{"containerd", "containerd-shim-runc-v2", "runc", "sandgate-init"} {
		target := filepath.Join(dir, each)
		if each == name {
			if err := os.WriteFile(target, []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.Symlink(filepath.Join(binDir, each), target); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestContainerdThatWillNotStartIsTold(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	cfg.BinDir = binariesBut(t, "containerd", "#!/bin/sh\necho no such luck >&2\nexit 3\n")
	_, err := containerd.New(t.Context(), cfg)
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("got %v, want unavailable with containerd's last words", err)
	}
	if left := stays(t, cfg.DataDir); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

func TestRuncThatFailsIsNotReady(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	cfg.BinDir = binariesBut(t, "runc", "#!/bin/sh\n[ \"$1\" = --version ] && echo runc version 0 && exit 0\necho broken runc >&2\nexit 1\n")
	r, err := containerd.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	if _, err := r.Run(t.Context(), bashCall("true")); !errdefs.IsUnavailable(err) {
		t.Errorf("run: got %v, want unavailable", err)
	}
	if err := r.Ready(t.Context()); !errdefs.IsUnavailable(err) {
		t.Errorf("ready: got %v, want unavailable", err)
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	r := start(t, cfg)
	if _, err := containerd.New(t.Context(), cfg); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want a failed precondition: in use", err)
	}
	res, err := r.Run(t.Context(), bashCall("exit 4"))
	if err != nil || res.ExitCode != 4 {
		t.Errorf("first daemon: %s %d, %v: want it unharmed", res.Outcome, res.ExitCode, err)
	}
}

// TestMissingControllerRefusesCalls has no pids controller: nothing may run.
func TestMissingControllerRefusesCalls(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	cfg.CgroupRoot = t.TempDir()
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		t.Skip("this way of hiding a controller needs cgroup v1")
	}
	for _, name := range []string{"cpu", "cpuacct", "memory"} {
		if err := os.Symlink("/sys/fs/cgroup/"+name, filepath.Join(cfg.CgroupRoot, name)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := containerd.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	if _, err := r.Run(t.Context(), bashCall("true")); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "pids") {
		t.Errorf("run: got %v, want a failed precondition naming pids", err)
	}
	if err := r.Ready(t.Context()); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("ready: got %v, want a failed precondition", err)
	}
	caps, err := r.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range caps.Controls {
		if c.Name == "pids" && (c.Binds || c.Remedy == "") {
			t.Errorf("control %+v, want it unbound with a remedy", c)
		}
	}
}

func TestCapabilitiesAreFoundByTrying(t *testing.T) {
	requireRoot(t)
	r := start(t, testConfig(t))
	caps, err := r.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range caps.Controls {
		seen[c.Name] = c.Binds
		if c.Required && !c.Binds || c.Detail == "" || !c.Binds && c.Remedy == "" {
			t.Errorf("control %+v: want it bound, or with a remedy", c)
		}
	}
	for _, name := range []string{
		"memory_bytes", "cpu_millis", "pids", "idmapped_mounts", "runtime", "cell_process", "user_namespace", "seccomp", "privileges", "disk_bytes",
	} {
		if !seen[name] {
			t.Errorf("control %s is not told as bound", name)
		}
	}
	if caps.Kernel == "" || !strings.HasPrefix(caps.Runtime, "runc ") || caps.CgroupVersion < 1 {
		t.Errorf("got kernel %q, runtime %q, cgroup v%d", caps.Kernel, caps.Runtime, caps.CgroupVersion)
	}
}

// TestDelegatedGroup keeps to the group that it was given.
func TestDelegatedGroup(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	cfg.CgroupParent = "/sgparent-" + containerd.InstanceOf(cfg.DataDir)
	t.Cleanup(func() {
		m, err := cgroup.Open(cgroup.DefaultRoot)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.RemoveTree(context.Background(), cfg.CgroupParent); err != nil {
			t.Error(err)
		}
	})
	r := start(t, cfg)
	res, err := r.Run(t.Context(), bashCall("exit 8"))
	if err != nil || res.ExitCode != 8 {
		t.Errorf("got %s %d, %v, want EXITED 8", res.Outcome, res.ExitCode, err)
	}
	for _, left := range leftovers(t, cfg.DataDir) {
		if strings.HasPrefix(left, "/sys/fs/cgroup") && !strings.Contains(left, cfg.CgroupParent) {
			t.Errorf("group %s outside of the given one", left)
		}
	}
}

// TestContainerdDiesAndComesBack kills containerd between calls.
func TestContainerdDiesAndComesBack(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	r := start(t, cfg)
	call := bashCall("exit 0")
	call.Reuse, call.ReuseKey = sandbox.ReuseSession, "k"
	first, err := r.Run(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range leftovers(t, cfg.DataDir) {
		proc, args, _ := strings.Cut(line, " ")
		if !strings.Contains(args, "--config") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(proc))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	again, err := r.Run(t.Context(), call) // its cell needs no containerd
	if err != nil || again.Receipt.CellID != first.Receipt.CellID {
		t.Errorf("kept cell: got %s %v, want the same cell to serve", again.Receipt.CellID, err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for i := 0; ; i++ { // more cells than the pool had: containerd has to be back
		fresh := bashCall("exit 0")
		fresh.Reuse, fresh.ReuseKey = sandbox.ReuseSession, "after-"+strconv.Itoa(i)
		_, err := r.Run(t.Context(), fresh)
		if err == nil && i >= 4 {
			return
		}
		if err != nil && !errdefs.IsUnavailable(err) || time.Now().After(deadline) {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

func TestExternalContainerdIsShared(t *testing.T) {
	requireRoot(t)
	owner := testConfig(t)
	start(t, owner)
	cfg := testConfig(t)
	cfg.Address = "/run/sandgate-" + containerd.InstanceOf(owner.DataDir) + "/containerd.sock"
	cfg.Namespace = "other"
	r := start(t, cfg)
	res, err := r.Run(t.Context(), bashCall("exit 5"))
	if err != nil || res.ExitCode != 5 {
		t.Errorf("got %s %d, %v, want EXITED 5", res.Outcome, res.ExitCode, err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := stays(t, cfg.DataDir); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// TestKilledCellIsTold kills init from outside while its call runs.
func TestKilledCellIsTold(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	r := start(t, cfg)
	call := sandboxtest.Call("sleep 1000")
	call.Reuse, call.ReuseKey = sandbox.ReuseSession, "k"
	call.Observer = startedAs(func(receipt sandbox.Receipt) {
		for _, file := range []string{"/*/*/" + receipt.CellID + "/cgroup.procs", "/*/" + receipt.CellID + "/init/cgroup.procs"} {
			found, err := filepath.Glob("/sys/fs/cgroup" + file)
			if err != nil {
				t.Error(err)
			}
			for _, file := range found {
				text, _ := os.ReadFile(file) // gone once the first is killed
				for f := range strings.FieldsSeq(string(text)) {
					if pid, err := strconv.Atoi(f); err == nil {
						_ = syscall.Kill(pid, syscall.SIGKILL) // killed once is enough
					}
				}
			}
		}
	})
	res, err := r.Run(t.Context(), call)
	if err != nil || res.Outcome != sandbox.OutcomeUnknown || res.Message == "" {
		t.Errorf("got %s %q, %v, want UNKNOWN with its cause", res.Outcome, res.Message, err)
	}
	res, err = r.Run(t.Context(), sandboxtest.Call("exit 6"))
	if err != nil || res.ExitCode != 6 {
		t.Errorf("next call: %s %d, %v, want EXITED 6", res.Outcome, res.ExitCode, err)
	}
}

func TestWorkspaceErrorsSayWhatIsWrong(t *testing.T) {
	requireRoot(t)
	r := start(t, testConfig(t))
	foreign, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.Symlink(foreign, link), os.Mkdir(filepath.Join(foreign, "sub"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for what, try := range map[string]struct {
		workspace sandbox.Workspace
		want      string
	}{
		"not there":       {sandbox.Workspace{HostDir: "/no/such/dir"}, "existing directory"},
		"symbolic link":   {sandbox.Workspace{HostDir: link, KeepOwner: true}, "symbolic link"},
		"link on the way": {sandbox.Workspace{HostDir: link + "/sub", KeepOwner: true}, "symbolic link"},
		"a file":          {sandbox.Workspace{HostDir: "/etc/passwd", KeepOwner: true}, "existing directory"},
		"foreign owner":   {sandbox.Workspace{HostDir: foreign}, "belongs to uid 0"},
		"no id mapping":   {sandbox.Workspace{HostDir: "/proc/sys", KeepOwner: true}, "id"},
		"root of all (/)": {sandbox.Workspace{HostDir: "/", KeepOwner: true}, "whole file system"},
	} {
		call := bashCall("true")
		call.Workspace = try.workspace
		if _, err := r.Run(t.Context(), call); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), try.want) {
			t.Errorf("%s: got %v, want a failed precondition with %q", what, err, try.want)
		}
	}
	own := filepath.Join(t.TempDir(), "session")
	if err := errors.Join(r.PrepareDir(own), r.PrepareDir(own)); err != nil {
		t.Fatal(err)
	}
	call := bashCall("echo kept >f; stat -c %a .")
	call.Workspace.HostDir = own
	res, err := r.Run(t.Context(), call)
	if err != nil || res.ExitCode != 0 || string(res.Stdout.Head) != "700\n" || res.Receipt.Workspace != "directory" {
		t.Errorf("prepared directory: %s %d %q, %v", res.Outcome, res.ExitCode, res.Stdout.Head, err)
	}
	if text, err := os.ReadFile(filepath.Join(own, "f")); err != nil || string(text) != "kept\n" {
		t.Errorf("file of the call: %q, %v", text, err)
	}
}

func TestIdleCellGoes(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	cfg.IdleTimeout, cfg.PoolSize = time.Millisecond, -1
	r := start(t, cfg)
	if _, err := r.Run(t.Context(), sandboxtest.Call("true")); err != nil {
		t.Fatal(err)
	}
	m, err := cgroup.Open(cgroup.DefaultRoot)
	if err != nil {
		t.Fatal(err)
	}
	parent := "/sandgate-" + containerd.InstanceOf(cfg.DataDir)
	for deadline := time.Now().Add(30 * time.Second); ; {
		cells, err := m.Children(parent)
		if err != nil {
			t.Fatal(err)
		}
		if len(cells) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("cells %v are kept", cells)
		}
		<-time.After(20 * time.Millisecond)
	}
	if err := r.Ready(t.Context()); err != nil {
		t.Errorf("without a cell: %v, want still ready", err)
	}
}

// TestMoreCallsThanCells runs many sessions through few cells.
func TestMoreCallsThanCells(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	cfg.MaxCells, cfg.PoolSize = 3, 1
	r := start(t, cfg)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			call := sandboxtest.Call("exit " + strconv.Itoa(i))
			call.Reuse, call.ReuseKey = sandbox.ReuseSession, strconv.Itoa(i)
			if res, err := r.Run(t.Context(), call); err != nil || res.ExitCode != i {
				t.Errorf("call %d: %s %d, %v", i, res.Outcome, res.ExitCode, err)
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("host has no patience"))
	defer cancel()
	for range 4 { // more than there are cells: the last one waits in vain
		wg.Go(func() {
			res, err := r.Run(ctx, sandboxtest.Call("sleep 1000"))
			if err != nil || res.Outcome != sandbox.OutcomeCancelled {
				t.Errorf("got %s, %v, want CANCELLED", res.Outcome, err)
			}
		})
	}
	wg.Wait()
}

func TestCancelStorm(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	r := start(t, cfg)
	sandboxtest.RunCancelStorm(t, r, 60)
	res, err := r.Run(t.Context(), sandboxtest.Call("exit 7"))
	if err != nil || res.ExitCode != 7 {
		t.Errorf("call after the storm: %s %d, %v", res.Outcome, res.ExitCode, err)
	}
}

func TestCloseCancelsRunningCalls(t *testing.T) {
	requireRoot(t)
	r := start(t, testConfig(t))
	running, ended := make(chan struct{}), make(chan sandbox.Result, 1)
	call := sandboxtest.Call("sleep 1000")
	call.Observer = started(func() { close(running) })
	go func() {
		res, err := r.Run(context.Background(), call)
		if err != nil {
			t.Errorf("run: %v", err)
		}
		ended <- res
	}()
	<-running
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if res := <-ended; res.Outcome != sandbox.OutcomeCancelled {
		t.Errorf("got %s, want CANCELLED", res.Outcome)
	}
}

// TestLeastLimits runs a program under the smallest bounds that a call may have.
func TestLeastLimits(t *testing.T) {
	requireRoot(t)
	r := start(t, testConfig(t))
	for range 5 {
		call := bashCall("")
		call.Argv = []string{"/bin/true"}
		call.Reuse, call.ReuseKey = sandbox.ReuseSession, "k"
		call.Limits.Pids, call.Limits.MemoryBytes, call.Limits.CPUMillis = 1, 4<<20, 10
		call.Limits.DiskBytes, call.Limits.OpenFiles = 1, 16
		res, err := r.Run(t.Context(), call)
		if err != nil || res.Outcome != sandbox.OutcomeExited || res.ExitCode != 0 {
			t.Errorf("got %s %d %q, %v, want EXITED 0", res.Outcome, res.ExitCode, res.Message, err)
		}
	}
	big := bashCall("true")
	big.Env = []string{"BIG=" + strings.Repeat("x", 1<<20)}
	if _, err := r.Run(t.Context(), big); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a MiB of environment: got %v, want an invalid argument", err)
	}
}
