package policy

import (
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

func TestInlineFunctions(t *testing.T) {
	const rules = `package p

acts(x) if known(x)

acts(x) if x == "c"

known(x) if x == "a"

known(y) if y == "b"

valued(x) if value(x)

value(x) := 1 if x == "a"

turned(x, y) if pair(y, x)

pair(x, y) if x < y

itself(x) if itself(x)

elsewhere(x) if elsewhere_too(x)

elsewhere_too(x) if { x == "a" } else := false
`
	count := func(mod *ast.Module) map[string]int {
		n := map[string]int{}
		for _, rule := range mod.Rules {
			n[rule.Head.Name.String()]++
		}
		return n
	}
	parse := func(text string) *ast.Module {
		return ast.MustParseModuleWithOpts(text, ast.ParserOptions{RegoVersion: ast.RegoV1})
	}
	mod := parse(rules)
	inlineFunctions(map[string]*ast.Module{"p": mod})
	got := count(mod)
	for name, want := range map[string]int{"acts": 3, "known": 2, "valued": 1, "value": 1, "turned": 1, "pair": 1, "itself": 1, "elsewhere": 1, "elsewhere_too": 1} {
		if got[name] != want {
			t.Errorf("%s: got %d rules, want %d", name, got[name], want)
		}
	}
	for _, rule := range mod.Rules {
		if asked := askedFunction(rule); rule.Head.Name == "acts" && asked != nil {
			t.Errorf("got %s, want what %s asks for", rule, asked)
		}
	}

	replacing := parse("package p\n\nacts(x) if known(x)\n\nknown(x) if x == \"a\"\n\nknown(x) if x == \"b\"\n\nt if acts(\"z\") with known as true\n")
	inlineFunctions(map[string]*ast.Module{"p": replacing})
	if n := count(replacing)["acts"]; n != 1 {
		t.Errorf("where a function is replaced: got %d rules, want 1", n)
	}
}
