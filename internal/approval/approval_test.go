package approval_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
)

// tape is a journal in memory.
type tape struct {
	mu      sync.Mutex
	records []journal.Record
	now     func() time.Time
	err     error
	before  func(journal.Entry) // is called before an entry is taken
}

func (j *tape) Append(_ context.Context, e journal.Entry) (int64, error) {
	if j.before != nil {
		j.before(e)
	}
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

type bench struct {
	*approval.Manager
	grants *grant.Manager
	tape   *tape
	clock  atomic.Int64 // seconds
	set    func(*approval.Config)
}

func (b *bench) now() time.Time { return time.Unix(1_800_000_000+b.clock.Load(), 0).UTC() }

func newBench(t *testing.T, set func(*approval.Config)) *bench {
	t.Helper()
	b := &bench{set: set}
	b.tape = &tape{now: b.now}
	b.restart(t)
	return b
}

// restart makes managers of what the journal tells, by way of a snapshot.
func (b *bench) restart(t *testing.T) {
	t.Helper()
	asked, granted := approval.NewFold(), grant.NewFold()
	for i, r := range b.tape.records {
		if err := errors.Join(asked.Apply(r), granted.Apply(r)); err != nil {
			t.Fatal(err)
		}
		if i == len(b.tape.records)/2 {
			var buf bytes.Buffer
			if err := asked.Save(&buf); err != nil {
				t.Fatal(err)
			}
			asked = approval.NewFold()
			if err := asked.Load(&buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.grants = grant.New(grant.Config{Journal: b.tape, Fold: granted, Now: b.now})
	cfg := approval.Config{Journal: b.tape, Grants: b.grants, Fold: asked, Now: b.now}
	if b.set != nil {
		b.set(&cfg)
	}
	b.Manager = approval.New(cfg)
}

const requester = "unix:uid:1000"

var (
	bob   = approval.Approver{ID: "token:bob", Roles: []string{"oncall"}}
	carol = approval.Approver{ID: "token:carol", Roles: []string{"oncall"}}
)

func (b *bench) ask(t *testing.T, call string, terms policy.AskTerms) approval.Approval {
	t.Helper()
	a, err := b.Ask(t.Context(), b.asking(call, terms), nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// asking is what is asked about a call.
func (b *bench) asking(call string, terms policy.AskTerms) approval.Approval {
	d := policy.Decision{Outcome: policy.Ask, Revision: "rev1", Ask: &terms, Reasons: []policy.Reason{{Rule: "r", Message: "m"}}}
	return approval.Approval{
		CallID: call, Caller: requester, Session: "s", Bound: approval.BoundBy("sha256:"+call, &d, nil), Decision: d,
		Call:  approval.Call{Tool: "bash", Args: json.RawMessage(`{"command":"x"}`), Profile: "readonly"},
		Offer: &grant.Class{Tool: "bash", Profile: "readonly", Rules: []string{"r"}, Summary: "x"},
	}
}

func (b *bench) state(t *testing.T, id string) approval.State {
	t.Helper()
	a, err := b.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return a.State
}

func (b *bench) yes(t *testing.T, a approval.Approval, by approval.Approver) (approval.Approval, error) {
	t.Helper()
	return b.Approve(t.Context(), a.ID, by, a.Binding, "", nil)
}

func (b *bench) mustYes(t *testing.T, a approval.Approval, by approval.Approver) approval.Approval {
	t.Helper()
	a, err := b.yes(t, a, by)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestWhoMayApprove(t *testing.T) {
	uid := 7
	for _, tc := range []struct {
		name  string
		terms policy.AskTerms
		by    approval.Approver
		want  string // of the refusal; empty: may
	}{
		{"a role", policy.AskTerms{Approvers: []string{"role:oncall"}}, bob, ""},
		{"another role", policy.AskTerms{Approvers: []string{"role:boss"}}, bob, "none of the approvers that policy names (role:boss)"},
		{"one of several", policy.AskTerms{Approvers: []string{"role:boss", "caller:token:bob"}}, bob, ""},
		{"a caller that begins so", policy.AskTerms{Approvers: []string{"caller:token:bo"}}, bob, "none of the approvers"},
		{"a user", policy.AskTerms{Approvers: []string{"uid:7"}}, approval.Approver{ID: "unix:uid:7", UID: &uid}, ""},
		{"a user of a token", policy.AskTerms{Approvers: []string{"uid:7"}}, bob, "none of the approvers"},
		{"an administrator where others are named", policy.AskTerms{Approvers: []string{"role:oncall"}}, approval.Approver{ID: "x", Admin: true}, "none of the approvers"},
		{"an administrator where nobody is", policy.AskTerms{}, approval.Approver{ID: "x", Admin: true}, ""},
		{"any role where nobody is named", policy.AskTerms{}, bob, ""},
		{"nobody", policy.AskTerms{}, approval.Approver{ID: "x"}, "is no approver"},
		{"the requester", policy.AskTerms{}, approval.Approver{ID: requester, Admin: true}, "may not approve it itself"},
		{"the requester by its role", policy.AskTerms{Approvers: []string{"role:oncall"}}, approval.Approver{ID: requester, Roles: bob.Roles}, "may not approve it itself"},
		{"the requester where it may", policy.AskTerms{Self: true}, approval.Approver{ID: requester, Admin: true}, ""},
		{"the requester that is no approver", policy.AskTerms{Self: true, Approvers: []string{"role:boss"}}, approval.Approver{ID: requester}, "none of the approvers"},
	} {
		b := newBench(t, nil)
		a := b.ask(t, "c1", tc.terms)
		_, err := b.yes(t, a, tc.by)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v, want that he may", tc.name, err)
		case tc.want != "" && (!errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: got %v, want PermissionDenied with %q", tc.name, err, tc.want)
		}
		want := approval.Approved
		if tc.want != "" {
			want = approval.Pending
		}
		if got := b.state(t, a.ID); got != want {
			t.Errorf("%s: the approval is %s, want %s", tc.name, got, want)
		}
	}
}

// TestApprovedTwice: the same approver counts once, also when many answers come at
// once, and after the quorum is reached.
func TestApprovedTwice(t *testing.T) {
	b := newBench(t, nil)
	a := b.ask(t, "c1", policy.AskTerms{Quorum: 2})
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if got, err := b.Approve(t.Context(), a.ID, bob, a.Binding, "", nil); err != nil || got.State != approval.Pending || len(got.Votes) != 1 {
				t.Errorf("the first approver: got %s with %d votes, %v, want pending with one", got.State, len(got.Votes), err)
			}
		})
	}
	all.Wait()
	b.restart(t)
	if got := b.mustYes(t, a, carol); got.State != approval.Approved || len(got.Votes) != 2 {
		t.Errorf("the second approver: got %s with %d votes", got.State, len(got.Votes))
	}
	if got := b.mustYes(t, a, bob); got.State != approval.Approved || len(got.Votes) != 2 {
		t.Errorf("the first once more: got %s with %d votes", got.State, len(got.Votes))
	}
	if n := len(b.tape.records); n != 3 {
		t.Errorf("%d records, want the question and two votes", n)
	}
}

func TestAnApproverHasToSeeWhatHeApproves(t *testing.T) {
	b := newBench(t, nil)
	a := b.ask(t, "c1", policy.AskTerms{})
	other := b.ask(t, "c2", policy.AskTerms{})
	if _, err := b.Approve(t.Context(), a.ID, bob, other.Binding, "", nil); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("with what another asks: got %v, want FailedPrecondition", err)
	}
	if got := b.state(t, a.ID); got != approval.Pending {
		t.Errorf("it is %s, want pending", got)
	}
}

// TestAnApprovalRunsOnce: of many that use it, one can.
func TestAnApprovalRunsOnce(t *testing.T) {
	b := newBench(t, nil)
	a := b.mustYes(t, b.ask(t, "c1", policy.AskTerms{}), bob)
	var used atomic.Int64
	var back func()
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if give, err := b.Use(t.Context(), a.ID); err == nil {
				used.Add(1)
				back = give
			} else if !errdefs.IsFailedPrecondition(err) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if used.Load() != 1 {
		t.Fatalf("%d used it, want 1", used.Load())
	}
	back()
	if _, err := b.Use(t.Context(), a.ID); err != nil {
		t.Errorf("given back: %v", err)
	}
	if _, err := b.Deny(t.Context(), a.ID, bob, ""); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("denied while it runs: got %v, want FailedPrecondition", err)
	}
}

// TestUseIsDurableByTheIntent: after a restart an approval is used if its intent is on
// disk, unless that came to nothing.
func TestUseIsDurableByTheIntent(t *testing.T) {
	for outcome, want := range map[string]approval.State{"": approval.Used, "EXITED": approval.Used, "UNKNOWN": approval.Used, "NOT_RUN": approval.Approved} {
		b := newBench(t, nil)
		a := b.mustYes(t, b.ask(t, "c1", policy.AskTerms{}), bob)
		if _, err := b.Use(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
		b.restart(t)
		if got := b.state(t, a.ID); got != approval.Approved {
			t.Errorf("without an intent: got %s, want approved", got)
		}
		entry := journal.Entry{Kind: journal.KindIntent, Caller: requester, CallID: "c1", Data: map[string]any{"permit": grant.Permit{ApprovalID: a.ID}}}
		if _, err := b.tape.Append(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		if outcome != "" {
			entry = journal.Entry{Kind: journal.KindOutcome, Caller: requester, CallID: "c1", Data: map[string]any{"outcome": outcome}}
			if _, err := b.tape.Append(t.Context(), entry); err != nil {
				t.Fatal(err)
			}
		}
		b.restart(t)
		if got := b.state(t, a.ID); got != want {
			t.Errorf("with the outcome %q: got %s, want %s", outcome, got, want)
		}
	}
}

func TestTheTimeIsOver(t *testing.T) {
	b := newBench(t, nil)
	pending := b.ask(t, "c1", policy.AskTerms{TTLMs: 60_000})
	silent := b.ask(t, "c2", policy.AskTerms{TTLMs: 60_000, OnTimeout: policy.Allow, Quorum: 3})
	late := b.mustYes(t, b.ask(t, "c3", policy.AskTerms{TTLMs: 60_000}), bob)
	long := b.ask(t, "c4", policy.AskTerms{})
	b.clock.Add(59)
	if _, err := b.Use(t.Context(), late.ID); err != nil {
		t.Errorf("in time: %v", err)
	}
	unused := b.mustYes(t, b.ask(t, "c5", policy.AskTerms{TTLMs: 60_000}), bob)
	b.clock.Add(61)
	if _, err := b.yes(t, pending, bob); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("approved too late: got %v, want FailedPrecondition", err)
	}
	if _, err := b.Use(t.Context(), unused.ID); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("used too late: got %v, want FailedPrecondition", err)
	}
	for round := range 2 {
		for id, want := range map[string]approval.State{pending.ID: approval.Expired, silent.ID: approval.Approved, unused.ID: approval.Expired, long.ID: approval.Pending} {
			if got := b.state(t, id); got != want {
				t.Errorf("round %d: %s is %s, want %s", round, id, got, want)
			}
		}
		b.restart(t)
	}
	a, err := b.Get(t.Context(), silent.ID)
	if err != nil || !cmp.Equal(a.Approvers(), []string{approval.ByTimeout}) {
		t.Errorf("approved by silence: got %v, %v", a.Approvers(), err)
	}
}

func TestDeny(t *testing.T) {
	b := newBench(t, nil)
	a := b.ask(t, "c1", policy.AskTerms{})
	if _, err := b.Deny(t.Context(), a.ID, approval.Approver{ID: "x"}, ""); !errdefs.IsPermissionDenied(err) {
		t.Errorf("by nobody: got %v, want PermissionDenied", err)
	}
	got, err := b.Deny(t.Context(), a.ID, bob, "not today")
	if err != nil || got.State != approval.Denied || got.By != bob.ID || got.Message != "not today" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := b.Deny(t.Context(), a.ID, bob, "again"); err != nil {
		t.Errorf("once more by the same: %v", err)
	}
	if _, err := b.yes(t, a, carol); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("approved after: got %v, want FailedPrecondition", err)
	}
	own := b.ask(t, "c2", policy.AskTerms{})
	if got, err := b.Deny(t.Context(), own.ID, approval.Approver{ID: requester}, ""); err != nil || got.State != approval.Denied {
		t.Errorf("taken back by the requester: got %s, %v", got.State, err)
	}
	approved := b.mustYes(t, b.ask(t, "c3", policy.AskTerms{}), bob)
	if got, err := b.Deny(t.Context(), approved.ID, carol, ""); err != nil || got.State != approval.Denied {
		t.Errorf("approved and not used yet: got %s, %v", got.State, err)
	}
	if _, err := b.Use(t.Context(), approved.ID); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("used after: got %v, want FailedPrecondition", err)
	}
}

