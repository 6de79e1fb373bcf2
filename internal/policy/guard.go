package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxGuarded bounds into how many rules one that names several programs is
// made; one that names more is left as it is.
const maxGuarded = 16

// manyRules is from how many rules of one document on it pays to see first
// whether there is a list to walk.
const manyRules = 32

// guardRules makes rules that walk a list of the input findable by OPA's index,
// so that a policy of a thousand such rules does not walk it a thousand times.
// A rule with the body
//
//	some command in input.call.shell.commands
//	command.base == "curl"
//
// can only hold where "curl" is among input.call.shell.programs, which the
// engine derives from the commands of every input (see withPrograms). That is
// put before it, which changes nothing of what it means. Of a rule that walks the
// commands without naming a program, where there are many such rules, it is put
// before that there are any; of each that asks for files, that there are files;
// of each that leaves out bare scripts, that the script is none.
//
// A policy that replaces parts of the input by `with` is left alone: the parts
// need not fit together any more.
func guardRules(mods map[string]*ast.Module) {
	for _, mod := range mods {
		if replacesInput(mod) {
			return
		}
	}
	count := map[string]int{} // rules of one document
	for _, mod := range mods {
		for _, rule := range mod.Rules {
			count[rule.Ref().String()]++
		}
	}
	for _, mod := range mods {
		var rules []*ast.Rule
		for _, rule := range mod.Rules {
			rules = append(rules, guarded(rule, count[rule.Ref().String()] >= manyRules)...)
		}
		mod.Rules = rules
	}
}

func replacesInput(mod *ast.Module) bool {
	found := false
	ast.WalkWiths(mod, func(w *ast.With) bool {
		ref, ok := w.Target.Value.(ast.Ref)
		found = found || !ok || !ref.HasPrefix(ast.DefaultRootRef)
		return found
	})
	return found
}

// guarded returns the rules that stand for one: itself, or one for each program
// that it names.
func guarded(rule *ast.Rule, many bool) []*ast.Rule {
	if rule.Default || len(rule.Head.Args) > 0 {
		return []*ast.Rule{rule}
	}
	g := guard{vars: map[ast.Var]bool{}}
	for _, expr := range rule.Body {
		g.walk(expr)
	}
	for _, expr := range rule.Body {
		g.name(expr)
	}
	if len(g.programs) > 1 && (rule.Head.RuleKind() != ast.MultiValue || rule.Else != nil || len(g.programs) > maxGuarded) {
		g.programs = nil
	}
	if len(g.lists) > 0 && slices.ContainsFunc(rule.Body, leavesOutBare) {
		prepend(rule, ast.Equality.Expr(ast.NewTerm(bareRef.Copy()), ast.BooleanTerm(false)))
	}
	if slices.ContainsFunc(rule.Body, asksForFiles) {
		prepend(rule, ast.NewExpr(ast.NewTerm(filesRef.Copy())))
	}
	if len(g.programs) == 0 {
		for _, list := range g.lists {
			if !many {
				break
			}
			prepend(rule, ast.NewExpr(ast.NewTerm(list)))
		}
		return []*ast.Rule{rule}
	}
	rules := make([]*ast.Rule, len(g.programs))
	for i, program := range g.programs {
		rules[i] = rule
		if i < len(g.programs)-1 { // the last one may be the rule itself
			rules[i] = rule.Copy()
		}
		prepend(rules[i], ast.Member.Expr(ast.StringTerm(program), ast.NewTerm(programsRef.Copy())))
	}
	return rules
}

// leavesOutBare tells whether the expression is `not input.call.shell.bare`,
// which the index does not see. Where there are commands, the engine says of
// them whether they are bare.
func leavesOutBare(expr *ast.Expr) bool {
	term, ok := expr.Terms.(*ast.Term)
	return ok && expr.Negated && len(expr.With) == 0 && term.Value.Compare(bareRef) == 0
}

// asksForFiles tells whether the expression holds only where there are files.
func asksForFiles(expr *ast.Expr) bool {
	return !expr.Negated && len(expr.With) == 0 && anyRef(expr, func(ref ast.Ref) bool { return ref.HasPrefix(filesRef) })
}

func prepend(rule *ast.Rule, expr *ast.Expr) {
	expr.SetLocation(rule.Body[0].Loc())
	ast.WalkTerms(expr, func(t *ast.Term) bool {
		t.SetLocation(rule.Body[0].Loc())
		return false
	})
	rule.Body = ast.NewBody(append([]*ast.Expr{expr}, rule.Body...)...)
}

var (
	programsRef = ast.MustParseRef("input.call.shell.programs")
	commandsRef = ast.MustParseRef("input.call.shell.commands")
	bareRef     = ast.MustParseRef("input.call.shell.bare")
	filesRef    = ast.MustParseRef("input.call.files")
)

// guard collects what has to be so for a body to hold.
type guard struct {
	vars     map[ast.Var]bool // that stand for a command
	lists    []ast.Ref        // that are walked
	programs []string         // one of which has to be run; lower case
}

