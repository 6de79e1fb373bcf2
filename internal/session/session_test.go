package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	if diff := cmp.Diff([]string{s.WorkspaceDir() + makingSuffix}, prepared); diff != "" {
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

func TestSessionsAreBoundedAndNoneIsForgotten(t *testing.T) {
	m := manager(t, Config{MaxSessions: 4, MaxPerCaller: 2})
	decided(t, m, "flood", "one", "deny")
	decided(t, m, "flood", "two", "deny")
	if _, err := m.Use("flood", "three", "p"); !errdefs.IsResourceExhausted(err) || !strings.Contains(err.Error(), "this caller has 2 sessions") {
		t.Errorf("a third session of a caller: got %v", err)
	}
	decided(t, m, "flood", "one", "deny") // what is there goes on
	decided(t, m, "b", "one", "allow")
	decided(t, m, "b", "two", "allow")
	if _, err := m.Use("c", "one", "p"); !errdefs.IsResourceExhausted(err) || !strings.HasPrefix(err.Error(), "there are 4 sessions") {
		t.Errorf("a fifth session: got %v", err)
	}
	end(t, m, "b", "one", EndedClosed)
	decided(t, m, "c", "one", "allow")
	if got, ok, err := m.Peek("flood", "one"); err != nil || !ok || got.Counts["deny"] != 2 {
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
	// One that was made on purpose stays.
	create(t, m, "c", "made", Terms{})
	m.Release(use(t, m, "c", "made", "p"))
	if _, ok, err := m.Peek("c", "made"); !ok || err != nil {
		t.Errorf("a created session is forgotten: %v", err)
	}
}

// end closes a session as the gate does.
func end(t *testing.T, m *Manager, caller, id, reason string) {
	t.Helper()
	s, err := m.Close(caller, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Closed(s, reason); err != nil {
		t.Fatal(err)
	}
}

// create makes a session as the gate does.
func create(t *testing.T, m *Manager, caller, id string, terms Terms) State {
	t.Helper()
	nothing := func(*Session) error { return nil }
	info, err := m.Create(caller, id, "p", m.Within(terms), func() error { return nil }, nothing)
	if err != nil {
		t.Fatal(err)
	}
	return info.State
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
	if _, err := m.Close("other", "s"); !errdefs.IsNotFound(err) {
		t.Errorf("another caller's session: got %v, want not found", err)
	}
	end(t, m, "c", "s", EndedClosed)
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
	if _, err := m.Close("c", "s"); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "was closed") {
		t.Errorf("second end: got %v, want not found with what became of it", err)
	}
	// A call must not find itself in an empty session without its labels.
	if _, err := m.Use("c", "s", "p"); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "was closed") {
		t.Errorf("use of an ended session: got %v", err)
	}
	create(t, m, "c", "s", Terms{}) // but it may be made anew on purpose
	use(t, m, "c", "s", "p")
}

func TestAClosingSessionTakesNoCall(t *testing.T) {
	m := manager(t, Config{})
	create(t, m, "c", "s", Terms{})
	s, err := m.Close("c", "s")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Use("c", "s", "p"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("use: got %v", err)
	}
	if _, err := m.Close("c", "s"); !errdefs.IsAborted(err) {
		t.Errorf("second close: got %v", err)
	}
	m.Reopen(s)
	use(t, m, "c", "s", "p")
}

func TestNobodyUsesASessionThatIsBeingMade(t *testing.T) {
	m := manager(t, Config{})
	failed := fmt.Errorf("disk is full: %w", errdefs.ErrUnavailable)
	_, err := m.Create("c", "s", "p", Terms{}, func() error {
		if _, err := m.Use("c", "s", "p"); !errdefs.IsAborted(err) {
			t.Errorf("use: got %v", err)
		}
		if _, err := m.Create("c", "s", "p", Terms{}, nil, nil); !errdefs.IsAlreadyExists(err) {
			t.Errorf("second create: got %v", err)
		}
		if list, _ := m.List("c", Page{}, 10); len(list) != 0 {
			t.Errorf("listed: %+v", list)
		}
		return failed
	}, nil)
	if !errdefs.IsUnavailable(err) || m.Count() != 0 {
		t.Errorf("got %v and %d sessions, want the error and none", err, m.Count())
	}
}

func TestExpiry(t *testing.T) {
	now := time.Unix(1000, 0)
	m := manager(t, Config{
		Now:    func() time.Time { return now },
		Bounds: Bounds{IdleTimeout: time.Hour, MaxIdleTimeout: 2 * time.Hour, MaxTTL: 3 * time.Hour},
	})
	create(t, m, "c", "idle", Terms{})
	create(t, m, "c", "longer", Terms{IdleTimeout: 100 * time.Hour}) // taken back to two hours
	create(t, m, "c", "short", Terms{TTL: time.Minute})
	decided(t, m, "c", "implicit", "allow")
	busy := use(t, m, "c", "idle", "p")
	at := func(d time.Duration) string {
		now = time.Unix(1000, 0).Add(d)
		var ids []string
		for _, due := range m.Expired(10) {
			ids = append(ids, due.ID+":"+due.Reason)
		}
		slices.Sort(ids)
		return strings.Join(ids, " ")
	}
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{time.Minute - 1, ""},
		{time.Minute, "short:ttl"},
		{time.Hour, "implicit:idle short:idle"}, // a call is in idle
		{2 * time.Hour, "implicit:idle longer:idle short:idle"},
		{3 * time.Hour, "idle:ttl implicit:idle longer:idle short:idle"}, // whatever runs in it
	} {
		if got := at(c.after); got != c.want {
			t.Errorf("after %s: %q, want %q", c.after, got, c.want)
		}
	}
	now = time.Unix(1000, 0).Add(2 * time.Hour)
	m.Release(busy)
	if got := at(3*time.Hour - 1); strings.HasPrefix(got, "idle:") {
		t.Errorf("idle counts from the end of its last call: %q", got)
	}
	// From the very moment on it takes no call, whenever it is cleaned up.
	now = time.Unix(1000, 0).Add(time.Minute)
	if _, err := m.Use("c", "short", "p"); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "time to live") {
		t.Errorf("use after its time: got %v", err)
	}
}

