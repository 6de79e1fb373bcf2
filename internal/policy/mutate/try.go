package mutate

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/sandgate/sandgate/internal/policy"
)

// trial is one mutant on its way through the checks.
type trial struct {
	*lab
	m       Mutant
	changed *ast.Module
}

// try makes the change of a site and runs the checks that touch it. It compiles
// no more of the policy than a check needs, and begins with the check that last
// noticed a change of the same rule. The tests beside the file come before the
// scenarios: these need the whole policy, and most changes are noticed by then.
func (l *lab) try(ctx context.Context, s Site) Mutant {
	t := &trial{lab: l, m: Mutant{Site: s, Status: Survived}, changed: mutated(l.sources[s.File], s)}
	t.run(ctx)
	return t.m
}

func (t *trial) run(ctx context.Context) {
	if t.nothing(ctx) {
		return
	}
	best, cases, tests := t.relevant(t.m.Site)
	if best != nil && best.ref != "" && t.regoTests(ctx, []*check{best}) {
		return
	}
	beside, others := t.split(tests)
	if t.regoTests(ctx, beside) || t.scenarios(ctx, cases) {
		return
	}
	t.regoTests(ctx, others)
}

// split tells the tests in the directory of the changed file from the others.
func (t *trial) split(tests []*check) (beside, others []*check) {
	dir := path.Dir(t.m.File)
	for _, c := range tests {
		if path.Dir(c.file) == dir {
			beside = append(beside, c)
		} else {
			others = append(others, c)
		}
	}
	return beside, others
}

// nothing reports whether the change makes no other policy: it does not compile,
// or it compiles to the same.
func (t *trial) nothing(ctx context.Context) bool {
	mods := t.sourceGraph.closure(t.m.File)
	base, err := t.compiledText(ctx, t.m.File, mods)
	if err != nil {
		return t.invalid(err)
	}
	prog, err := compileLibrary(ctx, t.with(mods), t.store)
	if err != nil {
		return t.invalid(err)
	}
	if prog.compiler.Modules[t.m.File].String() == base {
		t.m.Status = Equivalent
		return true
	}
	return false
}

func (t *trial) invalid(err error) bool {
	t.m.Status, t.m.Why = Invalid, err.Error()
	return true
}

// with is the modules with the changed one in its place.
func (t *trial) with(mods map[string]*ast.Module) map[string]*ast.Module {
	out := maps.Clone(mods)
	out[t.m.File] = t.changed
	return out
}

// compiledText is a module of the policy as it is, compiled with mods.
func (l *lab) compiledText(ctx context.Context, file string, mods map[string]*ast.Module) (string, error) {
	l.mu.Lock()
	text, ok := l.base[file]
	l.mu.Unlock()
	if ok {
		return text, nil
	}
	prog, err := compileLibrary(ctx, mods, l.store)
	if err != nil {
		return "", err
	}
	text = prog.compiler.Modules[file].String()
	l.mu.Lock()
	l.base[file] = text
	l.mu.Unlock()
	return text, nil
}

// scenarios tries the mutant as the daemon would load it, then on the cases.
func (t *trial) scenarios(ctx context.Context, cases []*check) bool {
	if t.deciding[t.m.File] == nil {
		return false // no decision depends on it
	}
	prog, err := compileLibrary(ctx, t.with(t.deciding), t.store)
	if err != nil {
		return t.invalid(err)
	}
	if err := policy.CheckCompiled(ctx, prog.compiler, t.store); err != nil {
		t.m.Status, t.m.By, t.m.Why = Killed, "the checks of the daemon", err.Error()
		return true
	}
	return t.kill(ctx, prog, cases)
}

func (t *trial) regoTests(ctx context.Context, tests []*check) bool {
	if len(tests) == 0 {
		return false
	}
	var files []string
	for _, c := range tests {
		files = append(files, c.file)
	}
	mods := t.allGraph.closure(files...)
	if mods[t.m.File] == nil {
		return false // none of them can tell
	}
	prog, err := compileTests(ctx, t.with(mods), t.store)
	if err != nil {
		return t.invalid(err)
	}
	return t.kill(ctx, prog, tests)
}

// kill runs checks until one fails, which kills the mutant.
func (t *trial) kill(ctx context.Context, prog *programme, checks []*check) bool {
	for _, c := range checks {
		t.m.Tests++
		why := prog.fails(ctx, c, t.opts.CheckTimeout)
		if ctx.Err() != nil {
			return true
		}
		if why != "" {
			t.m.Status, t.m.By, t.m.Why = Killed, c.name, short(why)
			t.mu.Lock()
			t.best[t.m.rule] = c
			t.mu.Unlock()
			return true
		}
	}
	return false
}

// relevant are the scenarios and the Rego tests that touch a site, the likeliest
// to notice first: the one that noticed the last change of the rule, then those
// that speak of what is changed, then the quick ones.
func (l *lab) relevant(s Site) (best *check, cases, tests []*check) {
	l.mu.Lock()
	best = l.best[s.rule]
	l.mu.Unlock()
	at := l.atlas.id(s.expr)
	if at < 0 {
		at = l.atlas.id(s.rule)
	}
	everything := at < 0 // a default or a constant leaves no trace
	var callers []int
	if widens(s.Kind) {
		for _, p := range l.callers[s.name] {
			callers = append(callers, l.atlas.id(p))
		}
	}
	word := strings.Trim(s.Old, "`\"")
	var speaking, others []*check
	for _, c := range l.checks {
		switch {
		case c == best || !everything && !c.touches.has(at) && !c.touches.hasAny(callers):
		case c.ref != "":
			tests = append(tests, c)
		case word != "" && strings.Contains(c.name, word):
			speaking = append(speaking, c)
		default:
			others = append(others, c)
		}
	}
	cases = slices.Concat(speaking, others)
	if best != nil && best.ref == "" {
		cases = slices.Insert(cases, 0, best)
	}
	return best, cases, tests
}

// widens reports whether a change may make a rule true that OPA's index leaves
// out as it is.
func widens(kind string) bool {
	switch kind {
	case KindDropRule, KindDropElse, KindDropDefault, KindMember:
		return false
	}
	return true
}
