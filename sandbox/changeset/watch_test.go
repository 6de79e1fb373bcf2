package changeset

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

func newWatches(t testing.TB, o WatchOptions) *Watches {
	t.Helper()
	w := NewWatches(o)
	t.Cleanup(w.Close)
	return w
}

// second is the second look at a directory, from which on it is watched.
func second(t testing.TB, w *Watches, dir string) *Span {
	t.Helper()
	if _, _, err := w.Begin(dir, Passing).End(false); err != nil {
		t.Fatal(err)
	}
	return w.Begin(dir, Passing)
}

// viewOf is what is remembered of a directory.
func viewOf(t testing.TB, w *Watches, dir string) *treeView {
	t.Helper()
	d, ok := w.known[dir].Value.(*watchedDir)
	if !ok || d.tree == nil {
		t.Fatal("nothing is remembered of it")
	}
	return d.tree
}

// wantDiff ends a span.
func wantDiff(t *testing.T, s *Span, want Diff) {
	t.Helper()
	got, _, err := s.End(false)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestWatches(t *testing.T) {
	for _, unwatched := range []bool{false, true} {
		t.Run(fmt.Sprintf("unwatched=%v", unwatched), func(t *testing.T) {
			dir := t.TempDir()
			at := func(name string) string { return filepath.Join(dir, name) }
			files(t, dir, "same", "content", "mode", "gone", "d/same", "d/gone", "dir/", "l -> same", StagePrefix+"x/f", "moved/a/b")
			w := newWatches(t, WatchOptions{Unwatched: unwatched})
			s := second(t, w, dir)
			if view := viewOf(t, w, dir); view.notes == nil != unwatched {
				t.Fatal("it is watched, or is not")
			}
			must(
				t, os.WriteFile(at("content"), []byte("other"), 0o600), os.Chmod(at("mode"), 0o755), os.Chmod(at("dir"), 0o755), os.Remove(at("gone")),
				os.RemoveAll(at("d/gone")), os.WriteFile(at("d/new"), nil, 0o600), os.Remove(at("l")), os.Symlink("mode", at("l")),
				os.WriteFile(at(StagePrefix+"x/g"), nil, 0o600), os.Rename(at("moved"), at("d/moved")), os.WriteFile(at("fleeting"), nil, 0o600), os.Remove(at("fleeting")),
			)
			wantDiff(t, s, Diff{
				Created:  []string{"d/moved", "d/moved/a", "d/moved/a/b", "d/new"},
				Modified: []string{"content", "dir", "l", "mode"},
				Deleted:  []string{"d/gone", "gone", "moved", "moved/a", "moved/a/b"},
			})
			wantDiff(t, w.Begin(dir, Passing), Diff{})
			must(t, os.WriteFile(at("between"), nil, 0o600))
			s = w.Begin(dir, Passing)
			must(t, os.WriteFile(at("d/moved/a/c"), nil, 0o600), os.WriteFile(at("between"), []byte("1"), 0o600))
			wantDiff(t, s, Diff{Created: []string{"d/moved/a/c"}, Modified: []string{"between"}})
			must(t, os.Rename(dir, dir+"-old"), os.Mkdir(dir, 0o700))
			files(t, dir, "other")
			s = w.Begin(dir, Passing)
			must(t, os.Remove(at("other")))
			wantDiff(t, s, Diff{Deleted: []string{"other"}})
			s = w.Begin(dir, Passing)
			must(t, os.RemoveAll(dir))
			if _, _, err := s.End(false); !errors.Is(err, ErrNotKnown) {
				t.Errorf("the directory is gone: got %v", err)
			}
			if _, _, err := w.Begin(dir, Passing).End(false); !errors.Is(err, ErrNotKnown) {
				t.Errorf("there is no directory: got %v", err)
			}
		})
	}
}

// TestWatchesMappedAndLinked write to files in ways of which little is told.
func TestWatchesMappedAndLinked(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "mapped", "d/one", "e/")
	w := newWatches(t, WatchOptions{})
	must(t, os.Link(filepath.Join(dir, "d/one"), filepath.Join(dir, "e/two")))
	s := second(t, w, dir)
	fd, err := unix.Open(filepath.Join(dir, "mapped"), unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(t, err)
	mem, err := unix.Mmap(fd, 0, 4, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err, unix.Close(fd))
	mem[0]++
	must(t, unix.Munmap(mem), os.WriteFile(filepath.Join(dir, "e/two"), []byte("2"), 0o600))
	wantDiff(t, s, Diff{Modified: []string{"d/one", "e/two", "mapped"}})
	s = w.Begin(dir, Passing)
	before, err := os.ReadFile(filepath.Join(dir, "mapped"))
	must(t, err, os.Truncate(filepath.Join(dir, "d/one"), 0))
	f, err := os.OpenFile(filepath.Join(dir, "mapped"), os.O_RDWR, 0) // opened, not written to
	must(t, err, f.Close())
	wantDiff(t, s, Diff{Modified: []string{"d/one", "e/two"}})
	if len(before) == 0 {
		t.Error("nothing was mapped")
	}
}

// TestWatchesBounds are those of one directory, and of all.
func TestWatchesBounds(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for i := range 2 * quickPaths {
		names = append(names, fmt.Sprintf("d%d/f%d", i/50, i))
	}
	files(t, dir, names...)
	w := newWatches(t, WatchOptions{Dirs: 2})
	if _, _, err := w.Begin(dir, Passing).End(false); !errors.Is(err, ErrTooLarge) {
		t.Errorf("larger than can be looked at in passing: got %v", err)
	}
	w.work.Wait() // it is looked at beside
	s := w.Begin(dir, Passing)
	must(t, os.Remove(filepath.Join(dir, names[0])))
	wantDiff(t, s, Diff{Deleted: names[:1]})

	small := newWatches(t, WatchOptions{Paths: 100, Dirs: 2, Total: 150})
	if _, _, err := small.Begin(dir, Whole).End(false); !errors.Is(err, ErrTooLarge) {
		t.Errorf("larger than the bound: got %v", err)
	}
	one := t.TempDir()
	s = small.Begin(one, Whole)
	files(t, one, names[:200]...)
	if d, _, err := s.End(false); !errors.Is(err, ErrTooLarge) || len(d.Created) < 50 {
		t.Errorf("too much was made: got %d and %v", len(d.Created), err)
	}
	if _, _, err := small.Begin(one, Passing).End(false); !errors.Is(err, ErrTooLarge) {
		t.Errorf("left alone for a while: got %v", err)
	}
	for range 5 {
		other := t.TempDir()
		files(t, other, names[:60]...)
		wantDiff(t, small.Begin(other, Passing), Diff{})
	}
	if small.total > 150 || small.order.Len() > 2 || len(small.known) != small.order.Len() {
		t.Errorf("%d paths of %d directories are remembered", small.total, small.order.Len())
	}
	small.Forget(one)
}

// TestWatchesOverflow has the kernel lose what it wanted to tell.
func TestWatchesOverflow(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	var most int
	if _, serr := fmt.Sscan(string(text), &most); err != nil || serr != nil || most > 1<<16 {
		t.Skipf("the queue holds %d (%v)", most, err)
	}
	dir := t.TempDir()
	files(t, dir, "a", "b", "c")
	w := newWatches(t, WatchOptions{})
	s := second(t, w, dir)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for range most/2 + 1 {
		must(t, os.Chmod(a, 0o644), os.Chmod(b, 0o600))
	}
	must(t, os.Remove(filepath.Join(dir, "c")))
	wantDiff(t, s, Diff{Modified: []string{"a", "b"}, Deleted: []string{"c"}})
}

// TestWatchesShared tells who worked beside whom.
func TestWatchesShared(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "sub/a", "subway/a")
	w := newWatches(t, WatchOptions{})
	for _, tt := range []struct {
		other string
		want  bool
	}{{dir, true}, {filepath.Join(dir, "sub"), true}, {filepath.Dir(dir), true}, {filepath.Join(dir, "subway"), true}, {dir + "x", false}} {
		one := w.Begin(dir, Passing)
		two := w.Begin(tt.other, Nothing)
		_, second, _ := two.End(false)
		_, first, err := one.End(false)
		if err != nil || first != tt.want || second != tt.want {
			t.Errorf("%s: got %v, %v (%v), want %v", tt.other, first, second, err, tt.want)
		}
	}
	if _, shared, _ := w.Begin(dir, Passing).End(false); shared {
		t.Error("nobody else was there")
	}
	one := w.Begin(dir, Passing)
	files(t, dir, "1")
	two := w.Begin(dir, Passing)
	files(t, dir, "2")
	wantDiff(t, one, Diff{Created: []string{"1", "2"}})
	wantDiff(t, two, Diff{Created: []string{"2"}})
}

