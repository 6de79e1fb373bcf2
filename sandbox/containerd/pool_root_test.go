package containerd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/containerd"
)

// shimsOf finds the shims of a runtime by their containerd's socket.
func shimsOf(t *testing.T, cfg containerd.Config) []int {
	t.Helper()
	socket := "/run/sandgate-" + containerd.InstanceOf(cfg.DataDir) + "/containerd.sock"
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		args := strings.Split(string(text), "\x00")
		if err == nil && strings.HasSuffix(args[0], "containerd-shim-runc-v2") && slices.Contains(args, socket) && !slices.Contains(args, "delete") && !slices.Contains(args, "start") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cellProcesses are all processes in the control groups of a runtime's cells.
func cellProcesses(t *testing.T, cfg containerd.Config) []int {
	t.Helper()
	group := "sandgate-" + containerd.InstanceOf(cfg.DataDir)
	top := filepath.Join("/sys/fs/cgroup/pids", group)
	if _, err := os.Stat(top); err != nil {
		top = filepath.Join("/sys/fs/cgroup", group)
	}
	var pids []int
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" {
			return nil //nolint:nilerr // a group may go while it is looked at
		}
		text, err := os.ReadFile(path) //nolint:gosec // below the control groups' root
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		for f := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				return err
			}
			pids = append(pids, pid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pids
}

// residentBytes is what processes have in memory, shared parts divided.
func residentBytes(t *testing.T, pids []int) int64 {
	t.Helper()
	sum := int64(0)
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := bytes.Cut(text, []byte("\nPss:"))
		if !ok {
			continue // it has no memory any more
		}
		kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += kib << 10
	}
	return sum
}

// parentOf is 0 when the process is gone.
func parentOf(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(text), "\nPPid:")
	if !ok {
		return 0
	}
	ppid, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		return 0
	}
	return ppid
}

// waitFresh waits until so many cells wait for their first call.
func waitFresh(t *testing.T, r *containerd.Runtime, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		s := r.Pools()[0]
		if s.Fresh == n && s.Making+s.Dying+s.Busy == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("pool is %+v after a minute, want %d fresh cells", s, n)
		}
		time.Sleep(10 * time.Millisecond) // polls a condition, does not stand for it
	}
}

// TestIdleCellsAreSmall: with everything that it brings, its part of the shim
// included, an idle cell has at most 12 MiB in memory.
func TestIdleCellsAreSmall(t *testing.T) {
	requireRoot(t)
	const cells, most = 8, 12 << 20
	cfg := testConfig(t)
	cfg.PoolSize, cfg.MaxCells = cells, cells
	r := start(t, cfg)
	waitFresh(t, r, cells)
	shims, processes := shimsOf(t, cfg), cellProcesses(t, cfg)
	if len(shims) == 0 || len(shims) > 3 {
		t.Errorf("%d shims for %d cells, want 1 to 3", len(shims), cells)
	}
	inCells, inShims := residentBytes(t, processes), residentBytes(t, shims)
	each := (inCells + inShims) / cells
	t.Logf("%d cells: %d KiB each, %d of that in %d processes, %d in %d shims", cells, each>>10,
		inCells/cells>>10, len(processes), inShims/cells>>10, len(shims))
	if inCells == 0 || inShims == 0 || each > most {
		t.Errorf("an idle cell has %d KiB, want some and at most %d", each>>10, most>>10)
	}
}

// TestDeadShimTakesOnlyItsOwnCells: with a shim its cells end, and no other; calls
// go on in those, and the pool fills up again.
func TestDeadShimTakesOnlyItsOwnCells(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	cfg.PoolSize, cfg.MaxCells, cfg.CellsPerShim = 4, 8, 2
	r := start(t, cfg)
	waitFresh(t, r, 4)
	shims, before := shimsOf(t, cfg), cellProcesses(t, cfg)
	if len(shims) < 2 {
		t.Fatalf("%d shims for 4 cells of which 2 share one", len(shims))
	}
	its := slices.DeleteFunc(slices.Clone(before), func(pid int) bool { return parentOf(pid) != shims[0] })
	if len(its) == 0 || len(its) > 2 {
		t.Fatalf("shim has %d cells, want 1 or 2", len(its))
	}
	if err := syscall.Kill(shims[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// A call that is in one of them meanwhile has an unknown end.
	for deadline := time.Now().Add(20 * time.Second); slices.ContainsFunc(its, func(pid int) bool { return syscall.Kill(pid, 0) == nil }); {
		if time.Now().After(deadline) {
			t.Fatal("cells live on without their shim")
		}
		time.Sleep(5 * time.Millisecond) // polls a condition, does not stand for it
	}
	if now := cellProcesses(t, cfg); !slices.ContainsFunc(before, func(pid int) bool { return slices.Contains(shims[1:], parentOf(pid)) && slices.Contains(now, pid) }) {
		t.Error("the cells of other shims ended as well")
	}
	for i := range 6 {
		call := bashCall("echo alive")
		call.ID = fmt.Sprint("after-", i)
		res, err := r.Run(t.Context(), call)
		if err != nil || res.Outcome != sandbox.OutcomeExited || string(res.Stdout.Head) != "alive\n" {
			t.Errorf("call %d after the end of a shim: %s %q, %v", i, res.Outcome, res.Stdout.Head, err)
		}
	}
	waitFresh(t, r, 4)
	if slices.Contains(shimsOf(t, cfg), shims[0]) {
		t.Errorf("shim %d is still there", shims[0])
	}
}

// BenchmarkSingleUse is `bash -c true` in cells that serve one call: while the pool
// has some, and faster than they can be made.
func BenchmarkSingleUse(b *testing.B) {
	cfg := testConfig(b)
	cfg.PoolSize, cfg.MaxCells = 8, 16
	r := start(b, cfg)
	run := func(b *testing.B, owner string) time.Duration {
		call := bashCall("true")
		call.Owner = owner
		began := time.Now()
		res, err := r.Run(b.Context(), call)
		if err != nil || res.Outcome != sandbox.OutcomeExited {
			b.Errorf("%s %v", res.Outcome, err)
		}
		return time.Since(began)
	}
	report := func(b *testing.B, took []time.Duration) {
		slices.Sort(took)
		for _, p := range []int{50, 99} {
			b.ReportMetric(float64(took[len(took)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
		}
		b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	}
	b.Run("pool lasts", func(b *testing.B) {
		var took []time.Duration
		for b.Loop() {
			b.StopTimer()
			ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
			for r.Pools()[0].Fresh < 4 && ctx.Err() == nil {
				time.Sleep(time.Millisecond) // polls a condition, does not stand for it
			}
			cancel()
			b.StartTimer()
			took = append(took, run(b, "one"))
		}
		report(b, took)
	})
	for _, clients := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("dry with %d clients", clients), func(b *testing.B) {
			took := make([]time.Duration, b.N)
			next := make(chan int)
			done := make(chan struct{})
			for client := range clients {
				go func() {
					for i := range next {
						took[i] = run(b, fmt.Sprint("client", client))
					}
					done <- struct{}{}
				}()
			}
			for i := range b.N {
				next <- i
			}
			close(next)
			for range clients {
				<-done
			}
			report(b, took)
		})
	}
}
