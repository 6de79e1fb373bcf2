package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandgate/sandgate/internal/journal/merkle"
)

// countFold counts records by caller.
type countFold struct {
	state   struct{ Calls map[string]int64 }
	applied int // not of the state: how many records it was given
}

func (*countFold) Name() string { return "count" }

func (c *countFold) Apply(r Record) error {
	c.applied++
	if c.state.Calls == nil {
		c.state.Calls = make(map[string]int64)
	}
	if r.Kind == KindIntent {
		c.state.Calls[r.Caller]++
	}
	return nil
}

func (c *countFold) Save(w io.Writer) error { return json.NewEncoder(w).Encode(c.state) }

func (c *countFold) Load(r io.Reader) error {
	c.state.Calls = nil
	if err := json.NewDecoder(r).Decode(&c.state); err != nil {
		c.state.Calls = nil
		return err
	}
	return nil
}

// segmented are options for small segments with all that goes with them.
func segmented(t *testing.T, dir string) (Options, *countFold) {
	t.Helper()
	key, err := merkle.LoadKey(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	fold := &countFold{}
	return Options{
		SegmentBytes: 16 << 10, Restore: []Fold{fold}, Folds: func() []Fold { return []Fold{&countFold{}} },
		Key: key, CheckpointRecords: 20,
	}, fold
}

func openWith(t *testing.T, path string, opts Options) *Journal {
	t.Helper()
	j, err := Open(path, opts, nil)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return j
}

// fill appends records until the journal has n closed segments more.
func fill(t *testing.T, j *Journal, n int) int64 {
	t.Helper()
	want := len(j.Segments()) + n
	text := strings.Repeat("some text ", 30)
	intents := int64(0)
	for len(j.Segments()) < want {
		add(t, j, fmt.Sprint("call-", intents), map[string]any{"text": text})
		intents++
		if intents > 100_000 {
			t.Fatal("no segment was closed")
		}
	}
	return intents
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		time.Sleep(time.Millisecond)
	}
}

func snapshots(t *testing.T, j *Journal) []int64 {
	t.Helper()
	seqs, err := j.files.numbers(snapshotExt)
	if err != nil {
		t.Fatal(err)
	}
	return seqs
}

// covered waits until a snapshot of all closed segments is recorded.
func covered(t *testing.T, j *Journal) {
	t.Helper()
	eventually(t, "no snapshot was made", func() bool {
		segments := j.Segments()
		found, err := findSnapshots(j.files, segments, zap.NewNop())
		return err == nil && len(found) > 0 && found[len(found)-1].seq == segments[len(segments)-2].Last
	})
}

func TestChainGoesOnOverSegments(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "j.jsonl")
	opts, _ := segmented(t, dir)
	j := openWith(t, path, opts)
	n := fill(t, j, 4)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, dir} {
		v, err := VerifyAll(p, VerifyOptions{PublicKey: opts.Key.Public()})
		if err != nil || v.Segments != 5 || v.Records < n || v.FirstSeq != 1 || !v.Closed || !v.Signed || v.Checkpoints == 0 || v.CheckpointSize != v.LastSeq-1 {
			t.Errorf("verify %s: %+v %v, want 5 segments with %d intents, all but the last under a checkpoint", p, v, err, n)
		}
	}
	got := int64(0)
	last := int64(0)
	again := open(t, path, func(r Record) error {
		if r.Seq != last+1 {
			t.Errorf("record %d after %d", r.Seq, last)
		}
		last = r.Seq
		if r.Kind == KindIntent {
			got++
		}
		return nil
	})
	if got != n || len(again.Segments()) != 5 {
		t.Errorf("replayed %d intents of %d segments, want %d of 5", got, len(again.Segments()), n)
	}
	for _, s := range again.Segments() {
		f, found, err := again.OpenSegment(s.First)
		if err != nil || found.Path != s.Path {
			t.Fatalf("segment %d: %v", s.First, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := again.OpenSegment(2); !errdefs.IsNotFound(err) {
		t.Errorf("a segment that is none: got %v", err)
	}
}

func TestSegmentIsClosedByItsAge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.jsonl")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	j := openWith(t, path, Options{SegmentAge: time.Hour, Now: func() time.Time { return now }})
	add(t, j, "a", nil)
	now = now.Add(59 * time.Minute) // the writer is idle
	add(t, j, "b", nil)
	if len(j.Segments()) != 1 {
		t.Fatal("a segment was closed before its time")
	}
	now = now.Add(time.Minute)
	eventually(t, "no segment was closed", func() bool {
		add(t, j, "c", nil)
		return len(j.Segments()) == 2
	})
}

func TestStartReadsTheSnapshotAndWhatIsBehindIt(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "j.jsonl")
	opts, _ := segmented(t, dir)
	j := openWith(t, path, opts)
	n := fill(t, j, 3)
	covered(t, j)
	add(t, j, "after", nil)
	last := j.State().LastSeq
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	opts, fold := segmented(t, dir)
	again := openWith(t, path, opts)
	if got := fold.state.Calls["unix:uid:1"]; got != n+1 {
		t.Errorf("the fold has %d calls, want %d", got, n+1)
	}
	if fold.applied == 0 || int64(fold.applied) > last/2 {
		t.Errorf("the start read %d of %d records, want those behind the snapshot alone", fold.applied, last)
	}
	if rep := again.Recovery(); rep.FirstSeq == 1 || rep.Segments != 1 {
		t.Errorf("recovery: %+v, want the live segment alone", rep)
	}
}

