package policy

import (
	"slices"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// TestBarredRules tells rules that can never hold from all others.
func TestBarredRules(t *testing.T) {
	const head = "package sandgate.p\n\nimport data.sandgate.lib\n\n"
	docs := map[string]any{"sandgate": map[string]any{"config": map[string]any{"modes": map[string]any{"a": "warn"}, "list": []any{"x"}}}}
	for _, tt := range []struct {
		name, rule string
		want       bool
	}{
		{"no package", `x contains y if some y in data.sandgate.extra[_].deny`, true},
		{"no package, two variables", "x contains f if {\n\tsome e\n\tsome f in data.sandgate.extra[e].deny\n}", true},
		{"in the head", `x contains data.sandgate.extra[_].transform`, true},
		{"in an object of the head", `x := {"a": data.sandgate.config.ask}`, true},
		{"compared", `x if data.sandgate.config.none != {}`, true},
		{"an argument of a call", `x if count(data.sandgate.none) > 1`, true},
		{"in a function", `f(y) := z if z := data.sandgate.none[y]`, true},
		{"a name that only begins alike", `x := data.sandgate.li`, true},

		{"in no package", `x contains l if some l in data.sandgate[input.session.profile].labels`, true},
		{"in no package, any depth", `x := data.sandgate[_].none[_].x`, true},
		{"in some package", `x := data.sandgate[input.session.profile].value`, false},
		{"in a file", `x := data.sandgate[input.session.profile].modes.a`, false},

		{"a document of a file", `x contains r if some r, _ in data.sandgate.config.modes`, false},
		{"below a list", `x if data.sandgate.config.list[0] == "x"`, false},
		{"a rule", `x if data.sandgate.lib.value == 1`, false},
		{"below the value of a rule", `x if data.sandgate.lib.value.a.b`, false},
		{"below a rule with a variable in its name", `x if data.sandgate.lib.table.k.z`, false},
		{"a package above rules", `x := data.sandgate.lib`, false},
		{"a package without rules", `x := data.sandgate.empty`, false},
		{"any profile", `x if data.sandgate.lib[input.session.profile].none`, false},
		{"negated", `x if not data.sandgate.none`, false},
		{"in a comprehension", `x := [y | y := data.sandgate.none]`, false},
		{"in every", "x if {\n\tevery y in [] {\n\t\ty == data.sandgate.none\n\t}\n}", false},
		{"a default", `default x := 1`, false},
		{"with an else", `x := 1 if data.sandgate.none else := 2`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mods := map[string]*ast.Module{}
			for name, text := range map[string]string{
				"p": head + tt.rule, "empty": "package sandgate.empty",
				"lib": "package sandgate.lib\n\nvalue := {\"a\": {\"b\": 1}}\n\ntable[k] := v if some k, v in input.tools",
			} {
				mods[name] = ast.MustParseModuleWithOpts(text, ast.ParserOptions{RegoVersion: ast.RegoV1})
			}
			barRules(mods, docs)
			for _, rule := range mods["p"].Rules {
				if got := rule.Body[0].String() == `input.schema = ""`; got != tt.want {
					t.Errorf("barred: got %v, want %v: %s", got, tt.want, rule)
				}
			}
			for _, rule := range mods["lib"].Rules {
				if rule.Body[0].String() == `input.schema = ""` {
					t.Errorf("barred: %s", rule)
				}
			}
		})
	}
}

func TestPolicyThatReplacesDocumentsIsNotBarred(t *testing.T) {
	mod := ast.MustParseModuleWithOpts("package p\n\nx := data.none\n\ny if x == 1 with data.none as 1", ast.ParserOptions{RegoVersion: ast.RegoV1})
	barRules(map[string]*ast.Module{"p": mod}, nil)
	if got := mod.Rules[0].Body[0].String(); got == `input.schema = ""` {
		t.Errorf("got %s, want the rule as it was", mod.Rules[0])
	}
}

// TestBarredRulesDecideAsBefore: the packages of an operator count as soon as
// they are there, and what is wrong with a rule that never holds is found.
func TestBarredRulesDecideAsBefore(t *testing.T) {
	dir := t.TempDir()
	files := policyOf(`{"outcome": "allow", "reasons": [{"rule": r, "message": "m"} | some r in found]}`)
	files["more.rego"] = "package sandgate\n\nfound contains \"base\"\n\nfound contains r if some r in data.sandgate.extra[_].found\n"
	writePolicy(t, dir, files)
	e := newEngine(t, Config{Dir: dir})
	want := func(rules ...string) {
		t.Helper()
		if err := e.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range e.Decide(t.Context(), input("test")).Reasons {
			got = append(got, r.Rule)
		}
		if !slices.Equal(got, rules) {
			t.Errorf("got %v, want %v", got, rules)
		}
	}
	want("base")
	writePolicy(t, dir, map[string]string{"extra.rego": "package sandgate.extra.mine\n\nfound contains \"more\"\n"})
	want("base", "more")
	writePolicy(t, dir, map[string]string{"extra.rego": "package sandgate.extra.mine\n\nx if data.sandgate.none.y == nowhere\n"})
	if err := e.Reload(t.Context()); err == nil {
		t.Error("a rule with an unsafe variable was taken since it can never hold")
	}
}
