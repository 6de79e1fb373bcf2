package policy

import (
	"cmp"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// RuleSource is where a policy speaks of a rule id.
type RuleSource struct {
	File        string `json:"file"`
	Line        int    `json:"line"`
	Title       string `json:"title,omitempty"`       // of the METADATA of the Rego rule
	Description string `json:"description,omitempty"` // likewise
	Package     string `json:"package"`               // data.sandgate.profiles.readonly
	Text        string `json:"text,omitempty"`        // its lines; only in what Explain says
}

// ruleIndex finds the Rego rules that can emit a rule id: those whose text
// holds an object with that literal under "rule".
type ruleIndex map[string][]RuleSource

func indexRules(compiler *ast.Compiler) ruleIndex {
	index := ruleIndex{}
	annotations := compiler.GetAnnotationSet()
	for _, mod := range compiler.Modules {
		for _, rule := range mod.Rules {
			for _, id := range literalRuleIDs(rule) {
				src := RuleSource{File: rule.Location.File, Line: rule.Location.Row, Package: mod.Package.Path.String()}
				for _, a := range annotations.GetRuleScope(rule) {
					src.Title, src.Description = a.Title, a.Description
				}
				if !slices.Contains(index[id], src) {
					index[id] = append(index[id], src)
				}
			}
		}
	}
	for _, list := range index {
		slices.SortFunc(list, func(a, b RuleSource) int {
			return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
		})
	}
	return index
}

func literalRuleIDs(rule *ast.Rule) []string {
	var ids []string
	ast.WalkTerms(rule, func(term *ast.Term) bool {
		object, ok := term.Value.(ast.Object)
		if !ok {
			return false
		}
		if id := object.Get(ast.StringTerm("rule")); id != nil {
			if s, ok := id.Value.(ast.String); ok {
				ids = append(ids, string(s))
			}
		}
		return false
	})
	return ids
}
