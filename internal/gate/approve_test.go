package gate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
)

// asking is a gate whose policy asks about everything, with a workspace on the machine.
type asking struct {
	*bench
	approvals *approval.Manager
	grants    *grant.Manager
	dir, ws   string
	revision  string
	terms     policy.AskTerms
	grantable bool                   // its policy takes every grant
	outcome   atomic.Pointer[string] // instead of ask
	beforeRun func()                 // between the last look of the gate before the cell and the run
	clock     atomic.Int64           // seconds
	set       func(*gate.Config)     // changes what start makes the gate of
}

func newAsking(t *testing.T) *asking {
	t.Helper()
	return newAskingWith(t, nil)
}

func newAskingWith(t *testing.T, set func(*gate.Config)) *asking {
	t.Helper()
	b := &asking{dir: t.TempDir(), ws: t.TempDir(), revision: "rev1", set: set}
	b.write(t, "s.sh", "echo hi")
	b.start(t)
	return b
}

// start makes a gate of what is in the directory: again, after a crash.
func (b *asking) start(t *testing.T) {
	t.Helper()
	if b.bench != nil {
		if err := b.journal.Close(); err != nil {
			t.Fatal(err)
		}
	}
	asked, granted := approval.NewFold(), grant.NewFold()
	now := func() time.Time { return time.Now().Add(time.Duration(b.clock.Load()) * time.Second) }
	b.bench = openBench(t, &bench{dir: b.dir, folds: []journal.Fold{asked, granted}}, nil, func(c *gate.Config) {
		b.grants = grant.New(grant.Config{Journal: c.Journal, Fold: granted, Now: now})
		b.approvals = approval.New(approval.Config{Journal: c.Journal, Grants: b.grants, Fold: asked, Now: now})
		c.Approvals, c.Grants = b.approvals, b.grants
		c.WorkspaceDirs = func(gate.Caller, string) error { return nil }
		c.Roles = func(who gate.Caller) gate.Roles { return gate.Roles{Admin: who.ID == alice.ID || who.ID == bob.ID} }
		c.Runtime = late{c.Runtime, b}
		if b.set != nil {
			b.set(c)
		}
	})
	b.policy.decide = b.decide
}

func (b *asking) decide(in policy.Input) policy.Decision {
	d := policy.Decision{
		ID: in.DecisionID, Outcome: policy.Ask, Revision: b.revision, Profile: in.Session.Profile, Ask: &b.terms,
		Reasons: []policy.Reason{{Rule: "unsure", Message: "it is not known what it does"}},
	}
	if o := b.outcome.Load(); o != nil {
		d.Outcome, d.Ask = policy.Outcome(*o), nil
	}
	if b.grantable && len(in.Session.Grants) > 0 {
		d.Outcome, d.Ask, d.Grants = policy.Allow, nil, in.Session.Grants[:1]
	}
	return d
}

// late is a runtime in which something happens before the program is made ready.
type late struct {
	sandbox.Runtime
	b *asking
}

func (l late) Run(ctx context.Context, call sandbox.Call) (sandbox.Result, error) {
	if l.b.beforeRun != nil {
		l.b.beforeRun()
	}
	return l.Runtime.Run(ctx, call)
}

func (b *asking) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.ws, name), []byte(text), 0o600); err != nil {
		t.Error(err)
	}
}

func (b *asking) link(t *testing.T, name, target string) {
	t.Helper()
	if err := errors.Join(os.Remove(filepath.Join(b.ws, name)), os.Symlink(target, filepath.Join(b.ws, name))); err != nil {
		t.Error(err)
	}
}

func (b *asking) call(id string) gate.Call {
	c := bash(id, "sh s.sh")
	c.WorkspaceDir = b.ws
	return c
}