// TestWatchesAgree compares with looking at everything, whatever happens.
func TestWatchesAgree(t *testing.T) {
	dir := t.TempDir()
	w := newWatches(t, WatchOptions{})
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same every time
	name := func() string {
		var parts []string
		for range 1 + random.IntN(3) {
			parts = append(parts, "abc"[random.IntN(3):][:1])
		}
		return filepath.Join(dir, strings.Join(parts, "/"))
	}
	for range 300 {
		before, err := Look(dir, 0)
		must(t, err)
		s := w.Begin(dir, Passing)
		for range random.IntN(12) { // most of it fails
			switch one := name(); random.IntN(7) {
			case 0:
				_ = os.WriteFile(one, []byte(fmt.Sprint(random.Int())), 0o600)
			case 1, 2:
				_ = os.Mkdir(one, 0o700)
			case 3:
				_ = os.RemoveAll(one)
			case 4:
				_ = os.Rename(one, name())
			case 5:
				_ = unix.Renameat2(unix.AT_FDCWD, one, unix.AT_FDCWD, name(), unix.RENAME_EXCHANGE)
			case 6:
				_ = os.Symlink("x", one)
			}
		}
		after, err := Look(dir, 0)
		must(t, err)
		var want Diff
		want.Created, want.Modified, want.Deleted = after.Since(before)
		wantDiff(t, s, want)
	}
	view := viewOf(t, w, dir)
	if now, err := Look(dir, 0); err != nil || len(now.paths) != view.paths || len(view.watches) != view.dirs {
		t.Errorf("%d paths are remembered, %d directories, %d watches; there are %d (%v)", view.paths, view.dirs, len(view.watches), len(now.paths), err)
	}
}

