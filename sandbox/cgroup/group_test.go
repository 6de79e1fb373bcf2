package cgroup_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// put replaces the content of a file of a tree.
func put(t *testing.T, root, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestGroupTellsWhatACallHasUsed(t *testing.T) {
	for version, root := range map[int]string{1: v1Tree(t), 2: v2Tree(t)} {
		g := open(t, root, version).At("/s/c", 2)
		g.Begin()
		switch version {
		case 1:
			put(t, root, "cpuacct/s/c/cpuacct.usage", "8000000000\n")
			put(t, root, "cpuacct/s/c/cpuacct.usage_user", "60\n")
			put(t, root, "cpuacct/s/c/cpuacct.usage_sys", "20\n")
			put(t, root, "memory/s/c/memory.max_usage_in_bytes", "99\n")
			put(t, root, "memory/s/c/memory.oom_control", "oom_kill 3\n")
			put(t, root, "blkio/s/c/blkio.throttle.io_service_bytes_recursive", "8:0 Read 11\n8:0 Write 22\n9:0 Read 5\n")
		case 2:
			put(t, root, "s/c/cpu.stat", "usage_usec 8000000\nuser_usec 6000000\nsystem_usec 2000000\n")
			put(t, root, "s/c/memory.peak", "99\n")
			put(t, root, "s/c/memory.events", "oom_kill 3\n")
			put(t, root, "s/c/io.stat", "8:0 rbytes=11 wbytes=22\n9:0 rbytes=5\n")
		}
		want := cgroup.Usage{
			CPUUser: 3 * time.Second, CPUSystem: time.Second, MemoryPeakBytes: 99, PidsPeak: 5, PidsLimitHits: 0,
			OOMKills: 1, IOReadBytes: 1, IOWriteBytes: 2,
		}
		got := g.Usage()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cgroup v%d (-want +got):\n%s", version, diff)
		}
		if !g.Worn(got) {
			t.Errorf("cgroup v%d: a group with five processes of a call is not worn", version)
		}
		g.Close()
	}
}

func TestGroupWritesLimitsOnlyWhenTheyChange(t *testing.T) {
	root := v2Tree(t)
	g := open(t, root, 2).At("/s/c", 2)
	l := cgroup.Limits{MemoryBytes: 64 << 20, Pids: 40, CPUMillis: 1500}
	set := func(want map[string]int64) {
		t.Helper()
		got, err := g.SetLimits(l)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		clear(got) // the caller's
	}
	shown := map[string]int64{"memory_bytes": 64 << 20, "memory_swap_bytes": 64 << 20, "pids": 40, "cpu_millis": 1500}
	written := func(file, want string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(root, "s/c", file))
		if err != nil || string(text) != want {
			t.Errorf("%s is %q, %v, want %q", file, text, err, want)
		}
	}
	set(shown)
	written("pids.max", "42") // its own two beside the call's
	put(t, root, "s/c/pids.max", "by somebody else")
	set(shown)
	written("pids.max", "by somebody else")

	g.Unthrottle()
	written("cpu.max", "max")
	set(shown)
	written("cpu.max", "75000 50000")
	written("pids.max", "42")

	l.Pids, shown["pids"] = 10, 10
	set(shown)
	written("pids.max", "12")

	put(t, root, "s/c/memory.max", "")
	if err := os.Remove(filepath.Join(root, "s/c/memory.max")); err != nil {
		t.Fatal(err)
	}
	l.MemoryBytes = 1 << 20
	if _, err := g.SetLimits(l); err == nil {
		t.Error("a limit that cannot be written: no error")
	}
	put(t, root, "s/c/memory.max", "")
	shown["memory_bytes"], shown["memory_swap_bytes"] = 1<<20, 1<<20
	set(shown) // after a failure nothing is taken for written
	g.Close()
}
