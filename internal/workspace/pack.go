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
	"syscall"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Limits bound a tree that is packed, unpacked or looked through. 0 is no bound.
type Limits struct {
	Bytes int64 // of the contents of files
	Files int64 // entries of any kind
}

// Totals are what a tree has.
type Totals struct {
	Bytes int64 // of the contents of files
	Files int64 // entries of any kind
	// Skipped are entries that were left out: sockets, named pipes, devices.
	Skipped int64
}

func (t *Totals) add(limits Limits, bytes int64) error {
	t.Files++
	t.Bytes += bytes
	switch {
	case limits.Files > 0 && t.Files > limits.Files:
		return fmt.Errorf("more than %d files: %w", limits.Files, errdefs.ErrResourceExhausted)
	case limits.Bytes > 0 && t.Bytes > limits.Bytes:
		return fmt.Errorf("files of more than %d bytes together: %w", limits.Bytes, errdefs.ErrResourceExhausted)
	}
	return nil
}

// maxDepth bounds how deep a tree may be.
const maxDepth = 256

// Pack writes a directory of the workspace, or one file, as a tar stream in a fixed
// order: names relative to it, modes without set-user-id bits, times, symbolic and
// hard links, and no owners. A file that changes while it is read is
// errdefs.ErrAborted.
func (d *Dir) Pack(ctx context.Context, under string, to io.Writer, limits Limits) (Totals, error) {
	under, err := localPath(under)
	if err != nil {
		return Totals{}, err
	}
	p := &packer{dir: d, ctx: ctx, limits: limits, out: tar.NewWriter(to), links: map[inode]string{}}
	info, err := d.root.Stat(under)
	if err != nil {
		return Totals{}, fmt.Errorf("pack %s: %w", under, mapped(err))
	}
	if info.IsDir() {
		err = p.children(under, "", 0)
	} else {
		err = p.entry(under, path.Base(under), 0)
	}
	if err == nil {
		err = p.out.Close()
	}
	if err != nil {
		return p.totals, fmt.Errorf("pack %s: %w", under, mapped(err))
	}
	return p.totals, nil
}

type inode struct{ dev, ino uint64 }

type packer struct {
	dir    *Dir
	ctx    context.Context //nolint:containedctx // of one Pack
	limits Limits
	out    *tar.Writer
	links  map[inode]string // names of files that have several
	totals Totals
}

// children packs what is in a directory; as is the directory's name in the archive.
func (p *packer) children(dir, as string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s is more than %d directories deep: %w", dir, maxDepth, errdefs.ErrResourceExhausted)
	}
	names, err := p.dir.names(dir, p.limits, p.totals.Files)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, tempPrefix) {
			continue
		}
		if err := p.entry(path.Join(dir, name), path.Join(as, name), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// namesAtOnce is how many names of a directory are read at a time.
const namesAtOnce = 4096

// names are the entries of a directory, sorted. Those of a directory that has more than
// is left within the limits, of which some are used up, are not all held in memory.
// What was a directory a moment ago may be a named pipe now: it is not waited for.
func (d *Dir) names(dir string, limits Limits, used int64) ([]string, error) {
	f, err := d.root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dir, err)
	}
	var names []string
	for err == nil {
		var some []string
		some, err = f.Readdirnames(namesAtOnce)
		names = append(names, some...)
		if limits.Files > 0 && used+int64(len(names)) > limits.Files+1 { // one may be an upload's
			err = fmt.Errorf("more than %d files: %w", limits.Files, errdefs.ErrResourceExhausted)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dir, err)
	}
	slices.Sort(names)
	return names, nil
}

func (p *packer) entry(at, as string, depth int) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	info, err := p.dir.root.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it went meanwhile
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", at, err)
	}
	switch {
	case info.IsDir():
		if err := p.header(info, as, ""); err != nil {
			return err
		}
		return p.children(at, as, depth)
	case info.Mode().IsRegular():
		return p.file(at, as)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := p.dir.root.Readlink(at)
		if err != nil {
			return fmt.Errorf("read link %s: %w", at, err)
		}
		return p.header(info, as, target)
	}
	p.totals.Skipped++
	return nil
}

func (p *packer) header(info fs.FileInfo, as, link string) error {
	h, err := plainHeader(info, as, link)
	if err != nil {
		return err
	}
	if err := p.totals.add(p.limits, h.Size); err != nil {
		return err
	}
	if err := p.out.WriteHeader(h); err != nil {
		return fmt.Errorf("pack %s: %w", as, err)
	}
	return nil
}

// plainHeader tells of an entry nothing but its own content, mode and time.
func plainHeader(info fs.FileInfo, as, link string) (*tar.Header, error) {
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", as, err)
	}
	h.Name, h.Format = as, tar.FormatPAX
	if info.IsDir() {
		h.Name += "/"
	}
	h.Mode &= 0o777
	h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", ""
	h.AccessTime, h.ChangeTime = h.ModTime, h.ModTime
	h.PAXRecords = nil
	return h, nil
}

func (p *packer) file(at, as string) error {
	f, info, err := p.dir.open(at)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
		id := inode{st.Dev, st.Ino}
		if first, ok := p.links[id]; ok {
			return p.link(info, as, first)
		}
		p.links[id] = as
	}
	if err := p.header(info, as, ""); err != nil {
		return err
	}
	n, err := io.CopyN(p.out, &reader{p.ctx, f}, info.Size())
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s became shorter while it was read, %d of %d bytes: try again: %w", at, n, info.Size(), errdefs.ErrAborted)
	}
	if err != nil {
		return fmt.Errorf("pack %s: %w", at, err)
	}
	return nil
}

// link packs another name of a file that is packed already.
func (p *packer) link(info fs.FileInfo, as, first string) error {
	h, err := plainHeader(info, as, "")
	if err != nil {
		return err
	}
	h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
	if err := p.totals.add(p.limits, 0); err != nil {
		return err
	}
	if err := p.out.WriteHeader(h); err != nil {
		return fmt.Errorf("pack %s: %w", as, err)
	}
	return nil
}
