package cgroup_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// tree writes files below a temporary root that stands for /sys/fs/cgroup.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func open(t *testing.T, root string, version int) *cgroup.Manager {
	t.Helper()
	m, err := cgroup.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	if m.Version() != version {
		t.Fatalf("version %d, want %d", m.Version(), version)
	}
	return m
}

func v1Tree(t *testing.T) string {
	t.Helper()
	return tree(t, map[string]string{
		"cpu/cgroup.procs": "", "cpuacct/cgroup.procs": "", "memory/cgroup.procs": "", "pids/cgroup.procs": "", "blkio/cgroup.procs": "",
		"memory/s/c/memory.limit_in_bytes": "", "memory/s/c/memory.memsw.limit_in_bytes": "",
		"memory/s/c/memory.max_usage_in_bytes": "1234\n",
		"memory/s/c/memory.oom_control":        "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
		"pids/s/c/pids.max":                    "", "pids/s/c/pids.peak": "7\n", "pids/s/c/pids.events": "max 3\n",
		"cpu/s/c/cpu.cfs_period_us": "", "cpu/s/c/cpu.cfs_quota_us": "",
		"cpuacct/s/c/cpuacct.usage": "4000000000\n", "cpuacct/s/c/cpuacct.usage_user": "30\n", "cpuacct/s/c/cpuacct.usage_sys": "10\n",
		"blkio/s/c/blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\n9:0 Read 5\nTotal 35\n",
	})
}

func v2Tree(t *testing.T) string {
	t.Helper()
	return tree(t, map[string]string{
		"cgroup.controllers": "cpuset cpu io memory pids\n",
		"s/c/memory.max":     "", "s/c/memory.swap.max": "", "s/c/pids.max": "", "s/c/cpu.max": "",
		"s/c/memory.peak": "1234\n", "s/c/memory.events": "low 0\noom 3\noom_kill 2\n",
		"s/c/pids.peak": "7\n", "s/c/pids.events": "max 3\n",
		"s/c/cpu.stat": "usage_usec 4000000\nuser_usec 3000000\nsystem_usec 1000000\n",
		"s/c/io.stat":  "8:0 rbytes=10 wbytes=20 rios=1\n9:0 rbytes=5\n",
	})
}

func TestUsageIsReadFromBothKinds(t *testing.T) {
	want := cgroup.Usage{
		CPUUser: 3 * time.Second, CPUSystem: time.Second, MemoryPeakBytes: 1234, PidsPeak: 7, PidsLimitHits: 3,
		OOMKills: 2, IOReadBytes: 15, IOWriteBytes: 20,
	}
	for version, root := range map[int]string{1: v1Tree(t), 2: v2Tree(t)} {
		if diff := cmp.Diff(want, open(t, root, version).Usage("/s/c")); diff != "" {
			t.Errorf("cgroup v%d (-want +got):\n%s", version, diff)
		}
	}
}

func TestMissingCountersAreMinusOne(t *testing.T) {
	want := cgroup.Usage{
		CPUUser: -1, CPUSystem: -1, MemoryPeakBytes: -1, PidsPeak: -1, PidsLimitHits: -1,
		OOMKills: -1, IOReadBytes: -1, IOWriteBytes: -1,
	}
	for version, root := range map[int]string{1: v1Tree(t), 2: v2Tree(t)} {
		if diff := cmp.Diff(want, open(t, root, version).Usage("/s/none")); diff != "" {
			t.Errorf("cgroup v%d (-want +got):\n%s", version, diff)
		}
	}
}

func TestLimitsAreReadBack(t *testing.T) {
	l := cgroup.Limits{MemoryBytes: 64 << 20, Pids: 40, CPUMillis: 1500}
	for version, root := range map[int]string{1: v1Tree(t), 2: v2Tree(t)} {
		got, err := open(t, root, version).SetLimits("/s/c", l)
		want := map[string]int64{"memory_bytes": 64 << 20, "memory_swap_bytes": 64 << 20, "pids": 40, "cpu_millis": 1500}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("cgroup v%d: %v (-want +got):\n%s", version, err, diff)
		}
	}
}