func TestAGrantNeedsAllApprovers(t *testing.T) {
	wide, narrow := grant.Terms{Scope: grant.ScopeCaller, Uses: 50}, grant.Terms{Uses: 5, TTL: time.Minute}
	for name, tc := range map[string]struct {
		first, second *grant.Terms
		want          *grant.Terms
	}{
		"both give it": {&wide, &narrow, &grant.Terms{Scope: grant.ScopeSession, Uses: 5, TTL: time.Minute}},
		"one does not": {&wide, nil, nil}, "neither does": {nil, nil, nil},
	} {
		b := newBench(t, nil)
		a := b.ask(t, "c1", policy.AskTerms{Quorum: 2})
		if _, err := b.Approve(t.Context(), a.ID, bob, a.Binding, "", tc.first); err != nil {
			t.Fatal(err)
		}
		if got := b.grants.List(nil); got != nil {
			t.Errorf("%s: a grant after one of two approvals: %+v", name, got)
		}
		if _, err := b.Approve(t.Context(), a.ID, carol, a.Binding, "", tc.second); err != nil {
			t.Fatal(err)
		}
		b.restart(t)
		list := b.grants.List(nil)
		if tc.want == nil {
			if list != nil {
				t.Errorf("%s: got %+v, want no grant", name, list)
			}
			continue
		}
		if len(list) != 1 || list[0].Terms != *tc.want || !cmp.Equal(list[0].Approvers, []string{bob.ID, carol.ID}) {
			t.Errorf("%s: got %+v, want %+v by both", name, list, tc.want)
			continue
		}
		if got, err := b.Get(t.Context(), a.ID); err != nil || got.GrantID != list[0].ID {
			t.Errorf("%s: the approval names the grant %q, %v", name, got.GrantID, err)
		}
	}
	b := newBench(t, nil)
	a := b.ask(t, "c1", policy.AskTerms{NoGrant: true})
	if _, err := b.Approve(t.Context(), a.ID, bob, a.Binding, "", &narrow); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("where policy wants none: got %v, want FailedPrecondition", err)
	}
	a = b.ask(t, "c2", policy.AskTerms{})
	if _, err := b.Approve(t.Context(), a.ID, bob, a.Binding, "", &grant.Terms{Uses: 1 << 20}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("of too many uses: got %v, want InvalidArgument", err)
	}
}

