package facts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"time"
)

// FS gives read-only lookups in a workspace. Names are slash-separated, relative to its root, clean, and "." is the
// root itself. An implementation MUST NOT follow a symlink in any component of a name: the analysis resolves them
// itself, one component at a time. Methods must be safe for concurrent use.
type FS interface {
	// Lstat describes the named file. An error that is fs.ErrNotExist means that it is known not to exist;
	// any other error means that nothing is known.
	Lstat(name string) (fs.FileInfo, error)
	// Readlink returns the target of the named symlink.
	Readlink(name string) (string, error)
}

// DirFS is an FS that can list a directory too. Without it nothing is known about the matches of a glob.
type DirFS interface {
	FS
	// ReadDirNames returns at most limit names of the directory, and whether there are more.
	ReadDirNames(name string, limit int) (names []string, more bool, err error)
}

// OSRoot is a workspace directory of the machine. It never leaves that directory.
type OSRoot struct {
	root *os.Root
}

var _ DirFS = (*OSRoot)(nil)

// OpenOSRoot opens dir. The caller must Close it.
func OpenOSRoot(dir string) (*OSRoot, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open workspace root: %w", err)
	}
	return &OSRoot{root: root}, nil
}

// Close releases the directory. Lookups afterwards fail, so that nothing is known.
func (r *OSRoot) Close() error { return r.root.Close() }

// Lstat implements [FS].
func (r *OSRoot) Lstat(name string) (fs.FileInfo, error) { return r.root.Lstat(name) }

// Readlink implements [FS].
func (r *OSRoot) Readlink(name string) (string, error) { return r.root.Readlink(name) }

// ReadDirNames implements [DirFS].
func (r *OSRoot) ReadDirNames(name string, limit int) (names []string, more bool, err error) {
	f, err := r.root.Open(name)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	entries, err := f.ReadDir(limit + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) > limit {
		return names[:limit], true, nil
	}
	return names, false, nil
}

// MemFS is a workspace that is given as data: the files and symlinks of a scenario file. It is immutable.
type MemFS struct {
	nodes map[string]memNode
}

var _ DirFS = (*MemFS)(nil)

type memNode struct {
	name string
	mode fs.FileMode
	body string // content or target
}

// NewMemFS makes a workspace of files (path to content) and symlinks (path to target). Paths are relative to the
// workspace; directories come by themselves, and a file path with a trailing slash is an empty directory.
func NewMemFS(files, symlinks map[string]string) *MemFS {
	m := &MemFS{nodes: map[string]memNode{".": {name: ".", mode: fs.ModeDir | 0o755}}}
	add := func(name string, mode fs.FileMode, body string) {
		clean := strings.TrimPrefix(path.Clean("/"+name), "/")
		if clean == "" {
			return
		}
		for dir := path.Dir(clean); dir != "."; dir = path.Dir(dir) {
			if _, ok := m.nodes[dir]; !ok {
				m.nodes[dir] = memNode{name: path.Base(dir), mode: fs.ModeDir | 0o755}
			}
		}
		m.nodes[clean] = memNode{name: path.Base(clean), mode: mode, body: body}
	}
	for _, name := range sortedKeys(files) {
		if strings.HasSuffix(name, "/") {
			add(name, fs.ModeDir|0o755, "")
			continue
		}
		add(name, 0o644, files[name])
	}
	for _, name := range sortedKeys(symlinks) {
		add(name, fs.ModeSymlink|0o777, symlinks[name])
	}
	return m
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// Lstat implements [FS].
func (m *MemFS) Lstat(name string) (fs.FileInfo, error) {
	n, ok := m.nodes[name]
	if !ok {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
	}
	return memInfo{n}, nil
}

// Readlink implements [FS].
func (m *MemFS) Readlink(name string) (string, error) {
	n, ok := m.nodes[name]
	if !ok {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrNotExist}
	}
	if n.mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.body, nil
}

// ReadDirNames implements [DirFS].
func (m *MemFS) ReadDirNames(name string, limit int) ([]string, bool, error) {
	n, ok := m.nodes[name]
	if !ok || !n.mode.IsDir() {
		return nil, false, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var names []string
	for p := range m.nodes {
		if p != "." && path.Dir(p) == name {
			names = append(names, path.Base(p))
		}
	}
	slices.Sort(names)
	if len(names) > limit {
		return names[:limit], true, nil
	}
	return names, false, nil
}

type memInfo struct{ n memNode }

func (i memInfo) Name() string       { return i.n.name }
func (i memInfo) Size() int64        { return int64(len(i.n.body)) }
func (i memInfo) Mode() fs.FileMode  { return i.n.mode }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return i.n.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }
