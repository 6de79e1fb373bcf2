package changeset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestShot(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "same", "content", "mode", "gone", "d/same", "d/gone", "dir/", "l -> same", StagePrefix+"x/f")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "content"), old, old); err != nil {
		t.Fatal(err)
	}
	before, err := Look(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	err = errors.Join(
		os.WriteFile(at("content"), []byte(filepath.Base(dir)+" CONTENT"), 0o600),
		os.Chtimes(at("content"), old, old), // which hides nothing
		os.Chmod(at("mode"), 0o755), os.Chmod(at("dir"), 0o755), os.Remove(at("gone")), os.RemoveAll(at("d/gone")),
		os.WriteFile(at("d/new"), nil, 0o600), os.Remove(at("l")), os.Symlink("mode", at("l")),
		os.WriteFile(at(StagePrefix+"x/g"), nil, 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	after, err := Look(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	created, modified, deleted := after.Since(before)
	if d := cmp.Diff([][]string{{"d/new"}, {"content", "dir", "l", "mode"}, {"d/gone", "gone"}}, [][]string{created, modified, deleted}); d != "" {
		t.Error(d)
	}
	if _, err := Look(dir, 3); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want too large", err)
	}
}

// BenchmarkLook is what a call pays twice whose host wants to know its changes.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		dir := b.TempDir()
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("d%d/f%d", i/50, i))
		}
		files(b, dir, names...)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := Look(dir, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
