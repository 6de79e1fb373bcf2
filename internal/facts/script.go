package facts

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// shells are the programs whose -c argument, script file or standard input is a shell script.
var shells = set("sh", "bash", "dash", "zsh", "ksh", "ksh93", "mksh", "ash", "rbash", "rzsh", "lksh", "pdksh", "yash",
	"posh", "oksh", "fish", "csh", "tcsh", "rc", "es", "elvish", "nu", "xonsh", "pwsh", "hush", "busybox-sh")

// posixShells are those whose language is near enough to bash for the reading to be taken as known.
var posixShells = set("sh", "bash", "dash", "ash", "rbash")

// stdinFiles are the names of the standard input.
var stdinFiles = set("/dev/stdin", "/proc/self/fd/0", "/dev/fd/0", "/proc/thread-self/fd/0")

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// shell reads the options of a shell and analyses the script that it will run.
func (a *analyzer) shell(c *Command, sc scope) {
	saved := a.bases
	defer func() { a.bases = saved }() // a child: its cd is its own
	if !posixShells[c.Base] {
		c.opaque("the script is in the language of " + c.Base)
	}
	if c.Base != "bash" && c.Base != "rbash" {
		a.aliasesOn = true
	}
	args, dashC, dashS := c.Args, false, false
	for len(args) > 0 {
		if !args[0].Literal {
			break
		}
		v := *args[0].Value
		if v == "--" || v == "-" {
			args = args[1:]
			break
		}
		if len(v) < 2 || v[0] != '-' && v[0] != '+' {
			break
		}
		args = args[1:]
		if strings.HasPrefix(v, "--") {
			switch v {
			case "--rcfile", "--init-file":
				c.opaque("it reads a start-up file")
				args = args[min(1, len(args)):]
			case "--command":
				dashC = true
			}
			continue
		}
		dashC = dashC || v[0] == '-' && strings.Contains(v, "c")
		dashS = dashS || v[0] == '-' && strings.Contains(v, "s")
		if strings.ContainsAny(v[1:], "il") {
			c.opaque("it reads start-up files")
			a.aliasesOn = true
		}
		if strings.ContainsAny(v[1:], "oO") {
			a.aliasesOn = true // expand_aliases or posix, for all we look
		}
		args = args[min(strings.Count(v, "o")+strings.Count(v, "O"), len(args)):]
	}
	switch {
	case dashC && len(args) > 0:
		a.text(c, args[0].approx, args[0].Literal, sc)
	case dashC:
		c.opaque("it has no script")
	case len(args) > 0 && !dashS && args[0].feeds != nil:
		a.text(c, args[0].feeds.text, args[0].feeds.known, sc)
		c.opaque("it runs a script file")
	case len(args) > 0 && !dashS:
		if args[0].Literal && stdinFiles[*args[0].Value] {
			a.stdinScript(c, sc)
		}
		c.opaque("it runs a script file")
	default:
		a.stdinScript(c, sc)
	}
}

// stdinScript analyses what a shell reads from its standard input.
func (a *analyzer) stdinScript(c *Command, sc scope) {
	in := sc.stdin
	if in == nil {
		c.opaque("it reads its script from standard input")
		return
	}
	sc.stdin = nil
	a.text(c, in.text, in.known, sc)
}

// echoed returns what the statement writes, if it is an echo or printf of static words, or a cat of a here-document.
func (a *analyzer) echoed(s *syntax.Stmt) *input {
	call, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || len(call.Args) == 0 {
		return nil
	}
	before := a.fields
	defer func() { a.fields = before }()
	var argv []*Arg
	for _, w := range call.Args {
		argv = append(argv, a.words(w)...)
	}
	if len(argv) == 0 || !argv[0].Literal {
		return nil
	}
	switch *argv[0].Value {
	case "echo":
		args := argv[1:]
		for len(args) > 0 && args[0].Literal && (*args[0].Value == "-n" || *args[0].Value == "-e" || *args[0].Value == "-ne") {
			args = args[1:]
		}
		text, known := joined(args)
		return &input{text: text + "\n", known: known && !strings.Contains(text, `\`)}
	case "printf":
		return printfed(argv[1:])
	case "cat":
		_, stdin := a.redirects(s.Redirs, nil)
		if len(argv) == 1 {
			return stdin
		}
	}
	return nil
}

// fed is the text that a process substitution gives to whoever reads it.
func (a *analyzer) fed(part syntax.WordPart) *input {
	if p, ok := part.(*syntax.ProcSubst); ok && p.Op == syntax.CmdIn && len(p.Stmts) == 1 {
		return a.echoed(p.Stmts[0])
	}
	return nil
}

// printfed joins the words of a printf: near enough for what is seen in it, never taken as known.
func printfed(args []*Arg) *input {
	text, _ := joined(args)
	text = strings.NewReplacer(`%s`, " ", `%b`, " ", `%q`, " ", `\n`, "\n", `\t`, "\t", `%%`, "%").Replace(text)
	return &input{text: text + "\n"}
}

// eval joins its words and runs them in this very shell.
func (a *analyzer) eval(c *Command, sc scope) {
	args := c.Args
	if len(args) > 0 && args[0].Literal && *args[0].Value == "--" {
		args = args[1:]
	}
	text, known := joined(args)
	a.text(c, text, known, sc)
	if c.Opaque {
		a.lostDirectory(sc)
	}
}

// source runs a file in this very shell.
func (a *analyzer) source(c *Command, sc scope) {
	if args := dropFlags(c.Args); len(args) > 0 && args[0].feeds != nil {
		a.text(c, args[0].feeds.text, args[0].feeds.known, sc)
	}
	if c.Base == "bind" {
		for _, g := range c.Args {
			if i := strings.LastIndex(g.approx, `":`); i >= 0 {
				a.seen(c, strings.Trim(strings.TrimSpace(g.approx[i+2:]), `"`), sc)
			}
		}
	}
	if args := dropFlags(c.Args); c.Base != "bind" && len(args) > 0 && args[0].Literal && stdinFiles[*args[0].Value] {
		a.stdinScript(c, sc)
	}
	c.opaque("it runs a script file")
	a.lostDirectory(sc)
}

