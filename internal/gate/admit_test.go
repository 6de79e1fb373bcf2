package gate_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// oneByOne is a gate in which one call runs at a time, until it is let go.
func oneByOne(t *testing.T) (b *bench, running, release chan struct{}, line *admission.Line) {
	t.Helper()
	running, release = make(chan struct{}, 8), make(chan struct{})
	b = newBench(t, t.TempDir(), func(context.Context, sandbox.Call) (sandbox.Result, error) {
		running <- struct{}{}
		<-release
		return sandboxtest.Exit(0, ""), nil
	}, func(c *gate.Config) {
		inLine(t, admission.Config{Budget: admission.Resources{Calls: 1}})(c)
		line = c.Admission
	})
	return b, running, release, line
}

// waits returns once that many calls are in line.
func waits(t *testing.T, line *admission.Line, n int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for line.State().Waiting != n {
		if time.Now().After(deadline) {
			t.Fatalf("%d calls are in line, want %d", line.State().Waiting, n)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestCallsWaitForTheirTurn(t *testing.T) {
	b, running, release, line := oneByOne(t)
	first := b.start(t.Context(), bash("c1", "true"))
	<-running
	second := b.start(t.Context(), bash("c2", "true"))
	waits(t, line, 1)
	if st, err := b.GetCall(t.Context(), alice, "c2"); err != nil || st.Result != nil {
		t.Errorf("a call in line: got %+v %v, want it under way", st, err)
	}
	for range 2 {
		release <- struct{}{}
	}
	for i, got := range []chan answer{first, second} {
		if a := <-got; a.err != nil || a.res.Outcome != "EXITED" {
			t.Errorf("call %d: %+v", i, a)
		}
	}
	if a, err := b.GetCall(t.Context(), alice, "c2"); err != nil || a.Result == nil || a.Result.Duration.Queue <= 0 {
		t.Errorf("got %+v %v, want the time in line told", a, err)
	}
}

func TestLeavingTheLine(t *testing.T) {
	b, running, release, line := oneByOne(t)
	first := b.start(t.Context(), bash("c1", "true"))
	<-running
	second := b.start(t.Context(), bash("c2", "true"))
	waits(t, line, 1)
	if err := b.Cancel(t.Context(), alice, "c2"); err != nil {
		t.Fatal(err)
	}
	if a := <-second; !errdefs.IsCanceled(a.err) || !errors.Is(a.err, gate.ErrCancelRequested) {
		t.Errorf("cancelled in line: got %+v", a)
	}
	late := bash("c3", "true")
	late.Timeout = 20 * time.Millisecond
	var busy *admission.BusyError
	if _, err := b.Execute(t.Context(), late, nil); !errors.As(err, &busy) || !errdefs.IsResourceExhausted(err) {
		t.Errorf("timeout in line: got %v, want a *admission.BusyError", err)
	}
	release <- struct{}{}
	if a := <-first; a.err != nil {
		t.Error(a.err)
	}
	// Neither ran, and neither left a trace.
	want := []record{{journal.KindIntent, "c1", ""}, {journal.KindOutcome, "c1", "EXITED"}}
	if diff := cmp.Diff(want, b.records(t)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestDenialsDoNotWait(t *testing.T) {
	b, running, release, _ := oneByOne(t)
	b.policy.decide = func(in policy.Input) policy.Decision {
		if in.Call.ID == "denied" {
			return policy.Decision{Outcome: policy.Deny}
		}
		return policy.Decision{Outcome: policy.Allow}
	}
	first := b.start(t.Context(), bash("c1", "true"))
	<-running
	if res := b.do(t, bash("denied", "true")); res.Outcome != gate.OutcomeDenied {
		t.Errorf("got %+v", res)
	}
	release <- struct{}{}
	<-first
}

// A call that was allowed before the session read a secret must not run after it
// only because it had to wait.
func TestLabelThatCameInLineIsSeen(t *testing.T) {
	b, running, release, line := oneByOne(t)
	b.policy.decide = func(in policy.Input) policy.Decision {
		switch {
		case in.Call.ID == "reads":
			return policy.Decision{Outcome: policy.Allow, Labels: []string{"read:secrets"}}
		case slices.Contains(in.Session.Labels, "read:secrets"):
			return policy.Decision{Outcome: policy.Deny, Reasons: []policy.Reason{{Rule: "no-network-after-secrets", Message: "no"}}}
		}
		return policy.Decision{Outcome: policy.Allow}
	}
	inSession := func(id string) gate.Call {
		call := bash(id, "true")
		call.SessionID = "s"
		return call
	}
	other := b.start(t.Context(), bash("c1", "true"))
	<-running
	reads := b.start(t.Context(), inSession("reads"))
	waits(t, line, 1)
	sends := b.start(t.Context(), inSession("sends"))
	waits(t, line, 2)
	for range 2 {
		release <- struct{}{}
	}
	for _, got := range []chan answer{other, reads} {
		if a := <-got; a.err != nil || a.res.Outcome != "EXITED" {
			t.Errorf("got %+v", a)
		}
	}
	if a := <-sends; a.err != nil || a.res.Outcome != gate.OutcomeDenied || len(b.runtime.Calls()) != 2 {
		t.Errorf("got %+v, %d ran: want it denied", a, len(b.runtime.Calls()))
	}
	if s := line.State(); s.Running != 0 {
		t.Errorf("%d places are taken, want none", s.Running)
	}
}

func TestAdmissionIsAskedForWhatTheCageCosts(t *testing.T) {
	var line *admission.Line
	running, release := make(chan struct{}), make(chan struct{})
	b := newBench(t, t.TempDir(), func(context.Context, sandbox.Call) (sandbox.Result, error) {
		close(running)
		<-release
		return sandboxtest.Exit(0, ""), nil
	}, func(c *gate.Config) {
		inLine(t, admission.Config{Budget: admission.Resources{Calls: 9, CPUMillis: 9000, MemoryBytes: 1 << 30}})(c)
		line = c.Admission
	})
	b.policy.decide = func(policy.Input) policy.Decision {
		return policy.Decision{Outcome: policy.Allow, Obligations: policy.Obligations{Sandbox: policy.SandboxObligations{CPUMillis: 250}}}
	}
	got := b.start(t.Context(), bash("c1", "true"))
	<-running
	if used := line.State().Used; used != (admission.Resources{Calls: 1, CPUMillis: 250, MemoryBytes: 64 << 20}) {
		t.Errorf("used %+v, want what policy and defaults say", used)
	}
	close(release)
	<-got
	if used := line.State().Used; used != (admission.Resources{}) {
		t.Errorf("used %+v, want nothing", used)
	}
}

// TestCallFollowsItsSessionsLastOneIntoItsCell: of the calls of a caller in line the one
// goes first whose session had one running until just now, if its cell is kept for it.
func TestCallFollowsItsSessionsLastOneIntoItsCell(t *testing.T) {
	for reuse, want := range map[string][]string{
		"session": {"c1", "c2", "c4", "c3"},
		"never":   {"c1", "c2", "c3", "c4"},
		"caller":  {"c1", "c2", "c3", "c4"},
	} {
		t.Run(reuse, func(t *testing.T) {
			running, release := make(chan string), make(chan struct{})
			var line *admission.Line
			b := newBench(t, t.TempDir(), func(_ context.Context, call sandbox.Call) (sandbox.Result, error) {
				running <- call.ID[:2]
				<-release
				return sandboxtest.Exit(0, ""), nil
			}, func(c *gate.Config) {
				now := time.Now() // at which all of this happens
				inLine(t, admission.Config{Budget: admission.Resources{Calls: 1}, Now: func() time.Time { return now }})(c)
				line = c.Admission
			})
			b.policy.decide = func(policy.Input) policy.Decision {
				return policy.Decision{Outcome: policy.Allow, Obligations: policy.Obligations{Sandbox: policy.SandboxObligations{Reuse: reuse}}}
			}
			var ended []func()
			begin := func(id, session string) {
				call := bash(id, "true")
				call.SessionID = session
				answer := b.start(t.Context(), call)
				ended = append(ended, func() { <-answer })
			}
			begin("c1", "one")
			got := []string{<-running}
			begin("c2", "two")
			waits(t, line, 1)
			begin("c3", "three")
			waits(t, line, 2)
			release <- struct{}{}
			got = append(got, <-running)
			begin("c4", "one")
			waits(t, line, 2)
			for range 2 {
				release <- struct{}{}
				got = append(got, <-running)
			}
			release <- struct{}{}
			for _, wait := range ended {
				wait()
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
}

// meter keeps what it is told.
type meter struct {
	mu        sync.Mutex
	traces    []telemetry.Trace
	calls     []telemetry.Call
	replayed  int
	decisions []telemetry.Call
	decided   []telemetry.Trace
}

func (m *meter) Ended(_ context.Context, t *telemetry.Trace, c telemetry.Call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.traces, m.calls = append(m.traces, *t), append(m.calls, c)
}

func (m *meter) Replayed() { m.replayed++ }

func (m *meter) Evaluated(_ context.Context, t telemetry.Trace, c telemetry.Call) {
	m.decisions, m.decided = append(m.decisions, c), append(m.decided, t)
}

func TestStagesOfACallAddUpToItsTotal(t *testing.T) {
	m := &meter{}
	b := newBench(t, t.TempDir(), func(context.Context, sandbox.Call) (sandbox.Result, error) {
		time.Sleep(20 * time.Millisecond)
		return sandboxtest.Exit(0, ""), nil
	}, func(c *gate.Config) { c.Telemetry = m })
	call := bash("c1", "true")
	call.SessionID = "s"
	began := time.Now()
	res := b.do(t, call)
	took := time.Since(began)
	if len(m.traces) != 1 {
		t.Fatalf("told of %d calls, want 1", len(m.traces))
	}
	tr := m.traces[0]
	var sum time.Duration
	for s := telemetry.Validate; s < telemetry.Reply; s++ {
		sum += tr.Of(s)
	}
	// What is left out of the stages is starting and ending the measurement, and of the
	// result's total the last stage, in which the result is there already.
	if total := res.Duration.Total; sum != tr.Total() || sum > took || sum < took/2 || total > sum || total < sum-tr.Of(telemetry.Finish) {
		t.Errorf("stages %s, total %s in the result, %s as seen from outside", sum, res.Duration.Total, took)
	}
	for _, s := range []telemetry.Stage{
		telemetry.Validate, telemetry.Facts, telemetry.Decide, telemetry.Prepare, telemetry.RecordIntent, telemetry.Run, telemetry.RecordOutcome, telemetry.Finish,
	} {
		if tr.Of(s) <= 0 {
			t.Errorf("nothing was measured of %s", s)
		}
	}
	if run := tr.Of(telemetry.Run); run < 20*time.Millisecond || run > sum {
		t.Errorf("run took %s of %s, want at least 20ms", run, sum)
	}
	if want := (telemetry.Call{Class: telemetry.OK, Outcome: "EXITED", Tool: "bash", CallID: "c1", SessionID: "s", Decision: "allow", DecisionID: "decision-1"}); m.calls[0] != want {
		t.Errorf("told of %+v, want %+v", m.calls[0], want)
	}
}

func TestStagesOfADecisionAddUpToItsTotal(t *testing.T) {
	m := &meter{}
	b := newBench(t, t.TempDir(), nil, func(c *gate.Config) { c.Telemetry = m })
	b.policy.decide = func(policy.Input) policy.Decision {
		time.Sleep(20 * time.Millisecond)
		return policy.Decision{ID: "d1", Outcome: policy.Deny}
	}
	stages := func(t telemetry.Trace) (names string, sum time.Duration) {
		t.Each(func(s telemetry.Stage, took time.Duration) { names, sum = names+s.String()+" ", sum+took })
		return names, sum
	}
	for _, tt := range []struct {
		call    gate.Call
		explain bool
		want    telemetry.Call
		stages  string
	}{
		{bash("c1", "true"), false, telemetry.Call{Class: telemetry.Refused, Tool: "bash", CallID: "c1", Decision: "deny", DecisionID: "d1"}, "validate queue facts decide "},
		{bash("c2", "true"), true, telemetry.Call{Class: telemetry.Refused, Tool: "bash", CallID: "c2", Decision: "deny", DecisionID: "d1"}, "validate queue facts decide finish "},
		{gate.Call{Caller: alice, Tool: "none"}, false, telemetry.Call{Class: telemetry.Error}, "validate "},
	} {
		m.decisions, m.decided = nil, nil
		began := time.Now()
		_, err := b.Evaluate(t.Context(), tt.call, tt.explain)
		took := time.Since(began)
		if len(m.decisions) != 1 || m.decisions[0] != tt.want || (err != nil) != (tt.want.Class == telemetry.Error) {
			t.Fatalf("%s: told of %+v, %v, want %+v", tt.call.ID, m.decisions, err, tt.want)
		}
		names, sum := stages(m.decided[0])
		if names != tt.stages || sum != m.decided[0].Total() || sum > took || err == nil && sum < took/2 {
			t.Errorf("%s: stages %sof %s, %s as seen from outside: want %s", tt.call.ID, names, sum, took, tt.stages)
		}
		if d := m.decided[0].Of(telemetry.Decide); err == nil && d < 20*time.Millisecond {
			t.Errorf("%s: decide took %s, want at least 20ms", tt.call.ID, d)
		}
	}
}

func TestEveryKindOfCallIsMeasuredOnce(t *testing.T) {
	m := &meter{}
	b := newBench(t, t.TempDir(), exits(1, ""), func(c *gate.Config) { c.Telemetry = m })
	b.do(t, bash("c1", "false"))
	b.do(t, bash("c1", "false"))
	b.policy.decide = func(policy.Input) policy.Decision { return policy.Decision{Outcome: policy.Deny} }
	b.do(t, bash("c2", "true"))
	if _, err := b.Execute(t.Context(), gate.Call{Caller: alice, Tool: "none"}, nil); err == nil {
		t.Error("unknown tool: got no error")
	}
	if _, err := b.Evaluate(t.Context(), bash("c3", "true"), false); err != nil {
		t.Error(err)
	}
	var classes []string
	for _, c := range m.calls {
		classes = append(classes, c.Class.String())
	}
	if diff := cmp.Diff([]string{"failed", "refused", "error"}, classes); diff != "" || m.replayed != 1 || len(m.decisions) != 1 {
		t.Errorf("classes (-want +got):\n%s%d replayed, %d evaluated, want 1 and 1", diff, m.replayed, len(m.decisions))
	}
}

func TestDecisionsOfOneCallerLeaveRoomForOthers(t *testing.T) {
	flood := 8 * runtime.GOMAXPROCS(0) // more than are decided at once
	deciding, release := make(chan struct{}, flood), make(chan struct{})
	b := newBench(t, t.TempDir(), nil, nil)
	b.policy.decide = func(in policy.Input) policy.Decision {
		if in.Caller.ID == alice.ID {
			deciding <- struct{}{}
			<-release
		}
		return policy.Decision{Outcome: policy.Allow}
	}
	ended := make(chan error, flood)
	for range flood {
		go func() {
			_, err := b.Evaluate(t.Context(), bash("", "true"), false)
			ended <- err
		}()
	}
	<-deciding
	call := bash("", "true")
	call.Caller = bob
	b.do(t, call)
	if n := len(deciding); n >= flood-1 {
		t.Errorf("all of the flood is decided at once")
	}
	close(release)
	for range flood {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
