package approval_test

import (
	"testing"
	"time"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
)

// end ends the session of a bench, as the gate does.
func (b *bench) end(t *testing.T) {
	t.Helper()
	b.tape.before = nil
	if _, err := b.tape.Append(t.Context(), journal.Entry{Kind: journal.KindSession, Caller: requester, Session: "s", Data: map[string]any{"event": "ended"}}); err != nil {
		t.Error(err)
	}
	b.EndSession(requester, "s")
	b.grants.EndSession(requester, "s")
}

// TestRaceSessionEnds while an approver answers: what he approves is not approved for a
// later session of that name, neither now nor after a restart.
func TestRaceSessionEnds(t *testing.T) {
	over := func(t *testing.T, b *bench, id string) {
		t.Helper()
		for _, when := range []string{"now", "after a restart"} {
			if state := b.state(t, id); state != approval.Void {
				t.Errorf("%s it is %s, want it void", when, state)
			}
			if list := b.grants.List(nil); list != nil {
				t.Errorf("%s the grants %+v live", when, list)
			}
			b.restart(t)
			b.GiveOwed(t.Context())
		}
	}
	terms := &grant.Terms{Scope: grant.ScopeSession, Uses: 5, TTL: time.Hour}
	for name, kind := range map[string]journal.Kind{"before his vote is recorded": approval.RecordKind, "before the grant is recorded": grant.RecordKind} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			a := b.ask(t, "c1", policy.AskTerms{})
			b.tape.before = func(e journal.Entry) {
				if e.Kind == kind {
					b.end(t)
				}
			}
			if _, err := b.Approve(t.Context(), a.ID, bob, a.Binding, "", terms); err != nil {
				t.Fatal(err)
			}
			over(t, b, a.ID)
		})
	}
	t.Run("before its call comes to nothing", func(t *testing.T) {
		b := newBench(t, nil)
		a := b.ask(t, "c1", policy.AskTerms{})
		if _, err := b.Approve(t.Context(), a.ID, bob, a.Binding, "", nil); err != nil {
			t.Fatal(err)
		}
		back, err := b.Use(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		call := journal.Entry{Kind: journal.KindIntent, Caller: requester, Session: "s", CallID: "c1", Data: map[string]any{"permit": grant.Permit{ApprovalID: a.ID}}}
		if _, err := b.tape.Append(t.Context(), call); err != nil {
			t.Fatal(err)
		}
		b.end(t)
		call.Kind, call.Data = journal.KindOutcome, map[string]any{"outcome": "NOT_RUN"}
		if _, err := b.tape.Append(t.Context(), call); err != nil {
			t.Fatal(err)
		}
		back()
		over(t, b, a.ID)
	})
}
