package changeset

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestNamesThatComeAndGo writes to files by names of which nothing is left when they are
// looked at: a call must not be told to have changed nothing.
func TestNamesThatComeAndGo(t *testing.T) {
	t.Parallel()
	add := func(at string) error {
		f, err := os.OpenFile(at, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if _, err = f.WriteString("more"); err != nil {
			return err
		}
		return f.Close()
	}
	for name, test := range map[string]struct {
		does func(t *testing.T, at func(string) string)
		want Diff
	}{
		"another name": {func(t *testing.T, at func(string) string) {
			must(t, os.Link(at("a"), at("b")), add(at("b")), os.Remove(at("b")))
		}, Diff{Modified: []string{"a"}}},
		"open longer than its name": {func(t *testing.T, at func(string) string) {
			must(t, os.Link(at("a"), at("d/b")))
			f, err := os.OpenFile(at("d/b"), os.O_APPEND|os.O_WRONLY, 0)
			must(t, err, os.RemoveAll(at("d")))
			_, err = f.WriteString("more")
			must(t, err, f.Close())
		}, Diff{Modified: []string{"a"}, Deleted: []string{"d", "d/f"}}},
		"mode by another name": {func(t *testing.T, at func(string) string) {
			must(t, os.Link(at("a"), at("b")), os.Chmod(at("b"), 0o755), os.Remove(at("b")))
		}, Diff{Modified: []string{"a"}}},
		"in a directory": {func(t *testing.T, at func(string) string) {
			must(t, os.Mkdir(at("x"), 0o700), os.Link(at("a"), at("x/b")), add(at("x/b")), os.RemoveAll(at("x")))
		}, Diff{Modified: []string{"a"}}},
		"in a directory that stays": {func(t *testing.T, at func(string) string) {
			must(t, os.Mkdir(at("x"), 0o700), os.Link(at("a"), at("x/b")), add(at("x/b")))
		}, Diff{Created: []string{"x", "x/b"}, Modified: []string{"a"}}},
		"moved to where nobody looks": {func(t *testing.T, at func(string) string) {
			must(t, os.Mkdir(at("x"), 0o700), os.Link(at("a"), at("b")), add(at("b")), os.Rename(at("b"), at("x/b")), os.Remove(at("x/b")))
		}, Diff{Created: []string{"x"}, Modified: []string{"a"}}},
		"moved and removed": {func(t *testing.T, at func(string) string) {
			must(t, os.Link(at("a"), at("b")), add(at("b")), os.Rename(at("b"), at("c")), os.Remove(at("c")))
		}, Diff{Modified: []string{"a"}}},
		"another takes its name": {func(t *testing.T, at func(string) string) {
			must(t, os.Link(at("a"), at("b")), add(at("b")), os.WriteFile(at("c"), nil, 0o600), os.Rename(at("c"), at("b")))
		}, Diff{Created: []string{"b"}, Modified: []string{"a"}}},
		"a name of before": {func(t *testing.T, at func(string) string) {
			must(t, add(at("q")), os.Remove(at("q")))
		}, Diff{Modified: []string{"p"}, Deleted: []string{"q"}}},
		"another takes a name of before": {func(t *testing.T, at func(string) string) {
			must(t, add(at("q")), os.Rename(at("a"), at("q")))
		}, Diff{Modified: []string{"p", "q"}, Deleted: []string{"a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			at := func(name string) string { return filepath.Join(dir, name) }
			must(t, os.Mkdir(at("d"), 0o700), os.WriteFile(at("d/f"), nil, 0o600), os.WriteFile(at("a"), []byte("a"), 0o600),
				os.WriteFile(at("p"), []byte("p"), 0o600), os.Link(at("p"), at("q")))
			s := second(t, newWatches(t, WatchOptions{}), dir)
			test.does(t, at)
			wantDiff(t, s, test.want)
		})
	}
}

// TestReplacedFilesCostNoWalk replaces a file as editors do: that alone does not have all
// of a tree looked at again.
func TestReplacedFilesCostNoWalk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o600))
	w := newWatches(t, WatchOptions{})
	s := second(t, w, dir)
	must(t, os.WriteFile(filepath.Join(dir, "new"), []byte("b"), 0o600), os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "a")))
	var h happened
	tree := viewOf(t, w, dir)
	must(t, tree.notes.read(func(e event) { tree.told(&h, e) }))
	if h.all || len(h.moving) > 0 {
		t.Error("all is looked at")
	}
	if _, _, err := s.End(true); err != nil {
		t.Fatal(err)
	}
}

// TestNothingHidesBehindTheNameOfAStage: only a stage is no part of the workspace.
func TestNothingHidesBehindTheNameOfAStage(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(at string) error{
		"a file":                 func(at string) error { return os.WriteFile(at, nil, 0o600) },
		"a link":                 func(at string) error { return os.Symlink("a", at) },
		"a directory for others": func(at string) error { return errors.Join(os.Mkdir(at, 0o700), os.Chmod(at, 0o755)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			before, err := Look(dir, 0)
			must(t, err)
			s := second(t, newWatches(t, WatchOptions{}), dir)
			must(t, make(filepath.Join(dir, StagePrefix+"x")))
			wantDiff(t, s, Diff{Created: []string{StagePrefix + "x"}})
			after, err := Look(dir, 0)
			must(t, err)
			if created, _, _ := after.Since(before); len(created) != 1 {
				t.Errorf("created %q", created)
			}
		})
	}
}
