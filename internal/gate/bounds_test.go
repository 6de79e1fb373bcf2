package gate_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

func deniesFor(n int, text string) func(policy.Input) policy.Decision {
	return func(policy.Input) policy.Decision {
		d := policy.Decision{Outcome: policy.Deny}
		for i := range n {
			d.Reasons = append(d.Reasons, policy.Reason{Rule: fmt.Sprintf("r%d", i), Message: text})
			d.Shadow = append(d.Shadow, policy.Shadow{Rule: "s", Would: policy.Ask})
		}
		return d
	}
}

func TestOneCallerCannotLockOthersOutOfSessions(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	existing := bash("", "true")
	existing.Caller, existing.SessionID = bob, "work"
	b.do(t, existing)
	b.policy.decide = deniesFor(1, "no")
	for i := range 200 {
		call := bash("", "rm -rf .")
		call.SessionID = fmt.Sprintf("s%d", i)
		_, err := b.Execute(t.Context(), call, nil)
		if i < 128 && err != nil || i >= 128 && !errdefs.IsResourceExhausted(err) {
			t.Fatalf("session %d of a caller that may have 128: %v", i, err)
		}
	}
	b.policy.decide = nil
	fresh := existing
	fresh.SessionID = "fresh"
	for _, call := range []gate.Call{existing, fresh} {
		if res := b.do(t, call); res.Outcome != "EXITED" {
			t.Errorf("session %s: %+v", call.SessionID, res)
		}
	}
	if st, ok, err := b.sessions.Peek(alice.ID, "s0"); err != nil || !ok || st.Counts["deny"] != 1 {
		t.Errorf("the denials of a session are forgotten: %+v %t %v", st, ok, err)
	}
}

func TestEvaluateMakesNoSession(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	call := bash("", "true")
	call.SessionID = "s"
	if _, err := b.Evaluate(t.Context(), call, true); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := b.sessions.Peek(alice.ID, "s"); ok || err != nil {
		t.Errorf("there is a session (%v)", err)
	}
}

func TestOneCallerCannotTakeAllSlots(t *testing.T) {
	running, release := make(chan struct{}), make(chan struct{})
	b := newBench(t, t.TempDir(), func(_ context.Context, call sandbox.Call) (sandbox.Result, error) {
		if strings.HasPrefix(call.ID, "long") {
			running <- struct{}{}
			<-release
		}
		return sandboxtest.Exit(0, ""), nil
	}, inLine(t, admission.Config{Budget: admission.Resources{Calls: 4}, CallerShare: 0.5, MaxWaiting: -1}))
	done := make(chan error, 2)
	for i := range 2 {
		go func() {
			_, err := b.Execute(context.Background(), bash(fmt.Sprintf("long%d", i), "sleep 60"), nil)
			done <- err
		}()
		<-running
	}
	_, err := b.Execute(t.Context(), bash("more", "true"), nil)
	if !errdefs.IsResourceExhausted(err) {
		t.Errorf("beyond its share: got %v, want resource exhausted", err)
	}
	other := bash("other", "true")
	other.Caller = bob
	b.do(t, other)
	close(release)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	b.do(t, bash("more", "true")) // the slots came back
}

// queue is a runtime whose calls wait for a cell that never comes.
type queue struct{ sandbox.Runtime }

func (q queue) Run(ctx context.Context, call sandbox.Call) (sandbox.Result, error) {
	<-ctx.Done()
	return q.Runtime.Run(ctx, call) // which tells how a call ends that has not begun
}

func TestTimeoutCountsTheWaitForACell(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, func(c *gate.Config) { c.Runtime = queue{c.Runtime} })
	call := bash("c1", "true")
	call.Timeout = time.Millisecond
	res := b.do(t, call)
	if res.Outcome != "TIMED_OUT" || !res.IsError || res.Receipt != nil || !strings.Contains(res.Message, "before its program began") {
		t.Errorf("got %+v, want TIMED_OUT and that it did not run", res)
	}
	if got := b.records(t); len(got) != 2 || got[1].Outcome != "TIMED_OUT" {
		t.Errorf("records: %v", got)
	}
}

