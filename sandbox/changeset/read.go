package changeset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// ReadOptions bound Read.
type ReadOptions struct {
	// Max is how many changes there may be. 0 means DefaultMaxChanges. More make the
	// set unfit, and those beyond are left out.
	Max int
	// Root is where the program saw the directory, for links with absolute targets.
	Root string
}

// Names of overlayfs's own attributes.
const (
	overlayPrefix   = "trusted.overlay."
	overlayOpaque   = "trusted.overlay.opaque"
	overlayOrigin   = "trusted.overlay.origin"
	overlayRedirect = "trusted.overlay.redirect"
	overlayMetacopy = "trusted.overlay.metacopy"
)

// errFull ends a walk whose set has all that it may have.
var errFull = errors.New("too many changes")

// Read lists what is changed. The program must have ended. An error means that it
// cannot be told; what is told but cannot be committed is in Set.Unfit.
func Read(o *Overlay, opts ReadOptions) (*Set, error) {
	if opts.Max == 0 {
		opts.Max = DefaultMaxChanges
	}
	r := &reader{set: &Set{}, opts: opts, since: o.Since}
	upper, err := reopenDir(int(o.Upper.Fd()))
	if err != nil {
		return nil, fmt.Errorf("read changes: %w", err)
	}
	defer unix.Close(upper) //nolint:errcheck // only read
	err = r.walk(pair{upper: upper, lower: int(o.Lower.Fd())}, "", 0)
	if errors.Is(err, errFull) {
		r.unfit("there are more than %d changes", opts.Max)
	} else if errors.Is(err, ErrTooLarge) {
		r.unfit("%v", err)
	} else if err != nil {
		return nil, fmt.Errorf("read changes: %w", err)
	}
	slices.SortFunc(r.set.Changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	slices.Sort(r.set.Conflicts)
	r.set.Conflicts = slices.Compact(r.set.Conflicts)
	return r.set, nil
}

// reader gathers a set.
type reader struct {
	set   *Set
	opts  ReadOptions
	since time.Time
}

// pair is a directory of the overlay and the same one below. lower is -1 where
// there is none, or where it is hidden by a directory that took its place.
type pair struct {
	upper, lower int
	// hides: what is in lower and not in upper is deleted.
	hides bool
	// whole: it is committed with a directory above, and needs no step of its own.
	whole bool
}

func (r *reader) unfit(format string, args ...any) {
	if r.set.Unfit == "" {
		r.set.Unfit = fmt.Sprintf(format, args...)
	}
}

func (r *reader) add(c Change) error {
	if len(r.set.Changes) >= r.opts.Max {
		return errFull
	}
	if !utf8.ValidString(c.Path) || !utf8.ValidString(c.Target) {
		r.unfit("the name %q is not valid UTF-8, so it cannot be told to the policy", c.Path)
		c.Path, c.Target = strings.ToValidUTF8(c.Path, "\uFFFD"), strings.ToValidUTF8(c.Target, "\uFFFD")
	}
	r.set.Changes = append(r.set.Changes, c)
	return nil
}

func (r *reader) conflict(at string) { r.set.Conflicts = append(r.set.Conflicts, at) }

// later reports whether somebody changed a file since the overlay was made.
func (r *reader) later(st *unix.Stat_t) bool {
	return !time.Unix(st.Ctim.Unix()).Before(r.since)
}

// walk compares a directory. at is its path, empty for the top.
func (r *reader) walk(p pair, at string, depth int) error {
	if depth > maxDepth {
		r.unfit("%q is deeper than %d directories", at, maxDepth)
		return nil
	}
	names, err := readNames(p.upper)
	if err != nil {
		return fmt.Errorf("%q: %w", at, err)
	}
	parentChanged := false
	if p.lower >= 0 {
		var st unix.Stat_t
		if err := unix.Fstat(p.lower, &st); err != nil {
			return fmt.Errorf("%q: %w", at, err)
		}
		parentChanged = r.later(&st)
	}
	for _, name := range names {
		if err := r.entry(p, name, join(at, name), depth, parentChanged); err != nil {
			return err
		}
	}
	if !p.hides || p.lower < 0 {
		return nil
	}
	lower, err := reopenDir(p.lower)
	if err != nil {
		return fmt.Errorf("%q: %w", at, err)
	}
	defer unix.Close(lower) //nolint:errcheck // only read
	below, err := readNames(lower)
	if err != nil {
		return fmt.Errorf("%q: %w", at, err)
	}
	for _, name := range below {
		if _, there := slices.BinarySearch(names, name); !there {
			if err := r.deleted(p, name, join(at, name), depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry compares one name of the upper directory.
func (r *reader) entry(p pair, name, at string, depth int, parentChanged bool) error {
	if len(at) > maxPathBytes {
		r.unfit("the path %.64q… has more than %d bytes", at, maxPathBytes)
		return nil
	}
	var now, was unix.Stat_t
	if err := unix.Fstatat(p.upper, name, &now, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%q: %w", at, err)
	}
	below := false
	if p.lower >= 0 {
		err := unix.Fstatat(p.lower, name, &was, unix.AT_SYMLINK_NOFOLLOW)
		if below = err == nil; !below && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%q: %w", at, err)
		}
	}
	if isWhiteout(&now) {
		if !below {
			r.conflict(at) // somebody else took it away, too
			return nil
		}
		return r.deleted(p, name, at, depth)
	}
	attrs, err := r.attributes(p.upper, name, at)
	if err != nil {
		return err
	}
	if below && r.later(&was) && typeOf(&was) != Dir {
		r.conflict(at)
	}
	if !below && !p.whole && attrs.origin && (typeOf(&now) == Dir || parentChanged) {
		r.conflict(at) // it came from below, where it is no more
	}
	c := Change{Path: at, Kind: Created, Type: typeOf(&now), Mode: now.Mode & 0o7777, Xattrs: attrs.names}
	if below {
		c.Kind = Modified
		if t := typeOf(&was); t != c.Type {
			c.Was = t
		}
		c.OldMode = was.Mode & 0o7777
	}
	if c.Type == Dir {
		return r.directory(p, name, c, &was, attrs, depth)
	}
	if err := r.describe(p, name, &c, &now); err != nil {
		return err
	}
	if below && c.Was == "" && !attrs.user {
		same, err := r.same(p, name, &c, &now, &was)
		if err != nil {
			return fmt.Errorf("%q: %w", at, err)
		}
		if same {
			r.set.Conflicts = slices.DeleteFunc(r.set.Conflicts, func(s string) bool { return s == at })
			return nil
		}
	}
	if below && c.Was == Dir {
		if err := r.emptied(p, name, at, depth); err != nil {
			return err
		}
	}
	if err := r.add(c); err != nil {
		return err
	}
	r.plan(p, &c, &now, &was)
	return nil
}

// describe fills in what is particular to a type.
func (r *reader) describe(p pair, name string, c *Change, now *unix.Stat_t) error {
	switch c.Type {
	case File:
		c.Size = now.Size
		if now.Nlink > 1 {
			c.Links = int(min(now.Nlink, 1<<30))
		}
	case Symlink:
		target, err := readLink(p.upper, name)
		if err != nil {
			return fmt.Errorf("%q: %w", c.Path, err)
		}
		c.Mode, c.OldMode, c.Target, c.Escapes = 0, 0, target, escapes(c.Path, target, r.opts.Root)
	case Special:
		r.unfit("%q is a fifo, a socket or a device", c.Path)
	case Dir:
	}
	return nil
}

// directory compares a directory of the upper one with what is below.
func (r *reader) directory(p pair, name string, c Change, was *unix.Stat_t, attrs attributes, depth int) error {
	upper, err := openDir(p.upper, name)
	if err != nil {
		return fmt.Errorf("%q: %w", c.Path, err)
	}
	defer unix.Close(upper) //nolint:errcheck // only read
	next := pair{upper: upper, lower: -1, whole: p.whole}
	var now unix.Stat_t
	if err := unix.Fstat(upper, &now); err != nil {
		return fmt.Errorf("%q: %w", c.Path, err)
	}
	merged := c.Kind == Modified && c.Was == ""
	if merged {
		lower, err := openPath(p.lower, name)
		if err != nil {
			return fmt.Errorf("%q: %w", c.Path, err)
		}
		defer unix.Close(lower) //nolint:errcheck // an O_PATH descriptor
		next.lower, next.hides = lower, p.hides || attrs.opaque
		if next.hides && !p.whole { // one directory took the place of the other
			r.plan(p, &c, &now, was)
			next.whole = true
		}
	}
	switch {
	case merged && c.Mode == c.OldMode:
	default:
		if c.Was != "" {
			r.touched(was, c.Path)
		}
		if err := r.add(c); err != nil {
			return err
		}
		if merged && !next.whole {
			if c.Mode != c.OldMode && r.later(was) {
				r.conflict(c.Path)
			}
			r.set.steps = append(r.set.steps, step{Op: opMode, Path: c.Path, OldIno: was.Ino, Mode: c.Mode & modeBits, OldMode: c.OldMode})
		}
		if !merged && !p.whole {
			r.plan(p, &c, &now, was)
			next.whole = true
		}
	}
	return r.walk(next, c.Path, depth+1)
}

// touched notes a conflict about what was there.
func (r *reader) touched(was *unix.Stat_t, at string) {
	if r.later(was) {
		r.conflict(at)
	}
}

// deleted lists what is not there any more, with all that was in it.
func (r *reader) deleted(p pair, name, at string, depth int) error {
	var was unix.Stat_t
	if err := unix.Fstatat(p.lower, name, &was, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%q: %w", at, err)
	}
	r.touched(&was, at)
	c := Change{Path: at, Kind: Deleted, Type: typeOf(&was)}
	if err := r.add(c); err != nil {
		return err
	}
	r.plan(p, &c, nil, &was)
	if c.Type != Dir {
		return nil
	}
	return r.emptied(p, name, at, depth)
}

// emptied lists all that was in a directory that is there no more.
func (r *reader) emptied(p pair, name, at string, depth int) error {
	if depth >= maxDepth {
		r.unfit("%q is deeper than %d directories", at, maxDepth)
		return nil
	}
	dir, err := openDir(p.lower, name)
	if err != nil {
		return fmt.Errorf("%q: %w", at, err)
	}
	defer unix.Close(dir) //nolint:errcheck // only read
	names, err := readNames(dir)
	if err != nil {
		return fmt.Errorf("%q: %w", at, err)
	}
	for _, below := range names {
		if err := r.deleted(pair{upper: -1, lower: dir, whole: true}, below, join(at, below), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// same reports whether a file was only copied up, and is what it was.
func (r *reader) same(p pair, name string, c *Change, now, was *unix.Stat_t) (bool, error) {
	switch {
	case c.Type == Symlink:
		old, err := readLink(p.lower, name)
		return err == nil && old == c.Target, nil // whoever changed it meanwhile is a conflict
	case c.Type != File || now.Size != was.Size || c.Mode != c.OldMode || now.Mtim != was.Mtim || now.Nlink > 1:
		return false, nil
	}
	// A program can set back the time of a file that it changed.
	a, err := openFile(p.upper, name)
	if err != nil {
		return false, err
	}
	defer a.Close() //nolint:errcheck // only read
	b, err := openFile(p.lower, name)
	if err != nil {
		return false, nil //nolint:nilerr // it is a file no more, which is a conflict
	}
	defer b.Close() //nolint:errcheck // only read
	return equal(a, b)
}

func equal(a, b io.Reader) (bool, error) {
	x, y := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(a, x)
		m, berr := io.ReadFull(b, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if err != nil || berr != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return true, nil
			}
			return false, errors.Join(err, berr)
		}
	}
}

// attributes are what the extended attributes of a path say.
type attributes struct {
	opaque, origin bool
	user           bool     // it has some that may be committed
	names          []string // all but overlayfs's own
}

func (r *reader) attributes(dir int, name, at string) (attributes, error) {
	var a attributes
	var buf [1024]byte
	full := fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)
	n, err := unix.Llistxattr(full, buf[:])
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return a, nil
	case errors.Is(err, unix.ERANGE):
		r.unfit("%q has more extended attributes than can be looked at", at)
		return a, nil
	case err != nil:
		return a, fmt.Errorf("%q: list its attributes: %w", at, err)
	}
	for attr := range strings.SplitSeq(string(buf[:n]), "\x00") {
		switch {
		case attr == "":
		case attr == overlayOpaque:
			var value [8]byte
			n, err := unix.Lgetxattr(full, attr, value[:])
			a.opaque = err == nil && string(value[:n]) == "y"
		case attr == overlayOrigin:
			a.origin = true
		case attr == overlayRedirect, attr == overlayMetacopy:
			r.unfit("%q has the attribute %s, which cannot be committed", at, attr)
		case strings.HasPrefix(attr, overlayPrefix):
		default:
			a.names = append(a.names, attr)
			a.user = a.user || strings.HasPrefix(attr, userPrefix)
		}
	}
	return a, nil
}

func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

func typeOf(st *unix.Stat_t) Type {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return File
	case unix.S_IFDIR:
		return Dir
	case unix.S_IFLNK:
		return Symlink
	}
	return Special
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// maxNames is how many names of one directory are read: what a program left there is to
// take no more memory of ours than some 50 MiB.
const maxNames = 1 << 18

// readNames lists a directory, sorted. The descriptor is read from where it is. One with
// more than maxNames is ErrTooLarge.
func readNames(dir int) ([]string, error) { return readSome(dir, maxNames) }

func readSome(dir, most int) ([]string, error) {
	fd, err := unix.Dup(dir)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "directory")
	defer f.Close() //nolint:errcheck // only read
	var names []string
	for {
		some, err := f.Readdirnames(1024)
		names = append(names, some...)
		switch {
		case len(names) > most:
			return nil, fmt.Errorf("a directory has more than %d names: %w", most, ErrTooLarge)
		case errors.Is(err, io.EOF):
			slices.Sort(names)
			return names, nil
		case err != nil:
			slices.Sort(names)
			return names, err
		}
	}
}

func readLink(dir int, name string) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlinkat(dir, name, buf[:])
	return string(buf[:max(n, 0)]), err
}
