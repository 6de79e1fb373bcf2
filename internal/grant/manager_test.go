package grant_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/journal"
)

// tape is a journal in memory.
type tape struct {
	mu      sync.Mutex
	records []journal.Record
	now     func() time.Time
	err     error
}

func (j *tape) Append(_ context.Context, e journal.Entry) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return 0, j.err
	}
	raw, err := json.Marshal(e.Data)
	if err != nil {
		return 0, err
	}
	j.records = append(j.records, journal.Record{
		Seq: int64(len(j.records) + 1), Time: j.now().UTC(), Kind: e.Kind, Caller: e.Caller, Session: e.Session, CallID: e.CallID, Data: raw,
	})
	return int64(len(j.records)), nil
}

// folded is what the journal tells after a restart, also by way of a snapshot.
func (j *tape) folded(t *testing.T) *grant.Fold {
	t.Helper()
	f := grant.NewFold()
	for i, r := range j.records {
		if err := f.Apply(r); err != nil {
			t.Fatal(err)
		}
		if i == len(j.records)/2 {
			var buf bytes.Buffer
			if err := f.Save(&buf); err != nil {
				t.Fatal(err)
			}
			f = grant.NewFold()
			if err := f.Load(&buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	return f
}

type bench struct {
	*grant.Manager
	tape  *tape
	clock time.Time
}

func newBench() *bench {
	b := &bench{clock: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	now := func() time.Time { return b.clock }
	b.tape = &tape{now: now}
	b.Manager = grant.New(grant.Config{Journal: b.tape, Now: now})
	return b
}

func (b *bench) restart(t *testing.T) {
	t.Helper()
	b.Manager = grant.New(grant.Config{Journal: b.tape, Fold: b.tape.folded(t), Now: func() time.Time { return b.clock }})
}

var ofAlice = grant.Kind{Caller: "alice", Session: "s", Profile: "readonly", Tool: "bash"}

func (b *bench) give(t *testing.T, terms grant.Terms) grant.Grant {
	t.Helper()
	g, err := b.Give(t.Context(), grant.Grant{
		Class: grant.Class{Tool: "bash", Profile: "readonly", Rules: []string{"r"}, Summary: "s"}, Terms: terms.WithDefaults("s"),
		Caller: "alice", Session: "s", ApprovalID: "ap-1", Approvers: []string{"bob"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func ids(list []grant.Grant) []string {
	var out []string
	for _, g := range list {
		out = append(out, g.ID)
	}
	return out
}

func TestScopes(t *testing.T) {
	b := newBench()
	session, caller := b.give(t, grant.Terms{}), b.give(t, grant.Terms{Scope: grant.ScopeCaller})
	for round := range 2 {
		for _, tc := range []struct {
			kind grant.Kind
			want []string
		}{
			{ofAlice, []string{session.ID, caller.ID}},
			{grant.Kind{Caller: "alice", Session: "other", Profile: "readonly", Tool: "bash"}, []string{caller.ID}},
			{grant.Kind{Caller: "alice", Profile: "readonly", Tool: "bash"}, []string{caller.ID}},
			{grant.Kind{Caller: "bob", Session: "s", Profile: "readonly", Tool: "bash"}, nil},
			{grant.Kind{Caller: "alice", Session: "s", Profile: "open", Tool: "bash"}, nil},
			{grant.Kind{Caller: "alice", Session: "s", Profile: "readonly", Tool: "python"}, nil},
			{grant.Kind{Caller: "alice", Session: "s", Profile: "readonly", Tool: "bash", ToolDigest: "sha256:other"}, nil},
		} {
			got := ids(b.For(tc.kind))
			if len(got) == 2 && got[0] != session.ID {
				got[0], got[1] = got[1], got[0] // of one moment
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("round %d, for %+v (-want +got):\n%s", round, tc.kind, diff)
			}
		}
		b.restart(t)
	}
	b.EndSession("alice", "s")
	if got := ids(b.For(ofAlice)); !cmp.Equal(got, []string{caller.ID}) {
		t.Errorf("after the session's end: got %v, want the caller's", got)
	}
}

// TestUsesAreCountedOnce: of many that want the last uses at once, as many get them as
// there are.
func TestUsesAreCountedOnce(t *testing.T) {
	b := newBench()
	g := b.give(t, grant.Terms{Uses: 5})
	var got atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if _, err := b.Take(ofAlice, []string{g.ID}); err == nil {
				got.Add(1)
			} else if !errors.Is(err, grant.ErrGone) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got.Load() != 5 {
		t.Errorf("%d of 64 took a grant of 5 uses", got.Load())
	}
	if left := b.For(ofAlice); left != nil {
		t.Errorf("used up, it is still shown to policy: %v", ids(left))
	}
}

func TestSeveralGrantsAreTakenAllOrNone(t *testing.T) {
	b := newBench()
	one, two := b.give(t, grant.Terms{Uses: 1}), b.give(t, grant.Terms{Uses: 2})
	give, err := b.Take(ofAlice, []string{one.ID, two.ID, two.ID})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Take(ofAlice, []string{two.ID, one.ID}); !errors.Is(err, grant.ErrGone) {
		t.Errorf("with one used up: got %v, want ErrGone", err)
	}
	give()
	if _, err := b.Take(ofAlice, []string{two.ID, one.ID}); err != nil {
		t.Errorf("given back: %v", err)
	}
	if _, err := b.Take(grant.Kind{Caller: "mallory", Session: "s", Profile: "readonly", Tool: "bash"}, []string{two.ID}); !errors.Is(err, grant.ErrGone) {
		t.Errorf("of another caller: got %v, want ErrGone", err)
	}
	if _, err := b.Take(ofAlice, []string{"g-none"}); !errors.Is(err, grant.ErrGone) {
		t.Errorf("that was never given: got %v, want ErrGone", err)
	}
}

func (b *bench) record(t *testing.T, kind journal.Kind, call string, data any) {
	t.Helper()
	if _, err := b.tape.Append(t.Context(), journal.Entry{Kind: kind, Caller: "alice", Session: "s", CallID: call, Data: data}); err != nil {
		t.Fatal(err)
	}
}

// TestUsesOutliveARestart: those whose intent is on disk, but for what did not run.
func TestUsesOutliveARestart(t *testing.T) {
	b := newBench()
	g := b.give(t, grant.Terms{Uses: 3})
	used := map[string]any{"digest": "d", "permit": grant.Permit{Grants: []string{g.ID}}}
	b.record(t, journal.KindIntent, "c1", used)
	b.record(t, journal.KindOutcome, "c1", map[string]any{"outcome": "EXITED"})
	b.record(t, journal.KindIntent, "c2", used)
	b.record(t, journal.KindOutcome, "c2", map[string]any{"outcome": "NOT_RUN"})
	b.record(t, journal.KindIntent, "c3", map[string]any{"args": `"permit":{`})
	b.record(t, journal.KindIntent, "c4", used) // and a crash
	b.restart(t)
	if list := b.List(nil); len(list) != 1 || list[0].Used != 2 {
		t.Fatalf("got %+v, want 2 uses of 3", list)
	}
	if _, err := b.Take(ofAlice, []string{g.ID}); err != nil {
		t.Errorf("the third use: %v", err)
	}
	if _, err := b.Take(ofAlice, []string{g.ID}); !errors.Is(err, grant.ErrGone) {
		t.Errorf("the fourth use: got %v, want ErrGone", err)
	}
}

func TestTheEndOfAGrant(t *testing.T) {
	b := newBench()
	revoked, late := b.give(t, grant.Terms{}), b.give(t, grant.Terms{TTL: time.Minute})
	if _, err := b.Revoke(t.Context(), revoked.ID, "bob"); err != nil {
		t.Fatal(err)
	}
	b.clock = b.clock.Add(time.Minute)
	for round := range 2 {
		for _, g := range []grant.Grant{revoked, late} {
			if _, err := b.Take(ofAlice, []string{g.ID}); !errors.Is(err, grant.ErrGone) {
				t.Errorf("round %d: got %v, want ErrGone", round, err)
			}
			if _, err := b.Revoke(t.Context(), g.ID, "bob"); !errdefs.IsNotFound(err) {
				t.Errorf("round %d: revoked once more: got %v, want that it does not live", round, err)
			}
		}
		if got := b.For(ofAlice); got != nil {
			t.Errorf("round %d: policy is shown %v", round, ids(got))
		}
		b.restart(t)
	}
	b.give(t, grant.Terms{})
	b.record(t, journal.KindSession, "", map[string]any{"event": "ended"})
	b.restart(t)
	if got := b.List(nil); got != nil {
		t.Errorf("after the session's end: %v", ids(got))
	}
}

// TestARevokedGrantIsNotUsedThoughItIsNotRecorded: the safe side.
func TestARevokedGrantIsNotUsedThoughItIsNotRecorded(t *testing.T) {
	b := newBench()
	g := b.give(t, grant.Terms{})
	b.tape.err = errors.New("disk is gone")
	if _, err := b.Revoke(t.Context(), g.ID, "bob"); err == nil {
		t.Error("Revoke: got no error")
	}
	if _, err := b.Take(ofAlice, []string{g.ID}); !errors.Is(err, grant.ErrGone) {
		t.Errorf("got %v, want ErrGone", err)
	}
	if _, err := b.Give(t.Context(), grant.Grant{Terms: grant.Terms{}.WithDefaults("s"), Caller: "alice", Session: "s"}); err == nil {
		t.Error("a grant that cannot be recorded was given")
	}
}

func TestTermsThatAreRefused(t *testing.T) {
	for _, tc := range []struct {
		terms   grant.Terms
		session string
	}{
		{grant.Terms{Scope: "everybody"}, "s"},
		{grant.Terms{Scope: grant.ScopeSession}, ""},
		{grant.Terms{Uses: -1}, "s"},
		{grant.Terms{Uses: 1001}, "s"},
		{grant.Terms{TTL: time.Millisecond}, "s"},
		{grant.Terms{TTL: 8 * 24 * time.Hour}, "s"},
	} {
		if err := tc.terms.WithDefaults(tc.session).Check(tc.session); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%+v: got %v, want ErrInvalidArgument", tc.terms, err)
		}
	}
}

func TestACallerHasSoManyGrants(t *testing.T) {
	b := newBench()
	for range 64 {
		b.give(t, grant.Terms{})
	}
	_, err := b.Give(t.Context(), grant.Grant{Terms: grant.Terms{}.WithDefaults("s"), Caller: "alice", Session: "s"})
	if !errdefs.IsResourceExhausted(err) {
		t.Errorf("got %v, want ErrResourceExhausted", err)
	}
	b.clock = b.clock.Add(2 * time.Hour)
	b.give(t, grant.Terms{}) // the others are over
}

func TestDamagedRecordsAreAnError(t *testing.T) {
	for _, r := range []journal.Record{
		{Kind: grant.RecordKind, Data: []byte(`{"event": "lent"}`)},
		{Kind: grant.RecordKind, Data: []byte(`{"event": "given"}`)},
		{Kind: grant.RecordKind, Data: []byte(`[]`)},
		{Kind: journal.KindIntent, Data: []byte(`{"permit":{"grants":1}}`)},
	} {
		if err := grant.NewFold().Apply(r); err == nil {
			t.Errorf("%s %s: got no error", r.Kind, r.Data)
		}
	}
	if err := grant.NewFold().Load(bytes.NewReader([]byte(`{"version": 9}`))); err == nil {
		t.Error("a snapshot of another version was loaded")
	}
}
