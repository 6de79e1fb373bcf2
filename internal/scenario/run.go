package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/proposal"
)

// Runner decides the cases of suites. It is safe for concurrent use.
type Runner struct {
	Engine  *policy.Engine
	Catalog *catalog.Catalog
}

// Result is what came of one case.
type Result struct {
	File     string
	Case     Case
	Got      policy.Decision
	Problems []string // empty: the case passes
	Duration time.Duration
}

// Passed reports whether the decision is the wanted one.
func (r Result) Passed() bool { return len(r.Problems) == 0 }

// Run decides all cases of a suite, several at a time. The results are in the
// order of the cases.
func (r Runner) Run(ctx context.Context, suite Suite) []Result {
	results := make([]Result, len(suite.Cases))
	var (
		wg   sync.WaitGroup
		next atomic.Int64
	)
	for range min(runtime.GOMAXPROCS(0), len(suite.Cases)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(suite.Cases); i = int(next.Add(1)) - 1 {
				results[i] = r.one(ctx, suite, suite.Cases[i])
			}
		})
	}
	wg.Wait()
	return results
}

func (r Runner) one(ctx context.Context, suite Suite, c Case) Result {
	begin := time.Now()
	res := Result{File: suite.File, Case: c}
	in, err := r.Input(suite.Workspace, c)
	switch {
	case err == nil:
		res.Got = r.Engine.Decide(ctx, in)
		res.Problems = Compare(c.Want, res.Got)
	case !c.Want.MayBeRefused:
		res.Problems = []string{"the call never reaches the policy: " + err.Error()}
	}
	res.Duration = time.Since(begin)
	return res
}

// Input is the document that the policy sees of a case, as the gate would build it.
func (r Runner) Input(workspace facts.FS, c Case) (policy.Input, error) {
	tool, err := r.Catalog.Lookup(c.Call.Tool)
	if err != nil {
		return policy.Input{}, err
	}
	if err := tool.Validate(c.Call.Args); err != nil {
		return policy.Input{}, err
	}
	in := policy.Input{DecisionID: "scenario", Time: c.Time, Caller: c.Caller, Session: c.Session}
	in.Daemon.Environment = c.Environment
	in.Call, in.Tool, err = proposal.Build(tool, proposal.Call{
		ID: "scenario", Args: c.Call.Args, Cwd: c.Call.Cwd, Env: c.Call.Env, StdinBytes: new(int64),
	}, workspace)
	return in, err
}

// Compare lists the differences between what is wanted and what was decided.
func Compare(want Want, got policy.Decision) []string {
	var problems []string
	if got.Outcome != want.Outcome {
		problems = append(problems, fmt.Sprintf("outcome: want %s, got %s", want.Outcome, got.Outcome))
	}
	shadow := make([]string, 0, len(got.Shadow))
	for _, s := range got.Shadow {
		shadow = append(shadow, s.Rule)
	}
	for _, list := range []struct {
		name      string
		want, got []string
	}{
		{"rules", want.Rules, ruleIDs(got.Reasons)},
		{"warnings", want.Warnings, ruleIDs(got.Warnings)},
		{"shadow", want.Shadow, shadow},
	} {
		for _, rule := range list.want {
			if !slices.Contains(list.got, rule) {
				problems = append(problems, fmt.Sprintf("%s: want %s, got [%s]", list.name, rule, strings.Join(list.got, ", ")))
			}
		}
	}
	if want.Labels != nil && !slices.Equal(sorted(want.Labels), sorted(got.Labels)) {
		problems = append(problems, fmt.Sprintf("labels: want %q, got %q", want.Labels, got.Labels))
	}
	problems = append(problems, compareMembers("obligations", want.Obligations, got.Obligations)...)
	problems = append(problems, compareMembers("bounds", want.Bounds, got.Bounds)...)
	var args any
	if got.Transform != nil {
		args = got.Transform.Args
	}
	return append(problems, compareMembers("transform", want.Transform, args)...)
}

func ruleIDs(reasons []policy.Reason) []string {
	ids := make([]string, 0, len(reasons))
	for _, r := range reasons {
		if !slices.Contains(ids, r.Rule) {
			ids = append(ids, r.Rule)
		}
	}
	return ids
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

func compareMembers(name string, want map[string]any, got any) []string {
	if len(want) == 0 {
		return nil
	}
	gotJSON, err := generic(got)
	if err != nil {
		return []string{name + ": " + err.Error()}
	}
	wantJSON, err := generic(want)
	if err != nil {
		return []string{name + ": " + err.Error()}
	}
	return missing(name, wantJSON, gotJSON)
}

// missing lists the members of want that got does not have.
func missing(at string, want, got any) []string {
	object, ok := want.(map[string]any)
	if !ok {
		if a, b := text(want), text(got); a != b {
			return []string{fmt.Sprintf("%s: want %s, got %s", at, a, b)}
		}
		return nil
	}
	have, ok := got.(map[string]any)
	if !ok {
		return []string{fmt.Sprintf("%s: want %s, got %s", at, text(want), text(got))}
	}
	var problems []string
	for _, key := range slices.Sorted(maps.Keys(object)) {
		problems = append(problems, missing(at+"."+key, object[key], have[key])...)
	}
	return problems
}

func generic(v any) (any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out any
	return out, json.Unmarshal(raw, &out)
}

func text(v any) string {
	if v == nil {
		return "nothing"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
