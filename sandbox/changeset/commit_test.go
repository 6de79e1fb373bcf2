package changeset

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// scene is a workspace and what a program has left in an upper directory, as an
// overlay leaves it.
type scene struct {
	dir, stage string
	o          *Overlay
}

// files makes files by path; "x/" is a directory, "a -> b" a link, "!a" a whiteout.
func files(t testing.TB, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		at, target, link := strings.Cut(name, " -> ")
		gone := strings.HasPrefix(at, "!")
		full := filepath.Join(dir, strings.TrimPrefix(at, "!"))
		err := os.MkdirAll(filepath.Dir(full), 0o700)
		switch {
		case err != nil:
		case gone:
			err = unix.Mknod(full, unix.S_IFCHR, 0)
		case link:
			err = os.Symlink(target, full)
		case strings.HasSuffix(at, "/"):
			err = os.MkdirAll(full, 0o700)
		default:
			err = os.WriteFile(full, []byte(filepath.Base(dir)+" "+at), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func newScene(t testing.TB, lower, upper []string) *scene {
	t.Helper()
	top := t.TempDir()
	s := &scene{dir: filepath.Join(top, "lower"), stage: filepath.Join(top, "stage")}
	up := filepath.Join(top, "upper")
	for dir, names := range map[string][]string{s.dir: lower, up: upper} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		files(t, dir, names...)
	}
	s.o = &Overlay{Dir: s.dir, UID: os.Getuid(), GID: os.Getgid(), Since: time.Now().Add(time.Hour)}
	var err error
	if s.o.Upper, err = os.Open(up); err != nil {
		t.Fatal(err)
	}
	if s.o.Lower, err = os.Open(s.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.o.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *scene) staged(t *testing.T) (*Set, *Staged) {
	t.Helper()
	set, err := Read(s.o, ReadOptions{Root: "/workspace"})
	if err != nil {
		t.Fatal(err)
	}
	staged, err := Stage(s.o, set, s.stage)
	if err != nil {
		t.Fatal(err)
	}
	return set, staged
}

// tree is a directory as text.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := strings.TrimPrefix(p, dir) + " " + info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			body, err := os.ReadFile(p) // #nosec G122 -- of a test's own directory
			if err != nil {
				return err
			}
			line += " " + string(body)
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			line += " " + target
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

func manyChanges(t *testing.T) *scene {
	return newScene(t,
		[]string{"a", "b", "d/c", "d/e", "f/g/h", "l -> a", "swap", "keep"},
		[]string{"a", "!b", "d/c", "!d/e", "!f", "l -> keep", "swap/in", "new/x/y", "n"})
}

// TestCommitIsEndedFromEveryStep interrupts a commit behind each step, and opens
// what is on disk as another process would.
func TestCommitIsEndedFromEveryStep(t *testing.T) {
	s := manyChanges(t)
	before := tree(t, s.dir)
	_, staged := s.staged(t)
	steps := len(staged.doc.Steps)
	if err := staged.Commit(); err != nil {
		t.Fatal(err)
	}
	want := tree(t, s.dir)
	if err := errors.Join(staged.Undo(), staged.Close()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, tree(t, s.dir)); d != "" {
		t.Fatalf("undone: %s", d)
	}
	for n := range steps + 1 {
		s := manyChanges(t)
		_, staged := s.staged(t)
		at := newParents(staged.dir)
		for i := range n {
			if err := staged.do(at, &staged.doc.Steps[i]); err != nil {
				t.Fatal(err)
			}
		}
		at.close()
		ref := staged.Ref
		if err := staged.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := Open(ref)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(again.Commit(), again.Close(), Remove(ref.Stage)); err != nil {
			t.Fatalf("after %d steps: %v", n, err)
		}
		if d := cmp.Diff(want, tree(t, s.dir)); d != "" {
			t.Errorf("after %d steps: %s", n, d)
		}
		if _, err := os.Lstat(s.stage); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the stage is still there: %v", err)
		}
	}
}

// TestCommitRefusesWhatSomebodyElseChanged: each path of the change is changed by
// somebody else between Stage and Commit; the rest is then as it was.
func TestCommitRefusesWhatSomebodyElseChanged(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(dir string) error
	}{
		{"modified", func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), []byte("theirs"), 0o600) }},
		{"replaced", func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "swap")), os.WriteFile(filepath.Join(dir, "swap"), []byte("theirs"), 0o600))
		}},
		{"created", func(dir string) error { return os.WriteFile(filepath.Join(dir, "n"), []byte("theirs"), 0o600) }},
		{"deleted", func(dir string) error { return os.Remove(filepath.Join(dir, "d/c")) }},
		{"link instead of a directory", func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "d")), os.Symlink("/tmp", filepath.Join(dir, "d")))
		}},
		{"directory above is gone", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "d")) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := manyChanges(t)
			_, staged := s.staged(t)
			defer staged.Close() //nolint:errcheck // of a test
			if err := tt.change(s.dir); err != nil {
				t.Fatal(err)
			}
			theirs := tree(t, s.dir)
			err := staged.Commit()
			if err == nil {
				t.Fatal("committed")
			}
			if stuck, ok := errors.AsType[*StuckError](err); ok {
				// Below d nothing was done, and that cannot be seen any more.
				if slices.ContainsFunc(stuck.Paths, func(p string) bool { return !strings.HasPrefix(p, "d/") }) {
					t.Fatalf("stuck: %v", err)
				}
			} else if !errors.Is(err, ErrConflict) && !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.ENOENT) {
				t.Errorf("got %v, want a conflict", err)
			}
			if d := cmp.Diff(theirs, tree(t, s.dir)); d != "" {
				t.Errorf("the workspace is not as it was: %s", d)
			}
		})
	}
}

