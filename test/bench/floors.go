package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/bench/measure"
	"github.com/sandgate/sandgate/test/bench/parts"
	"github.com/sandgate/sandgate/test/bench/peer"
	"github.com/sandgate/sandgate/test/bench/report"
	"github.com/sandgate/sandgate/test/daemontest"
)

// floors measures what the call of the targets cannot do without, part by part and
// each by itself, in the same slices as the call through the daemon; and that of the
// peer which runs another command.
func (b *bench) floors() (err error) {
	const config = "pool: {idle: 2, max_cells: 64}\n"
	t, err := b.launch("floors", config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	quick, err := b.launchIn(inMemory, "floors, its journal in memory", config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, quick.stop()) }()
	for _, j := range []job{bashJob(), jobs()[0]} {
		if err := b.floorsOf(t, quick, j); err != nil {
			return err
		}
	}
	return nil
}

// floorsOf measures the floors of one command on a daemon and on one whose journal lies
// in memory.
func (b *bench) floorsOf(t, quick *target, j job) (err error) {
	// A call whose id, input and records the parts are made of.
	id := "bench-floor-" + j.tool
	req := j.request(floorCalls, 0)
	daemontest.CallID(id)(req)
	whole, err := t.clients[0].Execute(b.ctx, req)
	if err == nil {
		err = endedWell(whole.GetResult())
	}
	if err != nil {
		return err
	}
	seen, err := t.clients[0].Evaluate(b.ctx, &sandgatev1.EvaluateRequest{Call: req.GetCall(), Explain: true})
	if err != nil {
		return fmt.Errorf("ask for the input of a decision: %w", err)
	}
	dir, err := searchableDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := b.floorsOfOne(t, quick, dir, id, seen.GetInputJson(), whole, j); err != nil || j.name != report.CellBash {
		return err
	}
	return b.crowd(t, filepath.Join(dir, "crowd"), seen.GetInputJson(), whole, j)
}

// searchableDir makes a directory through which the ids of cells get to their roots.
func searchableDir() (string, error) {
	dir, err := os.MkdirTemp("/tmp", "sgf-")
	if err == nil {
		err = os.Chmod(dir, 0o711) //nolint:gosec // the cell's ids must get to its root
	}
	if err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	return dir, nil
}

// floorsOfOne measures the floors of a call of one client.
func (b *bench) floorsOfOne(t, quick *target, dir, id, input string, seen *sandgatev1.ExecuteResponse, j job) (err error) {
	alone, stop, err := b.floorParts(t, dir, input, j)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	leasts, end, err := b.leasts(t, dir, input, seen, j)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	var traces []traced
	whole := t.arm(j, floorCalls)
	whole.CPU = parts.MachineCPU
	noDisk := quick.arm(j, floorCalls)
	noDisk.Name, noDisk.CPU = report.ArmMemory, parts.MachineCPU
	arms := append([]measure.Arm{
		{Name: report.ArmFloor, CPU: parts.MachineCPU, Op: peer.Bare(j.argv, j.stdout)},
		whole, noDisk,
	}, leasts...)
	alone = append([]measure.Arm{emptyCall(t, id)}, alone...)
	arms = append(arms, alone...)
	for _, arm := range alone {
		if arm.Name != report.ArmWalls { // which run the command themselves
			arms = append(arms, cold(arm, j))
		}
	}
	if j.name == report.CellBash {
		arms = append(arms, t.tracedArm(j, "floors-traced", &traces))
	}
	if err := b.measureCell(cell{on: t, group: report.GroupFloors, name: j.name, base: report.ArmFloor}, arms...); err != nil {
		return err
	}
	if len(traces) > 0 {
		stages := stagesOfTimelines(j.name, traces)
		stages.Floors = true
		b.out.Stages = append(b.out.Stages, stages)
	}
	return nil
}

// inMemory is where nothing waits for a disk.
const inMemory = "/dev/shm"

// cold is a part that does not find the caches as it left them: the command runs on
// the bare machine before each, as it has when the daemon comes to its next call. Its
// processor time is that of both.
func cold(arm measure.Arm, j job) measure.Arm {
	bare := peer.Bare(j.argv, j.stdout)
	return measure.Arm{Name: report.Cold(arm.Name), CPU: arm.CPU, Op: arm.Op, Prepare: bare, Share: 0.5}
}

// emptyCall asks the daemon for the result of a call that has ended: the same
// connection, socket, options and interceptors, a response of the same size, and
// nothing to be done for it.
func emptyCall(t *target, id string) measure.Arm {
	return measure.Arm{Name: report.ArmEmpty, CPU: parts.MachineCPU, Op: func(ctx context.Context, client int) error {
		resp, err := t.clients[client].GetCall(ctx, &sandgatev1.GetCallRequest{CallId: id})
		if err == nil && resp.GetResult() == nil {
			err = fmt.Errorf("the call %s has no result", id)
		}
		return err
	}}
}

// floorParts makes the parts that need no daemon; stop takes them back.
func (b *bench) floorParts(t *target, dir, input string, j job) (arms []measure.Arm, stop func() error, err error) {
	var made []*parts.Part
	stop = func() error {
		var errs []error
		for _, p := range slices.Backward(made) {
			errs = append(errs, p.Close())
		}
		return errors.Join(errs...)
	}
	add := func(name string, p *parts.Part, perr error) {
		if err = errors.Join(err, perr); perr != nil {
			return
		}
		made = append(made, p)
		arms = append(arms, measure.Arm{Name: name, CPU: parts.MachineCPU, Op: func(ctx context.Context, _ int) error { return p.Op(ctx) }})
	}
	env, err := b.environment(t, profileOpen)
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	p, perr := parts.Walls(b.ctx, b.binDir, filepath.Join(dir, "cell"), j.argv, env)
	add(report.ArmWalls, p, perr)
	// On the file system of the daemon's journal.
	p, perr = parts.Records(filepath.Join(t.DataDir, "floor-"+j.tool+".jsonl"), filepath.Join(t.DataDir, "journal", "journal.jsonl"))
	add(report.ArmRecords, p, perr)
	p, perr = parts.Decision(b.ctx, input)
	add(report.ArmDecision, p, perr)
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return arms, stop, nil
}
