package changeset

import (
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// errBudget ends a look at a directory that takes longer than it may.
var errBudget = errors.New("there is too much to look at in passing")

// errGone says that a tree is not where it was.
var errGone = errors.New("it is another directory than before")

// budget bounds how much is looked at.
type budget struct {
	paths int       // looked at, at most; 0: as many as the tree may have
	until time.Time // zero: for ever
	spent int
}

// timeEvery is after how many paths the time is looked at.
const timeEvery = 64

func (b *budget) spend() error {
	b.spent++
	if b.paths > 0 && b.spent > b.paths || !b.until.IsZero() && b.spent%timeEvery == 0 && time.Now().After(b.until) {
		return errBudget
	}
	return nil
}

// treeView is what is known of a directory and all that is in it, over no symbolic link and
// no mount, but for stages. It is used by one goroutine at a time.
type treeView struct {
	top      string
	dev, ino uint64
	seed     maphash.Seed
	most     int // paths and, divided by dirShare, directories

	notes   *notifier // nil: nothing is told, all of it is looked at again
	root    *treeDir
	watches map[int32]*treeDir
	paths   int
	dirs    int

	spans int // that are open: what changes is put down
	log   []happening

	// linked are the files of which another name has to be looked at, by their numbers; nil:
	// all are looked at.
	linked map[uint64]bool
}

// dirShare is how many paths there are for each directory that may be watched.
const dirShare = 4

// treeDir is a directory of a tree.
type treeDir struct {
	path    string // in the tree; empty: the top
	watch   int32  // -1: none
	gone    bool
	entries map[string]treeEntry
}

// treeEntry is what is known of a path.
type treeEntry struct {
	sig  uint64 // of all that is compared; of a directory 0
	ino  uint64
	mode uint32
	dir  *treeDir // nil: it is none
	// links: it is a file with several names.
	links bool
}

// happening is one thing that happened to a path.
type happening struct {
	path    string
	was     treeEntry
	existed bool
	written bool // though it may look the same
}

// openTree looks at a directory for the first time.
func openTree(top string, most int, watched bool, b *budget) (_ *treeView, err error) {
	fd, err := openNamed(top, 0)
	if err != nil {
		return nil, fmt.Errorf("look at a directory: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // only read
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("look at %s: %w", top, err)
	}
	t := &treeView{top: top, dev: st.Dev, ino: st.Ino, seed: maphash.MakeSeed(), most: most, watches: map[int32]*treeDir{}}
	if watched {
		if t.notes, err = newNotifier(); err != nil {
			return nil, err
		}
	}
	t.root = t.newDir("")
	if err := t.walk(fd, t.root, b, false); err != nil {
		return nil, errors.Join(fmt.Errorf("look at %s: %w", top, err), t.close())
	}
	return t, nil
}

func (t *treeView) close() error {
	if t.notes == nil {
		return nil
	}
	return t.notes.close()
}

func (t *treeView) newDir(at string) *treeDir {
	t.dirs++
	return &treeDir{path: at, watch: -1, entries: map[string]treeEntry{}}
}

// walk looks at an open directory, and at those in it that were not known; with all, at
// every one. It is watched from before.
func (t *treeView) walk(fd int, d *treeDir, b *budget, all bool) error {
	if t.dirs > max(t.most/dirShare, 1) || strings.Count(d.path, "/") > maxDepth {
		return fmt.Errorf("it has more than %d directories, or deeper ones than %d: %w", t.most/dirShare, maxDepth, ErrTooLarge)
	}
	if t.notes != nil && d.watch < 0 {
		watch, err := t.notes.add(fd)
		if err != nil {
			return err
		}
		if before := t.watches[watch]; before != nil {
			before.watch = -1 // it was moved
		}
		d.watch, t.watches[watch] = watch, d
	}
	names, err := readNames(fd)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for name := range d.entries {
		if _, there := slices.BinarySearch(names, name); !there {
			t.remove(d, name)
		}
	}
	for _, name := range names {
		if err := t.look(fd, d, name, b, all, false); err != nil {
			return err
		}
	}
	return nil
}

// look looks at one name in an open directory.
func (t *treeView) look(fd int, d *treeDir, name string, b *budget, all, written bool) error {
	if err := b.spend(); err != nil {
		return err
	}
	var st unix.Stat_t
	err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		t.remove(d, name)
		return nil
	case err != nil:
		return err
	case d == t.root && isStage(name, &st):
		return nil
	case typeOf(&st) == Dir:
		return t.lookDir(fd, d, name, &st, b, all)
	}
	now := treeEntry{ino: st.Ino, mode: st.Mode, links: st.Nlink > 1, sig: maphash.Comparable(t.seed, seen{ino: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim, mode: st.Mode})}
	was, existed := d.entries[name]
	if existed && was == now && !written {
		return nil
	}
	if was.dir != nil {
		t.drop(was.dir)
	}
	return t.put(d, name, was, now, existed, written)
}

func (t *treeView) lookDir(fd int, d *treeDir, name string, st *unix.Stat_t, b *budget, all bool) error {
	was, existed := d.entries[name]
	now := treeEntry{ino: st.Ino, mode: st.Mode, dir: was.dir}
	fresh := was.dir == nil || was.ino != now.ino || t.notes != nil && was.dir.watch < 0
	if fresh {
		if was.dir != nil {
			t.drop(was.dir)
		}
		now.dir = t.newDir(join(d.path, name))
	}
	if fresh || was.mode != now.mode {
		if err := t.put(d, name, was, now, existed, false); err != nil {
			return err
		}
	}
	if !fresh && !all {
		return nil
	}
	below, err := openDir(fd, name)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EXDEV):
		return nil // not there any more, or another file system
	case err != nil:
		return err
	}
	err = t.walk(below, now.dir, b, all)
	return errors.Join(err, unix.Close(below))
}

