package filetool

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"syscall"
)

type writeArgs struct {
	Path    string  `json:"path"`
	Content *string `json:"content"`
}

func writeFile(p *place, raw []byte, out *bufio.Writer) error {
	var a writeArgs
	if err := decode(raw, &a); err != nil {
		return err
	}
	if a.Content == nil {
		return fail(codeUsage, "content is missing")
	}
	rel, err := p.rel(a.Path)
	if err != nil {
		return err
	}
	if strings.HasSuffix(a.Path, "/") {
		return fail(codeUsage, "%q ends with a slash: want the path of a file", a.Path)
	}
	target, old, err := p.target(a.Path, rel)
	if err != nil {
		return err
	}
	if err := p.replace(a.Path, target, old, []byte(*a.Content)); err != nil {
		return err
	}
	did := "created"
	if old != nil {
		did = "replaced"
	}
	_, err = fmt.Fprintf(out, "%s %s: %d bytes, %d lines\n", did, a.Path, len(*a.Content), countLines(*a.Content))
	return err
}

func countLines(s string) int {
	n := strings.Count(s, "\n")
	if s != "" && !strings.HasSuffix(s, "\n") {
		n++
	}
	return n
}

// replace puts content at rel in one step: a temporary file beside it is renamed
// over it. old describes what is there now, nil for nothing. Another hard link
// to the old file keeps the old content.
func (p *place) replace(name, rel string, old fs.FileInfo, content []byte) error {
	mode := fs.FileMode(0o666) // less the umask
	if old != nil {
		if err := regular(name, old); err != nil {
			return err
		}
		mode = old.Mode().Perm()
		if mode&0o222 == 0 {
			return fail(codeDenied, "%q is write-protected (mode %04o): change its mode first if that is meant", name, mode)
		}
	} else if dir := path.Dir(rel); dir != "." {
		if err := p.root.MkdirAll(dir, 0o777); err != nil {
			return explain(name, err)
		}
	}
	tmp, f, err := p.temporary(rel, mode)
	if err != nil {
		return explain(name, err)
	}
	_, err = f.Write(content)
	if err == nil && old != nil {
		err = f.Chmod(mode) // the umask must not take away what the old file had
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && old != nil {
		err = p.unchanged(name, rel, old)
	}
	if err == nil {
		err = p.root.Rename(tmp, rel)
	}
	if err != nil {
		if rerr := p.root.Remove(tmp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			return errors.Join(explain(name, err), explain(tmp, rerr))
		}
		return explain(name, err)
	}
	return nil
}

// temporary makes a new file beside rel.
func (p *place) temporary(rel string, mode fs.FileMode) (string, *os.File, error) {
	dir, _ := path.Split(rel)
	for try := 0; ; try++ {
		// O_EXCL makes the name safe, it need not be secret.
		tmp := fmt.Sprintf("%s.sandgate-tmp-%016x", dir, rand.Uint64()) // #nosec G404
		f, err := p.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, mode)
		if err == nil || !errors.Is(err, fs.ErrExist) || try == 10 {
			return tmp, f, err
		}
	}
}

// unchanged fails when rel is not the file that old describes any more.
func (p *place) unchanged(name, rel string, old fs.FileInfo) error {
	now, err := p.root.Lstat(rel)
	if err != nil {
		return err
	}
	if !os.SameFile(old, now) || now.Size() != old.Size() || !now.ModTime().Equal(old.ModTime()) {
		return fail(codeChanged, "%q was changed by somebody else meanwhile: read it again", name)
	}
	return nil
}
