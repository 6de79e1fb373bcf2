package replay

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// TestAHundredThousandRecords replays a journal of 100,000 calls, each of another
// text, and holds the time and the memory that are left of it to their bounds.
func TestAHundredThousandRecords(t *testing.T) {
	if os.Getenv("SANDGATE_LONG_TESTS") != "1" {
		t.Skip("takes a minute: set SANDGATE_LONG_TESTS=1")
	}
	const records = 100_000
	path := filepath.Join(t.TempDir(), "journal")
	writeJournal(t, path, records)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	begin := time.Now()
	report, err := Run(t.Context(), func(yield func(Call) bool) error {
		return newReader(t).Read("journal", f, yield)
	}, Options{Candidate: newEngine(t, nil)})
	if err != nil || report.Calls != records || report.NotReplayable != 0 {
		t.Fatal(report, err)
	}
	took := time.Since(begin)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%s, %.0f records/s, heap %d MiB, %d MiB of the system", took, records/took.Seconds(), m.HeapAlloc>>20, m.Sys>>20)
	if m.Sys > 512<<20 {
		t.Errorf("took %d MiB of the system", m.Sys>>20)
	}
}

// TestWhatTheRecordSaysIsNotGuessed replays a call through a symlink that the
// record remembers, and one of which nothing is remembered.
func TestWhatTheRecordSaysIsNotGuessed(t *testing.T) {
	line := func(saw string) string {
		return `{"kind":"intent","time":"2026-01-01T00:00:00Z","caller":"c","call_id":"1","data":{"tool":"read_file","args":{"path":"link/passwd"},` +
			`"cwd":"/workspace","profile":"readonly","decision":` + wasAllow + saw + `}}` + "\n"
	}
	for _, tt := range []struct {
		name, saw string
		tightened bool
		guesses   int
	}{
		{"a link that leads out", `,"saw":{"v":1,"at":"2026-01-01T00:00:00Z","fs":["slink","llink\u0000/etc"]}`, true, 0},
		{"too much was looked up", `,"saw":{"v":1,"at":"2026-01-01T00:00:00Z","cut":["fs"]}`, false, 1},
		{"nothing is remembered", ``, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := replayText(t, newReader(t), line(tt.saw), Options{Candidate: newEngine(t, nil)})
			if (got.Tightened == 1) != tt.tightened || len(got.Approximate) != tt.guesses || got.Calls != 1 || got.NotReplayable != 0 {
				t.Errorf("got %+v", got)
			}
		})
	}
}
