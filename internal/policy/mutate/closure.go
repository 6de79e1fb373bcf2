package mutate

import (
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// graph tells which modules a module cannot be compiled or run without, so that
// a mutant costs no more than the part of the policy that it can change.
type graph struct {
	mods  map[string]*ast.Module
	refs  map[string][]ast.Ref // of a module: what it names of data
	paths map[string]ast.Ref   // the package of a module
	rules map[string][]string  // of a module: the names of its rules
}

func newGraph(mods map[string]*ast.Module) *graph {
	g := &graph{mods: mods, refs: map[string][]ast.Ref{}, paths: map[string]ast.Ref{}, rules: map[string][]string{}}
	for name, mod := range mods {
		g.paths[name] = mod.Package.Path
		for _, rule := range mod.Rules {
			g.rules[name] = append(g.rules[name], nameOf(rule.Head.Ref()[0]))
		}
		seen := map[string]bool{}
		ast.WalkRefs(mod, func(ref ast.Ref) bool {
			if !ref.HasPrefix(ast.DefaultRootRef) {
				return false
			}
			ground := ref.GroundPrefix()
			if key := ground.String(); !seen[key] {
				seen[key] = true
				g.refs[name] = append(g.refs[name], ground)
			}
			return false
		})
	}
	return g
}

// closure is the modules of begin and all that they name, by package. What is
// named with a variable stands for every package that it may mean.
func (g *graph) closure(begin ...string) map[string]*ast.Module {
	out := map[string]*ast.Module{}
	for len(begin) > 0 {
		name := begin[0]
		begin = begin[1:]
		if out[name] != nil {
			continue
		}
		out[name] = g.mods[name]
		for _, ref := range g.refs[name] {
			begin = append(begin, g.named(ref)...)
		}
		for other, path := range g.paths { // a package may be spread over files
			if path.Equal(g.paths[name]) {
				begin = append(begin, other)
			}
		}
	}
	return out
}

// named are the modules that hold some of the document at ref: those of its
// package with a rule of that name, or those below it.
func (g *graph) named(ref ast.Ref) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(g.paths)) {
		path := g.paths[name]
		if path.HasPrefix(ref) || ref.HasPrefix(path) && slices.Contains(g.rules[name], nameOf(ref[len(path)])) {
			list = append(list, name)
		}
	}
	return list
}

// callersOf lists where a compiled policy names each document. A rule that OPA's
// index left out leaves no trace, though without one of its expressions it would
// not have been left out; the place that asked for it does.
func callersOf(compiler *ast.Compiler) map[string][]place {
	callers := map[string][]place{}
	for _, mod := range compiler.Modules {
		ast.WalkExprs(mod, func(e *ast.Expr) bool {
			at := placeOf(e.Location)
			ast.WalkRefs(e, func(ref ast.Ref) bool {
				if ref.HasPrefix(ast.DefaultRootRef) && len(ref) > 1 {
					name := document(compiler, ref)
					if list := callers[name]; len(list) == 0 || list[len(list)-1] != at {
						callers[name] = append(list, at)
					}
				}
				return false
			})
			return false
		})
	}
	return callers
}

// document is the name of the rules that a reference leads to.
func document(compiler *ast.Compiler, ref ast.Ref) string {
	ground := ref.GroundPrefix()
	for i := 2; i <= len(ground); i++ {
		if len(compiler.GetRulesExact(ground[:i])) > 0 {
			return ground[:i].String()
		}
	}
	return ground.String()
}
