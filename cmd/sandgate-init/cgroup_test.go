//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pidsGroup makes a cgroup that lets limit processes and threads be.
func pidsGroup(t *testing.T, limit int) string {
	t.Helper()
	root := "/sys/fs/cgroup/pids" // v1
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup" // v2
		if text, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control")); err != nil || !strings.Contains(string(text), "pids") {
			t.Skip("no pids controller to be had")
		}
	}
	dir, err := os.MkdirTemp(root, "sandgate-init-test-") //nolint:usetesting // a cgroup
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Errorf("something of a call is left in its cgroup: %v", err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "pids.max"), []byte(strconv.Itoa(limit)), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// holderPID finds the host pid of the holder by the last two of its NSpid.
func (c *testCell) holderPID(t *testing.T, holder int) int {
	t.Helper()
	for _, p := range c.processes(t) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if f := strings.Fields(line); len(f) == 4 && f[0] == "NSpid:" && f[3] == strconv.Itoa(holder) {
				return p
			}
		}
	}
	t.Fatalf("no holder with pid %d", holder)
	return 0
}

// TestHolderNeedsNoThreadBeyondItsLimit: a call may have a single process, less
// than the Go runtime of the holder has threads. It must not want one more.
func TestHolderNeedsNoThreadBeyondItsLimit(t *testing.T) {
	c := startCell(t)
	ctx := context.Background()
	dir := pidsGroup(t, 1)
	for i := range 100 {
		p, err := c.Prepare(ctx)
		if err != nil {
			t.Fatal(err)
		}
		pid := []byte(strconv.Itoa(c.holderPID(t, p.HolderPID)))
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), pid, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := c.exec(ctx, t, base("bash", "-c", "exit 7")); r.ExitCode != 7 {
			t.Fatalf("call %d: got %+v, %q", i, r.Exit, r.stderr)
		}
	}
}

func TestForkBombEndsAtItsDeadline(t *testing.T) {
	c := startCell(t)
	ctx := context.Background()
	dir := pidsGroup(t, 64)
	p, err := c.Prepare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	pid := []byte(strconv.Itoa(c.holderPID(t, p.HolderPID)))
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), pid, 0o600); err != nil {
		t.Fatal(err)
	}
	x := base("bash", "-c", "bomb() { bomb | bomb & }; bomb; while :; do :; done")
	x.WallTime = 300 * time.Millisecond
	r := c.exec(ctx, t, x)
	if !r.TimedOut {
		t.Errorf("got %+v, want timed out", r.Exit)
	}
	events, err := os.ReadFile(filepath.Join(dir, "pids.events"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(events)) == "max 0" {
		t.Error("the limit was never met: no fork bomb")
	}
	t.Logf("ended %v after the deadline", r.RunTime-x.WallTime)
	c.onlyNext(t)
}
