package facts

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"
)

// AnalyzeShell parses script as bash would for `bash -c` and lists every command in it, nested ones included.
// It never fails: what could not be found out is told in the result, which is never nil. It is safe for concurrent use
// when opts.Root is.
func AnalyzeShell(script string, opts Options) *Shell {
	a := newAnalyzer(opts.withDefaults())
	a.out.Bytes = len(script)
	a.out.TooLong = len(script) > softBytes
	switch err := a.top(script); {
	case err != nil:
		a.out.Error = err.Error()
	case a.has(FeatureNul):
		a.out.Error = "NUL byte in the script"
	case a.has(FeatureInvalidUTF8):
		a.out.Error = "the script is not valid UTF-8"
	}
	a.finish()
	return a.out
}

// analyzer holds the state of one analysis.
type analyzer struct {
	opts Options
	out  *Shell
	res  *resolver

	features  map[string]bool
	functions map[string]bool
	aliases   map[string]bool
	fields    int
	parsed    int // bytes given to the parser
	depth     int // commands that run commands, as they nest now

	variables map[string]bool
	values    []value             // of variables, which something may expand once more
	given     map[string][][]frag // what the script gives to variables
	evaluates bool                // something in the script does that
	owner     *Command
	pending   []pendingAlias
	aliasesOn bool

	bases    []string // possible working directories; nil: not known
	cdSeen   bool
	cdLate   bool // a cd at a time that the text does not tell
	cdSearch bool // CDPATH is set by the script
}

func newAnalyzer(opts Options) *analyzer {
	a := &analyzer{
		opts:      opts,
		res:       newResolver(opts),
		features:  map[string]bool{},
		functions: map[string]bool{},
		aliases:   map[string]bool{},
		out:       &Shell{Dialect: "bash"},
	}
	if path.IsAbs(opts.Cwd) {
		a.bases = []string{opts.Cwd}
		a.out.Cwd = a.res.facts(opts.Cwd, ".")
	}
	return a
}

func (a *analyzer) feature(name string)  { a.features[name] = true }
func (a *analyzer) has(name string) bool { return a.features[name] }
func (a *analyzer) overflow()            { a.out.Overflow = true }

// scope is where in the script a statement stands.
type scope struct {
	ctx   []string
	via   []string
	depth int
	late  bool   // runs at another time than the text tells
	stdin *input // what a command here reads; nil: not known
	other bool   // runs where the files are not those of the cell: another machine, container or root
}

// input is a standard input whose text is known, wholly or in part.
type input struct {
	text  string
	known bool // wholly
}

func (sc scope) in(name string) scope {
	sc.ctx = append(slices.Clip(sc.ctx), name)
	return sc
}

func (sc scope) by(name string) scope {
	sc.via = append(slices.Clip(sc.via), name)
	return sc
}

// top analyses the script itself. A panic of the parser is an error like any other.
func (a *analyzer) top(script string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the parser gave up: %v", r)
		}
	}()
	if len(script) > hardBytes {
		a.overflow()
		return fmt.Errorf("the script has %d bytes; at most %d are analysed", len(script), hardBytes)
	}
	return a.script(script, scope{})
}

// script parses text and walks its statements. After a syntax error the statements that can still be read are
// walked: those of the lines before it, which bash runs before it meets the error, and what is legible of the others.
func (a *analyzer) script(text string, sc scope) error {
	a.parsed += len(text)
	if sc.depth > hardDepth || a.parsed > hardParsed {
		a.overflow()
		return errors.New("scripts are nested too deeply")
	}
	if nestsTooDeep(text) {
		a.overflow()
		return errors.New("the script nests too deeply")
	}
	a.scanText(text)
	src, ok := hidden(text)
	if !ok {
		return errors.New("private-use characters U+F700 or U+F70D in the script")
	}
	stmts, perr := parse(src)
	if strings.Contains(src, "#") {
		a.comments(stmts)
	}
	a.stmts(stmts, sc)
	if perr != nil {
		return fmt.Errorf("not a bash script that can be parsed: %w", perr)
	}
	if strings.Contains(text, "$\\\n") {
		// Bash takes the two characters out before it looks for an expansion, so that
		// "$\<newline>(cmd)" runs cmd; the parser takes the dollar for itself.
		return errors.New("a line ends between a dollar and what it expands: write them on one line")
	}
	return nil
}

// linesBefore keeps the statements that end on a line before the one of the error.
func linesBefore(stmts []*syntax.Stmt, err error) []*syntax.Stmt {
	line := uint(0)
	switch e := err.(type) { //nolint:errorlint // the parser returns these two as they are
	case syntax.ParseError:
		line = e.Pos.Line()
	case syntax.LangError:
		line = e.Pos.Line()
	}
	for i, s := range stmts {
		if s.End().Line() >= line {
			return stmts[:i]
		}
	}
	return stmts
}

func (a *analyzer) comments(stmts []*syntax.Stmt) {
	for _, s := range stmts {
		if len(s.Comments) > 0 {
			a.feature(FeatureComment)
		}
	}
}

// add appends a command, within the limits.
func (a *analyzer) add(c *Command, sc scope) {
	if len(a.out.Commands) >= hardCommands {
		a.overflow()
		return
	}
	c.Index = len(a.out.Commands)
	c.Context, c.Via, c.Depth = orEmpty(sc.ctx), orEmpty(sc.via), sc.depth
	c.late, c.bases, c.other = sc.late, a.bases, sc.other
	c.Args, c.Env, c.Redirects = orEmpty(c.Args), orEmpty(c.Env), orEmpty(c.Redirects)
	a.out.Commands = append(a.out.Commands, c)
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// finish fills in what is only known at the end.
func (a *analyzer) finish() {
	o := a.out
	a.reevaluated()
	a.aliased()
	o.Parsed = o.Error == ""
	if !utf8.ValidString(o.Error) {
		o.Error = strings.ToValidUTF8(o.Error, "\uFFFD")
	}
	o.Error = unhidden(o.Error)
	o.TooManyCommands = len(o.Commands) > softCommands
	o.Truncated = o.TooLong || o.TooManyCommands
	o.ChangesDirectory = a.cdSeen
	o.Features, o.Functions, o.Aliases = sortedKeys(a.features), sortedKeys(a.functions), sortedKeys(a.aliases)
	if len(a.variables) > 0 {
		o.Variables = sortedKeys(a.variables)
	}
	o.Commands, o.Programs = orEmpty(o.Commands), Programs(o.Commands)
	for _, c := range o.Commands {
		o.Opaque = o.Opaque || c.Opaque
		if a.cdLate || a.cdSeen && c.late {
			c.bases = nil
		}
		if len(a.functions) > 0 && c.Kind == "simple" && a.functions[c.Name] {
			c.Function = true
		}
		c.Network = c.reaches()
		a.locate(c)
	}
	o.Bare = Bare(o.Commands)
}

// Programs are the names that commands run, in lower case, sorted, each once; never nil.
func Programs(commands []*Command) []string {
	names := make([]string, 0, min(len(commands), 8))
	for _, c := range commands {
		if c != nil && c.Base != "" {
			names = append(names, strings.ToLower(c.Base))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// opaque marks a command that runs code which is not known.
func (c *Command) opaque(reason string) {
	if !c.Opaque {
		c.Opaque, c.OpaqueReason = true, reason
	}
}
