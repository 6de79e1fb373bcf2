package workspace

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

// Unpack makes the entries of a tar stream in a directory of the workspace, which
// is made if it is missing. Files, directories, symbolic links and hard links
// within the archive are taken; anything else, a name that leaves the directory and
// a stream that is no tar are errdefs.ErrInvalidArgument and end it. An entry
// replaces what has its name, but a directory only merges with one. What was
// unpacked before an error stays.
func (d *Dir) Unpack(ctx context.Context, under string, from io.Reader, limits Limits) (Totals, error) {
	under, err := localPath(under)
	if err != nil {
		return Totals{}, err
	}
	if err := d.mkdirAll(under); err != nil {
		return Totals{}, err
	}
	u := &unpacker{dir: d, ctx: ctx, under: under, limits: limits}
	if err := u.all(tar.NewReader(&reader{ctx, from})); err != nil {
		return u.totals, fmt.Errorf("unpack: %w", mapped(err))
	}
	return u.totals, nil
}

type unpacker struct {
	dir    *Dir
	ctx    context.Context //nolint:containedctx // of one Unpack
	under  string
	limits Limits
	totals Totals
	dirs   []madeDir // whose modes and times are set at the end
}

// madeDir is what is kept of a directory's entry until then; the whole header can be
// as large as its sender likes.
type madeDir struct {
	at       string
	mode     fs.FileMode
	modified time.Time
}

func (u *unpacker) all(in *tar.Reader) error {
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return u.finish()
		}
		if err != nil {
			if u.ctx.Err() != nil {
				return context.Cause(u.ctx)
			}
			return fmt.Errorf("this is no tar stream without compression (after %d entries: %v): %w", u.totals.Files, err, errdefs.ErrInvalidArgument)
		}
		if err := u.entry(in, h); err != nil {
			return err
		}
	}
}

func (u *unpacker) entry(in io.Reader, h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil // comments, as git archive makes them
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
	default:
		return fmt.Errorf("entry %.200q has the type %q: want files, directories and links: %w", h.Name, h.Typeflag, errdefs.ErrInvalidArgument)
	}
	name, err := localPath(h.Name)
	if err != nil {
		return err
	}
	if strings.Count(name, "/") > maxDepth {
		return fmt.Errorf("entry %.200q is more than %d directories deep: %w", name, maxDepth, errdefs.ErrInvalidArgument)
	}
	if h.Size < 0 {
		return fmt.Errorf("entry %.200q has a negative size: %w", name, errdefs.ErrInvalidArgument)
	}
	if err := u.totals.add(u.limits, h.Size); err != nil {
		return err
	}
	at := path.Join(u.under, name)
	if name == "." {
		return nil // the directory itself, which is there
	}
	if err := u.dir.mkdirAll(path.Dir(at)); err != nil {
		return err
	}
	if err := u.clear(at, h.Typeflag == tar.TypeDir); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		u.dirs = append(u.dirs, madeDir{at, fs.FileMode(h.Mode).Perm(), h.ModTime}) //nolint:gosec // permission bits
		return u.dir.mkdir(at, 0o700)
	case tar.TypeSymlink:
		return u.symlink(at, h)
	case tar.TypeLink:
		return u.link(at, h)
	}
	return u.file(in, at, h)
}

// clear takes away what is under the name of an entry.
func (u *unpacker) clear(at string, forDir bool) error {
	info, err := u.dir.root.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.IsDir() && forDir:
		return nil
	case err != nil:
		return fmt.Errorf("look at %s: %w", at, err)
	case info.IsDir():
		return fmt.Errorf("%s is a directory, and an entry that is none has its name: %w", at, errdefs.ErrFailedPrecondition)
	}
	if err := u.dir.root.Remove(at); err != nil {
		return fmt.Errorf("replace %s: %w", at, err)
	}
	return nil
}

func (u *unpacker) file(in io.Reader, at string, h *tar.Header) error {
	f, err := u.dir.root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make %s: %w", at, err)
	}
	n, err := io.Copy(f, in)
	if err == nil && n != h.Size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = u.dir.own(f, fs.FileMode(h.Mode).Perm()) //nolint:gosec // permission bits
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", at, err)
	}
	return u.times(at, h.ModTime)
}

func (u *unpacker) symlink(at string, h *tar.Header) error {
	if h.Linkname == "" || len(h.Linkname) >= maxPathBytes || strings.ContainsRune(h.Linkname, 0) {
		return fmt.Errorf("link %s has a target of %d bytes: %w", at, len(h.Linkname), errdefs.ErrInvalidArgument)
	}
	// Where it leads to matters to nobody here: no link is followed out of the workspace.
	if err := u.dir.root.Symlink(h.Linkname, at); err != nil {
		return fmt.Errorf("link %s: %w", at, err)
	}
	return u.give(at)
}

func (u *unpacker) link(at string, h *tar.Header) error {
	target, err := localPath(h.Linkname)
	if err != nil {
		return fmt.Errorf("link %s: %w", at, err)
	}
	target = path.Join(u.under, target)
	if info, err := u.dir.root.Lstat(target); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("link %s: its target %s is no file of the archive: %w", at, target, errdefs.ErrInvalidArgument)
	}
	if err := u.dir.root.Link(target, at); err != nil {
		return fmt.Errorf("link %s: %w", at, err)
	}
	return nil
}

func (u *unpacker) give(at string) error {
	if !u.dir.chown {
		return nil
	}
	if err := u.dir.root.Lchown(at, u.dir.uid, u.dir.gid); err != nil {
		return fmt.Errorf("give %s to the workspace's owner: %w", at, err)
	}
	return nil
}

func (u *unpacker) times(at string, modified time.Time) error {
	if modified.IsZero() {
		return nil
	}
	if err := u.dir.root.Chtimes(at, modified, modified); err != nil {
		return fmt.Errorf("set the time of %s: %w", at, err)
	}
	return nil
}

// finish gives directories their modes and times, the deepest first: a mode can
// forbid to write in them, and writing changes their times.
func (u *unpacker) finish() error {
	for _, made := range slices.Backward(u.dirs) {
		if info, err := u.dir.root.Lstat(made.at); err != nil || !info.IsDir() {
			continue // a later entry took its place
		}
		if err := u.dir.root.Chmod(made.at, made.mode|0o700); err != nil {
			return fmt.Errorf("set the mode of %s: %w", made.at, err)
		}
		if err := u.times(made.at, made.modified); err != nil {
			return err
		}
	}
	return nil
}