// ask sends a call that has to be asked about, and returns its question.
func (b *asking) ask(t *testing.T, call gate.Call) approval.Approval {
	t.Helper()
	res := b.do(t, call)
	if res.Outcome != gate.OutcomeApprovalRequired || res.ApprovalID == "" {
		t.Fatalf("got %s, approval %q, want that it is asked", res.Outcome, res.ApprovalID)
	}
	a, err := b.approvals.Get(t.Context(), res.ApprovalID)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (b *asking) approve(t *testing.T, a approval.Approval) {
	t.Helper()
	if got, err := b.Approve(t.Context(), bob, a.ID, a.Binding, "", nil); err != nil || got.State != approval.Approved {
		t.Fatalf("Approve: got %s, %v", got.State, err)
	}
}

// want checks the result of a call, its first rule and how many calls have run.
func (b *asking) want(t *testing.T, call gate.Call, outcome gate.Outcome, rule string, ran int) gate.Result {
	t.Helper()
	res := b.do(t, call)
	got := ""
	if len(res.Decision.Reasons) > 0 {
		got = res.Decision.Reasons[0].Rule
	}
	if res.Outcome != outcome || got != rule {
		t.Errorf("got %s by %s (%s), want %s by %s", res.Outcome, got, res.Message, outcome, rule)
	}
	if n := len(b.runtime.Calls()); n != ran {
		t.Errorf("%d calls have run, want %d", n, ran)
	}
	return res
}

func (b *asking) stateOf(t *testing.T, id string) approval.State {
	t.Helper()
	a, err := b.approvals.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return a.State
}

const (
	askedAgain = gate.OutcomeApprovalRequired
	denied     = gate.OutcomeDenied
	exited     = gate.Outcome("EXITED")
)

func TestACallGoesOnOnceItIsApproved(t *testing.T) {
	b := newAsking(t)
	a := b.ask(t, b.call("c1"))
	if again := b.ask(t, b.call("c1")); again.ID != a.ID {
		t.Errorf("sent again it asks %s, want the same %s", again.ID, a.ID)
	}
	if len(a.Bound.Files) != 1 || a.Bound.Files[0].Path != "/workspace/s.sh" || !a.Bound.Files[0].Held() {
		t.Errorf("it is bound to %+v, want its script", a.Bound.Files)
	}
	b.approve(t, a)
	if res := b.want(t, b.call("c1"), exited, "unsure", 1); res.Replayed || res.ApprovalID != a.ID {
		t.Errorf("got the approval %q, replayed %v", res.ApprovalID, res.Replayed)
	}
	if got := b.stateOf(t, a.ID); got != approval.Used {
		t.Errorf("the approval is %s, want used", got)
	}
	if res := b.want(t, b.call("c1"), exited, "unsure", 1); !res.Replayed {
		t.Error("sent a third time it is no replay")
	}
	var kinds []string
	for _, r := range b.rawRecords(t) {
		kinds = append(kinds, string(r.Kind))
		if r.Kind == journal.KindIntent && !strings.Contains(string(r.Data), `"permit":{"approval_id":"`+a.ID+`","approvers":["`+bob.ID+`"]}`) {
			t.Errorf("the intent does not name the approval: %s", r.Data)
		}
	}
	if want := []string{"approval", "decision", "approval", "intent", "outcome"}; !cmp.Equal(kinds, want) {
		t.Errorf("records: got %v, want %v", kinds, want)
	}
}

// TestRaceFileChanged: before it is approved, before the call is sent again, and when it
// is about to run.
func TestRaceFileChanged(t *testing.T) {
	for name, change := range map[string]func(b *asking){
		"its content":   func(b *asking) { b.write(t, "s.sh", "rm -rf .") },
		"a link for it": func(b *asking) { b.write(t, "other", "echo hi"); b.link(t, "s.sh", "other") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newAsking(t)
			a := b.ask(t, b.call("c1"))
			change(b)
			if _, err := b.Approve(t.Context(), bob, a.ID, a.Binding, "", nil); !errdefs.IsFailedPrecondition(err) {
				t.Errorf("approved after the change: got %v, want FailedPrecondition", err)
			}
			if got := b.stateOf(t, a.ID); got != approval.Void {
				t.Errorf("the approval is %s, want void", got)
			}
			res := b.want(t, b.call("c1"), askedAgain, "unsure", 0)
			if res.ApprovalID == a.ID || len(res.Decision.Warnings) != 1 || res.Decision.Warnings[0].Rule != "daemon:approval-void" {
				t.Errorf("got approval %s and warnings %+v, want another one that tells why", res.ApprovalID, res.Decision.Warnings)
			}

			b = newAsking(t)
			a = b.ask(t, b.call("c1"))
			b.approve(t, a)
			change(b)
			res = b.want(t, b.call("c1"), askedAgain, "unsure", 0)
			if res.ApprovalID == a.ID || b.stateOf(t, a.ID) != approval.Void {
				t.Errorf("the approval is %s, and %s is asked, want another one", b.stateOf(t, a.ID), res.ApprovalID)
			}

			b = newAsking(t)
			a = b.ask(t, b.call("c1"))
			b.approve(t, a)
			b.beforeRun = func() { change(b) }
			b.want(t, b.call("c1"), denied, "daemon:approval-void", 0)
			if got := b.stateOf(t, a.ID); got != approval.Void {
				t.Errorf("the approval is %s, want void", got)
			}
			b.beforeRun = nil
			b.start(t)
			if res := b.want(t, b.call("c1"), denied, "daemon:approval-void", 0); !res.Replayed {
				t.Error("after a restart the denial is not replayed")
			}
		})
	}
}

