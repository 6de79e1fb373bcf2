package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func open(t *testing.T, path string, replay func(Record) error) *Journal {
	t.Helper()
	j, err := Open(path, Options{}, replay)
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

func add(t *testing.T, j *Journal, id string, data any) int64 {
	t.Helper()
	seq, err := j.Append(t.Context(), Entry{Kind: KindIntent, Caller: "unix:uid:1", CallID: id, Data: data})
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	return seq
}

// filled makes a closed journal with n records and returns its path.
func filled(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	j := open(t, path, nil)
	for i := range n {
		add(t, j, fmt.Sprintf("call-%d", i), map[string]any{"n": i})
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReplayGivesWhatWasAppended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("x", 3600))
	j, err := Open(path, Options{Now: func() time.Time { return now }}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{"a", "b", "<c>&"} {
		if got := add(t, j, id, map[string]any{"text": "x\ny"}); got != int64(i+1) {
			t.Errorf("seq: got %d, want %d", got, i+1)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), Entry{Kind: KindStop}); !errdefs.IsUnavailable(err) {
		t.Errorf("append after close: got %v, want unavailable", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v %v, want 0600", info.Mode(), err)
	}
	var ids []string
	var last Record
	open(t, path, func(r Record) error { ids, last = append(ids, r.CallID), r; return nil })
	if diff := cmp.Diff([]string{"a", "b", "<c>&"}, ids); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	if !last.Time.Equal(now) || last.Kind != KindIntent || string(last.Data) != `{"text":"x\ny"}` || last.Synced != 2 {
		t.Errorf("last record: %+v", last)
	}
}

func TestConcurrentAppendsAreOneChain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	j := open(t, path, nil)
	const n = 200
	seqs := make([]int64, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var err error
			if seqs[i], err = j.Append(context.Background(), Entry{Kind: KindOutcome, CallID: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := make(map[int64]bool)
	for _, s := range seqs {
		seen[s] = true
	}
	if len(seen) != n {
		t.Errorf("got %d different numbers, want %d", len(seen), n)
	}
	rep, err := Verify(path)
	if err != nil || rep.Records != n || rep.LastSeq != n || rep.TornBytes != 0 {
		t.Errorf("verify: got %+v %v, want %d records", rep, err, n)
	}
}

// TestCrowdSharesACommit: what comes while a commit waits for others is in it, and where
// there is no crowd none waits.
func TestCrowdSharesACommit(t *testing.T) {
	var crowded atomic.Bool
	j, err := Open(filepath.Join(t.TempDir(), "journal.jsonl"), Options{Crowded: crowded.Load}, nil)
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 1)
	naps := 0
	j.nap = func(time.Duration) {
		naps++
		go func() {
			_, err := j.Append(t.Context(), Entry{Kind: KindIntent, CallID: "second"})
			errs <- err
		}()
		for len(j.requests) == 0 { // polls a condition
			time.Sleep(time.Millisecond)
		}
	}
	add(t, j, "alone", nil)
	if naps != 0 {
		t.Errorf("%d commits waited without a crowd", naps)
	}
	before := j.State()
	crowded.Store(true)
	add(t, j, "first", nil)
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	if s := j.State(); naps != 1 || s.Records-before.Records != 2 || s.Commits-before.Commits != 1 {
		t.Errorf("%d records in %d commits after %d naps, want both in one", s.Records-before.Records, s.Commits-before.Commits, naps)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	path := filled(t, 1)
	open(t, path, nil)
	if _, err := Open(path, Options{}, nil); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want a failed precondition that says it is in use", err)
	}
}

func TestSymlinkIsRefused(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filled(t, 1), link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(link, Options{}, nil); err == nil {
		t.Error("opened a journal through a symlink")
	}
}

// zeros are the rest of the sector in which the records end, which was not written.
func zeros(at int) string { return strings.Repeat("\x00", sectorBytes-at%sectorBytes) }

func TestTornTailIsCutAndReported(t *testing.T) {
	tests := []struct {
		name string
		tail func(line string, at int) string // what is found after the good records, which end at that byte
	}{
		{"half a line", func(l string, _ int) string { return l[:len(l)/2] }},
		{"a whole line without its newline", func(l string, _ int) string { return strings.TrimSuffix(l, "\n") }},
		{"half a line in blocks written ahead", func(l string, _ int) string { return l[:len(l)/2] + strings.Repeat("\x00", 5000) }},
		{"the end of a line whose first block is missing", func(l string, at int) string { return zeros(at) + l[len(l)/2:] + strings.Repeat("\x00", 512) }},
		{"zeros, then the rest of the batch", func(l string, at int) string { return zeros(at) + l[5:] + l }},
		{"a very long line", func(string, int) string { return strings.Repeat("x", 3*maxRecordBytes) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filled(t, 3)
			before := read(t, path)
			// A fourth record of an unacknowledged batch: it knows of 3 synced ones.
			var buf bytes.Buffer
			if err := appendLine(&buf, &Record{Seq: 5, Kind: KindIntent, Synced: 3, Prev: genesis}); err != nil {
				t.Fatal(err)
			}
			tail := tt.tail(buf.String(), len(before))
			if err := os.WriteFile(path, append(bytes.Clone(before), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			n := 0
			j := open(t, path, func(Record) error { n++; return nil })
			if got := j.Recovery(); n != 3 || got.TornBytes != int64(len(strings.TrimRight(tail, "\x00"))) {
				t.Errorf("replayed %d, cut %d bytes; want 3 and all of %d but the zeros at the end", n, got.TornBytes, len(tail))
			}
			add(t, j, "next", nil)
			var kinds []Kind
			f := bytes.NewReader(read(t, path))
			if _, err := scan(f, path, func(r Record) error { kinds = append(kinds, r.Kind); return nil }); err != nil {
				t.Fatal(err)
			}
			want := []Kind{KindIntent, KindIntent, KindIntent, KindRecovery, KindIntent}
			if diff := cmp.Diff(want, kinds); diff != "" {
				t.Errorf("kinds (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDamageIsFoundAndNamed(t *testing.T) {
	tests := []struct {
		name string
		edit func(lines []string) []string
		seq  int64
	}{
		{"a changed byte", func(l []string) []string { l[1] = strings.Replace(l[1], `"n":1`, `"n":7`, 1); return l }, 2},
		{"a changed last record", func(l []string) []string { l[4] = strings.Replace(l[4], `"n":4`, `"n":7`, 1); return l }, 5},
		{"a removed record", func(l []string) []string { return append(l[:2], l[3:]...) }, 3},
		{"swapped records", func(l []string) []string { l[2], l[3] = l[3], l[2]; return l }, 3},
		{"zeros in the middle", func(l []string) []string { l[2] = strings.Repeat("\x00", len(l[2])); return l }, 3},
		{"a forged record", func(l []string) []string {
			var buf bytes.Buffer
			if err := appendLine(&buf, &Record{Seq: 2, Kind: KindIntent, Prev: genesis, Synced: 1}); err != nil {
				panic(err)
			}
			l[1] = strings.TrimSuffix(buf.String(), "\n")
			return l
		}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filled(t, 5)
			lines := strings.Split(strings.TrimSuffix(string(read(t, path)), "\n"), "\n")
			text := strings.Join(tt.edit(lines), "\n") + "\n"
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, verr := Verify(path)
			_, oerr := Open(path, Options{}, nil)
			for _, err := range []error{verr, oerr} {
				var ce *CorruptError
				if !errors.As(err, &ce) || !errdefs.IsDataLoss(err) || ce.Seq != tt.seq {
					t.Errorf("got %v, want a *CorruptError at record %d", err, tt.seq)
				}
			}
			if string(read(t, path)) != text {
				t.Error("a damaged journal was changed")
			}
		})
	}
}

// faultyFile fails as it is told to.
type faultyFile struct {
	file
	write, sync, truncate error
	short                 bool
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if f.short || f.write != nil {
		n, err := f.file.WriteAt(p[:len(p)/2], off)
		return n, errors.Join(f.write, err)
	}
	return f.file.WriteAt(p, off)
}

func (f *faultyFile) Sync() error {
	if f.sync != nil {
		return f.sync
	}
	return f.file.Sync()
}

func (f *faultyFile) Truncate(n int64) error {
	if f.truncate != nil {
		return f.truncate
	}
	return f.file.Truncate(n)
}

func TestWriteFailureIsToldAndHeals(t *testing.T) {
	tests := []struct {
		name  string
		fault faultyFile
		is    func(error) bool
	}{
		{"disk full", faultyFile{write: unix.ENOSPC}, errdefs.IsResourceExhausted},
		{"short write", faultyFile{short: true}, errdefs.IsUnavailable},
		{"sync fails", faultyFile{sync: unix.EIO}, errdefs.IsUnavailable},
		{"cannot even cut back", faultyFile{write: unix.EIO, truncate: unix.EIO}, errdefs.IsUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filled(t, 2)
			j := open(t, path, nil)
			good := j.file
			fault := tt.fault
			fault.file = good
			j.file = &fault // the writer is idle: the next request orders this write before its read
			for range 2 {
				if _, err := j.Append(t.Context(), Entry{Kind: KindIntent, CallID: "lost"}); !tt.is(err) {
					t.Fatalf("append: got %v", err)
				}
				if j.Err() == nil {
					t.Error("Err: got nil after a failure")
				}
			}
			j.file = good
			if got := add(t, j, "after", nil); got != 3 {
				t.Errorf("number after the failure: got %d, want 3", got)
			}
			if err := j.Err(); err != nil {
				t.Errorf("Err after healing: %v", err)
			}
			rep, err := Verify(path)
			if err != nil || rep.Records != 3 || rep.TornBytes != 0 || bytes.Contains(read(t, path), []byte("lost")) {
				t.Errorf("verify: %+v %v", rep, err)
			}
		})
	}
}

func TestAppendRefuses(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j"), nil)
	if _, err := j.Append(t.Context(), Entry{Kind: KindIntent, Data: strings.Repeat("x", 2<<20)}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("too large: got %v, want an invalid argument", err)
	}
	if _, err := j.Append(t.Context(), Entry{Kind: KindIntent, Data: func() {}}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("not encodable: got %v, want an invalid argument", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("host went away")
	cancel(gone)
	if _, err := j.Append(ctx, Entry{Kind: KindIntent}); !errors.Is(err, gone) {
		t.Errorf("cancelled: got %v, want the cause", err)
	}
	if got := add(t, j, "x", nil); got != 1 {
		t.Errorf("refused entries took numbers: got %d, want 1", got)
	}
}

func TestReplayErrorStopsOpen(t *testing.T) {
	path := filled(t, 2)
	stop := errors.New("stop")
	if _, err := Open(path, Options{}, func(Record) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("got %v, want the replay's error", err)
	}
	open(t, path, nil) // and the lock was released
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzParseLine(f *testing.F) {
	var buf bytes.Buffer
	if err := appendLine(&buf, &Record{Seq: 1, Kind: KindIntent, Prev: genesis, Data: json.RawMessage(`{"a":"b"}`)}); err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.TrimSpace(buf.Bytes()))
	f.Add([]byte(`{"hash":""}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseLine(line)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := appendLine(&again, &r); err != nil {
			t.Fatal(err)
		}
		if again.Len() == 0 {
			t.Fatal("empty line")
		}
	})
}
