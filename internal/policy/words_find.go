package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// look is how an expression looks at words.
type look uint8

const (
	looksNowhere look = iota
	looksWhenEvaluated
	// looksByIndex: OPA's index may look as well, to leave out the rule, which no
	// trace tells of. It looks at references from the input whose keys are written
	// down, at variables that stand for such, and at arguments of functions.
	looksByIndex
)

// wordFinder follows the parts that hold words through the rules of a policy.
type wordFinder struct {
	rules     []*ruleWords
	functions map[string]*function
	indexed   *tree // documents and functions whose index may look at words
}

// function is what is known of a function: what its arguments may be.
type function struct{ args []part }

func newWordFinder(compiler *ast.Compiler) *wordFinder {
	f := &wordFinder{functions: map[string]*function{}, indexed: treeOf(map[string]any{})}
	for _, mod := range compiler.Modules {
		for _, rule := range mod.Rules {
			if name := rule.Ref().String(); len(rule.Head.Args) > 0 && f.functions[name] == nil {
				f.functions[name] = &function{args: make([]part, len(rule.Head.Args))}
			}
		}
	}
	for _, mod := range compiler.Modules {
		for _, rule := range mod.Rules {
			for at := rule; at != nil; at = at.Else {
				f.rules = append(f.rules, newRuleWords(f, at, rule))
			}
		}
	}
	return f
}

// looksIn tells of an expression outside of rules, which names documents only.
func (f *wordFinder) looksIn(expr *ast.Expr) bool {
	r := ruleWords{finder: f, bound: map[ast.Var]int{}, equal: map[ast.Var]bool{}, parts: map[ast.Var]part{}}
	return r.looks(expr) != looksNowhere
}

// markIndexed notes that the index of a document may look at words; false: it is known.
func (f *wordFinder) markIndexed(name ast.Ref) bool {
	at := f.indexed.grow(name.GroundPrefix()[1:])
	known := at.whole
	at.whole = true
	return !known
}

// isIndexed tells whether what is at the reference, around it or within it is such a document.
func (f *wordFinder) isIndexed(ref ast.Ref) bool { return f.indexed.holds(ref[1:]) }

// ruleWords is one rule, or one that is else to another, with what its variables
// are. Names of variables are those of the compiler, one for each scope; those of
// arguments are the first rule's.
type ruleWords struct {
	finder *wordFinder
	rule   *ast.Rule
	name   ast.Ref
	args   ast.Args
	exprs  []*ast.Expr        // at any depth
	top    map[*ast.Expr]bool // those of the body itself, which the index sees
	bound  map[ast.Var]int    // in how many places it may get its value
	equal  map[ast.Var]bool   // it stands at a side of an equality, so that the index may know it
	parts  map[ast.Var]part
}

func newRuleWords(f *wordFinder, rule, first *ast.Rule) *ruleWords {
	r := &ruleWords{
		finder: f, rule: rule, name: first.Ref(), args: first.Head.Args,
		top: map[*ast.Expr]bool{}, bound: map[ast.Var]int{}, equal: map[ast.Var]bool{}, parts: map[ast.Var]part{},
	}
	for _, expr := range rule.Body {
		r.top[expr] = true
	}
	own := *rule
	own.Else = nil
	ast.WalkExprs(&own, func(expr *ast.Expr) bool {
		r.exprs = append(r.exprs, expr)
		r.binds(expr)
		return false
	})
	for _, arg := range r.args {
		r.bind(arg)
	}
	return r
}

// binds counts where the variables of an expression may get their values. Those
// of references do so only by being the key of something.
func (r *ruleWords) binds(expr *ast.Expr) {
	switch terms := expr.Terms.(type) {
	case *ast.Every:
		r.bind(terms.Key)
		r.bind(terms.Value)
	case []*ast.Term:
		operands := terms[1:]
		if expr.IsEquality() {
			for _, side := range operands {
				r.bind(side)
				if v, ok := side.Value.(ast.Var); ok {
					r.equal[v] = true
				}
			}
			return
		}
		for _, out := range operands[min(r.arity(terms[0]), len(operands)):] {
			r.bind(out)
		}
	}
}

// arity of a function; 0 if it is not known, so that anything may be its result.
func (r *ruleWords) arity(operator *ast.Term) int {
	ref, ok := operator.Value.(ast.Ref)
	if !ok {
		return 0
	}
	if f := r.finder.functions[ref.String()]; f != nil {
		return len(f.args)
	}
	if builtin := ast.BuiltinMap[ref.String()]; builtin != nil {
		return builtin.Decl.Arity()
	}
	return 0
}

func (r *ruleWords) bind(term *ast.Term) {
	if term == nil {
		return
	}
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case ast.Var:
			r.bound[x]++
		case ast.Ref, *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
			return true
		}
		return false
	}).Walk(term)
}

// follow takes the parts one step further; false: nothing is new.
func (r *ruleWords) follow() bool {
	again := false
	if f := r.finder.functions[r.name.String()]; f != nil {
		for i, arg := range r.args {
			switch v, ok := arg.Value.(ast.Var); {
			case f.args[i] == noWords:
			case ok && r.bound[v] == 1:
				again = r.is(v, f.args[i]) || again
			default: // it is compared
				again = r.finder.markIndexed(r.name) || again
			}
		}
	}
	for _, expr := range r.exprs {
		again = r.pass(expr) || again
		if r.top[expr] && r.looks(expr) == looksByIndex {
			again = r.finder.markIndexed(r.name) || again
		}
	}
	return again
}

func (r *ruleWords) is(v ast.Var, p part) bool {
	old := r.parts[v]
	if p == noWords || old == p || old == somePart {
		return false
	}
	if old != noWords {
		p = somePart
	}
	r.parts[v] = p
	return true
}

// pass notes what variables and arguments of functions become by an expression.
func (r *ruleWords) pass(expr *ast.Expr) bool {
	again := false
	switch terms := expr.Terms.(type) {
	case *ast.Every:
		if p, _ := r.part(terms.Domain); p != noWords {
			item := p.item()
			if item == noWords {
				item = somePart
			}
			if v, ok := terms.Value.Value.(ast.Var); ok {
				again = r.is(v, item)
			}
		}
	case []*ast.Term:
		if expr.IsEquality() {
			for i, side := range terms[1:] {
				if v, ok := side.Value.(ast.Var); ok {
					p, _ := r.part(terms[2-i])
					again = r.is(v, p) || again
				}
			}
			return again
		}
		if f := r.finder.functions[terms[0].Value.String()]; f != nil {
			for i, arg := range f.args {
				if i+1 >= len(terms) {
					break
				}
				p, _ := r.part(terms[i+1])
				if p == noWords || p == arg || arg == somePart {
					continue
				}
				if arg != noWords {
					p = somePart
				}
				f.args[i], again = p, true
			}
		}
	}
	return again
}
