package changeset

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// DefaultMaxShot is how many paths a Shot has at most, unless said otherwise: to look
// at that many takes some 50 ms.
const DefaultMaxShot = 20_000

// ErrTooLarge is wrapped when a directory has more paths than were to be looked at.
var ErrTooLarge = errors.New("too many paths")

// Shot is what a directory looked like at one moment. Two of them tell what was
// changed in between, by whomever; a file whose content was changed has another time
// of change, which no program can set.
type Shot struct {
	paths map[string]seen
}

// seen is what is compared of a path.
type seen struct {
	ino          uint64
	size         int64
	mtime, ctime unix.Timespec
	mode         uint32
}

// Look looks at a directory and all that is in it, over no symbolic link and no mount,
// but for stages. limit 0 is DefaultMaxShot.
func Look(dir string, limit int) (*Shot, error) {
	if limit == 0 {
		limit = DefaultMaxShot
	}
	fd, err := openNamed(dir, 0)
	if err != nil {
		return nil, fmt.Errorf("look at a directory: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // only read
	s := &Shot{paths: map[string]seen{}}
	if err := s.walk(fd, "", limit, 0); err != nil {
		return nil, fmt.Errorf("look at %s: %w", dir, err)
	}
	return s, nil
}

func (s *Shot) walk(dir int, at string, limit, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%q is deeper than %d directories: %w", at, maxDepth, ErrTooLarge)
	}
	names, err := readNames(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, name := range names {
		var st unix.Stat_t
		err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			continue // somebody works in it
		}
		if err != nil {
			return err
		}
		if at == "" && isStage(name, &st) {
			continue
		}
		if len(s.paths) >= limit {
			return fmt.Errorf("it has more than %d paths: %w", limit, ErrTooLarge)
		}
		here := join(at, name)
		s.paths[here] = seen{ino: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim, mode: st.Mode}
		if typeOf(&st) != Dir {
			continue
		}
		below, err := openDir(dir, name)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EXDEV):
			continue // not there any more, or another file system
		case err != nil:
			return err
		}
		err = s.walk(below, here, limit, depth+1)
		if err = errors.Join(err, unix.Close(below)); err != nil {
			return err
		}
	}
	return nil
}

// Since lists what is other than it was: sorted paths. Of directories only the mode
// counts.
func (s *Shot) Since(before *Shot) (created, modified, deleted []string) {
	for at, now := range s.paths {
		was, there := before.paths[at]
		switch {
		case !there:
			created = append(created, at)
		case now.mode != was.mode:
			modified = append(modified, at)
		case now.mode&unix.S_IFMT == unix.S_IFDIR:
		case now != was:
			modified = append(modified, at)
		}
	}
	for at := range before.paths {
		if _, there := s.paths[at]; !there {
			deleted = append(deleted, at)
		}
	}
	slices.Sort(created)
	slices.Sort(modified)
	slices.Sort(deleted)
	return created, modified, deleted
}
