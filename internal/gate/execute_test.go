package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
)

func TestAllowedCallRunsAndIsRecordedBeforeAndAfter(t *testing.T) {
	var atRun []byte
	var b *bench
	b = newBench(t, t.TempDir(), func(context.Context, sandbox.Call) (sandbox.Result, error) {
		var err error
		atRun, err = os.ReadFile(filepath.Join(b.dir, "journal.jsonl"))
		return sandbox.Result{Outcome: sandbox.OutcomeExited, ExitCode: 3, Stdout: sandbox.Output{Head: []byte("hi"), TotalBytes: 2}}, err
	}, nil)
	res := b.do(t, bash("c1", "exit 3"))
	if res.Outcome != "EXITED" || res.ExitCode != 3 || !res.IsError || string(res.Stdout.Head) != "hi" || res.ResultSizeBytes != 2 || res.Receipt == nil {
		t.Errorf("result: %+v", res)
	}
	if !strings.Contains(string(atRun), `"kind":"intent"`) || strings.Contains(string(atRun), `"kind":"outcome"`) {
		t.Errorf("while it ran the journal held %s, want the intent alone", atRun)
	}
	want := []record{{journal.KindIntent, "c1", ""}, {journal.KindOutcome, "c1", "EXITED"}}
	if diff := cmp.Diff(want, b.records(t)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestOnlyAllowRuns(t *testing.T) {
	for outcome, want := range map[policy.Outcome]gate.Outcome{
		policy.Deny: gate.OutcomeDenied, policy.Ask: gate.OutcomeApprovalRequired, "": gate.OutcomeDenied, "ALLOW": gate.OutcomeDenied, "maybe": gate.OutcomeDenied,
	} {
		t.Run(string(outcome), func(t *testing.T) {
			b := newBench(t, t.TempDir(), nil, nil)
			b.policy.decide = func(policy.Input) policy.Decision {
				return policy.Decision{Outcome: outcome, Reasons: []policy.Reason{{Rule: "no-rm", Message: "rm is denied", Remediation: "move it instead"}}}
			}
			res := b.do(t, bash("c1", "rm -rf ."))
			if res.Outcome != want || !res.IsError || res.ExitCode != -1 || res.Receipt != nil {
				t.Errorf("result: %+v, want %s", res, want)
			}
			if !strings.Contains(res.Message, "rm is denied (move it instead) [no-rm]") {
				t.Errorf("message %q does not tell the rule and what to do", res.Message)
			}
			if calls := b.runtime.Calls(); len(calls) != 0 {
				t.Errorf("the runtime got %d calls", len(calls))
			}
			if diff := cmp.Diff([]record{{journal.KindDecision, "c1", string(want)}}, b.records(t)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNothingRunsWithoutADurableIntent(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	b.broken.broken, b.broken.err = []journal.Kind{journal.KindIntent}, errdefs.ErrResourceExhausted
	if _, err := b.Execute(t.Context(), bash("c1", "true"), nil); !errdefs.IsResourceExhausted(err) {
		t.Errorf("got %v, want the journal's error", err)
	}
	if calls := b.runtime.Calls(); len(calls) != 0 {
		t.Errorf("the runtime got %d calls", len(calls))
	}
	// The id is free again once the journal can be written.
	b.broken.broken = nil
	if res := b.do(t, bash("c1", "true")); res.Outcome != "EXITED" || res.Replayed {
		t.Errorf("second attempt: %+v", res)
	}
}

func TestDenialIsNotToldUnrecorded(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	b.policy.decide = func(policy.Input) policy.Decision { return policy.Decision{Outcome: policy.Deny} }
	b.broken.broken = []journal.Kind{journal.KindDecision}
	if _, err := b.Execute(t.Context(), bash("c1", "true"), nil); err == nil {
		t.Error("got no error")
	}
}

func TestLostOutcomeRecordStillAnswers(t *testing.T) {
	b := newBench(t, t.TempDir(), exits(0, "done"), nil)
	b.broken.broken = []journal.Kind{journal.KindOutcome}
	if res := b.do(t, bash("c1", "true")); string(res.Stdout.Head) != "done" {
		t.Errorf("result: %+v", res)
	}
}

func TestRuntimeErrors(t *testing.T) {
	t.Run("refused to run: the id is free again", func(t *testing.T) {
		b := newBench(t, t.TempDir(), nil, nil)
		b.runtime.SetReady(errors.New("no cells"))
		if _, err := b.Execute(t.Context(), bash("c1", "true"), nil); !errdefs.IsUnavailable(err) {
			t.Errorf("got %v, want unavailable", err)
		}
		b.runtime.SetReady(nil)
		if res := b.do(t, bash("c1", "true")); res.Outcome != "EXITED" || res.Replayed {
			t.Errorf("second attempt: %+v", res)
		}
		want := []record{{journal.KindIntent, "c1", ""}, {journal.KindOutcome, "c1", "NOT_RUN"}, {journal.KindIntent, "c1", ""}, {journal.KindOutcome, "c1", "EXITED"}}
		if diff := cmp.Diff(want, b.records(t)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	})
	t.Run("in doubt: UNKNOWN, and never run again", func(t *testing.T) {
		b := newBench(t, t.TempDir(), func(context.Context, sandbox.Call) (sandbox.Result, error) {
			return sandbox.Result{}, errors.New("the cell went away")
		}, nil)
		if _, err := b.Execute(t.Context(), bash("c1", "true"), nil); err == nil {
			t.Error("got no error")
		}
		if res := b.do(t, bash("c1", "true")); res.Outcome != "UNKNOWN" || !res.Replayed {
			t.Errorf("second attempt: %+v", res)
		}
		if n := len(b.runtime.Calls()); n != 1 {
			t.Errorf("ran %d times", n)
		}
	})
}

// panicky is a runtime that panics.
type panicky struct{ sandbox.Runtime }

func (panicky) Run(context.Context, sandbox.Call) (sandbox.Result, error) { panic("runtime") }

func TestPanicOnTheWaySettlesTheID(t *testing.T) {
	execute := func(b *bench) (panicked bool) {
		defer func() { panicked = recover() != nil }()
		if _, err := b.Execute(t.Context(), bash("c1", "true"), nil); err != nil {
			t.Error(err)
		}
		return false
	}
	b := newBench(t, t.TempDir(), nil, nil)
	b.policy.decide = func(policy.Input) policy.Decision { panic("policy") }
	if !execute(b) {
		t.Fatal("no panic")
	}
	b.policy.decide = nil
	if res := b.do(t, bash("c1", "true")); res.Outcome != "EXITED" || res.Replayed {
		t.Errorf("after a panic before the intent: %+v, want that it runs", res)
	}
	b = newBench(t, t.TempDir(), nil, func(c *gate.Config) { c.Runtime = panicky{c.Runtime} })
	if !execute(b) {
		t.Fatal("no panic")
	}
	if res := b.do(t, bash("c1", "true")); res.Outcome != "UNKNOWN" || !res.Replayed {
		t.Errorf("after a panic after the intent: %+v, want UNKNOWN", res)
	}
}

func TestSandboxCallIsWhatWasDecided(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, func(c *gate.Config) { c.Ceiling.MemoryBytes = 32 << 20 })
	b.policy.decide = func(policy.Input) policy.Decision {
		return policy.Decision{Outcome: policy.Allow, Obligations: policy.Obligations{
			Sandbox: policy.SandboxObligations{Pids: 7, WallTimeMs: 2000, Workspace: "ro", Isolation: "gvisor"},
			Exec:    policy.ExecObligations{EnvDrop: []string{"*_TOKEN"}, EnvSet: map[string]string{"LANG": "C"}},
		}}
	}
	t.Setenv("SANDGATE_CANARY", "of the daemon")
	call := bash("c1", "true")
	call.SessionID, call.Cwd, call.Timeout = "work", "sub/./dir", time.Second
	call.Env = map[string]string{"A": "1", "MY_TOKEN": "x", "LANG": "de"}
	call.Stdin = strings.NewReader("in")
	b.do(t, call)
	got := b.runtime.Calls()[0]
	stdin, err := io.ReadAll(got.Stdin)
	if err != nil || string(stdin) != "in" {
		t.Errorf("stdin: %q %v", stdin, err)
	}
	if diff := cmp.Diff([]string{"A=1", "LANG=C"}, got.Env); diff != "" {
		t.Errorf("env (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/bin/bash", "--noprofile", "--norc", "-c", "true"}, got.Argv); diff != "" {
		t.Errorf("argv (-want +got):\n%s", diff)
	}
	l := got.Limits
	if l.WallTime != time.Second || l.Pids != 7 || l.MemoryBytes != 32<<20 || l.CPUMillis != 1000 {
		t.Errorf("limits: %+v", l)
	}
	if got.Isolation != "gvisor" || got.Cwd != "/workspace/sub/dir" || !got.Workspace.ReadOnly || got.Reuse != sandbox.ReuseSession || got.ReuseKey == "" {
		t.Errorf("call: %+v", got)
	}
	if info, err := os.Stat(got.Workspace.HostDir); err != nil || !info.IsDir() {
		t.Errorf("workspace %q: %v", got.Workspace.HostDir, err)
	}
}

func TestReuseKeysAreNeverShared(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	for _, c := range []struct {
		caller  gate.Caller
		session string
	}{{alice, "s1"}, {alice, "s2"}, {bob, "s1"}, {alice, ""}} {
		call := bash("", "true")
		call.Caller, call.SessionID = c.caller, c.session
		b.do(t, call)
	}
	var keys []string
	for _, c := range b.runtime.Calls() {
		keys = append(keys, c.ReuseKey)
	}
	if keys[3] != "" || b.runtime.Calls()[3].Reuse != sandbox.ReuseNever {
		t.Errorf("a call without a session may be reused: %q", keys[3])
	}
	slices.Sort(keys)
	if n := len(slices.Compact(keys)); n != 4 {
		t.Errorf("keys %q: want all different", keys)
	}
}

func TestToolTimeoutShortensButNeverLengthens(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	for _, args := range []string{`{"command":"x","timeout_ms":100}`, `{"command":"x","timeout_ms":86400000}`} {
		b.do(t, gate.Call{Caller: alice, Tool: "bash", Args: json.RawMessage(args)})
	}
	calls := b.runtime.Calls()
	if calls[0].Limits.WallTime != 100*time.Millisecond || calls[1].Limits.WallTime != 5*time.Second {
		t.Errorf("wall times %s %s, want 100ms 5s", calls[0].Limits.WallTime, calls[1].Limits.WallTime)
	}
}

func TestPolicySeesTheVeryArgumentsThatRun(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	b.do(t, gate.Call{ID: "c1", Caller: alice, Tool: "read_file", Args: json.RawMessage(` { "path" : "\u0061.txt", "limit": 1e1 } `)})
	in := b.policy.last(t)
	ran, err := io.ReadAll(b.runtime.Calls()[0].Stdin)
	if err != nil || string(in.Call.Args) != string(ran) || string(ran) != `{"limit":10,"path":"a.txt"}` {
		t.Errorf("decided %s, ran %s (%v)", in.Call.Args, ran, err)
	}
	if len(in.Call.Files) != 1 || in.Call.Files[0].Path != "a.txt" || in.Call.Digest == "" {
		t.Errorf("facts: %+v", in.Call)
	}
}

type seen struct {
	mu    sync.Mutex
	order []string
}

func (s *seen) add(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = append(s.order, what)
}

func (s *seen) Decided(id string, d policy.Decision) {
	s.add("decided " + id + " " + string(d.Outcome))
}
func (s *seen) Started(sandbox.Receipt)                       { s.add("started") }
func (s *seen) Output(_ sandbox.Stream, _ int64, data []byte) { s.add("output " + string(data)) }

func TestObserverIsToldInOrder(t *testing.T) {
	b := newBench(t, t.TempDir(), exits(0, "hi"), nil)
	var s seen
	if _, err := b.Execute(t.Context(), bash("c1", "echo hi"), &s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"decided c1 allow", "started", "output hi"}, s.order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestCancel(t *testing.T) {
	running := make(chan struct{})
	b := newBench(t, t.TempDir(), func(ctx context.Context, _ sandbox.Call) (sandbox.Result, error) {
		close(running)
		<-ctx.Done()
		return sandbox.Result{Outcome: sandbox.OutcomeCancelled}, nil
	}, nil)
	results := make(chan gate.Result, 1)
	go func() {
		res, err := b.Execute(context.Background(), bash("c1", "sleep 100"), nil)
		if err != nil {
			t.Error(err)
		}
		results <- res
	}()
	<-running
	if err := b.Cancel(t.Context(), bob, "c1"); !errdefs.IsNotFound(err) {
		t.Errorf("another caller: got %v, want not found", err)
	}
	if st, err := b.GetCall(t.Context(), alice, "c1"); err != nil || st.Result != nil || st.Tool != "bash" {
		t.Errorf("running call: %+v %v", st, err)
	}
	if err := b.Cancel(t.Context(), alice, "c1"); err != nil {
		t.Fatal(err)
	}
	if res := <-results; res.Outcome != "CANCELLED" || !res.IsError {
		t.Errorf("result: %+v", res)
	}
	if err := b.Cancel(t.Context(), alice, "c1"); err != nil {
		t.Errorf("cancelling a call that has ended: %v", err)
	}
	want := []record{{journal.KindIntent, "c1", ""}, {journal.KindOutcome, "c1", "CANCELLED"}}
	if diff := cmp.Diff(want, b.records(t)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestHostThatGoesAwayIsRecorded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := newBench(t, t.TempDir(), func(ctx context.Context, _ sandbox.Call) (sandbox.Result, error) {
		cancel()
		<-ctx.Done()
		return sandbox.Result{Outcome: sandbox.OutcomeCancelled}, nil
	}, nil)
	if res, err := b.Execute(ctx, bash("c1", "sleep 100"), nil); err != nil || res.Outcome != "CANCELLED" {
		t.Errorf("got %+v %v", res, err)
	}
	if got := b.records(t); len(got) != 2 || got[1].Outcome != "CANCELLED" {
		t.Errorf("records: %v", got)
	}
}

func TestCancelledBeforeItRanIsAnErrorAndRunsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := newBench(t, t.TempDir(), nil, nil)
	b.policy.decide = func(policy.Input) policy.Decision {
		cancel()
		return policy.Decision{Outcome: policy.Allow}
	}
	if _, err := b.Execute(ctx, bash("c1", "true"), nil); !errdefs.IsCanceled(err) {
		t.Errorf("got %v, want cancelled", err)
	}
	if len(b.runtime.Calls()) != 0 || len(b.records(t)) != 0 {
		t.Error("something ran or was recorded")
	}
}

func TestTooManyInFlight(t *testing.T) {
	running, release := make(chan struct{}), make(chan struct{})
	b := newBench(t, t.TempDir(), func(context.Context, sandbox.Call) (sandbox.Result, error) {
		close(running)
		<-release
		return sandbox.Result{Outcome: sandbox.OutcomeExited}, nil
	}, inLine(t, admission.Config{Budget: admission.Resources{Calls: 1}, MaxWaiting: -1}))
	done := make(chan error, 1)
	go func() {
		_, err := b.Execute(context.Background(), bash("c1", "true"), nil)
		done <- err
	}()
	<-running
	if _, err := b.Execute(t.Context(), bash("c2", "true"), nil); !errdefs.IsResourceExhausted(err) {
		t.Errorf("got %v, want resource exhausted", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOneToolUseEventPerCall(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	b := newBench(t, t.TempDir(), exits(1, "out"), func(c *gate.Config) { c.Logger = zap.New(core) })
	token := "ghp_" + strings.Repeat("a1B2", 9)
	call := bash("c1", "echo "+token)
	call.SessionID = "s"
	b.do(t, call)
	b.do(t, call) // a replay is no second use
	events := logs.FilterMessage("tool_use").All()
	if len(events) != 1 {
		t.Fatalf("%d events, want 1", len(events))
	}
	got := events[0].ContextMap()
	for key, want := range map[string]any{
		"name": "bash", "result_size_bytes": int64(3), "is_error": true, "outcome": "EXITED", "caller": alice.ID, "session": "s",
		"call_id": "c1", "decision": "allow", "rules": []any{"test-allow"},
	} {
		if diff := cmp.Diff(want, got[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	if _, ok := got["duration_ms"].(float64); !ok {
		t.Errorf("duration_ms is %v", got["duration_ms"])
	}
	if args, _ := got["args"].(string); strings.Contains(args, token) || !strings.Contains(args, "[masked]") {
		t.Errorf("args: %v", got["args"])
	}
}

func TestAuditLevelShapeKeepsNoContent(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	b := newBench(t, t.TempDir(), nil, func(c *gate.Config) { c.Logger = zap.New(core) })
	b.policy.decide = func(policy.Input) policy.Decision {
		return policy.Decision{Outcome: policy.Allow, Obligations: policy.Obligations{Audit: policy.AuditObligations{Level: "shape"}}}
	}
	call := bash("c1", "echo private-words")
	call.Env = map[string]string{"NAME": "private-value"}
	b.do(t, call)
	raw, err := os.ReadFile(filepath.Join(b.dir, "journal.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "private-") || !strings.Contains(string(raw), `"args_shape":{"command":{"bytes":20,"type":"string"}}`) {
		t.Errorf("journal: %s", raw)
	}
	for _, e := range logs.All() {
		for _, v := range e.ContextMap() {
			if s, ok := v.(string); ok && strings.Contains(s, "private-") {
				t.Errorf("log: %v", e)
			}
		}
	}
}