// TestWatchesBeside begins and ends from many sides, for the race detector.
func TestWatchesBeside(t *testing.T) {
	top := t.TempDir()
	files(t, top, "0/a", "1/a", "2/a")
	w := newWatches(t, WatchOptions{Dirs: 2, Total: 20})
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			dir := filepath.Join(top, fmt.Sprint(i%3))
			for n := range 50 {
				s := w.Begin(dir, Demand(n%3))
				mine := filepath.Join(dir, fmt.Sprint(i, "-", n))
				_ = os.WriteFile(mine, nil, 0o600)
				_ = os.Remove(filepath.Join(dir, fmt.Sprint(i, "-", n-1)))
				if _, _, err := s.End(n%5 == 0); err != nil && !errors.Is(err, ErrNotKnown) {
					t.Error(err)
				}
				if n%20 == 0 {
					w.Forget(dir)
				}
			}
		})
	}
	all.Wait()
	w.Close()
	if len(w.open) != 0 || len(w.known) != 0 || w.total != 0 {
		t.Errorf("%d spans and %d directories are left, %d paths", len(w.open), len(w.known), w.total)
	}
}

// BenchmarkWatches is what every call pays that changes nothing, and what one that
// changes one file.
func BenchmarkWatches(b *testing.B) {
	for _, n := range []int{0, 10, 400, 10_000} {
		dir := b.TempDir()
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("d%d/f%d", i/50, i))
		}
		files(b, dir, names...)
		w := newWatches(b, WatchOptions{})
		run := func(do func()) func(b *testing.B) {
			return func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s := w.Begin(dir, Passing)
					do()
					if _, _, err := s.End(false); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		_, _, _ = w.Begin(dir, Whole).End(false)
		_, _, _ = w.Begin(dir, Whole).End(false)
		b.Run(fmt.Sprint("nothing/", n), run(func() {}))
		b.Run(fmt.Sprint("write/", n), run(func() { _ = os.WriteFile(filepath.Join(dir, "x"), nil, 0o600) }))
		b.Run(fmt.Sprint("new/", n), func(b *testing.B) {
			for b.Loop() {
				s := w.Begin(dir, Passing)
				_, _, _ = s.End(false)
				w.Forget(dir)
			}
		})
	}
}
