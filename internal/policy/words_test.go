package policy

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/sandgate/sandgate/internal/facts"
)

// otherWords is an input of the same shape with words that nobody has.
func otherWords(t *testing.T, value ast.Value, round int) ast.Value {
	t.Helper()
	text := fmt.Sprintf("-w%d/../.git", round)
	word := ast.ObjectTerm(
		ast.Item(keyValue, ast.StringTerm(text)), ast.Item(keyPath, ast.StringTerm("/")), ast.Item(keyGlob, ast.BooleanTerm(true)),
		ast.Item(keyInWorkspace, ast.BooleanTerm(false)), ast.Item(keyReal, ast.StringTerm("/workspace/.git")),
	)
	words := []*ast.Term{ast.ArrayTerm(word, word), ast.ArrayTerm(), ast.InternedNullTerm}[round%3].Value
	call := memberOf(value, keyCall)
	shell := memberOf(call, keyShell)
	if commands, ok := memberOf(shell, keyCommands).(*ast.Array); ok {
		var others []*ast.Term
		commands.Foreach(func(command *ast.Term) {
			other := replaced(command.Value, keyArgs, words)
			if memberOf(other, keyFiles) != nil {
				other = replaced(other, keyFiles, words)
			}
			others = append(others, ast.NewTerm(other))
		})
		shell = replaced(shell, keyCommands, ast.NewArray(others...))
		shell = replaced(shell, keyBytes, ast.Number("77"))
		call = replaced(call, keyShell, shell)
	}
	if files, ok := memberOf(call, keyFiles).(*ast.Array); ok {
		var others []*ast.Term
		files.Foreach(func(file *ast.Term) {
			other := file.Value
			for _, key := range []*ast.Term{keyPath, keyAbs, keyReal} {
				if memberOf(other, key) != nil {
					other = replaced(other, key, ast.String(text))
				}
			}
			others = append(others, ast.NewTerm(other))
		})
		call = replaced(call, keyFiles, ast.NewArray(others...))
	}
	args := ast.NewObject(ast.Item(keyCommand, ast.StringTerm(text)), ast.Item(keyPath, ast.StringTerm(text)))
	return replaced(value, keyCall, replaced(call, keyArgs, args))
}

// watched decides an input and tells whether its words may have been looked at.
func watched(t *testing.T, e *Engine, value ast.Value) (string, bool) {
	t.Helper()
	rev := e.current.Load()
	var watch wordWatch
	if rev.memo != nil {
		watch.use = rev.memo.words
	} else { // it reads what is never the same
		watch.use = newWordUse(rev.decision.compiler, rev.decision.body)
	}
	if watch.use == nil {
		t.Fatal("words are not followed")
	}
	d := e.evaluate(t.Context(), rev, value, &watch)
	return asJSON(t, d), watch.looked
}

// TestWordsThatNobodyLooksAtChangeNothing: where an evaluation came by nothing
// that looks at words, any other words of the same shape are decided alike, and
// have the same shape as a key.
func TestWordsThatNobodyLooksAtChangeNothing(t *testing.T) {
	all := corpusScripts(t)
	every, blind, seeing := 7, 0, 0
	if raced {
		every *= 20
	}
	var scripts []string
	for i := 0; i < len(all); i += every {
		scripts = append(scripts, all[i])
	}
	for name, dir := range corpusPolicies(t) {
		e := newEngine(t, Config{Dir: dir, DecisionTimeout: time.Minute, Ceiling: SandboxObligations{Pids: 50}})
		rev := e.current.Load()
		if rev == nil || rev.memo == nil {
			continue // its package reads session.seq
		}
		for _, profile := range rev.profiles {
			for i, in := range corpus(t, profile, scripts) {
				in = e.Complete(in)
				value, err := in.valueOf(rev.needs, rev.constants)
				if err != nil {
					t.Fatal(err)
				}
				want, looked := watched(t, e, value)
				if looked {
					seeing++
					continue
				}
				blind++
				other := otherWords(t, value, i)
				if got, also := watched(t, e, other); got != want || also {
					t.Fatalf("%s %s: %s: got %s, words looked at: %v, want %s", name, profile, in.Call.Args, got, also, want)
				}
				a, b := newKeyWriter(), newKeyWriter()
				if a.of(value) && b.of(other) && (string(a.shape()) != string(b.shape()) || string(a.whole()) == string(b.whole())) {
					t.Fatalf("%s: the shape of other words is %q, want %q", in.Call.Args, b.shape(), a.shape())
				}
			}
		}
	}
	t.Logf("%d calls whose words nobody looked at, %d others", blind, seeing)
	if blind < 500/every || seeing < 500/every {
		t.Errorf("got %d calls whose words nobody looked at and %d others, want many of both", blind, seeing)
	}
}

