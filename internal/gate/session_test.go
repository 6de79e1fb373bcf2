package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/sandbox"
)

// makeSession makes a session of alice's.
func makeSession(t *testing.T, b *bench, id string, terms session.Terms) session.Info {
	t.Helper()
	info, err := b.CreateSession(t.Context(), alice, gate.SessionSpec{ID: id, Terms: terms})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// within is a call in a session.
func within(session, id, command string) gate.Call {
	call := bash(id, command)
	call.SessionID = session
	return call
}

func TestCreatedSessionSurvivesARestartAsItWas(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, dir, nil, nil)
	terms := session.Terms{TTL: time.Hour, Quota: session.Quota{Calls: 2}, HostLabels: map[string]string{"ticket": "7"}}
	info, err := b.CreateSession(t.Context(), alice, gate.SessionSpec{ID: "s", Profile: "readonly", Terms: terms})
	if err != nil || info.Profile != "readonly" || info.Expires.Sub(info.Created) != time.Hour {
		t.Fatalf("%+v %v", info, err)
	}
	made := makeSession(t, b, "", session.Terms{Kind: session.Ephemeral})
	if _, err := b.CreateSession(t.Context(), alice, gate.SessionSpec{ID: "s"}); !errdefs.IsAlreadyExists(err) {
		t.Errorf("a second one: got %v", err)
	}
	call := within("s", "c1", "true")
	b.do(t, call)
	if err := b.journal.Close(); err != nil {
		t.Fatal(err)
	}
	b = newBench(t, dir, nil, nil)
	got, err := b.GetSession(t.Context(), alice.ID, "s")
	if err != nil || got.Profile != "readonly" || got.Terms.Quota.Calls != 2 || got.Counts["allow"] != 1 || got.Terms.HostLabels["ticket"] != "7" {
		t.Errorf("after a restart: %+v %v", got, err)
	}
	if _, err := b.GetSession(t.Context(), alice.ID, made.ID); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "ephemeral") {
		t.Errorf("an ephemeral one: %v", err)
	}
	if _, err := b.GetSession(t.Context(), bob.ID, "s"); !errdefs.IsNotFound(err) {
		t.Errorf("another caller's: %v", err)
	}
}

func TestUsedUpQuotaIsADenialThatSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, dir, nil, nil)
	makeSession(t, b, "s", session.Terms{Quota: session.Quota{Calls: 1}})
	if res := b.do(t, within("s", "c1", "true")); res.Outcome != "EXITED" {
		t.Fatalf("the first call: %+v", res)
	}
	refused := func(id string) {
		t.Helper()
		res := b.do(t, within("s", id, "true"))
		if res.Outcome != gate.OutcomeDenied || len(res.Decision.Reasons) != 1 || res.Decision.Reasons[0].Rule != "daemon:session-quota" ||
			!strings.Contains(res.Message, "quota of calls (1)") {
			t.Errorf("the second call: %+v", res)
		}
	}
	refused("c2")
	ev, err := b.Evaluate(t.Context(), within("s", "", "true"), false)
	if err != nil || ev.Decision.Outcome != policy.Deny {
		t.Errorf("evaluate: %+v %v", ev.Decision, err)
	}
	if err := b.journal.Close(); err != nil {
		t.Fatal(err)
	}
	b = newBench(t, dir, nil, nil)
	refused("c3")
	if n := len(b.runtime.Calls()); n != 0 {
		t.Errorf("%d calls ran", n)
	}
}

func TestParallelCallsShareTheWorkspaceAndTheQuota(t *testing.T) {
	release := make(chan struct{})
	var mu sync.Mutex
	dirs := map[string]int{}
	started := make(chan struct{}, 8)
	b := newBench(t, t.TempDir(), func(_ context.Context, call sandbox.Call) (sandbox.Result, error) {
		mu.Lock()
		dirs[call.Workspace.HostDir]++
		mu.Unlock()
		started <- struct{}{}
		<-release
		return sandbox.Result{Outcome: sandbox.OutcomeExited}, nil
	}, nil)
	makeSession(t, b, "s", session.Terms{Quota: session.Quota{ConcurrentCalls: 4}})
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			if res, err := b.Execute(t.Context(), within("s", fmt.Sprint("c", i), "true"), nil); err != nil || res.Outcome != "EXITED" {
				t.Errorf("call %d: %+v %v", i, res, err)
			}
		})
	}
	for range 4 {
		<-started
	}
	if _, err := b.Execute(t.Context(), within("s", "c5", "true"), nil); !errdefs.IsResourceExhausted(err) {
		t.Errorf("a fifth at once: got %v", err)
	}
	close(release)
	wait.Wait()
	if len(dirs) != 1 || dirs[b.sessions.WorkspaceDir(alice.ID, "s")] != 4 {
		t.Errorf("workspaces: %v", dirs)
	}
	// What was refused for the moment is no answer to the call for ever.
	if res := b.do(t, within("s", "c5", "true")); res.Outcome != "EXITED" {
		t.Errorf("the fifth again: %+v", res)
	}
}

