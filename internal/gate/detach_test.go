package gate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/internal/spool"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// program is a call of the fake runtime that the test leads.
type program struct {
	call    sandbox.Call
	release chan sandbox.Result
}

// led makes a bench whose programs the test leads: each comes out of the channel
// once it runs.
func led(t *testing.T, dir string, set func(*gate.Config)) (*bench, chan program) {
	t.Helper()
	programs := make(chan program, 64)
	b := newBench(t, dir, func(ctx context.Context, call sandbox.Call) (sandbox.Result, error) {
		p := program{call, make(chan sandbox.Result, 1)}
		programs <- p
		select {
		case res := <-p.release:
			return res, nil
		case <-ctx.Done():
			return sandbox.Result{Outcome: sandbox.OutcomeCancelled, ExitCode: -1}, nil
		}
	}, set)
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b, programs
}

// withOutputs keeps outputs in a directory, over benches.
func withOutputs(t *testing.T, dir string) (func(*gate.Config), *spool.Store) {
	t.Helper()
	store, err := spool.OpenStore(spool.StoreConfig{
		Dir: filepath.Join(dir, "outputs"), Bytes: 1 << 20, Keep: time.Hour, Problem: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(c *gate.Config) { c.Output, c.Files = store, spool.NewFiles(store.Dir(), 1<<16, 1<<20) }, store
}

// follower notes what it is told.
type follower struct {
	mu      sync.Mutex
	told    []string
	changed chan struct{} // one for each thing told
	hold    chan struct{} // nil: it is quick
}

func newFollower() *follower { return &follower{changed: make(chan struct{}, 1024)} }

func (f *follower) note(format string, args ...any) {
	f.mu.Lock()
	f.told = append(f.told, fmt.Sprintf(format, args...))
	f.mu.Unlock()
	f.changed <- struct{}{}
	if f.hold != nil {
		<-f.hold
	}
}

func (f *follower) Decided(id string, d policy.Decision) { f.note("decided %s %s", id, d.Outcome) }
func (f *follower) Started(sandbox.Receipt)              { f.note("started") }

func (f *follower) Output(s sandbox.Stream, offset int64, data []byte) {
	f.note("%d@%d %s", s, offset, data)
}

func (f *follower) Gap(s sandbox.Stream, offset, size int64) {
	f.note("gap %d@%d %d", s, offset, size)
}

func (f *follower) all() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.told, "; ")
}

// attached attaches in the background and gives the result.
func (b *bench) attached(ctx context.Context, id string, stdout, stderr int64, f gate.Follower) chan error {
	done := make(chan error, 1)
	go func() {
		_, err := b.Attach(ctx, alice, id, stdout, stderr, f)
		done <- err
	}()
	return done
}

func TestDetachedCallGoesOnWithoutItsRequest(t *testing.T) {
	b, programs := led(t, t.TempDir(), func(c *gate.Config) {
		c.Background = gate.Background{WallTime: 20 * time.Second, MaxWallTime: time.Minute}
	})
	ctx, cancel := context.WithCancel(t.Context())
	running, res, err := b.Start(ctx, bash("c1", "sleep"))
	if err != nil || res != nil || running.CallID != "c1" || running.Decision.Outcome != policy.Allow || running.Started.IsZero() {
		t.Fatalf("got %+v, %+v, %v", running, res, err)
	}
	cancel()
	p := <-programs
	if p.call.Limits.WallTime != 20*time.Second {
		t.Errorf("wall time %v, want that of the background", p.call.Limits.WallTime)
	}
	again, _, err := b.Start(t.Context(), bash("c1", "sleep"))
	if err != nil || again == nil || again.Digest != running.Digest {
		t.Errorf("sent again: %+v, %v", again, err)
	}
	st, err := b.GetCall(t.Context(), alice, "c1")
	if err != nil || st.Result != nil || st.Receipt == nil || !st.Detached || st.Decision == nil {
		t.Errorf("status: %+v, %v", st, err)
	}
	f := newFollower()
	done := b.attached(t.Context(), "c1", 0, 0, f)
	<-f.changed // decided
	<-f.changed // started
	p.call.Observer.Output(sandbox.Stdout, 0, []byte("one"))
	<-f.changed
	p.release <- sandboxtest.Exit(3, "one")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, want := f.all(), "decided c1 allow; started; 1@0 one"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if res := b.do(t, bash("c1", "sleep")); res.ExitCode != 3 || !res.Replayed || string(res.Stdout.Head) != "one" {
		t.Errorf("by Execute: %+v", res)
	}
	if len(b.runtime.Calls()) != 1 {
		t.Error("it ran more than once")
	}
}