func (t *treeView) put(d *treeDir, name string, was, now treeEntry, existed, written bool) error {
	t.note(d, name, was, existed, written)
	t.noteLinks(was)
	t.noteLinks(now)
	d.entries[name] = now
	if existed {
		return nil
	}
	if t.paths++; t.paths > t.most {
		return fmt.Errorf("it has more than %d paths: %w", t.most, ErrTooLarge)
	}
	return nil
}

// remove forgets a name and all that is below.
func (t *treeView) remove(d *treeDir, name string) {
	was, existed := d.entries[name]
	if !existed {
		return
	}
	t.note(d, name, was, true, false)
	t.noteLinks(was)
	delete(d.entries, name)
	t.paths--
	if was.dir != nil {
		t.drop(was.dir)
	}
}

// drop forgets a directory of which another has taken the place, or nothing has.
func (t *treeView) drop(d *treeDir) {
	for name := range d.entries {
		t.remove(d, name)
	}
	d.gone = true
	t.dirs--
	if d.watch >= 0 {
		delete(t.watches, d.watch)
		t.notes.remove(d.watch)
	}
}

func (t *treeView) note(d *treeDir, name string, was treeEntry, existed, written bool) {
	if t.spans > 0 {
		was.dir = nil
		t.log = append(t.log, happening{path: join(d.path, name), was: was, existed: existed, written: written})
	}
}

// noteLinks remembers to look at the other names of a file.
func (t *treeView) noteLinks(e treeEntry) {
	if e.links && t.linked != nil {
		t.linked[e.ino] = true
	}
}

// happened is what was told of since it was last asked.
type happened struct {
	names     map[place]bool // true: written to
	all, gone bool

	// came are names that are new since, moving the renames of such that are not at their
	// end. What came and went again nobody has looked at: it may have been another name of
	// a file, or a directory with one in it, by which the file was written to. Then all is
	// looked at.
	came   map[place]bool
	moving map[uint32]bool
}

type place struct {
	dir  *treeDir
	name string
}

func (t *treeView) told(h *happened, e event) {
	if e.mask&unix.IN_Q_OVERFLOW != 0 {
		h.all = true
		return
	}
	d := t.watches[e.watch]
	switch {
	case d == nil:
	case e.mask&unix.IN_IGNORED != 0:
		delete(t.watches, e.watch)
		d.watch = -1
	case e.name == "":
		h.gone = h.gone || d == t.root && e.mask&goneMask != 0
	default:
		if h.names == nil {
			h.names = map[place]bool{}
		}
		at := place{d, e.name}
		h.names[at] = h.names[at] || e.mask&unix.IN_MODIFY != 0
		h.follow(at, e)
	}
}

