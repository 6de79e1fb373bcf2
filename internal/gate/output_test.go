package gate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/spool"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// TestOutputOutlivesARestart runs a call whose output is cut in the middle and one
// with a long log, and asks for them in the next life of the daemon.
func TestOutputOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	set, store := withOutputs(t, dir)
	b, programs := led(t, dir, set)
	result := sandbox.Result{
		Outcome: sandbox.OutcomeExited, ExitCode: 2,
		Stdout: sandbox.Output{Head: []byte("head"), Tail: []byte("tail"), TotalBytes: 100},
		Stderr: sandbox.Output{Head: []byte("err"), TotalBytes: 3},
	}
	for _, id := range []string{"cut", "long"} {
		if _, _, err := b.Start(t.Context(), bash(id, "x")); err != nil {
			t.Fatal(err)
		}
		p := <-programs
		if id == "long" {
			p.call.Observer.Output(sandbox.Stdout, 0, []byte("first "))
			p.call.Observer.Output(sandbox.Stderr, 0, []byte("err"))
			p.call.Observer.Output(sandbox.Stdout, 6, bytes.Repeat([]byte("z"), 94))
		}
		p.release <- result
		b.do(t, bash(id, "x"))
	}
	before := newFollower()
	if _, err := b.Attach(t.Context(), alice, "long", 0, 0, before); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.journal.Close(), store.Close()); err != nil {
		t.Fatal(err)
	}

	set, _ = withOutputs(t, dir)
	b, _ = led(t, dir, set)
	got := b.do(t, bash("cut", "x"))
	if !got.Replayed || got.ExitCode != 2 || string(got.Stdout.Head)+string(got.Stdout.Tail)+string(got.Stderr.Head) != "headtailerr" ||
		!got.Stdout.Truncated() || got.Message != "" || got.ResultSizeBytes != 11 {
		t.Errorf("result: %+v", got)
	}
	f := newFollower()
	if _, err := b.Attach(t.Context(), alice, "cut", 2, 0, f); err != nil {
		t.Fatal(err)
	}
	if told, want := f.all(), "decided cut allow; started; 1@2 ad; gap 1@4 92; 1@96 tail; 2@0 err"; told != want {
		t.Errorf("told %q, want %q", told, want)
	}
	after := newFollower()
	if _, err := b.Attach(t.Context(), alice, "long", 0, 0, after); err != nil {
		t.Fatal(err)
	}
	if after.all() != before.all() || !strings.Contains(after.all(), "1@0 first ; 2@0 err; 1@6 zzz") {
		t.Errorf("log before %q, after %q", before.all(), after.all())
	}
	if _, err := b.Attach(t.Context(), bob, "long", 0, 0, newFollower()); !errdefs.IsNotFound(err) {
		t.Errorf("another caller: %v", err)
	}
}

func TestOutputThatIsDamagedIsNotTold(t *testing.T) {
	dir := t.TempDir()
	set, store := withOutputs(t, dir)
	b, programs := led(t, dir, set)
	if _, _, err := b.Start(t.Context(), bash("c1", "x")); err != nil {
		t.Fatal(err)
	}
	p := <-programs
	p.release <- sandboxtest.Exit(0, "the output")
	b.do(t, bash("c1", "x"))
	if err := b.journal.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "outputs", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], bytes.ReplaceAll(raw, []byte("the output"), []byte("thy output")), 0o600); err != nil {
		t.Fatal(err)
	}
	set, _ = withOutputs(t, dir)
	b, _ = led(t, dir, set)
	got := b.do(t, bash("c1", "x"))
	if got.Outcome != "EXITED" || got.ResultSizeBytes != 0 || got.Stdout.TotalBytes != 10 || !strings.Contains(got.Message, "no longer kept") {
		t.Errorf("got %+v", got)
	}
	f := newFollower()
	if _, err := b.Attach(t.Context(), alice, "c1", 0, 0, f); err != nil || !strings.Contains(f.all(), "gap 1@0 10") {
		t.Errorf("told %q, %v", f.all(), err)
	}
}

