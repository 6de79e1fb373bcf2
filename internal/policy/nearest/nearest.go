// Package nearest searches the smallest change of a refused call that its policy
// would allow: a command, an argument, a redirect, a variable less, or a path
// inside the workspace in the place of one outside. `sandgate policy explain` is
// its front. Every change is really decided, on facts derived anew; it must never
// run a call, nor call one allowed that was not decided so.
package nearest

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/sandgate/sandgate/internal/policy"
)

// MostEvaluations is the bound when Options name none.
const MostEvaluations = 200

// maxHelpful is how many changes that do not make it worse are tried in pairs.
const maxHelpful = 14

// Decide decides a call with other arguments, working directory and variables.
// An error means that such a call would not reach the policy.
type Decide func(ctx context.Context, c Call) (policy.Decision, error)

// Call is the part of a call that may be changed.
type Call struct {
	Args json.RawMessage   `json:"args"`
	Cwd  string            `json:"cwd,omitempty"`
	Env  map[string]string `json:"env,omitempty"`
}

// Options of Search.
type Options struct {
	// ScriptArg is the argument that holds a bash script. Empty: none.
	ScriptArg string
	// PathArgs are the arguments that hold paths.
	PathArgs []string
	// Most bounds the evaluations; zero means MostEvaluations.
	Most int
}

// Result is what was found.
type Result struct {
	// Found is whether a smaller call is allowed.
	Found bool `json:"found"`
	// Changes say what is done to the call, in words.
	Changes []string `json:"changes,omitempty"`
	Call    *Call    `json:"call,omitempty"`
	// Script is the changed script, of a call that has one.
	Script string `json:"script,omitempty"`
	// Rules are those that allow it.
	Rules       []string `json:"rules,omitempty"`
	Evaluations int      `json:"evaluations"`
	// Exhausted: not everything was tried, the bound was reached.
	Exhausted bool `json:"exhausted,omitempty"`
}

// Search tries changes of a call, the smallest first: each single one, then pairs
// of those that took away a reason, then as many as it takes of the ones that
// took away most, less those of them that turn out not to be needed.
func Search(ctx context.Context, call Call, before policy.Decision, decide Decide, opts Options) Result {
	s := &search{call: call, decide: decide, opts: opts, left: cmp.Or(opts.Most, MostEvaluations), seen: map[string]policy.Decision{}}
	edits := s.edits()
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.cost, b.cost) })
	var helpful []edit
	for _, e := range edits {
		d, ok := s.try(ctx, []edit{e})
		if s.result.Found {
			return s.done()
		}
		if ok && !lessStrict(before, d) {
			e.gain = strictness(before) - strictness(d)
			helpful = append(helpful, e)
		}
	}
	slices.SortStableFunc(helpful, func(a, b edit) int { return cmp.Or(cmp.Compare(b.gain, a.gain), cmp.Compare(a.cost, b.cost)) })
	for i := range min(len(helpful), maxHelpful) {
		for k := range i {
			if s.try(ctx, []edit{helpful[k], helpful[i]}); s.result.Found {
				return s.done()
			}
		}
	}
	s.greedy(ctx, before, helpful)
	return s.done()
}

// lessStrict tells whether a decision is nearer to an allow than another.
func lessStrict(a, b policy.Decision) bool { return strictness(a) < strictness(b) }

// strictness orders decisions by their outcome, and then by their reasons.
func strictness(d policy.Decision) int {
	rank := map[policy.Outcome]int{policy.Allow: 0, policy.Ask: 1, policy.Deny: 2}
	return rank[d.Outcome]<<16 + len(d.Reasons)
}

type search struct {
	call   Call
	decide Decide
	opts   Options
	left   int
	seen   map[string]policy.Decision // none: refused before the policy
	result Result
}

func (s *search) done() Result {
	s.result.Exhausted = !s.result.Found && s.left <= 0
	return s.result
}

// try decides the call with the changes; one that was decided before is not
// decided again.
func (s *search) try(ctx context.Context, edits []edit) (policy.Decision, bool) {
	if ctx.Err() != nil || overlap(edits) {
		return policy.Decision{}, false
	}
	call, script, err := s.apply(edits)
	if err != nil {
		return policy.Decision{}, false
	}
	key, err := json.Marshal(call)
	if err != nil {
		return policy.Decision{}, false
	}
	if d, ok := s.seen[string(key)]; ok {
		return d, d.Outcome != ""
	}
	if s.left <= 0 {
		return policy.Decision{}, false
	}
	s.left--
	s.result.Evaluations++
	d, err := s.decide(ctx, call)
	if err != nil {
		d = policy.Decision{}
	}
	s.seen[string(key)] = d
	if err != nil {
		return d, false
	}
	if d.Outcome == policy.Allow {
		s.result.Found, s.result.Call, s.result.Script = true, &call, script
		s.result.Changes, s.result.Rules = nil, nil
		for _, e := range edits {
			s.result.Changes = append(s.result.Changes, e.what)
		}
		for _, r := range d.Reasons {
			if !slices.Contains(s.result.Rules, r.Rule) {
				s.result.Rules = append(s.result.Rules, r.Rule)
			}
		}
	}
	return d, true
}

// greedy puts one helpful change upon the other until the call is allowed, and
// then takes back those that were not needed.
func (s *search) greedy(ctx context.Context, before policy.Decision, helpful []edit) {
	var taken []edit
	for _, e := range helpful {
		d, ok := s.try(ctx, append(slices.Clone(taken), e))
		if s.result.Found {
			taken = append(taken, e)
			break
		}
		if ok && lessStrict(d, before) || len(taken) == 0 {
			taken = append(taken, e)
			if ok {
				before = d
			}
		}
	}
	if !s.result.Found {
		return
	}
	for i := 0; i < len(taken); {
		less := slices.Delete(slices.Clone(taken), i, i+1)
		if d, ok := s.try(ctx, less); ok && d.Outcome == policy.Allow {
			taken = less
			continue
		}
		i++
	}
}
