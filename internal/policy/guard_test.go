package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/facts"
)

// guardPolicy is a policy of rules that walk the commands and files in all the
// ways there are.
const guardPolicy = `package sandgate

default decision := {"outcome": "deny", "reasons": [{"rule": "default", "message": "no"}]}

decision := {"outcome": "ask", "reasons": [{"rule": rule, "message": "m"} | some rule in found | {"none"}]}

visible := []

found contains "equal" if {
	some command in input.call.shell.commands
	command.base == "curl"
}

found contains "reversed and upper case" if {
	some command in input.call.shell.commands
	"GIT" == command.base
}

found contains "lower" if {
	some i, command in input.call.shell.commands
	lower(command.base) == "rm"
	i > 0
}

found contains "lower of what is never lower" if {
	some command in input.call.shell.commands
	lower(command.base) == "RM"
}

found contains sprintf("set %s", [command.base]) if {
	some command in input.call.shell.commands
	command.base in {"curl", "Wget", "rm", "wget"}
}

found contains "list" if {
	some command in input.call.shell.commands
	lower(command.base) in ["cat", "ls"]
	count(command.args) > 0
}

found contains "mixed list" if {
	some command in input.call.shell.commands
	command.base in ["ls", 1]
}

found contains "assigned" if {
	command := input.call.shell.commands[_]
	command.base = "make"
}

found contains "ref" if input.call.shell.commands[_].base == "go"

found contains "other than" if {
	some command in input.call.shell.commands
	not command.base == "curl"
}

found contains "two commands" if {
	some one in input.call.shell.commands
	some other in input.call.shell.commands
	one.base == "cat"
	other.base == "ls"
}

found contains "another list" if {
	some command in input.call.files
	command.path == "curl"
}

found contains sprintf("file %s", [file.path]) if {
	some file in input.call.files
	startswith(file.path, "src/")
}

found contains "of a rule" if {
	some command in _commands
	command.base == "curl"
}

_commands := input.call.shell.commands

found contains "complete" if _complete == "curl"

_complete := "curl" if {
	some command in input.call.shell.commands
	command.base in {"curl", "rm"}
	command.base == "curl"
} else := "git" if {
	some command in input.call.shell.commands
	command.base == "git"
}

found contains "object" if _object.ls > 0

_object[command.base] := count(command.args) if {
	some command in input.call.shell.commands
	command.base in {"cat", "ls"}
	command.index < 1
}

found contains "function" if _function("curl")

_function(name) if {
	some command in input.call.shell.commands
	command.base == name
}

found contains sprintf("many %d", [7]) if {
	some command in input.call.shell.commands
	command.base in {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"}
}
`

// revisionOf compiles a policy, with its rules guarded or as they are written.
func revisionOf(t *testing.T, body string, guard bool) *revision {
	t.Helper()
	src := sources{name: "test", files: map[string][]byte{"main.rego": []byte(body)}}
	caps := capabilities()
	mods, err := src.modules(caps, false)
	if err != nil {
		t.Fatal(err)
	}
	store, err := src.store()
	if err != nil {
		t.Fatal(err)
	}
	if guard {
		guardRules(mods)
	}
	compiler, err := compile(t.Context(), mods, store, caps)
	if err != nil {
		t.Fatal(err)
	}
	rev := &revision{id: "test", rules: indexRules(compiler)}
	if rev.decision, err = prepareQuery(compiler, store, newPatternCache(t.Context()), decisionQuery); err != nil {
		t.Fatal(err)
	}
	return rev
}

