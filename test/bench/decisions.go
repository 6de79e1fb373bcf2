package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/bench/measure"
	"github.com/sandgate/sandgate/test/bench/report"
	"github.com/sandgate/sandgate/test/daemontest"
)

// newCall is the n-th of calls that are alike and no two the same.
type newCall func(n int64) *sandgatev1.Call

// decided is a call that the library allows.
type decided struct {
	name string
	call newCall
}

// decidedCalls are the targets' own call, under the default profile, and others
// with more and less in them.
func decidedCalls() []decided {
	same := bashJob().request("", 0).GetCall()
	return []decided{
		{report.CellClosedLoop, trueCall},
		{report.CellClosedLoop + ", " + report.NewShape, shapedCall},
		{report.CellClosedLoop + ", the same call again", func(int64) *sandgatev1.Call { return same }},
		{report.CellClosedLoop + ", readonly, four commands", func(n int64) *sandgatev1.Call {
			return daemontest.Bash(fmt.Sprintf("git status && git log --oneline -n %d | grep -v wip && cat README.md", n), daemontest.Profile("readonly")).GetCall()
		}},
		{report.CellClosedLoop + ", open, read_file", func(n int64) *sandgatev1.Call {
			return daemontest.Request("read_file", map[string]string{"path": fmt.Sprintf("README-%d.md", n)}, daemontest.Profile(profileOpen)).GetCall()
		}},
	}
}

// trueCall is the targets' call with a word that makes it a new one.
func trueCall(n int64) *sandgatev1.Call {
	return daemontest.Bash(fmt.Sprintf("true %d", n)).GetCall()
}

// shapedCall differs from all others also by more than its words, so that every rule
// that asks for it is evaluated.
func shapedCall(n int64) *sandgatev1.Call {
	call := trueCall(n)
	call.Env = map[string]string{"BENCH": fmt.Sprint(n)}
	return call
}

// evaluateArm decides a new call each time.
func (t *target) evaluateArm(name string, call newCall) measure.Arm {
	return measure.Arm{Name: name, CPU: t.cpu, Op: func(ctx context.Context, client int) error {
		return t.evaluate(ctx, client, call(t.decided.Add(1)))
	}}
}

// decisions measures Evaluate: nothing runs, so the daemons need no cells.
func (b *bench) decisions() (err error) {
	plain, err := b.launch("decisions, default library", "pool: {idle: 0, max_cells: 2}\n")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.stop()) }()
	for _, clients := range []int{1, 4} {
		for _, d := range decidedCalls() {
			c := cell{on: plain, group: report.GroupDecide, name: d.name, clients: clients}
			if err := b.measureCell(c, plain.evaluateArm(report.ArmSandgate, d.call)); err != nil {
				return err
			}
		}
	}
	if err := b.openLoop(plain); err != nil {
		return err
	}
	return b.rules(plain)
}

// openLoop begins decisions at a fixed rate, spread over the connections: new ones,
// and in turns with them what a part of such a decision takes by itself.
func (b *bench) openLoop(t *target) error {
	if !b.wanted(report.GroupDecide) {
		return nil
	}
	probes := make([]healthpb.HealthClient, len(t.conns))
	for i, conn := range t.conns {
		probes[i] = healthpb.NewHealthClient(conn)
	}
	same := bashJob().request("", 0).GetCall()
	loops := []struct {
		name string
		op   func(ctx context.Context, n int) error
	}{
		{report.CellOpenLoop, func(ctx context.Context, n int) error {
			return t.evaluate(ctx, n%len(t.clients), trueCall(t.decided.Add(1)))
		}},
		{report.CellOpenShape, func(ctx context.Context, n int) error {
			return t.evaluate(ctx, n%len(t.clients), shapedCall(t.decided.Add(1)))
		}},
		{report.CellOpenSame, func(ctx context.Context, n int) error { return t.evaluate(ctx, n%len(t.clients), same) }},
		{report.CellOpenEmpty, func(ctx context.Context, n int) error {
			_, err := probes[n%len(probes)].Check(ctx, &healthpb.HealthCheckRequest{})
			return err
		}},
	}
	plan := b.size.open
	plan.Reps = 1
	cells := make([]report.Cell, len(loops))
	for i, l := range loops {
		cells[i] = report.Cell{Group: report.GroupDecide, Name: l.name, Series: []measure.Series{{Name: report.ArmSandgate, Clients: 1}}}
	}
	for range b.size.open.Reps {
		for i, l := range loops {
			s, err := measure.Open(b.ctx, plan, report.ArmSandgate, l.op)
			if err != nil {
				if ctxErr := context.Cause(b.ctx); ctxErr != nil {
					return ctxErr
				}
				b.failed(l.name, err)
				return nil
			}
			cells[i].Series[0].Reps = append(cells[i].Series[0].Reps, s.Reps...)
		}
	}
	for _, c := range cells {
		b.keep(c)
	}
	return nil
}

// rules compares decisions under the library with those under more rules.
func (b *bench) rules(plain *target) (err error) {
	if !b.wanted(report.GroupRules) {
		return nil
	}
	dir := filepath.Join(b.dir, "rules")
	if err := writePolicy(dir); err != nil {
		return err
	}
	more, err := b.launch("decisions, more rules", "pool: {idle: 0, max_cells: 2}\npolicy: {dir: "+dir+"}\n")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, more.stop()) }()
	for _, kind := range []struct{ name, kind string }{
		{report.CellToolRules, rulesForTools}, {report.CellCommandRules, rulesForCommands}, {report.CellArgumentRules, rulesForArguments},
	} {
		for _, n := range b.size.rules {
			if err := os.RemoveAll(filepath.Join(dir, "sandgate", "extra")); err != nil {
				return fmt.Errorf("remove rules: %w", err)
			}
			if err := writeRules(dir, kind.kind, n); err != nil {
				return err
			}
			if _, err := more.Policy.Reload(b.ctx, &sandgatev1.ReloadRequest{}); err != nil {
				b.failed(fmt.Sprintf("%d %s", n, kind.name), err)
				continue
			}
			if err := more.heeds(b.ctx, kind.kind); err != nil {
				b.failed(fmt.Sprintf("%d %s", n, kind.name), err)
				continue
			}
			c := cell{on: more, group: report.GroupRules, name: kind.name, amount: n, base: report.ArmLibrary}
			if err := b.measureCell(c, plain.evaluateArm(report.ArmLibrary, shapedCall), more.evaluateArm(report.ArmSandgate, shapedCall)); err != nil {
				return err
			}
		}
	}
	return nil
}

// heeds fails when the daemon does not deny a call for the first of the rules that
// writeRules makes. A tool that it is about would not be known, so of that kind none is made.
func (t *target) heeds(ctx context.Context, kind string) error {
	call := map[string]*sandgatev1.Call{
		rulesForCommands:  daemontest.Bash("deploy-0000").GetCall(),
		rulesForArguments: daemontest.Bash("echo a deploy-0000").GetCall(),
	}[kind]
	if call == nil {
		return nil
	}
	resp, err := t.clients[0].Evaluate(ctx, &sandgatev1.EvaluateRequest{Call: call})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(resp.GetDecision().GetReasons(), func(r *sandgatev1.Reason) bool { return r.GetRule() == ruleName(0) }) {
		return fmt.Errorf("decision %v of a call that the rule %s is about: the rules for a %s are not in force", resp.GetDecision(), ruleName(0), kind)
	}
	return nil
}
