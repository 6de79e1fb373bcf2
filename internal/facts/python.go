package facts

import (
	"path"
	"regexp"
	"strings"

	"github.com/sandgate/sandgate/internal/facts/python"
)

// AnalyzePython reads a Python program as python3 -c runs it. It never fails: what could not be read is told in the
// result, which is never nil.
func AnalyzePython(program string, opts Options) *Python {
	a := newAnalyzer(opts.withDefaults())
	return a.python(python.Analyze(program), a.bases)
}

// python gives the facts of a program their shape, with the paths read in the working directories that are possible.
func (a *analyzer) python(f python.Facts, bases []string) *Python {
	p := &Python{
		Parsed: f.Parsed, Error: f.Error, Imports: orEmpty(f.Imports), Calls: orEmpty(f.Calls), Names: orEmpty(f.Names), Opens: []PythonOpen{},
		Dynamic: orEmpty(f.Dynamic), Runs: []PythonRun{},
	}
	for _, o := range f.Opens {
		open := PythonOpen{Op: o.Op, Value: o.Path}
		if o.Path != nil {
			open.PathFacts = a.pathFacts(*o.Path, bases)
		}
		p.Opens = append(p.Opens, open)
	}
	for _, r := range f.Runs {
		run := PythonRun{Script: r.Script, Complete: !r.Open}
		for _, word := range r.Argv {
			if word == nil {
				run.Complete = false
				break
			}
			run.Argv = append(run.Argv, *word)
		}
		p.Runs = append(p.Runs, run)
	}
	return p
}

var pythonName = regexp.MustCompile(`^(python|pypy)(3(\.[0-9]+)?)?[dtm]?$`)

// isPython reports whether base is the name of a Python 3. python alone is one today.
func isPython(base string) bool {
	return strings.HasPrefix(base, "py") && pythonName.MatchString(base)
}

// pythonCommand finds the program that a Python runs: after -c, or on its standard input.
func (a *analyzer) pythonCommand(c *Command, sc scope) {
	args := c.Args
	for len(args) > 0 && args[0].Literal {
		v := *args[0].Value
		if v == "-" {
			break
		}
		if len(v) < 2 || v[0] != '-' {
			if stdinFiles[v] {
				break
			}
			return // a file
		}
		args = args[1:]
		if strings.HasPrefix(v, "--") {
			if v == "--check-hash-based-pycs" && len(args) > 0 {
				args = args[1:]
			}
			continue
		}
		for i := 1; i < len(v); i++ {
			switch v[i] {
			case 'c':
				program := &Arg{approx: v[i+1:], Literal: true}
				if i+1 == len(v) {
					if len(args) == 0 {
						return
					}
					program = args[0]
				}
				a.pythonProgram(c, program.approx, program.Literal, sc)
				return
			case 'm', 'h', 'V':
				return
			case 'W', 'X':
				if i+1 == len(v) && len(args) > 0 {
					args = args[1:]
				}
				i = len(v)
			}
		}
	}
	switch {
	case len(args) > 0 && args[0].feeds != nil:
		a.pythonProgram(c, args[0].feeds.text, args[0].feeds.known, sc)
	case len(args) > 0 && !args[0].Literal:
	case sc.stdin != nil:
		a.pythonProgram(c, sc.stdin.text, sc.stdin.known, sc)
	}
}

func (a *analyzer) pythonProgram(c *Command, program string, known bool, sc scope) {
	if !known {
		c.Python = a.python(python.Facts{Error: "the program is not static"}, nil)
		return
	}
	a.parsed += len(program)
	if a.parsed > hardParsed {
		a.overflow()
		return
	}
	f := python.Analyze(program)
	c.Python = a.python(f, a.bases)
	for _, o := range f.Opens {
		u := Use{Op: o.Op, Value: o.Path}
		if o.Op == "" || o.Op == "read_write" {
			c.Files = append(c.Files, Use{Op: "read", Value: o.Path})
			u.Op = "write"
		}
		c.Files = append(c.Files, u)
	}
	saved := a.bases
	defer func() { a.bases = saved }()
	a.bases = nil // os.chdir may have come before
	sc.stdin = nil
	for _, r := range f.Runs {
		if r.Script != nil {
			a.pythonScript(c, *r.Script, sc)
			continue
		}
		argv := make([]*Arg, 0, len(r.Argv)+1)
		for _, word := range r.Argv {
			if word == nil {
				argv = append(argv, &Arg{Dynamic: true, Quoted: true, approx: placeholder})
				continue
			}
			argv = append(argv, &Arg{Value: word, Literal: true, Quoted: true, approx: *word, raw: []frag{{text: *word, quoted: true}}})
		}
		if r.Open {
			argv = append(argv, &Arg{Dynamic: true, Splits: true, approx: placeholder})
		}
		if len(argv) > 0 {
			a.run(argv, nil, nil, sc)
		}
	}
}

// pythonScript is what the program gives to a shell.
func (a *analyzer) pythonScript(c *Command, script string, sc scope) {
	before := c.Opaque
	a.text(c, script, true, sc)
	if c.Opaque && !before {
		c.OpaqueReason = path.Base(c.Base) + ": " + c.OpaqueReason
	}
}
