package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// smallDisk is a file on a disk with room for so many bytes.
type smallDisk struct {
	file
	room *atomic.Int64 // end of the file at most
}

func (s *smallDisk) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > s.room.Load() {
		return 0, unix.ENOSPC
	}
	return s.file.WriteAt(p, off)
}

const testReserve = 256 << 10

// fullDisk takes a journal whose disk has just become full through its life: what is
// written ahead is used up, new calls are refused with the reason, running calls still
// end, and with room calls are taken again.
func fullDisk(t *testing.T, j *Journal, path string, makeRoom func()) {
	t.Helper()
	text := strings.Repeat("x", 20<<10)
	var refused error
	for range 10_000 {
		if _, refused = j.Append(t.Context(), Entry{Kind: KindIntent, CallID: "call", Data: text}); refused != nil {
			break
		}
	}
	if !errdefs.IsResourceExhausted(refused) || !errors.Is(refused, unix.ENOSPC) || !strings.Contains(refused.Error(), "disk of the journal is full") {
		t.Fatalf("a new call on a full disk: got %v, want it refused with the reason", refused)
	}
	if s := j.State(); s.Full == nil || s.Err != nil {
		t.Errorf("state: %+v, want it to say that the disk is full, and no failed write", s)
	}
	before := j.State().LastSeq
	for range 8 { // also what would find room yet
		for _, kind := range []Kind{KindDecision, KindSession, KindApproval, KindGrant} {
			if _, err := j.Append(t.Context(), Entry{Kind: kind}); !errdefs.IsResourceExhausted(err) {
				t.Errorf("a %s record on a full disk: got %v, want it refused", kind, err)
			}
		}
		if _, err := j.Append(t.Context(), Entry{Kind: KindOutcome, CallID: "call", Data: text}); err != nil {
			t.Fatalf("the outcome of a running call on a full disk: %v", err)
		}
	}
	if _, err := j.Append(t.Context(), Entry{Kind: KindStart}); err != nil {
		t.Errorf("the start of a daemon on a full disk: %v", err)
	}
	if got := j.State().LastSeq; got != before+9 {
		t.Errorf("%d records were written, want the 8 outcomes and the start", got-before)
	}
	makeRoom()
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := j.Append(t.Context(), Entry{Kind: KindIntent, CallID: "after"})
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with room again: %v", err)
		}
		time.Sleep(aheadRetry / 5)
	}
	if s := j.State(); s.Full != nil {
		t.Errorf("state with room again: %+v", s)
	}
	last := j.State().LastSeq
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if rep, err := Verify(path); err != nil || rep.LastSeq != last || rep.TornBytes != 0 {
		t.Errorf("verify: %+v %v, want %d records", rep, err, last)
	}
}

func TestFullDiskRefusesNewCallsAndResumes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.jsonl")
	j := openWith(t, path, Options{ReserveBytes: testReserve})
	add(t, j, "first", nil)
	j.ahead.settle(true) // the writer is idle, and so it stays until the next request
	room := &atomic.Int64{}
	room.Store(j.ahead.end)
	j.file, j.zeros = &smallDisk{j.file, room}, &smallDisk{j.zeros, room}
	fullDisk(t, j, path, func() { room.Store(1 << 40) })
}

// The same on a real file system that is really full.
func TestFullFileSystemRefusesNewCallsAndResumes(t *testing.T) {
	if os.Getenv("SANDGATE_ROOT_TESTS") != "1" || os.Getuid() != 0 {
		t.Skip("needs root and SANDGATE_ROOT_TESTS=1: mounts a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=12m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "j.jsonl")
	j := openWith(t, path, Options{ReserveBytes: testReserve})
	add(t, j, "first", nil)
	eventually(t, "no reserve was written", func() bool {
		info, err := os.Stat(path)
		return err == nil && info.Size() >= testReserve+aheadBytes
	})
	other := filepath.Join(dir, "other")
	f, err := os.Create(other)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 1<<16)
	for err == nil {
		_, err = f.Write(chunk)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the file system: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fullDisk(t, j, path, func() {
		if err := os.Remove(other); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPendingKeepsItsPlaceAndIsWaitedForOften(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j"), nil)
	first := j.Begin(t.Context(), Entry{Kind: KindIntent, CallID: "first"})
	second := j.Begin(t.Context(), Entry{Kind: KindIntent, CallID: "second"})
	for range 2 {
		if seq, err := second.Wait(t.Context()); err != nil || seq != 2 {
			t.Errorf("second: %d %v", seq, err)
		}
		if seq, err := first.Wait(t.Context()); err != nil || seq != 1 {
			t.Errorf("first: %d %v", seq, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Begin(ended, Entry{Kind: KindIntent}).Wait(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("begun too late: got %v", err)
	}
	if _, err := j.Begin(t.Context(), Entry{Kind: KindIntent, Data: func() {}}).Wait(t.Context()); !errdefs.IsInvalidArgument(err) {
		t.Errorf("what cannot be encoded: got %v", err)
	}
}
