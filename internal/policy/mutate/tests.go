package mutate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/scenario"
)

// check is one test that a mutant has to fail: a case of a scenario file or a
// Rego test.
type check struct {
	name string
	// ref is the document of a Rego test, empty for a scenario.
	ref   string
	file  string // of a Rego test
	table bool   // the Rego test is a table of cases
	once  bool   // no case of the table is begun twice
	input ast.Value
	want  scenario.Want

	took    time.Duration
	touches places // rules and expressions that it evaluates
}

// programme is a compiled policy that checks can be run on.
type programme struct {
	compiler *ast.Compiler
	store    storage.Store
	decision policy.Question
}

// compileLibrary compiles a policy without its tests.
func compileLibrary(ctx context.Context, mods map[string]*ast.Module, store storage.Store) (*programme, error) {
	compiler, err := policy.NewLooseCompiler()
	if err != nil {
		return nil, err
	}
	if compiler.Compile(mods); compiler.Failed() {
		return nil, compiler.Errors
	}
	return newProgramme(ctx, compiler, store)
}

// compileTests compiles a policy with its tests, as OPA's test runner does it.
func compileTests(ctx context.Context, mods map[string]*ast.Module, store storage.Store) (*programme, error) {
	compiler := ast.NewCompiler().WithCapabilities(policy.Capabilities())
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	defer store.Abort(ctx, txn)
	// The runner prepares table tests so that a case that is false can be told
	// from one that is not there; no test is run here.
	results, err := tester.NewRunner().SetCompiler(compiler).SetStore(store).SetModules(mods).Filter(`^$`).RunTests(ctx, txn)
	if err != nil {
		return nil, err
	}
	for range results { // none
		continue
	}
	return newProgramme(ctx, compiler, store)
}

func newProgramme(ctx context.Context, compiler *ast.Compiler, store storage.Store) (*programme, error) {
	decision, err := policy.NewQuestion(ctx, compiler, store, policy.DecisionRef)
	return &programme{compiler, store, decision}, err
}

// errCheckTimeout ends a check that a mutant made endless.
var errCheckTimeout = errors.New("the check took too long")

// fails runs a check and says why it fails: "" means that it passes.
func (p *programme) fails(ctx context.Context, c *check, limit time.Duration, tracers ...topdown.QueryTracer) string {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errCheckTimeout)
	defer cancel()
	if c.ref == "" {
		answers, err := p.decision.Ask(ctx, c.input, tracers...)
		if err != nil {
			return "the evaluation failed: " + err.Error()
		}
		return strings.Join(scenario.Compare(c.want, policy.Judge(answers, judging)), "; ")
	}
	question, err := policy.NewQuestion(ctx, p.compiler, p.store, c.ref)
	if err != nil {
		return err.Error()
	}
	cases := &caseTracer{}
	if c.table {
		tracers = append(tracers, cases)
	}
	if c.once {
		cases.stop = cancel
	}
	answers, err := question.Ask(ctx, ast.NewObject(), tracers...)
	switch {
	case cases.failed != nil:
		return fmt.Sprintf("case %v is not true", cases.failed)
	case err != nil:
		return "the evaluation failed: " + err.Error()
	case len(answers) != 1:
		return "undefined"
	case c.table:
		return cases.failing(answers[0])
	case answers[0].Compare(ast.Boolean(true)) != 0:
		return "not true"
	}
	return ""
}

// judging is the configuration that decisions of mutants are judged under.
var judging = policy.Config{Isolations: []string{"runc", "gvisor"}}

// caseTracer notes the cases of a table test that were begun, and with stop ends
// the test at the first one that was not passed when the next one begins, which
// tells only where no case is begun twice.
type caseTracer struct {
	begun  []*ast.Array
	passed bool // the last one
	stop   context.CancelFunc
	failed *ast.Array
}

// Enabled implements [topdown.QueryTracer].
func (*caseTracer) Enabled() bool { return true }

// Config implements [topdown.QueryTracer].
func (*caseTracer) Config() topdown.TraceConfig { return topdown.TraceConfig{PlugLocalVars: false} }

