package facts

import (
	"path"
	"regexp"
	"strings"
)

// interpreters are the programs of other languages, with the options that take a program.
var interpreters = map[string]string{
	"perl": "-e -E", "ruby": "-e", "irb": "-e", "node": "-e --eval -p --print -pe", "nodejs": "-e --eval -p --print -pe", "bun": "-e --eval -p", "deno": "eval",
	"php": "-r -B -R -E", "lua": "-e", "luajit": "-e", "Rscript": "-e", "R": "-e", "julia": "-e -E", "osascript": "-e", "groovy": "-e", "elixir": "-e", "erl": "-eval", "guile": "-c",
	"racket": "-e", "tclsh": "", "wish": "", "scala": "-e", "ghc": "-e", "runghc": "-e", "ocaml": "-e", "sbcl": "--eval", "emacs": "--eval -eval -f --execute",
	"gdb": "-ex -iex --eval-command", "lldb": "-o", "jshell": "", "jrunscript": "-e", "dc": "-e", "bc": "",
}

// projectRunners run what the files of a project tell them to.
var projectRunners = set("make", "gmake", "ninja", "just", "task", "rake", "npm", "cargo", "mvn", "gradle", "gradlew", "ant", "bazel", "tox", "nox", "pytest", "jest", "mocha",
	"run-parts", "logrotate", "ansible", "ansible-playbook", "puppet", "chef-client", "terraform", "vagrant", "crontab", "tmux", "screen", "cmake", "meson", "composer", "mix", "sbt", "lein")

// started finds the commands in a program of another language: a literal that is given to system and its like, or
// stands in backquotes.
var started = regexp.MustCompile(`\b(?:system|exec|popen|spawn|execSync|spawnSync|execFileSync|execFile|shell_exec|passthru|proc_open|execute|shell|qx|run|call)\b[\s(\[{]*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')` +
	"|`([^`]*)`|\\bqx\\s*[{(/|!](.*?)[})/|!]|\\$\\(shell\\s+([^)]*)\\)")

// interpreter handles the programs of other languages; ok is false for another program.
func (a *analyzer) interpreter(c *Command, sc scope) (ok bool) {
	options, known := interpreters[c.Base]
	if !known {
		if name := strings.TrimRight(c.Base, "0123456789."); name != c.Base {
			options, known = interpreters[name]
		}
	}
	switch {
	case c.Base == "gdb" || c.Base == "lldb":
		a.debugger(c, strings.Fields(options), sc)
		return true
	case known:
		c.opaque("a program in a language that is not read")
		a.embedded(c, codeOf(c.Args, strings.Fields(options)), sc)
		if sc.stdin != nil {
			a.embedded(c, []string{sc.stdin.text}, sc)
		}
		return true
	case projectRunners[c.Base]:
		c.opaque("it runs what files tell it to")
		if c.Base == "tmux" || c.Base == "screen" {
			for _, g := range c.Args {
				if strings.ContainsAny(g.approx, " \t") {
					a.seen(c, g.approx, sc)
				}
			}
		}
		if strings.HasSuffix(c.Base, "make") {
			a.embedded(c, codeOf(c.Args, []string{"--eval", "-E"}), sc)
			a.makeShell(c, sc)
		}
		return true
	}
	return false
}

// debugger is gdb and lldb: its own commands can run others, and it starts the program that it is given.
func (a *analyzer) debugger(c *Command, options []string, sc scope) {
	c.opaque("a debugger")
	for _, code := range codeOf(c.Args, options) {
		for _, prefix := range [...]string{"!", "shell", "platform shell", "make", "pipe"} {
			if text, ok := strings.CutPrefix(code, prefix); ok {
				a.seen(c, text, sc)
			}
		}
	}
	for i, g := range c.Args {
		if g.approx == "--args" || g.approx == "--" {
			a.command(c, c.Args[i+1:], sc)
			return
		}
	}
}

// makeShell is the program that make runs each recipe with.
func (a *analyzer) makeShell(c *Command, sc scope) {
	for _, g := range c.Args {
		if value, ok := strings.CutPrefix(g.approx, "SHELL="); ok {
			a.text(c, value, g.Literal, sc)
		}
		a.embedded(c, []string{g.approx}, sc)
	}
}

