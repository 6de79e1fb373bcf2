package lint

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/sandgate/sandgate/internal/policy"
)

// modules checks the rules of the policy, tests apart.
func (l *linter) modules(mods map[string]*ast.Module) {
	ids := map[string]map[string][]*ast.Rule{} // package and id, effect
	for _, name := range l.src.Files() {
		mod := mods[l.src.Shown(name)]
		if mod == nil {
			continue
		}
		l.directory(name, mod)
		if policy.IsTest(name) {
			continue
		}
		l.packageMetadata(mod, mods)
		l.ruleMetadata(mod)
		for _, rule := range mod.Rules {
			l.rule(rule)
			l.finding(mod, rule, ids)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(ids)) {
		if effects := ids[key]; len(effects) > 1 {
			names := slices.Sorted(maps.Keys(effects))
			_, id, _ := strings.Cut(key, " ")
			l.add(effects[names[1]][0].Location, ruleDuplicate,
				fmt.Sprintf("the rule id %q is used for %s", id, strings.Join(names, " and for ")), "give each effect an id of its own: modes and reports go by it")
		}
	}
	l.entryPoints(mods)
}

// directory compares a package with where its file lies.
func (l *linter) directory(name string, mod *ast.Module) {
	var parts []string
	for _, term := range mod.Package.Path[1:] {
		if s, ok := term.Value.(ast.String); ok {
			parts = append(parts, string(s))
		}
	}
	dir := path.Dir(name)
	have := strings.Join(parts, "/")
	if policy.IsTest(name) {
		have = strings.TrimSuffix(have, "_test")
	}
	if have == dir || strings.HasSuffix(have, "/"+dir) { // the first packages may be left out
		return
	}
	// Files in the directory of the package's parent are called like the package:
	// workspace.rego, workspace_outside.rego.
	stem, last := strings.TrimSuffix(path.Base(name), ".rego"), path.Base(have)
	if path.Dir(have) == dir && (stem == last || strings.HasPrefix(stem, last+"_")) {
		return
	}
	l.add(mod.Package.Location, ruleDirectory, fmt.Sprintf("the package %s is in the directory %s", strings.Join(parts, "."), dir),
		fmt.Sprintf("move it to %s/ or %s.rego", have, have))
}

// packageMetadata wants one file of a package to say what it is.
func (l *linter) packageMetadata(mod *ast.Module, mods map[string]*ast.Module) {
	first := ""
	for _, name := range slices.Sorted(maps.Keys(mods)) {
		other := mods[name]
		if policy.IsTest(name) || !other.Package.Path.Equal(mod.Package.Path) {
			continue
		}
		if first == "" {
			first = name
		}
		for _, a := range other.Annotations {
			if (a.Scope == "package" || a.Scope == "subpackages") && a.Title != "" && a.Description != "" {
				return
			}
		}
	}
	if first == mod.Package.Location.File {
		l.add(mod.Package.Location, ruleMetadata, "the package has no metadata", "put `# METADATA` with title and description before it")
	}
}

// ruleMetadata wants it once for each public rule of a file.
func (l *linter) ruleMetadata(mod *ast.Module) {
	told := map[string]bool{}
	for _, rule := range mod.Rules {
		if a := annotationOf(mod, rule); a != nil && a.Title != "" && a.Description != "" {
			told[ruleName(rule)] = true
		}
	}
	for _, rule := range mod.Rules {
		name := ruleName(rule)
		if strings.HasPrefix(name, "_") || told[name] {
			continue
		}
		told[name] = true
		l.add(rule.Location, ruleMetadata, fmt.Sprintf("the rule %s has no metadata", name),
			"put `# METADATA` with title and description before it, or begin its name with _ if it is private")
	}
}

func annotationOf(mod *ast.Module, rule *ast.Rule) *ast.Annotations {
	for _, list := range [][]*ast.Annotations{rule.Annotations, mod.Annotations} {
		for _, a := range list {
			if (a.Scope == "rule" || a.Scope == "document") && a.GetTargetPath() != nil && a.EndLoc() != nil &&
				a.EndLoc().Row < rule.Location.Row && rule.Location.Row-a.EndLoc().Row <= 2 {
				return a
			}
		}
	}
	return nil
}

func ruleName(rule *ast.Rule) string {
	if rule.Head.Name != "" {
		return string(rule.Head.Name)
	}
	if ref := rule.Head.Ref(); len(ref) > 0 {
		return strings.Trim(ref[0].String(), `"`)
	}
	return ""
}

// finding checks the rules that make findings.
func (l *linter) finding(mod *ast.Module, rule *ast.Rule, ids map[string]map[string][]*ast.Rule) {
	var id string
	var at *ast.Location
	ast.WalkTerms(rule, func(t *ast.Term) bool {
		object, ok := t.Value.(ast.Object)
		if !ok || object.Get(ast.StringTerm("message")) == nil && object.Get(ast.StringTerm("would")) == nil {
			return false
		}
		if term := object.Get(ast.StringTerm("rule")); term != nil && id == "" {
			if s, ok := term.Value.(ast.String); ok {
				id, at = string(s), term.Location
			}
		}
		return false
	})
	if id == "" {
		return
	}
	if strings.HasPrefix(id, policy.ReservedPrefix) {
		l.add(at, ruleReserved, fmt.Sprintf("the rule id %q is sandgate's own", id), "ids that begin with daemon: are refused: choose another")
	}
	effect := strings.TrimPrefix(ruleName(rule), "_")
	if rule.Head.RuleKind() != ast.MultiValue {
		return
	}
	key := mod.Package.Path.String() + " " + id
	if ids[key] == nil {
		ids[key] = map[string][]*ast.Rule{}
	}
	ids[key][effect] = append(ids[key][effect], rule)
	a := annotationOf(mod, rule)
	switch {
	case a == nil:
		l.add(rule.Location, ruleFindingID, fmt.Sprintf("the rule that makes %q has no metadata", id),
			"put `# METADATA` with title, description and custom: {rule: "+id+"} before it")
	case a.Custom["rule"] != id:
		l.add(rule.Location, ruleFindingID, fmt.Sprintf("the rule makes %q, and its custom.rule is %v", id, orNothing(a.Custom["rule"])),
			"custom.rule is the id of the finding: write custom: {rule: "+id+"}")
	}
}

func orNothing(v any) any {
	if v == nil {
		return "missing"
	}
	return fmt.Sprintf("%q", v)
}

// rule checks one rule and its else branches.
func (l *linter) rule(rule *ast.Rule) {
	if rule.Default && allows(rule) {
		l.add(rule.Location, ruleDefaultAllow, fmt.Sprintf("the default of %s allows", ruleName(rule)),
			"the default stands for whatever is undefined, so it must deny")
	}
	for r := rule; r != nil; r = r.Else {
		if !r.Default && allows(r) {
			l.emptyDeny(r)
		}
	}
	ast.WalkTerms(rule, func(t *ast.Term) bool {
		if call, ok := t.Value.(ast.Call); ok {
			l.call(call[0], call[1:])
		}
		return false
	})
	ast.WalkExprs(rule, func(e *ast.Expr) bool {
		if terms, ok := e.Terms.([]*ast.Term); ok && len(terms) > 0 {
			l.call(terms[0], terms[1:])
		}
		return false
	})
}

// textFunctions take a text for what it looks like.
var textFunctions = []string{"contains", "endswith", "glob.match", "indexof", "regex.match", "regex.find_n", "regex.globs_match", "startswith", "strings.any_prefix_match", "strings.any_suffix_match"}

func (l *linter) call(op *ast.Term, args []*ast.Term) {
	name := op.Value.String()
	switch {
	case name == "walk":
		l.add(op.Location, ruleWalk, "walk goes through whole documents, so a decision takes as long as a caller likes",
			"name the members that count")
	case name == "print":
		l.add(op.Location, rulePrint, "print does nothing in a daemon", "print in tests only")
	case strings.HasPrefix(name, "rego.metadata."):
		l.add(op.Location, ruleMetadataID, name+" in a policy: its rule() has no id, and a rule that asks for one silently says nothing",
			"write the id of the rule into the finding as a text")
	case slices.Contains(textFunctions, name):
		for _, arg := range args {
			if ref, ok := arg.Value.(ast.Ref); ok && ref.HasPrefix(commandRef) {
				l.add(op.Location, ruleText, name+" on the text of a script is passed by quoting and escapes",
					"use input.call.shell.commands: the parsed commands with their arguments")
			}
		}
	}
}

var commandRef = ast.MustParseRef("input.call.args.command")

// allows reports whether a rule says that a call is allowed.
func allows(rule *ast.Rule) bool {
	value := rule.Head.Value
	switch strings.TrimPrefix(ruleName(rule), "_") {
	case "allow", "allowed":
		return value == nil || value.Value.Compare(ast.Boolean(false)) != 0
	}
	if value == nil {
		return false
	}
	if value.Value.Compare(ast.String("allow")) == 0 {
		return true
	}
	object, ok := value.Value.(ast.Object)
	if !ok {
		return false
	}
	outcome := object.Get(ast.StringTerm("outcome"))
	return outcome != nil && outcome.Value.Compare(ast.String("allow")) == 0
}

// emptyDeny reports a rule that allows for no reason but that nothing denies.
func (l *linter) emptyDeny(rule *ast.Rule) {
	var at *ast.Location
	for _, e := range rule.Body {
		switch {
		case provesNoDeny(e):
			at = e.Location
		case literal(e):
		default:
			return // there is a reason of its own
		}
	}
	if at != nil {
		l.add(at, ruleEmptyDeny, "this allows whatever is not denied: a deny rule that is undefined lets everything through",
			"allow by a rule that proves the call harmless, and let deny overrule it")
	}
}

func literal(e *ast.Expr) bool {
	t, ok := e.Terms.(*ast.Term)
	if !ok {
		return false
	}
	_, ok = t.Value.(ast.Boolean)
	return ok
}

// provesNoDeny is true for `not deny`, `not deny[_]`, `count(deny) == 0`,
// `deny == set()` and the like.
func provesNoDeny(e *ast.Expr) bool {
	if e.Negated {
		return mentionsDeny(e)
	}
	if !e.IsCall() && !e.IsEquality() {
		return false
	}
	terms, ok := e.Terms.([]*ast.Term)
	if !ok || len(terms) != 3 || !mentionsDeny(e) {
		return false
	}
	for _, t := range terms[1:] {
		switch v := t.Value.(type) {
		case ast.Number:
			return terms[0].String() == "equal" || terms[0].String() == "lt" || terms[0].String() == "lte" || terms[0].String() == "eq"
		case ast.Set:
			if v.Len() == 0 && terms[0].String() != "neq" {
				return true
			}
		case *ast.Array:
			if v.Len() == 0 && terms[0].String() != "neq" {
				return true
			}
		case ast.Call:
			if v.String() == "set()" && terms[0].String() != "neq" {
				return true
			}
		}
	}
	return false
}

func mentionsDeny(e *ast.Expr) bool {
	found := false
	check := func(name string) {
		name = strings.ToLower(strings.TrimLeft(name, "_"))
		for _, word := range []string{"deny", "denied", "denials", "violation", "violations", "forbidden", "reject", "rejected"} {
			found = found || name == word
		}
	}
	ast.WalkTerms(e, func(t *ast.Term) bool {
		switch v := t.Value.(type) {
		case ast.Var:
			check(string(v))
		case ast.Ref:
			for _, part := range v {
				switch p := part.Value.(type) {
				case ast.String:
					check(string(p))
				case ast.Var:
					check(string(p))
				}
			}
		}
		return found
	})
	return found
}

func (l *linter) entryPoints(mods map[string]*ast.Module) {
	var decision, visible, def *ast.Rule
	var home *ast.Location
	for _, name := range slices.Sorted(maps.Keys(mods)) {
		mod := mods[name]
		if mod.Package.Path.String() != "data.sandgate" || policy.IsTest(name) {
			continue
		}
		home = mod.Package.Location
		for _, rule := range mod.Rules {
			switch {
			case ruleName(rule) == "decision" && rule.Default:
				def = rule
			case ruleName(rule) == "decision":
				decision = rule
			case ruleName(rule) == "visible":
				visible = rule
			}
		}
	}
	const instead = "a policy needs `decision` with a default and `visible` in the package sandgate"
	where := home
	if where == nil {
		where = &ast.Location{File: l.src.Name(), Row: 1, Col: 1}
	}
	if decision == nil && def == nil {
		l.add(where, ruleEntryPoint, "data.sandgate.decision is not defined", instead)
		return
	}
	if visible == nil {
		l.add(where, ruleEntryPoint, "data.sandgate.visible is not defined: no tool can be shown to anybody", instead)
	}
	if def == nil {
		l.add(decision.Location, ruleDefault, "data.sandgate.decision has no default", `add default decision := {"outcome": "deny", …}`)
		return
	}
	object, ok := def.Head.Value.Value.(ast.Object)
	if !ok || object.Get(ast.StringTerm("outcome")) == nil || object.Get(ast.StringTerm("outcome")).Value.Compare(ast.String("deny")) != 0 {
		l.add(def.Location, ruleDefault, "the default of data.sandgate.decision does not deny", `write {"outcome": "deny", …}`)
	}
}