// TestWhatIsOverIsNotShown: a session is not told as there once its time is over,
// however long its cleaning up takes.
func TestWhatIsOverIsNotShown(t *testing.T) {
	made := time.Unix(1000, 0)
	now := made
	m := manager(t, Config{Now: func() time.Time { return now }})
	create(t, m, "c", "idle", Terms{IdleTimeout: time.Minute})
	create(t, m, "c", "ttl", Terms{TTL: time.Minute})
	create(t, m, "c", "lives", Terms{})
	used := use(t, m, "c", "idle", "p")
	now = made.Add(time.Hour)
	listed := func() (ids []string) {
		list, _ := m.List("c", Page{}, 10)
		for _, i := range list {
			ids = append(ids, i.ID)
		}
		return ids
	}
	if got := listed(); !slices.Equal(got, []string{"idle", "lives"}) {
		t.Errorf("listed while a call is in one: %v", got)
	}
	m.Release(used)
	now = now.Add(time.Hour)
	if got := listed(); !slices.Equal(got, []string{"lives"}) {
		t.Errorf("listed: %v", got)
	}
	for id, want := range map[string]string{
		"ttl":  "reached the end of its time to live at 1970-01-01T00:17:40Z",
		"idle": "was not used for too long at 1970-01-01T01:17:40Z",
	} {
		if _, err := m.Get("c", id); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want not found and %q", id, err, want)
		}
	}
	if _, err := m.Get("c", "lives"); err != nil {
		t.Error(err)
	}
}