const wordsPolicy = `package sandgate

default decision := {"outcome": "deny", "reasons": [{"rule": "none", "message": "none"}]}

decision := {"outcome": "ask", "reasons": [{"rule": "r", "message": sprintf("said %%v", [_said])}]}

visible := set()

%s
`

// looking are policies that say something of words, each by another way.
var looking = []string{
	`_said := input.call.args.command`,
	`_said := input.call.args`,
	`_said := input.call`,
	`_said := input`,
	`_said := {input.call: 1}`,
	`_said := [x | x := input.call.shell.commands]`,
	`_said := {x | some x in input.call.shell.commands}`,
	`_said := json.marshal(input.call)`,
	`_said := count(input.call.shell.commands[0].args)`,
	`_said := count(input.call.shell.commands[0])`,
	`_said := input.call.shell.bytes`,
	`_said := input.call.files`,
	`_said := input.call.files[0].path`,
	`_said := {f.path | some f in input.call.files}`,
	`_said := {f | some f in input.call.files}`,
	`_said := "x" if input.call.files[_].path == "true 1"`,
	`_said := "x" if input.call.files[0].abs == "true 1"`,
	"_said := \"x\" if {\n\tsome f in input.call.files\n\tsome key in [\"path\", \"real\"]\n\tf[key] == \"true 1\"\n}",
	"_said := \"x\" if {\n\tevery f in input.call.files {\n\t\tstartswith(f.real, \"true 1\")\n\t}\n}",
	"_said := \"x\" if {\n\tsome f in input.call.files\n\tnot _g(f)\n}\n\n_g(f) if object.get(f, \"path\", \"\") != \"true 1\"",
	`_said := "x" if input.call.args.command == "true 1"`,
	`_said := "x" if "true 1" == input.call.args.command`,
	`_said := "x" if input.call.args == {"command": "true 1"}`,
	`_said := "x" if {"command": "true 1"} == input.call.args`,
	`_said := "x" if input.call.shell.commands[_].args[_].value == "1"`,
	`_said := "x" if input.call.shell.commands[0].args[0].value == "1"`,
	`_said := "x" if startswith(input.call.args.command, "true 1")`,
	`_said := "x" if input.call.args.command in {"true 1", "false"}`,
	`_said := "x" if "true 1" in input.call.args`,
	"_said := \"x\" if {\n\tc := input.call\n\tc.args.command == \"true 1\"\n}",
	"_said := \"x\" if {\n\tkey := \"args\"\n\tinput.call[key].command == \"true 1\"\n}",
	"_said := \"x\" if {\n\ti := 0\n\tc := input.call.shell.commands[i]\n\tc.args[0].value == \"1\"\n}",
	"_said := \"x\" if {\n\tall := input.call.shell.commands\n\tall[0].args[0].value == \"1\"\n}",
	"_said := \"x\" if {\n\tsome c in input.call.shell.commands\n\tsome arg in c.args\n\targ.value == \"1\"\n}",
	"_said := \"x\" if {\n\tsome key, value in input.call\n\tkey == \"args\"\n\tvalue.command == \"true 1\"\n}",
	"_said := \"x\" if {\n\tsome c in input.call.shell.commands\n\tsome key\n\tc[key][0].value == \"1\"\n}",
	"_said := \"x\" if {\n\tsome c in input.call.shell.commands\n\tobject.get(c, \"args\", [])[0].value == \"1\"\n}",
	"_said := \"x\" if {\n\tsome c in input.call.shell.commands\n\tobject.get(c, [\"args\", 0, \"value\"], \"\") == \"1\"\n}",
	"_said := \"x\" if {\n\tshell := object.get(input.call, \"shell\", {})\n\tshell.commands[0].args[0].value == \"1\"\n}",
	"_said := \"x\" if {\n\tevery c in input.call.shell.commands {\n\t\tc.args[0].value == \"1\"\n\t}\n}",
	"_said := \"x\" if {\n\tevery key, value in input.call {\n\t\t_fits(key, value)\n\t}\n}\n\n" +
		"_fits(key, _) if key != \"args\"\n\n_fits(\"args\", value) if value.command == \"true 1\"",
	"_said := \"x\" if {\n\tsome c in input.call.shell.commands\n\tnot _other(c)\n}\n\n_other(c) if c.args[0].value != \"1\"",
	"_said := _f(input.call)\n\n_f(c) := \"x\" if {\n\tc.tool == \"sh\"\n} else := c.args.command",
	"_said := _f(input.call)\n\n_f({\"args\": {\"command\": c}, \"tool\": _}) := c\n\n_f(c) := c.args.command",
	"_said := _f(1, input.call.shell)\n\n_f(_, s) := \"x\" if {\n\tsome c in s.commands\n\t_g(c)\n}\n\n_g(c) if c.args[0].value == \"1\"",
	"_said := _f([input.call])\n\n_f(list) := list[0].args.command",
	"_said := \"x\" if {\n\t{\"args\": args} = object.filter(input.call, [\"args\"])\n\targs.command == \"true 1\"\n}",
	"_said := \"x\" if {\n\tsome c in input.call.shell.commands\n\t[a] = c.args\n\ta.value == \"1\"\n}",
	"_said := \"x\" if {\n\tsome c, d in {x: 1 | some x in input.call.shell.commands}\n\td == 1\n\tc.args[0].value == \"1\"\n}",
	"_said := \"x\" if _words[\"1\"]\n\n_words contains arg.value if {\n\tsome c in input.call.shell.commands\n\tsome arg in c.args\n}",
	"_said := \"x\" if _of.call.command == \"true 1\"\n\n_of[\"call\"] := input.call.args",
	"_said := \"x\" if {\n\tsome p\n\twalk(input.call, [p, \"1\"])\n}",
	"_said := \"x\" if {\n\tsome c in input.call.shell.commands\n\tc == input.call.shell.commands[0]\n\tjson.marshal(c) != \"\"\n\tc.args[0].value == \"1\"\n}",
	"_said := \"x\" if {\n\tinput.call.tool == \"bash\"\n\tnot _no\n}\n\n_no if input.call.args.command != \"true 1\"",
	"_said := \"x\" if data.sandgate.more.sets[_].found\n",
	"_said := \"x\" if {\n\tx := {\"true 1\": 1}[input.call.args.command]\n\tx == 1\n}",
	"_said := \"x\" if _table[input.call.args.command]\n\n_table := {\"true 1\": true}",
	"_said := \"x\" if {\n\tsome c in input.call.shell.commands\n\tsome f in c.args\n\tsome k in [\"value\"]\n\tf[k] == \"1\"\n}",
	"_said := concat(\" \", [v | v := input.call.shell.commands[_].args[_].value])",
	"_said := {\"a\": input.call.args}",
	"_said[key] := value if some key, value in input.call.args",
	"default _said := \"y\"\n\n_said := \"x\" if {\n\tc := input.call\n\td := c\n\td.args.command == \"true 1\"\n}",
}

