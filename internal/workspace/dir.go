package workspace

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Bounds of names, as Linux has them.
const (
	maxPathBytes = 4096
	maxNameBytes = 255
)

// tempPrefix is how files begin that are on their way. They are not packed.
const tempPrefix = ".sandgate-upload-"

// Dir is an open workspace. It is safe for concurrent use, also beside programs
// that work in it.
type Dir struct {
	root     *os.Root
	uid, gid int
	chown    bool // what is made has to be given away
}

// Open opens the workspace at a directory of the machine. Whoever owns the
// directory owns what is written.
func Open(dir string) (*Dir, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open workspace: %w", mapped(err))
	}
	info, err := root.Stat(".")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open workspace: %w", mapped(err)), root.Close())
	}
	d := &Dir{root: root}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		d.uid, d.gid = int(st.Uid), int(st.Gid)
		d.chown = d.uid != os.Geteuid() || d.gid != os.Getegid()
	}
	return d, nil
}

// OpenOwn opens a directory that is no workspace of the daemon's, such as the one that a
// person's download goes to: what is written belongs to whoever runs this process, as
// everything else that they write there, also in a directory of somebody else.
func OpenOwn(dir string) (*Dir, error) {
	d, err := Open(dir)
	if err != nil {
		return nil, err
	}
	d.chown = false
	return d, nil
}

// Close closes the workspace.
func (d *Dir) Close() error {
	if err := d.root.Close(); err != nil {
		return fmt.Errorf("close workspace: %w", err)
	}
	return nil
}

// Written is what a file was written with.
type Written struct {
	Bytes  int64
	Digest string // "sha256:…"
}

// Write makes or replaces one regular file, with its parents where they are
// missing. It appears under its name when it is whole; whatever was there under
// that name, but a directory, is replaced and not followed. More than most bytes
// are errdefs.ErrResourceExhausted, as is a full disk; a path that leaves the
// workspace is errdefs.ErrInvalidArgument. After an error nothing has changed but
// for missing parents.
func (d *Dir) Write(ctx context.Context, name string, mode fs.FileMode, from io.Reader, most int64) (w Written, err error) {
	if name, err = localPath(name); err != nil {
		return Written{}, err
	}
	if name == "." {
		return Written{}, fmt.Errorf("path %q is the workspace itself: want a file: %w", name, errdefs.ErrInvalidArgument)
	}
	if err := d.mkdirAll(path.Dir(name)); err != nil {
		return Written{}, err
	}
	if info, err := d.root.Lstat(name); err == nil && info.IsDir() {
		return Written{}, fmt.Errorf("%s is a directory: %w", name, errdefs.ErrInvalidArgument)
	}
	temp := path.Join(path.Dir(name), tempPrefix+rand.Text())
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Written{}, fmt.Errorf("write %s: %w", name, mapped(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.root.Remove(temp))
		}
	}()
	w, err = fill(ctx, f, from, most)
	if err == nil {
		err = d.own(f, mode.Perm())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return Written{}, fmt.Errorf("write %s: %w", name, mapped(err))
	}
	if err = d.root.Rename(temp, name); err != nil {
		return Written{}, fmt.Errorf("write %s: %w", name, mapped(err))
	}
	return w, nil
}

// own gives an open file its owner and its mode.
func (d *Dir) own(f *os.File, mode fs.FileMode) error {
	if d.chown {
		if err := f.Chown(d.uid, d.gid); err != nil {
			return fmt.Errorf("give it to the workspace's owner: %w", err)
		}
	}
	if err := f.Chmod(mode); err != nil {
		return fmt.Errorf("set its mode: %w", err)
	}
	return nil
}

// fill copies at most most bytes into a file and hashes them.
func fill(ctx context.Context, f *os.File, from io.Reader, most int64) (Written, error) {
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(&reader{ctx, from}, most+1))
	if err != nil {
		return Written{}, fmt.Errorf("copy: %w", err)
	}
	if n > most {
		return Written{}, tooLarge(most)
	}
	return Written{Bytes: n, Digest: digest(sum)}, nil
}

func tooLarge(most int64) error {
	return fmt.Errorf("more than %d bytes, the most that is left or taken at once: %w", most, errdefs.ErrResourceExhausted)
}

func digest(sum hash.Hash) string { return "sha256:" + hex.EncodeToString(sum.Sum(nil)) }