func TestDamagedSnapshotFallsBack(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "j.jsonl")
	opts, _ := segmented(t, dir)
	j := openWith(t, path, opts)
	n := fill(t, j, 1)
	covered(t, j)
	n += fill(t, j, 1)
	covered(t, j)
	seqs := snapshots(t, j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if len(seqs) != 2 {
		t.Fatalf("%d snapshots, want 2", len(seqs))
	}
	for damaged := 1; damaged >= 0; damaged-- { // the newest, then both
		file := filesOf(path).snapshot(seqs[damaged])
		raw := read(t, file)
		raw[len(raw)-3] ^= 1
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyAll(path, VerifyOptions{}); !errdefs.IsDataLoss(err) || !strings.Contains(err.Error(), ".snapshot") {
			t.Errorf("verify: got %v, want the damaged snapshot", err)
		}
		core, logs := observer.New(zap.WarnLevel)
		opts, fold := segmented(t, dir)
		opts.Logger, opts.Folds = zap.New(core), nil
		j, err := Open(path, opts, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := fold.state.Calls["unix:uid:1"]; got != n {
			t.Errorf("%d left: the fold has %d calls, want %d", damaged, got, n)
		}
		if logs.FilterMessageSnippet("damaged").Len() == 0 {
			t.Error("nothing was logged")
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRetentionKeepsChainAndProofs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "j.jsonl")
	opts, _ := segmented(t, dir)
	opts.KeepBytes = 20 << 10
	j := openWith(t, path, opts)
	n := int64(0)
	var early []byte
	for i := range 5 {
		n += fill(t, j, 1)
		covered(t, j)
		if i == 0 {
			var err error
			if early, _, _, err = j.Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "nothing was removed", func() bool { return j.Segments()[0].First > 1 })
	covered(t, j)
	oldest := j.Segments()[0].First
	eventually(t, "no checkpoint", func() bool { _, size, _, err := j.Checkpoint(); return err == nil && size >= oldest })
	proves(t, j, oldest, early)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := VerifyAll(dir, VerifyOptions{PublicKey: opts.Key.Public()})
	if err != nil || v.FirstSeq != j.Segments()[0].First || v.Checkpoints == 0 || v.Snapshots == 0 {
		t.Fatalf("verify: %+v %v", v, err)
	}

	// The tree can be made again from what is kept.
	if err := os.Remove(filesOf(path).tree()); err != nil {
		t.Fatal(err)
	}
	opts, fold := segmented(t, dir)
	opts.Folds = nil
	again := openWith(t, path, opts)
	if got := fold.state.Calls["unix:uid:1"]; got != n {
		t.Errorf("the fold has %d calls, want %d", got, n)
	}
	proves(t, again, again.Segments()[0].First, nil)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}

	// Without a snapshot the removed records are missed.
	for _, seq := range snapshots(t, again) {
		if err := os.Remove(filesOf(path).snapshot(seq)); err != nil {
			t.Fatal(err)
		}
	}
	opts, _ = segmented(t, dir)
	if _, err := Open(path, opts, nil); !errdefs.IsDataLoss(err) {
		t.Errorf("open without snapshots: got %v, want data loss", err)
	}
}

// proves checks the proofs of a journal's newest checkpoint for the oldest and the
// newest record, and that an earlier checkpoint is its beginning.
func proves(t *testing.T, j *Journal, oldest int64, early []byte) {
	t.Helper()
	note, size, key, err := j.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	c, err := merkle.OpenCheckpoint(note, key)
	if err != nil || c.Size != size {
		t.Fatalf("checkpoint %+v: %v", c, err)
	}
	leaves := make(map[int64]tlog.Hash)
	for _, s := range j.Segments() {
		f, _, err := j.OpenSegment(s.First)
		if err != nil {
			t.Fatal(err)
		}
		sc := newScanner(func(r Record, _ Place) error {
			leaves[r.Seq], err = merkle.Leaf(r.Hash)
			return err
		})
		sc.rep.LastSeq, sc.known = s.First-1, false
		if err := errors.Join(sc.segment(io.LimitReader(f, s.Bytes), s.Path, true), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for _, seq := range []int64{oldest, oldest + 1, size} {
		p, _, err := j.ProveRecord(0, seq)
		if err != nil || tlog.CheckRecord(p, size, c.Root, seq-1, leaves[seq]) != nil {
			t.Errorf("record %d of %d is not proven: %v", seq, size, err)
		}
	}
	if early == nil {
		return
	}
	e, err := merkle.OpenCheckpoint(early, key)
	if err != nil {
		t.Fatal(err)
	}
	if p, _, err := j.ProveTree(0, e.Size); err != nil || tlog.CheckTree(p, size, c.Root, e.Size, e.Root) != nil {
		t.Errorf("the checkpoint of %d is not proven to be the beginning: %v", e.Size, err)
	}
}

// What a crash leaves between the steps by which a segment is closed.
func TestCrashWhileASegmentIsClosed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "j.jsonl")
	n := int64(0)
	j := openWith(t, path, Options{})
	for range 5 {
		n = add(t, j, "x", nil)
	}
	settled(t, j)
	crashed := read(t, path)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		make func(t *testing.T, fs files)
	}{
		{"before its name", func(t *testing.T, fs files) { put(t, fs.live(), crashed); put(t, fs.next(), make([]byte, 4096)) }},
		{"the next one has no name", func(t *testing.T, fs files) { put(t, fs.closed(1), crashed); put(t, fs.next(), make([]byte, 4096)) }},
		{"nothing is in the next one", func(t *testing.T, fs files) { put(t, fs.closed(1), crashed); put(t, fs.live(), make([]byte, 4096)) }},
		{"zeros were not cut", func(t *testing.T, fs files) { put(t, fs.closed(1), crashed); put(t, fs.live(), nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "j.jsonl")
			tt.make(t, filesOf(path))
			got := 0
			j := open(t, path, func(Record) error { got++; return nil })
			if got != 5 || j.Recovery().TornBytes != 0 {
				t.Errorf("replayed %d, cut %d: want 5 and nothing", got, j.Recovery().TornBytes)
			}
			if seq := add(t, j, "next", nil); seq != n+1 {
				t.Errorf("next number %d, want %d", seq, n+1)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if rep, err := Verify(path); err != nil || rep.Records != 6 || rep.FileBytes != rep.Bytes {
				t.Errorf("verify: %+v %v", rep, err)
			}
		})
	}
}

func put(t *testing.T, path string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLostEndIsMissedByTheCheckpoint(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "j.jsonl")
	opts, _ := segmented(t, dir)
	j := openWith(t, path, opts)
	for range 10 {
		add(t, j, "x", nil)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	raw := read(t, path)
	lines := strings.SplitAfter(strings.TrimSuffix(string(raw), "\n"), "\n")
	for cut := 1; cut <= 3; cut++ {
		put(t, path, []byte(strings.Join(lines[:len(lines)-cut], "")))
		want := int64(len(lines) - cut + 1)
		_, verr := VerifyAll(path, VerifyOptions{})
		opts, _ := segmented(t, dir)
		_, oerr := Open(path, opts, nil)
		var ce *CorruptError
		if !errors.As(verr, &ce) || ce.Seq != want {
			t.Errorf("verify without the last %d: got %v, want that %d is missing", cut, verr, want)
		}
		if !errors.As(oerr, &ce) || ce.Seq != want {
			t.Errorf("open without the last %d: got %v, want that %d is missing", cut, oerr, want)
		}
		if oerr == nil {
			t.Fatal("opened")
		}
	}
}
