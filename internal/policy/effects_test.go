package policy

import (
	"fmt"
	"strings"
	"testing"
)

// effectsInput is what the gate asks of a call that changed n files.
func effectsInput(n int) Input {
	in := Input{Session: SessionInput{ID: "s", Profile: "workspace"}, Ended: &EndedInput{Outcome: "EXITED"}, Totals: &TotalsInput{Modified: n}}
	in.Proposed = &ProposedInput{Args: []byte(`{"command":"rm -r d"}`), Digest: "sha256:p"}
	for i := range n {
		in.Changes = append(in.Changes, ChangeInput{Path: fmt.Sprintf("src/pkg%d/file%d.go", i/10, i), Kind: "modified", Type: "file", Mode: 0o644, Size: 1000})
	}
	return in
}

func TestDecideEffects(t *testing.T) {
	e := newEngine(t, Config{})
	if got := e.DecideEffects(t.Context(), effectsInput(1000)); got.Outcome != Allow || got.Reasons[0].Rule != "effects-allowed" || got.Revision == "" {
		t.Errorf("ordinary changes: got %+v", got)
	}
	hook := effectsInput(2)
	hook.Changes[1].Path = ".git/hooks/pre-push"
	if got := e.DecideEffects(t.Context(), hook); got.Outcome != Deny || got.Reasons[0].Rule != "effects-protected-path" {
		t.Errorf("hook: got %+v", got)
	}
	if got := e.DecideEffects(t.Context(), Input{}); got.Outcome != Deny {
		t.Errorf("nothing: got %+v", got)
	}
}

// TestPoliciesThatCommitByOmissionAreRefused, and those that say nothing of effects
// commit nothing.
func TestPoliciesOfEffects(t *testing.T) {
	const rest = "package sandgate\ndefault decision := {\"outcome\": \"deny\", \"reasons\": [{\"rule\": \"no\", \"message\": \"no\"}]}\nvisible := []\n"
	for _, tt := range []struct{ name, effects, rule, refused string }{
		{name: "none", rule: RuleUndefined},
		{name: "never", effects: `decision := {"outcome": "deny", "reasons": [{"rule": "never", "message": "never"}]}`, rule: "never"},
		{name: "always", effects: `decision := {"outcome": "allow", "reasons": [{"rule": "all", "message": "all"}]}`, refused: "commits the effects"},
		{name: "no decision", effects: `decision := {"outcome": "perhaps"}`, refused: "want allow or deny"},
		{
			name: "of what was proposed", rule: "proposed-7-8",
			effects: `decision := {"outcome": "deny", "reasons": [{"rule": sprintf("proposed-%d-%d", [count(input.proposed.args.command), count(input.proposed.digest)]), "message": "m"}]}`,
		},
		{name: "unknown member", effects: `decision := {"outcome": "deny", "reasons": [{"rule": "never", "message": "never"}], "obligations": {}}`, refused: "obligations"},
		{
			name: "fails", rule: RuleEvaluationError,
			effects: `decision := {"outcome": "deny", "reasons": [{"rule": sprintf("never%d", [1 / (count(input.changes) - 2)]), "message": "never"}]}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, files := t.TempDir(), map[string]string{"main.rego": rest}
			if tt.effects != "" {
				files["effects.rego"] = "package sandgate.effects\n" + tt.effects + "\n"
			}
			writePolicy(t, dir, files)
			e := newEngine(t, Config{Dir: dir})
			if tt.refused != "" {
				if err := e.Ready(); err == nil || !strings.Contains(err.Error(), tt.refused) {
					t.Errorf("got %v, want it refused: %s", err, tt.refused)
				}
				return
			}
			if err := e.Ready(); err != nil {
				t.Fatal(err)
			}
			if got := e.DecideEffects(t.Context(), effectsInput(2)); got.Outcome != Deny || got.Reasons[0].Rule != tt.rule {
				t.Errorf("got %+v, want a deny by %s", got, tt.rule)
			}
		})
	}
}

func BenchmarkDecideEffects(b *testing.B) {
	e, err := New(b.Context(), Config{})
	if err != nil {
		b.Fatal(err)
	}
	in := effectsInput(1000)
	for b.Loop() {
		if got := e.DecideEffects(b.Context(), in); got.Outcome != Allow {
			b.Fatal(got)
		}
	}
}
