package mutate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
)

func TestSelects(t *testing.T) {
	const name = "policies/cookbook/no_sudo/policy.rego"
	for only, want := range map[string]bool{
		name:                              true,
		"./" + name:                       true,
		"no_sudo/policy.rego":             true,
		"policies":                        true,
		"policies/cookbook/":              true,
		"cookbook/no_sudo":                true,
		"./cookbook":                      true,
		".":                               true,
		"cook":                            false,
		"book/no_sudo":                    false,
		"sudo/policy.rego":                false,
		"cookbook/no_sudo/policy":         false,
		"sandgate":                        false,
		"cookbook/no_sudo/policy.rego/x":  false,
		"cookbook/no_force_push":          false,
		"/elsewhere/cookbook/policy.rego": false,
	} {
		if got := selects(only, name); got != want {
			t.Errorf("%q: got %v, want %v", only, got, want)
		}
	}
	if !selects("/srv/policies/sandgate", "/srv/policies/sandgate/main.rego") {
		t.Error("an absolute directory selects nothing")
	}
}

func TestScoresOfFilesAndDirectories(t *testing.T) {
	var mutants []Mutant
	for file, all := range map[string][]Status{
		"p/sandgate/main.rego":     {Killed, Killed, Killed, Invalid},
		"p/sandgate/lib/git.rego":  {Survived},
		"p/cookbook/a/policy.rego": {Killed, Survived},
		"p/cookbook/b/policy.rego": {Equivalent},
		"p/top.rego":               {Killed},
	} {
		for _, status := range all {
			mutants = append(mutants, Mutant{Site: Site{File: file}, Status: status})
		}
	}
	r := Report{Source: "./p/"}
	r.count(mutants)
	if diff := cmp.Diff([]DirectoryScore{
		{".", Tally{Killed: 1, Score: 100}},
		{"cookbook", Tally{Killed: 1, Survived: 1, Score: 50}},
		{"sandgate", Tally{Killed: 3, Survived: 1, Score: 75}},
	}, r.Directories); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]FileScore{
		{"p/cookbook/a/policy.rego", Tally{Killed: 1, Survived: 1, Score: 50}},
		{"p/cookbook/b/policy.rego", Tally{Score: 100}},
		{"p/sandgate/lib/git.rego", Tally{Survived: 1}},
		{"p/sandgate/main.rego", Tally{Killed: 3, Score: 100}},
		{"p/top.rego", Tally{Killed: 1, Score: 100}},
	}, r.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if r.Killed != 5 || r.Survived != 2 || len(r.Survivors) != 2 || r.Invalid != 1 || r.Equivalent != 1 || r.Score < 71 || r.Score > 72 {
		t.Errorf("got %+v, want 5 of 7", r)
	}
}

// A setting below data.sandgate is no rule of the package of that name, so what
// reads it needs nothing of that package.
func TestClosureLeavesOutWhatIsNotNamed(t *testing.T) {
	mods := map[string]*ast.Module{}
	for name, text := range map[string]string{
		"main.rego": "package sandgate\n\ndecision := data.cookbook",
		"lib.rego":  "package sandgate.lib.a\n\nb := 1",
		"one.rego":  "package cookbook.one\n\nx := data.sandgate.config.settings.one\n\ny := data.sandgate.lib.a.b",
		"two.rego":  "package cookbook.two\n\nx := data.sandgate.decision",
	} {
		mods[name] = ast.MustParseModule(text)
	}
	g := newGraph(mods)
	for begin, want := range map[string][]string{
		"lib.rego":  {"lib.rego"},
		"one.rego":  {"lib.rego", "one.rego"},
		"main.rego": {"lib.rego", "main.rego", "one.rego", "two.rego"},
		"two.rego":  {"lib.rego", "main.rego", "one.rego", "two.rego"},
	} {
		got := g.closure(begin)
		if len(got) != len(want) {
			t.Errorf("%s: got %d modules, want %v", begin, len(got), want)
		}
		for _, name := range want {
			if got[name] == nil {
				t.Errorf("%s: %s is missing", begin, name)
			}
		}
	}
}