// deadlines is a runtime that keeps how long its calls have.
type deadlines struct {
	sandbox.Runtime
	left map[string]time.Duration // by the beginning of the call's id; 0: no deadline
}

func (d deadlines) Run(ctx context.Context, call sandbox.Call) (sandbox.Result, error) {
	d.left[call.ID[:2]] = 0
	if at, ok := ctx.Deadline(); ok {
		d.left[call.ID[:2]] = time.Until(at)
	}
	return d.Runtime.Run(ctx, call)
}

func TestOnlyTheHostsTimeoutBoundsTheWait(t *testing.T) {
	left := make(map[string]time.Duration)
	now := time.Unix(1000, 0)
	b := newBench(t, t.TempDir(), nil, func(c *gate.Config) {
		c.Runtime, c.Now = deadlines{c.Runtime, left}, func() time.Time { return now }
	})
	none, hour, late, ever := bash("c1", "true"), bash("c2", "true"), bash("c3", "true"), bash("c4", "true")
	hour.Timeout, late.Timeout, ever.Timeout = time.Hour, time.Hour, 1<<63-1
	b.do(t, none)
	b.do(t, hour)
	b.do(t, ever)
	b.policy.decide = func(policy.Input) policy.Decision {
		now = now.Add(2 * time.Hour)
		return policy.Decision{Outcome: policy.Allow}
	}
	if res := b.do(t, late); res.Outcome != "TIMED_OUT" {
		t.Errorf("too late from the beginning: %+v, want TIMED_OUT", res)
	}
	if left["c1"] != 0 || left["c2"] < time.Hour-time.Minute || left["c2"] > time.Hour+time.Minute || left["c4"] < time.Hour {
		t.Errorf("calls have %v", left)
	}
	for _, c := range b.runtime.Calls() {
		if c.Limits.WallTime != 5*time.Second {
			t.Errorf("%s: the program has %s, want 5s", c.ID, c.Limits.WallTime)
		}
	}
}

func TestReasonsAreBounded(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	b.policy.decide = deniesFor(100, "no")
	res := b.do(t, bash("c1", "true"))
	for _, got := range []gate.Result{res, b.do(t, bash("c1", "true"))} {
		reasons := got.Decision.Reasons
		if len(reasons) != 64 || reasons[62].Rule != "r62" || reasons[63].Rule != "daemon:more" || reasons[63].Message != "and 37 more" {
			t.Errorf("%d reasons, the last %+v: want 64, the last telling of 37 more", len(reasons), reasons[len(reasons)-1])
		}
		if shadow := got.Decision.Shadow; len(shadow) != 64 || shadow[63].Rule != "daemon:more" {
			t.Errorf("%d shadow entries, want 64", len(shadow))
		}
		if got.Outcome != gate.OutcomeDenied || !strings.HasSuffix(got.Message, "and more than 59 more") {
			t.Errorf("%s %q", got.Outcome, got.Message)
		}
	}
	b.policy.decide = deniesFor(64, "no")
	if got := b.do(t, bash("c2", "true")).Decision.Reasons; got[63].Rule != "r63" {
		t.Errorf("64 reasons were cut: the last is %+v", got[63])
	}
}

func TestReasonsCountAsKeptBytes(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, func(c *gate.Config) { c.Memory = gate.Memory{OutputBytes: 20_000} })
	b.policy.decide = deniesFor(10, strings.Repeat("€", 300))
	first := b.do(t, bash("c0", "true"))
	b.do(t, bash("c1", "true"))
	old := b.do(t, bash("c0", "true"))
	if !old.Replayed || old.Outcome != gate.OutcomeDenied || old.Decision.Outcome != policy.Deny || len(old.Decision.Reasons) != 1 {
		t.Errorf("oldest: %+v, want DENIED with its first reason alone", old)
	}
	if n := len(old.Message); n == 0 || n > 600 || !strings.HasPrefix(first.Message, strings.TrimSuffix(old.Message, "…")) {
		t.Errorf("oldest: message of %d bytes %q", n, old.Message)
	}
	if got := b.do(t, bash("c1", "true")); !got.Replayed || len(got.Decision.Reasons) != 10 {
		t.Errorf("newest: %d reasons, want all 10", len(got.Decision.Reasons))
	}
}
