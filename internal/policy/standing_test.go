package policy

import (
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// stands tells whether the document at a reference is one that is kept.
func stands(t *testing.T, s *standing, ref string) bool {
	t.Helper()
	return s.docs.find(ast.MustParseRef(ref)) != nil
}

func standingEngine(t *testing.T, files map[string]string) *Engine {
	t.Helper()
	dir := t.TempDir()
	writePolicy(t, dir, files)
	e := newEngine(t, Config{Dir: dir})
	if err := e.Ready(); err != nil {
		t.Fatal(err)
	}
	return e
}

const standingPolicy = `package sandgate

default decision := {"outcome": "deny", "reasons": [{"rule": "none", "message": "none"}]}

decision := {"outcome": "ask", "reasons": [{"rule": "r", "message": concat(" ", [said, _of_kind, _table.x, _asked])}]}

said := input.call.args.command

visible := set()

_table := {"x": "y"}

_of_kind := sprintf("%s %s", [input.session.profile, input.call.tool])

_asked := _deeper

_deeper := input.call.args.command

_whole := input.session

_kinds[name] := true if some name in input.tool.effects

_first := "a" if {
	input.tool.name == "bash"
} else := input.call.cwd

_f(x) := x

_calls := _f(input.call.args)
`

func TestStandingDocumentsLookAtTheKindAlone(t *testing.T) {
	e := standingEngine(t, map[string]string{"sandgate/main.rego": standingPolicy})
	s := e.current.Load().standing
	for ref, want := range map[string]bool{
		"data.sandgate._table": true, "data.sandgate._of_kind": true, "data.sandgate._kinds": true, "data.sandgate.visible": true,
		"data.sandgate.decision": false, "data.sandgate.said": false, "data.sandgate._asked": false, "data.sandgate._whole": false,
		"data.sandgate._first": false, "data.sandgate._f": false, "data.sandgate._calls": false,
		"data.sandgate": false, "data.sandgate._kinds.read": false, "data.sandgate.none": false, "input.session": false,
	} {
		if got := stands(t, s, ref); got != want {
			t.Errorf("%s: got %v, want %v", ref, got, want)
		}
	}
}

// TestStandingDocumentsAreOfTheirKind decides calls of several kinds in turns, so
// that each would show what was kept of another.
func TestStandingDocumentsAreOfTheirKind(t *testing.T) {
	e := standingEngine(t, map[string]string{"sandgate/main.rego": standingPolicy})
	for range 3 {
		for _, profile := range []string{"a", "b"} {
			for _, tool := range []string{"bash", "sh"} {
				for _, command := range []string{"x", "y"} {
					in := input(profile)
					in.Call.Tool, in.Tool.Name = tool, tool
					in.Call.Args = []byte(`{"command":"` + command + `"}`)
					e.current.Load().memo = nil // so that each is evaluated
					d := e.Decide(t.Context(), in)
					if want := strings.Join([]string{command, profile, tool, "y", command}, " "); len(d.Reasons) != 1 || d.Reasons[0].Message != want {
						t.Fatalf("got %+v, want %q", d.Reasons, want)
					}
				}
			}
		}
	}
	if kinds := len(e.current.Load().standing.kinds); kinds != 4 {
		t.Errorf("got %d kinds, want 4", kinds)
	}
}

// TestAFailingDocumentIsNotKept: two rules that disagree fail each decision, not
// only the first.
func TestAFailingDocumentIsNotKept(t *testing.T) {
	e := standingEngine(t, map[string]string{"sandgate/main.rego": `package sandgate

default decision := {"outcome": "deny", "reasons": [{"rule": "none", "message": "none"}]}

decision := {"outcome": "ask", "reasons": [{"rule": "r", "message": _either}]} if input.session.profile == "p"

visible := set()

_either := "a" if input.tool.name == "bash"

_either := "b" if input.call.tool == "bash"
`})
	for range 3 {
		if d := e.Decide(t.Context(), input("p")); d.Reasons[0].Rule != RuleEvaluationError {
			t.Fatalf("got %+v, want %s", d.Reasons, RuleEvaluationError)
		}
	}
}

func TestNothingStandsWhereDocumentsAreReplaced(t *testing.T) {
	e := standingEngine(t, map[string]string{"sandgate/main.rego": standingPolicy +
		"\n_replaced if _of_kind == \"z\" with input.session.profile as \"z\"\n"})
	if stands(t, e.current.Load().standing, "data.sandgate._table") {
		t.Error("a document stands")
	}
}

// TestDecisionsAreTheSameWithoutWhatStands decides calls of the corpus as the
// engine does and, from the same document, without documents that stand and with
// no script bare.
func TestDecisionsAreTheSameWithoutWhatStands(t *testing.T) {
	e := newEngine(t, Config{Ceiling: SandboxObligations{Pids: 100, WallTimeMs: 600_000}})
	compared := 0
	for _, profile := range e.Status().Profiles {
		for i, in := range corpus(t, profile, corpusScripts(t)) {
			if i%23 != 0 {
				continue
			}
			in = e.Complete(in)
			value, err := in.value()
			if err != nil {
				continue
			}
			got, want := e.Decide(t.Context(), in), e.decideValue(t.Context(), value)
			if asJSON(t, got) != asJSON(t, want) {
				t.Errorf("%s %s: got %+v, want %+v", profile, in.Call.Args, got, want)
			}
			compared++
		}
	}
	if compared < 500 {
		t.Errorf("only %d calls were compared", compared)
	}
}