// codeOf returns the values of the options that take a program, in the next word or attached.
func codeOf(args []*Arg, options []string) []string {
	var out []string
	for i, g := range args {
		for _, o := range options {
			switch value, attached := strings.CutPrefix(g.approx, o); {
			case g.approx == o && i+1 < len(args):
				out = append(out, args[i+1].approx)
			case attached && (len(o) == 2 || strings.HasPrefix(value, "=")):
				out = append(out, strings.TrimPrefix(value, "="))
			case len(o) == 2 && len(g.approx) > 2 && g.approx[0] == '-' && g.approx[1] != '-' && strings.HasSuffix(g.approx, o[1:]) && i+1 < len(args):
				out = append(out, args[i+1].approx) // perl -ne
			}
		}
	}
	return out
}

// embedded analyses the commands that can be seen in programs of other languages. They are not all.
func (a *analyzer) embedded(c *Command, programs []string, sc scope) {
	for _, program := range programs {
		if len(program) > hardBytes {
			a.overflow()
			return
		}
		for _, m := range a.matches(started, program) {
			for _, text := range m[1:] {
				if text != "" {
					a.seen(c, unslash(text), sc)
				}
			}
		}
	}
}

// matches are all matches of a pattern; too many of them are an overflow.
func (a *analyzer) matches(pattern *regexp.Regexp, program string) [][]string {
	found := pattern.FindAllStringSubmatch(program, hardMatches+1)
	if len(found) > hardMatches {
		a.overflow()
	}
	return found
}

// seen lists the commands of a script that may be run.
func (a *analyzer) seen(c *Command, script string, sc scope) {
	saved := a.bases
	a.bases = nil
	a.text(c, script, true, sc)
	a.bases = saved
}

func unslash(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\'`, `'`, `\n`, "\n", `\t`, "\t").Replace(s)
}

var (
	awkRuns   = regexp.MustCompile(`\|&?\s*"((?:[^"\\]|\\.)*)"|"((?:[^"\\]|\\.)*)"\s*\|&?\s*getline`)
	awkStarts = regexp.MustCompile(`\bsystem\s*\(|\|\s*getline|\|&|(^|[^|])\|\s*[^|\s]|@(load|include)|\bgetline\b`)
	awkWrites = regexp.MustCompile(`>>?\s*"((?:[^"\\]|\\.)*)"`)
	awkReads  = regexp.MustCompile(`getline\b[^<;}]*<\s*"((?:[^"\\]|\\.)*)"`)
	awkTo     = regexp.MustCompile(`\bprintf?\b[^;}\n]*[^>]>>?\s*[^"0-9>=\s]`)
	awkStr    = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
)

// awk handles a program of awk: system(), pipes, files.
func (a *analyzer) awk(c *Command, sc scope) {
	args, file := c.Args, false
	for len(args) > 0 && strings.HasPrefix(args[0].approx, "-") && args[0].approx != "-" {
		v := args[0].approx
		args = args[1:]
		name, _, attached := strings.Cut(v, "=")
		switch {
		case v == "--":
			a.awkProgram(c, args, sc)
			return
		case v == "-e" || v == "--source":
			a.awkProgram(c, args, sc)
			args = args[min(1, len(args)):]
			continue
		case strings.HasPrefix(v, "-f") || strings.HasPrefix(v, "-E") || strings.HasPrefix(v, "-i") || strings.HasPrefix(v, "-l") ||
			name == "--file" || name == "--exec" || name == "--include" || name == "--load":
			c.opaque("it runs a script file")
			file = file || v[1] == 'f' || v[1] == 'E' || name == "--file" || name == "--exec"
		}
		if (v == "-v" || v == "-F" || v == "-f" || v == "-E" || v == "-i" || v == "-l" || strings.HasPrefix(v, "--") && !attached && awkLong[name]) && len(args) > 0 {
			args = args[1:]
		}
	}
	if file {
		args = append([]*Arg{{Literal: true}}, args...)
	}
	a.awkProgram(c, args, sc)
}

