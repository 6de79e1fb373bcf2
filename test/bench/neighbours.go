package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/bench/report"
)

// abuser is a caller whose calls do harm until they are ended.
type abuser struct {
	name    string
	command string
	calls   int // at once
	// outcomes are those that its calls may have; another is no harm that was done.
	outcomes []sandgatev1.Outcome
	// until is the outcome of a first call before which nothing is measured beside it.
	// Unspecified: its first output is enough.
	until sandgatev1.Outcome
	// did tells whether one repetition's calls did what they are there for.
	did  func(*harm) bool
	want string // the same in words
}

func abusers() []abuser {
	const (
		cancelled = sandgatev1.Outcome_OUTCOME_CANCELLED
		tooLong   = sandgatev1.Outcome_OUTCOME_TIMED_OUT
		noMemory  = sandgatev1.Outcome_OUTCOME_OUT_OF_MEMORY
		tooMuch   = sandgatev1.Outcome_OUTCOME_OUTPUT_LIMIT
	)
	count := func(what string, least int) func(*harm) bool {
		return func(h *harm) bool { return h.counts[what] >= least }
	}
	return []abuser{
		{
			// Not one of bash, which sleeps between its tries to fork when it is refused.
			name: "a fork bomb", command: `exec python3 -c 'import os
print(flush=True)
while True:
    try: os.fork()
    except OSError: pass'`, calls: 1,
			outcomes: []sandgatev1.Outcome{cancelled, tooLong, noMemory},
			did:      count(harmPidsHits, 1000), want: "a thousand forks that were refused",
		},
		{
			name: "a memory bomb", command: `echo; exec python3 -c 'b = []
while True: b.append(bytearray(1 << 24))'`, calls: 1,
			outcomes: []sandgatev1.Outcome{cancelled, noMemory}, until: noMemory,
			did: count(outcomeName(noMemory), 2), want: "a call that ran out of memory before and one meanwhile",
		},
		{
			name: "an output flood", command: `echo; yes flood & yes flood >&2`, calls: 1,
			outcomes: []sandgatev1.Outcome{cancelled, tooLong, tooMuch},
			did:      count(harmKiB, 1<<10), want: "at least a MiB of output",
		},
		{
			name: "CPU spinners", command: `echo; while :; do :; done`, calls: runtime.NumCPU(),
			outcomes: []sandgatev1.Outcome{cancelled, tooLong},
			did:      func(h *harm) bool { return time.Duration(h.counts[harmProcessor])*time.Millisecond >= h.took/4 },
			want:     "the processors' time for a quarter of it",
		},
	}
}

// neighbours measures a healthy client beside each abuser. Both are bounded by
// the daemon's defaults; the abuser's calls begin anew whenever they end. A repetition
// in which the abuser did not do what it is there for fails the measurement.
func (b *bench) neighbours() (err error) {
	t, err := b.launch("neighbours", "pool: {idle: 4, max_cells: 24}\n")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	p := b.size.plan
	p.Slice, p.Slices = b.size.neighbours, 1
	for _, a := range abusers() {
		counts := map[string]int{}
		idle := t.arm(bashJob(), "healthy")
		idle.Name = report.ArmIdle
		beside := t.arm(bashJob(), "healthy")
		beside.Around = func(ctx context.Context) (func() error, error) { return t.abuse(ctx, a, b.size.harmWait, counts) }
		c := cell{on: t, group: report.GroupNeighbours, name: a.name, base: report.ArmIdle, plan: p, counts: counts}
		if err := b.measureCell(c, idle, beside); err != nil {
			return err
		}
	}
	return nil
}

// abuse begins an abuser and returns when its calls do harm. What it returns waits so
// long at most until the abuser has done enough, ends its calls, waits until nothing of
// them is left, adds what they did to counts, and fails if it was not what it should be.
func (t *target) abuse(ctx context.Context, a abuser, wait time.Duration, counts map[string]int) (after func() error, err error) {
	abuseCtx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	h := newHarm()
	harming := make(chan error, a.calls)
	for i := range a.calls {
		var once sync.Once
		wg.Go(func() {
			h.loop(abuseCtx, t, a, i, func(err error) { once.Do(func() { harming <- err }) })
		})
	}
	begin := time.Now()
	after = func() error {
		h.took = time.Since(begin)
		h.await(abuseCtx, a, wait)
		cancel(errors.New("enough harm was done"))
		wg.Wait()
		if err := t.settle(ctx, 0); err != nil {
			return err
		}
		h.collect(ctx, t, a)
		h.addTo(counts)
		return h.verdict(a)
	}
	for range a.calls {
		if err := <-harming; err != nil {
			return nil, fmt.Errorf("%s: %w", a.name, errors.Join(err, after()))
		}
	}
	begin = time.Now()
	return after, nil
}