// notLooking are policies that say nothing of words.
var notLooking = []string{
	`_said := input.call.tool`,
	`_said := count(input.call.shell.commands)`,
	`_said := count(input.call.files)`,
	`_said := {f.op | some f in input.call.files}`,
	"_said := \"x\" if {\n\tevery f in input.call.files {\n\t\tf.op == \"read\"\n\t\tobject.get(f, \"kind\", \"\") == \"\"\n\t}\n}",
	`_said := {c.base | some c in input.call.shell.commands}`,
	`_said := object.get(input.call.shell, "error", "none")`,
	"_said := \"x\" if {\n\tsome c in input.call.shell.commands\n\tlower(c.base) == \"true\"\n}",
	"_said := \"x\" if {\n\tevery c in input.call.shell.commands {\n\t\tc.name_static\n\t}\n}",
	"_said := \"x\" if {\n\tsome c in input.call.shell.commands\n\tnot _rm(c)\n}\n\n" +
		"_rm(c) if {\n\tc.base == \"rm\"\n\tsome arg in c.args\n\targ.value == \"/\"\n}",
	"_said := \"x\" if {\n\tinput.call.shell\n\tnot input.call.shell.error\n}",
	"_said := \"x\" if {\n\tsome c in input.call.shell.commands\n\t_f(c, 1) == \"true\"\n}\n\n_f(c, _) := c.base",
}