func TestDetachedCallThatDoesNotRunGivesItsResult(t *testing.T) {
	b, _ := led(t, t.TempDir(), nil)
	b.policy.decide = func(policy.Input) policy.Decision { return policy.Decision{Outcome: policy.Deny} }
	running, res, err := b.Start(t.Context(), bash("c1", "x"))
	if err != nil || running != nil || res.Outcome != gate.OutcomeDenied || res.Replayed {
		t.Errorf("got %+v, %+v, %v", running, res, err)
	}
	b.policy.decide = nil
	b.runtime.SetReady(errors.New("no cells"))
	if _, _, err := b.Start(t.Context(), bash("c2", "x")); !errdefs.IsUnavailable(err) {
		t.Errorf("without cells: %v", err)
	}
	if _, err := b.GetCall(t.Context(), alice, "c2"); !errdefs.IsNotFound(err) {
		t.Errorf("a call that did not run is known: %v", err)
	}
}

func TestDetachedCallsAreBoundedAndEndWithSessionAndGate(t *testing.T) {
	b, programs := led(t, t.TempDir(), func(c *gate.Config) { c.Memory.Detached = 2 })
	start := func(id, session string) error {
		call := bash(id, "sleep")
		call.SessionID = session
		_, _, err := b.Start(t.Context(), call)
		return err
	}
	for i, session := range []string{"s", ""} {
		if err := start(fmt.Sprintf("c%d", i), session); err != nil {
			t.Fatal(err)
		}
		<-programs
	}
	if err := start("c2", ""); !errdefs.IsResourceExhausted(err) {
		t.Errorf("the third: %v", err)
	}
	other := bash("c2", "sleep")
	other.Caller = bob
	if _, _, err := b.Start(t.Context(), other); err != nil {
		t.Errorf("another caller's: %v", err)
	}
	<-programs
	if err := b.CloseSession(t.Context(), alice, alice.ID, "s", false); err != nil {
		t.Fatal(err)
	}
	if res := b.do(t, func() gate.Call { c := bash("c0", "sleep"); c.SessionID = "s"; return c }()); res.Outcome != "CANCELLED" {
		t.Errorf("in the ended session: %+v", res)
	}
	if err := start("c2", ""); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if res := b.do(t, bash("c1", "sleep")); res.Outcome != "CANCELLED" || !res.Replayed {
		t.Errorf("after Close: %+v", res)
	}
	if err := start("c9", ""); !errdefs.IsUnavailable(err) {
		t.Errorf("started after Close: %v", err)
	}
}

func TestDetachedCallsKeepTheQuotaOfTheirSession(t *testing.T) {
	b, programs := led(t, t.TempDir(), nil)
	spec := gate.SessionSpec{ID: "s", Terms: session.Terms{Quota: session.Quota{BackgroundCalls: 1}}}
	if _, err := b.CreateSession(t.Context(), alice, spec); err != nil {
		t.Fatal(err)
	}
	start := func(id string) error {
		call := bash(id, "sleep")
		call.SessionID = "s"
		_, _, err := b.Start(t.Context(), call)
		return err
	}
	if err := start("c1"); err != nil {
		t.Fatal(err)
	}
	p := <-programs
	if in := b.policy.last(t); !in.Call.Detached {
		t.Error("policy does not see that the call is detached")
	}
	if err := start("c2"); !errdefs.IsResourceExhausted(err) {
		t.Errorf("the second: %v", err)
	}
	p.release <- sandboxtest.Exit(0, "")
	call := bash("c1", "sleep")
	call.SessionID = "s"
	b.do(t, call)
	if err := start("c2"); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
	<-programs
}

