package gate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/sandbox/changeset"
)

// TestStagesOfEndedCallsAreRemoved: a daemon may die after the outcome of a call is on
// disk and before its stage is taken away. What is unknown stays, and so does what a
// call under the same id is about to commit.
func TestStagesOfEndedCallsAreRemoved(t *testing.T) {
	top := t.TempDir()
	stage := func(n int) string { return filepath.Join(top, fmt.Sprintf("%s%d", changeset.StagePrefix, n)) }
	c := NewCommits()
	apply := func(kind journal.Kind, n int, data any) {
		t.Helper()
		raw, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Apply(journal.Record{Kind: kind, Caller: "c", CallID: fmt.Sprint(n), Data: raw}); err != nil {
			t.Fatal(err)
		}
	}
	for n, state := range []EffectsState{EffectsCommitted, EffectsDropped, EffectsUnknown, EffectsCommitted} {
		if err := os.MkdirAll(filepath.Join(stage(n), "d"), 0o700); err != nil {
			t.Fatal(err)
		}
		apply(journal.KindIntent, n, callData{Cage: &cageData{Stage: stage(n)}})
		apply(journal.KindOutcome, n, outcomeData{Outcome: "EXITED", Effects: &Effects{State: state}})
	}
	apply(journal.KindIntent, 3, callData{Cage: &cageData{Stage: stage(3)}}) // the id was taken again
	var saved bytes.Buffer
	if err := c.Save(&saved); err != nil {
		t.Fatal(err)
	}
	again := NewCommits()
	if err := again.Load(&saved); err != nil {
		t.Fatal(err)
	}
	if got := again.left(); len(got) != 2 || got[0] != stage(0) || got[1] != stage(1) {
		t.Errorf("left: %v, want those of the first two", got)
	}
	g := &Gate{cfg: Config{Journal: &notedJournal{}}, log: zap.NewNop(), now: time.Now}
	if err := g.endCommits(t.Context(), again, nil); err != nil {
		t.Fatal(err)
	}
	for n, there := range []bool{false, false, true, false} { // the last one was not about to be committed
		if _, err := os.Stat(stage(n)); (err == nil) != there {
			t.Errorf("stage %d: %v, want it there: %v", n, err, there)
		}
	}
}

func TestFewStagesOfEndedCallsAreKept(t *testing.T) {
	c := NewCommits()
	for n := range maxEndedStages + 10 {
		o := &openCommit{Stage: fmt.Sprint(n)}
		if err := c.end(o, nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.ended) != maxEndedStages || c.ended[0] != "10" {
		t.Errorf("%d are kept, from %s on; want %d from 10", len(c.ended), c.ended[0], maxEndedStages)
	}
}
