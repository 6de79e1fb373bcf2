package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// part is what a value is of the input, as far as it holds words: what a call
// differs by from others of its shape.
type part uint8

const (
	noWords part = iota
	inputPart
	callPart
	shellPart
	commandsPart // a list of commandPart
	commandPart
	filesPart // a list of filePart
	filePart
	somePart // one of those, it is not known which
)

// item is what the items of a list are.
func (p part) item() part {
	switch p {
	case commandsPart:
		return commandPart
	case filesPart:
		return filePart
	}
	return noWords
}

// member tells what the member of a part is, and whether it is words itself: the
// arguments of the call, the length of its script, of a command its arguments
// with the files that they name, and of a file of a tool its path.
func (p part) member(name string) (next part, words bool) {
	switch {
	case p == inputPart && name == "call":
		return callPart, false
	case p == callPart && name == "shell":
		return shellPart, false
	case p == callPart && name == "files":
		return filesPart, false
	case p == shellPart && name == "commands":
		return commandsPart, false
	case (p == callPart || p == commandPart) && name == "args", p == commandPart && name == "files", p == shellPart && name == "bytes",
		p == filePart && (name == "path" || name == "abs" || name == "real"):
		return noWords, true
	}
	return noWords, false
}

// wordUse tells of each expression and rule of a compiled policy whether
// evaluating it may look at words. An evaluation that comes by none of those says
// the same of every call that differs from this one only in its words: until it
// looks at them it cannot take another way. Immutable.
//
// What may look at words is found by where the parts that hold them go:
// references, `some … in` and `every`, variables, arguments of functions. To look
// at a member by its name is no look at the others; anything else that is done
// with a part, such as to compare it, to give it to a built-in function or to put
// it into a document, is taken for a look at the words. So is what is not known
// here.
type wordUse struct {
	exprs map[any]bool // by what their terms begin with, since a negated expression is copied
	rules map[*ast.Rule]bool
}

// newWordUse finds what looks at words: nil if that cannot be told, since a
// policy replaces documents by `with`, or the index of the decision itself looks
// at them.
func newWordUse(compiler *ast.Compiler, asked ast.Body) *wordUse {
	for _, mod := range compiler.Modules {
		if replacesInput(mod) || replacesData(mod) {
			return nil
		}
	}
	f := newWordFinder(compiler)
	for again := true; again; {
		again = false
		for _, r := range f.rules {
			again = r.follow() || again
		}
	}
	u := &wordUse{exprs: map[any]bool{}, rules: map[*ast.Rule]bool{}}
	for _, r := range f.rules {
		u.rules[r.rule] = r.headLooks()
		for _, expr := range r.exprs {
			u.note(expr, r.looks(expr) != looksNowhere)
		}
	}
	for _, expr := range asked {
		u.note(expr, f.looksIn(expr))
	}
	return u
}

func (u *wordUse) note(expr *ast.Expr, looks bool) {
	key := exprKey(expr)
	u.exprs[key] = u.exprs[key] || looks
	if every, ok := expr.Terms.(*ast.Every); ok {
		u.exprs[every.Value] = u.exprs[every.Value] || looks
	}
}

// tells of an expression whether it looks at words, if it is known. OPA makes one
// of its own of `every` to go through its domain: it gives the value to each.
func (u *wordUse) tells(expr *ast.Expr) (looks, known bool) {
	looks, known = u.exprs[exprKey(expr)]
	if terms, ok := expr.Terms.([]*ast.Term); ok && !known && expr.IsEquality() && len(terms) == 3 {
		looks, known = u.exprs[terms[2]]
	}
	return looks, known
}

func exprKey(expr *ast.Expr) any {
	if terms, ok := expr.Terms.([]*ast.Term); ok && len(terms) > 0 {
		return &terms[0]
	}
	return expr.Terms
}

// wordWatch sees whether an evaluation may have looked at words. It implements
// topdown.QueryTracer.
type wordWatch struct {
	use    *wordUse
	looked bool
}

// Enabled implements topdown.QueryTracer.
func (*wordWatch) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (*wordWatch) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent implements topdown.QueryTracer. What it does not know may look.
func (w *wordWatch) TraceEvent(e topdown.Event) {
	var looks, known bool
	switch node := e.Node.(type) {
	case *ast.Expr:
		if e.Op != topdown.EvalOp {
			return
		}
		looks, known = w.use.tells(node)
	case *ast.Rule:
		if e.Op != topdown.EnterOp {
			return
		}
		looks, known = w.use.rules[node]
	default: // the body of a query, whose expressions are told by themselves
		return
	}
	w.looked = w.looked || looks || !known
}
