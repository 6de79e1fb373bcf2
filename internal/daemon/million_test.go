package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/audit"
	"github.com/sandgate/sandgate/internal/config"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/telemetry"
)

// Targets of a journal of a million records. They are only held to where
// SANDGATE_JOURNAL_RECORDS asks for as many: that takes a minute and 2 GB.
const (
	startTarget = 5 * time.Second
	queryTarget = 200 * time.Millisecond
)

// A start reads the last snapshot and what is behind it, also of a long journal, and
// the records of a caller in some time are found by the index.
func TestLongJournalStartsAndIsAskedQuickly(t *testing.T) {
	records, long := 6000, false
	if text := os.Getenv("SANDGATE_JOURNAL_RECORDS"); text != "" {
		var err error
		if records, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		long = records >= 1_000_000
	}
	dir := t.TempDir()
	d := &Daemon{cfg: config.Config{DataDir: dir}.WithDefaults(0), root: zap.NewNop(), logger: zap.NewNop()}
	if !long {
		d.cfg.Journal.SegmentBytes = config.Bytes(1 << 20)
	}
	if err := os.MkdirAll(filepath.Dir(d.cfg.Journal.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	j := d.opened(t, d.newState())
	began := time.Now()
	d.fillJournal(t, j, records)
	t.Logf("%d records, %d MB written in %v", records, j.State().Bytes>>20, time.Since(began).Round(time.Millisecond))
	snapshot := d.waitForSnapshot(t, j)
	if err := d.takeDown(t.Context()); err != nil {
		t.Fatal(err)
	}

	known := d.newState()
	began = time.Now()
	j = d.opened(t, known)
	took := time.Since(began)
	defer func() {
		if err := d.takeDown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	found := j.Recovery()
	t.Logf("start: %v, %d of %d records read", took.Round(time.Millisecond), found.Records, found.LastSeq)
	if int(found.LastSeq) < records || found.Records != found.LastSeq-snapshot {
		t.Errorf("read %d of %d records, want those behind the snapshot alone, which goes to %d", found.Records, found.LastSeq, snapshot)
	}
	if long && took > startTarget {
		t.Errorf("start took %v, want %v at most", took, startTarget)
	}
	d.asked(t, j, records, long)
}

// opened opens the journal as the daemon does.
func (d *Daemon) opened(t *testing.T, known *state) *journal.Journal {
	t.Helper()
	line, err := d.openLine()
	if err != nil {
		t.Fatal(err)
	}
	j, err := d.openJournal(t.Context(), known, &telemetry.Recorder{}, line)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// asked asks for a caller's records in some time, as the million's target has it.
func (d *Daemon) asked(t *testing.T, j *journal.Journal, records int, long bool) {
	t.Helper()
	log := audit.New(j, zap.NewNop())
	ends, err := log.Query(t.Context(), audit.Query{Kind: journal.KindIntent, Size: 1})
	if err != nil || len(ends.Lines) != 1 {
		t.Fatalf("first record: %v", err)
	}
	first, last := ends.Lines[0].Record.Time, time.Now()
	for name, q := range map[string]audit.Query{
		"a caller in a tenth of the time": {Caller: "unix:uid:7", Start: first.Add(last.Sub(first) / 20), End: first.Add(last.Sub(first) / 10)},
		"a caller in all of it":           {Caller: "unix:uid:7", Start: first, End: last},
		"a caller, newest first":          {Caller: "unix:uid:7", Start: first, End: last, NewestFirst: true},
		"nobody":                          {Caller: "unix:uid:4711", Start: first, End: last},
		"a denied tool of a caller":       {Caller: "unix:uid:7", Tool: "no such tool", Start: first, End: last},
	} {
		began := time.Now()
		page, err := log.Query(t.Context(), q)
		took := time.Since(began)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d records in %v", name, len(page.Lines), took.Round(time.Microsecond))
		if long && took > queryTarget {
			t.Errorf("%s: took %v, want %v at most", name, took, queryTarget)
		}
		if q.Caller == "unix:uid:7" && q.Tool == "" && len(page.Lines) == 0 && records >= 1000 {
			t.Errorf("%s: nothing was found", name)
		}
	}
}

// fillJournal writes calls as the gate records them: an intent and an outcome each.
func (d *Daemon) fillJournal(t *testing.T, j *journal.Journal, records int) {
	t.Helper()
	message := strings.Repeat("what the rule says of it, ", 6)
	decision := map[string]any{
		"id": "0198c0de-0000-7000-8000-000000000000", "outcome": "allow", "profile": "workspace", "revision": "sha256:0123456789abcdef",
		"reasons": []any{map[string]any{"rule": "sandgate.workspace", "message": message}},
	}
	var open []journal.Pending
	for i := range records {
		call := i / 2
		e := journal.Entry{
			Kind: journal.KindIntent, Caller: fmt.Sprint("unix:uid:", call%100), Session: fmt.Sprint("session-", call%1000), CallID: fmt.Sprintf("call-%08d", call),
		}
		digest := fmt.Sprintf("sha256:%064x", call)
		if i%2 == 0 {
			e.Data = map[string]any{
				"digest": digest, "tool": []string{"bash", "read_file", "write_file", "grep"}[call%4], "args": map[string]any{"command": "make test && git status"},
				"cwd": "/workspace", "profile": "workspace", "decision": decision,
				"cage": map[string]any{"sandbox_id": "cell-1", "image": "example.com/image:1", "reuse": "session", "wall_time_ms": 120000},
			}
		} else {
			e.Kind = journal.KindOutcome
			e.Data = map[string]any{
				"outcome": "EXITED", "digest": digest, "exit_code": 0, "is_error": false, "stdout_bytes": 1234, "stderr_bytes": 0, "result_size_bytes": 1234,
				"queue_ms": 0.1, "decide_ms": 0.8, "start_ms": 0.9, "run_ms": 12.5, "message": message,
			}
		}
		if open = append(open, j.Begin(t.Context(), e)); len(open) < 256 && i+1 < records {
			continue
		}
		for _, p := range open {
			if _, err := p.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		open = open[:0]
	}
}

// waitForSnapshot waits until there is a snapshot of all closed segments, and the
// journal's record of it, and returns the last record in it. A segment that is slow to
// become ready is begun late: records are written until one was closed.
func (d *Daemon) waitForSnapshot(t *testing.T, j *journal.Journal) int64 {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for len(j.Segments()) < 2 {
		if time.Now().After(deadline) {
			t.Fatal("no segment was closed")
		}
		d.fillJournal(t, j, 100)
	}
	log := audit.New(j, zap.NewNop())
	for ; ; time.Sleep(10 * time.Millisecond) {
		segments := j.Segments()
		closed := segments[len(segments)-2].Last
		newest, err := log.Query(t.Context(), audit.Query{Kind: journal.KindSnapshot, NewestFirst: true, Size: 1})
		if err != nil {
			t.Fatal(err)
		}
		var made struct{ Seq int64 }
		if len(newest.Lines) == 1 {
			if err := json.Unmarshal(newest.Lines[0].Record.Data, &made); err != nil {
				t.Fatal(err)
			}
		}
		if made.Seq >= closed {
			return made.Seq
		}
		if time.Now().After(deadline) {
			t.Fatalf("the newest snapshot goes to record %d after five minutes, want %d", made.Seq, closed)
		}
	}
}
