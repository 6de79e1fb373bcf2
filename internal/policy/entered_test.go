package policy

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// counter counts what one evaluation does, by the rules in which it does it.
type counter struct {
	entered, exprs, fails map[string]int
	rule                  map[uint64]string // by the query that it is in
}

func newCounter() *counter {
	return &counter{entered: map[string]int{}, exprs: map[string]int{}, fails: map[string]int{}, rule: map[uint64]string{}}
}

func (*counter) Enabled() bool { return true }

func (*counter) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

func (c *counter) TraceEvent(e topdown.Event) {
	at := c.rule[e.QueryID]
	if at == "" {
		at = c.rule[e.ParentID]
		c.rule[e.QueryID] = at
	}
	switch e.Op {
	case topdown.EnterOp:
		if rule, ok := e.Node.(*ast.Rule); ok {
			at = fmt.Sprintf("%s:%d %s", rule.Loc().File[strings.LastIndex(rule.Loc().File, "/")+1:], rule.Loc().Row, rule.Ref())
			c.rule[e.QueryID] = at
			c.entered[at]++
		}
	case topdown.EvalOp:
		c.exprs[at]++
	case topdown.FailOp:
		c.fails[at]++
	}
}

func sum(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

// TestEnteredRules keeps what a decision costs in rules and expressions, whatever
// the machine, from growing unseen: a new rule of the library should be found by
// OPA's index, or not be entered for commands that it is not about. With
// SANDGATE_ENTERED set, -v tells it rule by rule.
func TestEnteredRules(t *testing.T) {
	e := newEngine(t, Config{Version: "bench", Ceiling: SandboxObligations{Pids: 4096, WallTimeMs: 600_000}})
	rev := e.current.Load()
	most := map[string]int{"bash -c true": 160, "true": 80, "git status": 120} // rules
	for _, profile := range []string{"workspace", "readonly", "open"} {
		for _, script := range []string{
			"bash -c true", "true", "git status", "git status && git log --oneline -n 20 | grep -v wip && cat README.md",
		} {
			in := e.Complete(benchInput(profile, script))
			value, err := in.valueOf(rev.needs, rev.constants)
			if err != nil {
				t.Fatal(err)
			}
			c := newCounter()
			e.evaluate(t.Context(), rev, value, c)
			t.Logf("%s %q: %d rules entered, %d expressions", profile, script, sum(c.entered), sum(c.exprs))
			if entered := sum(c.entered); most[script] > 0 && entered > most[script] || entered == 0 {
				t.Errorf("%s %q: %d rules entered, want at most %d", profile, script, entered, most[script])
			}
			if os.Getenv("SANDGATE_ENTERED") == "" {
				continue
			}
			keys := slices.SortedFunc(maps.Keys(c.exprs), func(a, b string) int {
				return cmp.Or(c.exprs[b]-c.exprs[a], cmp.Compare(a, b))
			})
			for _, k := range keys {
				t.Logf("    %3d entered %3d exprs %3d fail %s", c.entered[k], c.exprs[k], c.fails[k], k)
			}
		}
	}
}