func TestBoundsOfOpenQuestions(t *testing.T) {
	b := newBench(t, func(c *approval.Config) { c.MaxLivePerCaller = 2 })
	first := b.ask(t, "c1", policy.AskTerms{})
	b.ask(t, "c2", policy.AskTerms{})
	if _, err := b.Ask(t.Context(), approval.Approval{CallID: "c3", Caller: requester}, nil); !errdefs.IsResourceExhausted(err) {
		t.Errorf("got %v, want ResourceExhausted", err)
	}
	if _, err := b.Deny(t.Context(), first.ID, bob, ""); err != nil {
		t.Fatal(err)
	}
	b.ask(t, "c3", policy.AskTerms{})
	for range 3000 { // what is over is forgotten
		b.clock.Add(601)
		a := b.ask(t, "cx", policy.AskTerms{})
		if _, err := b.Void(t.Context(), a.ID, "x"); err != nil {
			t.Fatal(err)
		}
	}
	list, err := b.List(t.Context(), nil)
	if err != nil || len(list) > 1010 {
		t.Errorf("%d approvals are remembered, %v", len(list), err)
	}
	b.restart(t)
	if list, err = b.List(t.Context(), nil); err != nil || len(list) > 2010 {
		t.Errorf("after a restart %d approvals are remembered, %v", len(list), err)
	}
}

