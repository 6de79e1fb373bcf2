package scenario

import (
	"os"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/policy"
)

func TestParseTSV(t *testing.T) {
	raw := "# decision\tcommand\n# profile: workspace\n# cwd=/workspace; /workspace/link -> /etc, /workspace/rel -> ../outside.\n" +
		"allow\tprintf 'a\\\\n\\tb'\tan escape\nask\tmake\tno\n"
	suite, err := ParseTSV("a.tsv", []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	if len(suite.Cases) != 2 || suite.Profile != "workspace" || suite.Cases[1].Profile != "workspace" || suite.Cases[0].Line != 4 {
		t.Errorf("got %+v", suite)
	}
	if got := string(suite.Cases[0].Call.Args); got != `{"command":"printf 'a\\n\tb'"}` {
		t.Errorf("arguments: got %s", got)
	}
	if suite.Cases[0].Want.MayBeRefused || !suite.Cases[1].Want.MayBeRefused {
		t.Errorf("may be refused: got %+v", suite.Cases)
	}
	if target, err := suite.Workspace.Readlink("rel"); err != nil || target != "../outside" {
		t.Errorf("symlink: got %q, %v", target, err)
	}
	for _, tt := range []struct{ raw, want string }{
		{"", "no cases"},
		{"allow ls\n", "a.tsv:1: want three fields"},
		{"# x\npermit\tls\ty\n", `a.tsv:2: decision "permit"`},
	} {
		if _, err := ParseTSV("a.tsv", []byte(tt.raw)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %q", tt.raw, err, tt.want)
		}
	}
}

// TestTheLabelledCommandsAsASuite runs the kept files the way `policy test` does.
func TestTheLabelledCommandsAsASuite(t *testing.T) {
	runner := newRunner(t, policy.Config{})
	raw, err := os.ReadFile("../../policies/testdata/bash_readonly.tsv")
	if err != nil {
		t.Fatal(err)
	}
	suite, err := ParseTSV("bash_readonly.tsv", raw)
	if err != nil {
		t.Fatal(err)
	}
	results := runner.Run(t.Context(), suite)
	if len(results) < 100 {
		t.Fatalf("got %d results", len(results))
	}
	for _, r := range results {
		if !r.Passed() {
			t.Errorf("%d: %s: %q", r.Case.Line, r.Case.Name, r.Problems)
		}
	}
}
