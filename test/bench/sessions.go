package main

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/sandgate/sandgate/test/bench/report"
	"github.com/sandgate/sandgate/test/daemontest"
)

// sessions measures a client while more and more sessions wait, each of which
// had a call.
func (b *bench) sessions() (err error) {
	t, err := b.launch("sessions", fmt.Sprintf("pool: {idle: 2, max_cells: %d, idle_timeout: 1h}\n", b.size.cells))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	made := 0
	for _, want := range b.size.sessions {
		if err := b.makeSessions(t, made, want); err != nil {
			return err
		}
		made = want
		c := cell{on: t, group: report.GroupSessions, name: report.CellSessions, amount: want, base: report.ArmFloor}
		if err := b.measureCell(c, floor(bashJob()), t.arm(bashJob(), "awake")); err != nil {
			return err
		}
		if err := b.daemonMemory(t, want); err != nil {
			return err
		}
	}
	return nil
}

// makeSessions makes the sessions from one number up to another by a call in each.
func (b *bench) makeSessions(t *target, from, to int) error {
	group, ctx := errgroup.WithContext(b.ctx)
	group.SetLimit(runtime.NumCPU())
	for i := from; i < to; i++ {
		group.Go(func() error {
			req := daemontest.Bash("true", daemontest.Session(fmt.Sprintf("idle-%d", i)))
			_, err := t.execute(ctx, i%len(t.clients), req)
			return err
		})
	}
	return group.Wait()
}