// TestGuardedRulesSayTheSame decides random scripts by the rules as they are
// written and as they are guarded.
func TestGuardedRulesSayTheSame(t *testing.T) {
	plain, guarded := revisionOf(t, guardPolicy, false), revisionOf(t, guardPolicy, true)
	if n, m := len(plain.decision.compiler.Modules["test/main.rego"].Rules), len(guarded.decision.compiler.Modules["test/main.rego"].Rules); m != n+3 {
		t.Errorf("got %d rules for %d, want one more for the list and two for the set, of which two are one program", m, n)
	}
	e := &Engine{cfg: Config{DecisionTimeout: DefaultDecisionTimeout}}
	rng := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // the same scripts every time
	words := []string{"curl", "git", "GIT", "rm", "RM", "wget", "Wget", "ls", "cat", "make", "go", "/bin/rm", "$x", "q", "x"}
	seen := map[string]bool{}
	for range 600 {
		var parts []string
		for range rng.IntN(4) {
			parts = append(parts, words[rng.IntN(len(words))]+[]string{"", " a", " -x b"}[rng.IntN(3)])
		}
		in := input("test")
		if rng.IntN(5) > 0 {
			in.Call.Shell = facts.AnalyzeShell(strings.Join(parts, "; "), facts.Options{})
			in.Call.Shell.Programs = [][]string{nil, {"stale"}, in.Call.Shell.Programs}[rng.IntN(3)]
		}
		for range rng.IntN(3) {
			in.Call.Files = append(in.Call.Files, facts.AnalyzePath("read", []string{"src/a", "curl", "/etc/x"}[rng.IntN(3)], facts.Options{}))
		}
		in = e.complete(in, plain)
		value, err := in.value()
		if err != nil {
			t.Fatal(err)
		}
		want, got := e.evaluate(t.Context(), plain, value), e.evaluate(t.Context(), guarded, value)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q: the guarded rules say something else (-plain +guarded):\n%s", parts, diff)
		}
		for _, r := range want.Reasons {
			seen[r.Rule] = true
		}
	}
	if len(seen) < 17 {
		t.Errorf("the scripts found only %d rules: %v", len(seen), seen)
	}
}

