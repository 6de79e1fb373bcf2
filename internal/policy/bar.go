package policy

import (
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// barRules makes OPA's index leave out the rules that can never hold, since
// they ask for a document below data that neither a rule nor a file of this
// revision makes: the rules of the library for packages of the operator's, for
// tenants and for modes, where there are none. Such a rule gets a condition
// before it that no call fulfils; it stays what it is to the compiler, so that
// what is wrong with it is still found.
//
// A policy that replaces documents by `with` is left alone, as in guardRules.
func barRules(mods map[string]*ast.Module, docs map[string]any) {
	made := treeOf(docs)
	for _, mod := range mods {
		if replacesData(mod) {
			return
		}
		made.grow(mod.Package.Path[1:])
		for _, rule := range mod.Rules {
			made.grow(mod.Package.Path[1:].Extend(rule.Head.Ref())).whole = true
		}
	}
	missing := func(ref ast.Ref) bool { return ref.HasPrefix(ast.DefaultRootRef) && !made.holds(ref[1:]) }
	barred := map[*ast.Rule]bool{}
	bar := func(rule *ast.Rule, why func(*ast.Rule) bool) bool {
		if rule.Default || rule.Else != nil || barred[rule] || !why(rule) {
			return false
		}
		prepend(rule, ast.Equality.Expr(ast.NewTerm(schemaRef.Copy()), ast.StringTerm("")))
		barred[rule] = true
		return true
	}
	for _, mod := range mods {
		for _, rule := range mod.Rules {
			bar(rule, func(rule *ast.Rule) bool { return asksFor(rule, missing) })
		}
	}
	for more := true; more; {
		more = false
		never := neverDefined(mods, barred)
		for _, mod := range mods {
			for _, rule := range mod.Rules {
				more = bar(rule, func(rule *ast.Rule) bool { return demands(mod, rule, never) }) || more
			}
		}
	}
}

var schemaRef = ast.MustParseRef("input.schema")

// isBarred tells of a compiled rule whether it can never hold.
func isBarred(rule *ast.Rule) bool {
	return slices.ContainsFunc(rule.Body, func(expr *ast.Expr) bool {
		terms, ok := expr.Terms.([]*ast.Term)
		return ok && !expr.Negated && len(terms) == 3 &&
			(expr.Operator().Equal(ast.Equality.Ref()) || expr.Operator().Equal(ast.Equal.Ref())) &&
			terms[1].Value.Compare(schemaRef) == 0 && terms[2].Value.Compare(ast.String("")) == 0
	})
}

// neverDefined are the names of rules that are all barred, by packages. They
// have no default, and are no sets, functions or else-branches: what they make is undefined.
func neverDefined(mods map[string]*ast.Module, barred map[*ast.Rule]bool) map[string]bool {
	never, alive := map[string]bool{}, map[string]bool{}
	for _, mod := range mods {
		for _, rule := range mod.Rules {
			name := mod.Package.Path.Extend(rule.Head.Ref()[:1]).String()
			if barred[rule] && rule.Head.RuleKind() == ast.SingleValue && len(rule.Head.Ref()) == 1 && len(rule.Head.Args) == 0 {
				never[name] = true
			} else {
				alive[name] = true
			}
		}
	}
	maps.DeleteFunc(never, func(name string, _ bool) bool { return alive[name] })
	return never
}

// demands tells whether an expression of the body is the name of a rule of the
// same package that is never defined.
func demands(mod *ast.Module, rule *ast.Rule, never map[string]bool) bool {
	return slices.ContainsFunc(rule.Body, func(expr *ast.Expr) bool {
		term, ok := expr.Terms.(*ast.Term)
		if !ok || expr.Negated || len(expr.With) > 0 {
			return false
		}
		name, ok := term.Value.(ast.Var)
		return ok && never[mod.Package.Path.Extend(ast.Ref{ast.NewTerm(name)}).String()] && !declares(rule, name)
	})
}

// declares tells whether the name stands for something else in a rule: it has
// more than one meaning only where it is not just an expression of the body.
func declares(rule *ast.Rule, name ast.Var) bool {
	found := 0
	ast.WalkVars(rule, func(v ast.Var) bool {
		if v.Equal(name) {
			found++
		}
		return false
	})
	return found != 1
}

func replacesData(mod *ast.Module) bool {
	found := false
	ast.WalkWiths(mod, func(w *ast.With) bool {
		ref, ok := w.Target.Value.(ast.Ref)
		found = found || !ok || ref.HasPrefix(ast.DefaultRootRef)
		return found
	})
	return found
}

// tree is what there may be below data.
type tree struct {
	whole bool // a value: what is below it is not known
	kids  map[string]*tree
}

func treeOf(doc any) *tree {
	object, ok := doc.(map[string]any)
	t := &tree{whole: !ok, kids: make(map[string]*tree, len(object))}
	for key, value := range object {
		t.kids[key] = treeOf(value)
	}
	return t
}

// grow makes what is at the path up to its first key that is not a text, which
// makes what is there a value.
func (t *tree) grow(path ast.Ref) *tree {
	for _, term := range path {
		key, ok := keyOf(term)
		if !ok {
			t.whole = true
			break
		}
		if t.kids[key] == nil {
			t.kids[key] = &tree{kids: map[string]*tree{}}
		}
		t = t.kids[key]
	}
	return t
}

// holds tells whether there may be something at the path; a key that is not a
// text may be any.
func (t *tree) holds(path ast.Ref) bool {
	if t.whole || len(path) == 0 {
		return true
	}
	if key, ok := keyOf(path[0]); ok {
		kid := t.kids[key]
		return kid != nil && kid.holds(path[1:])
	}
	for _, kid := range t.kids {
		if kid.holds(path[1:]) {
			return true
		}
	}
	return false
}

func keyOf(term *ast.Term) (string, bool) {
	key, ok := term.Value.(ast.String)
	return string(key), ok
}

// asksFor tells whether a rule can hold only where one of the missing documents
// is there: an expression of its body, or its head, has it outside of what may
// as well be empty or undefined.
func asksFor(rule *ast.Rule, missing func(ast.Ref) bool) bool {
	for _, expr := range rule.Body {
		if expr.Negated || len(expr.With) > 0 {
			continue
		}
		if anyRef(expr, missing) {
			return true
		}
	}
	for _, term := range []*ast.Term{rule.Head.Key, rule.Head.Value} {
		if term != nil && anyRef(term, missing) {
			return true
		}
	}
	return false
}

// anyRef tells whether a reference that has to be defined is one of those.
func anyRef(x any, those func(ast.Ref) bool) bool {
	found := false
	ast.NewGenericVisitor(func(node any) bool {
		switch node := node.(type) {
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
			return true
		case ast.Ref:
			found = found || those(node)
		case *ast.Term, *ast.Expr, *ast.SomeDecl, ast.Call, *ast.Array, ast.Object, ast.Set:
		default: // every, or what a later version of the language has
			return true
		}
		return found
	}).Walk(x)
	return found
}
