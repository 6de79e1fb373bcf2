package mutate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/scenario"
)

const library = `package sandgate

default decision := {"outcome": "deny", "reasons": [{"rule": "none", "message": "no"}]}

decision := {"outcome": "allow", "reasons": [{"rule": "small", "message": "yes"}]} if {
	input.schema == "sandgate.input/v1"
	input.session.profile == "p"
	input.tool.name == "bash"
	small(input.call.args.command)
}

small(command) if count(command) < 10

names := {"a", "b"}

visible contains tool.name if {
	some tool in input.tools
	tool.name in names
}

picked(name) if name in {"x", "y"}
`

const weakTests = `package sandgate_test

test_small if data.sandgate.small("ls")

test_names[name] if {
	some name in ["a"]
	name in data.sandgate.names
}

test_not_picked if not data.sandgate.picked("z")
`

const strongTests = weakTests + `
test_large if not data.sandgate.small("0123456789")

test_almost if data.sandgate.small("012345678")

test_picked if {
	data.sandgate.picked("x")
	data.sandgate.picked("y")
}

test_all_names if data.sandgate.names == {"a", "b"}

test_visible if {
	data.sandgate.visible == {"a"} with input as {"tools": [{"name": "a"}, {"name": "c"}]}
}

_allowed := {"schema": "sandgate.input/v1", "session": {"profile": "p"}, "tool": {"name": "bash"}, "call": {"args": {"command": "ls"}}}

_with(path, value) := decision if {
	decision := data.sandgate.decision with input as json.patch(_allowed, [{"op": "replace", "path": path, "value": value}])
}

test_decision if {
	allowed := data.sandgate.decision with input as _allowed
	allowed == {"outcome": "allow", "reasons": [{"rule": "small", "message": "yes"}]}
	_with("schema", "x") == {"outcome": "deny", "reasons": [{"rule": "none", "message": "no"}]}
	_with("tool/name", "x").outcome == "deny"
	_with("session/profile", "x").outcome == "deny"
	_with("call/args/command", "0123456789").outcome == "deny"
}
`

func run(t *testing.T, tests string, opts Options) (Report, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "sandgate"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{"main.rego": library, "main_test.rego": tests} {
		if err := os.WriteFile(filepath.Join(dir, "sandgate", name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src, err := policy.OpenSource(dir)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policy.New(t.Context(), policy.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	tools, err := catalog.New(catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	opts.Runner = scenario.Runner{Engine: engine, Catalog: tools}
	return Run(t.Context(), src, opts)
}

func texts(r Report) string {
	var list []string
	for _, m := range r.Survivors {
		list = append(list, fmt.Sprintf("%d %s %s => %s", m.Line, m.Kind, m.Old, m.New))
	}
	return strings.Join(list, "\n")
}

func TestWeakTestsLetMutantsLive(t *testing.T) {
	r, err := run(t, weakTests, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := texts(r)
	for _, want := range []string{
		"12 drop-expression count(command) < 10 => (true)", // no test of a large one
		`14 drop-member "b" => `,                           // no test names it
		"12 alter-number 10 => 11",
		"16 drop-rule visible contains tool.name => (never true)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("survivors: got\n%s\nwant %q among them", got, want)
		}
	}
	for _, dead := range []string{
		"21 drop-expression", // only without it the index of OPA asks the rule
		`drop-member "a"`, ">= 10", "drop-default",
	} {
		if strings.Contains(got, dead) {
			t.Errorf("survivors: got\n%s\n%q was noticed", got, dead)
		}
	}
	if r.Killed == 0 || r.Invalid == 0 || r.Survived != len(r.Survivors) || r.Score >= 90 {
		t.Errorf("got %+v", r)
	}
}

func TestStrongTestsKillThem(t *testing.T) {
	r, err := run(t, strongTests, Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	if r.Survived > 0 || r.Score != 100 || r.Killed < 15 {
		t.Errorf("got %d of %d, score %.1f; survivors:\n%s", r.Killed, r.Killed+r.Survived, r.Score, texts(r))
	}
}

func TestScenariosKillToo(t *testing.T) {
	suite, err := scenario.Parse("a.yaml", []byte(`
profile: p
cases:
  - name: a large one
    call: {tool: bash, args: {command: "0123456789"}}
    want: {outcome: deny}
`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := run(t, weakTests, Options{Suites: []scenario.Suite{suite}})
	if err != nil {
		t.Fatal(err)
	}
	if got := texts(r); strings.Contains(got, "12 drop-expression") || strings.Contains(got, "12 alter-number") {
		t.Errorf("survivors: got\n%s\nwant none of line 12, which the scenario is about", got)
	}
}

func TestSampleIsReproducible(t *testing.T) {
	a, err := run(t, weakTests, Options{Sample: 6, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	b, err := run(t, weakTests, Options{Sample: 6, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	if texts(a) != texts(b) || a.Killed+a.Survived+a.Invalid+a.Equivalent != 6 || a.All <= 6 {
		t.Errorf("got %+v, then %+v", a, b)
	}
}

func TestRunSaysWhyItCannot(t *testing.T) {
	for _, tt := range []struct {
		name, tests string
		opts        Options
		want        string
	}{
		{"a failing test", weakTests + "\ntest_no if false\n", Options{}, "test_no: undefined"},
		{"a failing case", weakTests + "\ntest_no[x] if {\n\tsome x in [\"k\"]\n\tx == \"l\"\n}\n", Options{}, `case ["k"] is not true`},
		{"no tests", "package sandgate_test\n", Options{}, "neither Rego tests nor scenarios"},
		{"no such file", weakTests, Options{Only: []string{"other.rego"}}, "no file of the policy is selected"},
	} {
		if _, err := run(t, tt.tests, tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}
