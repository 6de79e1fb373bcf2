package containerd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cgroup"
	"github.com/sandgate/sandgate/sandbox/containerd"
)

// TestHeavyCallHasASmallShareUntilItEnds: the kernel's own file says so, of the cells of
// calls that want all processors while others call; those cells, kept for their sessions, have
// the usual share afterwards.
func TestHeavyCallHasASmallShareUntilItEnds(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	if runtime.NumCPU() > 8 {
		t.Skip("there are too many processors to be filled by four calls")
	}
	requireRealTime(t)
	r := start(t, cfg)
	shares := sharesOf(t, cfg)
	usual := shares()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const calls = 4
	done := make(chan error, calls)
	for i := range calls { // with two threads each
		go func() {
			call := bashCall("while :; do :; done & while :; do :; done")
			call.ID, call.Reuse, call.ReuseKey = fmt.Sprint("heavy", i), sandbox.ReuseSession, fmt.Sprint("heavy", i)
			res, err := r.Run(ctx, call)
			if err == nil && res.Outcome != sandbox.OutcomeCancelled {
				t.Errorf("the call ended with %s, want it cancelled", res.Outcome)
			}
			done <- err
		}()
	}
	deadline := time.Now().Add(15 * time.Second)
	for small, n := false, 0; !small; n++ {
		other := bashCall("true")
		other.ID, other.Reuse, other.ReuseKey = fmt.Sprint("other", n), sandbox.ReuseSession, "other"
		if _, err := r.Run(ctx, other); err != nil {
			t.Fatal(err)
		}
		for share := range shares() {
			small = small || !usual[share]
		}
		if time.Now().After(deadline) {
			t.Fatalf("shares are %v, as before: want a smaller one of the cell that computes", shares())
		}
	}
	cancel()
	for range calls {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for share := range shares() {
		if !usual[share] {
			t.Errorf("a cell has share %s after the call, want %v", share, usual)
		}
	}
}

// requireRealTime skips the test where a pulse may not have its priority, as in a control
// group that has no real-time share.
func requireRealTime(t *testing.T) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its priority
		done <- unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	}()
	if err := <-done; err != nil {
		t.Skipf("no real-time priority here: %v", err)
	}
}

// sharesOf looks which shares the cells have.
func sharesOf(t *testing.T, cfg containerd.Config) func() map[string]bool {
	t.Helper()
	pattern := filepath.Join(cgroup.DefaultRoot, "cpu", "sandgate-"+containerd.InstanceOf(cfg.DataDir), "c*", "cpu.shares")
	if _, err := os.Stat(filepath.Join(cgroup.DefaultRoot, "cgroup.controllers")); err == nil {
		pattern = filepath.Join(cgroup.DefaultRoot, "sandgate-"+containerd.InstanceOf(cfg.DataDir), "c*", "cpu.weight")
	}
	return func() map[string]bool {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no cells at %s: %v", pattern, err)
		}
		out := map[string]bool{}
		for _, file := range files {
			if text, err := os.ReadFile(file); err == nil { // else its cell has ended
				out[strings.TrimSpace(string(text))] = true
			}
		}
		return out
	}
}
