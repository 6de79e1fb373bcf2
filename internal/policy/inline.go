package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// inlineFunctions puts the rules of a function in the place of one that only
// asks for it:
//
//	acts(program) if destructive(program)
//
// becomes the rules of destructive under the name of acts. OPA's index then sees
// what they ask for, so that a program that none of them is about enters none.
// Both are functions of the same package that are true or undefined.
//
// A policy that replaces anything by `with` is left alone.
func inlineFunctions(mods map[string]*ast.Module) {
	for _, mod := range mods {
		if replacesInput(mod) || replacesData(mod) {
			return
		}
	}
	functions := map[string][]*ast.Rule{}
	for _, mod := range mods {
		for _, rule := range mod.Rules {
			name := mod.Package.Path.Extend(rule.Head.Ref()).String()
			functions[name] = append(functions[name], rule)
		}
	}
	for _, mod := range mods {
		var rules []*ast.Rule
		for _, rule := range mod.Rules {
			rules = append(rules, inlined(mod, rule, functions)...)
		}
		mod.Rules = rules
	}
}

// inlined returns the rules that stand for one: itself, or those that it asks for.
func inlined(mod *ast.Module, rule *ast.Rule, functions map[string][]*ast.Rule) []*ast.Rule {
	asked := askedFunction(rule)
	if asked == nil {
		return []*ast.Rule{rule}
	}
	others := functions[mod.Package.Path.Extend(asked).String()]
	if len(others) == 0 || asked.Equal(rule.Head.Ref()) || !slices.ContainsFunc(mod.Rules, func(r *ast.Rule) bool { return r == others[0] }) {
		return []*ast.Rule{rule}
	}
	for _, other := range others {
		if other.Module != mod || !saysTrue(other) || len(other.Head.Args) != len(rule.Head.Args) {
			return []*ast.Rule{rule}
		}
	}
	rules := make([]*ast.Rule, len(others))
	for i, other := range others {
		rules[i] = other.Copy()
		rules[i].Head.SetRef(rule.Head.Ref().Copy())
		rules[i].Head.Name = rule.Head.Name
		rules[i].Annotations = rule.Annotations
	}
	return rules
}

// askedFunction is the function that is all that the rule asks for, with the
// rule's own arguments; nil if there is none.
func askedFunction(rule *ast.Rule) ast.Ref {
	if !saysTrue(rule) || len(rule.Head.Args) == 0 || len(rule.Body) != 1 {
		return nil
	}
	expr := rule.Body[0]
	terms, ok := expr.Terms.([]*ast.Term)
	if !ok || expr.Negated || len(expr.With) > 0 || len(terms) != len(rule.Head.Args)+1 {
		return nil
	}
	seen := map[ast.Var]bool{}
	for i, arg := range rule.Head.Args {
		name, ok := arg.Value.(ast.Var)
		if !ok || name.IsWildcard() || seen[name] || terms[i+1].Value.Compare(name) != 0 {
			return nil
		}
		seen[name] = true
	}
	if ref, ok := terms[0].Value.(ast.Ref); ok && len(ref) == 1 {
		return ref
	}
	return nil
}

// saysTrue tells of a rule whether it is true or undefined.
func saysTrue(rule *ast.Rule) bool {
	value := rule.Head.Value
	return !rule.Default && rule.Else == nil && len(rule.Head.Ref()) == 1 && rule.Head.Key == nil &&
		(value == nil || value.Value.Compare(ast.Boolean(true)) == 0)
}