// Read opens a regular file at an offset; size is its size now. Anything but a
// regular file is errdefs.ErrFailedPrecondition, a missing one errdefs.ErrNotFound,
// an offset behind its end errdefs.ErrOutOfRange. The caller closes it.
func (d *Dir) Read(name string, offset int64) (file io.ReadCloser, size int64, err error) {
	if name, err = localPath(name); err != nil {
		return nil, 0, err
	}
	f, info, err := d.open(name)
	if err != nil {
		return nil, 0, err
	}
	if offset > info.Size() {
		return nil, 0, errors.Join(fmt.Errorf("offset %d is behind the end of %s, which has %d bytes: %w", offset, name, info.Size(), errdefs.ErrOutOfRange), f.Close())
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("read %s: %w", name, mapped(err)), f.Close())
	}
	return f, info.Size(), nil
}

// open opens a regular file for reading. It looks first: opening a device or a
// named pipe can do something.
func (d *Dir) open(name string) (*os.File, fs.FileInfo, error) {
	info, err := d.root.Stat(name)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", name, mapped(err))
	}
	if !info.Mode().IsRegular() {
		return nil, nil, notRegular(name, info.Mode())
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", name, mapped(err))
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = notRegular(name, info.Mode()) // it was exchanged
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read %s: %w", name, mapped(err)), f.Close())
	}
	return f, info, nil
}

func notRegular(name string, mode fs.FileMode) error {
	return fmt.Errorf("%s is no regular file (%s): %w", name, mode.Type(), errdefs.ErrFailedPrecondition)
}

// mkdirAll makes a directory and its parents, each the workspace's owner's.
func (d *Dir) mkdirAll(dir string) error {
	if dir == "." {
		return nil
	}
	if info, err := d.root.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is no directory: %w", dir, errdefs.ErrFailedPrecondition)
		}
		return nil
	}
	if err := d.mkdirAll(path.Dir(dir)); err != nil {
		return err
	}
	return d.mkdir(dir, 0o755)
}

// mkdir makes one directory; one that is there is left as it is.
func (d *Dir) mkdir(dir string, mode fs.FileMode) error {
	err := d.root.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil && d.chown {
		err = d.root.Lchown(dir, d.uid, d.gid)
	}
	if err == nil {
		err = d.root.Chmod(dir, mode)
	}
	if err != nil {
		return fmt.Errorf("make directory %s: %w", dir, mapped(err))
	}
	return nil
}

// localPath is a path relative to the workspace in its shortest form.
func localPath(name string) (string, error) {
	bad := ""
	switch {
	case name == "":
		bad = "is empty"
	case len(name) > maxPathBytes:
		bad = fmt.Sprintf("has %d bytes, at most %d can be", len(name), maxPathBytes)
	case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		bad = "is no text without NUL"
	case !filepath.IsLocal(name):
		bad = "leaves the workspace"
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > maxNameBytes {
			bad = fmt.Sprintf("has a name of %d bytes, at most %d can be", len(part), maxNameBytes)
		}
	}
	if bad != "" {
		return "", fmt.Errorf("path %.200q %s: want one relative to the workspace: %w", name, bad, errdefs.ErrInvalidArgument)
	}
	return path.Clean(name), nil
}

// mapped gives an error of the file system the meaning that it has for a host.
func mapped(err error) error {
	var kind error
	switch {
	case err == nil, errdefs.IsInvalidArgument(err), errdefs.IsResourceExhausted(err), errdefs.IsFailedPrecondition(err):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		kind = errdefs.ErrNotFound
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("the workspace is full: %w", errdefs.ErrResourceExhausted) // not where on the machine
	case isEscape(err):
		return fmt.Errorf("a symbolic link on the way leads out of the workspace: %w", errdefs.ErrFailedPrecondition)
	case errors.Is(err, unix.EFBIG), errors.Is(err, unix.ENAMETOOLONG):
		kind = errdefs.ErrInvalidArgument
	case errors.Is(err, unix.ELOOP):
		return fmt.Errorf("there are too many symbolic links on the way: %w", errdefs.ErrFailedPrecondition)
	case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrPermission):
		kind = errdefs.ErrFailedPrecondition
	default:
		return err
	}
	return fmt.Errorf("%w: %w", kind, err)
}

// isEscape reports os.Root's refusal to leave its directory, which has no type.
func isEscape(err error) bool {
	pe, ok := errors.AsType[*fs.PathError](err)
	return ok && strings.Contains(pe.Err.Error(), "escapes from parent")
}

// reader ends with its context.
type reader struct {
	ctx  context.Context //nolint:containedctx // one copy's
	from io.Reader
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.from.Read(p) //nolint:wrapcheck // io.EOF must stay what it is
}
