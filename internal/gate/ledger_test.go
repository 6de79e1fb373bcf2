package gate_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

func TestSameIDSentAtOnceRunsOnce(t *testing.T) {
	const n = 32
	release := make(chan struct{})
	var entered atomic.Int32
	b := newBench(t, t.TempDir(), func(context.Context, sandbox.Call) (sandbox.Result, error) {
		entered.Add(1)
		<-release
		return sandboxtest.Exit(0, "once"), nil
	}, nil)
	var wg sync.WaitGroup
	var replayed atomic.Int32
	for range n {
		wg.Go(func() {
			res, err := b.Execute(context.Background(), bash("c1", "date"), nil)
			if err != nil || string(res.Stdout.Head) != "once" {
				t.Errorf("got %+v %v", res, err)
			}
			if res.Replayed && replayed.Add(1) > n-1 {
				t.Error("nobody's call was the first")
			}
		})
	}
	close(release)
	wg.Wait()
	if entered.Load() != 1 || replayed.Load() != n-1 {
		t.Errorf("ran %d times, %d replayed; want 1 and %d", entered.Load(), replayed.Load(), n-1)
	}
	if got := b.records(t); len(got) != 2 {
		t.Errorf("records: %v, want one intent and one outcome", got)
	}
}

func TestSameIDOtherCallIsRefused(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	b.do(t, bash("c1", "date"))
	stdin := bash("c1", "date")
	stdin.Stdin = strings.NewReader("x")
	env := bash("c1", "date")
	env.Env = map[string]string{"A": "1"}
	cwd := bash("c1", "date")
	cwd.Cwd = "sub"
	inSession := bash("c1", "date")
	inSession.SessionID = "s"
	for name, call := range map[string]gate.Call{"args": bash("c1", "ls"), "stdin": stdin, "env": env, "cwd": cwd, "session": inSession} {
		if _, err := b.Execute(t.Context(), call, nil); !errdefs.IsAlreadyExists(err) {
			t.Errorf("%s: got %v, want already exists", name, err)
		}
	}
	same := bash("c1", "date")
	same.Args = []byte(`{ "command" : "d\u0061te" }`)
	same.Cwd, same.Timeout, same.Agent = "/workspace/", time.Second, gate.Agent{Name: "other"}
	if res := b.do(t, same); !res.Replayed {
		t.Errorf("the same call in other words: %+v, want a replay", res)
	}
	if n := len(b.runtime.Calls()); n != 1 {
		t.Errorf("ran %d times", n)
	}
}

