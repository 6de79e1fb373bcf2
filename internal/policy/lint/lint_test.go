package lint

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/policy"
)

const goodMain = `# METADATA
# title: test
# description: a policy
package sandgate

# METADATA
# title: decision
# description: what is done
default decision := {"outcome": "deny", "reasons": [{"rule": "none", "message": "no"}]}

# METADATA
# title: visible
# description: what is shown
visible contains tool.name if some tool in input.tools
`

func lintOf(t *testing.T, files map[string]string, disable ...string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src, err := policy.OpenSource(dir)
	if err != nil {
		t.Fatal(err)
	}
	found, err := Run(t.Context(), src, Options{Disable: disable})
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{}
	for _, f := range found {
		if f.File == "" || f.Line == 0 || f.Message == "" {
			t.Errorf("half a finding: %+v", f)
		}
		texts = append(texts, fmt.Sprintf("%s:%d %s", strings.TrimPrefix(f.File, dir+"/"), f.Line, f.Rule))
	}
	return slices.Compact(texts)
}

func TestAGoodPolicyHasNoFindings(t *testing.T) {
	if got := lintOf(t, map[string]string{"sandgate/main.rego": goodMain, "sandgate/config/data.json": `{"a": 1}`}); len(got) > 0 {
		t.Errorf("got %q", got)
	}
}

func TestTheDefaultLibraryIsClean(t *testing.T) {
	src, err := policy.OpenSource("")
	if err != nil {
		t.Fatal(err)
	}
	found, err := Run(t.Context(), src, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Errorf("%s:%d:%d: %s: %s", f.File, f.Line, f.Col, f.Rule, f.Message)
	}
}

