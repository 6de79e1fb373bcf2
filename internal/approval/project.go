package approval

import (
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/sandbox"
)

// What is said of files that would have been frozen, had it been possible.
const (
	tooLarge = ", which is too large"
	notRead  = ", which cannot be read: "
	notFound = ", of which it is not known where it leads"
	andMore  = "and more"
)

var tooMany = fmt.Sprintf("files after the first %d", maxFiles)

// LeftOut returns the first of what Freeze has left out that it freezes otherwise; empty:
// there is none. What a call runs may be among it, so that nothing is said of the call by
// the files that are frozen.
func LeftOut(unfrozen []string) string {
	at := slices.IndexFunc(unfrozen, func(text string) bool {
		return text == andMore || text == tooMany || strings.HasSuffix(text, tooLarge) || strings.HasSuffix(text, notFound) || strings.Contains(text, notRead)
	})
	if at < 0 {
		return ""
	}
	return unfrozen[at]
}

// above are the working directory and those above it in the workspace.
func (f *freezer) above() iter.Seq[string] {
	return func(yield func(string) bool) {
		for dir := path.Clean(f.cwd); yield(dir) && strings.HasPrefix(dir, sandbox.WorkspacePath+"/"); {
			dir = path.Dir(dir)
		}
	}
}

// expect notes a file that a program looks for by itself, also when it is not there.
func (f *freezer) expect(full string) {
	p := facts.AnalyzePath("read", full, facts.Options{Cwd: f.cwd, Root: f.root})
	if p.Exists != nil && *p.Exists {
		f.path(OpRun, facts.PathFacts{Path: p.Abs, Real: p.Real, Exists: p.Exists, Kind: p.Kind, InWorkspace: p.InWorkspace}, full)
		return
	}
	if _, ok := f.seen[full]; ok || p.InWorkspace == nil || !*p.InWorkspace {
		return
	}
	if len(f.files) >= maxFiles {
		f.note(tooMany)
		return
	}
	f.seen[full] = len(f.files)
	f.files = append(f.files, File{Path: full, Real: p.Real, Op: OpRun})
}

// repositoryFiles are those of a repository by which git is told what to run.
var repositoryFiles = []string{
	"config", "config.worktree", "info/attributes", "hooks/pre-commit", "hooks/prepare-commit-msg", "hooks/commit-msg", "hooks/post-commit",
	"hooks/pre-push", "hooks/post-checkout", "hooks/pre-merge-commit", "hooks/post-merge", "hooks/pre-rebase", "hooks/post-rewrite",
	"hooks/reference-transaction", "hooks/post-index-change",
}

// repository notes what a git that is run here obeys. It takes the nearest repository in
// the working directory and above: a directory or a file .git, or else the directory
// itself if it looks like one (it has a HEAD). What is not there must not come, and one
// that git finds to be none does not count, so that those above it are looked at as well.
func (f *freezer) repository(moves bool) {
	f.note("what the settings and hooks of the repository name in turn")
	if moves {
		return
	}
	for dir := range f.above() {
		for _, at := range []string{".git", "HEAD"} {
			at = path.Join(dir, at)
			p := facts.AnalyzePath("read", at, facts.Options{Cwd: f.cwd, Root: f.root})
			there, of := p.Exists != nil && *p.Exists, at
			f.expect(at)
			switch {
			case !there:
				continue
			case path.Base(at) == "HEAD":
				of = dir
			case p.Kind != "dir":
				f.note("the repository that " + at + " names")
				continue
			}
			f.expect(path.Join(dir, ".gitattributes"))
			for _, file := range repositoryFiles {
				f.expect(path.Join(of, file))
			}
		}
	}
}

// lookedFor are the files by which programs that run what a project says are told
// what to run.
var lookedFor = map[string][]string{
	"make": {"GNUmakefile", "makefile", "Makefile"}, "gmake": {"GNUmakefile", "makefile", "Makefile"},
	"npm": {"package.json", ".npmrc"}, "npx": {"package.json"}, "yarn": {"package.json", ".yarnrc.yml"}, "pnpm": {"package.json"},
	"just": {"justfile", "Justfile", ".justfile"}, "task": {"Taskfile.yml", "Taskfile.yaml"}, "rake": {"Rakefile"},
	"cargo": {"Cargo.toml", "build.rs", ".cargo/config.toml"}, "go": {"go.mod", "go.work"}, "mvn": {"pom.xml"},
	"gradle": {"build.gradle", "build.gradle.kts", "settings.gradle"}, "pytest": {"conftest.py", "pytest.ini", "pyproject.toml", "setup.cfg", "tox.ini"},
	"tox": {"tox.ini", "pyproject.toml"}, "nox": {"noxfile.py"}, "cmake": {"CMakeLists.txt"}, "ninja": {"build.ninja"}, "composer": {"composer.json"},
}

// onlyHere are those of them that look in the working directory alone. The others look
// above it as well.
var onlyHere = map[string]bool{"make": true, "gmake": true, "cmake": true, "ninja": true, "composer": true, "mvn": true, "tox": true, "nox": true}

func isPython(base string) bool {
	base = strings.TrimRight(base, "0123456789.")
	return base == "python" || base == "pypy"
}

// module notes the files of the module that python -m runs, which is looked for in the
// working directory first.
func (f *freezer) module(c *facts.Command, moves bool) {
	f.note("the modules that the program of " + c.Base + " imports")
	if moves {
		return
	}
	module := ""
	for i, a := range c.Args {
		if a.Value == nil || !strings.HasPrefix(*a.Value, "-") || strings.HasPrefix(*a.Value, "--") {
			break
		}
		before, attached, found := strings.Cut(*a.Value, "m")
		if strings.ContainsAny(before, "cWX") {
			break
		}
		if !found {
			continue
		}
		if module = attached; module == "" && i+1 < len(c.Args) && c.Args[i+1].Value != nil {
			module = *c.Args[i+1].Value
		}
		break
	}
	if module == "" || len(module) > maxPath || strings.Contains(module, "/") {
		return
	}
	at := f.cwd
	for part := range strings.SplitSeq(module, ".") {
		at = path.Join(at, part)
		f.expect(at + ".py")
		f.expect(path.Join(at, "__init__.py"))
	}
	f.expect(path.Join(at, "__main__.py"))
}
