package changeset

import (
	"container/list"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotKnown is wrapped when it cannot be told what was changed.
var ErrNotKnown = errors.New("what was changed is not known")

// WatchOptions bound Watches. 0 is the default.
type WatchOptions struct {
	// Paths are how many a directory may have that is watched, all below it counted.
	// Default DefaultMaxShot.
	Paths int
	// Dirs are how many directories are watched at once, each with all that is below.
	// Default 48. The kernel lets one user have 128 at once, other programs' included.
	Dirs int
	// Total bounds the paths of all of them, each of which takes some 100 bytes.
	// Default 200,000.
	Total int
	// Unwatched has nothing watched: directories are looked at again instead.
	Unwatched bool
}

// A directory that was not watched is looked at by the way up to these bounds, and
// beside all calls where that is not enough.
const (
	quickPaths = 512
	quickTime  = time.Millisecond
	// againAfter is how long a directory is left alone that was too large.
	againAfter = 10 * time.Minute
	// thoroughPaths is how many paths are looked at again one by one, after a program
	// that the kernel may not have told all of.
	thoroughPaths = 2000
	// logShare is how many things may happen while spans are open, for each path.
	logShare = 4
)

// Diff lists what is other than it was: sorted paths. Of directories only the mode
// counts.
type Diff struct{ Created, Modified, Deleted []string }

// Watches tell what is changed in directories from one moment to another. They are told
// by the kernel (inotify), so that a directory in which nothing has happened is not
// looked at again. It is safe for concurrent use.
type Watches struct {
	opts     WatchOptions
	building chan struct{} // holds one item while a large directory is looked at
	work     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	known  map[string]*list.Element // of *watchedDir
	order  *list.List               // the last used at the front
	total  int
	open   map[*Span]struct{}
}

// watchedDir is a directory that is or was watched.
type watchedDir struct {
	dir string

	users   int // guarded by Watches.mu
	size    int // guarded by Watches.mu: what it counts in Watches.total
	removed bool

	mu        sync.Mutex
	tree      *treeView // nil: not watched now
	notBefore time.Time
	building  bool
	// bare: it is not watched. That is made at its second call, since it costs more than
	// a look at a small directory, or never where the kernel has no watch left.
	bare bool
}

// NewWatches returns watches of nothing yet. Close them.
func NewWatches(o WatchOptions) *Watches {
	if o.Paths == 0 {
		o.Paths = DefaultMaxShot
	}
	if o.Dirs == 0 {
		o.Dirs = 48
	}
	if o.Total == 0 {
		o.Total = 200_000
	}
	return &Watches{opts: o, building: make(chan struct{}, 1), known: map[string]*list.Element{}, order: list.New(), open: map[*Span]struct{}{}}
}

// Span is the time from Begin to End. It belongs to one goroutine.
type Span struct {
	watches *Watches
	dir     string
	shared  bool // guarded by Watches.mu
	at      *watchedDir
	tree    *treeView // nil: what is changed is not known
	start   int
	err     error
}

// Demand is how much Begin looks at a directory.
type Demand int

// Demands.
const (
	Passing Demand = iota // as much as takes about a millisecond
	Whole                 // all of it, up to WatchOptions.Paths
	Nothing               // only that somebody works in it is remembered
)

// Begin remembers what a directory (an absolute path) looks like. It does not fail: what
// cannot be known End says. Every Span must be ended.
func (w *Watches) Begin(dir string, demand Demand) *Span {
	s := &Span{watches: w, dir: filepath.Clean(dir)}
	w.enter(s, demand)
	if s.at == nil {
		return s
	}
	s.at.mu.Lock()
	defer s.at.mu.Unlock()
	if s.err = s.begin(demand); s.err == nil {
		s.tree = s.at.tree
		s.tree.spans++
		s.start = len(s.tree.log)
	}
	return s
}

// enter opens a span.
func (w *Watches) enter(s *Span, demand Demand) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.open) > 0 {
		for o := range w.open {
			if within(o.dir, s.dir) || within(s.dir, o.dir) {
				o.shared, s.shared = true, true
			}
		}
	}
	w.open[s] = struct{}{}
	if demand == Nothing || w.closed {
		s.err = ErrNotKnown
		return
	}
	s.at = w.use(s.dir)
}

func within(dir, above string) bool {
	rest, ok := strings.CutPrefix(dir, above)
	return ok && (rest == "" || rest[0] == '/' || above == "/")
}

// use finds a directory and keeps it until it is left. w.mu is held.
func (w *Watches) use(dir string) *watchedDir {
	e := w.known[dir]
	if e == nil {
		e = w.order.PushFront(&watchedDir{dir: dir, bare: true})
		w.known[dir] = e
	} else if w.order.Front() != e {
		w.order.MoveToFront(e)
	}
	at := e.Value.(*watchedDir) //nolint:errcheck,forcetypeassert // nothing else is in it
	at.users++
	return at
}

