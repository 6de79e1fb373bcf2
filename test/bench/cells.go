package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sandgate/sandgate/test/bench/measure"
	"github.com/sandgate/sandgate/test/bench/parts"
	"github.com/sandgate/sandgate/test/bench/report"
)

// newCells measures calls each of which has a cell that nobody used before, and
// what a waiting cell costs.
func (b *bench) newCells() (err error) {
	policy := filepath.Join(b.dir, "single")
	if err := writePolicy(policy, profileNever); err != nil {
		return err
	}
	config := fmt.Sprintf("pool: {idle: %d, max_cells: %d}\npolicy: {dir: %s}\n", b.size.pool, 2*b.size.pool, policy) + callersWith(profileNever)
	t, err := b.launch("single-use cells", config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	if err := t.settle(b.ctx, b.size.pool); err != nil {
		return err
	}
	if err := b.cellMemory(t); err != nil {
		return err
	}
	if err := b.fullPool(t); err != nil {
		return err
	}
	j := bashJob()
	j.profile = profileNever
	clients := []int{1, runtime.NumCPU(), 2 * runtime.NumCPU()}
	slices.Sort(clients)
	for _, n := range slices.Compact(clients) {
		// No floor: the cells that are made behind would disturb it.
		p := b.size.plan
		p.Slice, p.Slices = b.size.dry, 1
		drain := func(ctx context.Context) (func() error, error) {
			return func() error { return nil }, b.drain(ctx, t, j)
		}
		arm := t.arm(j, "")
		arm.Around = drain
		if err := b.measureCell(cell{group: report.GroupCells, name: report.CellDry, clients: n, plan: p}, arm); err != nil {
			return err
		}
	}
	return b.cold(policy)
}

// drain uses up the pool.
func (b *bench) drain(ctx context.Context, t *target, j job) error {
	for range b.size.pool {
		if _, err := t.execute(ctx, 0, j.request("", 0)); err != nil {
			return err
		}
	}
	return nil
}

// fullPool makes bursts of as many calls as the pool has cells, and waits between
// them until it has them again.
func (b *bench) fullPool(t *target) error {
	j := bashJob()
	j.profile = profileNever
	p := b.size.plan
	p.Slices, p.Slice, p.MaxOps = b.size.bursts, time.Hour, b.size.bursts*b.size.pool
	arm := t.arm(j, "")
	arm.Around = func(ctx context.Context) (func() error, error) {
		return func() error { return nil }, t.settle(ctx, b.size.pool)
	}
	return b.measureCell(cell{group: report.GroupCells, name: report.CellFull, plan: p}, arm)
}

// cold measures calls that come when there is no cell and none under way.
func (b *bench) cold(policy string) (err error) {
	if !b.wanted(report.GroupCells) {
		return nil
	}
	t, err := b.launch("cold cells", "pool: {idle: 0, max_cells: 4}\npolicy: {dir: "+policy+"}\n"+callersWith(profileNever))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	j := bashJob()
	j.profile = profileNever
	p := b.size.plan
	p.Slices, p.Slice, p.MaxOps = 1, time.Hour, min(8, p.MaxOps/10)
	arm := t.arm(j, "")
	arm.Prepare = func(ctx context.Context, _ int) error { return t.settle(ctx, 0) }
	return b.measureCell(cell{group: report.GroupCells, name: report.CellCold, base: report.ArmFloor, plan: p}, floor(j), arm)
}

// isolated measures a job behind one outer wall and, behind that of gVisor, what gVisor
// by itself takes for it, in the same slices.
func (b *bench) isolated(t *target, wall string, j job) (err error) {
	c := cell{on: t, group: report.GroupIsolation, name: wall + j.name, base: report.ArmFloor}
	arms := []measure.Arm{floor(j), t.arm(j, "isolation")}
	if j.profile == profileGVisor {
		plain, stop, err := b.plainArm(t, j)
		if err != nil {
			return err
		}
		defer func() {
			if err := stop(); err != nil {
				b.failed("take a plain container away", err)
			}
		}()
		arms = append(arms, plain)
	}
	return b.measureCell(c, arms...)
}

// plainArm runs a job in gVisor without sandgate, with the environment that it has
// through the daemon.
func (b *bench) plainArm(t *target, j job) (measure.Arm, func() error, error) {
	env, err := b.environment(t, j.profile)
	if err != nil {
		return measure.Arm{}, nil, err
	}
	dir, err := os.MkdirTemp("/tmp", "sgp-")
	if err != nil {
		return measure.Arm{}, nil, fmt.Errorf("make a directory: %w", err)
	}
	var p *parts.Part
	if err = os.Chmod(dir, 0o711); err == nil { //nolint:gosec // the container's ids must get to its root
		p, err = parts.PlainGVisor(b.ctx, b.binDir, filepath.Join(dir, "plain"), j.argv, env)
	}
	if err != nil {
		return measure.Arm{}, nil, errors.Join(fmt.Errorf("make a plain container: %w", err), os.RemoveAll(dir))
	}
	arm := measure.Arm{Name: report.ArmPlain, Op: func(ctx context.Context, _ int) error { return p.Op(ctx) }}
	return arm, func() error { return errors.Join(p.Close(), os.RemoveAll(dir)) }, nil
}

// environment is what a program gets through the daemon that is told nothing of one.
func (b *bench) environment(t *target, profile string) ([]string, error) {
	show := jobs()[0]
	show.tool, show.profile = toolEnv, profile
	res, err := t.execute(b.ctx, 0, show.request("environment", 0))
	if err != nil {
		return nil, fmt.Errorf("ask for the environment of programs: %w", err)
	}
	return strings.Fields(string(res.GetStdout().GetHead())), nil
}

// isolation measures the classes of the outer wall.
func (b *bench) isolation() error {
	policy := filepath.Join(b.dir, "gvisor")
	if err := writePolicy(policy, profileGVisor); err != nil {
		return err
	}
	runsc := filepath.Join(b.binDir, "runsc")
	if _, err := os.Stat(runsc); err != nil {
		b.skipped("gVisor", fmt.Errorf("%w: `make gvisor` builds it", err))
		return nil
	}
	if err := b.warmIsolation(policy, runsc); err != nil {
		return err
	}
	return b.coldIsolation(policy, runsc)
}

// warmIsolation measures calls in sessions that have had some, on a daemon that keeps a cell.
func (b *bench) warmIsolation(policy, runsc string) (err error) {
	t, err := b.launch("gVisor", gVisorConfig(1, policy, runsc))
	if err != nil {
		if ctxErr := context.Cause(b.ctx); ctxErr != nil {
			return ctxErr
		}
		b.skipped("gVisor", fmt.Errorf("the daemon does not take it: %w", err))
		return nil
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	for _, j := range []job{bashJob(), jobs()[0]} {
		wall := map[string]string{"gVisor, ": profileGVisor, "runc, ": profileOpen}
		for _, name := range []string{"runc, ", "gVisor, "} {
			j := j
			j.profile = wall[name]
			if err := b.isolated(t, name, j); err != nil {
				return err
			}
		}
	}
	return b.firstCall(t, cellGVisorFirst, 1)
}

// Cells of GroupIsolation: what a caller waits who has not called before.
const (
	cellGVisorFirst = "gVisor, first call of a new session"
	cellGVisorCold  = cellGVisorFirst + ", no cell kept ready"
)

// coldIsolation measures calls in gVisor for which no cell is kept ready.
func (b *bench) coldIsolation(policy, runsc string) (err error) {
	t, err := b.launch("gVisor, cold", gVisorConfig(0, policy, runsc))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	return b.firstCall(t, cellGVisorCold, 0)
}

// firstCall measures the first call of a new session in gVisor. The last session is closed
// and the daemon at rest before each.
func (b *bench) firstCall(t *target, name string, fresh int) error {
	p := b.size.plan
	p.Slices, p.Slice, p.MaxOps = 1, time.Hour, min(8, p.MaxOps/10)
	return b.measureCell(cell{group: report.GroupIsolation, name: name, base: report.ArmFloor, plan: p},
		floor(bashJob()), t.opening(profileGVisor, "gvisor", fresh))
}

func gVisorConfig(idle int, policy, runsc string) string {
	return fmt.Sprintf("pool: {idle: %d, max_cells: 8}\npolicy: {dir: %s}\ncontainerd: {runtimes: {gvisor: {binary: %s}}}\n%s",
		idle, policy, runsc, callersWith(profileGVisor))
}