func TestCloseEndsRunningCallsAndTakesNoNew(t *testing.T) {
	started := make(chan struct{})
	b := newBench(t, t.TempDir(), func(ctx context.Context, _ sandbox.Call) (sandbox.Result, error) {
		close(started)
		<-ctx.Done()
		return sandbox.Result{Outcome: sandbox.OutcomeCancelled}, nil
	}, nil)
	done := make(chan gate.Result, 1)
	go func() {
		res, err := b.Execute(t.Context(), within("s", "c1", "sleep 1000"), nil)
		if err != nil {
			t.Error(err)
		}
		done <- res
	}()
	<-started
	if err := b.CloseSession(t.Context(), bob, alice.ID, "s", false); err != nil { // an administrator: the front has seen to it
		t.Fatal(err)
	}
	if res := <-done; res.Outcome != "CANCELLED" {
		t.Errorf("the running call: %+v", res)
	}
	if _, err := b.Execute(t.Context(), within("s", "c2", "true"), nil); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "was closed") {
		t.Errorf("a call after it: got %v", err)
	}
	last := sessionRecords(t, b)
	if got := string(last[len(last)-1].Data); got != `{"event":"ended","reason":"closed","by":"unix:uid:1001"}` {
		t.Errorf("recorded %s", got)
	}
	// Its call's result is there all the same.
	if res := b.do(t, within("s", "c1", "sleep 1000")); !res.Replayed || res.Outcome != "CANCELLED" {
		t.Errorf("the call again: %+v", res)
	}
}

// sessionRecords are the session records of the journal.
func sessionRecords(t *testing.T, b *bench) []journal.Record {
	t.Helper()
	var out []journal.Record
	for _, rec := range b.rawRecords(t) {
		if rec.Kind == journal.KindSession {
			out = append(out, rec)
		}
	}
	return out
}

func TestSessionThatCannotBeRecordedIsNone(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	b.broken.broken = []journal.Kind{journal.KindSession}
	if _, err := b.CreateSession(t.Context(), alice, gate.SessionSpec{ID: "s"}); !errors.Is(err, b.broken.err) {
		t.Errorf("create: got %v", err)
	}
	if n := b.sessions.Count(); n != 0 {
		t.Errorf("%d sessions", n)
	}
	b.do(t, within("s", "c1", "true"))
	if err := b.CloseSession(t.Context(), alice, alice.ID, "s", false); !errors.Is(err, b.broken.err) {
		t.Errorf("close: got %v", err)
	}
	if res := b.do(t, within("s", "c2", "true")); res.Outcome != "EXITED" {
		t.Errorf("it is still there: %+v", res)
	}
}

func TestExpiredSessionsAreEndedAndRecorded(t *testing.T) {
	var mu sync.Mutex
	now := time.Unix(1_000_000, 0)
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	b := openBench(t, &bench{dir: t.TempDir(), clock: clock, bounds: session.Bounds{IdleTimeout: time.Hour}}, nil,
		func(cfg *gate.Config) { cfg.Now = clock })
	makeSession(t, b, "short", session.Terms{TTL: time.Minute})
	b.do(t, within("idle", "c1", "true"))
	dir := b.sessions.WorkspaceDir(alice.ID, "idle")
	if n := b.ExpireSessions(t.Context()); n != 0 {
		t.Errorf("%d ended at once", n)
	}
	mu.Lock()
	now = now.Add(time.Hour)
	mu.Unlock()
	if _, err := b.Execute(t.Context(), within("idle", "c2", "true"), nil); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "not used for too long") {
		t.Errorf("a call before it is cleaned up: got %v", err)
	}
	if _, err := b.GetSession(t.Context(), alice.ID, "short"); !errdefs.IsNotFound(err) {
		t.Errorf("before it is cleaned up: got %v", err)
	}
	makeSession(t, b, "short", session.Terms{TTL: time.Minute}) // anew, before the old one is
	mu.Lock()
	now = now.Add(time.Minute)
	mu.Unlock()
	if n := b.ExpireSessions(t.Context()); n != 2 || b.sessions.Count() != 0 {
		t.Errorf("%d ended, %d are left", n, b.sessions.Count())
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("its workspace: %v", err)
	}
	var reasons []string
	for _, rec := range sessionRecords(t, b) {
		var data session.EventData
		if err := json.Unmarshal(rec.Data, &data); err != nil {
			t.Fatal(err)
		}
		reasons = append(reasons, rec.Session+" "+data.Event+" "+data.Reason)
	}
	slices.Sort(reasons)
	if want := []string{"idle ended idle", "short created ", "short created ", "short ended idle", "short ended ttl"}; !slices.Equal(reasons, want) {
		t.Errorf("recorded %q, want %q", reasons, want)
	}
}

