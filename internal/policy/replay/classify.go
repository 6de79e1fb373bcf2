package replay

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sandgate/sandgate/internal/policy"
)

var strictness = map[policy.Outcome]int{policy.Allow: 0, policy.Ask: 1, policy.Deny: 2}

// classify compares two decisions. Of a recorded one only the outcome and the
// rules count: its demands were lowered to the ceiling of the daemon that made it.
func classify(before, after *policy.Decision, demands bool) Class {
	switch b, a := strictness[before.Outcome], strictness[after.Outcome]; {
	case a < b:
		return Widened
	case a > b:
		return Tightened
	}
	if demands && after.Outcome != policy.Deny {
		if class := classifyCage(before.Obligations, after.Obligations); class != Same {
			return class
		}
	}
	if !slices.Equal(rulesOf(before), rulesOf(after)) {
		return Altered
	}
	return Same
}

// classifyCage compares what two decisions demand of the cage. A demand that is
// gone is looser, a lower number is tighter.
func classifyCage(before, after policy.Obligations) Class {
	b, a := members(before.Sandbox), members(after.Sandbox)
	looser, tighter, other := false, false, false
	for key := range union(b, a) {
		was, is := b[key], a[key]
		x, numeric := was.(float64)
		y, alsoNumeric := is.(float64)
		switch {
		case fmt.Sprint(was) == fmt.Sprint(is):
		case is == nil, was == "ro" && is == "rw":
			looser = true
		case was == nil, was == "rw" && is == "ro":
			tighter = true
		case numeric && alsoNumeric:
			looser, tighter = looser || y > x, tighter || y < x
		default:
			other = true
		}
	}
	before.Sandbox, after.Sandbox = policy.SandboxObligations{}, policy.SandboxObligations{}
	other = other || encoded(before) != encoded(after)
	switch {
	case looser:
		return Widened
	case other:
		return Altered
	case tighter:
		return Tightened
	}
	return Same
}

func members(v any) map[string]any {
	out := map[string]any{}
	if err := json.Unmarshal([]byte(encoded(v)), &out); err != nil {
		return map[string]any{}
	}
	return out
}

func union(a, b map[string]any) map[string]bool {
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	return keys
}

func encoded(v any) string {
	raw, err := json.Marshal(v)
	if err != nil { // obligations are plain data
		return err.Error()
	}
	return string(raw)
}

func rulesOf(d *policy.Decision) []string {
	rules := []string{}
	for _, r := range d.Reasons {
		if !slices.Contains(rules, r.Rule) {
			rules = append(rules, r.Rule)
		}
	}
	slices.Sort(rules)
	return rules
}

// tally counts what one worker has seen.
type tally struct {
	examples int
	report   Report
	groups   map[string]*Group
}

func newTally(examples int) *tally {
	return &tally{examples: examples, groups: map[string]*Group{}, report: Report{Reasons: map[string]int{}, Approximate: map[string]int{}}}
}

func (t *tally) skip(c Call, reason string) {
	t.report.Calls++
	t.report.NotReplayable++
	t.report.Reasons[reason]++
	t.group(Group{Class: NotReplayable, Change: reason, Tool: c.Tool, Caller: c.Caller}, Example{Place: c.Place, Text: c.Text})
}

func (t *tally) add(c Call, class Class, before, after *policy.Decision) {
	t.report.Calls++
	switch class {
	case Same:
		t.report.Same++
		return
	case Widened:
		t.report.Widened++
	case Tightened:
		t.report.Tightened++
	default:
		t.report.Altered++
	}
	t.group(
		Group{Class: class, Change: told(before) + " -> " + told(after), Tool: c.Tool, Caller: c.Caller},
		Example{Place: c.Place, Text: c.Text, Before: string(before.Outcome), After: string(after.Outcome), Rules: rulesOf(after)},
	)
}

func told(d *policy.Decision) string { return string(d.Outcome) + " " + strings.Join(rulesOf(d), "+") }

func (t *tally) group(g Group, e Example) {
	key := strings.Join([]string{string(g.Class), g.Change, g.Tool, g.Caller}, "\x00")
	have, ok := t.groups[key]
	if !ok {
		if len(t.groups) >= maxGroups {
			t.report.Dropped++
			return
		}
		have = &g
		t.groups[key] = have
	}
	have.Count++
	if len(have.Examples) < t.examples {
		have.Examples = append(have.Examples, e)
	}
}

var order = map[Class]int{Widened: 0, Tightened: 1, Altered: 2, NotReplayable: 3}

// merge puts the tallies of the workers together, the largest groups first.
func merge(tallies []*tally, opts Options) Report {
	all := newTally(opts.Examples)
	r := &all.report
	for _, t := range tallies {
		r.Calls += t.report.Calls
		r.Same += t.report.Same
		r.Widened += t.report.Widened
		r.Tightened += t.report.Tightened
		r.Altered += t.report.Altered
		r.NotReplayable += t.report.NotReplayable
		r.Dropped += t.report.Dropped
		for reason, n := range t.report.Reasons {
			r.Reasons[reason] += n
		}
		for guess, n := range t.report.Approximate {
			r.Approximate[guess] += n
		}
		for key, g := range t.groups {
			have, ok := all.groups[key]
			if !ok {
				own := *g
				all.groups[key] = &own
				continue
			}
			have.Count += g.Count
			have.Examples = append(slices.Clone(have.Examples), g.Examples...)
		}
	}
	r.Groups = []Group{}
	for _, key := range slices.Sorted(maps.Keys(all.groups)) {
		g := all.groups[key]
		slices.SortFunc(g.Examples, func(a, b Example) int {
			return cmp.Or(cmp.Compare(len(a.Place), len(b.Place)), cmp.Compare(a.Place, b.Place))
		})
		g.Examples = g.Examples[:min(len(g.Examples), opts.Examples)]
		r.Groups = append(r.Groups, *g)
	}
	slices.SortStableFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(order[a.Class], order[b.Class]), cmp.Compare(b.Count, a.Count))
	})
	r.Candidate = opts.Candidate.Status().Revision
	r.Baseline = "recorded decisions"
	if opts.Baseline != nil {
		r.Baseline = opts.Baseline.Status().Revision
	}
	return *r
}
