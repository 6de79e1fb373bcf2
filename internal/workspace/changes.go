package workspace

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Changes are paths relative to the workspace, sorted.
type Changes struct {
	Created, Modified, Deleted []string
	// Truncated says that there were more than were asked for.
	Truncated bool
	// Blind says that deleted files could not be found out.
	Blind bool
}

func (c *Changes) add(list *[]string, name string, most int) {
	if len(c.Created)+len(c.Modified)+len(c.Deleted) >= most {
		c.Truncated = true
		return
	}
	*list = append(*list, name)
}

func (c *Changes) sort() *Changes {
	for _, list := range [][]string{c.Created, c.Modified, c.Deleted} {
		slices.Sort(list)
	}
	return c
}

// ChangedFrom compares the workspace with a snapshot, at most most paths of it. A
// file counts as modified when its content, mode or link target differs.
// Directories count when they come or go. Nothing should work in the workspace
// meanwhile.
func (d *Dir) ChangedFrom(ctx context.Context, snapshot io.Reader, most int) (*Changes, error) {
	out := &Changes{}
	known := map[string]bool{}
	in := tar.NewReader(&reader{ctx, snapshot})
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read snapshot: %w", err)
		}
		name := path.Clean(h.Name)
		known[name] = true
		now, err := d.root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
			out.add(&out.Deleted, name, most)
			continue
		case err != nil:
			return nil, fmt.Errorf("look at %s: %w", name, mapped(err))
		}
		same, err := d.same(name, h, now, in)
		if err != nil {
			return nil, err
		}
		if !same {
			out.add(&out.Modified, name, most)
		}
	}
	if err := Verified(snapshot); err != nil {
		return nil, err
	}
	err := d.walk(ctx, ".", 0, func(name string, info fs.FileInfo) error {
		packed := info.Mode().Type()&^(fs.ModeDir|fs.ModeSymlink) == 0
		if packed && !known[name] {
			out.add(&out.Created, name, most)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out.sort(), nil
}

// same reports whether an entry of a snapshot is what is there now.
func (d *Dir) same(name string, h *tar.Header, now fs.FileInfo, content io.Reader) (bool, error) {
	switch h.Typeflag {
	case tar.TypeDir:
		return now.IsDir(), nil
	case tar.TypeSymlink:
		if now.Mode()&fs.ModeSymlink == 0 {
			return false, nil
		}
		target, err := d.root.Readlink(name)
		return err == nil && target == h.Linkname, nil
	case tar.TypeLink: // its content was compared under its first name
		return now.Mode().IsRegular() && now.Mode().Perm() == fs.FileMode(h.Mode).Perm(), nil //nolint:gosec // permission bits
	}
	if !now.Mode().IsRegular() || now.Size() != h.Size || now.Mode().Perm() != fs.FileMode(h.Mode).Perm() { //nolint:gosec // likewise
		return false, nil
	}
	f, _, err := d.open(name)
	if err != nil {
		return false, nil //nolint:nilerr // it went, or is no file any more: it has changed
	}
	defer f.Close() //nolint:errcheck // only read
	return equal(f, content)
}

func equal(a, b io.Reader) (bool, error) {
	var x, y [32 << 10]byte
	for {
		n, err := io.ReadFull(b, y[:])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, fmt.Errorf("read snapshot: %w", err)
		}
		m, aerr := io.ReadFull(a, x[:])
		if aerr != nil && !errors.Is(aerr, io.EOF) && !errors.Is(aerr, io.ErrUnexpectedEOF) {
			return false, fmt.Errorf("compare: %w", aerr)
		}
		if !bytes.Equal(x[:m], y[:n]) {
			return false, nil
		}
		if err != nil {
			return true, nil
		}
	}
}

// clockTick is by how much the times of files may be behind: the kernel takes them
// from a clock that goes by ticks.
const clockTick = 10 * time.Millisecond

// ChangedSince lists the files that were made or changed at or after a time, by the
// times that the kernel keeps and no program of a cell can set back: at most most
// paths. Deleted files it cannot know.
func (d *Dir) ChangedSince(ctx context.Context, since time.Time, most int) (*Changes, error) {
	out := &Changes{Blind: true}
	since = since.Add(-clockTick)
	err := d.walk(ctx, ".", 0, func(name string, info fs.FileInfo) error {
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || info.IsDir() || before(time.Unix(st.Ctim.Unix()), since) {
			return nil
		}
		if born, ok := d.born(name); ok && !before(born, since) {
			out.add(&out.Created, name, most)
		} else {
			out.add(&out.Modified, name, most)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out.sort(), nil
}

// before reports whether a time of a file is before another one for sure. Some file
// systems keep whole seconds: a time without a fraction stands for all of its second.
func before(file, since time.Time) bool {
	if file.Nanosecond() == 0 {
		since = since.Truncate(time.Second)
	}
	return file.Before(since)
}

// born is when a file was made, where the file system keeps it.
func (d *Dir) born(name string) (time.Time, bool) {
	dir, err := d.root.OpenFile(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return time.Time{}, false
	}
	defer dir.Close() //nolint:errcheck // only looked through
	var st unix.Statx_t
	err = unix.Statx(int(dir.Fd()), path.Base(name), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}, false
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)), true
}

// maxLooked bounds the names in one directory that is looked through.
const maxLooked = 1 << 20

// walk visits everything beneath a directory, parents first.
func (d *Dir) walk(ctx context.Context, dir string, depth int, visit func(string, fs.FileInfo) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if depth > maxDepth {
		return fmt.Errorf("%s is more than %d directories deep: %w", dir, maxDepth, errdefs.ErrResourceExhausted)
	}
	names, err := d.names(dir, Limits{Files: maxLooked}, 0)
	if err != nil {
		return mapped(err)
	}
	for _, base := range names {
		if strings.HasPrefix(base, tempPrefix) {
			continue
		}
		name := path.Join(dir, base)
		info, err := d.root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look at %s: %w", name, mapped(err))
		}
		if err := visit(name, info); err != nil {
			return err
		}
		if info.IsDir() {
			if err := d.walk(ctx, name, depth+1, visit); err != nil {
				return err
			}
		}
	}
	return nil
}
