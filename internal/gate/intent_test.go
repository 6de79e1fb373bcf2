package gate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
)

// slowJournal holds intents up until they are let go, with an error or without.
type slowJournal struct {
	inner *journal.Journal
	came  chan struct{} // gets one for each intent
	let   chan error    // what becomes of it
}

func (s *slowJournal) Append(ctx context.Context, e journal.Entry) (int64, error) {
	return s.inner.Append(ctx, e)
}

func (s *slowJournal) Begin(ctx context.Context, e journal.Entry) journal.Pending {
	if e.Kind == journal.KindOutcome { // only intents are slow
		return s.inner.Begin(ctx, e)
	}
	p := &slowEntry{done: make(chan struct{})}
	s.came <- struct{}{}
	go func() {
		defer close(p.done)
		if p.err = <-s.let; p.err == nil {
			p.seq, p.err = s.inner.Append(context.WithoutCancel(ctx), e)
		}
	}()
	return p
}

// slowEntry is an intent that is held up.
type slowEntry struct {
	done chan struct{}
	seq  int64
	err  error
}

func (p *slowEntry) Wait(ctx context.Context) (int64, error) {
	select {
	case <-p.done:
		return p.seq, p.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// slow makes a gate with a slow journal, whose runtime tells when it was entered.
func slow(t *testing.T) (b *bench, s *slowJournal, entered chan struct{}) {
	t.Helper()
	s = &slowJournal{came: make(chan struct{}, 8), let: make(chan error)}
	entered = make(chan struct{}, 8)
	b = newBench(t, t.TempDir(), nil, func(c *gate.Config) {
		c.Journal = s
		c.Runtime = &enteredRuntime{c.Runtime, entered}
	})
	s.inner = b.journal
	return b, s, entered
}

type enteredRuntime struct {
	sandbox.Runtime
	entered chan struct{}
}

func (e *enteredRuntime) Run(ctx context.Context, call sandbox.Call) (sandbox.Result, error) {
	e.entered <- struct{}{}
	return e.Runtime.Run(ctx, call)
}

type answer struct {
	res gate.Result
	err error
}

func (b *bench) start(ctx context.Context, call gate.Call) chan answer {
	got := make(chan answer, 1)
	go func() {
		res, err := b.Execute(ctx, call, nil)
		got <- answer{res, err}
	}()
	return got
}

func TestSandboxMakesReadyWhileTheIntentIsWritten(t *testing.T) {
	b, journaled, entered := slow(t)
	got := b.start(t.Context(), bash("c1", "true"))
	<-journaled.came
	<-entered // the sandbox is at work, and the intent not on disk
	if n := len(b.runtime.Calls()); n != 0 {
		t.Errorf("%d programs run without an intent", n)
	}
	journaled.let <- nil
	if a := <-got; a.err != nil || a.res.Outcome != "EXITED" || len(b.runtime.Calls()) != 1 {
		t.Errorf("got %+v, want that it ran", a)
	}
	want := []record{{journal.KindIntent, "c1", ""}, {journal.KindOutcome, "c1", "EXITED"}}
	if diff := cmp.Diff(want, b.records(t)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestNothingRunsWhenTheIntentFailsLate(t *testing.T) {
	b, journaled, entered := slow(t)
	b.policy.decide = func(policy.Input) policy.Decision {
		return policy.Decision{Outcome: policy.Allow, Labels: []string{"read:secrets"}}
	}
	call := bash("c1", "true")
	call.SessionID = "s"
	got := b.start(t.Context(), call)
	<-entered
	journaled.let <- errdefs.ErrUnavailable
	if a := <-got; !errdefs.IsUnavailable(a.err) || len(b.runtime.Calls()) != 0 {
		t.Errorf("got %+v and %d programs, want the journal's error and none", a, len(b.runtime.Calls()))
	}
	if st, ok, err := b.sessions.Peek(alice.ID, "s"); err != nil || ok && (st.Seq != 0 || len(st.Labels) != 0) {
		t.Errorf("the session counts a call that was not recorded: %+v %v", st, err)
	}
	<-journaled.came
	got = b.start(t.Context(), call) // the id is free again
	<-journaled.came
	journaled.let <- nil
	if a := <-got; a.err != nil || a.res.Replayed || len(b.runtime.Calls()) != 1 {
		t.Errorf("second attempt: %+v", a)
	}
	if st, _, err := b.sessions.Peek(alice.ID, "s"); err != nil || st.Seq != 1 || len(st.Labels) != 1 {
		t.Errorf("session after the second attempt: %+v %v", st, err)
	}
}

func TestCancelledWhileTheIntentIsWritten(t *testing.T) {
	for name, fails := range map[string]error{"written": nil, "not written": errdefs.ErrResourceExhausted} {
		t.Run(name, func(t *testing.T) {
			b, journaled, entered := slow(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			got := b.start(ctx, bash("c1", "true"))
			<-journaled.came
			<-entered
			cancel(errors.New("host went away"))
			journaled.let <- fails
			a := <-got
			if n := len(b.runtime.Calls()); n != 0 {
				t.Errorf("%d programs ran after the cancellation", n)
			}
			var want []record
			if fails == nil {
				want = []record{{journal.KindIntent, "c1", ""}, {journal.KindOutcome, "c1", "CANCELLED"}}
				if a.err != nil || a.res.Outcome != "CANCELLED" {
					t.Errorf("got %+v, want CANCELLED", a)
				}
			} else if !errdefs.IsResourceExhausted(a.err) {
				t.Errorf("got %+v, want the journal's error", a)
			}
			if diff := cmp.Diff(want, b.records(t)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

// oddRuntime fails as it likes after it was asked to be ready, or before.
type oddRuntime struct {
	sandbox.Runtime
	ask  bool
	fail error
}

func (o *oddRuntime) Run(ctx context.Context, call sandbox.Call) (sandbox.Result, error) {
	if o.ask {
		if err := call.Ready(ctx); err != nil {
			return sandbox.Result{}, err
		}
	}
	return sandbox.Result{}, o.fail
}

func TestFailureBeforeAndAfterReady(t *testing.T) {
	broken := errors.New("the cell is broken")
	for name, tt := range map[string]struct {
		runtime oddRuntime
		want    string
	}{
		"no cell":                         {oddRuntime{fail: errdefs.ErrUnavailable}, "NOT_RUN"},
		"lost after it was ready":         {oddRuntime{ask: true, fail: broken}, "UNKNOWN"},
		"lost, and it had not even asked": {oddRuntime{fail: broken}, "UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, t.TempDir(), nil, func(c *gate.Config) {
				tt.runtime.Runtime = c.Runtime
				c.Runtime = &tt.runtime
			})
			if _, err := b.Execute(t.Context(), bash("c1", "true"), nil); !errors.Is(err, tt.runtime.fail) {
				t.Errorf("got %v, want the runtime's error", err)
			}
			want := []record{{journal.KindIntent, "c1", ""}, {journal.KindOutcome, "c1", tt.want}}
			if diff := cmp.Diff(want, b.records(t)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOwnersAreOpaqueAndDiffer(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	for _, caller := range []gate.Caller{alice, alice, bob} {
		call := bash("", "true")
		call.Caller = caller
		b.do(t, call)
	}
	calls := b.runtime.Calls()
	if calls[0].Owner == "" || calls[0].Owner == alice.ID || calls[0].Owner != calls[1].Owner || calls[0].Owner == calls[2].Owner {
		t.Errorf("owners %q %q %q, want one for each caller that does not tell who it is", calls[0].Owner, calls[1].Owner, calls[2].Owner)
	}
}

func TestTimeoutCountsWhileTheIntentIsWritten(t *testing.T) {
	b, journaled, entered := slow(t)
	call := bash("c1", "true")
	call.Timeout = time.Millisecond // and the margin for a start
	got := b.start(t.Context(), call)
	<-journaled.came
	<-entered
	select {
	case a := <-got:
		t.Fatalf("it ended before its intent was settled: %+v", a)
	case <-time.After(600 * time.Millisecond):
	}
	journaled.let <- nil
	if a := <-got; a.err != nil || a.res.Outcome != "TIMED_OUT" || len(b.runtime.Calls()) != 0 {
		t.Errorf("got %+v and %d programs, want TIMED_OUT and none", a, len(b.runtime.Calls()))
	}
}
