package replay_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/replay"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

const journalName = "journal.jsonl"

// life is a gate from one start to the end of its process.
type life struct {
	*gate.Gate
	journal *journal.Journal
}

// live starts a gate on what a directory has, with the policy that sandgate brings.
func live(t *testing.T, dir string, engine *policy.Engine, run sandboxtest.RunFunc) *life {
	t.Helper()
	calls, sessions, asked, granted := gate.NewReplay(gate.Memory{}), session.NewFold(), approval.NewFold(), grant.NewFold()
	j, err := journal.Open(filepath.Join(dir, journalName), journal.Options{}, func(r journal.Record) error {
		return errors.Join(calls.Apply(r), sessions.Apply(r), asked.Apply(r), granted.Apply(r))
	})
	if err != nil {
		t.Fatal(err)
	}
	manager, err := session.NewManager(session.Config{Dir: filepath.Join(dir, "sessions"), Fold: sessions, MaxSessions: 8, MaxPerCaller: 8})
	if err != nil {
		t.Fatal(err)
	}
	tools, err := catalog.New(catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	grants := grant.New(grant.Config{Journal: j, Fold: granted})
	g, err := gate.New(t.Context(), gate.Config{
		Catalog: tools, Policy: engine, Runtime: sandboxtest.NewFake(run), Journal: j, Sessions: manager, Replay: calls, Logger: zap.NewNop(),
		Grants: grants, Approvals: approval.New(approval.Config{Journal: j, Grants: grants, Fold: asked}),
		Profiles: func(gate.Caller) gate.Profiles { return gate.Profiles{Default: "readonly"} },
		Roles:    func(gate.Caller) gate.Roles { return gate.Roles{Names: []string{"operator"}, Admin: true} },
		Defaults: policy.SandboxObligations{
			Isolation: "runc", Reuse: "session", Network: "none", CPUMillis: 1000, MemoryBytes: 64 << 20, Pids: 64,
			WallTimeMs: 5000, OutputBytes: 1 << 16, DiskBytes: 1 << 20,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return &life{g, j}
}

func (l *life) call(t *testing.T, id, command string, terminal *gate.Terminal, want gate.Outcome) gate.Result {
	t.Helper()
	res, err := l.Execute(t.Context(), gate.Call{
		ID: id, Caller: gate.Caller{ID: "unix:uid:1000", Transport: "unix"}, Tool: "bash", SessionID: "s", Terminal: terminal,
		Args: []byte(`{"command":"` + command + `"}`),
	}, nil)
	if err != nil || res.Outcome != want {
		t.Fatalf("%s: got %s (%s), %v, want %s", id, res.Outcome, res.Message, err, want)
	}
	return res
}

// TestReplayOverLives replays what a gate has recorded in two lives, of which the first was
// cut off while a call ran: calls by an approval and by a grant, before and after, on a
// terminal, and when the grant is used up. Nothing may differ, or be a guess.
func TestReplayOverLives(t *testing.T) {
	engine, err := policy.New(t.Context(), policy.Config{Isolations: []string{"runc", "gvisor"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Ready(); err != nil {
		t.Fatal(err)
	}
	const cut = "cat cut"
	first, second := t.TempDir(), t.TempDir()
	l := live(t, first, engine, func(_ context.Context, call sandbox.Call) (sandbox.Result, error) {
		if strings.Contains(strings.Join(call.Argv, " "), cut) {
			raw, err := os.ReadFile(filepath.Join(first, journalName))
			if err = errors.Join(err, os.WriteFile(filepath.Join(second, journalName), raw, 0o600)); err != nil {
				t.Error(err)
			}
		}
		return sandboxtest.Exit(0, ""), nil
	})
	ask := l.call(t, "c1", "sleep 0", nil, gate.OutcomeApprovalRequired)
	bob := gate.Caller{ID: "token:bob"}
	seen, err := l.GetApproval(t.Context(), bob, ask.ApprovalID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Approve(t.Context(), bob, ask.ApprovalID, seen.Binding, "", &grant.Terms{Uses: 3}); err != nil {
		t.Fatal(err)
	}
	terminal := &gate.Terminal{Term: "vt100"}
	l.call(t, "c1", "sleep 0", nil, "EXITED")
	if res := l.call(t, "c2", "sleep 0", nil, "EXITED"); len(res.Decision.Grants) != 1 {
		t.Errorf("c2 ran by the grants %v, want one", res.Decision.Grants)
	}
	l.call(t, "t1", "ls", terminal, "EXITED")
	l.call(t, "cut", cut, nil, "EXITED")

	l = live(t, second, engine, nil)
	l.call(t, "cut", cut, nil, "UNKNOWN")
	l.call(t, "t2", "ls", terminal, "EXITED")
	ran := 0
	for _, id := range []string{"c3", "c4", "c5", "c6"} {
		res, err := l.Execute(t.Context(), gate.Call{
			ID: id, Caller: gate.Caller{ID: "unix:uid:1000", Transport: "unix"}, Tool: "bash", SessionID: "s", Args: []byte(`{"command":"sleep 0"}`),
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.Outcome == "EXITED" {
			ran++
		}
	}
	if ran == 0 || ran == 4 {
		t.Errorf("after the restart %d calls ran by the grant, want some, and then none", ran)
	}
	if err := l.journal.Close(); err != nil {
		t.Fatal(err)
	}

	f, err := os.Open(filepath.Join(second, journalName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	tools, err := catalog.New(catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	reader := &replay.Reader{Catalog: tools}
	report, err := replay.Run(t.Context(), func(yield func(replay.Call) bool) error { return reader.Read("journal", f, yield) }, replay.Options{Candidate: engine})
	if err != nil {
		t.Fatal(err)
	}
	const decided = 10 // c1 twice
	if report.Calls != decided || report.Same != decided || report.NotReplayable != 0 || len(report.Approximate) != 0 {
		t.Errorf("%d calls, %d the same, %d not replayed %v, guesses %v: %+v", report.Calls, report.Same, report.NotReplayable, report.Reasons, report.Approximate, report.Groups)
	}
}