func TestRacePolicyReloaded(t *testing.T) {
	b := newAsking(t)
	a := b.ask(t, b.call("c1"))
	b.approve(t, a)
	b.revision = "rev2"
	res := b.want(t, b.call("c1"), askedAgain, "unsure", 0)
	if res.ApprovalID == a.ID || b.stateOf(t, a.ID) != approval.Void || !strings.Contains(res.Decision.Warnings[0].Message, "rev2, was rev1") {
		t.Errorf("got approval %s and %+v", res.ApprovalID, res.Decision.Warnings)
	}
	b.terms.Quorum = 2 // the same revision, other terms
	if again := b.ask(t, b.call("c1")); again.ID == res.ApprovalID || again.Quorum() != 2 {
		t.Errorf("with other terms the question is %s of quorum %d", again.ID, again.Quorum())
	}
}

// TestDenyWinsOverAnApproval: policy is asked again before the run.
func TestDenyWinsOverAnApproval(t *testing.T) {
	b := newAsking(t)
	b.approve(t, b.ask(t, b.call("c1")))
	deny := string(policy.Deny)
	b.outcome.Store(&deny)
	b.want(t, b.call("c1"), denied, "unsure", 0)
}

func TestRaceApprovalExpired(t *testing.T) {
	b := newAsking(t)
	a := b.ask(t, b.call("c1"))
	used := b.ask(t, b.call("c2"))
	b.approve(t, used)
	b.clock.Add(601)
	if _, err := b.Approve(t.Context(), bob, a.ID, a.Binding, "", nil); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("approved too late: got %v, want FailedPrecondition", err)
	}
	b.want(t, b.call("c1"), denied, "daemon:approval-expired", 0)
	b.want(t, b.call("c2"), denied, "daemon:approval-expired", 0)
	if res := b.want(t, b.call("c1"), denied, "daemon:approval-expired", 0); !res.Replayed {
		t.Error("the denial is not final")
	}
	b.terms.OnTimeout = policy.Allow
	b.ask(t, b.call("c3"))
	b.clock.Add(601)
	b.want(t, b.call("c3"), exited, "unsure", 1)
}

