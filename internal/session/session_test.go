package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

func manager(t *testing.T, cfg Config) *Manager {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "workspaces")
	}
	m, err := NewManager(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func use(t *testing.T, m *Manager, caller, id, profile string) *Session {
	t.Helper()
	s, err := m.Use(caller, id, profile)
	if err != nil {
		t.Fatalf("Use(%q, %q): %v", caller, id, err)
	}
	return s
}

func TestSessionsAreNotSharedBetweenCallers(t *testing.T) {
	m := manager(t, Config{})
	a, b := use(t, m, "unix:uid:1", "work", "p"), use(t, m, "unix:uid:2", "work", "p")
	if a == b || a.WorkspaceDir() == b.WorkspaceDir() {
		t.Fatal("two callers share a session")
	}
	if _, err := a.Decided("allow", []string{"read:secrets"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := b.Snapshot(); len(got.Labels) != 0 || got.Seq != 0 {
		t.Errorf("the other caller's session has %+v", got)
	}
	// No caller and id can be put together to mean another pair.
	if Key("a", "b/c") == Key("a/b", "c") || Key("1:a", "b") == Key("1", "a/b") {
		t.Error("two pairs have one key")
	}
}

func TestProfileIsPinned(t *testing.T) {
	m := manager(t, Config{})
	first := use(t, m, "c", "s", "readonly")
	if again := use(t, m, "c", "s", "readonly"); again != first {
		t.Error("a second use made a second session")
	}
	if _, err := m.Use("c", "s", "open"); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), `"readonly"`) {
		t.Errorf("other profile: got %v, want a failed precondition that names the pinned one", err)
	}
}

func TestInvalidIDs(t *testing.T) {
	m := manager(t, Config{})
	for _, id := range []string{"", "a/b", "a b", "ü", strings.Repeat("x", 129), "a\x00"} {
		if _, err := m.Use("c", id, "p"); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: got %v, want an invalid argument", id, err)
		}
	}
	for _, id := range []string{".", "..", "A-z_0.9", strings.Repeat("x", 128)} {
		s := use(t, m, "c", id, "p")
		if got := filepath.Dir(filepath.Dir(s.WorkspaceDir())); got != m.cfg.Dir {
			t.Errorf("%q: workspace is %s, not below %s", id, s.WorkspaceDir(), m.cfg.Dir)
		}
	}
}

