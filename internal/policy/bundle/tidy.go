package bundle

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/format"
)

// tidy takes away what OPA's optimisation leaves behind and strict compilation
// refuses: imports of what was evaluated beforehand, and names of arguments that
// nothing reads any more. It changes nothing that is decided.
func tidy(modules []bundle.ModuleFile) error {
	for i := range modules {
		m := &modules[i]
		parsed, err := ast.ParseModuleWithOpts(m.Path, string(m.Raw), ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true})
		if err != nil {
			return fmt.Errorf("read what the optimisation wrote: %w", err)
		}
		changed := dropImports(parsed)
		for _, rule := range parsed.Rules {
			changed = forgetArgs(rule) || changed
		}
		if !changed {
			continue
		}
		if m.Raw, err = format.AstWithOpts(parsed, format.Opts{RegoVersion: ast.RegoV1}); err != nil {
			return fmt.Errorf("write %s: %w", m.Path, err)
		}
		m.Parsed = parsed
	}
	return nil
}

// dropImports removes imports of documents whose name no rule uses.
func dropImports(m *ast.Module) bool {
	used := make(map[ast.Var]int)
	for _, rule := range m.Rules {
		count(rule, used)
	}
	before := len(m.Imports)
	m.Imports = slices.DeleteFunc(m.Imports, func(i *ast.Import) bool {
		path, ok := i.Path.Value.(ast.Ref)
		return ok && path.HasPrefix(ast.DefaultRootRef) && used[i.Name()] == 0
	})
	return len(m.Imports) < before
}

// forgetArgs writes _ for arguments of a function that it does not read.
func forgetArgs(rule *ast.Rule) bool {
	used := make(map[ast.Var]int)
	count(rule.Head.Args, used)
	for r := rule; r != nil; r = r.Else {
		count(r.Body, used)
		if r.Head.Value != nil {
			count(r.Head.Value, used)
		}
		if r.Head.Key != nil {
			count(r.Head.Key, used)
		}
	}
	changed := false
	for i, arg := range rule.Head.Args {
		if name, ok := arg.Value.(ast.Var); !ok || name.IsWildcard() || used[name] != 1 {
			continue
		}
		for r := rule; r != nil; r = r.Else {
			if i < len(r.Head.Args) {
				r.Head.Args[i] = ast.VarTerm("_")
			}
		}
		changed = true
	}
	return changed
}

// count counts the variables of a part of a policy.
func count(part any, used map[ast.Var]int) {
	ast.WalkVars(part, func(v ast.Var) bool {
		used[v]++
		return false
	})
}