const moreSets = "package sandgate.more.sets.one\n\nfound if input.call.args.command == \"true 1\"\n"

// TestLooksAtWordsAreSeen, whichever way they go: by a rule, a function, the index
// of OPA alone, a comparison, a built-in function.
func TestLooksAtWordsAreSeen(t *testing.T) {
	for want, bodies := range map[bool][]string{true: looking, false: notLooking} {
		for _, body := range bodies {
			e := standingEngine(t, map[string]string{
				"sandgate/main.rego": fmt.Sprintf(wordsPolicy, body), "sandgate/more/one.rego": moreSets,
			})
			rev := e.current.Load()
			for _, script := range []string{"true 1", "true 2"} {
				in := e.Complete(benchInput("workspace", script))
				in.Call.Files = []facts.File{{Op: "read", Path: script, Abs: script, Real: script}}
				value, err := in.valueOf(rev.needs, rev.constants)
				if err != nil {
					t.Fatal(err)
				}
				said, looked := watched(t, e, value)
				if looked != want {
					t.Errorf("%s: %s: words looked at: got %v, want %v", body, script, looked, want)
				}
				for round := range 3 {
					if other, _ := watched(t, e, otherWords(t, value, round)); !looked && other != said {
						t.Errorf("%s: %s: got %s, with other words %s", body, script, said, other)
					}
				}
			}
		}
	}
}

// TestShapesAreNotKnownWhereInputIsReplaced: what a policy replaces by `with` is
// not followed.
func TestShapesAreNotKnownWhereInputIsReplaced(t *testing.T) {
	body := "_said := x if x := _f with input.call.tool as input.call.args.command\n\n_f := input.call.tool"
	e := standingEngine(t, map[string]string{"sandgate/main.rego": fmt.Sprintf(wordsPolicy, body)})
	if e.current.Load().memo.words != nil {
		t.Error("words are followed")
	}
}

// TestShapesAreDecidedOnce: after the second call of a shape nothing is evaluated
// for any other, and each gets what the policy says of it.
func TestShapesAreDecidedOnce(t *testing.T) {
	e := newEngine(t, Config{DecisionTimeout: time.Minute})
	rev := e.current.Load()
	for _, profile := range []string{"workspace", "readonly", "open"} {
		for i := range 30 {
			for _, script := range []string{"wc -l a%d", "ls a%d | wc -l", "git log a%d", "rm -rf a%d", "cat /etc/a%d", "sed -i s/a/b/ a%d"} {
				script = fmt.Sprintf(script, 10+i)
				if i%10 == 9 {
					script = strings.Replace(script, " a", " /usr/../a", 1)
				}
				in := e.Complete(benchInput(profile, script))
				value, err := in.valueOf(rev.needs, rev.constants)
				if err != nil {
					t.Fatal(err)
				}
				want := asJSON(t, stamp(e.evaluate(t.Context(), rev, value), in, rev.id))
				if got := asJSON(t, e.Decide(t.Context(), in)); got != want {
					t.Fatalf("%s: %s: got %s, want %s", profile, script, got, want)
				}
			}
		}
	}
	w := newKeyWriter()
	in := e.Complete(benchInput("workspace", "wc -l never-seen"))
	value, err := in.valueOf(rev.needs, rev.constants)
	if err != nil || !w.of(value) {
		t.Fatal("no key", err)
	}
	if _, found, _ := rev.memo.find(w); !found {
		t.Error("a call of a shape that was decided before is not known")
	}
	if _, exact := rev.memo.decisions.find(w.whole()); exact {
		t.Error("a call of a known shape is kept by itself as well")
	}
}

// TestShapesOfManyAtOnce: those who decide calls of the same shapes at the same
// time all get what the policy says of theirs.
func TestShapesOfManyAtOnce(t *testing.T) {
	e := newEngine(t, Config{DecisionTimeout: time.Minute})
	want := map[string]Outcome{"wc -l a%d": Allow, "rm -rf /a%d": Deny, "curl a%d": Ask, "cat a%d | wc": Allow}
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			for i := range 40 {
				for script, outcome := range want {
					in := benchInput("workspace", fmt.Sprintf(script, 1000+100*worker+i))
					if d := e.Decide(t.Context(), in); d.Outcome != outcome || d.Profile != "workspace" {
						t.Errorf("%s: got %+v, want %s", in.Call.Args, d, outcome)
					}
				}
			}
		})
	}
	wait.Wait()
}