func TestWorkspaceIsMadeOnceAndPrepared(t *testing.T) {
	var prepared []string
	m := manager(t, Config{Prepare: func(dir string) error { prepared = append(prepared, dir); return nil }})
	s := use(t, m, "c", "s", "p")
	for range 2 {
		if err := s.EnsureWorkspace(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{s.WorkspaceDir()}, prepared); diff != "" {
		t.Errorf("prepared (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(s.WorkspaceDir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("workspace: %v %v", info, err)
	}
}

func TestFailedPreparationLeavesNoWorkspace(t *testing.T) {
	m := manager(t, Config{Prepare: func(string) error { return fmt.Errorf("no") }})
	s := use(t, m, "c", "s", "p")
	if err := s.EnsureWorkspace(); err == nil {
		t.Fatal("got no error")
	}
	if _, err := os.Stat(s.WorkspaceDir()); !os.IsNotExist(err) {
		t.Errorf("workspace is there: %v", err)
	}
}

func TestCountsLabelsAndRecentAreBounded(t *testing.T) {
	m := manager(t, Config{})
	s := use(t, m, "c", "s", "p")
	for i := range 30 {
		seq, err := s.Decided("allow", []string{"b", "a", "b"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		s.Finished(Recent{Seq: seq, Tool: "bash", Outcome: "EXITED", Digest: fmt.Sprint(i)})
	}
	got := s.Snapshot()
	if diff := cmp.Diff([]string{"a", "b"}, got.Labels); diff != "" || got.Seq != 30 || got.Counts["allow"] != 30 {
		t.Errorf("state %+v", got)
	}
	if len(got.Recent) != maxRecent || got.Recent[0].Seq != 11 {
		t.Errorf("recent: %d from %d, want %d from 11", len(got.Recent), got.Recent[0].Seq, maxRecent)
	}
	var many []string
	for i := range maxLabels {
		many = append(many, fmt.Sprintf("l%03d", i))
	}
	if err := s.CanLabel(many); !errdefs.IsResourceExhausted(err) {
		t.Errorf("CanLabel: got %v", err)
	}
	if _, err := s.Decided("allow", many, time.Now()); !errdefs.IsResourceExhausted(err) || s.Snapshot().Seq != 30 {
		t.Errorf("too many labels: got %v, want an error and nothing counted", err)
	}
}

// decided uses the session for one call that gets the decision.
func decided(t *testing.T, m *Manager, caller, id, decision string, labels ...string) {
	t.Helper()
	s := use(t, m, caller, id, "p")
	if _, err := s.Decided(decision, labels, m.cfg.Now()); err != nil {
		t.Fatal(err)
	}
	m.Release(s)
}

func TestUnusedSessionsArePutAsideAndComeBackWhole(t *testing.T) {
	now := time.Unix(1000, 0)
	m := manager(t, Config{MaxSessions: 2, MaxPerCaller: 2, Now: func() time.Time { now = now.Add(time.Second); return now }})
	decided(t, m, "c", "one", "deny", "saw:untrusted")
	one, two := use(t, m, "c", "one", "p"), use(t, m, "c", "two", "p")
	if _, err := m.Use("c", "three", "p"); !errdefs.IsResourceExhausted(err) || !strings.Contains(err.Error(), "this caller has 2 sessions in use") {
		t.Fatalf("all are in use: got %v, want resource exhausted", err)
	}
	if _, err := m.Use("d", "one", "p"); !errdefs.IsResourceExhausted(err) || !strings.HasPrefix(err.Error(), "2 sessions are in use") {
		t.Fatalf("all are in use, another caller: got %v, want resource exhausted", err)
	}
	m.Release(one)
	three := use(t, m, "c", "three", "p")
	if m.sessions[name{"c", "two"}] != two || len(m.sessions) != 2 {
		t.Errorf("in memory are %v, want two, which is in use, and three", m.sessions)
	}
	if got, ok, err := m.Peek("c", "one"); err != nil || !ok || got.Labels[0] != "saw:untrusted" {
		t.Errorf("peek: %+v %t %v", got, ok, err)
	}
	m.Release(three)
	if _, err := m.Use("c", "one", "open"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("the pinned profile was lost: %v", err)
	}
	if got := use(t, m, "c", "one", "p").Snapshot(); got.Counts["deny"] != 1 || len(got.Labels) != 1 {
		t.Errorf("came back as %+v", got)
	}
}

func TestOneCallerCannotTakeAllSessions(t *testing.T) {
	now := time.Unix(1000, 0)
	m := manager(t, Config{MaxSessions: 16, Now: func() time.Time { return now }})
	if m.cfg.MaxPerCaller != 8 {
		t.Fatalf("a caller may have %d of 16, want 8", m.cfg.MaxPerCaller)
	}
	decided(t, m, "victim", "work", "allow", "l")
	for i := range 40 {
		now = now.Add(time.Second)
		decided(t, m, "flood", fmt.Sprint(i), "deny")
	}
	if m.sessions[name{"victim", "work"}] == nil || len(m.sessions) != 9 {
		t.Errorf("%d sessions in memory, want the victim's and 8 of the flood's", len(m.sessions))
	}
	if got, ok, err := m.Peek("flood", "0"); err != nil || !ok || got.Counts["deny"] != 1 {
		t.Errorf("what was denied is forgotten: %+v %t %v", got, ok, err)
	}
}

func TestSessionWithoutADecisionIsForgotten(t *testing.T) {
	m := manager(t, Config{})
	a, b := use(t, m, "c", "s", "p"), use(t, m, "c", "s", "p")
	m.Release(a)
	if again := use(t, m, "c", "s", "p"); again != b {
		t.Error("forgotten while it is in use")
	}
	m.Release(b)
	m.Release(b)
	if _, ok, err := m.Peek("c", "s"); ok || err != nil || len(m.sessions) != 0 {
		t.Errorf("it is still known (%v)", err)
	}
	// An ended one does not take its successor with it.
	old := use(t, m, "c", "s", "p")
	if err := m.End("c", "s"); err != nil {
		t.Fatal(err)
	}
	next := use(t, m, "c", "s", "p")
	m.Release(old)
	if m.sessions[name{"c", "s"}] != next {
		t.Error("the new session went with the old one")
	}
}

func TestReplayOfMoreSessionsThanMemoryHolds(t *testing.T) {
	m := manager(t, Config{MaxSessions: 2, MaxPerCaller: 1})
	for i := range 5 {
		err := m.Restore("c", fmt.Sprint(i), "p", "allow", []string{"l"}, Recent{Tool: "bash", Outcome: "UNKNOWN", Digest: "d"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Corrected("c", "0", "d", "EXITED"); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := m.Peek("c", "0"); err != nil || !ok || got.Recent[0].Outcome != "EXITED" {
		t.Errorf("corrected after it was put aside: %+v %t %v", got, ok, err)
	}
	if err := m.Corrected("c", "none", "d", "EXITED"); err != nil {
		t.Errorf("of no session: %v", err)
	}
	if err := m.Drop("c", "1"); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := m.Peek("c", "1"); ok || err != nil {
		t.Errorf("dropped after it was put aside: %+v %v", got, err)
	}
}

func TestDamagedStateIsNotAFreshSession(t *testing.T) {
	m := manager(t, Config{})
	dir := filepath.Join(m.cfg.Dir, Key("c", "s"))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Use("c", "s", "p"); !errdefs.IsDataLoss(err) {
		t.Errorf("got %v, want data loss", err)
	}
	if err := m.Forget(); err != nil {
		t.Fatal(err)
	}
	use(t, m, "c", "s", "p")
}

func TestEndRemovesFilesButFollowsNoLink(t *testing.T) {
	m := manager(t, Config{})
	s := use(t, m, "c", "s", "p")
	if err := s.EnsureWorkspace(); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	if err := os.WriteFile(canary, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(s.WorkspaceDir(), "link")); err != nil {
		t.Fatal(err)
	}
	if err := m.End("other", "s"); !errdefs.IsNotFound(err) {
		t.Errorf("another caller's session: got %v, want not found", err)
	}
	if err := m.End("c", "s"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.WorkspaceDir()); !os.IsNotExist(err) {
		t.Errorf("workspace is still there: %v", err)
	}
	if _, err := os.Stat(canary); err != nil {
		t.Errorf("canary: %v", err)
	}
	if err := s.EnsureWorkspace(); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("workspace of an ended session: got %v, want a failed precondition", err)
	}
	if left, err := os.ReadDir(m.cfg.Dir); err != nil || len(left) != 0 {
		t.Errorf("left are %v (%v)", left, err)
	}
	if err := m.End("c", "s"); !errdefs.IsNotFound(err) {
		t.Errorf("second end: got %v, want not found", err)
	}
}

func TestLeftoversOfEndedSessionsAreRemovedAtStart(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, trashPrefix+"1", "x")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	manager(t, Config{Dir: dir})
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
}

func TestRestore(t *testing.T) {
	m := manager(t, Config{})
	at := time.Unix(5, 0).UTC()
	for _, d := range []string{"allow", "deny"} {
		if err := m.Restore("c", "s", "p", d, []string{"l"}, Recent{Tool: "bash", Outcome: "EXITED", Digest: d}, at); err != nil {
			t.Fatal(err)
		}
	}
	want := State{
		Caller: "c", ID: "s", Profile: "p", Seq: 2, Counts: map[string]int{"allow": 1, "deny": 1}, Labels: []string{"l"},
		Recent: []Recent{{1, "bash", "EXITED", "allow", time.Time{}}, {2, "bash", "EXITED", "deny", time.Time{}}}, LastUsed: at,
	}
	got, ok, err := m.Peek("c", "s")
	if diff := cmp.Diff(want, got); diff != "" || !ok || err != nil {
		t.Errorf("%t %v (-want +got):\n%s", ok, err, diff)
	}
}
