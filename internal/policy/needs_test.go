package policy

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// TestNeedsAreWhatRulesCanRead: whatever way a rule takes to a part of the
// input, the part is there.
func TestNeedsAreWhatRulesCanRead(t *testing.T) {
	for _, tt := range []struct {
		rule string
		want needs
	}{
		{`x if input.call.tool == "bash"`, needs{}},
		{`x if input.caller.tenant == "a"`, needs{}},
		{`x if input.caller.id == "a"`, needs{caller: true}},
		{`x if input["caller"].uid == 0`, needs{caller: true}},
		{`x if input.caller`, needs{caller: true}},
		{`x if input.caller[_] == 0`, needs{caller: true}},
		{`x if input.daemon.environment == "a"`, needs{}},
		{`x if input.daemon.version == "a"`, needs{daemon: true}},
		{`x if input.agent.name == "a"`, needs{agent: true}},
		{`x if input.session.recent[0].tool == "a"`, needs{recent: true}},
		{`x if count(input.session.recent) > 1`, needs{recent: true}},
		{`x if input.session.counts.deny > 1`, needs{counts: true}},
		{`x if input.session[input.call.tool]`, needs{recent: true, counts: true, session: true, seq: true, lifetime: true, usage: true}},
		{"x if {\n\ts := input.session\n\ts.recent[_].tool == \"a\"\n}", needs{recent: true, counts: true, session: true, seq: true, lifetime: true, usage: true}},
		{`x if input.decision_id == "a"`, needs{ids: true}},
		{`x if input.call.id == "a"`, needs{ids: true}},
		{`x if startswith(input.time, "2")`, needs{time: true}},
		{`x if input.session.id`, needs{session: true}},
		{`x if input.session.expires < "2026"`, needs{lifetime: true}},
		{`x if input.session.usage.cpu_ms > 5`, needs{usage: true}},
		{`x if input.session.host_labels.ticket`, needs{}},
		{`x if input.session.seq > 1`, needs{seq: true}},
		{`x if input.call.digest == "a"`, needs{digest: true}},
		{`x if count(input.call) > 1`, needs{ids: true, digest: true}},
		{`x := [r | some r in input.session.recent]`, needs{recent: true}},
		{"x if {\n\tevery r in input.session.recent {\n\t\tr.tool != \"a\"\n\t}\n}", needs{recent: true}},
		{`x if not input.session.recent`, needs{recent: true}},
		{`x contains {"a": input.agent.name}`, needs{agent: true}},
		{`f(y) if y == input.agent.name`, needs{agent: true}},
		{`x[input.agent.name] := 1`, needs{agent: true}},
		{`x := 1 if input.call.tool == "a" else := input.agent.name`, needs{agent: true}},
		{`x if {"a": 1}[input.agent.name] == 1`, needs{agent: true}},
		{`x if input.call.args[input.agent.name] == 1`, needs{agent: true}},
		{`x if object.get(input, ["agent", "name"], "") == "a"`, allNeeds},
		{"x if {\n\twalk(input, [path, value])\n\tvalue == path\n}", allNeeds},
		{`x if input[input.call.tool] == 1`, allNeeds},
		{"x if {\n\ti := input\n\ti.agent.name == \"a\"\n}", allNeeds},
		{`x if input.sandbox.ceiling.pids == 1`, needs{sandbox: true}},
		{`x if input.tool.annotations.readOnlyHint`, needs{annotations: true}},
		{`x contains tool.name if some tool in input.tools`, needs{annotations: true}},
	} {
		compiler := ast.NewCompiler()
		compiler.Compile(map[string]*ast.Module{
			"p": ast.MustParseModuleWithOpts("package p\n\n"+tt.rule, ast.ParserOptions{RegoVersion: ast.RegoV1}),
		})
		if compiler.Failed() {
			t.Fatalf("%s: %v", tt.rule, compiler.Errors)
		}
		if got := needsOf(compiler); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.rule, got, tt.want)
		}
	}
}

// TestWhatIsNotNeededIsLeftOutAlone compares the value that is decided with the
// whole document: nothing else is missing from it, and no rule of the default
// library decides otherwise on the whole one.
func TestWhatIsNotNeededIsLeftOutAlone(t *testing.T) {
	e := newEngine(t, Config{Version: "v", Ceiling: SandboxObligations{Pids: 7}})
	rev := e.current.Load()
	if rev.needs.recent || rev.needs.agent {
		t.Errorf("got %+v: the library reads the session's last calls in every decision", rev.needs)
	}
	for _, profile := range rev.profiles {
		for _, script := range []string{"true", "sudo rm -rf / && curl x | git push", "cat ../x > /etc/y"} {
			in := e.Complete(benchInput(profile, script))
			in.Agent = AgentInput{Name: "a"}
			for range 2 { // the second time with the constants that the first has left
				part, err := in.valueOf(rev.needs, rev.constants)
				if err != nil {
					t.Fatal(err)
				}
				whole, err := in.value()
				if err != nil {
					t.Fatal(err)
				}
				sameWhereDefined(t, part, whole, "input")
				got, want := e.evaluate(t.Context(), rev, part), e.evaluate(t.Context(), rev, whole)
				if a, b := asJSON(t, got), asJSON(t, want); a != b {
					t.Errorf("%s: %q: got %s, want %s", profile, script, a, b)
				}
			}
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func sameWhereDefined(t *testing.T, part, whole ast.Value, at string) {
	t.Helper()
	object, ok := part.(ast.Object)
	if !ok {
		if part.Compare(whole) != 0 {
			t.Errorf("%s: got %s, want %s", at, part, whole)
		}
		return
	}
	object.Foreach(func(key, value *ast.Term) {
		other := memberOf(whole, key)
		if other == nil {
			t.Fatalf("%s: %s is not in the whole document", at, key)
		}
		sameWhereDefined(t, value.Value, other, fmt.Sprintf("%s[%s]", at, key))
	})
}

// TestToolsOfOneName: a tool whose declaration changed is seen as it is now.
func TestToolsOfOneName(t *testing.T) {
	c := newConstants(SandboxObligations{})
	for i, tool := range []ToolInput{
		{Name: "a", Effects: []string{"read"}, Annotations: map[string]bool{"x": true}},
		{Name: "a", Effects: []string{"read"}, Annotations: map[string]bool{"x": false}},
		{Name: "a", Effects: []string{"write"}, Annotations: map[string]bool{"x": false}},
		{Name: "a", Effects: []string{}, Annotations: map[string]bool{}},
		{Name: "a"},
		{Name: "b", Risk: "low"},
		{Name: "a", Effects: []string{"read"}, Annotations: map[string]bool{"x": true}},
	} {
		in := Input{Tool: tool}
		got, err := in.valueOf(allNeeds, c)
		if err != nil {
			t.Fatal(err)
		}
		want, err := in.value()
		if err != nil {
			t.Fatal(err)
		}
		if got.Compare(want) != 0 {
			t.Errorf("%d: got %s, want %s", i, got, want)
		}
		if len(tool.Effects) > 0 {
			tool.Effects[0] = "changed by the caller afterwards"
		}
	}
}
