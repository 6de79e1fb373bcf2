package facts

import (
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

var (
	fdTarget  = regexp.MustCompile(`^([0-9]+-?|-)$`)
	netTarget = regexp.MustCompile(`^/dev/(tcp|udp)/`)
)

// redirects reads the redirections of a statement; stdin is the text that descriptor 0 reads then: the one given,
// unless they replace it, and nil when it is not known.
func (a *analyzer) redirects(list []*syntax.Redirect, stdin *input) ([]*Redirect, *input) {
	var out []*Redirect
	for _, r := range list {
		red := &Redirect{Op: r.Op.String()}
		if r.N != nil {
			red.Fd = unhidden(r.N.Value)
			if name, ok := strings.CutPrefix(red.Fd, "{"); ok {
				a.variable(strings.TrimSuffix(name, "}"))
			}
		}
		onStdin := red.Fd == "" || red.Fd == "0"
		switch r.Op {
		case syntax.Hdoc, syntax.DashHdoc:
			a.feature(FeatureHeredoc)
			red.Class = "heredoc"
			in := a.heredoc(r, red)
			if onStdin {
				stdin = in
			}
		case syntax.WordHdoc:
			a.feature(FeatureHerestring)
			red.Class = "herestring"
			w := a.word(r.Word)
			if !w.Dynamic && !w.Tilde {
				red.Target, red.Static = w.Value, true
			}
			if onStdin {
				stdin = &input{text: w.approx + "\n", known: red.Static}
			}
		default:
			a.feature(FeatureRedirect)
			a.fileRedirect(r, red)
			if onStdin && (r.Op == syntax.RdrIn || r.Op == syntax.DplIn || r.Op == syntax.RdrInOut) {
				stdin = nil
			}
		}
		out = append(out, red)
	}
	return out, stdin
}

// heredoc reads the body of a here-document.
func (a *analyzer) heredoc(r *syntax.Redirect, red *Redirect) *input {
	quoted := false
	for _, p := range r.Word.Parts {
		lit, ok := p.(*syntax.Lit)
		quoted = quoted || !ok || strings.Contains(lit.Value, `\`)
	}
	var body strings.Builder
	known := true
	if r.Hdoc != nil {
		for _, p := range r.Hdoc.Parts {
			lit, ok := p.(*syntax.Lit)
			switch {
			case !ok:
				known = false
				body.WriteString(placeholder)
			case quoted:
				body.WriteString(unhidden(lit.Value))
			default:
				body.WriteString(unescapeIn(lit.Value, "$`\\"))
			}
		}
	}
	text := body.String()
	if r.Op == syntax.DashHdoc {
		lines := strings.SplitAfter(text, "\n")
		for i, l := range lines {
			lines[i] = strings.TrimLeft(l, "\t")
		}
		text = strings.Join(lines, "")
	}
	if red.Static = known; known {
		red.Target = &text
	}
	return &input{text: text, known: known}
}

var redirectClass = map[syntax.RedirOperator]string{
	syntax.RdrOut: "write", syntax.RdrClob: "write", syntax.RdrAll: "write", syntax.RdrAllClob: "write",
	syntax.AppOut: "append", syntax.AppClob: "append", syntax.AppAll: "append", syntax.AppAllClob: "append",
	syntax.RdrIn: "read", syntax.RdrInOut: "read_write", syntax.DplIn: "dup", syntax.DplOut: "dup",
}

func (a *analyzer) fileRedirect(r *syntax.Redirect, red *Redirect) {
	red.Class = redirectClass[r.Op]
	if red.Class == "" {
		red.Class = "read_write" // an operator of a newer parser: the worst of them
	}
	targets := a.words(r.Word) // bash expands braces here, and refuses more than one word
	if len(targets) != 1 {
		return
	}
	t := targets[0]
	red.Network = netTarget.MatchString(t.Prefix) || t.Value != nil && netTarget.MatchString(*t.Value)
	if t.Literal {
		red.Target, red.Static = t.Value, true
	} else {
		red.raw = t.raw
	}
	if red.Class == "dup" && (!t.Literal || !fdTarget.MatchString(*t.Value)) {
		red.Class = "read"
		if r.Op == syntax.DplOut {
			red.Class = "write" // >&word is &>word
		}
	}
}
