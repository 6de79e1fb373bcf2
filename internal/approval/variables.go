package approval

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/sandgate/sandgate/internal/facts"
)

// maxPath is the longest path that is looked at.
const maxPath = 4096

// environment notes what the values of variables name: PATH, LD_PRELOAD and many others
// say what runs.
func (f *freezer) environment(env map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		f.variable(name, env[name])
	}
}

// assigned notes the same of the variables that a script sets, where they say what runs.
func (f *freezer) assigned(c *facts.Command, moves bool) {
	for _, a := range c.Env {
		switch {
		case !facts.SaysWhatRuns(a.Name):
		case a.Value == nil, moves:
			f.note("what the variable " + a.Name + " names, which is only known when it runs")
		default:
			f.variable(a.Name, *a.Value)
		}
	}
}

// variable notes the paths of the workspace in a value: parts of a list, and the words of
// options. What is named to be run and is not there must not come.
func (f *freezer) variable(name, value string) {
	runs := facts.SaysWhatRuns(name)
	for part := range strings.SplitSeq(value, ":") {
		names := []string{part}
		if runs {
			names = append(names, strings.FieldsFunc(part, func(r rune) bool { return r == '=' || r == ' ' || r == '\t' || r == '\n' })...)
		}
		if part == "" && name == "PATH" { // the working directory
			names = []string{"."}
		}
		slices.Sort(names)
		for _, text := range slices.Compact(names) {
			f.named(name, text, runs)
		}
	}
}

// startFiles are variables that name a file which a program runs when it starts: also a
// name without a slash is one.
var startFiles = []string{"BASH_ENV", "ENV", "PYTHONSTARTUP", "MAKEFILES"}

func (f *freezer) named(variable, text string, runs bool) {
	bare := !strings.Contains(text, "/")
	if text == "" || len(text) > maxPath || bare && variable != "PATH" && !slices.Contains(startFiles, variable) {
		return
	}
	p := facts.AnalyzePath("run", text, facts.Options{Cwd: f.cwd, Root: f.root})
	switch {
	case p.InWorkspace == nil || !*p.InWorkspace:
	case runs && p.Exists != nil && !*p.Exists:
		f.expect(p.Abs)
		if variable == "PATH" { // a directory that comes is told by what is expected in it
			f.search = append(f.search, p.Abs)
		}
	default:
		if variable == "PATH" {
			f.search = append(f.search, path.Clean(p.Abs))
		}
		f.path(OpRun, facts.PathFacts{Path: p.Abs, Real: p.Real, Exists: p.Exists, Kind: p.Kind, InWorkspace: p.InWorkspace}, "the variable "+variable)
	}
}