// TestRaceApprovedTwice: one approval runs the call once, however often it is approved and
// sent.
func TestRaceApprovedTwice(t *testing.T) {
	b := newAsking(t)
	a := b.ask(t, b.call("c1"))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got, err := b.Approve(t.Context(), bob, a.ID, a.Binding, "", nil); err != nil || len(got.Votes) != 1 {
				t.Errorf("got %d votes, %v", len(got.Votes), err)
			}
		})
	}
	all.Wait()
	for range 32 {
		all.Go(func() {
			if res := b.do(t, b.call("c1")); res.Outcome != exited {
				t.Errorf("got %s", res.Outcome)
			}
		})
	}
	all.Wait()
	if n := len(b.runtime.Calls()); n != 1 {
		t.Errorf("it ran %d times", n)
	}
	other := b.call("c2") // the approval is of one call id
	b.want(t, other, askedAgain, "unsure", 1)
}

func TestRaceApproverIsRequester(t *testing.T) {
	b := newAsking(t)
	a := b.ask(t, b.call("c1"))
	if _, err := b.Approve(t.Context(), alice, a.ID, a.Binding, "", nil); !errdefs.IsPermissionDenied(err) {
		t.Errorf("got %v, want PermissionDenied", err)
	}
	b.want(t, b.call("c1"), askedAgain, "unsure", 0)
	b.terms.Self = true
	a = b.ask(t, b.call("c2"))
	if _, err := b.Approve(t.Context(), alice, a.ID, a.Binding, "", nil); err != nil {
		t.Errorf("where policy lets it: %v", err)
	}
	b.want(t, b.call("c2"), exited, "unsure", 1)
	mallory := gate.Caller{ID: "unix:uid:6", Transport: "unix"}
	if _, err := b.Approve(t.Context(), mallory, a.ID, a.Binding, "", nil); !errdefs.IsNotFound(err) {
		t.Errorf("somebody who may not see it: got %v, want NotFound", err)
	}
}

func TestRaceDaemonRestarted(t *testing.T) {
	b := newAsking(t)
	a := b.ask(t, b.call("c1"))
	b.start(t)
	if again := b.ask(t, b.call("c1")); again.ID != a.ID {
		t.Fatalf("after a restart %s is asked, want the same %s", again.ID, a.ID)
	}
	b.approve(t, a)
	b.start(t)
	b.want(t, b.call("c1"), exited, "unsure", 1)
	b.start(t)
	if res := b.want(t, b.call("c1"), exited, "unsure", 0); !res.Replayed {
		t.Error("after another restart it is no replay")
	}
	if got := b.stateOf(t, a.ID); got != approval.Used {
		t.Errorf("the approval is %s, want used", got)
	}
	changed := b.ask(t, b.call("c2"))
	b.approve(t, changed)
	b.write(t, "s.sh", "rm -rf .")
	b.start(t)
	if res := b.want(t, b.call("c2"), askedAgain, "unsure", 0); res.ApprovalID == changed.ID {
		t.Error("a script that changed while the daemon was down runs by the old approval")
	}
}

// TestAnApprovalComesBackWhenTheCallDidNotRun: no intent, no use.
func TestAnApprovalComesBackWhenTheCallDidNotRun(t *testing.T) {
	b := newAsking(t)
	a := b.ask(t, b.call("c1"))
	b.approve(t, a)
	b.broken.broken = []journal.Kind{journal.KindIntent}
	if _, err := b.Execute(t.Context(), b.call("c1"), nil); err == nil {
		t.Fatal("it ran without an intent")
	}
	if got := b.stateOf(t, a.ID); got != approval.Approved {
		t.Errorf("the approval is %s, want approved", got)
	}
	b.broken.broken = nil
	b.want(t, b.call("c1"), exited, "unsure", 1)
}

// host is one that waits for approvals; seen gets what it was told.
type host struct{ seen chan string }