func TestSmallCPUSharesKeepTheirRatio(t *testing.T) {
	for _, millis := range []int64{1, 7, 20, 333, 64000} {
		got, err := open(t, v2Tree(t), 2).SetLimits("/s/c", cgroup.Limits{MemoryBytes: 1 << 20, Pids: 1, CPUMillis: millis})
		if err != nil || got["cpu_millis"] > millis || got["cpu_millis"] < millis-millis/10-1 {
			t.Errorf("%d millis read back as %d, %v", millis, got["cpu_millis"], err)
		}
	}
}

func TestLimitThatCannotBeSetIsNamed(t *testing.T) {
	root := v1Tree(t)
	if err := os.RemoveAll(filepath.Join(root, "pids")); err != nil {
		t.Fatal(err)
	}
	m := open(t, root, 1)
	if m.Has(cgroup.Pids) || !m.Has(cgroup.Memory) {
		t.Errorf("controllers %v, want all but pids", m.Controllers())
	}
	_, err := m.SetLimits("/s/c", cgroup.Limits{MemoryBytes: 1 << 20, Pids: 1, CPUMillis: 100})
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "limit pids") {
		t.Errorf("got %v, want a failed precondition naming pids", err)
	}
}

func TestNothingOutsideIsTouched(t *testing.T) {
	m := open(t, v2Tree(t), 2)
	for _, path := range []string{"/", "", "relative", "/a/../..", "/a/"} {
		if err := m.Create(path); !errdefs.IsInvalidArgument(err) {
			t.Errorf("create %q: got %v, want an invalid argument", path, err)
		}
		if err := m.RemoveTree(t.Context(), path); !errdefs.IsInvalidArgument(err) {
			t.Errorf("remove %q: got %v, want an invalid argument", path, err)
		}
		if _, err := m.Kill(path); !errdefs.IsInvalidArgument(err) {
			t.Errorf("kill %q: got %v, want an invalid argument", path, err)
		}
	}
}

func TestNoControlGroups(t *testing.T) {
	if _, err := cgroup.Open(t.TempDir()); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("got %v, want a failed precondition", err)
	}
}

// TestRealGroup bounds, moves and kills a process in the machine's own groups.
func TestRealGroup(t *testing.T) {
	if os.Getenv("SANDGATE_ROOT_TESTS") != "1" {
		t.Skip("needs root: set SANDGATE_ROOT_TESTS=1")
	}
	m, err := cgroup.Open(cgroup.DefaultRoot)
	if err != nil {
		t.Fatal(err)
	}
	top := "/sandgate-test-" + filepath.Base(t.TempDir())
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second, errors.New("group does not go away"))
	defer cancel()
	defer func() {
		if err := m.RemoveTree(ctx, top); err != nil || m.Exists(top) {
			t.Errorf("remove: %v", err)
		}
	}()
	group := top + "/call"
	if err := errors.Join(m.PrepareParent(top), m.Create(group)); err != nil {
		t.Fatal(err)
	}
	for _, bytes := range []int64{64 << 20, 128 << 20, 32 << 20} { // up and down
		got, err := m.SetLimits(group, cgroup.Limits{MemoryBytes: bytes, Pids: 9, CPUMillis: 500})
		if err != nil || got["memory_bytes"] != bytes || got["pids"] != 9 || got["cpu_millis"] != 500 {
			t.Fatalf("limits %v, %v", got, err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := m.Add(group, cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if pids, err := m.Procs(group); err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
		t.Errorf("processes %v, %v, want %d", pids, err, cmd.Process.Pid)
	}
	if n, err := m.Kill(top); n != 1 || err != nil {
		t.Errorf("killed %d, %v, want 1", n, err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Errorf("process ended with %v, want a kill", err)
	}
	if u := m.Usage(group); u.OOMKills != 0 || u.CPUUser < 0 {
		t.Errorf("usage %+v", u)
	}
}
