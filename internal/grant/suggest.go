package grant

import (
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
)

// Bounds of a class.
const (
	maxCommands = 16
	maxWords    = 64
	maxArgs     = 4 << 10
)

// Suggest returns the narrowest class of calls that is of use to people who do not
// want to be asked the same again. in is the call that policy asks about for the
// reasons. The error says why no class is offered: what would run is not known, or
// it cannot be told apart from other things.
//
// A command becomes exactly its words, but for what is known to make no difference:
// the text of a commit's message, and which files of one directory a harmless program
// is given. Neither variables nor a standard input nor a terminal are ever granted.
func Suggest(in *policy.Input, reasons []policy.Reason) (Class, error) {
	c, err := begin(in, reasons)
	if err != nil {
		return Class{}, err
	}
	switch {
	case in.Call.Python != nil:
		err = errors.New("what a Python program does cannot be told by its words")
	case in.Call.Shell != nil:
		err = c.ofScript(in.Call.Shell, reasons)
	default:
		err = c.ofArguments(in)
	}
	if err != nil {
		return Class{}, err
	}
	return c, nil
}

// begin is a class of calls like this one, before it is said which.
func begin(in *policy.Input, reasons []policy.Reason) (Class, error) {
	c := Class{Tool: in.Call.Tool, Cwd: in.Call.Cwd, Profile: in.Session.Profile}
	for _, r := range reasons {
		if strings.HasPrefix(r.Rule, "daemon:") {
			return Class{}, errors.New("the reasons of the question are too many to be granted")
		}
		c.Rules = append(c.Rules, r.Rule)
	}
	slices.Sort(c.Rules)
	if c.Rules = slices.Compact(c.Rules); len(c.Rules) == 0 {
		return Class{}, errors.New("the question has no reason that could be answered for good")
	}
	if len(in.Call.Env) > 0 {
		return Class{}, errors.New("the call sets variables")
	}
	if in.Call.StdinBytes == nil || *in.Call.StdinBytes != 0 {
		return Class{}, errors.New("the call has a standard input")
	}
	if in.Call.Terminal {
		return Class{}, errors.New("the call has a terminal, at which anything can be typed")
	}
	return c, nil
}

// harmless are the features of scripts that hold nothing but simple commands, as
// lib/shell.rego has them.
var harmless = []string{
	"and_list", "ansi_c_quoting", "brace_expansion", "comment", "glob", "heredoc", "herestring", "negation",
	"non_ascii", "or_list", "pipeline", "redirect", "sequence", "time",
}

func (c *Class) ofScript(s *facts.Shell, reasons []policy.Reason) error {
	switch {
	case !s.Parsed || s.Overflow:
		return errors.New("the script could not be read as a whole")
	case s.Truncated:
		return errors.New("the script is longer than a person reviews")
	case s.Opaque:
		return errors.New("the script runs code that is not known")
	case s.ChangesDirectory || len(s.Functions)+len(s.Aliases) > 0:
		return errors.New("the script changes its directory or defines commands")
	case s.Cwd.InWorkspace == nil || !*s.Cwd.InWorkspace:
		return errors.New("the working directory is not known to be in the workspace")
	}
	for _, feature := range s.Features {
		if !slices.Contains(harmless, feature) {
			return errors.New("the script uses " + strings.ReplaceAll(feature, "_", " "))
		}
	}
	var asked []*facts.Command
	for i, command := range s.Commands {
		if slices.ContainsFunc(reasons, func(r policy.Reason) bool { return r.Command == nil || *r.Command == i }) {
			asked = append(asked, command)
		}
	}
	if len(asked) == 0 || len(asked) > maxCommands {
		return errors.New("the question is about no command, or about too many")
	}
	var words []string
	for _, command := range asked {
		if fed(s.Commands, command) {
			return errors.New(shown(command.Base) + " may read what another command writes into a pipe, which no grant names")
		}
		class, text, err := ofCommand(command)
		if err != nil {
			return err
		}
		if !slices.Contains(words, text) {
			words, c.Commands = append(words, text), append(c.Commands, class)
		}
	}
	c.Summary = strings.Join(words, "; ")
	return nil
}

