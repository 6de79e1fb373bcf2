package policy

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/facts"
)

// TestMemoForgetsAGrantWithTheInput: what was decided by a grant is not decided so
// once the grant is gone, and again when it is back.
func TestMemoForgetsAGrantWithTheInput(t *testing.T) {
	e := newEngine(t, Config{})
	if e.current.Load().memo == nil {
		t.Fatal("the default library has no memo, so this tests nothing")
	}
	const script = "git commit -m 'a message'"
	grant := GrantInput{
		ID: "g1", Scope: "session", Tool: "bash", Cwd: "/workspace", Rules: []string{"not-read-only", "not-allowed"}, Summary: "git commit",
		Commands: []GrantCommand{{Name: "git", Sub: "commit", Options: []string{"-m"}, Words: []string{}, Texts: []string{"-m"}, Under: []string{}}},
	}
	none := int64(0)
	call := func(granted ...GrantInput) Decision {
		t.Helper()
		in := Input{
			Caller:  CallerInput{ID: "cli:test", Transport: "cli"},
			Session: SessionInput{ID: "s", Profile: "readonly", Granted: granted},
			Call: CallInput{
				ID: "c", Tool: "bash", Args: json.RawMessage(`{"command":"` + script + `"}`), Cwd: "/workspace", StdinBytes: &none,
				Shell: facts.AnalyzeShell(script, facts.Options{Root: facts.NewMemFS(nil, nil)}),
			},
			Tool: ToolInput{Name: "bash", Source: "builtin", Effects: []string{"exec"}},
		}
		for _, g := range granted {
			in.Session.Grants = append(in.Session.Grants, g.ID)
		}
		return e.Decide(t.Context(), in)
	}
	for round := range 3 {
		if d := call(); d.Outcome != Ask || d.Grants != nil {
			t.Fatalf("round %d without a grant: got %s by %v, want ask", round, d.Outcome, d.Grants)
		}
		d := call(grant)
		if d.Outcome != Allow || !cmp.Equal(d.Grants, []string{"g1"}) {
			t.Fatalf("round %d with the grant: got %s by %v: %+v, want allow by g1", round, d.Outcome, d.Grants, d.Reasons)
		}
		other := grant
		other.ID = "g2"
		if d := call(other); !cmp.Equal(d.Grants, []string{"g2"}) {
			t.Fatalf("round %d with another grant: got allowed by %v, want g2", round, d.Grants)
		}
	}
}
