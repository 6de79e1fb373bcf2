package leaks

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandgate/sandgate/test/daemontest"
)

const (
	// fewCalls are made when nobody says otherwise: every kind of call comes.
	fewCalls = 300
	// workers send calls at once.
	workers = 6
	// backWithin is in what time everything must be back to where it was.
	backWithin = 90 * time.Second
	// missingTool is an operator's tool whose program does not exist.
	missingTool = "missing_program"
)

// config keeps what may differ between two moments of rest small: cells of
// sessions go soon, few results are kept.
const config = `
pool: {idle: 2, max_cells: 12, idle_timeout: 1s}
ceiling: {output_total: 4MiB}
defaults: {output_total: 4MiB, memory: 128MiB, pids: 64, wall_time: 30s, output: 256KiB, disk: 64MiB, file: 64MiB}
results: {max_count: 1000, max_size: 4MiB, max_log: 1MiB, max_disk: 1MiB}
approvals: {max_open_per_caller: 1000} # of 10,000 calls 300 ask
log: {level: warn}
`

// calls is how many calls are made: SANDGATE_LEAKS_CALLS, or a few.
func calls(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SANDGATE_LEAKS_CALLS")
	if text == "" {
		return fewCalls
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 100 {
		t.Fatalf("SANDGATE_LEAKS_CALLS is %q: want a number of at least 100, so that every kind of call is made", text)
	}
	return n
}

// TestNothingIsLeftBehind makes many calls of all kinds from several clients,
// and counts before and after.
func TestNothingIsLeftBehind(t *testing.T) {
	daemontest.RequireRoot(t)
	n := calls(t)
	dir := workspace(t)
	d, metrics := start(t, dir)
	c, err := daemontest.NewCounter(d, metrics)
	if err != nil {
		t.Fatal(err)
	}
	plan := schedule(kinds(dir))
	// What is made at first use is no leak: every kind of call comes before the
	// first count as well.
	send(t, d, plan, 0, len(plan))
	c.Rest(t, backWithin)
	before := atRest(t, c)
	filesBefore := c.Files
	began := time.Now()
	times := send(t, d, plan, len(plan), len(plan)+n)
	t.Logf("%d calls in %v:\n%s", n, time.Since(began).Round(time.Millisecond), times.table())

	var now daemontest.Snapshot
	var more []string
	ended := time.Now()
	daemontest.Eventually(backWithin, func() bool {
		now = atRest(t, c)
		more = before.More(now)
		return len(more) == 0
	})
	t.Logf("counted %v after the last call:\n%s", time.Since(ended).Round(time.Millisecond), before.Table(now))
	for _, m := range more {
		t.Errorf("left behind after %v: %s", backWithin, m)
	}
	if len(more) > 0 {
		for path, n := range c.Files {
			if n != filesBefore[path] {
				t.Logf("%s in the run directory: %d, were %d", path, n, filesBefore[path])
			}
		}
	}
	if metrics == "" {
		t.Log("goroutines were not counted: this daemon has no metrics")
	}
	checkStop(t, c)
}

// atRest counts when the daemon has given back the memory that it does not need while
// nothing happens, so that what it keeps is compared with what it kept. The count is
// something that happens, too: between two looks it is left alone for longer than it
// takes to see that.
func atRest(t *testing.T, c *daemontest.Counter) daemontest.Snapshot {
	t.Helper()
	const (
		alone  = 2500 * time.Millisecond
		steady = 4 << 10 // KiB
	)
	var now daemontest.Snapshot
	last := int64(-1)
	ok := daemontest.Eventually(backWithin/3, func() bool {
		time.Sleep(alone)
		var err error
		if now, err = c.Count(t.Context()); err != nil {
			return false // something ended while it was counted
		}
		resident := now["resident KiB of sandgated"]
		is := last >= 0 && max(resident-last, last-resident) <= steady
		last = resident
		return is
	})
	if !ok {
		t.Fatalf("the daemon's memory does not come to rest: %v", now)
	}
	return now
}

// checkStop stops the daemon and looks that nothing of it is left at all.
func checkStop(t *testing.T, c *daemontest.Counter) {
	t.Helper()
	if err := c.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	if f := c.Daemon.Footprint(); f != (daemontest.Footprint{}) {
		t.Errorf("left behind by the daemon that stopped: %+v", f)
	}
	if n := c.Cgroups(); n != 0 {
		t.Errorf("%d control groups are left", n)
	}
	if left := c.RunFiles(); len(left) != 0 {
		t.Errorf("left in the run directory: %v", left)
	}
}

// workspace makes a directory that calls may be bound to.
func workspace(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sgl-") //nolint:usetesting // reachable by everybody, which a test's own is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "here"), []byte("here\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start starts the daemon, with metrics where it has them.
func start(t *testing.T, dir string) (d *daemontest.Daemon, metrics string) {
	t.Helper()
	tools := t.TempDir()
	declared := "name: " + missingTool + "\ndescription: A program that is not there.\ninput_schema: {type: object, additionalProperties: false}\n" +
		"effects: [execute]\nrisk: low\nexec: {argv: [/no/such/program]}\n"
	if err := os.WriteFile(filepath.Join(tools, "missing.yaml"), []byte(declared), 0o600); err != nil {
		t.Fatal(err)
	}
	text := config + fmt.Sprintf("tools: {dir: %s}\ncallers: [{match: {uid: 0}, profiles: [workspace, readonly, open, locked], workspace_dirs: [%s]}]\n", tools, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	metrics = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	d, err = daemontest.Launch(t.Context(), text+"metrics: {address: \""+metrics+"\"}\n")
	if err != nil && strings.Contains(err.Error(), `unknown key "metrics"`) {
		metrics = ""
		d, err = daemontest.Launch(t.Context(), text)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("end of the daemon's log:\n%s", d.LogTail(20))
		}
		if err := os.RemoveAll(d.DataDir); err != nil {
			t.Error(err)
		}
	})
	return d, metrics
}

// send makes the calls from one number to another, several at once.
func send(t *testing.T, d *daemontest.Daemon, plan []kind, from, to int) *times {
	t.Helper()
	took := &times{of: map[string][]time.Duration{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var (
		next   atomic.Int64
		wg     sync.WaitGroup
		failed atomic.Int64
	)
	next.Store(int64(from))
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= to {
					return
				}
				k := plan[n%len(plan)]
				one, end := context.WithTimeout(ctx, time.Minute)
				began := time.Now()
				err := k.do(one, d, n)
				took.add(k.name, time.Since(began))
				end()
				if err != nil && ctx.Err() == nil {
					t.Errorf("call %d (%s): %v", n, k.name, err)
					if failed.Add(1) >= 10 {
						cancel()
					}
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() >= 10 {
		t.Fatal("too many calls went wrong")
	}
	return took
}

// times are how long the calls of each kind took.
type times struct {
	mu sync.Mutex
	of map[string][]time.Duration
}

func (s *times) add(kind string, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[kind] = append(s.of[kind], took)
}

func (s *times) table() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.of)) {
		all := slices.Sorted(slices.Values(s.of[name]))
		fmt.Fprintf(&b, "%-30s %6d calls, median %8v, longest %8v\n", name, len(all),
			all[len(all)/2].Round(10*time.Microsecond), all[len(all)-1].Round(10*time.Microsecond))
	}
	return b.String()
}

func TestMoreIsToldBeyondTheSlack(t *testing.T) {
	before := daemontest.Snapshot{"cells": 2, "threads of sandgated": 10, "goroutines": 5}
	if got := before.More(daemontest.Snapshot{"cells": 1, "threads of sandgated": 26, "goroutines": 9}); len(got) != 0 {
		t.Errorf("got %v, want nothing", got)
	}
	got := before.More(daemontest.Snapshot{"cells": 3, "threads of sandgated": 27})
	want := []string{"cells: 3, were 2", "threads of sandgated: 27, were 10", "goroutines: counted only once"}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("got %q, want %q", got, want)
	}
}
