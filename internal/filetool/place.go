package filetool

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// Bounds of paths.
const (
	maxPathBytes = 4096
	maxLinks     = 40 // as in the kernel
)

// place is the workspace that a tool works in. All access goes through root,
// which resolves every path beneath the workspace whatever happens to it
// meanwhile.
type place struct {
	root *os.Root
	cwd  string // relative to the workspace; "" when it is not inside
	in   bool   // the working directory is inside the workspace
}

func openPlace(dir, cwd string) (*place, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fail(codeIO, "the workspace cannot be opened: %v", err)
	}
	rel, in := below(cwd)
	return &place{root: root, cwd: rel, in: in}, nil
}

func (p *place) close() error { return p.root.Close() }

// below returns the part of an absolute path under the workspace, "." for the
// workspace itself. It compares text only: ".." is left to the resolution.
func below(abs string) (string, bool) {
	if !strings.HasPrefix(abs, "/") {
		return "", false
	}
	rest, ok := strings.CutPrefix("/"+strings.TrimLeft(abs, "/"), workspacePath)
	if !ok || (rest != "" && rest[0] != '/') {
		return "", false
	}
	if rest = strings.TrimLeft(rest, "/"); rest == "" {
		return ".", true
	}
	return rest, true
}

// rel returns the name, as a tool's argument gives it, relative to the
// workspace. ".." in it is kept: it means what the kernel would make of it.
func (p *place) rel(name string) (string, error) {
	switch {
	case name == "":
		return "", fail(codeUsage, "the path is empty")
	case strings.ContainsRune(name, 0):
		return "", fail(codeUsage, "the path contains a NUL character")
	case len(name) > maxPathBytes:
		return "", fail(codeUsage, "the path has %d bytes: at most %d", len(name), maxPathBytes)
	}
	if strings.HasPrefix(name, "/") {
		rest, ok := below(name)
		if !ok {
			return "", fail(codeOutside, "%q is not under %s: file tools work there only", name, workspacePath)
		}
		return p.checked(name, rest)
	}
	if !p.in {
		return "", fail(codeOutside, "the working directory is not under %s: give an absolute path under it", workspacePath)
	}
	return p.checked(name, p.cwd+"/"+name)
}

// checked refuses a path that leaves the workspace by its text alone, so that it
// is told from one that does so through a link.
func (p *place) checked(name, rel string) (string, error) {
	depth := 0
	for part := range strings.SplitSeq(rel, "/") {
		switch part {
		case "", ".":
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return "", fail(codeOutside, "%q leads out of %s: file tools work there only", name, workspacePath)
		}
	}
	return strings.TrimPrefix(rel, "./"), nil
}

// open opens what may be anything for reading, without ever blocking on it.
func (p *place) open(rel string) (*os.File, fs.FileInfo, error) {
	f, err := p.root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// openRegular opens a regular file for reading.
func (p *place) openRegular(name, rel string) (*os.File, fs.FileInfo, error) {
	f, info, err := p.open(rel)
	if err != nil {
		return nil, nil, explain(name, err)
	}
	if err := regular(name, info); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

func regular(name string, info fs.FileInfo) error {
	switch {
	case info.Mode().IsRegular():
		return nil
	case info.IsDir():
		return fail(codeIsDir, "%q is a directory: use list_dir", name)
	}
	return fail(codeIrregular, "%q is no regular file but %s", name, kindOf(info.Mode()))
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	}
	return "of an unknown kind"
}

// target follows symbolic links in the last element of rel, so that writing to a
// link writes to the file that it names, as a program would. What does not exist
// is its own target.
func (p *place) target(name, rel string) (string, fs.FileInfo, error) {
	for range maxLinks {
		info, err := p.root.Lstat(rel)
		if errors.Is(err, fs.ErrNotExist) {
			return rel, nil, nil
		}
		if err != nil {
			return "", nil, explain(name, err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return rel, info, nil
		}
		to, err := p.root.Readlink(rel)
		if err != nil {
			return "", nil, explain(name, err)
		}
		if path.IsAbs(to) {
			return "", nil, explain(name, errEscapes)
		}
		dir, _ := path.Split(strings.TrimRight(rel, "/"))
		// The link's own directory may itself be reached through links: only the
		// resolution beneath the root decides where it leads.
		rel = dir + to
	}
	return "", nil, fail(codeSymlink, "%q goes through too many symbolic links", name)
}

var errEscapes = errors.New("path escapes from parent")