// walk notes `some x in LIST`, `some i, x in LIST` and `x := LIST[i]`.
func (g *guard) walk(expr *ast.Expr) {
	if expr.Negated || len(expr.With) > 0 {
		return
	}
	switch terms := expr.Terms.(type) {
	case *ast.SomeDecl:
		if len(terms.Symbols) != 1 {
			return
		}
		if call, ok := terms.Symbols[0].Value.(ast.Call); ok && len(call) >= 3 { // operator, perhaps a key, item, list
			g.item(call[len(call)-2], call[len(call)-1].Value)
		}
	case []*ast.Term:
		if op := expr.Operator(); op.Equal(ast.Assign.Ref()) && len(terms) == 3 {
			if ref, ok := terms[2].Value.(ast.Ref); ok && len(ref) > 1 {
				g.item(terms[1], ref[:len(ref)-1])
			}
		}
	}
}

func (g *guard) item(item *ast.Term, list ast.Value) {
	ref, ok := list.(ast.Ref)
	if !ok {
		return
	}
	switch {
	case ref.Equal(commandsRef):
		g.lists = append(g.lists, commandsRef.Copy())
		if v, ok := item.Value.(ast.Var); ok && !v.IsWildcard() {
			g.vars[v] = true
		}
	}
}

// name notes the first expression that says which program a command runs:
// command.base or lower(command.base), equal to a text or in a set of texts.
func (g *guard) name(expr *ast.Expr) {
	terms, ok := expr.Terms.([]*ast.Term)
	if !ok || expr.Negated || len(expr.With) > 0 || len(terms) != 3 || len(g.programs) > 0 {
		return
	}
	op, a, b := expr.Operator(), terms[1], terms[2]
	switch {
	case op.Equal(ast.Equal.Ref()), op.Equal(ast.Equality.Ref()):
		if !g.base(a) {
			a, b = b, a
		}
		if text, ok := b.Value.(ast.String); ok && g.base(a) {
			g.programs = []string{strings.ToLower(string(text))}
		}
	case op.Equal(ast.Member.Ref()):
		if g.base(a) {
			g.programs = texts(b.Value)
		}
	}
}

// base tells whether the term is the base of a command, perhaps in lower case.
func (g *guard) base(term *ast.Term) bool {
	if call, ok := term.Value.(ast.Call); ok && len(call) == 2 && call[0].Value.Compare(ast.Lower.Ref()) == 0 {
		term = call[1]
	}
	ref, ok := term.Value.(ast.Ref)
	if !ok || len(ref) < 2 || !ref[len(ref)-1].Equal(keyBase) {
		return false
	}
	if v, ok := ref[0].Value.(ast.Var); ok && len(ref) == 2 {
		return g.vars[v]
	}
	return len(ref) == len(commandsRef)+2 && ref.HasPrefix(commandsRef) // input.call.shell.commands[_].base
}

// texts are the items of a set or a list in lower case; nil unless all are texts.
func texts(value ast.Value) []string {
	var items []*ast.Term
	switch v := value.(type) {
	case ast.Set:
		items = v.Slice()
	case *ast.Array:
		v.Foreach(func(item *ast.Term) { items = append(items, item) })
	}
	var list []string
	seen := map[string]bool{}
	for _, item := range items {
		text, ok := item.Value.(ast.String)
		if !ok {
			return nil
		}
		if name := strings.ToLower(string(text)); !seen[name] {
			seen[name] = true
			list = append(list, name)
		}
	}
	return list
}

// withPrograms is an input that came as JSON with call.shell.programs as the
// engine derives it from the commands, whatever the JSON says, since guarded
// rules are found by it. Its commands are not bare, so that all rules look at them.
func withPrograms(input ast.Value) ast.Value {
	call := memberOf(input, keyCall)
	shell := memberOf(call, keyShell)
	commands, ok := memberOf(shell, keyCommands).(*ast.Array)
	if !ok {
		return input
	}
	names := ast.NewSet()
	commands.Foreach(func(command *ast.Term) {
		if base, ok := memberOf(command.Value, keyBase).(ast.String); ok && base != "" {
			names.Add(ast.StringTerm(strings.ToLower(string(base))))
		}
	})
	shell = replaced(shell, keyPrograms, names.Sorted())
	shell = replaced(shell, keyBare, ast.Boolean(false)) // not derived here, and not believed
	return replaced(input, keyCall, replaced(call, keyShell, shell))
}

func memberOf(value ast.Value, key *ast.Term) ast.Value {
	if object, ok := value.(ast.Object); ok {
		if term := object.Get(key); term != nil {
			return term.Value
		}
	}
	return nil
}

// replaced is a copy of an object with one member of another value.
func replaced(value ast.Value, key *ast.Term, member ast.Value) ast.Value {
	object, ok := value.(ast.Object)
	if !ok {
		return value
	}
	items := [][2]*ast.Term{{key, ast.NewTerm(member)}}
	object.Foreach(func(k, v *ast.Term) {
		if !k.Equal(key) {
			items = append(items, [2]*ast.Term{k, v})
		}
	})
	return ast.NewObject(items...)
}
