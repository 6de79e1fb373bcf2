package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sizes are of records that end before, at and behind the ends of blocks.
var sizes = []int{1, 900, 3000, 3700, 4095, 4096, 4097, 8192, 12_000, 70_000, 5}

// direct makes a journal that writes directly, or skips the test.
func direct(t *testing.T, path string) *Journal {
	t.Helper()
	j := open(t, path, nil)
	if _, ok := j.file.(*directFile); !ok {
		t.Skip("the file system of the temporary directory takes no direct writes")
	}
	return j
}

func TestDirectWritesAndBufferedOnesMakeTheSameJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	if err := direct(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	for round := range 4 { // each on what the one before has left, whole or torn
		j := open(t, path, nil)
		if d, ok := j.file.(*directFile); ok && round%2 == 1 {
			j.ahead.settle(true) // the writer is idle, and so it stays until the next request
			j.file, j.zeros = d.dataSyncFile, d.dataSyncFile
			j.ahead.end = j.offset
		}
		for _, size := range sizes {
			n++
			if got := add(t, j, fmt.Sprint(round, size), strings.Repeat("x", size)); got != n {
				t.Fatalf("record of %d bytes has the number %d, want %d", size, got, n)
			}
		}
		if rep, err := Verify(path); err != nil || rep.Records != n || rep.TornBytes != 0 {
			t.Fatalf("round %d: %+v %v, want %d records", round, rep, err, n)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if rep, err := Verify(path); err != nil || rep.Records != n || rep.FileBytes != rep.Bytes {
			t.Fatalf("round %d, closed: %+v %v, want %d records and nothing behind them", round, rep, err, n)
		}
	}
}

// A write that fails half way leaves what is acknowledged as it was.
func TestDirectWriteGoesOnAfterAFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := direct(t, path)
	for i, size := range sizes {
		add(t, j, fmt.Sprint("good", i), strings.Repeat("x", size))
		good := j.file
		j.file = &faultyFile{file: good, write: unix.EIO}
		if _, err := j.Append(t.Context(), Entry{Kind: KindIntent, CallID: "lost", Data: strings.Repeat("y", size)}); !errors.Is(err, unix.EIO) {
			t.Fatalf("got %v, want the disk's error", err)
		}
		j.file = good
	}
	rep, err := Verify(path)
	if err != nil || rep.Records != int64(len(sizes)) || rep.TornBytes != 0 || strings.Contains(string(read(t, path)), "lost") {
		t.Errorf("verify: %+v %v, want %d records and none that was lost", rep, err, len(sizes))
	}
}

// The zeros are written while records are: neither may take the other's place.
func TestZerosAheadKeepOffTheRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := direct(t, path)
	const n = 120
	for i := range n {
		add(t, j, fmt.Sprint(i), strings.Repeat("z", 37_000))
	}
	if rep, err := Verify(path); err != nil || rep.Records != n || rep.TornBytes != 0 {
		t.Errorf("verify: %+v %v, want %d records", rep, err, n)
	}
}

func TestWithoutDirectWritesTheyAreBuffered(t *testing.T) {
	f, err := openLive(filepath.Join(t.TempDir(), "j"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	// There is no block at this offset to be read: as good as a disk that refuses.
	if _, _, err := openDirect(f, 100); err == nil {
		t.Error("got none, want an error, on which Open writes through the cache")
	}
}
