package facts

import (
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Possible is a text that a word may become when the script runs: by the values that the script itself gives to the
// variables in it, whenever it gives them, by HOME, which is written ~ here, or by the input of xargs. It is told to
// refuse by, never to allow: a word may always become something else as well.
type Possible struct {
	Value string `json:"value"`
	// PathFacts are those of Value read as a path; absent for one in a home directory.
	PathFacts
}

// hint is what is known of a dynamic piece of a word: the variable that it is, texts that it may be.
type hint struct {
	name  string
	texts []string
}

// maxPossible bounds the texts of a word, and the values of a variable.
const maxPossible = 16

// expansion is the hint for ${name}, ${name:-text} and their like; nil for what changes the value.
func (a *analyzer) expansion(p *syntax.ParamExp) *hint {
	if p.Param == nil || p.Excl || p.Length || p.Width || p.Slice != nil || p.Repl != nil || p.Names != 0 {
		return nil
	}
	h := &hint{name: p.Param.Value}
	if p.Exp == nil {
		return h
	}
	switch p.Exp.Op {
	case syntax.DefaultUnset, syntax.DefaultUnsetOrNull, syntax.AssignUnset, syntax.AssignUnsetOrNull,
		syntax.AlternateUnset, syntax.AlternateUnsetOrNull:
		if p.Exp.Word != nil {
			if g := a.word(p.Exp.Word); g.Value != nil {
				h.texts = []string{*g.Value}
			}
		}
		return h
	}
	return nil
}

// substitution is the hint for $(pwd).
func substitution(c *syntax.CmdSubst) *hint {
	if len(c.Stmts) == 1 {
		if call, ok := c.Stmts[0].Cmd.(*syntax.CallExpr); ok && len(call.Args) == 1 && call.Args[0].Lit() == "pwd" {
			return &hint{name: "PWD"}
		}
	}
	return nil
}

// note keeps a value that the script gives to a variable.
func (a *analyzer) note(name string, value []frag) {
	if a.given == nil {
		a.given = map[string][][]frag{}
	}
	if len(a.given[name]) < maxPossible {
		a.given[name] = append(a.given[name], value)
	}
}

// noteAssign keeps the values of NAME=VALUE and NAME=(VALUE …).
func (a *analyzer) noteAssign(as *syntax.Assign) {
	if as.Array != nil {
		for _, e := range as.Array.Elems {
			if e.Value != nil {
				a.note(as.Name.Value, a.frags(e.Value.Parts))
			}
		}
		return
	}
	if as.Value != nil && !as.Append {
		a.note(as.Name.Value, a.frags(as.Value.Parts))
	}
}

// noteWords keeps the values that a loop gives to its variable.
func (a *analyzer) noteWords(name string, words []*syntax.Word) {
	for _, w := range words {
		fields := [][]frag{a.frags(w.Parts)}
		if hasBrace(fields[0]) {
			fields, _ = a.braces(fields[0])
		}
		for _, f := range fields {
			a.note(name, f)
		}
	}
}

// possible are the texts that a word may become. Read in bases.
func (a *analyzer) possible(raw []frag, bases []string) []Possible {
	var out []Possible
	for _, text := range a.texts(raw, 0) {
		p := Possible{Value: text}
		if !strings.HasPrefix(text, "~") {
			p.PathFacts = a.pathFacts(text, bases)
		}
		out = append(out, p)
	}
	return out
}

// texts are what the pieces may be together; none when one of them is not known at all.
func (a *analyzer) texts(fs []frag, depth int) []string {
	if depth > 4 || len(fs) == 0 {
		return nil
	}
	out := []string{""}
	for i, f := range fs {
		pieces := []string{f.text}
		if f.dynamic {
			pieces = a.pieces(f.hint, depth)
		} else if i == 0 && f.quoted && strings.HasPrefix(f.text, "~") {
			pieces[0] = "./" + f.text // no home directory
		}
		var next []string
		for _, left := range out {
			for _, right := range pieces {
				if len(next) < maxPossible && !slices.Contains(next, left+right) && len(left)+len(right) <= 4096 {
					next = append(next, left+right)
				}
			}
		}
		out = next
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// pieces are the texts that a dynamic piece may be.
func (a *analyzer) pieces(h *hint, depth int) []string {
	if h == nil {
		return nil
	}
	out := slices.Clone(h.texts)
	for _, value := range a.given[h.name] {
		out = append(out, a.texts(value, depth+1)...)
	}
	switch {
	case h.name == "HOME":
		out = append(out, "~")
	case h.name == "PWD" && !a.cdSeen && path.IsAbs(a.opts.Cwd):
		out = append(out, a.opts.Cwd)
	}
	return out
}
