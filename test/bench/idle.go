package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/bench/measure"
	"github.com/sandgate/sandgate/test/bench/report"
	"github.com/sandgate/sandgate/test/daemontest"
)

// idlePool is how many cells wait while sessions are opened.
const idlePool = 4

// idleSessions measures what the daemon takes more for many sessions that wait
// without cells, and how long the first call of one more takes while they do.
func (b *bench) idleSessions() (err error) {
	t, err := b.launch("idle sessions", fmt.Sprintf("pool: {idle: %d, max_cells: 16}\n", idlePool))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	next := t.opening("", "", idlePool)
	for range 2 * idlePool { // what any daemon has that was used
		if err := errors.Join(next.Prepare(b.ctx, 0), next.Op(b.ctx, 0)); err != nil {
			return err
		}
	}
	if err := next.Prepare(b.ctx, 0); err != nil {
		return err
	}
	before, err := residentOf(t.PID())
	if err != nil {
		return err
	}
	if err := b.createSessions(t, b.size.idle); err != nil {
		return err
	}
	if err := t.settle(b.ctx, idlePool); err != nil {
		return err
	}
	after, err := residentOf(t.PID())
	if err != nil {
		return err
	}
	b.out.Memory = append(b.out.Memory, report.Memory{
		Name: report.MemoryIdle, Amount: b.size.idle, Bytes: max(after-before, 1),
		How: fmt.Sprintf("RSS of the daemon less that before (%.1f MiB); each session was created and had a call that was denied", float64(before)/(1<<20)),
	})
	p := b.size.plan
	p.Slices, p.Slice, p.MaxOps = 1, time.Hour, max(p.MaxOps/80, 4)
	return b.measureCell(cell{group: report.GroupIdle, name: report.CellOpening, amount: b.size.idle, plan: p}, next)
}

// opening makes the first call of a new session each time, under the profile, the daemon's
// default when it is empty. Before it the last one is closed, and the pool has so many cells
// again that nobody used, of the isolation if one is named.
func (t *target) opening(profile, isolation string, fresh int) measure.Arm {
	service := sandgatev1.NewSessionServiceClient(t.conns[0])
	opened, last := 0, ""
	return measure.Arm{
		Name: report.ArmSandgate, CPU: t.cpu,
		Prepare: func(ctx context.Context, _ int) error {
			if last != "" {
				if _, err := service.CloseSession(ctx, &sandgatev1.CloseSessionRequest{SessionId: last}); err != nil {
					return fmt.Errorf("close the last session: %w", err)
				}
				last = ""
			}
			return t.settleWith(ctx, isolation, fresh)
		},
		Op: func(ctx context.Context, client int) error {
			opened++
			last = fmt.Sprintf("opened-%d", opened)
			_, err := t.execute(ctx, client, daemontest.Bash("true", daemontest.Profile(profile), daemontest.Session(last)))
			return err
		},
	}
}

// createSessions creates sessions and makes one call in each that policy denies, so
// that the daemon has as much to remember of them as without cells can be.
func (b *bench) createSessions(t *target, n int) error {
	service := sandgatev1.NewSessionServiceClient(t.conns[0])
	group, ctx := errgroup.WithContext(b.ctx)
	group.SetLimit(4 * runtime.NumCPU())
	for i := range n {
		group.Go(func() error {
			id := fmt.Sprintf("waiting-%d", i)
			if _, err := service.CreateSession(ctx, &sandgatev1.CreateSessionRequest{SessionId: id, Profile: "locked", HostLabels: map[string]string{"ticket": id}}); err != nil {
				return err
			}
			resp, err := t.clients[i%len(t.clients)].Execute(ctx, daemontest.Bash("curl http://169.254.169.254/", daemontest.Session(id)))
			if err == nil && resp.GetResult().GetOutcome() != sandgatev1.Outcome_OUTCOME_DENIED {
				err = fmt.Errorf("a call under the profile locked: %v", resp.GetResult().GetOutcome())
			}
			return err
		})
	}
	return group.Wait()
}