func TestIDsOfCallersAreApart(t *testing.T) {
	b := newBench(t, t.TempDir(), exits(0, "secret of alice"), nil)
	b.do(t, bash("c1", "date"))
	other := bash("c1", "date")
	other.Caller = bob
	if res := b.do(t, other); res.Replayed {
		t.Errorf("bob got %+v", res)
	}
	different := bash("c1", "ls")
	different.Caller = gate.Caller{ID: "unix:uid:7"}
	if res, err := b.Execute(t.Context(), different, nil); err != nil || res.Replayed {
		t.Errorf("a third caller learned that the id is taken: %v", err)
	}
	if _, err := b.GetCall(t.Context(), gate.Caller{ID: "unix:uid:8"}, "c1"); !errdefs.IsNotFound(err) {
		t.Errorf("GetCall of another caller's id: got %v, want not found", err)
	}
	ids := make(map[string]bool)
	for _, c := range b.runtime.Calls() {
		ids[c.ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("sandbox ids %v: want three different ones", ids)
	}
}

func TestWaiterGoesAwayAlone(t *testing.T) {
	running, release := make(chan struct{}), make(chan struct{})
	b := newBench(t, t.TempDir(), func(context.Context, sandbox.Call) (sandbox.Result, error) {
		close(running)
		<-release
		return sandboxtest.Exit(0, ""), nil
	}, nil)
	done := make(chan gate.Result, 1)
	go func() {
		res, err := b.Execute(context.Background(), bash("c1", "date"), nil)
		if err != nil {
			t.Error(err)
		}
		done <- res
	}()
	<-running
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Execute(ctx, bash("c1", "date"), nil); !errdefs.IsCanceled(err) {
		t.Errorf("waiter: got %v, want cancelled", err)
	}
	close(release)
	if res := <-done; res.Outcome != "EXITED" {
		t.Errorf("the running call: %+v", res)
	}
}

func TestOutputsAreForgottenBeforeCalls(t *testing.T) {
	now := time.Unix(1000, 0)
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	b := newBench(t, t.TempDir(), exits(0, strings.Repeat("x", 1000)), func(c *gate.Config) {
		c.Memory, c.Now = gate.Memory{Calls: 3, OutputBytes: 2500, OutputFor: time.Minute}, clock
	})
	for i := range 3 {
		b.do(t, bash(fmt.Sprintf("c%d", i), "date"))
	}
	first := b.do(t, bash("c0", "date"))
	if !first.Replayed || len(first.Stdout.Head) != 0 || first.Stdout.TotalBytes != 1000 || !first.Stdout.Truncated() || first.Message == "" {
		t.Errorf("oldest: %+v, want no output but its size", first)
	}
	if got := b.do(t, bash("c2", "date")); !got.Replayed || len(got.Stdout.Head) != 1000 {
		t.Errorf("newest: %+v, want its output", got)
	}
	mu.Lock()
	now = now.Add(2 * time.Minute)
	mu.Unlock()
	st, err := b.GetCall(t.Context(), alice, "c2")
	if err != nil || len(st.Result.Stdout.Head) != 0 || st.Result.Outcome != "EXITED" {
		t.Errorf("after a while: %+v %v, want no output", st.Result, err)
	}
	b.do(t, bash("c3", "date"))
	if _, err := b.GetCall(t.Context(), alice, "c0"); !errdefs.IsNotFound(err) {
		t.Errorf("beyond the bound: got %v, want not found", err)
	}
}

// crash leaves a journal as of a daemon that was killed while "lost" ran.
func crash(t *testing.T, dir string) {
	t.Helper()
	b := newBench(t, dir, exits(4, "out"), nil)
	b.policy.decide = func(in policy.Input) policy.Decision {
		if in.Call.ID == "denied" {
			return policy.Decision{Outcome: policy.Deny, Reasons: []policy.Reason{{Rule: "r", Message: "m"}}}
		}
		return policy.Decision{Outcome: policy.Allow, Labels: []string{"read:secrets"}}
	}
	for _, id := range []string{"done", "denied"} {
		call := bash(id, "date")
		call.SessionID = "s"
		b.do(t, call)
	}
	b.runtime.SetReady(errors.New("not yet"))
	if _, err := b.Execute(t.Context(), bash("notrun", "date"), nil); err == nil {
		t.Fatal("got no error")
	}
	b.runtime.SetReady(nil)
	b.broken.broken = []journal.Kind{journal.KindOutcome} // as if it had been killed before
	lost := bash("lost", "date")
	lost.SessionID = "s"
	b.do(t, lost)
	if err := b.journal.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAfterARestart(t *testing.T) {
	dir := t.TempDir()
	crash(t, dir)
	b := newBench(t, dir, nil, nil)
	again := func(id string) gate.Result {
		call := bash(id, "date")
		if id != "notrun" {
			call.SessionID = "s"
		}
		return b.do(t, call)
	}
	if res := again("lost"); res.Outcome != "UNKNOWN" || !res.IsError || !res.Replayed || !strings.Contains(res.Message, "new call id") {
		t.Errorf("lost: %+v", res)
	}
	if res := again("done"); res.Outcome != "EXITED" || res.ExitCode != 4 || !res.Replayed || res.Stdout.TotalBytes != 3 || len(res.Stdout.Head) != 0 || res.Receipt == nil {
		t.Errorf("done: %+v", res)
	}
	if res := again("denied"); res.Outcome != gate.OutcomeDenied || !res.Replayed || len(res.Decision.Reasons) != 1 {
		t.Errorf("denied: %+v", res)
	}
	if n := len(b.runtime.Calls()); n != 0 {
		t.Errorf("ran %d of them again", n)
	}
	if res := again("notrun"); res.Replayed || res.Outcome != "EXITED" {
		t.Errorf("notrun: %+v, want that it runs now", res)
	}
	state, ok, err := b.sessions.Peek(alice.ID, "s")
	if err != nil || !ok || state.Profile != "workspace" || state.Counts["allow"] != 2 || state.Counts["deny"] != 1 {
		t.Errorf("session: %+v %t %v", state, ok, err)
	}
	if diff := cmp.Diff([]string{"read:secrets"}, state.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	var outcomes []string
	for _, r := range state.Recent {
		outcomes = append(outcomes, r.Outcome)
	}
	if diff := cmp.Diff([]string{"EXITED", "DENIED", "UNKNOWN"}, outcomes); diff != "" {
		t.Errorf("recent (-want +got):\n%s", diff)
	}
	n := 0
	for _, r := range b.records(t) {
		if r.CallID == "lost" && r.Outcome == "UNKNOWN" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d records that lost is unknown, want 1", n)
	}
	// It is told once: a third life finds nothing open.
	if got := len(newBench(t, dir, nil, nil).rawRecords(t)); got != len(b.rawRecords(t)) {
		t.Errorf("another restart added records: %d", got)
	}
}

func TestRestartFailsClosedWhenUnknownCannotBeRecorded(t *testing.T) {
	dir := t.TempDir()
	crash(t, dir)
	defer func() {
		if recover() != nil {
			t.Error("panic")
		}
	}()
	b := newBench(t, t.TempDir(), nil, nil)
	replay := gate.NewReplay(gate.Memory{})
	j, err := journal.Open(dir+"/journal.jsonl", journal.Options{}, replay.Apply)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	broken := &brokenJournal{inner: j, broken: []journal.Kind{journal.KindOutcome}, err: errdefs.ErrResourceExhausted}
	_, err = gate.New(t.Context(), gate.Config{
		Catalog: mustCatalog(t), Policy: b.policy, Runtime: b.runtime, Journal: broken, Sessions: b.sessions, Replay: replay,
		Profiles: func(gate.Caller) gate.Profiles { return gate.Profiles{Default: "open"} }, Defaults: defaults(),
	})
	if !errdefs.IsResourceExhausted(err) {
		t.Errorf("got %v, want the journal's error", err)
	}
}

// TestRememberedCallsTakeLittleMemory holds the reckoning of memory against what
// the heap really grows by.
func TestRememberedCallsTakeLittleMemory(t *testing.T) {
	const calls, budget = 6000, 1 << 20
	receipt := func(id string) sandbox.Receipt {
		r := sandbox.Receipt{CellID: id, Image: "host", Isolation: "runc", Enforced: map[string]int64{}, Namespaces: map[string]string{}}
		for _, name := range []string{"memory_bytes", "cpu_millis", "pids", "wall_time_ms", "output_bytes", "disk_bytes", "file_bytes", "open_files"} {
			r.Enforced[name] = 1
		}
		for _, name := range []string{"pid", "mnt", "net", "ipc", "uts", "user"} {
			r.Namespaces[name] = name + ":[4026531840]" + id
		}
		return r
	}
	b := newBench(t, t.TempDir(), nil, func(c *gate.Config) {
		c.Memory = gate.Memory{OutputBytes: budget}
		c.Journal = nowhere{}
		c.Runtime = forgetful{func(call sandbox.Call) sandbox.Result {
			return sandbox.Result{Outcome: sandbox.OutcomeExited, Receipt: receipt(call.ID)}
		}}
	})
	b.policy.forget = true
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc) //nolint:gosec // far below
	}
	b.do(t, bash("", "true"))
	before := heap()
	for range calls {
		b.do(t, bash("", "true"))
	}
	grown := heap() - before
	t.Logf("%d bytes for each of %d calls, the whole results of %d bytes among them", grown/calls, calls, budget)
	if most := int64(calls*1000 + 2*budget); grown > most {
		t.Errorf("%d remembered calls take %d bytes, want at most %d", calls, grown, most)
	}
	runtime.KeepAlive(b)
}

// nowhere is a journal that keeps nothing.
type nowhere struct{}

func (nowhere) Append(context.Context, journal.Entry) (int64, error) { return 1, nil }
func (nowhere) Begin(context.Context, journal.Entry) journal.Pending { return nowhere{} }
func (nowhere) Wait(context.Context) (int64, error)                  { return 1, nil }

// forgetful is a runtime that keeps nothing.
type forgetful struct {
	run func(sandbox.Call) sandbox.Result
}

func (f forgetful) Run(ctx context.Context, call sandbox.Call) (sandbox.Result, error) {
	if err := call.Ready(ctx); err != nil {
		return sandbox.Result{}, err
	}
	return f.run(call), nil
}
func (forgetful) EndSession(context.Context, string) error { return nil }
func (forgetful) Capabilities(context.Context) (sandbox.Capabilities, error) {
	return sandbox.Capabilities{}, nil
}
func (forgetful) Ready(context.Context) error { return nil }
func (forgetful) Pools() []sandbox.Pool       { return nil }
func (forgetful) Close(context.Context) error { return nil }