// follow keeps account of names that come and go.
func (h *happened) follow(at place, e event) {
	switch {
	case e.mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		if h.came == nil {
			h.came, h.moving = map[place]bool{}, map[uint32]bool{}
		}
		h.all = h.all || h.came[at] // another one was moved over it
		h.came[at] = true
		delete(h.moving, e.cookie)
	case e.mask&unix.IN_MOVED_FROM != 0 && h.came[at]:
		delete(h.came, at)
		h.moving[e.cookie] = true
	case e.mask&unix.IN_DELETE != 0 && h.came[at]:
		h.all = true
	}
}

// refresh takes up what has happened so far; all: it looks at everything. After an error
// the tree is of no use any more, though what it has put down is true.
func (t *treeView) refresh(b *budget, all bool) error {
	h := happened{all: all || t.notes == nil}
	if t.notes != nil {
		if err := t.notes.read(func(e event) { t.told(&h, e) }); err != nil {
			return err
		}
		h.all = h.all || len(h.moving) > 0
	}
	switch {
	case h.gone:
		return errGone
	case !h.all && len(h.names) == 0:
		return nil
	}
	fd, err := openNamed(t.top, t.ino)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // only read
	if h.all {
		err = t.walk(fd, t.root, b, true)
	} else {
		t.linked = map[uint64]bool{}
		defer func() { t.linked = nil }()
	}
	at := newParents(fd)
	defer at.close()
	for p, written := range h.names {
		if err != nil {
			return err
		}
		if h.all && !written {
			continue // it was looked at
		}
		err = t.lookAt(at, p, b, written)
		t.noteLinks(p.dir.entries[p.name])
	}
	return errors.Join(err, t.lookAtLinks(at, t.root, t.linked, b))
}

// lookAt looks at a path of the tree.
func (t *treeView) lookAt(at *parents, p place, b *budget, written bool) error {
	if p.dir.gone {
		return nil
	}
	fd, name, err := at.of(join(p.dir.path, p.name))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EXDEV) {
		return nil // what happened to its directory is told, too
	}
	if err != nil {
		return err
	}
	return t.look(fd, p.dir, name, b, false, written)
}

// lookAtLinks looks at the other names of files with several: who writes to a file is
// told of under the name that was opened.
func (t *treeView) lookAtLinks(at *parents, d *treeDir, linked map[uint64]bool, b *budget) error {
	if len(linked) == 0 {
		return nil
	}
	for name, e := range d.entries {
		var err error
		switch {
		case e.dir != nil:
			err = t.lookAtLinks(at, e.dir, linked, b)
		case linked[e.ino]:
			err = t.lookAt(at, place{d, name}, b, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// find returns what is known of a path.
func (t *treeView) find(at string) (treeEntry, bool) {
	d := t.root
	for {
		name, rest, more := strings.Cut(at, "/")
		e, ok := d.entries[name]
		if !more || !ok || e.dir == nil {
			return e, ok && !more
		}
		d, at = e.dir, rest
	}
}

// since lists what is other than it was at a place of the log.
func (t *treeView) since(start int) (d Diff) {
	if start >= len(t.log) {
		return d
	}
	first, written := map[string]happening{}, map[string]bool{}
	for _, s := range t.log[start:] {
		if _, known := first[s.path]; !known {
			first[s.path] = s
		}
		written[s.path] = written[s.path] || s.written
	}
	for at, s := range first {
		now, there := t.find(at)
		switch {
		case !s.existed && !there:
		case !there:
			d.Deleted = append(d.Deleted, at)
		case !s.existed:
			d.Created = append(d.Created, at)
		case s.was.mode != now.mode, now.dir == nil && (written[at] || s.was.sig != now.sig):
			d.Modified = append(d.Modified, at)
		}
	}
	slices.Sort(d.Created)
	slices.Sort(d.Modified)
	slices.Sort(d.Deleted)
	return d
}
