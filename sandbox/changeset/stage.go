package changeset

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// userPrefix is that of the extended attributes that are committed.
const userPrefix = "user."

// maxXattr bounds the value of an attribute that is committed.
const maxXattr = 4 << 10

// stager copies what is new into the stage.
type stager struct {
	o     *Overlay
	upper int
	s     *Staged
	links map[uint64]string // paths in the stage of files with several names
	buf   []byte
}

// Stage copies what is new to a directory beside the one that is changed, and puts
// it on disk with the plan of the commit. The stage is made, and must not be there
// before; it has to be on the same mount. After an error nothing is left of it.
//
// All of it is made anew by this process: with the owner of the overlay, permission
// bits only, and names, times and attributes of the user alone.
func Stage(o *Overlay, set *Set, stage string) (_ *Staged, err error) {
	if set.Unfit != "" {
		return nil, fmt.Errorf("stage changes: %s", set.Unfit)
	}
	s, err := makeStage(o, stage)
	if err != nil {
		return nil, fmt.Errorf("stage changes: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("stage changes: %w", err), s.Close(), Remove(stage))
		}
	}()
	upper, err := reopenDir(int(o.Upper.Fd()))
	if err != nil {
		return s, err
	}
	defer unix.Close(upper) //nolint:errcheck // only read
	s.doc = document{Format: planFormat, Steps: append([]step(nil), set.steps...), Contents: map[string]string{}}
	g := &stager{o: o, upper: upper, s: s, links: map[uint64]string{}, buf: make([]byte, 256<<10)}
	from := newParents(upper)
	defer from.close()
	for i := range s.doc.Steps {
		st := &s.doc.Steps[i]
		if st.Op != opPut && st.Op != opSwap {
			continue
		}
		dir, name, err := from.of(st.Path)
		if err == nil {
			st.NewIno, err = g.copy(dir, name, s.stage, st.Name, st.Path, 0)
		}
		if err != nil {
			return s, fmt.Errorf("%q: %w", st.Path, err)
		}
	}
	failpoint.At(failpoint.CommitCopied)
	if err := s.writePlan(); err != nil {
		return s, err
	}
	if err := unix.Syncfs(s.stage); err != nil {
		return s, fmt.Errorf("put it on disk: %w", err)
	}
	failpoint.At(failpoint.CommitStaged)
	return s, nil
}

// isStage reports whether a path at the top of a workspace is a stage: a directory of the
// process's own user that nobody else looks into. The name alone says nothing: a program
// can make files with any.
func isStage(name string, st *unix.Stat_t) bool {
	return strings.HasPrefix(name, StagePrefix) && typeOf(st) == Dir && st.Mode&0o777 == 0o700 && int(st.Uid) == os.Geteuid()
}

func makeStage(o *Overlay, stage string) (*Staged, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(o.Lower.Fd()), &st); err != nil {
		return nil, err
	}
	s := &Staged{Ref: Ref{Dir: o.Dir, DirIno: st.Ino, Stage: stage}}
	var err error
	if s.dir, err = openNamed(o.Dir, st.Ino); err != nil {
		return nil, err
	}
	if err := os.Mkdir(stage, 0o700); err != nil {
		return nil, errors.Join(err, unix.Close(s.dir))
	}
	s.stage, err = openNamed(stage, 0)
	if err == nil {
		err = unix.Fstat(s.stage, &st)
		s.Ref.Ino = st.Ino
	}
	if err == nil && !sameMount(s.dir, s.stage) {
		err = fmt.Errorf("%s is on another mount than %s", filepath.Dir(stage), o.Dir)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(s.dir), unix.Close(s.stage), os.Remove(stage))
	}
	return s, nil
}

func sameMount(a, b int) bool {
	var x, y unix.Statx_t
	const mask = unix.STATX_MNT_ID | unix.STATX_INO
	err := errors.Join(unix.Statx(a, "", unix.AT_EMPTY_PATH, mask, &x), unix.Statx(b, "", unix.AT_EMPTY_PATH, mask, &y))
	return err == nil && x.Mnt_id == y.Mnt_id
}

// copy makes a copy of a path of the upper directory and returns its inode number.
// at is the path in the directory.
func (g *stager) copy(from int, name string, to int, as, at string, depth int) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, err
	}
	switch typeOf(&st) {
	case File:
		return g.file(from, name, to, as, at, &st)
	case Symlink:
		target, err := readLink(from, name)
		if err != nil {
			return 0, err
		}
		if err := unix.Symlinkat(target, to, as); err != nil {
			return 0, err
		}
		return g.own(to, as, &st, false)
	case Dir:
		return g.dir(from, name, to, as, at, &st, depth)
	case Special:
	}
	return 0, errors.New("is a fifo, a socket or a device")
}

// own gives a link or a directory its owner and returns its inode number.
func (g *stager) own(to int, as string, st *unix.Stat_t, timed bool) (uint64, error) {
	if err := unix.Fchownat(to, as, g.o.UID, g.o.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, err
	}
	if timed {
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, st.Mtim}
		if err := unix.UtimesNanoAt(to, as, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return 0, err
		}
	}
	var made unix.Stat_t
	err := unix.Fstatat(to, as, &made, unix.AT_SYMLINK_NOFOLLOW)
	return made.Ino, err
}