func valuesOf(args []*Arg) []string {
	out := make([]string, len(args))
	for i, g := range args {
		out[i] = g.approx
	}
	return out
}

var awkLong = set("--assign", "--field-separator", "--file", "--exec", "--include", "--load")

func (a *analyzer) awkProgram(c *Command, args []*Arg, sc scope) {
	if len(args) == 0 {
		return
	}
	program := args[0].approx
	op := "read"
	if c.Opaque && strings.Contains(strings.Join(valuesOf(c.Args), " "), "inplace") {
		op = "write"
	}
	for _, g := range args[1:] {
		if g.approx != "-" && !strings.HasPrefix(g.approx, "-") && (!g.Literal || !isAssignment(g.approx)) {
			c.use(op, g)
		}
	}
	if !args[0].Literal {
		c.opaque("the program that it runs is not static")
	}
	if len(program) > hardBytes {
		a.overflow()
		return
	}
	if awkStarts.MatchString(awkStr.ReplaceAllString(program, `""`)) {
		c.opaque("a program in a language that is not read")
		a.embedded(c, []string{program}, sc)
		for _, m := range a.matches(awkRuns, program) {
			a.seen(c, unslash(m[1]+m[2]), sc)
		}
	}
	for _, m := range a.matches(awkWrites, program) {
		c.useText("write", unslash(m[1]))
	}
	for _, m := range a.matches(awkReads, program) {
		c.useText("read", unslash(m[1]))
	}
	if awkTo.MatchString(awkStr.ReplaceAllString(program, `""`)) {
		c.Files = append(c.Files, Use{Op: "write"})
	}
}

// sed handles the scripts of sed: e runs a command, w writes a file.
func (a *analyzer) sed(c *Command, sc scope) {
	given, inPlace := false, false
	var operands []*Arg
	for i := 0; i < len(c.Args); i++ {
		g := c.Args[i]
		v := g.approx
		switch {
		case v == "--" && g.Literal:
			operands = append(operands, c.Args[i+1:]...)
			i = len(c.Args)
		case (v == "-e" || v == "--expression") && i+1 < len(c.Args):
			i++
			given = true
			a.sedScript(c, c.Args[i].approx, c.Args[i].Literal, sc)
		case strings.HasPrefix(v, "--expression="):
			given = true
			a.sedScript(c, v[len("--expression="):], g.Literal, sc)
		case strings.HasPrefix(v, "--file"), v == "-f":
			given = true
			c.opaque("it runs a script file")
			if !strings.Contains(v, "=") {
				i++
			}
		case strings.HasPrefix(v, "--in-place"):
			inPlace = true
		case len(v) > 1 && v[0] == '-' && v[1] != '-':
			i += a.sedCluster(c, i, &given, &inPlace, sc)
		case strings.HasPrefix(v, "--"):
			if v == "--line-length" {
				i++
			}
		default:
			operands = append(operands, g)
		}
	}
	if !given && len(operands) > 0 {
		a.sedScript(c, operands[0].approx, operands[0].Literal, sc)
		operands = operands[1:]
	}
	op := "read"
	if inPlace {
		op = "write"
	}
	for _, o := range operands {
		c.use(op, o)
	}
}

// sedCluster reads short options; more is 1 if the next word belongs to them.
func (a *analyzer) sedCluster(c *Command, at int, given, inPlace *bool, sc scope) (more int) {
	v := c.Args[at].approx
	for j := 1; j < len(v); j++ {
		rest := v[j+1:]
		switch v[j] {
		case 'i':
			*inPlace = true
			return 0
		case 'l':
			if rest == "" {
				return 1
			}
			return 0
		case 'f':
			*given = true
			c.opaque("it runs a script file")
			if rest == "" {
				return 1
			}
			return 0
		case 'e':
			*given = true
			if rest != "" {
				a.sedScript(c, rest, c.Args[at].Literal, sc)
				return 0
			}
			if at+1 < len(c.Args) {
				a.sedScript(c, c.Args[at+1].approx, c.Args[at+1].Literal, sc)
			}
			return 1
		}
	}
	return 0
}

