package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// settled waits until zeros were written ahead of an idle journal.
func settled(t testing.TB, j *Journal) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		info, err := os.Stat(j.path)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("nothing was written ahead: %v, %v", info, err)
		}
		if info.Size()-j.State().Bytes >= aheadLow {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestZerosAheadAreTheEndAndNoDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path, nil)
	for i := range 3 {
		add(t, j, fmt.Sprint(i), nil)
	}
	settled(t, j)
	// What is on the disk now is what a crash leaves.
	crashed := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(crashed, read(t, path), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, crashed} {
		rep, err := Verify(p)
		if err != nil || rep.Records != 3 || rep.TornBytes != 0 || rep.TornSHA256 != "" || rep.FileBytes <= rep.Bytes {
			t.Errorf("verify: got %+v, %v, want 3 records and zeros behind them", rep, err)
		}
	}
	n := 0
	again := open(t, crashed, func(Record) error { n++; return nil })
	if rep := again.Recovery(); n != 3 || rep.TornBytes != 0 {
		t.Errorf("replayed %d, cut %d: want 3 and nothing", n, rep.TornBytes)
	}
	if got := add(t, again, "next", nil); got != 4 {
		t.Errorf("number after a crash without a torn tail: got %d, want 4, for no recovery is recorded", got)
	}
	for _, closing := range []*Journal{j, again} {
		if err := closing.Close(); err != nil {
			t.Fatal(err)
		}
		if raw := read(t, closing.path); len(raw) == 0 || raw[len(raw)-1] != '\n' || bytes.IndexByte(raw, 0) >= 0 {
			t.Errorf("after Close the file has %d bytes and ends in %q, want its last line", len(raw), raw[max(0, len(raw)-4):])
		}
	}
}

func TestRecordsGoOnBeyondWhatWasWrittenAhead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path, nil)
	text := strings.Repeat("x", 200<<10)
	var wg sync.WaitGroup
	const n = 40
	for range n {
		wg.Go(func() {
			if _, err := j.Append(context.Background(), Entry{Kind: KindIntent, Data: text}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if rep, err := Verify(path); err != nil || rep.Records != n || rep.TornBytes != 0 {
		t.Errorf("verify: %+v %v, want %d records", rep, err, n)
	}
	if s := j.State(); s.Records != n || s.LastSeq != n || s.Bytes < n*200<<10 || s.Err != nil || s.Commits == 0 {
		t.Errorf("state: %+v", s)
	}
}

// fullFile has no room for zeros, which are written behind the first bytes.
type fullFile struct {
	file
	syncErr error
}

func (f *fullFile) WriteAt(p []byte, off int64) (int, error) {
	if bytes.Count(p, []byte{0}) == len(p) && f.syncErr == nil {
		return 0, unix.ENOSPC
	}
	return f.file.WriteAt(p, off)
}

func (f *fullFile) Sync() error {
	if f.syncErr != nil {
		return f.syncErr
	}
	return f.file.Sync()
}

func TestNoRoomForZerosIsNoFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path, nil)
	j.ahead.settle(true) // the writer is idle, and so it stays until the next request
	if err := j.cutBack(); err != nil {
		t.Fatal(err)
	}
	j.file, j.zeros = &fullFile{file: j.file}, &fullFile{file: j.zeros}
	for range 3 {
		add(t, j, "x", nil)
	}
	if rep, err := Verify(path); err != nil || rep.Records != 3 || rep.FileBytes != blocksUp(rep.Bytes) {
		t.Errorf("got %+v %v, want 3 records and nothing behind their last block", rep, err)
	}
}

// The kernel tells an error of write-back once: when the sync of zeros is told,
// the records that were written meanwhile must not count as safe.
func TestErrorThatTheZerosMetIsTheRecordsToo(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j"), nil)
	j.ahead.settle(true)
	if at := j.ahead.writeZeros(&fullFile{file: j.file, syncErr: unix.EIO}, j.ahead.end, j.ahead.end+aheadBytes).end; at != j.ahead.end {
		t.Errorf("zeros up to %d count as written, want none", at)
	}
	if _, err := j.Append(t.Context(), Entry{Kind: KindIntent}); !errors.Is(err, unix.EIO) {
		t.Errorf("got %v, want the error of the zeros' sync", err)
	}
	if got := add(t, j, "after", nil); got != 1 {
		t.Errorf("number after the failure: got %d, want 1", got)
	}
}

func BenchmarkAppend(b *testing.B) {
	data := map[string]any{"digest": "sha256:0123456789abcdef", "text": strings.Repeat("an ordinary text of a decision ", 40)}
	b.Run("one", func(b *testing.B) {
		j, err := Open(filepath.Join(b.TempDir(), "j"), Options{}, nil)
		if err != nil {
			b.Fatal(err)
		}
		settled(b, j)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := j.Append(b.Context(), Entry{Kind: KindIntent, Caller: "unix:uid:1", CallID: "c", Data: data}); err != nil {
				b.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("four", func(b *testing.B) {
		var commits atomic.Int64
		j, err := Open(filepath.Join(b.TempDir(), "j"), Options{Observe: func(int, time.Duration) { commits.Add(1) }}, nil)
		if err != nil {
			b.Fatal(err)
		}
		settled(b, j)
		b.SetParallelism(2) // times GOMAXPROCS, on the machine of the targets
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := j.Append(b.Context(), Entry{Kind: KindIntent, Caller: "unix:uid:1", CallID: "c", Data: data}); err != nil {
					b.Error(err)
				}
			}
		})
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(b.N)/float64(commits.Load()), "records/commit")
	})
	b.Run("encode", func(b *testing.B) {
		var buf bytes.Buffer
		b.ReportAllocs()
		var memory []byte
		for b.Loop() {
			memory = memory[:0]
			raw, err := encode(&memory, data)
			if err != nil {
				b.Fatal(err)
			}
			buf.Reset()
			if err := appendLine(&buf, &Record{Seq: 1, Kind: KindIntent, Caller: "unix:uid:1", CallID: "c", Data: raw, Prev: genesis}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
