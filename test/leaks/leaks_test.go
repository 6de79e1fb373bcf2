package leaks

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
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
)

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
	c, err := daemontest.NewCounter(d.Daemon, metrics)
	if err != nil {
		t.Fatal(err)
	}
	plan := schedule(kinds(dir))
	// What is made at first use is no leak: every kind of call comes before the
	// first count as well, and twice, since a directory is watched from its second call on.
	warm := 2 * len(plan)
	send(t, d, plan, 0, warm).wantAll(t, plan)
	c.Rest(t, backWithin)
	before := atRest(t, c)
	if before["goroutines"] == 0 {
		t.Fatal("goroutines were not counted")
	}
	filesBefore, openBefore := c.Files, openFiles(d.Daemon)
	stop, err := watch(t.Context(), d.Daemon, metrics)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	times := send(t, d, plan, warm, warm+n)
	t.Logf("%d calls in %v:\n%s", n, time.Since(began).Round(time.Millisecond), times.table())
	times.wantAll(t, plan)
	highest, err := stop()
	if err != nil {
		t.Error(err)
	}
	underWay := held(t, d, c, before)
	raise(highest, underWay)

	var now daemontest.Snapshot
	var more []string
	ended := time.Now()
	daemontest.Eventually(backWithin, func() bool {
		now = atRest(t, c)
		more = before.More(now)
		return len(more) == 0
	})
	t.Logf("counted %v after the last call:\n%s", time.Since(ended).Round(time.Millisecond),
		daemontest.Columns([]string{"baseline", "highest", "held", "end"}, before, highest, underWay, now))
	for _, m := range more {
		t.Errorf("left behind after %v: %s", backWithin, m)
	}
	if len(more) > 0 {
		logChanges(t, "in the run directory", filesBefore, c.Files)
		logChanges(t, "open in sandgated", openBefore, openFiles(d.Daemon))
	}
	if strings.Contains(d.Log(), "cell not made") {
		t.Error("a cell could not be made: the daemon's log tells why")
	}
	checkStop(t, c)
}

// openFiles counts what a daemon has open, by what it is.
func openFiles(d *daemontest.Daemon) map[string]int64 {
	found := map[string]int64{}
	dir := fmt.Sprintf("/proc/%d/fd", d.PID())
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			found[ids.ReplaceAllString(to, "ID")]++
		}
	}
	return found
}

// ids are the parts of names that are another for each thing.
var ids = regexp.MustCompile(`[0-9a-f]{12,}|\[[0-9]+\]`)

// logChanges tells of what there is another number than before.
func logChanges(t *testing.T, where string, before, now map[string]int64) {
	t.Helper()
	for name, n := range now {
		if n != before[name] {
			t.Logf("%s %s: %d, were %d", name, where, n, before[name])
		}
	}
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

// send makes the calls from one number to another, several at once.
func send(t *testing.T, d *target, plan []kind, from, to int) *times {
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
				end()
				if err == nil {
					took.add(k.name, time.Since(began))
				}
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

// times are how long the calls of each kind took that ended as they should.
type times struct {
	mu sync.Mutex
	of map[string][]time.Duration
}

func (s *times) add(kind string, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[kind] = append(s.of[kind], took)
}

// wantAll wants that of each kind a call ended as it should.
func (s *times) wantAll(t *testing.T, plan []kind) {
	t.Helper()
	for _, k := range plan {
		if len(s.of[k.name]) == 0 {
			t.Fatalf("no call of the kind %q has ended as it should", k.name)
		}
	}
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