func TestQuotas(t *testing.T) {
	m := manager(t, Config{Bounds: Bounds{Quota: Quota{BackgroundCalls: 1}, MaxQuota: Quota{Calls: 3}}})
	create(t, m, "c", "s", Terms{Quota: Quota{Calls: 100, CPUTime: time.Second, ConcurrentCalls: 2}})
	s := use(t, m, "c", "s", "p")
	if got := s.Terms().Quota; got != (Quota{Calls: 3, CPUTime: time.Second, ConcurrentCalls: 2, BackgroundCalls: 1}) {
		t.Fatalf("quota: %+v", got)
	}
	begin := func() *QuotaError {
		t.Helper()
		err := s.Begin()
		var used *QuotaError
		if err != nil && (!errors.As(err, &used) || !errdefs.IsResourceExhausted(err)) {
			t.Fatalf("begin: %v", err)
		}
		return used
	}
	if first, second := begin(), begin(); first != nil || second != nil {
		t.Fatal("no room for two calls")
	}
	if used := begin(); used == nil || used.Lasting || used.Of != "calls at once" {
		t.Errorf("a third at once: %+v", used)
	}
	s.Leave(false) // one was not let run after all
	if _, err := s.Decided("allow", nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.Leave(true)
	for range 2 {
		if used := begin(); used != nil {
			t.Fatalf("%v of 3 calls: %v", s.Snapshot().Counts, used)
		}
		if _, err := s.Decided("allow", nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		s.Leave(true)
	}
	if used := begin(); used == nil || !used.Lasting || used.Of != "calls" {
		t.Errorf("a fourth call: %+v", used)
	}
	release, err := s.Background()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Background(); !errdefs.IsResourceExhausted(err) {
		t.Errorf("a second background call: %v", err)
	}
	release()
	release()
	if _, err := s.Background(); err != nil {
		t.Error(err)
	}
	create(t, m, "c", "cpu", Terms{Quota: Quota{CPUTime: time.Second}})
	s = use(t, m, "c", "cpu", "p")
	s.Spent(time.Second)
	if used := begin(); used == nil || !used.Lasting || used.Of != "cpu time" {
		t.Errorf("after a second of processor time: %+v", used)
	}
}

func TestListIsPaged(t *testing.T) {
	m := manager(t, Config{})
	for i := range 5 {
		create(t, m, "b", fmt.Sprint("s", i), Terms{})
	}
	create(t, m, "a", "z", Terms{})
	var got []string
	page, more := Page{}, true
	for more {
		var list []Info
		list, more = m.List("", page, 2)
		for _, i := range list {
			got = append(got, i.Caller+"/"+i.ID)
		}
		page = Page{list[len(list)-1].Caller, list[len(list)-1].ID}
	}
	if want := []string{"a/z", "b/s0", "b/s1", "b/s2", "b/s3", "b/s4"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if list, more := m.List("b", Page{"b", "s3"}, 2); len(list) != 1 || more {
		t.Errorf("the caller's rest: %+v %t", list, more)
	}
}

func TestTermsAreChecked(t *testing.T) {
	for name, terms := range map[string]Terms{
		"kind":                {Kind: "tmpfs"},
		"directory":           {Kind: Directory},
		"another's":           {Kind: Persistent, Dir: "/x"},
		"tree":                {Kind: Worktree},
		"negative":            {TTL: -1},
		"quota":               {Quota: Quota{Calls: -1}},
		"tiny disk":           {Quota: Quota{DiskBytes: 100}},
		"disk of a directory": {Kind: Directory, Dir: "/x", Quota: Quota{DiskBytes: 64 << 20}},
		"label":               {HostLabels: map[string]string{"": "x"}},
		"line break in one":   {HostLabels: map[string]string{"a": "x\ny"}},
		"value of one":        {HostLabels: map[string]string{"a": strings.Repeat("x", 257)}},
		"not UTF-8 in one":    {HostLabels: map[string]string{"a\xff": "x"}},
		"neither nor a tree":  {Kind: Directory, Dir: "/x", Tree: &Tree{}},
	} {
		if err := terms.Validate(); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, terms := range []Terms{{}, {Kind: Ephemeral}, {Kind: Directory, Dir: "/x"}, {Kind: Worktree, Tree: &Tree{}}, {HostLabels: map[string]string{"ticket": "A 1"}}} {
		if err := terms.Validate(); err != nil {
			t.Errorf("%+v: %v", terms, err)
		}
	}
}