func (h host) Decided(_ string, d policy.Decision)  { h.seen <- "decided " + string(d.Outcome) }
func (h host) Asked(a approval.Approval)            { h.seen <- a.ID }
func (h host) Started(sandbox.Receipt)              { h.seen <- "started" }
func (h host) Output(sandbox.Stream, int64, []byte) {}
func (h host) next(t *testing.T) string             { t.Helper(); return <-h.seen }
func (b *asking) stream(ctx context.Context, t *testing.T, call gate.Call) (host, chan gate.Result, chan error) {
	t.Helper()
	h, results, errs := host{make(chan string, 16)}, make(chan gate.Result, 1), make(chan error, 1)
	go func() {
		res, err := b.Execute(ctx, call, h)
		results <- res
		errs <- err
	}()
	if got := h.next(t); got != "decided ask" {
		t.Fatalf("told %q first", got)
	}
	return h, results, errs
}

func TestAHostWaitsForTheAnswer(t *testing.T) {
	b := newAsking(t)
	h, results, errs := b.stream(t.Context(), t, b.call("c1"))
	id := h.next(t)
	a, err := b.approvals.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	b.write(t, "s.sh", "echo other") // it is voided and asked anew, without another decision
	if _, err := b.Approve(t.Context(), bob, a.ID, a.Binding, "", nil); !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("got %v, want FailedPrecondition", err)
	}
	anew := h.next(t)
	if anew == id {
		t.Fatal("the same question again")
	}
	if a, err = b.approvals.Get(t.Context(), anew); err != nil {
		t.Fatal(err)
	}
	b.approve(t, a)
	if got := h.next(t); got != "started" {
		t.Errorf("told %q, want that it started", got)
	}
	if res, err := <-results, <-errs; err != nil || res.Outcome != exited || res.ApprovalID != anew {
		t.Errorf("got %s by %s, %v", res.Outcome, res.ApprovalID, err)
	}

	h, results, errs = b.stream(t.Context(), t, b.call("c2"))
	if _, err := b.Deny(t.Context(), bob, h.next(t), "not on a Sunday"); err != nil {
		t.Fatal(err)
	}
	if res, err := <-results, <-errs; err != nil || res.Outcome != denied || !strings.Contains(res.Message, "not on a Sunday") {
		t.Errorf("got %s (%s), %v", res.Outcome, res.Message, err)
	}
}

func TestAHostThatGoesAwayComesBack(t *testing.T) {
	b := newAsking(t)
	ctx, leave := context.WithCancel(t.Context())
	h, results, errs := b.stream(ctx, t, b.call("c1"))
	id := h.next(t)
	leave()
	if <-results; !errors.Is(<-errs, context.Canceled) {
		t.Error("the host that left got no error")
	}
	a, err := b.approvals.Get(t.Context(), id)
	if err != nil || a.State != approval.Pending {
		t.Fatalf("the question is %s, %v, want pending", a.State, err)
	}
	b.approve(t, a)
	b.want(t, b.call("c1"), exited, "unsure", 1)
}

func TestGrantsLetCallsRunAsOftenAsTheySay(t *testing.T) {
	b := newAsking(t)
	b.grantable = true
	call := func(id string) gate.Call {
		c := bash(id, "git commit -m "+id)
		c.WorkspaceDir = b.ws
		return c
	}
	a := b.ask(t, call("c1"))
	if a.Offer == nil || a.Offer.Summary != "`git commit`, any text for -m" {
		t.Fatalf("offered %+v (%s)", a.Offer, a.NoOffer)
	}
	if _, err := b.Approve(t.Context(), bob, a.ID, a.Binding, "", &grant.Terms{Uses: 3}); err != nil {
		t.Fatal(err)
	}
	if res := b.want(t, call("c1"), exited, "unsure", 1); res.Decision.Grants != nil {
		t.Errorf("the approved call itself used %v", res.Decision.Grants)
	}
	b.want(t, call("c2"), exited, "unsure", 2)
	b.start(t)
	b.want(t, call("c3"), exited, "unsure", 1)
	list, err := b.ListGrants(t.Context(), alice)
	if err != nil || len(list) != 1 || list[0].Used != 2 {
		t.Fatalf("got %+v, %v, want 2 of 3 uses", list, err)
	}
	var ran atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			if res := b.do(t, call(fmt.Sprintf("p%d", i))); res.Outcome == exited {
				ran.Add(1)
			}
		})
	}
	all.Wait()
	if ran.Load() != 1 {
		t.Errorf("%d calls took the last use", ran.Load())
	}
	other := call("c9")
	other.Caller = bob
	other.Profile = "readonly"
	b.want(t, other, askedAgain, "unsure", 2)
}