// TestRawInputGetsItsPrograms: what an author writes into call.shell.programs
// must not decide which of the rules are asked.
func TestRawInputGetsItsPrograms(t *testing.T) {
	e := &Engine{cfg: Config{DecisionTimeout: DefaultDecisionTimeout}}
	e.current.Store(revisionOf(t, guardPolicy, true))
	for _, programs := range []string{``, `, "programs": []`, `, "programs": ["ls"]`, `, "programs": null`} {
		raw := fmt.Sprintf(`{"call": {"tool": "bash", "shell": {"commands": [{"base": 1}, {}, 7, {"base": "curl", "args": []}]%s}}}`, programs)
		out, err := e.EvalRaw(t.Context(), []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		var d Decision
		if err := json.Unmarshal(out, &d); err != nil {
			t.Fatal(err)
		}
		rules := fmt.Sprint(d.Reasons)
		for _, want := range []string{"{equal m", "{set curl m", "{complete m", "{function m"} {
			if !strings.Contains(rules, want) {
				t.Errorf("%s: got %s, want %s", raw, rules, want)
			}
		}
	}
	for _, raw := range []string{`{}`, `{"call": 1}`, `{"call": {"shell": {"commands": 1}}}`, `{"call": {"shell": []}}`} {
		value, err := parseInput([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if got := withPrograms(value); got.Compare(value) != 0 {
			t.Errorf("%s: got %s, want it as it is", raw, got)
		}
	}
}

func TestRulesBesideWithAreNotGuarded(t *testing.T) {
	changed := "\nchanged if _commands != [] with input.call.shell as {\"commands\": [{\"base\": \"curl\"}]}\n"
	other := "\nother if _commands != [] with data.sandgate.config as {}\n"
	for body, want := range map[string]bool{guardPolicy: true, guardPolicy + other: true, guardPolicy + changed: false} {
		src := sources{name: "test", files: map[string][]byte{"main.rego": []byte(body)}}
		mods, err := src.modules(capabilities(), false)
		if err != nil {
			t.Fatal(err)
		}
		guardRules(mods)
		if got := strings.Contains(mods["test/main.rego"].String(), "internal.member_2(\"curl\", input.call.shell.programs)"); got != want {
			t.Errorf("guarded: got %v, want %v", got, want)
		}
	}
}

// manyStyles are rules as people write them.
var manyStyles = map[string]func(i int) string{
	"tool":        func(i int) string { return fmt.Sprintf("input.call.tool == \"tool%d\"", i) },
	"caller":      func(i int) string { return fmt.Sprintf("input.caller.id == \"unix:uid:%d\"", 5000+i) },
	"program":     func(i int) string { return walks("commands", "item.base == \"program%d\"", i) },
	"programs":    func(i int) string { return walks("commands", "item.base in {\"one%[1]d\", \"two%[1]d\"}", i) },
	"file":        func(i int) string { return walks("files", "startswith(item.path, \"secret%d/\")", i) },
	"argument":    func(i int) string { return fmt.Sprintf("startswith(input.call.args.path, \"secret%d/\")", i) },
	"first_file":  func(i int) string { return fmt.Sprintf("startswith(input.call.files[0].path, \"secret%d/\")", i) },
	"environment": func(i int) string { return fmt.Sprintf("input.call.env.PROJECT == \"p%d\"", i) },
}

func walks(list, test string, i int) string {
	if list == "commands" {
		list = "shell.commands"
	}
	return "some item in input.call." + list + "\n\t" + fmt.Sprintf(test, i)
}

// withRules is the default library with n rules more, of one style.
func withRules(tb testing.TB, style func(int) string, n int) *Engine {
	tb.Helper()
	src, err := readSources("")
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	files := map[string]string{}
	for name, body := range src.files {
		files[name] = string(body)
	}
	var extra strings.Builder
	extra.WriteString("package sandgate.extra.acme\n")
	for i := range n {
		fmt.Fprintf(&extra, "\ndeny contains {\"rule\": \"acme-%[1]d\", \"message\": \"rule %[1]d\"} if {\n\t%[2]s\n}\n", i, style(i))
	}
	files["sandgate/extra/acme.rego"] = extra.String()
	writePolicy(tb, dir, files)
	e, err := New(context.Background(), Config{Dir: dir})
	if err != nil || e.Ready() != nil {
		tb.Fatal(err, e.Ready())
	}
	return e
}

func scaleInput(e *Engine) Input {
	in := input("open")
	in.Call.Shell = facts.AnalyzeShell("git status --short", facts.Options{Root: facts.NewMemFS(nil, nil)})
	return e.Complete(in)
}

// TestAThousandRulesCostLittle counts allocations, which are in step with time
// and do not depend on the machine: a thousand rules more that are about other
// tools, callers, programs and paths may cost a fifth at most.
func TestAThousandRulesCostLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles thousands of rules")
	}
	cost := func(e *Engine) float64 {
		in := scaleInput(e)
		return testing.AllocsPerRun(20, func() {
			if d := e.Decide(context.Background(), in); d.Outcome != Allow {
				t.Fatalf("got %+v, want an allow", d)
			}
		})
	}
	one := cost(withRules(t, manyStyles["tool"], 1))
	for style, rule := range manyStyles {
		if thousand := cost(withRules(t, rule, 1000)); thousand > 1.2*one {
			t.Errorf("%s: got %.0f allocations with 1 rule and %.0f with 1,000, want at most a fifth more", style, one, thousand)
		}
	}
}

// BenchmarkRules is a decision with 1, 100 and 1,000 rules more.
func BenchmarkRules(b *testing.B) {
	for style, rule := range manyStyles {
		for _, n := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", style, n), func(b *testing.B) {
				e := withRules(b, rule, n)
				in := scaleInput(e)
				b.ReportAllocs()
				for b.Loop() {
					if d := e.Decide(b.Context(), in); d.Outcome != Allow {
						b.Fatal(d)
					}
				}
			})
		}
	}
}
