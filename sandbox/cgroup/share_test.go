package cgroup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox/cgroup"
)

func TestWeightIsWrittenAsTheKernelCountsIt(t *testing.T) {
	for version, c := range map[int]struct {
		root, file string
		weight     int64
		text       string
		want       int64
	}{
		1: {tree(t, map[string]string{"cpu/cgroup.procs": "", "cpu/s/c/cpu.shares": "1024\n"}), "cpu/s/c/cpu.shares", 25, "256", 25},
		2: {tree(t, map[string]string{"cgroup.controllers": "cpu\n", "s/c/cpu.weight": "100\n"}), "s/c/cpu.weight", 6, "6", 6},
	} {
		m := open(t, c.root, version)
		got, err := m.SetWeight("/s/c", c.weight)
		if err != nil || got != c.want {
			t.Errorf("cgroup v%d: weight %d reads back as %d, %v; want %d", version, c.weight, got, err, c.want)
		}
		text, err := os.ReadFile(filepath.Join(c.root, c.file))
		if err != nil || strings.TrimSpace(string(text)) != c.text {
			t.Errorf("cgroup v%d: %s has %q, %v; want %s", version, c.file, text, err, c.text)
		}
		if _, err := m.SetWeight("/s/gone", cgroup.UsualWeight); err == nil {
			t.Errorf("cgroup v%d: a weight was set for a group that is not there", version)
		}
		if _, err := m.SetWeight("/s/../c", 1); !errdefs.IsInvalidArgument(err) {
			t.Errorf("cgroup v%d: got %v for a path that leads elsewhere, want an invalid argument", version, err)
		}
	}
}

func TestCPUTimeOfAGroup(t *testing.T) {
	if got := open(t, v1Tree(t), 1).CPUTime("/s/c"); got != 4*time.Second {
		t.Errorf("cgroup v1: got %v, want 4s", got)
	}
	for version, root := range map[int]string{1: v1Tree(t), 2: v2Tree(t)} {
		if got := open(t, root, version).CPUTime("/s/none"); got != -1 {
			t.Errorf("cgroup v%d: a group that is not there has used %v, want -1", version, got)
		}
	}
}