// begin makes the tree show what is there now. The directory's mutex is held.
func (s *Span) begin(demand Demand) error {
	d := s.at
	if d.tree != nil {
		var st unix.Stat_t
		if err := unix.Lstat(d.dir, &st); err != nil || st.Ino != d.tree.ino || st.Dev != d.tree.dev {
			d.dropTree()
		}
	}
	if t := d.tree; t != nil && t.notes == nil && t.spans == 0 && !d.bare {
		d.dropTree()
	}
	b := &budget{}
	if demand == Passing && (d.tree == nil || d.tree.spans == 0) {
		b.paths, b.until = quickPaths, time.Now().Add(quickTime)
	}
	var err error
	switch {
	case d.tree != nil:
		if err = d.tree.refresh(b, false); err != nil {
			d.dropTree()
		}
	case demand == Passing && (d.building || !d.notBefore.IsZero() && time.Now().Before(d.notBefore)):
		return fmt.Errorf("%w: %w", ErrNotKnown, ErrTooLarge)
	default:
		bare := d.bare && demand == Passing || s.watches.opts.Unwatched
		d.bare = false
		if d.tree, err = openTree(d.dir, s.watches.opts.Paths, !bare, b); outOfWatches(err) {
			b.spent, d.bare = 0, true
			d.tree, err = openTree(d.dir, s.watches.opts.Paths, false, b)
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errBudget):
		s.watches.buildAside(d)
		return fmt.Errorf("%w: %w", ErrNotKnown, ErrTooLarge)
	case errors.Is(err, ErrTooLarge):
		d.notBefore = time.Now().Add(againAfter)
	}
	return fmt.Errorf("%w: %w", ErrNotKnown, err)
}

// outOfWatches tells the kernel's bounds of what one user may watch.
func outOfWatches(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOMEM)
}

// buildAside looks at a large directory while calls go on; one at a time. Those that
// begin when it is done know what they change. The directory's mutex is held.
func (w *Watches) buildAside(d *watchedDir) {
	if w.opts.Unwatched {
		d.notBefore = time.Now().Add(againAfter) // it would have to be looked at every time
		return
	}
	select {
	case w.building <- struct{}{}:
	default:
		return
	}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		<-w.building
		return
	}
	d.users++
	d.building = true
	defer w.mu.Unlock()
	w.work.Go(func() {
		defer func() { <-w.building }()
		t, err := openTree(d.dir, w.opts.Paths, true, &budget{})
		d.mu.Lock()
		d.building = false
		switch {
		case err != nil:
			d.notBefore = time.Now().Add(againAfter)
		case d.tree != nil:
			closeTree(t)
		default:
			d.tree = t
		}
		size := d.paths()
		d.mu.Unlock()
		w.leave(d, size)
	})
}

// paths is how many paths are remembered. The directory's mutex is held.
func (d *watchedDir) paths() int {
	if d.tree == nil {
		return 0
	}
	return d.tree.paths
}

// dropTree forgets what a directory looked like. Its mutex is held, or nobody uses it.
func (d *watchedDir) dropTree() {
	t := d.tree
	d.tree = nil
	closeTree(t)
}

func closeTree(t *treeView) {
	if t != nil && t.notes != nil {
		go func() { _ = t.close() }() // the kernel takes its time; nothing is lost by it
	}
}

// End tells what was changed since Begin, by whomever; shared: other spans of the
// directory, or of one above or below it, were open meanwhile. Thorough looks at files
// that nothing was told of, too. An error wraps ErrNotKnown, and ErrTooLarge where that is
// why; a Diff beside it is true but not all. A span is ended once.
func (s *Span) End(thorough bool) (d Diff, shared bool, err error) {
	w := s.watches
	err = s.err
	if s.at != nil {
		s.at.mu.Lock()
		if err == nil {
			d, err = s.end(thorough)
		}
		size := s.at.paths()
		s.at.mu.Unlock()
		defer w.leave(s.at, size)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, s)
	return d, s.shared, err
}

// end is End with the directory's mutex held.
func (s *Span) end(thorough bool) (Diff, error) {
	t := s.tree
	defer func() {
		if t.spans--; t.spans == 0 {
			t.log = nil
		}
	}()
	if s.at.tree != t {
		return Diff{}, fmt.Errorf("%w: the directory was changed too much meanwhile", ErrNotKnown)
	}
	all := thorough && t.notes != nil
	if all && t.paths > thoroughPaths {
		return Diff{}, fmt.Errorf("%w: %w", ErrNotKnown, ErrTooLarge)
	}
	err := t.refresh(&budget{}, all)
	if err == nil && len(t.log) > logShare*t.most {
		err = ErrTooLarge
	}
	diff := t.since(s.start)
	if err != nil {
		if errors.Is(err, ErrTooLarge) {
			s.at.notBefore = time.Now().Add(againAfter)
		}
		s.at.dropTree()
		return diff, fmt.Errorf("%w: %w", ErrNotKnown, err)
	}
	return diff, nil
}

// leave gives back what use or buildAside has taken, and keeps the bounds.
func (w *Watches) leave(d *watchedDir, size int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d.users--
	if d.removed {
		if d.users == 0 {
			d.dropTree()
		}
		return
	}
	w.total += size - d.size
	d.size = size
	for e := w.order.Back(); e != nil && (w.total > w.opts.Total || w.order.Len() > w.opts.Dirs); {
		before := e.Prev()
		if old := e.Value.(*watchedDir); old.users == 0 { //nolint:errcheck,forcetypeassert // as in use
			w.remove(e)
		}
		e = before
	}
}

// remove forgets a directory. w.mu is held.
func (w *Watches) remove(e *list.Element) {
	d := w.order.Remove(e).(*watchedDir) //nolint:errcheck,forcetypeassert // as in use
	delete(w.known, d.dir)
	w.total -= d.size
	d.removed = true
	if d.users == 0 {
		d.dropTree()
	}
}

// Forget ends the watch of a directory, such as of one that is removed.
func (w *Watches) Forget(dir string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.known[filepath.Clean(dir)]; e != nil {
		w.remove(e)
	}
}

// Close ends all watches. Spans that are open then, or begun later, know nothing.
func (w *Watches) Close() {
	w.mu.Lock()
	w.closed = true
	for e := w.order.Front(); e != nil; e = w.order.Front() {
		w.remove(e)
	}
	w.mu.Unlock()
	w.work.Wait()
}