func TestWaitAndWatch(t *testing.T) {
	b := newBench(t, nil)
	a := b.ask(t, "c1", policy.AskTerms{})
	ctx, cancel := context.WithCancelCause(t.Context())
	told := make(chan approval.Approval, 8)
	var all sync.WaitGroup
	all.Go(func() {
		if err := b.Watch(ctx, func(a approval.Approval) error { told <- a; return nil }); !errors.Is(err, errOver) {
			t.Errorf("Watch: got %v", err)
		}
	})
	if first := <-told; first.ID != a.ID || first.State != approval.Pending {
		t.Errorf("told of %s first, which is %s", first.ID, first.State)
	}
	waited := make(chan approval.State, 1)
	all.Go(func() {
		got, err := b.Wait(ctx, a.ID)
		if err != nil {
			t.Error(err)
		}
		waited <- got.State
	})
	b.mustYes(t, a, bob)
	if got := <-waited; got != approval.Approved {
		t.Errorf("Wait: got %s", got)
	}
	if next := <-told; next.State != approval.Approved {
		t.Errorf("told that it is %s", next.State)
	}
	cancel(errOver)
	all.Wait()
	other := b.ask(t, "c2", policy.AskTerms{})
	if got, err := b.Wait(ctx, other.ID); !errors.Is(err, errOver) || got.State != approval.Pending {
		t.Errorf("a host that is gone: got %s, %v", got.State, err)
	}
}