// fed is that of lib/grants.rego.
func fed(all []*facts.Command, c *facts.Command) bool {
	piped := func(context string) bool { return strings.HasPrefix(context, "|") }
	return c.Index > 0 && c.Index <= len(all) && slices.ContainsFunc(c.Context, piped) && slices.ContainsFunc(all[c.Index-1].Context, piped)
}

func ofCommand(c *facts.Command) (policy.GrantCommand, string, error) {
	none := policy.GrantCommand{}
	switch {
	case c.Kind != "simple" || !c.NameStatic || !c.Static:
		return none, "", errors.New("what a command of the script is, is only known when it runs")
	case c.Dir != "" && c.Dir != "/bin" && c.Dir != "/usr/bin":
		return none, "", errors.New(shown(c.Name) + " is no program of the system")
	case c.Opaque || len(c.Via) > 0 || c.Depth > 0:
		return none, "", errors.New(shown(c.Base) + " runs code that is not known, or is run by another command")
	case len(c.Env) > 0:
		return none, "", errors.New(shown(c.Base) + " has variables set before it")
	case len(c.Args) > maxWords:
		return none, "", errors.New(shown(c.Base) + " has too many words")
	}
	for _, r := range c.Redirects {
		if !quiet(r) {
			return none, "", errors.New(shown(c.Base) + " has its input or output redirected")
		}
	}
	for _, a := range c.Args {
		if !a.Literal || a.Value == nil {
			return none, "", errors.New("a word of " + shown(c.Base) + " is only known when it runs")
		}
	}
	class := policy.GrantCommand{Name: c.Base, Options: []string{}, Words: []string{}, Texts: []string{}, Under: []string{}}
	if f, ok := familiar[c.Base]; ok && !c.Network && f.generalise(&class, c) {
		return class, f.words(&class), nil
	}
	class = policy.GrantCommand{Name: c.Base, Argv: []string{}, Options: []string{}, Words: []string{}, Texts: []string{}, Under: []string{}}
	words := []string{shown(c.Base)}
	for _, a := range c.Args {
		class.Argv, words = append(class.Argv, *a.Value), append(words, shown(*a.Value))
	}
	return class, "exactly `" + strings.Join(words, " ") + "`", nil
}

func quiet(r *facts.Redirect) bool {
	if r.Target == nil {
		return false
	}
	switch r.Class {
	case "dup":
		return *r.Target == "1" || *r.Target == "2"
	case "write", "append":
		return *r.Target == "/dev/null"
	}
	return false
}

// family is a program whose uses differ in what makes no difference.
type family struct {
	subs  map[string][]string // subcommands, each with its options that take any text
	files bool                // it may be given any file of a directory
}

// familiar programs. None of them destroys what it is given, runs it, or sends it
// anywhere.
var familiar = map[string]family{
	"git": {files: true, subs: map[string][]string{
		"add": nil, "commit": {"-m", "--message"}, "diff": nil, "log": nil, "show": nil, "status": nil, "blame": nil, "tag": {"-m", "--message"},
		"stash": {"-m", "--message"},
	}},
	"mkdir": {files: true}, "touch": {files: true}, "cat": {files: true}, "head": {files: true}, "tail": {files: true}, "wc": {files: true},
	"ls": {files: true}, "stat": {files: true}, "file": {files: true}, "diff": {files: true}, "gofmt": {files: true}, "goimports": {files: true},
}

