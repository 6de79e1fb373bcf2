package approval

import (
	"cmp"
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
)

// Bounds of what is frozen. What is more is told to be not frozen.
const (
	maxFiles       = 128
	maxFrozenBytes = 64 << 20
	maxUnfrozen    = 32
)

// What a call does with a file, as grant.File has it.
const (
	OpRun   = grant.OpRun
	OpRead  = grant.OpRead
	OpWrite = grant.OpWrite
	OpDir   = grant.OpDir
)

// File is a file of the workspace as it was when the call was asked about.
type File = grant.File

// Freeze notes what the files are that a call refers to, as far as the facts tell,
// in the workspace at dir; empty: there is none yet. unfrozen tells in sentences what the
// call may refer to beside them.
func Freeze(in *policy.Input, dir string) (files []File, unfrozen []string, err error) {
	f := freezer{dir: dir, cwd: in.Call.Cwd, left: maxFrozenBytes, seen: map[string]int{}}
	root, release, err := open(dir)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	f.root = root
	f.dirOf(in.Call.Cwd)
	f.environment(in.Call.Env)
	for i := range in.Call.Files {
		file := &in.Call.Files[i]
		f.path(opOf(file.Op), facts.PathFacts{Path: file.Abs, Real: file.Real, Exists: file.Exists, Kind: file.Kind, InWorkspace: file.InWorkspace}, file.Path)
	}
	f.script(in.Call.Shell)
	if in.Call.Python != nil {
		f.python(in.Call.Python)
	}
	if in.Call.StdinBytes == nil {
		f.note("its standard input, which is sent while it runs")
	}
	slices.SortFunc(f.files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	return f.files, f.unfrozen, nil
}

// open gives a view of the workspace for lookups.
func open(dir string) (facts.FS, func(), error) {
	if dir == "" {
		return facts.NewMemFS(nil, nil), func() {}, nil
	}
	root, err := facts.OpenOSRoot(dir)
	if errors.Is(err, os.ErrNotExist) {
		return facts.NewMemFS(nil, nil), func() {}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return root, func() { _ = root.Close() }, nil // a read-only descriptor: nothing is lost
}

func opOf(op string) string {
	switch op {
	case "run":
		return OpRun
	case "write", "edit", "delete", "append", "read_write":
		return OpWrite
	}
	return OpRead
}

// freezer gathers the files of a call.
type freezer struct {
	dir, cwd string
	root     facts.FS
	left     int64
	seen     map[string]int // index in files by path
	files    []File
	unfrozen []string
	search   []string // directories of the workspace in which programs are looked for
}

func (f *freezer) note(text string) {
	switch {
	case slices.Contains(f.unfrozen, text):
	case len(f.unfrozen) == maxUnfrozen-1:
		f.unfrozen = append(f.unfrozen, andMore)
	case len(f.unfrozen) < maxUnfrozen:
		f.unfrozen = append(f.unfrozen, text)
	}
}

// path notes what a path names now.
func (f *freezer) path(op string, p facts.PathFacts, written string) {
	switch {
	case p.InWorkspace == nil:
		f.note(written + notFound)
	case *p.InWorkspace && p.Exists == nil && op == OpRun:
		f.note(written + notFound)
	case !*p.InWorkspace, p.Exists == nil:
	case !*p.Exists:
		if op == OpWrite { // where it is going to be made
			f.dirOf(path.Dir(p.Path))
		}
	case p.Kind == "dir":
		f.note("what is in the directory " + p.Path)
		f.dirOf(p.Path)
	case p.Kind == "file":
		f.add(op, p.Path, p.Real)
	default:
		f.note(p.Path + ", which is no regular file")
	}
}

// dirOf notes where a directory of the workspace leads to, so that nobody puts a link
// to another one in its place. The workspace itself stays where it is.
func (f *freezer) dirOf(name string) {
	if name == "" || path.Clean(name) == sandbox.WorkspacePath {
		return
	}
	p := facts.AnalyzePath("read", name, facts.Options{Cwd: f.cwd, Root: f.root})
	if _, ok := f.seen[p.Abs]; ok || p.InWorkspace == nil || !*p.InWorkspace || p.Exists == nil || !*p.Exists || p.Kind != "dir" {
		return
	}
	if len(f.files) >= maxFiles {
		f.note(tooMany)
		return
	}
	f.seen[p.Abs] = len(f.files)
	f.files = append(f.files, File{Path: p.Abs, Real: p.Real, Op: OpDir})
}

func (f *freezer) add(op, name, target string) {
	if i, ok := f.seen[name]; ok {
		if op == OpRun || f.files[i].Op == OpRead {
			f.files[i].Op = op
		}
		return
	}
	if len(f.files) >= maxFiles {
		f.note(tooMany)
		return
	}
	file := File{Path: name, Real: target, Op: op}
	var err error
	file.SHA256, file.Bytes, err = sum(f.dir, target, f.left, nil)
	switch {
	case errors.Is(err, errTooLarge):
		f.note(name + tooLarge)
		return
	case err != nil:
		f.note(name + notRead + err.Error())
		return
	}
	f.left -= file.Bytes
	f.seen[name] = len(f.files)
	f.files = append(f.files, file)
}

func (f *freezer) script(s *facts.Shell) {
	if s == nil {
		return
	}
	if !s.Parsed || s.Overflow {
		f.note("what the part of the script names that could not be read")
	}
	for _, c := range s.Commands {
		f.assigned(c, s.ChangesDirectory)
		f.program(c, s.ChangesDirectory)
		uses := map[string]string{}
		for i := range c.Files {
			use := &c.Files[i]
			if use.Value == nil {
				f.note("a file of " + name(c) + " that is only known when it runs")
				continue
			}
			uses[*use.Value] = opOf(use.Op)
			f.path(opOf(use.Op), use.PathFacts, *use.Value)
		}
		f.words(c, uses)
		for _, r := range c.Redirects {
			switch r.Class {
			case "read", "write", "append", "read_write":
			default:
				continue
			}
			if r.Target == nil || !r.Static {
				f.note("a redirection of " + name(c) + " that is only known when it runs")
				continue
			}
			op := opOf(r.Class)
			if op == OpRead && reads(c.Base) {
				op = OpRun
			}
			f.path(op, r.PathFacts, *r.Target)
		}
	}
}

// program notes the file that a command runs, and those that it looks for.
func (f *freezer) program(c *facts.Command, moves bool) {
	if !c.NameStatic {
		if c.Kind == "simple" {
			f.note("a command whose name is only known when it runs")
		}
		return
	}
	if c.Dir != "" {
		if path.IsAbs(c.Name) || !moves {
			p := facts.AnalyzePath("run", c.Name, facts.Options{Cwd: f.cwd, Root: f.root})
			f.path(OpRun, facts.PathFacts{Path: p.Abs, Real: p.Real, Exists: p.Exists, Kind: p.Kind, InWorkspace: p.InWorkspace}, c.Name)
		} else {
			f.note(c.Name + ", since the script changes its directory")
		}
	} else if c.Kind == "simple" {
		for _, dir := range f.search {
			f.expect(path.Join(dir, c.Name))
		}
	}
	files, ok := lookedFor[c.Base]
	switch {
	case c.Base == "git":
		f.repository(moves)
	case isPython(c.Base):
		f.module(c, moves)
	}
	if !ok {
		return
	}
	f.note("what the files of the project that " + c.Base + " works on name in turn")
	if moves {
		return
	}
	for dir := range f.above() {
		for _, file := range files {
			f.expect(path.Join(dir, file))
		}
		if onlyHere[c.Base] {
			return
		}
	}
}

// reads reports whether a program takes its operands, or its standard input, for a
// program.
func reads(base string) bool {
	switch strings.TrimRight(base, "0123456789.") {
	case "sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "busybox", "python", "pypy", "perl", "ruby", "node", "nodejs", "deno", "bun", "php", "lua",
		"luajit", "Rscript", "julia", "tclsh", "awk", "gawk", "mawk", "sed", "source", "make", "gmake", "expect", "guile", "groovy", "elixir", "ocaml",
		"psql", "mysql", "sqlite", "git", "patch", "xargs", "env", "nohup", "timeout", "time", "exec":
		return true
	}
	return base == "." || base == "source"
}

// words notes the files that the words of a command name.
func (f *freezer) words(c *facts.Command, uses map[string]string) {
	for _, a := range c.Args {
		switch {
		case a.Value == nil:
			f.note("a word of " + name(c) + " that is only known when it runs")
			continue
		case a.Glob && !a.NoMatch:
			f.note("the files that " + *a.Value + " matches")
			continue
		}
		if _, known := uses[*a.Value]; known {
			continue
		}
		op := OpRead
		if reads(c.Base) {
			op = OpRun
		}
		// Of a word that may be no path at all nothing is said.
		if a.InWorkspace != nil || op == OpRun && !strings.HasPrefix(*a.Value, "-") {
			f.path(op, a.PathFacts, *a.Value)
		}
		if a.Eq != nil && a.Eq.InWorkspace != nil {
			f.path(op, a.Eq.PathFacts, a.Eq.Value)
		}
	}
}

func (f *freezer) python(p *facts.Python) {
	for i := range p.Opens {
		open := &p.Opens[i]
		if open.Value == nil {
			f.note("a file of the Python program that is only known when it runs")
			continue
		}
		f.path(opOf(open.Op), open.PathFacts, *open.Value)
	}
	if len(p.Imports) > 0 {
		f.note("the modules that the Python program imports")
	}
}

func name(c *facts.Command) string {
	if c.Name == "" {
		return "a command"
	}
	return c.Name
}

var errTooLarge = errors.New("is too large")