// sedScript reads the commands of a script.
func (a *analyzer) sedScript(c *Command, s string, known bool, sc scope) {
	if !known {
		c.opaque("the script that it runs is not static")
	}
	for s != "" {
		s = sedAddress(s)
		if s == "" {
			return
		}
		cmd := s[0]
		s = s[1:]
		line, after, _ := strings.Cut(s, "\n")
		switch cmd {
		case 'e':
			if text := strings.TrimSpace(line); text != "" {
				a.seen(c, text, sc)
			} else {
				c.opaque("it runs what it reads")
			}
			s = after
		case 'w', 'W', 'r', 'R':
			op := "read"
			if cmd|0x20 == 'w' {
				op = "write"
			}
			c.useText(op, strings.TrimSpace(line))
			s = after
		case 's', 'y':
			s = a.sedSubstitute(c, cmd, s, sc)
		case 'a', 'i', 'c':
			for strings.HasSuffix(line, `\`) && after != "" {
				line, after, _ = strings.Cut(after, "\n")
			}
			s = after
		case 'b', 't', 'T', ':', '#':
			end := strings.IndexAny(s, ";\n")
			if cmd == ':' || cmd == '#' || end < 0 {
				s = after
				break
			}
			s = s[end+1:]
		}
	}
}

// sedAddress skips addresses, blanks and separators before a command.
func sedAddress(s string) string {
	for s != "" {
		switch ch := s[0]; {
		case strings.IndexByte(" \t\n;,!$~+0123456789{}IM", ch) >= 0:
			s = s[1:]
		case ch == '/', ch == '\\' && len(s) > 1:
			delim := byte('/')
			s = s[1:]
			if ch == '\\' {
				delim = s[0]
				s = s[1:]
			}
			s = sedPast(s, delim)
		default:
			return s
		}
	}
	return s
}

// sedPast is what follows the next delim that is not escaped.
func sedPast(s string, delim byte) string {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case delim:
			return s[i+1:]
		}
	}
	return ""
}

func (a *analyzer) sedSubstitute(c *Command, cmd byte, s string, sc scope) (rest string) {
	if s == "" {
		return ""
	}
	delim := s[0]
	after := sedPast(s[1:], delim)
	s = sedPast(after, delim)
	made := strings.TrimSuffix(strings.TrimSuffix(after, s), string(delim))
	if cmd == 'y' {
		return s
	}
	for s != "" {
		flag := s[0]
		switch {
		case flag == 'e':
			c.opaque("it runs what it makes")
			a.seen(c, made, sc)
		case flag == 'w':
			name, after, _ := strings.Cut(s[1:], "\n")
			c.useText("write", strings.TrimSpace(name))
			return after
		case strings.IndexByte("gpiImM0123456789", flag) < 0:
			return s
		}
		s = s[1:]
	}
	return ""
}

// editor is vi and its like, less and man: what they are told to do at the start can run commands.
func (a *analyzer) editor(c *Command, sc scope) {
	c.opaque("it can run commands")
	if c.Base == "man" {
		a.optionScripts(c, c.Args, sc, "-P", "--pager", "-H", "--html")
	}
	for i, g := range c.Args {
		v := g.approx
		switch {
		case (v == "--cmd" || len(v) > 1 && v[0] == '-' && v[1] != '-' && strings.HasSuffix(v, "c")) && i+1 < len(c.Args):
			v = c.Args[i+1].approx
		case strings.HasPrefix(v, "+"):
			v = v[1:]
		default:
			continue
		}
		for _, line := range strings.FieldsFunc(v, func(r rune) bool { return r == '|' || r == '\n' }) {
			if _, text, ok := strings.Cut(line, "!"); ok {
				a.seen(c, text, sc)
			}
		}
		a.embedded(c, []string{v}, sc)
	}
	if sc.stdin != nil && !strings.Contains(" less more man pager ", " "+path.Base(c.Base)+" ") {
		for line := range strings.Lines(sc.stdin.text) {
			if _, text, ok := strings.Cut(line, "!"); ok {
				a.seen(c, text, sc)
			}
		}
	}
}
