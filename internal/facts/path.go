package facts

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// AnalyzePath derives the facts of a path that a tool names: op is what the tool does with it, name is as the caller
// wrote it, relative to opts.Cwd or absolute in the cell.
func AnalyzePath(op, name string, opts Options) File {
	opts = opts.withDefaults()
	f := File{Op: op, Path: name}
	if name == "" || strings.ContainsRune(name, 0) || !path.IsAbs(opts.Cwd) {
		return f
	}
	r := newResolver(opts)
	p := r.facts(opts.Cwd, name)
	f.Abs, f.Real, f.Exists, f.Kind, f.InWorkspace = p.Path, p.Real, p.Exists, p.Kind, p.InWorkspace
	return f
}

// resolver walks paths as the kernel would, in a cell of which only the workspace can be seen.
type resolver struct {
	root    FS
	ws      string // clean absolute
	lookups int
}

func newResolver(opts Options) *resolver {
	return &resolver{root: opts.Root, ws: path.Clean(opts.WorkspacePath)}
}

const maxSymlinks = 40 // as in the kernel

// within reports whether the clean absolute path p is dir or below it.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// facts resolves name against base.
func (r *resolver) facts(base, name string) PathFacts {
	var f PathFacts
	if name == "" || len(name) > 4096 || strings.ContainsRune(name, 0) {
		return f
	}
	full := name
	if !path.IsAbs(name) {
		full = base + "/" + name // not cleaned: the kernel resolves ".." after symlinks
	}
	f.Path = path.Clean(full)
	w := r.walk(full)
	switch {
	case w.known:
		in := within(w.real, r.ws)
		f.Real, f.InWorkspace = w.real, &in
		if in {
			exists := w.exists
			f.Exists, f.Kind = &exists, w.kind
		}
	case w.outside:
		in := false
		f.InWorkspace = &in
	}
	return f
}

// walked is the end of a walk.
type walked struct {
	real    string
	known   bool // real is where the kernel would end
	outside bool // not known, but the walk left the workspace for good
	exists  bool
	kind    string
}

// walk resolves the absolute path full one component at a time.
func (r *resolver) walk(full string) walked {
	todo := strings.Split(full, "/")
	cur, kind := "/", "dir"
	exists, gone, blind, links := true, false, false, 0
	for len(todo) > 0 {
		step := todo[0]
		todo = todo[1:]
		switch step {
		case "", ".":
			continue
		case "..":
			if blind {
				return walked{} // the directory passed may have been a symlink
			}
			// After a missing directory the kernel gives up; but it may be made before the call runs.
			cur, kind, exists = path.Dir(cur), "dir", true
			continue
		}
		next := path.Join(cur, step)
		if !within(next, r.ws) {
			blind = blind || !within(r.ws, next) // the parents of the mount point are plain directories
			cur = next
			continue
		}
		if next == r.ws || !exists {
			cur = next
			continue
		}
		target, k, st := r.look(next)
		switch st {
		case lookUnknown:
			return walked{}
		case lookMissing:
			exists, gone, kind, cur = false, true, "", next
		case lookLink:
			if links++; links > maxSymlinks {
				return walked{}
			}
			if path.IsAbs(target) {
				cur = "/"
			}
			todo = append(strings.Split(target, "/"), todo...)
		case lookFile:
			cur, kind = next, k
		}
	}
	if blind {
		return walked{outside: true}
	}
	if r.root == nil {
		return walked{outside: !within(cur, r.ws)}
	}
	if gone {
		kind = ""
	}
	return walked{real: cur, known: true, exists: !gone, kind: kind}
}

type lookState int

const (
	lookUnknown lookState = iota
	lookMissing
	lookLink
	lookFile
)

// look describes the clean absolute path p below the workspace, of which all parents are known to be directories.
func (r *resolver) look(p string) (target, kind string, st lookState) {
	r.lookups++
	if r.root == nil || r.lookups > hardLookups {
		return "", "", lookUnknown
	}
	name := r.rel(p)
	info, err := r.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "", lookMissing
	case err != nil:
		return "", "", lookUnknown
	case info.Mode()&fs.ModeSymlink != 0:
		target, err = r.root.Readlink(name)
		if err != nil || target == "" {
			return "", "", lookUnknown
		}
		return target, "", lookLink
	case info.IsDir():
		return "", "dir", lookFile
	case info.Mode().IsRegular():
		return "", "file", lookFile
	}
	return "", "other", lookFile
}

// rel is p relative to the workspace root.
func (r *resolver) rel(p string) string {
	rel := strings.TrimPrefix(strings.TrimPrefix(p, r.ws), "/")
	if rel == "" {
		return "."
	}
	return rel
}

// glob reports whether every match of a pattern, which has glob characters in its last component only, is known to be
// inside the workspace and no match looks like an option; and whether there is no match at all. dir is the static part
// before the last slash; match must be true for at least the names that the pattern matches.
func (r *resolver) glob(base, dir string, match func(name string) bool) (f PathFacts, none bool) {
	d := r.facts(base, dir)
	if d.InWorkspace == nil || !*d.InWorkspace {
		return PathFacts{InWorkspace: d.InWorkspace}, false
	}
	lister, ok := r.root.(DirFS)
	if !ok {
		return PathFacts{}, false
	}
	in := true
	if d.Exists == nil || !*d.Exists || d.Kind != "dir" {
		return PathFacts{InWorkspace: &in}, true // the pattern itself is the word
	}
	names, more, err := lister.ReadDirNames(r.rel(d.Real), hardEntries)
	if err != nil || more {
		return PathFacts{}, false
	}
	none = true
	for _, name := range append(names, "..") { // which .* matches before bash 5.2
		if !match(name) {
			continue
		}
		none = false
		m := r.facts(d.Real, name)
		if m.InWorkspace == nil || !*m.InWorkspace || strings.HasPrefix(name, "-") {
			return PathFacts{}, false
		}
	}
	return PathFacts{InWorkspace: &in}, none
}