// TraceEvent implements [topdown.QueryTracer].
func (t *caseTracer) TraceEvent(e topdown.Event) {
	switch e.Op {
	case topdown.ExitOp:
		if rule, ok := e.Node.(*ast.Rule); ok && testRef(rule.Head.Ref()[:1]) != nil {
			t.passed = true
		}
	case topdown.TestCaseOp:
		expr, ok := e.Node.(*ast.Expr)
		if !ok {
			return
		}
		name, ok := expr.Operand(0).Value.(*ast.Array)
		if !ok {
			return
		}
		if t.stop != nil && t.failed == nil && len(t.begun) > 0 && !t.passed {
			t.failed = t.begun[len(t.begun)-1]
			t.stop()
		}
		t.begun, t.passed = append(t.begun, name), false
	}
}

// distinct reports whether no case was begun twice.
func (t *caseTracer) distinct() bool {
	seen := ast.NewSet()
	for _, name := range t.begun {
		seen.Add(ast.NewTerm(name))
	}
	return seen.Len() == len(t.begun)
}

func (t *caseTracer) failing(answer ast.Value) string {
	passed, ok := answer.(ast.Object)
	if !ok {
		return "not a table"
	}
	for _, name := range t.begun {
		if !truthAt(passed, name) {
			return fmt.Sprintf("case %v is not true", name)
		}
	}
	failing := ""
	passed.Foreach(func(key, value *ast.Term) {
		if _, nested := value.Value.(ast.Object); !nested && value.Value.Compare(ast.Boolean(true)) != 0 {
			failing = fmt.Sprintf("case %v is %v", key, value)
		}
	})
	return failing
}

func truthAt(object ast.Object, name *ast.Array) bool {
	var value ast.Value = object
	for i := range name.Len() {
		o, ok := value.(ast.Object)
		if !ok {
			return false
		}
		term := o.Get(name.Elem(i))
		if term == nil {
			return false
		}
		value = term.Value
	}
	return value.Compare(ast.Boolean(true)) == 0
}

// placeTracer notes what is evaluated.
type placeTracer map[place]bool

// Enabled implements [topdown.QueryTracer].
func (placeTracer) Enabled() bool { return true }

// Config implements [topdown.QueryTracer].
func (placeTracer) Config() topdown.TraceConfig { return topdown.TraceConfig{PlugLocalVars: false} }

// TraceEvent implements [topdown.QueryTracer].
func (t placeTracer) TraceEvent(e topdown.Event) {
	switch e.Op {
	case topdown.EnterOp, topdown.EvalOp, topdown.ExitOp, topdown.IndexOp:
		switch node := e.Node.(type) {
		case *ast.Rule:
			t[placeOf(node.Location)] = true
		case *ast.Expr:
			t[placeOf(node.Location)] = true
		}
	}
}

// regoChecks lists the Rego tests of a compiled policy.
func regoChecks(compiler *ast.Compiler) []*check {
	byRef := map[string]*check{}
	for file, mod := range compiler.Modules {
		for _, rule := range mod.Rules {
			ref := rule.Head.Ref().GroundPrefix()
			if len(ref) == 0 || !strings.HasPrefix(lastName(ref), tester.TestPrefix) && rule.Head.DocKind() != ast.PartialObjectDoc {
				continue
			}
			ref = testRef(ref)
			if ref == nil {
				continue
			}
			full := mod.Package.Path.Extend(ref).String()
			byRef[full] = &check{name: full, ref: full, file: file, table: rule.Head.DocKind() == ast.PartialObjectDoc}
		}
	}
	list := make([]*check, 0, len(byRef))
	for _, c := range byRef {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *check) int { return cmp.Compare(a.name, b.name) })
	return list
}

// testRef cuts a reference after the part that is called test_….
func testRef(ref ast.Ref) ast.Ref {
	for i, term := range ref {
		if strings.HasPrefix(nameOf(term), tester.TestPrefix) {
			return ref[:i+1]
		}
	}
	return nil
}

func lastName(ref ast.Ref) string { return nameOf(ref[len(ref)-1]) }

func nameOf(t *ast.Term) string {
	switch v := t.Value.(type) {
	case ast.Var:
		return string(v)
	case ast.String:
		return string(v)
	}
	return ""
}