func TestBoundDirectory(t *testing.T) {
	dir, allowed := t.TempDir(), true
	bound := filepath.Join(dir, "project")
	if err := os.Mkdir(bound, 0o700); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, t.TempDir(), nil, func(cfg *gate.Config) {
		cfg.WorkspaceDirs = func(_ gate.Caller, dir string) error {
			if allowed && dir == bound {
				return nil
			}
			return errors.New("not this one")
		}
	})
	for _, other := range []string{dir, "project", bound + "/none"} {
		_, err := b.CreateSession(t.Context(), alice, gate.SessionSpec{ID: "x", Terms: session.Terms{Kind: session.Directory, Dir: other}})
		if !errdefs.IsPermissionDenied(err) && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: got %v", other, err)
		}
	}
	makeSession(t, b, "s", session.Terms{Kind: session.Directory, Dir: bound})
	b.do(t, within("s", "c1", "true"))
	if w := b.runtime.Calls()[0].Workspace; w.HostDir != bound || !w.KeepOwner {
		t.Errorf("workspace: %+v", w)
	}
	allowed = false // the configuration has changed
	if _, err := b.Execute(t.Context(), within("s", "c2", "true"), nil); !errdefs.IsPermissionDenied(err) {
		t.Errorf("a directory that was taken away: got %v", err)
	}
	if err := b.CloseSession(t.Context(), alice, alice.ID, "s", false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bound); err != nil {
		t.Errorf("the directory went with the session: %v", err)
	}
}

func TestPolicySeesTheSession(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	info := makeSession(t, b, "s", session.Terms{
		Kind: session.Ephemeral, TTL: time.Hour, Quota: session.Quota{Calls: 9, CPUTime: time.Second}, HostLabels: map[string]string{"ticket": "7"},
	})
	b.do(t, within("s", "c1", "true"))
	b.do(t, within("s", "c2", "true"))
	got := b.policy.asked[1].Session
	want := policy.SessionInput{
		Kind: "ephemeral", Created: info.Created.UTC().Format(time.RFC3339Nano), Expires: info.Created.Add(time.Hour).UTC().Format(time.RFC3339Nano),
	}
	if got.Kind != want.Kind || got.Created != want.Created || got.Expires != want.Expires || got.HostLabels["ticket"] != "7" {
		t.Errorf("session: %+v", got)
	}
	if *got.Quota != (policy.SessionQuotaInput{Calls: 9, CPUMs: 1000}) || got.Usage.Calls != 1 {
		t.Errorf("quota %+v, usage %+v", got.Quota, got.Usage)
	}
	b.do(t, bash("c3", "true"))
	if s := b.policy.asked[2].Session; s.Kind != "" || s.Quota != nil || s.Usage != nil {
		t.Errorf("without a session: %+v", s)
	}
}

func TestBackgroundCallsAreBounded(t *testing.T) {
	release := make(chan struct{})
	b := newBench(t, t.TempDir(), func(_ context.Context, call sandbox.Call) (sandbox.Result, error) {
		if call.Observer != nil {
			call.Observer.Started(sandbox.Receipt{CellID: "c"})
		}
		<-release
		return sandbox.Result{Outcome: sandbox.OutcomeExited, Receipt: sandbox.Receipt{CellID: "c"}}, nil
	}, nil)
	makeSession(t, b, "s", session.Terms{Quota: session.Quota{BackgroundCalls: 1}})
	if running, _, err := b.Start(t.Context(), within("s", "c1", "true")); err != nil || running == nil {
		t.Fatalf("the first: %+v %v", running, err)
	}
	if info, err := b.GetSession(t.Context(), alice.ID, "s"); err != nil || info.Background != 1 || info.Running != 1 {
		t.Errorf("while it runs: %+v %v", info, err)
	}
	if _, _, err := b.Start(t.Context(), within("s", "c2", "true")); !errdefs.IsResourceExhausted(err) || !strings.Contains(err.Error(), "background calls") {
		t.Errorf("a second: got %v", err)
	}
	close(release)
	if res := b.do(t, within("s", "c1", "true")); res.Outcome != "EXITED" {
		t.Errorf("the first at its end: %+v", res)
	}
	if res := b.do(t, within("s", "c2", "true")); res.Outcome != "EXITED" { // its id is free, and there is room
		t.Errorf("the second again: %+v", res)
	}
	if info, err := b.GetSession(t.Context(), alice.ID, "s"); err != nil || info.Background != 0 || info.Running != 0 {
		t.Errorf("afterwards: %+v %v", info, err)
	}
}