// trap runs its first argument at another time.
func (a *analyzer) trap(c *Command, sc scope) {
	args := dropFlags(c.Args)
	if len(args) < 2 {
		return
	}
	sc.late = true
	if v := args[0].Value; v == nil || *v != "" && *v != "-" {
		a.text(c, args[0].approx, args[0].Literal, sc)
	}
}

// alias defines text that stands for the beginning of a command. A script that does not switch aliases on never runs
// it, so it is recorded by name only.
func (a *analyzer) alias(c *Command, sc scope) {
	for _, g := range c.Args {
		name, body, ok := strings.Cut(g.approx, "=")
		if !ok {
			continue
		}
		a.pending = append(a.pending, pendingAlias{c, body, g.Literal, sc})
		a.aliases[name] = true
		c.opaque("it gives another meaning to a name")
	}
}

// callback is mapfile, readarray or complete with -C: a piece of script that runs later.
func (a *analyzer) callback(c *Command, sc scope) {
	sc.late = true
	for i, g := range c.Args {
		if g.Value != nil && *g.Value == "-C" && i+1 < len(c.Args) {
			a.text(c, c.Args[i+1].approx, c.Args[i+1].Literal, sc)
		}
	}
}

// pendingAlias is an alias that the script defines.
type pendingAlias struct {
	c     *Command
	body  string
	known bool
	sc    scope
}

// aliased analyses the aliases of a script that switches them on, wherever it does.
func (a *analyzer) aliased() {
	if !a.aliasesOn {
		return
	}
	for _, p := range a.pending {
		sc := p.sc
		sc.late = true
		a.seenLate(p.c, p.body, p.known, sc)
	}
}

func (a *analyzer) seenLate(c *Command, text string, known bool, sc scope) {
	saved := a.bases
	a.bases = nil
	a.text(c, text, known, sc)
	a.bases = saved
}

// setOption notices what switches aliases on, and positional parameters that hold a substitution.
func (a *analyzer) setOption(c *Command) {
	for _, g := range c.Args {
		if g.approx == "expand_aliases" || g.approx == "posix" || g.Dynamic {
			a.aliasesOn = true
		}
		if g.Value != nil && (strings.Contains(*g.Value, "$(") || strings.Contains(*g.Value, "`")) {
			a.values = append(a.values, value{text: *g.Value})
		}
	}
}

// redefined is enable, hash, fc and history: with some options a name means another program afterwards, or what ran
// before runs again.
func (a *analyzer) redefined(c *Command, sc scope) {
	for i, g := range c.Args {
		v := g.approx
		switch {
		case c.Base == "enable" && strings.HasPrefix(v, "-") && strings.ContainsAny(v, "fn"),
			c.Base == "hash" && strings.HasPrefix(v, "-") && strings.Contains(v, "p"):
			c.opaque("it gives another meaning to a name")
			if c.Base == "hash" && i+1 < len(c.Args) {
				late := sc
				late.late = true
				a.command(c, c.Args[i+1:i+2], late) // what the name runs from now on
			}
			for _, n := range c.Args[i+1:] {
				if n.Literal && !strings.ContainsAny(*n.Value, "/=-") {
					a.aliases[*n.Value] = true
				}
			}
		case c.Base == "fc" && !strings.HasPrefix(v, "-l"), c.Base == "history" && (v == "-s" || v == "-r" || v == "-n"):
			c.opaque("it runs what ran before")
		case g.Dynamic:
			c.opaque("its options are not static")
		}
	}
	if c.Base == "fc" && len(c.Args) == 0 {
		c.opaque("it runs what ran before")
	}
}