// TestReadTellsConflicts by the times of what is below.
func TestReadTellsConflicts(t *testing.T) {
	s := newScene(t, []string{"a", "b", "d/x", "same"}, []string{"a", "!b", "!d", "new"})
	s.o.Since = time.Now().Add(-time.Hour) // so that all was changed since
	set, err := Read(s.o, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a", "b", "d", "d/x"}, set.Conflicts); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(Totals{Created: 1, Modified: 1, Deleted: 3, Bytes: int64(len("upper a") + len("upper new"))}, set.Totals()); d != "" {
		t.Error(d)
	}
}

// TestWhatIsStagedIsMadeAnew: bits and attributes that must not come through do not,
// holes stay holes, several names of a file stay one file.
func TestWhatIsStagedIsMadeAnew(t *testing.T) {
	s := newScene(t, nil, []string{"prog", "one"})
	up := s.o.Upper.Name()
	sparse := filepath.Join(up, "sparse")
	err := errors.Join(
		os.Chmod(filepath.Join(up, "prog"), 0o755|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky),
		os.Link(filepath.Join(up, "one"), filepath.Join(up, "two")),
		os.WriteFile(sparse, []byte("begin"), 0o600), os.Truncate(sparse, 1<<30),
	)
	if err != nil {
		t.Fatal(err)
	}
	set, staged := s.staged(t)
	defer staged.Close() //nolint:errcheck // of a test
	for _, c := range set.Changes {
		if c.Path == "prog" && c.Mode != 0o7755 || c.Path == "one" && c.Links != 2 {
			t.Errorf("got %+v", c)
		}
	}
	if err := staged.Commit(); err != nil {
		t.Fatal(err)
	}
	var prog, one, two, hole unix.Stat_t
	for name, st := range map[string]*unix.Stat_t{"prog": &prog, "one": &one, "two": &two, "sparse": &hole} {
		if err := unix.Lstat(filepath.Join(s.dir, name), st); err != nil {
			t.Fatal(err)
		}
	}
	if prog.Mode&0o7777 != 0o755 || one.Ino != two.Ino || hole.Size != 1<<30 || hole.Blocks > 1000 {
		t.Errorf("got mode %o, inodes %d and %d, %d bytes in %d blocks", prog.Mode, one.Ino, two.Ino, hole.Size, hole.Blocks)
	}
}

// TestHostileUppers are refused and never waited for.
func TestHostileUppers(t *testing.T) {
	s := newScene(t, []string{"a"}, []string{"ok"})
	up := s.o.Upper.Name()
	deep := up
	for range maxDepth + 3 {
		deep = filepath.Join(deep, "d")
	}
	if err := errors.Join(unix.Mkfifo(filepath.Join(up, "pipe"), 0o600), os.MkdirAll(deep, 0o700)); err != nil {
		t.Fatal(err)
	}
	set, err := Read(s.o, ReadOptions{})
	if err != nil || set.Unfit == "" {
		t.Fatalf("got %v, %+v, want it unfit", err, set)
	}
	if _, err := Stage(s.o, set, s.stage); err == nil {
		t.Error("staged")
	}
	many := newScene(t, nil, []string{"a", "b", "c"})
	if set, err = Read(many.o, ReadOptions{Max: 2}); err != nil || !strings.Contains(set.Unfit, "more than 2") {
		t.Errorf("got %v, %q", err, set.Unfit)
	}
	bad := newScene(t, nil, []string{"bad\xff"})
	if set, err = Read(bad.o, ReadOptions{}); err != nil || !strings.Contains(set.Unfit, "UTF-8") {
		t.Errorf("got %v, %q", err, set.Unfit)
	}
}

// TestOpenRefusesAnotherPlan: what a restart does must be what was recorded.
func TestOpenRefusesAnotherPlan(t *testing.T) {
	s := manyChanges(t)
	_, staged := s.staged(t)
	if err := staged.Close(); err != nil {
		t.Fatal(err)
	}
	ref := staged.Ref
	other := ref
	other.Digest = "sha256:0"
	moved := ref
	moved.DirIno++
	gone := ref
	gone.Stage += "x"
	for _, r := range []Ref{other, moved, gone} {
		if _, err := Open(r); err == nil {
			t.Errorf("opened %+v", r)
		}
	}
}

func TestEscapes(t *testing.T) {
	for _, tt := range []struct {
		at, target string
		want       bool
	}{
		{"l", "a", false},
		{"l", "a/b/../c", true},
		{"l", "..", true},
		{"d/l", "../a", false},
		{"d/l", "../../a", true},
		{"d/e/l", "../../a/./b", false},
		{"l", "/etc/passwd", true},
		{"l", "/workspace/a", false},
		{"l", "/workspace", false},
		{"l", "/workspace-evil/a", true},
		{"d/l", "/workspace/../etc", true},
		{"l", "", true},
	} {
		if got := escapes(tt.at, tt.target, "/workspace"); got != tt.want {
			t.Errorf("%s -> %s: got %v, want %v", tt.at, tt.target, got, tt.want)
		}
	}
}