var errOver = errors.New("over")

func TestRunEndsWhatIsOver(t *testing.T) {
	b := newBench(t, nil)
	b.ask(t, "c1", policy.AskTerms{})
	ctx, cancel := context.WithCancelCause(t.Context())
	told := make(chan approval.State, 8)
	var all sync.WaitGroup
	all.Go(func() {
		if err := b.Watch(ctx, func(a approval.Approval) error { told <- a.State; return nil }); !errors.Is(err, errOver) {
			t.Errorf("Watch: got %v", err)
		}
	})
	if got := <-told; got != approval.Pending {
		t.Errorf("told that it is %s first", got)
	}
	b.clock.Add(601)
	all.Go(func() { b.Run(ctx) })
	if got := <-told; got != approval.Expired {
		t.Errorf("told that it is %s, want expired", got)
	}
	cancel(errOver)
	all.Wait()
}

func TestWhatIsNotRecordedDidNotHappen(t *testing.T) {
	b := newBench(t, nil)
	a := b.ask(t, "c1", policy.AskTerms{})
	b.tape.err = errors.New("disk is gone")
	if _, err := b.yes(t, a, bob); err == nil {
		t.Error("a vote that is not recorded was taken")
	}
	if _, err := b.Ask(t.Context(), approval.Approval{CallID: "c2", Caller: requester}, nil); err == nil {
		t.Error("a question that is not recorded was asked")
	}
	b.tape.err = nil
	if got := b.state(t, a.ID); got != approval.Pending {
		t.Errorf("it is %s, want pending", got)
	}
}