func (g *stager) dir(from int, name string, to int, as, at string, st *unix.Stat_t, depth int) (uint64, error) {
	if depth > maxDepth {
		return 0, fmt.Errorf("is deeper than %d directories", maxDepth)
	}
	if err := unix.Mkdirat(to, as, 0o700); err != nil {
		return 0, err
	}
	src, err := openDir(from, name)
	if err != nil {
		return 0, err
	}
	defer unix.Close(src) //nolint:errcheck // only read
	dst, err := openDir(to, as)
	if err != nil {
		return 0, err
	}
	defer unix.Close(dst) //nolint:errcheck // a directory
	names, err := readNames(src)
	if err != nil {
		return 0, err
	}
	for _, below := range names {
		var kind unix.Stat_t
		if err := unix.Fstatat(src, below, &kind, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return 0, err
		}
		if isWhiteout(&kind) {
			continue // what it hides was below a directory that this one replaces
		}
		if _, err := g.copy(src, below, dst, below, join(at, below), depth+1); err != nil {
			return 0, fmt.Errorf("%q: %w", below, err)
		}
	}
	if err := unix.Fchmod(dst, st.Mode&modeBits); err != nil {
		return 0, err
	}
	return g.own(to, as, st, true)
}

func (g *stager) file(from int, name string, to int, as, at string, st *unix.Stat_t) (uint64, error) {
	if st.Nlink > 1 {
		if first, ok := g.links[st.Ino]; ok {
			return g.link(first, to, as, at)
		}
	}
	src, err := openFile(from, name)
	if err != nil {
		return 0, err
	}
	defer src.Close() //nolint:errcheck // only read
	fd, err := unix.Openat(to, as, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return 0, err
	}
	dst := os.NewFile(uintptr(fd), as)
	sum, err := g.content(src, dst, st.Size)
	if err == nil {
		err = g.attributes(src, dst, st)
	}
	var made unix.Stat_t
	if err == nil {
		err = unix.Fstat(fd, &made)
	}
	if err := errors.Join(err, dst.Close()); err != nil {
		return 0, err
	}
	g.s.doc.Contents[at] = sum
	if st.Nlink > 1 {
		g.links[st.Ino] = at
	}
	return made.Ino, nil
}

// link gives a file that was staged another name.
func (g *stager) link(first string, to int, as, at string) (uint64, error) {
	held := ""
	for i := range g.s.doc.Steps { // where in the stage the first name is
		st := &g.s.doc.Steps[i]
		if rest, ok := strings.CutPrefix(first, st.Path); ok && st.Name != "" && (rest == "" || rest[0] == '/') {
			held = st.Name + rest
		}
	}
	from := newParents(g.s.stage)
	defer from.close()
	dir, name, err := from.of(held)
	if err != nil {
		return 0, err
	}
	if err := unix.Linkat(dir, name, to, as, 0); err != nil {
		return 0, err
	}
	g.s.doc.Contents[at] = g.s.doc.Contents[first]
	var made unix.Stat_t
	err = unix.Fstatat(to, as, &made, unix.AT_SYMLINK_NOFOLLOW)
	return made.Ino, err
}

// content copies the data of a file, holes as holes, and returns its digest.
func (g *stager) content(src, dst *os.File, size int64) (string, error) {
	sum := sha256.New()
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data, err = size, nil
		}
		if err != nil {
			return "", err
		}
		data = min(data, size)
		if data > at {
			// The digest tells of a hole by its place and length.
			_, _ = fmt.Fprintf(sum, "\x00hole %d+%d\x00", at, data-at) // a hash never fails
		}
		if at = data; at >= size {
			break
		}
		hole, err := unix.Seek(int(src.Fd()), at, unix.SEEK_HOLE)
		if err != nil {
			return "", err
		}
		hole = min(hole, size)
		n, err := io.CopyBuffer(onlyWriter{io.MultiWriter(io.NewOffsetWriter(dst, at), sum)}, io.NewSectionReader(src, at, hole-at), g.buf)
		if err != nil {
			return "", err
		}
		if n != hole-at {
			return "", io.ErrUnexpectedEOF
		}
		at = hole
	}
	if err := dst.Truncate(size); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// onlyWriter hides other ways of copying, which would leave the digest out.
type onlyWriter struct{ io.Writer }

// attributes gives a staged file its owner, mode, attributes and time.
func (g *stager) attributes(src, dst *os.File, st *unix.Stat_t) error {
	var names [1024]byte
	n, err := unix.Flistxattr(int(src.Fd()), names[:])
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("list its attributes: %w", err)
	}
	for name := range strings.SplitSeq(string(names[:max(n, 0)]), "\x00") {
		if !strings.HasPrefix(name, userPrefix) {
			continue
		}
		var value [maxXattr]byte
		n, err := unix.Fgetxattr(int(src.Fd()), name, value[:])
		if err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
		if err := unix.Fsetxattr(int(dst.Fd()), name, value[:n], 0); err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	fd := int(dst.Fd())
	if err := unix.Fchown(fd, g.o.UID, g.o.GID); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, st.Mode&modeBits); err != nil {
		return err
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, st.Mtim}
	return unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH)
}
