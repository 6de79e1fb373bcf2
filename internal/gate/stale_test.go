package gate_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
)

// holding begins a call that works in the workspace of b until the function is called.
func (b *asking) holding(t *testing.T, call gate.Call) (release func()) {
	t.Helper()
	began, end := make(chan struct{}), make(chan struct{})
	before := b.beforeRun
	var once sync.Once
	b.beforeRun = func() {
		first := false
		once.Do(func() { first = true })
		if first {
			close(began)
			<-end
			return
		}
		if before != nil {
			before()
		}
	}
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := b.Execute(context.WithoutCancel(t.Context()), call, nil); err != nil {
			t.Error(err)
		}
	})
	<-began
	return sync.OnceFunc(func() { close(end); all.Wait() })
}

// waits returns once the approved call of the approval waits for another one.
func (b *asking) waits(t *testing.T, id string) string {
	t.Helper()
	for {
		seen, err := b.GetApproval(t.Context(), alice, id)
		if err != nil {
			t.Fatal(err)
		}
		if seen.WaitsFor != "" {
			return seen.WaitsFor
		}
		select {
		case <-t.Context().Done():
			t.Fatal("it never waited")
		case <-time.After(time.Millisecond):
		}
	}
}

// TestRacePolicyReloadedWhileItWaitsForItsTurn: the approval was of another revision when
// the turn came, and the call is asked about anew.
func TestRacePolicyReloadedWhileItWaitsForItsTurn(t *testing.T) {
	b := newAsking(t)
	b.asksAboutOnly("c1")
	inForce := b.revise()
	a := b.ask(t, b.call("c1"))
	b.approve(t, a)
	release := b.holding(t, b.call("w1"))
	defer release()
	results := make(chan gate.Result, 1)
	go func() {
		res, err := b.Execute(context.WithoutCancel(t.Context()), b.call("c1"), nil)
		if err != nil {
			t.Error(err)
		}
		results <- res
	}()
	b.waits(t, a.ID)
	inForce("rev2")
	release()
	res := <-results
	if res.Outcome != askedAgain || res.ApprovalID == a.ID || b.stateOf(t, a.ID) != approval.Void {
		t.Errorf("got %s, approval %s; the old one is %s", res.Outcome, res.ApprovalID, b.stateOf(t, a.ID))
	}
	if n := len(b.runtime.Calls()); n != 1 {
		t.Errorf("%d calls have run, want only the one before it", n)
	}
}

// revise gives the policy of b a revision that can be changed while calls wait.
func (b *asking) revise() (set func(string)) {
	b.policy.revision.Store(&b.revision)
	decide := b.policy.decide
	b.policy.decide = func(in policy.Input) policy.Decision {
		d := decide(in)
		d.Revision = *b.policy.revision.Load()
		return d
	}
	return func(rev string) { b.policy.revision.Store(&rev) }
}

// TestACallThatIsDecidedAnewGetsAnotherTurn: one that only read by the old decision, and
// was admitted beside an approved call, may write by the new one: it waits for that call.
func TestACallThatIsDecidedAnewGetsAnotherTurn(t *testing.T) {
	b := newAsking(t)
	approved := b.ask(t, b.call("c1"))
	b.approve(t, approved)
	inForce := b.revise()
	decide := b.policy.decide
	decided := 0
	b.policy.decide = func(in policy.Input) policy.Decision {
		d := decide(in)
		if in.Call.ID != "c2" {
			return d
		}
		d.Outcome, d.Ask = policy.Allow, nil
		if decided++; decided == 1 { // by the time it has its place another revision is in force
			d.Obligations.Sandbox.Workspace = "ro"
			inForce("rev2")
		}
		return d
	}
	release := b.holding(t, b.call("c1")) // runs alone
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 1)
	go func() {
		_, err := b.Execute(ctx, b.call("c2"), nil)
		errs <- err
	}()
	select {
	case err := <-errs:
		t.Errorf("it did not wait for the approved call: %v, decided %d times, %d ran", err, decided, len(b.runtime.Calls()))
	case <-time.After(100 * time.Millisecond):
		cancel()
		if err := <-errs; err == nil {
			t.Error("it ran beside the approved call")
		}
	}
	cancel()
	release()
	if decided != 2 {
		t.Errorf("decided %d times, want 2", decided)
	}
}

// TestAnApprovedCallSaysForWhomItWaits: for a call in the background of its own caller,
// and for another caller's.
func TestAnApprovedCallSaysForWhomItWaits(t *testing.T) {
	b := newAskingWith(t, func(c *gate.Config) { c.TurnWait = 50 * time.Millisecond })
	b.asksAboutOnly("c1")
	a := b.ask(t, b.call("c1"))
	b.approve(t, a)
	for who, want := range map[*gate.Caller]string{&alice: `call "w-` + alice.ID[9:] + `", which works in the same workspace`, &bob: "a call of another caller"} {
		other := b.call("w-" + who.ID[9:])
		other.Caller = *who
		release := b.holding(t, other)
		_, err := b.Execute(t.Context(), b.call("c1"), nil)
		if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want Unavailable with %q", err, want)
		}
		release()
	}
	long := b.call("c1") // its own deadline is sooner
	long.Timeout = time.Millisecond
	release := b.holding(t, b.call("w3"))
	if _, err := b.Execute(t.Context(), long, nil); !errdefs.IsUnavailable(err) {
		t.Errorf("with a timeout of its own: got %v, want Unavailable", err)
	}
	release()
	b.want(t, b.call("c1"), exited, "unsure", 4)
}