// TestRedactedOutputIsWhatIsKept: what hosts may not see must not be in a file.
func TestRedactedOutputIsWhatIsKept(t *testing.T) {
	dir := t.TempDir()
	set, store := withOutputs(t, dir)
	b, programs := led(t, dir, set)
	b.policy.decide = func(policy.Input) policy.Decision {
		return policy.Decision{Outcome: policy.Allow, Obligations: policy.Obligations{Output: policy.OutputObligations{
			Patterns: map[string]string{"ticket": "T-[0-9]+"},
		}}}
	}
	if _, _, err := b.Start(t.Context(), bash("c1", "x")); err != nil {
		t.Fatal(err)
	}
	p := <-programs
	f := newFollower()
	done := b.attached(t.Context(), "c1", 0, 0, f)
	p.call.Observer.Output(sandbox.Stdout, 0, []byte("see T-123456 there\n"))
	p.release <- sandboxtest.Exit(0, "see T-123456 there\n")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "outputs", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"file": string(raw), "follower": f.all()} {
		if strings.Contains(text, "123456") || !strings.Contains(text, "there") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

func TestListCallsInPages(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, dir, nil, nil)
	for i := range 7 {
		call := bash(fmt.Sprintf("c%d", i), "x")
		if i%2 == 0 {
			call.SessionID = "s"
		}
		b.do(t, call)
	}
	other := bash("theirs", "x")
	other.Caller = bob
	b.do(t, other)
	pages := func(want gate.CallFilter, limit int) (ids []string) {
		token := ""
		for {
			calls, next, err := b.ListCalls(t.Context(), alice, want, limit, token)
			if err != nil || len(calls) > limit {
				t.Fatalf("%d calls, %v", len(calls), err)
			}
			for _, c := range calls {
				ids = append(ids, c.CallID)
				if c.Outcome != "EXITED" || c.Ended.IsZero() || c.Tool != "bash" {
					t.Errorf("call %+v", c)
				}
			}
			if token = next; token == "" {
				return ids
			}
		}
	}
	check := func() {
		for limit := 1; limit < 9; limit++ {
			if got := fmt.Sprint(pages(gate.CallFilter{}, limit)); got != "[c6 c5 c4 c3 c2 c1 c0]" {
				t.Errorf("by %d: %s", limit, got)
			}
		}
		if got := fmt.Sprint(pages(gate.CallFilter{SessionID: "s", Finished: true}, 2)); got != "[c6 c4 c2 c0]" {
			t.Errorf("of the session: %s", got)
		}
		if got := pages(gate.CallFilter{Running: true}, 2); got != nil {
			t.Errorf("running: %v", got)
		}
	}
	check()
	for _, bad := range []string{"x", "!!!!", "MTIz"} {
		if _, _, err := b.ListCalls(t.Context(), alice, gate.CallFilter{}, 1, bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("page %q: %v", bad, err)
		}
	}
	if err := b.journal.Close(); err != nil {
		t.Fatal(err)
	}
	b = newBench(t, dir, nil, nil)
	check()
}

