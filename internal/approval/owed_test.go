package approval_test

import (
	"testing"
	"time"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
)

// TestAGrantThatWasNotMadeIsOwed: the daemon was killed between the last vote and the
// grant, or there was no room for it.
func TestAGrantThatWasNotMadeIsOwed(t *testing.T) {
	terms := &grant.Terms{Uses: 5, TTL: time.Hour}
	// approved is an approval whose grant the journal does not have.
	approved := func(t *testing.T) (*bench, approval.Approval) {
		t.Helper()
		b := newBench(t, nil)
		a := b.ask(t, "c1", policy.AskTerms{})
		if _, err := b.Approve(t.Context(), a.ID, bob, a.Binding, "", terms); err != nil {
			t.Fatal(err)
		}
		if last := b.tape.records[len(b.tape.records)-1]; last.Kind != grant.RecordKind {
			t.Fatalf("the last record is %q, want the grant", last.Kind)
		}
		b.tape.records = b.tape.records[:len(b.tape.records)-1]
		return b, a
	}
	begin := func(b *bench) []grant.Grant {
		b.restart(t)
		b.GiveOwed(t.Context())
		return b.grants.List(nil)
	}
	t.Run("killed in between", func(t *testing.T) {
		b, a := approved(t)
		made := b.now()
		b.clock.Add(300)
		list := begin(b)
		if len(list) != 1 || list[0].ApprovalID != a.ID || list[0].Terms.Uses != 5 || !list[0].ExpiresAt.Equal(made.Add(time.Hour)) {
			t.Fatalf("got %+v, want the grant, for an hour from the vote on", list)
		}
		id := list[0].ID
		if got, err := b.Approve(t.Context(), a.ID, bob, a.Binding, "", terms); err != nil || got.GrantID != id {
			t.Errorf("approved again: it names %q, %v, want %q", got.GrantID, err, id)
		}
		if again := begin(b); len(again) != 1 || again[0].ID != id {
			t.Errorf("after another start: got %+v, want the same grant", again)
		}
	})
	t.Run("its call has run", func(t *testing.T) {
		b, a := approved(t)
		_, err := b.tape.Append(t.Context(), journal.Entry{
			Kind: journal.KindIntent, Caller: requester, Session: "s", CallID: "c1", Data: map[string]any{"permit": grant.Permit{ApprovalID: a.ID}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if list := begin(b); len(list) != 1 || b.state(t, a.ID) != approval.Used {
			t.Errorf("got %+v, want the grant", list)
		}
	})
	t.Run("its time is over", func(t *testing.T) {
		b, _ := approved(t)
		b.clock.Add(3600)
		if list := begin(b); list != nil {
			t.Errorf("got %+v, want none", list)
		}
	})
	t.Run("denied since", func(t *testing.T) {
		b, a := approved(t)
		b.restart(t)
		if _, err := b.Deny(t.Context(), a.ID, carol, ""); err != nil {
			t.Fatal(err)
		}
		if list := begin(b); list != nil {
			t.Errorf("got %+v, want none", list)
		}
	})
	t.Run("its session has ended", func(t *testing.T) {
		b, a := approved(t)
		for _, e := range []journal.Entry{
			{Kind: journal.KindIntent, Caller: requester, Session: "s", CallID: "c1", Data: map[string]any{"permit": grant.Permit{ApprovalID: a.ID}}},
			{Kind: journal.KindSession, Caller: requester, Session: "s", Data: map[string]any{"event": "ended"}},
		} {
			if _, err := b.tape.Append(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if list := begin(b); list != nil {
			t.Errorf("got %+v, want none: another session may have the name", list)
		}
	})
	t.Run("no room, then some", func(t *testing.T) {
		b := newBench(t, nil)
		var old []grant.Grant
		for range 64 {
			g, err := b.grants.Give(t.Context(), grant.Grant{
				Class: *b.asking("x", policy.AskTerms{}).Offer, Terms: terms.WithDefaults("s"), Caller: requester, Session: "s",
			})
			if err != nil {
				t.Fatal(err)
			}
			old = append(old, g)
		}
		a := b.ask(t, "c1", policy.AskTerms{})
		if got, err := b.Approve(t.Context(), a.ID, bob, a.Binding, "", terms); err != nil || got.State != approval.Approved || got.GrantID != "" {
			t.Fatalf("got %s with the grant %q, %v, want it approved without", got.State, got.GrantID, err)
		}
		if _, err := b.grants.Revoke(t.Context(), old[0].ID, requester); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Approve(t.Context(), a.ID, bob, a.Binding, "", terms); err != nil || got.GrantID == "" {
			t.Errorf("said again: it names the grant %q, %v", got.GrantID, err)
		}
	})
}
