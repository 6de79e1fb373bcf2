package changeset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestNamesOfOneDirectoryAreBounded: no more of them are read than there may be.
func TestNamesOfOneDirectoryAreBounded(t *testing.T) {
	dir := t.TempDir()
	const n = 3000 // more than are read at once
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%04d", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open := func() *os.File {
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	names, err := readSome(int(open().Fd()), n)
	if err != nil || len(names) != n || !slices.IsSorted(names) {
		t.Errorf("got %d names, %v, want %d in order", len(names), err, n)
	}
	if names, err := readSome(int(open().Fd()), n-1); !errors.Is(err, ErrTooLarge) || names != nil {
		t.Errorf("got %d names, %v, want ErrTooLarge", len(names), err)
	}
}