func TestASessionEnds(t *testing.T) {
	b := newBench(t, nil)
	a := b.ask(t, "c1", policy.AskTerms{})
	if _, err := b.tape.Append(t.Context(), journal.Entry{Kind: journal.KindSession, Caller: requester, Session: "s", Data: map[string]any{"event": "ended"}}); err != nil {
		t.Fatal(err)
	}
	b.EndSession(requester, "s")
	for round := range 2 {
		if got := b.state(t, a.ID); got != approval.Void {
			t.Errorf("round %d: got %s, want void", round, got)
		}
		b.restart(t)
	}
}

func TestAnApprovalIsBoundToVariablesAndDoesNotTellThem(t *testing.T) {
	bound := func(digest, value string) (string, string) {
		t.Helper()
		d := policy.Decision{Outcome: policy.Ask}
		d.Obligations.Exec.EnvSet = map[string]string{"API_KEY": value}
		b := approval.BoundBy(digest, &d, nil)
		raw, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := b.Sum()
		if err != nil {
			t.Fatal(err)
		}
		if d.Obligations.Exec.EnvSet["API_KEY"] != value {
			t.Error("the decision itself was changed")
		}
		return string(raw), sum
	}
	raw, sum := bound("sha256:1", "s3cret-value")
	if strings.Contains(raw, "s3cret-value") || !strings.Contains(raw, "API_KEY") {
		t.Errorf("got %s, want the name alone", raw)
	}
	if _, same := bound("sha256:1", "s3cret-value"); same != sum {
		t.Error("the same value binds otherwise")
	}
	if _, other := bound("sha256:1", "another"); other == sum {
		t.Error("another value binds the same")
	}
	if other, _ := bound("sha256:2", "s3cret-value"); strings.Replace(other, "sha256:2", "sha256:1", 1) == raw {
		t.Error("equal values can be told from the hashes in two approvals")
	}
}

// TestExpiryIsByTheClockOnTheWall: the monotonic reading that time.Now has beside stands
// still while the machine sleeps.
func TestExpiryIsByTheClockOnTheWall(t *testing.T) {
	j := &tape{now: time.Now}
	grants := grant.New(grant.Config{Journal: j, Fold: grant.NewFold()})
	m := approval.New(approval.Config{Journal: j, Grants: grants, Fold: approval.NewFold()})
	d := policy.Decision{Outcome: policy.Ask, Ask: &policy.AskTerms{}, Reasons: []policy.Reason{{Rule: "r", Message: "m"}}}
	a, err := m.Ask(t.Context(), approval.Approval{
		CallID: "c", Caller: requester, Bound: approval.BoundBy("sha256:c", &d, nil), Decision: d,
		Offer: &grant.Class{Tool: "bash", Profile: "readonly", Rules: []string{"r"}, Summary: "x"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	monotonic := func(at time.Time) bool { return strings.Contains(at.String(), " m=") }
	if monotonic(a.ExpiresAt) {
		t.Errorf("a question is over at %v", a.ExpiresAt)
	}
	terms := grant.Terms{}.WithDefaults("")
	if a, err = m.Approve(t.Context(), a.ID, bob, a.Binding, "", &terms); err != nil || monotonic(a.ExpiresAt) {
		t.Errorf("approved it is over at %v (%v)", a.ExpiresAt, err)
	}
	if all := grants.List(nil); len(all) != 1 || monotonic(all[0].ExpiresAt) {
		t.Errorf("got the grants %v", all)
	}
}