// TestEachRuleFinds gives each rule what it is for, and what it must leave alone.
func TestEachRuleFinds(t *testing.T) {
	const profile = "# METADATA\n# title: p\n# description: p\npackage sandgate.profiles.p\n\n"
	const meta = "# METADATA\n# title: a\n# description: b\n"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"no parse", map[string]string{"sandgate/x.rego": "package sandgate\nx := ]\n"}, []string{"sandgate/x.rego:2 parse"}},
		{"an empty file", map[string]string{"sandgate/x.rego": ""}, []string{"sandgate/x.rego:1 parse"}},
		{"not formatted", map[string]string{"sandgate/profiles/p.rego": profile + meta + "x  := 1\n"}, []string{"sandgate/profiles/p.rego:9 format"}},
		{"a wrong type", map[string]string{"sandgate/profiles/p.rego": profile + meta + "x if input.call.nothing\n"}, []string{"sandgate/profiles/p.rego:9 compile"}},
		{
			"a forbidden built-in",
			map[string]string{"sandgate/profiles/p.rego": profile + meta + "x := http.send({\"method\": \"GET\", \"url\": \"http://a\"})\n"},
			[]string{"sandgate/profiles/p.rego:9 forbidden-builtin"},
		},
		{"no default", map[string]string{"sandgate/main.rego": strings.Replace(goodMain, "default decision", "decision", 1)}, []string{"sandgate/main.rego:9 default-deny"}},
		{
			"a default that allows",
			map[string]string{"sandgate/main.rego": strings.Replace(goodMain, `"deny"`, `"allow"`, 1)},
			[]string{"sandgate/main.rego:9 default-allow", "sandgate/main.rego:9 default-deny"},
		},
		{"no entry point", map[string]string{"sandgate/main.rego": "# METADATA\n# title: a\n# description: b\npackage sandgate\n"}, []string{"sandgate/main.rego:4 entry-point"}},
		{"a default allow", map[string]string{"sandgate/profiles/p.rego": profile + meta + "default allow := true\n"}, []string{"sandgate/profiles/p.rego:9 default-allow"}},
		{"count of deny", map[string]string{"sandgate/profiles/p.rego": profile + meta + "allow if count(deny) == 0\n\n" + meta + "deny := {1 | false}\n"}, []string{"sandgate/profiles/p.rego:9 allow-from-empty-deny"}},
		{"not deny", map[string]string{"sandgate/profiles/p.rego": profile + meta + "allow if not deny\n\n" + meta + "deny if input.call.tool == \"x\"\n"}, []string{"sandgate/profiles/p.rego:9 allow-from-empty-deny"}},
		{
			"an outcome from an empty set",
			map[string]string{"sandgate/profiles/p.rego": profile + "_out := \"allow\" if _deny == set()\n\n_deny := {1 | false}\n"},
			[]string{"sandgate/profiles/p.rego:6 allow-from-empty-deny"},
		},
		{
			"a reason of its own", map[string]string{
				"sandgate/profiles/p.rego": profile + "_out := \"allow\" if {\n\t_deny == set()\n\tinput.call.tool == \"x\"\n}\n\n_deny := {1 | false}\n",
			}, nil,
		},
		{"metadata that is read", map[string]string{"sandgate/profiles/p.rego": profile + meta + "x := rego.metadata.rule().title\n"}, []string{"sandgate/profiles/p.rego:9 metadata-id"}},
		{"no metadata", map[string]string{"sandgate/profiles/p.rego": "package sandgate.profiles.p\n\nx := 1\n"}, []string{"sandgate/profiles/p.rego:1 missing-metadata", "sandgate/profiles/p.rego:3 missing-metadata"}},
		{
			"a finding without its id",
			map[string]string{"sandgate/profiles/p.rego": profile + meta + "deny contains {\"rule\": \"r\", \"message\": \"m\"}\n"},
			[]string{"sandgate/profiles/p.rego:9 finding-metadata"},
		},
		{
			"a finding with another id",
			map[string]string{"sandgate/profiles/p.rego": profile + meta + "# custom:\n#   rule: s\ndeny contains {\"rule\": \"r\", \"message\": \"m\"}\n"},
			[]string{"sandgate/profiles/p.rego:11 finding-metadata"},
		},
		{
			"an id with two effects",
			map[string]string{"sandgate/profiles/p.rego": profile + meta + "# custom:\n#   rule: r\ndeny contains {\"rule\": \"r\", \"message\": \"m\"}\n\n" +
				meta + "# custom:\n#   rule: r\nask contains {\"rule\": \"r\", \"message\": \"m\"}\n"},
			[]string{"sandgate/profiles/p.rego:11 duplicate-rule-id"},
		},
		{
			"a reserved id",
			map[string]string{"sandgate/profiles/p.rego": profile + meta + "# custom:\n#   rule: daemon:x\ndeny contains {\"rule\": \"daemon:x\", \"message\": \"m\"}\n"},
			[]string{"sandgate/profiles/p.rego:11 reserved-rule-id"},
		},
		{"another directory", map[string]string{"sandgate/elsewhere/x.rego": profile + meta + "x := 1\n"}, []string{"sandgate/elsewhere/x.rego:4 package-directory"}},
		{"a file of a package", map[string]string{"sandgate/profiles/p_more.rego": profile + meta + "x := 1\n"}, nil},
		{"walk", map[string]string{"sandgate/profiles/p.rego": profile + meta + "x if {\n\twalk(input.call.args, [_, v])\n\tv == 1\n}\n"}, []string{"sandgate/profiles/p.rego:10 no-walk"}},
		{"print", map[string]string{"sandgate/profiles/p.rego": profile + meta + "x if print(\"a\")\n"}, []string{"sandgate/profiles/p.rego:9 print"}},
		{"the text of a script", map[string]string{"sandgate/profiles/p.rego": profile + meta + "x if regex.match(`rm`, input.call.args.command)\n"}, []string{"sandgate/profiles/p.rego:9 text-matching"}},
		{"data that is none", map[string]string{"sandgate/config/data.json": "[1]"}, []string{"sandgate/config/data.json:1 data-file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{"sandgate/main.rego": goodMain}
			maps.Copy(files, tt.files)
			if diff := cmp.Diff(tt.want, lintOf(t, files), cmp.Transformer("", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIgnoreOnALine(t *testing.T) {
	const rule = "\n# METADATA\n# title: x\n# description: y\nx if {\n\t# lint:ignore %s: it is short\n\twalk(input.call.args, [_, v])\n\tv == 1\n}\n"
	if got := lintOf(t, map[string]string{"sandgate/main.rego": goodMain + fmt.Sprintf(rule, "no-walk")}); len(got) > 0 {
		t.Errorf("got %q", got)
	}
	if got := lintOf(t, map[string]string{"sandgate/main.rego": goodMain + fmt.Sprintf(rule, "print")}); len(got) != 1 {
		t.Errorf("another rule is ignored: got %q", got)
	}
}

func TestDisable(t *testing.T) {
	files := map[string]string{"sandgate/main.rego": goodMain + "\nx  := 1\n"}
	if got := lintOf(t, files, "format", "missing-metadata"); len(got) > 0 {
		t.Errorf("got %q", got)
	}
	src, err := policy.OpenSource("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), src, Options{Disable: []string{"fromat"}}); err == nil || !strings.Contains(err.Error(), "no lint rule fromat") {
		t.Errorf("got %v", err)
	}
	if !slices.IsSortedFunc(Rules(), func(a, b Rule) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("the rules are not sorted")
	}
}