// generalise fills in the class of a command; false: it has to be its very words.
func (f family) generalise(class *policy.GrantCommand, c *facts.Command) bool {
	args := c.Args
	var texts []string
	if f.subs != nil {
		sub := ""
		if c.Git != nil && c.Git.Own && c.Git.At == 0 && len(c.Git.Settings) == 0 {
			sub = c.Git.Sub
		}
		var known bool
		if texts, known = f.subs[sub]; !known {
			return false
		}
		class.Sub, args = sub, args[1:]
	}
	wide := false
	for i := 0; i < len(args); i++ {
		a := args[i]
		value := *a.Value
		name, _, attached := strings.Cut(value, "=")
		switch {
		case slices.Contains(texts, value) && i+1 < len(args):
			if strings.HasPrefix(*args[i+1].Value, "-") {
				return false
			}
			class.Options, class.Texts, wide = add(class.Options, value), add(class.Texts, value), true
			i++
		case attached && slices.Contains(texts, name) && strings.HasPrefix(name, "--"):
			class.Texts, wide = add(class.Texts, name), true
		case strings.HasPrefix(value, "-"):
			class.Options = add(class.Options, value)
		case f.files && isPath(a) && path.Dir(a.Real) != sandbox.WorkspacePath:
			class.Under, wide = add(class.Under, path.Dir(a.Real)), true
		default:
			class.Words = add(class.Words, value)
		}
	}
	return wide
}

// isPath tells words that name files from others that could do so.
func isPath(a *facts.Arg) bool {
	return a.InWorkspace != nil && *a.InWorkspace && strings.HasPrefix(a.Real, sandbox.WorkspacePath+"/") &&
		(a.Exists != nil && *a.Exists || strings.Contains(*a.Value, "/"))
}

func (f family) words(class *policy.GrantCommand) string {
	words := []string{shown(class.Name)}
	if class.Sub != "" {
		words = append(words, shown(class.Sub))
	}
	for _, w := range slices.Concat(class.Options, class.Words) {
		if !slices.Contains(class.Texts, w) {
			words = append(words, "["+shown(w)+"]")
		}
	}
	parts := []string{"`" + strings.Join(words, " ") + "`"}
	if len(class.Texts) > 0 {
		parts = append(parts, "any text for "+strings.Join(class.Texts, " and "))
	}
	for _, dir := range class.Under {
		parts = append(parts, "files below "+shown(dir))
	}
	return strings.Join(parts, ", ")
}

// ofArguments is the class of a call of a tool that runs no script.
func (c *Class) ofArguments(in *policy.Input) error {
	if len(in.Call.Args) > maxArgs {
		return errors.New("the arguments are too long")
	}
	for i := range in.Call.Files {
		f := &in.Call.Files[i]
		if f.InWorkspace == nil || !*f.InWorkspace || f.Real == "" {
			return errors.New(shown(f.Path) + " is not known to be in the workspace")
		}
		if dir := path.Dir(f.Real); dir != sandbox.WorkspacePath && f.Real != sandbox.WorkspacePath {
			c.Under = add(c.Under, dir)
		}
	}
	if in.Tool.Source == "builtin" && len(c.Under) > 0 && len(in.Call.Files) == 1 && in.Call.Files[0].Op != "delete" {
		names, err := memberNames(in.Call.Args)
		if err != nil {
			return err
		}
		c.Free, c.Args = names, []byte("{}")
		c.Summary = shown(in.Call.Tool) + " of any file below " + shown(c.Under[0])
		return nil
	}
	c.Under, c.Args = nil, slices.Clone(in.Call.Args)
	c.Summary = shown(in.Call.Tool) + " with exactly these arguments: " + shown(string(c.Args))
	return nil
}

func add(list []string, item string) []string {
	if slices.Contains(list, item) {
		return list
	}
	return append(list, item)
}

// shown is a word for a person to read: quoted where it is anything but plain
// ASCII, so that nothing in it can be taken for something else.
func shown(word string) string {
	for _, r := range word {
		if r >= unicode.MaxASCII || !unicode.IsPrint(r) || r == '`' || r == ' ' {
			return strconv.QuoteToASCII(word)
		}
	}
	if word == "" {
		return `""`
	}
	return word
}
