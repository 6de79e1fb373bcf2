package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/bench/report"
	"github.com/sandgate/sandgate/test/daemontest"
)

// abuser is a caller whose calls do harm until they are ended.
type abuser struct {
	name    string
	command string
	calls   int // at once
}

func abusers() []abuser {
	return []abuser{
		{"a fork bomb", `echo; bomb() { while :; do bomb & done; }; bomb`, 1},
		{"a memory bomb", `echo; exec python3 -c 'b = []
while True: b.append(bytearray(1 << 24))'`, 1},
		{"an output flood", `echo; yes flood & yes flood >&2`, 1},
		{"CPU spinners", `echo; while :; do :; done`, runtime.NumCPU()},
	}
}

// neighbours measures a healthy client beside each abuser. Both are bounded by
// the daemon's defaults; the abuser's calls begin anew whenever they end.
func (b *bench) neighbours() (err error) {
	t, err := b.launch("neighbours", "pool: {idle: 4, max_cells: 24}\n")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	p := b.size.plan
	p.Slice, p.Slices = b.size.neighbours, 1
	for _, a := range abusers() {
		idle := t.arm(bashJob(), "healthy")
		idle.Name = report.ArmIdle
		beside := t.arm(bashJob(), "healthy")
		beside.Around = func(ctx context.Context) (func() error, error) { return t.abuse(ctx, a) }
		c := cell{on: t, group: report.GroupNeighbours, name: a.name, base: report.ArmIdle, plan: p}
		if err := b.measureCell(c, idle, beside); err != nil {
			return err
		}
	}
	return nil
}

// abuse begins an abuser and returns when its calls do harm. What it returns
// ends them and waits until nothing of them is left.
func (t *target) abuse(ctx context.Context, a abuser) (after func() error, err error) {
	abuseCtx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	harming := make(chan error, a.calls)
	for i := range a.calls {
		wg.Go(func() { harming <- t.harm(abuseCtx, &wg, a, i) })
	}
	after = func() error {
		cancel(errors.New("enough harm was done"))
		wg.Wait()
		return t.settle(ctx, 0)
	}
	for range a.calls {
		if err := <-harming; err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", a.name, err), after())
		}
	}
	return after, nil
}

// harm makes the abuser's calls one after another. It returns when the first has
// begun to do harm; the rest goes on behind it until ctx ends.
func (t *target) harm(ctx context.Context, wg *sync.WaitGroup, a abuser, i int) error {
	req := daemontest.Bash(a.command, daemontest.Profile(profileOpen), daemontest.Session(fmt.Sprintf("abuser-%d", i)))
	client := len(t.clients) - 1 - i
	began := make(chan error, 1)
	var once sync.Once
	wg.Go(func() {
		for ctx.Err() == nil {
			_, err := t.follow(ctx, client, req, func(m *sandgatev1.ExecuteStreamResponse) {
				if m.GetOutput() != nil {
					once.Do(func() { began <- nil })
				}
			})
			if err == nil {
				err = errors.New("the call ended before it did harm")
			}
			once.Do(func() { began <- err })
		}
	})
	select {
	case err := <-began:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