func TestDisconnectedCallGoesOnIfItShall(t *testing.T) {
	b, programs := led(t, t.TempDir(), nil)
	for _, detach := range []bool{false, true} {
		call := bash(fmt.Sprintf("c%v", detach), "sleep")
		call.DetachOnDisconnect = detach
		ctx, cancel := context.WithCancel(t.Context())
		f := newFollower()
		done := make(chan error, 1)
		go func() {
			_, err := b.Execute(ctx, call, f)
			done <- err
		}()
		p := <-programs
		p.call.Observer.Output(sandbox.Stderr, 0, []byte("x"))
		for range 3 { // decided, started, output
			<-f.changed
		}
		cancel()
		err := <-done
		if got, want := f.all(), "decided "+call.ID+" allow; started; 2@0 x"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
		if !detach {
			if err != nil {
				t.Errorf("cancelled call: %v", err)
			}
			continue
		}
		if !errdefs.IsCanceled(err) {
			t.Errorf("left call: %v", err)
		}
		p.release <- sandboxtest.Exit(0, "")
		if res := b.do(t, call); res.Outcome != "EXITED" || !res.Replayed {
			t.Errorf("left call: %+v", res)
		}
	}
}

// TestRetryWhileItRunsSeesItFromTheBeginning is for ExecuteStream.
func TestRetryWhileItRunsSeesItFromTheBeginning(t *testing.T) {
	b, programs := led(t, t.TempDir(), nil)
	first := make(chan error, 1)
	go func() {
		_, err := b.Execute(context.Background(), bash("c1", "x"), nil)
		first <- err
	}()
	p := <-programs
	p.call.Observer.Output(sandbox.Stdout, 0, []byte("early "))
	f := newFollower()
	retry := make(chan gate.Result, 1)
	go func() {
		res, err := b.Execute(context.Background(), bash("c1", "x"), f)
		if err != nil {
			t.Error(err)
		}
		retry <- res
	}()
	for range 3 {
		<-f.changed
	}
	p.call.Observer.Output(sandbox.Stdout, 6, []byte("late"))
	<-f.changed
	p.release <- sandboxtest.Exit(0, "early late")
	if res := <-retry; !res.Replayed || res.Outcome != "EXITED" {
		t.Errorf("retry: %+v", res)
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
	if got, want := f.all(), "decided c1 allow; started; 1@0 early ; 1@6 late"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestSlowFollowerHoldsUpNobody(t *testing.T) {
	dir := t.TempDir()
	set, _ := withOutputs(t, dir)
	b, programs := led(t, dir, set)
	if _, _, err := b.Start(t.Context(), bash("c1", "x")); err != nil {
		t.Fatal(err)
	}
	p := <-programs
	slow, quick := newFollower(), newFollower()
	slow.hold = make(chan struct{})
	slowDone := b.attached(t.Context(), "c1", 0, 0, slow)
	<-slow.changed // and it stays there
	line := bytes.Repeat([]byte("y"), 1024)
	const lines = 200 // of which some 32 are kept
	for i := range lines {
		p.call.Observer.Output(sandbox.Stdout, int64(i*len(line)), line)
	}
	p.release <- sandboxtest.Exit(0, "")
	if err := <-b.attached(t.Context(), "c1", 0, 0, quick); err != nil {
		t.Fatal(err)
	}
	close(slow.hold)
	if err := <-slowDone; err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*follower{"slow": slow, "quick": quick} {
		got := f.all()
		if !strings.Contains(got, "gap 1@16384") || !strings.Contains(got, "1@0 y") || len(got) > 40<<10 {
			t.Errorf("%s: %d bytes told: %.200s", name, len(got), got)
		}
	}
}
