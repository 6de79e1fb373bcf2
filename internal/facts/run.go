package facts

import (
	"path"
	"slices"
	"strings"
)

// run records one command and whatever it runs in turn. argv holds the name first.
func (a *analyzer) run(argv []*Arg, env []*Assign, redirs []*Redirect, sc scope) *Command {
	if sc.other {
		argv = copied(argv) // those of the command that carries them are located in the cell
	}
	c := &Command{Kind: "simple", Args: argv[1:], Env: env, Redirects: redirs, Static: allLiteral(argv)}
	if name := argv[0]; name.Literal {
		c.Name, c.NameStatic = *name.Value, true
		c.Dir, c.Base = path.Split(c.Name)
		if c.Dir != "" && c.Dir != "/" {
			c.Dir = strings.TrimSuffix(c.Dir, "/")
		}
	}
	switch c.Base {
	case "git":
		c.Git = gitFacts(c.Args)
		gitDetail(c.Git, c.Args, env)
	case "kubectl", "oc":
		c.Kubectl = kubectlFacts(c.Args)
	}
	c.fileUses()
	a.add(c, sc)
	if len(env) > 0 {
		a.influence(c, env, sc.by(c.Base))
	}
	if a.depth++; a.depth > hardDepth {
		a.overflow()
	} else {
		a.nested(c, sc)
	}
	a.depth--
	return c
}

func copied(args []*Arg) []*Arg {
	out := make([]*Arg, len(args))
	for i, g := range args {
		own := *g
		out[i] = &own
	}
	return out
}

// AnalyzeArgv gives the facts of a program that is run with these very words, the program first: those of git, or those
// of kubectl. Both are nil for another program.
func AnalyzeArgv(argv []string, opts Options) (*Git, *Kubectl) {
	if len(argv) == 0 {
		return nil, nil
	}
	a := newAnalyzer(opts.withDefaults())
	words := make([]*Arg, len(argv))
	for i := range argv {
		words[i] = &Arg{Value: &argv[i], Literal: true, Quoted: true, approx: argv[i]}
	}
	c := a.run(words, nil, nil, scope{})
	a.locate(c)
	return c.Git, c.Kubectl
}

func allLiteral(args []*Arg) bool {
	for _, g := range args {
		if !g.Literal {
			return false
		}
	}
	return true
}

// nested finds the commands that c runs.
func (a *analyzer) nested(c *Command, sc scope) {
	if !c.NameStatic {
		a.lostDirectory(sc) // it may be cd, or a shell function
		return
	}
	sc = sc.by(c.Base)
	switch {
	case shells[c.Base]:
		a.shell(c, sc)
		return
	case strings.HasPrefix(c.Base, "ld-linux") || strings.HasPrefix(c.Base, "ld-musl") || c.Base == "ld.so":
		a.command(c, dropFlags(c.Args), sc)
		return
	}
	if w, ok := wrappers[c.Base]; ok {
		a.wrapped(c, w, sc)
		return
	}
	a.special(c, sc)
}

// command runs the words of argv as a command.
func (a *analyzer) command(c *Command, argv []*Arg, sc scope) {
	if len(argv) == 0 {
		return
	}
	a.run(argv, nil, nil, sc)
	if !argv[0].Literal {
		c.opaque("the command that it runs is not static")
	}
}

// text runs the text of an argument as a shell script.
func (a *analyzer) text(c *Command, text string, known bool, sc scope) {
	a.feature(FeatureNestedScript)
	sc.depth++
	if !known {
		c.opaque("the script that it runs is not static")
	}
	if err := a.script(text, sc); err != nil {
		c.opaque("the script that it runs: " + strings.ToValidUTF8(unhidden(err.Error()), "\uFFFD"))
	}
}

// joined is the text of several words with blanks between them.
func joined(args []*Arg) (text string, known bool) {
	known = true
	parts := make([]string, len(args))
	for i, g := range args {
		parts[i] = g.approx
		known = known && g.Literal
	}
	return strings.Join(parts, " "), known
}

func dropFlags(args []*Arg) []*Arg {
	for len(args) > 0 && args[0].Value != nil && strings.HasPrefix(*args[0].Value, "-") {
		args = args[1:]
	}
	return args
}

// lostDirectory records that the working directory is no longer known.
func (a *analyzer) lostDirectory(sc scope) {
	a.cdSeen = true
	a.bases = nil
	a.cdLate = a.cdLate || sc.late
}

// changeDir is cd: later commands may run where it leads, or, if it fails, where they were.
func (a *analyzer) changeDir(c *Command, sc scope) {
	args := c.Args
	for len(args) > 0 && args[0].Literal && (*args[0].Value == "-L" || *args[0].Value == "-P" || *args[0].Value == "--") {
		args = args[1:]
	}
	if len(args) != 1 || !args[0].Literal || a.cdSearch || sc.late {
		a.lostDirectory(sc)
		return
	}
	to := *args[0].Value
	if to == "" || strings.HasPrefix(to, "-") {
		a.lostDirectory(sc)
		return
	}
	a.cdSeen = true
	var next []string
	add := func(dir string) {
		if !slices.Contains(next, dir) {
			next = append(next, dir)
		}
	}
	for _, b := range a.bases {
		add(b)
		full := to
		if !path.IsAbs(to) {
			full = b + "/" + to
		}
		add(path.Clean(full)) // cd -L
		if w := a.res.walk(full); w.known {
			add(w.real) // cd -P, or the fall-back of cd -L
		}
	}
	if a.bases = next; len(next) > hardBases {
		a.bases = nil
	}
}
