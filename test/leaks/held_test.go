package leaks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// moves are the figures that must be higher while a call of each world is under way: a
// count that cannot rise could not show a leak either.
func moves() []string {
	return []string{
		"cells", "call cgroups", "cgroup directories", "inits", "guests", "processes", "network namespaces", "mounts", "containers",
		"tasks", "snapshots", "files in the run directory", "files open in sandgated", "goroutines", "disk in KiB, without journal",
	}
}

// held has a call of each world under way, counts, and lets go of them. The count must be
// higher than before in all that moves.
func held(t *testing.T, d *target, c *daemontest.Counter, before daemontest.Snapshot) daemontest.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const session = "leaks-held-quota"
	if err := quotaSession(ctx, d, session); err != nil {
		t.Fatal(err)
	}
	forever := func(profile string, opts ...option) *sandgatev1.ExecuteStart {
		return &sandgatev1.ExecuteStart{Call: daemontest.Bash("sleep 1000 & sleep 1000", append(opts, daemontest.Profile(profile))...).GetCall()}
	}
	terminal := forever("open")
	terminal.Stdin, terminal.Terminal = true, &sandgatev1.Terminal{}
	var streams []sandgatev1.ToolService_ExecuteStreamClient
	running, leave := context.WithCancel(ctx)
	defer leave()
	for name, start := range map[string]*sandgatev1.ExecuteStart{
		"imported image": {Call: daemontest.Request(imageTool, struct{}{}, daemontest.Profile("open")).GetCall(), Stdin: true},
		"gVisor":         forever(gvisorProfile),
		"disk quota":     forever("open", daemontest.Session(session)),
		"transaction":    forever(transactionProfile, in(committing)),
		"terminal":       terminal,
	} {
		s, err := open(running, d, start)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		streams = append(streams, s)
	}
	const id = "held-detached"
	if err := begin(ctx, d, daemontest.Bash("sleep 1000", daemontest.Profile("open"), daemontest.CallID(id))); err != nil {
		t.Fatal(err)
	}
	var now daemontest.Snapshot
	var still []string
	daemontest.Eventually(backWithin/3, func() bool { // the pool may be on its way
		seen, err := c.Count(ctx)
		if err != nil {
			return false // something ended while it was counted
		}
		now, still = seen, nil
		for _, name := range moves() {
			if now[name] <= before[name] {
				still = append(still, fmt.Sprintf("%s: %d, were %d", name, now[name], before[name]))
			}
		}
		return len(still) == 0
	})
	if now == nil {
		t.Fatal("nothing could be counted while calls were under way")
	}
	for _, s := range still {
		t.Errorf("not higher while %d calls are under way: %s", len(streams)+1, s)
	}
	leave()
	for _, s := range streams {
		if _, err := result(s); err == nil {
			t.Error("a call ended by itself that was to be held")
		}
	}
	if err := cancelDetached(ctx, d, id); err != nil {
		t.Error(err)
	}
	if err := closeSession(ctx, d, session); err != nil {
		t.Error(err)
	}
	return now
}

// watch counts now and then until it is stopped, and tells the highest of each figure.
func watch(ctx context.Context, d *daemontest.Daemon, metrics string) (stop func() (daemontest.Snapshot, error), err error) {
	c, err := daemontest.NewCounter(d, metrics)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var (
		wg      sync.WaitGroup
		highest = daemontest.Snapshot{}
		looks   int
	)
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for ctx.Err() == nil {
			// What ends while it is counted makes an error; what was counted counts.
			now, _ := c.Count(ctx)
			raise(highest, now)
			looks++
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return func() (daemontest.Snapshot, error) {
		cancel()
		wg.Wait()
		if looks < 2 {
			return highest, errors.New("the calls were over before anything was counted beside them")
		}
		return highest, nil
	}, nil
}

func raise(highest, now daemontest.Snapshot) {
	for name, n := range now {
		if was, ok := highest[name]; !ok || n > was {
			highest[name] = n
		}
	}
}
