package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

var (
	alice = gate.Caller{ID: "unix:uid:1000", Transport: "unix"}
	bob   = gate.Caller{ID: "unix:uid:1001", Transport: "unix"}
)

// decider is a policy of one function; it keeps what it was asked.
type decider struct {
	decide func(policy.Input) policy.Decision
	hide   []string
	forget bool // what it was asked
	// revision is that of the policy in force; nil: it does not tell.
	revision atomic.Pointer[string]

	mu    sync.Mutex
	asked []policy.Input
}

func (d *decider) Complete(in policy.Input) policy.Input {
	in.Schema, in.DecisionID = policy.InputSchema, "decision-1"
	return in
}

func (d *decider) Revision() string {
	if rev := d.revision.Load(); rev != nil {
		return *rev
	}
	return ""
}

func (d *decider) Decide(_ context.Context, in policy.Input) policy.Decision {
	if !d.forget {
		d.mu.Lock()
		d.asked = append(d.asked, in)
		d.mu.Unlock()
	}
	if d.decide == nil {
		return policy.Decision{ID: in.DecisionID, Outcome: policy.Allow, Reasons: []policy.Reason{{Rule: "test-allow", Message: "allowed"}}}
	}
	return d.decide(in)
}

func (d *decider) Visible(_ context.Context, _ policy.Input, tools []policy.ToolInput) ([]string, error) {
	var names []string
	for _, t := range tools {
		if !slices.Contains(d.hide, t.Name) {
			names = append(names, t.Name)
		}
	}
	return names, nil
}

func (d *decider) last(t *testing.T) policy.Input {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) == 0 {
		t.Fatal("policy was not asked")
	}
	return d.asked[len(d.asked)-1]
}

// brokenJournal fails for some kinds; the rest goes to the real one.
type brokenJournal struct {
	inner  *journal.Journal
	broken []journal.Kind
	err    error
}

func (b *brokenJournal) Append(ctx context.Context, e journal.Entry) (int64, error) {
	if slices.Contains(b.broken, e.Kind) {
		return 0, b.err
	}
	return b.inner.Append(ctx, e)
}

func (b *brokenJournal) Begin(ctx context.Context, e journal.Entry) journal.Pending {
	if slices.Contains(b.broken, e.Kind) {
		return brokenEntry{b.err}
	}
	return b.inner.Begin(ctx, e)
}

// brokenEntry cannot be written.
type brokenEntry struct{ err error }

func (b brokenEntry) Wait(context.Context) (int64, error) { return 0, b.err }

// bench is a gate with everything around it.
type bench struct {
	*gate.Gate
	policy   *decider
	runtime  *sandboxtest.Fake
	journal  *journal.Journal
	broken   *brokenJournal
	sessions *session.Manager
	dir      string
	bounds   session.Bounds
	clock    func() time.Time // nil: the machine's
	folds    []journal.Fold   // that are told of the journal, too
}

func defaults() policy.SandboxObligations {
	return policy.SandboxObligations{
		Isolation: "runc", Reuse: "session", Network: "none", CPUMillis: 1000, MemoryBytes: 64 << 20, Pids: 64,
		WallTimeMs: 5000, OutputBytes: 1 << 16, DiskBytes: 1 << 20,
	}
}

// newBench opens the journal and sessions in dir and makes a gate of them; set
// changes its configuration.
func newBench(t testing.TB, dir string, run sandboxtest.RunFunc, set func(*gate.Config)) *bench {
	t.Helper()
	return openBench(t, &bench{dir: dir}, run, set)
}

// openBench is newBench with the bounds and the clock of sessions that b has.
func openBench(t testing.TB, b *bench, run sandboxtest.RunFunc, set func(*gate.Config)) *bench {
	t.Helper()
	b.policy, b.runtime = &decider{}, sandboxtest.NewFake(run)
	dir := b.dir
	var err error
	replay, known := gate.NewReplay(gate.Memory{}), session.NewFold()
	add := func(r journal.Record) error {
		err := errors.Join(replay.Apply(r), known.Apply(r))
		for _, f := range b.folds {
			err = errors.Join(err, f.Apply(r))
		}
		return err
	}
	if b.journal, err = journal.Open(filepath.Join(dir, "journal.jsonl"), journal.Options{}, add); err != nil {
		t.Fatal(err)
	}
	b.sessions, err = session.NewManager(session.Config{
		Dir: filepath.Join(dir, "workspaces"), Fold: known, MaxSessions: 1024, MaxPerCaller: 128, Bounds: b.bounds, Now: b.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.journal.Close(); err != nil {
			t.Error(err)
		}
	})
	tools, err := catalog.New(catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.broken = &brokenJournal{inner: b.journal, err: errors.New("disk is gone")}
	cfg := gate.Config{
		Catalog: tools, Policy: b.policy, Runtime: b.runtime, Journal: b.broken, Sessions: b.sessions, Replay: replay,
		Profiles: func(c gate.Caller) gate.Profiles {
			if c.ID == alice.ID {
				return gate.Profiles{Default: "workspace", Allowed: []string{"readonly"}}
			}
			return gate.Profiles{Default: "readonly"}
		},
		Defaults: defaults(), Logger: zap.NewNop(),
	}
	if set != nil {
		set(&cfg)
	}
	if b.Gate, err = gate.New(t.Context(), cfg); err != nil {
		t.Fatalf("gate.New: %v", err)
	}
	return b
}

// inLine sets a line whose budget binds only where it says so.
func inLine(t testing.TB, cfg admission.Config) func(*gate.Config) {
	t.Helper()
	for _, part := range []*int64{&cfg.Budget.CPUMillis, &cfg.Budget.MemoryBytes} {
		if *part == 0 {
			*part = 1 << 50
		}
	}
	line, err := admission.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *gate.Config) { c.Admission = line }
}

func bash(id, command string) gate.Call {
	args, err := json.Marshal(map[string]string{"command": command})
	if err != nil {
		panic(err) // a map of strings
	}
	return gate.Call{ID: id, Caller: alice, Tool: "bash", Args: args}
}

func (b *bench) do(t *testing.T, call gate.Call) gate.Result {
	t.Helper()
	res, err := b.Execute(t.Context(), call, nil)
	if err != nil {
		t.Fatalf("Execute(%s): %v", call.ID, err)
	}
	return res
}

// record is what the tests look at of a journal record.
type record struct {
	Kind    journal.Kind
	CallID  string
	Outcome string
}

func (b *bench) records(t *testing.T) []record {
	t.Helper()
	var out []record
	for _, r := range b.rawRecords(t) {
		var data struct{ Outcome string }
		if err := json.Unmarshal(r.Data, &data); err != nil {
			t.Fatal(err)
		}
		out = append(out, record{r.Kind, r.CallID, data.Outcome})
	}
	return out
}

// rawRecords reads the journal of the bench, which must be idle.
func (b *bench) rawRecords(t *testing.T) []journal.Record {
	t.Helper()
	if err := b.journal.Close(); err != nil {
		t.Fatal(err)
	}
	var out []journal.Record
	j, err := journal.Open(filepath.Join(b.dir, "journal.jsonl"), journal.Options{}, func(r journal.Record) error {
		out = append(out, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

func exits(code int, stdout string) sandboxtest.RunFunc {
	return func(context.Context, sandbox.Call) (sandbox.Result, error) {
		return sandboxtest.Exit(code, stdout), nil
	}
}
