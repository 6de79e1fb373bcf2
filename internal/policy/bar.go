package policy

import (
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
	made := map[string]bool{} // every path of a rule or package and those above it
	whole := map[string]bool{}
	for _, mod := range mods {
		if replacesData(mod) {
			return
		}
		for n := range mod.Package.Path {
			made[mod.Package.Path[:n+1].String()] = true
		}
		for _, rule := range mod.Rules {
			ground := written(mod.Package.Path.Extend(rule.Head.Ref()))
			for n := range ground {
				made[ground[:n+1].String()] = true
			}
			whole[ground.String()] = true // what is below it, its value says
		}
	}
	missing := func(ref ast.Ref) bool {
		prefix := written(ref)
		if len(prefix) < 2 || made[prefix.String()] {
			return false
		}
		for n := range prefix {
			if whole[prefix[:n+1].String()] {
				return false
			}
		}
		return !hasDocument(docs, prefix[1:])
	}
	for _, mod := range mods {
		for _, rule := range mod.Rules {
			if !rule.Default && rule.Else == nil && asksFor(rule, missing) {
				prepend(rule, ast.Equality.Expr(ast.NewTerm(schemaRef.Copy()), ast.StringTerm("")))
			}
		}
	}
}

// written is the part of a reference up to the first key that is not a text.
func written(ref ast.Ref) ast.Ref {
	for n, term := range ref[1:] {
		if _, ok := term.Value.(ast.String); !ok {
			return ref[:n+1]
		}
	}
	return ref
}

var schemaRef = ast.MustParseRef("input.schema")

func replacesData(mod *ast.Module) bool {
	found := false
	ast.WalkWiths(mod, func(w *ast.With) bool {
		ref, ok := w.Target.Value.(ast.Ref)
		found = found || !ok || ref.HasPrefix(ast.DefaultRootRef)
		return found
	})
	return found
}

// hasDocument tells whether the files hold something at the path. What is below
// a list is not looked at.
func hasDocument(doc any, path ast.Ref) bool {
	for _, term := range path {
		object, ok := doc.(map[string]any)
		if !ok {
			return true
		}
		key, ok := term.Value.(ast.String)
		if !ok {
			return true
		}
		if doc, ok = object[string(key)]; !ok {
			return false
		}
	}
	return true
}

// asksFor tells whether a rule can hold only where one of the missing documents
// is there: an expression of its body, or its head, has it outside of what may
// as well be empty or undefined.
func asksFor(rule *ast.Rule, missing func(ast.Ref) bool) bool {
	for _, expr := range rule.Body {
		if expr.Negated || len(expr.With) > 0 {
			continue
		}
		if anyMissing(expr, missing) {
			return true
		}
	}
	for _, term := range []*ast.Term{rule.Head.Key, rule.Head.Value} {
		if term != nil && anyMissing(term, missing) {
			return true
		}
	}
	return false
}

func anyMissing(x any, missing func(ast.Ref) bool) bool {
	found := false
	ast.NewGenericVisitor(func(node any) bool {
		switch node := node.(type) {
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
			return true
		case ast.Ref:
			found = found || node.HasPrefix(ast.DefaultRootRef) && missing(node)
		case *ast.Term, *ast.Expr, *ast.SomeDecl, ast.Call, *ast.Array, ast.Object, ast.Set:
		default: // every, or what a later version of the language has
			return true
		}
		return found
	}).Walk(x)
	return found
}