// TestRepeatedCallsOverARestartRunOnce sends each of many ids again and again, also
// against a cancellation, before and after a restart.
func TestRepeatedCallsOverARestartRunOnce(t *testing.T) {
	dir := t.TempDir()
	ran := map[string]int{}
	for life := range 2 {
		started := make(chan string, 1024)
		b := newBench(t, dir, func(_ context.Context, call sandbox.Call) (sandbox.Result, error) {
			started <- call.Argv[len(call.Argv)-1]
			return sandboxtest.Exit(0, "done"), nil
		}, nil)
		outcomes := make(chan string, 1024)
		const ids, each = 8, 32
		for i := range ids {
			id := fmt.Sprintf("c%d", i)
			for n := range each {
				go func() {
					if n == each/2 {
						_ = b.Cancel(context.Background(), alice, id) // it may not be known yet
					}
					res, err := b.Execute(context.Background(), bash(id, id), nil)
					outcomes <- fmt.Sprintf("%s %s %v", id, res.Outcome, err)
				}()
			}
		}
		perID := map[string]map[string]bool{}
		for range ids * each {
			text := <-outcomes
			id, rest, _ := strings.Cut(text, " ")
			if perID[id] == nil {
				perID[id] = map[string]bool{}
			}
			perID[id][rest] = true
		}
		close(started)
		for id := range started {
			ran[id]++
		}
		for id, got := range perID {
			for text := range got {
				if !strings.HasPrefix(text, "EXITED") && !strings.HasPrefix(text, "CANCELLED") && !strings.Contains(text, "cancel") {
					t.Errorf("life %d, %s: %s", life, id, text)
				}
			}
		}
		if err := b.journal.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for id, n := range ran {
		if n > 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
}

func TestReplaySavesAndLoads(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, dir, func(_ context.Context, call sandbox.Call) (sandbox.Result, error) {
		return sandboxtest.Exit(len(call.Argv), "out"), nil
	}, nil)
	b.do(t, bash("c1", "x"))
	b.policy.decide = func(policy.Input) policy.Decision {
		return policy.Decision{Outcome: policy.Deny, Reasons: []policy.Reason{{Rule: "r", Message: "no"}}}
	}
	b.do(t, bash("c2", "x"))
	b.policy.decide = nil
	b.broken.broken = []journal.Kind{journal.KindOutcome}
	b.do(t, bash("c3", "x"))
	records := b.rawRecords(t)

	fold := func() *gate.Replay { return gate.NewReplay(gate.Memory{}) }
	all, half := fold(), fold()
	for i, rec := range records {
		if err := all.Apply(rec); err != nil {
			t.Fatal(err)
		}
		if i < len(records)/2 {
			if err := half.Apply(rec); err != nil {
				t.Fatal(err)
			}
		}
	}
	var saved, again, whole bytes.Buffer
	if err := half.Save(&saved); err != nil {
		t.Fatal(err)
	}
	loaded := fold()
	from := bytes.NewReader(append(saved.Bytes(), "rest"...))
	if err := loaded.Load(from); err != nil || from.Len() != len("rest") {
		t.Fatalf("load: %v, %d bytes left", err, from.Len())
	}
	for _, rec := range records[len(records)/2:] {
		if err := loaded.Apply(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := loaded.Save(&again); err != nil {
		t.Fatal(err)
	}
	if err := all.Save(&whole); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes(), whole.Bytes()) {
		t.Errorf("a snapshot and the rest is not the same as all:\n%q\n%q", again.Bytes(), whole.Bytes())
	}
	for cut := range whole.Len() {
		if err := fold().Load(bytes.NewReader(whole.Bytes()[:cut])); err == nil {
			t.Errorf("cut at %d it was loaded", cut)
		}
	}
}

func BenchmarkReplaySnapshot(b *testing.B) {
	const calls = 50_000
	r := gate.NewReplay(gate.Memory{Calls: calls})
	at := time.Unix(1_700_000_000, 0)
	for i := range int64(calls) {
		id := fmt.Sprintf("call-%d", i)
		intent := fmt.Appendf(nil, `{"digest":"sha256:%064d","tool":"bash","cwd":"/workspace","profile":"open","decision":{"id":"d-%d","outcome":"allow","profile":"open","revision":"r1","reasons":[{"rule":"open-all","message":"allowed by the profile"}]}}`, i, i)
		outcome := fmt.Appendf(nil, `{"outcome":"EXITED","digest":"sha256:%064d","exit_code":0,"is_error":false,"stdout_bytes":10,"stderr_bytes":0,"result_size_bytes":10,"queue_ms":0.1,"decide_ms":0.2,"start_ms":1,"run_ms":2,"receipt":{"cell_id":"cell","cell_calls":1,"image":"host","isolation":"runc","runtime":"runc 1.5.2","cgroup_version":2,"enforced":{"memory_bytes":1000,"pids":64}}}`, i)
		for n, rec := range []journal.Record{{Kind: journal.KindIntent, Data: intent}, {Kind: journal.KindOutcome, Data: outcome}} {
			rec.Seq, rec.Time, rec.Caller, rec.CallID = 2*i+int64(n), at, "unix:uid:1000", id
			if err := r.Apply(rec); err != nil {
				b.Fatal(err)
			}
		}
	}
	var saved bytes.Buffer
	b.Run("save", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			saved.Reset()
			if err := r.Save(&saved); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(saved.Len()), "bytes")
	})
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := gate.NewReplay(gate.Memory{Calls: calls}).Load(bytes.NewReader(saved.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkOutput is a call with some output, without and with files behind.
func BenchmarkOutput(b *testing.B) {
	for _, size := range []int{0, 1 << 10, 1 << 20} {
		for _, kept := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/files=%v", size, kept), func(b *testing.B) {
				text := strings.Repeat("x", size)
				dir := b.TempDir()
				bench := newBench(b, dir, func(_ context.Context, call sandbox.Call) (sandbox.Result, error) {
					for offset := 0; offset < len(text); offset += 64 << 10 {
						call.Observer.Output(sandbox.Stdout, int64(offset), []byte(text[offset:min(offset+64<<10, len(text))]))
					}
					return sandboxtest.Exit(0, text), nil
				}, func(c *gate.Config) {
					c.Defaults.OutputBytes = 4 << 20
					if !kept {
						return
					}
					store, err := spool.OpenStore(spool.StoreConfig{Dir: filepath.Join(dir, "outputs"), Bytes: 64 << 20, Keep: time.Hour})
					if err != nil {
						b.Fatal(err)
					}
					b.Cleanup(func() { _ = store.Close() })
					c.Output, c.Files = store, spool.NewFiles(store.Dir(), 16<<20, 64<<20)
				})
				bench.policy.forget = true
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if _, err := bench.Execute(b.Context(), bash(fmt.Sprint("c", i), "x"), nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
