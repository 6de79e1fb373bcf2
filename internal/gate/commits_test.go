package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/sandbox/changeset"
)

// notedJournal keeps what is appended.
type notedJournal struct{ entries []journal.Entry }

func (j *notedJournal) Append(_ context.Context, e journal.Entry) (int64, error) {
	j.entries = append(j.entries, e)
	return int64(100 + len(j.entries)), nil
}

func (*notedJournal) Begin(context.Context, journal.Entry) journal.Pending {
	panic("a commit is no intent")
}

// interrupted is a transactional call of which the journal tells that its commit was
// about to be made.
func interrupted(t *testing.T) (c *Commits, r *Replay, dir string, commit commitData) {
	t.Helper()
	top := t.TempDir()
	dir, upper := filepath.Join(top, "workspace"), filepath.Join(top, "upper")
	for _, d := range []string{dir, upper} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{dir + "/a": "old", upper + "/a": "new", upper + "/b": "new"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := &changeset.Overlay{Dir: dir, UID: os.Getuid(), GID: os.Getgid(), Since: time.Now().Add(time.Hour)}
	var err error
	if o.Upper, err = os.Open(upper); err != nil {
		t.Fatal(err)
	}
	if o.Lower, err = os.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer o.Close() //nolint:errcheck // of a test
	set, err := changeset.Read(o, changeset.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	staged, err := changeset.Stage(o, set, filepath.Join(top, changeset.StagePrefix+"1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := staged.Close(); err != nil {
		t.Fatal(err)
	}
	commit = commitData{Ref: staged.Ref, Outcome: outcomeData{
		Outcome: "EXITED", Digest: "sha256:call", StdoutBytes: 5, Effects: &Effects{State: EffectsCommitted, Digest: staged.Ref.Digest, Totals: set.Totals()},
	}}
	c, r = NewCommits(), NewReplay(Memory{})
	for i, rec := range []struct {
		kind journal.Kind
		data any
	}{
		{journal.KindIntent, callData{Digest: "sha256:call", Tool: "bash", Cage: &cageData{Stage: staged.Ref.Stage}}},
		{journal.KindCommit, commit},
	} {
		raw, err := json.Marshal(rec.data)
		if err != nil {
			t.Fatal(err)
		}
		record := journal.Record{Seq: int64(i + 1), Time: time.Now(), Kind: rec.kind, Caller: "c", CallID: "1", Data: raw}
		if err := c.Apply(record); err != nil {
			t.Fatal(err)
		}
		if err := r.Apply(record); err != nil {
			t.Fatal(err)
		}
	}
	// What is saved and loaded is the same.
	var saved bytes.Buffer
	if err := c.Save(&saved); err != nil {
		t.Fatal(err)
	}
	again := NewCommits()
	if err := again.Load(&saved); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c.open, again.open); d != "" {
		t.Fatalf("loaded: %s", d)
	}
	return again, r, dir, commit
}

// TestInterruptedCommits are ended at start, or undone, or told as UNKNOWN with their
// paths; and the replay knows the outcome.
func TestInterruptedCommits(t *testing.T) {
	for _, tt := range []struct {
		name      string
		meanwhile func(t *testing.T, dir string, commit commitData)
		outcome   Outcome
		state     EffectsState
		a, b      string
	}{
		{"ended", func(*testing.T, string, commitData) {}, "EXITED", EffectsCommitted, "new", "new"},
		{"somebody changed a file meanwhile", func(t *testing.T, dir string, _ commitData) {
			if err := os.WriteFile(filepath.Join(dir, "a"), []byte("theirs"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "EXITED", EffectsDropped, "theirs", ""},
		{"half made, and somebody changed a file of it", func(t *testing.T, dir string, commit commitData) {
			staged, err := changeset.Open(commit.Ref)
			if err != nil {
				t.Fatal(err)
			}
			if err := staged.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := staged.Close(); err != nil {
				t.Fatal(err)
			}
			// Beside the old one, so that it cannot get the same inode.
			if err := os.WriteFile(filepath.Join(dir, "theirs"), []byte("theirs"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "theirs"), filepath.Join(dir, "a")); err != nil {
				t.Fatal(err)
			}
		}, Outcome(unknownOutcome), EffectsUnknown, "theirs", ""},
		{"the stage is gone", func(t *testing.T, _ string, commit commitData) {
			if err := os.RemoveAll(commit.Stage); err != nil {
				t.Fatal(err)
			}
		}, Outcome(unknownOutcome), EffectsUnknown, "old", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, r, dir, commit := interrupted(t)
			tt.meanwhile(t, dir, commit)
			j := &notedJournal{}
			g := &Gate{cfg: Config{Journal: j}, log: zap.NewNop(), now: time.Now}
			if err := g.endCommits(t.Context(), c, r); err != nil {
				t.Fatal(err)
			}
			if len(j.entries) != 1 || j.entries[0].Kind != journal.KindOutcome || j.entries[0].CallID != "1" {
				t.Fatalf("recorded %+v", j.entries)
			}
			got, ok := j.entries[0].Data.(outcomeData)
			if !ok || got.Outcome != tt.outcome || got.Effects.State != tt.state || got.IsError != (tt.state != EffectsCommitted) {
				t.Errorf("got %+v %+v", got, got.Effects)
			}
			if tt.state != EffectsCommitted && (len(got.Effects.Reasons) == 0 || got.Message == "") {
				t.Errorf("got no reasons: %+v", got)
			}
			if tt.state == EffectsUnknown && len(got.Effects.Paths) == 0 {
				t.Error("no paths are named")
			}
			if p := r.calls[callKey{"c", "1"}]; p == nil || !p.ended || p.result.Outcome != tt.outcome || p.result.Effects.State != tt.state {
				t.Errorf("the replay has %+v", p)
			}
			for name, want := range map[string]string{"a": tt.a, "b": tt.b} {
				if body, _ := os.ReadFile(filepath.Join(dir, name)); string(body) != want {
					t.Errorf("%s is %q, want %q", name, body, want)
				}
			}
			if len(c.open) != 0 {
				t.Errorf("still open: %v", c.open)
			}
		})
	}
}

// TestStagesWithoutCommitAreRemoved: the program's changes were never promised.
func TestStagesWithoutCommitAreRemoved(t *testing.T) {
	stage := filepath.Join(t.TempDir(), changeset.StagePrefix+"1")
	if err := os.MkdirAll(filepath.Join(stage, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := NewCommits()
	raw, err := json.Marshal(callData{Cage: &cageData{Stage: stage}})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range []journal.Record{
		{Kind: journal.KindIntent, Caller: "c", CallID: "1", Data: raw},
		{Kind: journal.KindIntent, Caller: "c", CallID: "2", Data: raw},
		{Kind: journal.KindOutcome, Caller: "c", CallID: "2"},
		{Kind: journal.KindIntent, Caller: "c", CallID: "3", Data: json.RawMessage(`{"args":{"stage":"x"}}`)},
	} {
		if err := c.Apply(rec); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.open) != 1 {
		t.Errorf("got %v, want the first call only", c.open)
	}
	j := &notedJournal{}
	g := &Gate{cfg: Config{Journal: j}, log: zap.NewNop(), now: time.Now}
	if err := g.endCommits(t.Context(), c, nil); err != nil || len(j.entries) != 0 {
		t.Errorf("got %v, %v", err, j.entries)
	}
	if _, err := os.Stat(stage); !os.IsNotExist(err) {
		t.Errorf("the stage is still there: %v", err)
	}
}
