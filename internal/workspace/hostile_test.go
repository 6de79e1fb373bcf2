package workspace

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

func opened(t *testing.T) (*Dir, string) {
	t.Helper()
	at := t.TempDir()
	d, err := Open(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, at
}

// TestNothingWaitsForANamedPipe: a program puts a named pipe where a directory was seen.
func TestNothingWaitsForANamedPipe(t *testing.T) {
	d, at := opened(t)
	if err := unix.Mkfifo(filepath.Join(at, "dir"), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := d.names("dir", Limits{}, 0)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a named pipe was read as a directory")
		}
	case <-time.After(10 * time.Second):
		f, err := os.OpenFile(filepath.Join(at, "dir"), os.O_WRONLY|unix.O_NONBLOCK, 0) // lets it go
		t.Fatal("the daemon waits for somebody to write to a named pipe", errors.Join(err, f.Close()))
	}
}

func TestADirectoryWithTooManyNamesIsNotHeldInMemory(t *testing.T) {
	d, at := opened(t)
	for i := range 3 * namesAtOnce {
		if err := os.Symlink("x", filepath.Join(at, strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	names, err := d.names(".", Limits{Files: 10}, 5)
	if !errdefs.IsResourceExhausted(err) || len(names) > 0 {
		t.Errorf("got %d names, %v", len(names), err)
	}
	if names, err = d.names(".", Limits{}, 0); err != nil || len(names) != 3*namesAtOnce {
		t.Errorf("got %d names, %v", len(names), err)
	}
	if _, err := d.Pack(t.Context(), ".", io.Discard, Limits{Files: 100}); !errdefs.IsResourceExhausted(err) {
		t.Errorf("packed: %v", err)
	}
	if err := os.Symlink(".", filepath.Join(at, "self")); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Pack(t.Context(), "self", io.Discard, Limits{}); err != nil || got.Files != 3*namesAtOnce+1 {
		t.Errorf("by a link: got %+v, %v", got, err)
	}
}

// TestHeadersOfDirectoriesAreNotKept: what a header has beside is as large as its sender
// likes.
func TestHeadersOfDirectoriesAreNotKept(t *testing.T) {
	const dirs, each = 200, 500 << 10
	d, _ := opened(t)
	from, to := io.Pipe()
	go func() {
		w := tar.NewWriter(to)
		var err error
		for i := 0; i < dirs && err == nil; i++ {
			err = w.WriteHeader(&tar.Header{
				Typeflag: tar.TypeDir, Name: strconv.Itoa(i) + "/", Mode: 0o755, PAXRecords: map[string]string{"A.b": strings.Repeat("x", each)},
			})
		}
		var held runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&held)
		if held.HeapAlloc > dirs*each/4 {
			err = errors.Join(err, errors.New("the heap has "+strconv.FormatUint(held.HeapAlloc>>20, 10)+" MiB"))
		}
		_ = to.CloseWithError(errors.Join(err, w.Close()))
	}()
	got, err := d.Unpack(t.Context(), ".", from, Limits{})
	if err != nil || got.Files != dirs {
		t.Errorf("got %+v, %v", got, err)
	}
}