func TestARevokedGrantLetsNothingRun(t *testing.T) {
	b := newAsking(t)
	b.grantable = true
	c := bash("c1", "git commit -m x")
	c.WorkspaceDir = b.ws
	a := b.ask(t, c)
	if _, err := b.Approve(t.Context(), bob, a.ID, a.Binding, "", &grant.Terms{}); err != nil {
		t.Fatal(err)
	}
	b.do(t, c)
	list, err := b.ListGrants(t.Context(), bob)
	if err != nil || len(list) != 1 {
		t.Fatalf("got %+v, %v", list, err)
	}
	if mine, err := b.ListGrants(t.Context(), gate.Caller{ID: "unix:uid:6"}); err != nil || mine != nil {
		t.Errorf("somebody else sees %v, %v", mine, err)
	}
	if _, err := b.RevokeGrant(t.Context(), gate.Caller{ID: "unix:uid:6"}, list[0].ID); !errdefs.IsNotFound(err) {
		t.Errorf("revoked by somebody else: got %v, want NotFound", err)
	}
	if _, err := b.RevokeGrant(t.Context(), alice, list[0].ID); err != nil {
		t.Fatal(err)
	}
	c.ID = "c2"
	b.want(t, c, askedAgain, "unsure", 1)
}

// TestAPermitThatGoesAwayOnTheWay: policy saw a grant that is used up when the call is to
// run, and is asked again without it.
func TestAPermitThatGoesAwayOnTheWay(t *testing.T) {
	b := newAsking(t)
	c := bash("c1", "git commit -m x")
	c.WorkspaceDir = b.ws
	asked := 0
	b.policy.decide = func(in policy.Input) policy.Decision {
		d := b.decide(in)
		if asked++; asked == 1 {
			d.Outcome, d.Ask, d.Grants = policy.Allow, nil, []string{"g-gone"}
		}
		return d
	}
	b.want(t, c, askedAgain, "unsure", 0)
	if asked != 2 {
		t.Errorf("policy was asked %d times, want 2", asked)
	}
	c.ID = "c2"
	b.policy.decide = func(in policy.Input) policy.Decision { // one that names what never was
		d := b.decide(in)
		d.Outcome, d.Ask, d.Grants = policy.Allow, nil, []string{"g-gone"}
		return d
	}
	if _, err := b.Execute(t.Context(), c, nil); err == nil || len(b.runtime.Calls()) != 0 {
		t.Errorf("got %v and %d runs, want an error and none", err, len(b.runtime.Calls()))
	}
}

func TestWhoSeesApprovals(t *testing.T) {
	b := newAsking(t)
	a := b.ask(t, b.call("c1"))
	b.write(t, "s.sh", "echo other")
	for who, want := range map[string]int{alice.ID: 1, bob.ID: 1, "unix:uid:6": 0} {
		list, err := b.ListApprovals(t.Context(), gate.Caller{ID: who}, approval.Pending)
		if err != nil || len(list) != want {
			t.Errorf("%s sees %d, %v, want %d", who, len(list), err, want)
		}
		for _, seen := range list {
			if !slices.Contains(seen.Changed, "/workspace/s.sh has another content") || (seen.Refusal != "") != (who == alice.ID) {
				t.Errorf("%s sees changes %q and the refusal %q", who, seen.Changed, seen.Refusal)
			}
		}
	}
	if _, err := b.GetApproval(t.Context(), gate.Caller{ID: "unix:uid:6"}, a.ID); !errdefs.IsNotFound(err) {
		t.Errorf("got %v, want NotFound", err)
	}
}
