package mutate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
)

// Site is one change that can be made to a policy.
type Site struct {
	File  string `json:"file"`
	Line  int    `json:"line"`
	Col   int    `json:"col"`
	Kind  string `json:"kind"` // drop-rule, drop-expression, negate, flip-operator, …
	Old   string `json:"old"`
	New   string `json:"new"`
	index int    // among the sites of the file
	rule  place  // that holds it
	expr  place  // innermost expression that holds it; zero in a head
	name  string // of the document that the rule is of
}

// The kinds of changes.
const (
	KindDropRule    = "drop-rule"
	KindDropElse    = "drop-else"
	KindDropDefault = "drop-default"
	KindDropExpr    = "drop-expression"
	KindNegate      = "negate"
	KindOperator    = "flip-operator"
	KindBoolean     = "flip-boolean"
	KindOutcome     = "flip-outcome"
	KindMember      = "drop-member"
	KindText        = "alter-text"
	KindNumber      = "alter-number"
)

// place is where something is written.
type place struct {
	file string
	row  int
}

func placeOf(loc *ast.Location) place {
	if loc == nil {
		return place{}
	}
	return place{loc.File, loc.Row}
}

// mutator walks a module the same way every time and either lists its sites or
// makes the change of one.
type mutator struct {
	file   string
	target int // index of the site to be changed; -1 lists
	next   int
	sites  []Site
	loc    *ast.Location // nearest
	rule   place
	expr   place
	name   string
	pkg    string
}

// sitesOf lists every change of a module.
func sitesOf(file string, mod *ast.Module) []Site {
	m := &mutator{file: file, target: -1}
	m.module(mod.Copy())
	return m.sites
}

// mutated is a copy of a module with the change of one site.
func mutated(mod *ast.Module, s Site) *ast.Module {
	out := mod.Copy()
	(&mutator{file: s.File, target: s.index}).module(out)
	return out
}

// site notes a site and tells whether to change it.
func (m *mutator) site(loc *ast.Location, kind, old, changed string) bool {
	if loc == nil || loc.Row == 0 {
		loc = m.loc
	}
	at := m.next
	m.next++
	if m.target < 0 {
		m.sites = append(m.sites, Site{
			File: m.file, Line: loc.Row, Col: loc.Col, Kind: kind, Old: short(old), New: short(changed),
			index: at, rule: m.rule, expr: m.expr, name: m.name,
		})
	}
	return at == m.target
}

// written is an expression or a term as its author would write it.
func written(node any) string {
	if out, err := format.Ast(node); err == nil {
		return string(out)
	}
	return fmt.Sprint(node)
}

const maxShown = 160

func short(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > maxShown {
		return string(runes[:maxShown-1]) + "…"
	}
	return s
}

func (m *mutator) module(mod *ast.Module) {
	m.pkg = mod.Package.Path.String()
	var drop []*ast.Rule
	for _, rule := range mod.Rules {
		if m.wholeRule(rule) {
			drop = append(drop, rule)
		}
	}
	mod.Rules = slices.DeleteFunc(mod.Rules, func(r *ast.Rule) bool { return slices.Contains(drop, r) })
}

// wholeRule walks a rule and reports whether it is to be taken out.
func (m *mutator) wholeRule(rule *ast.Rule) (drop bool) {
	m.loc, m.rule, m.expr = rule.Location, placeOf(rule.Location), place{}
	m.name = m.pkg + "." + nameOf(rule.Head.Ref()[0])
	name := rule.Head.String()
	switch {
	case rule.Default:
		drop = m.site(rule.Location, KindDropDefault, "default "+name, "")
	case m.site(rule.Location, KindDropRule, name, "(never true)"):
		// The name stays defined, or else whatever refers to it would not compile.
		rule.Body = ast.NewBody(append([]*ast.Expr{never(rule.Location)}, rule.Body...)...)
		return false
	}
	m.ruleParts(rule)
	return drop
}

func never(loc *ast.Location) *ast.Expr {
	term := ast.BooleanTerm(false)
	term.Location = loc
	e := ast.NewExpr(term)
	e.Location = loc
	return e
}

func (m *mutator) ruleParts(rule *ast.Rule) {
	if rule.Head.Value != nil && !generatedTrue(rule.Head.Value) {
		rule.Head.Value = m.term(rule.Head.Value)
	}
	if rule.Head.Key != nil {
		rule.Head.Key = m.term(rule.Head.Key)
	}
	if !rule.Default {
		m.body(&rule.Body)
	}
	if rule.Else == nil {
		return
	}
	m.loc, m.rule, m.expr = rule.Else.Location, placeOf(rule.Else.Location), place{}
	if m.site(rule.Else.Location, KindDropElse, "else "+rule.Else.Head.String(), "") {
		rule.Else = rule.Else.Else
		return
	}
	m.ruleParts(rule.Else)
}

// generatedTrue is the value of a rule that is written without one.
func generatedTrue(t *ast.Term) bool {
	b, ok := t.Value.(ast.Boolean)
	return ok && bool(b) && (t.Location == nil || string(t.Location.Text) != "true")
}

func (m *mutator) body(body *ast.Body) {
	outer, outerLoc := m.expr, m.loc
	defer func() { m.expr, m.loc = outer, outerLoc }()
	exprs := *body
	if len(exprs) == 1 && literalTrue(exprs[0]) {
		return
	}
	var out []*ast.Expr
	for _, e := range exprs {
		if e.Location != nil {
			m.loc, m.expr = e.Location, placeOf(e.Location)
		}
		if kept := m.expression(e); kept != nil {
			out = append(out, kept)
		}
	}
	if len(out) == 0 {
		yes := ast.BooleanTerm(true)
		yes.Location = outerLoc
		e := ast.NewExpr(yes)
		e.Location = outerLoc
		out = append(out, e)
	}
	*body = ast.NewBody(out...)
}

func literalTrue(e *ast.Expr) bool {
	t, ok := e.Terms.(*ast.Term)
	if !ok || e.Negated {
		return false
	}
	b, ok := t.Value.(ast.Boolean)
	return ok && bool(b)
}

// expression walks one expression; nil means that it is taken out.
func (m *mutator) expression(e *ast.Expr) *ast.Expr {
	if decl, ok := e.Terms.(*ast.SomeDecl); ok && !memberDecl(decl) {
		return e // it only declares
	}
	old := written(e)
	if m.site(e.Location, KindDropExpr, old, "(true)") {
		return nil
	}
	if negatable(e) {
		negated := e.Copy()
		negated.Negated = !e.Negated
		if m.site(e.Location, KindNegate, old, written(negated)) {
			return negated
		}
	}
	switch terms := e.Terms.(type) {
	case *ast.Term:
		e.Terms = m.term(terms)
	case []*ast.Term:
		m.operator(e.Location, terms, old)
		for i := 1; i < len(terms); i++ {
			if i == 1 && m.isFormat(terms) {
				continue
			}
			terms[i] = m.term(terms[i])
		}
	case *ast.SomeDecl:
		for i := range terms.Symbols {
			terms.Symbols[i] = m.term(terms.Symbols[i])
		}
	case *ast.Every:
		terms.Domain = m.term(terms.Domain)
		m.body(&terms.Body)
	}
	return e
}

func memberDecl(decl *ast.SomeDecl) bool {
	if len(decl.Symbols) != 1 {
		return false
	}
	_, ok := decl.Symbols[0].Value.(ast.Call)
	return ok
}

// negatable expressions are tests: negating what binds a variable makes no policy.
func negatable(e *ast.Expr) bool {
	switch terms := e.Terms.(type) {
	case *ast.Term:
		_, literal := terms.Value.(ast.Boolean)
		return !literal
	case []*ast.Term:
		op := e.Operator().String()
		_, flips := opposite[op]
		return op != "assign" && op != "eq" && !flips
	}
	return false
}

// opposite of the comparisons by the names that OPA's parser gives them.
var opposite = map[string]string{"equal": "neq", "neq": "equal", "lt": "gte", "gte": "lt", "gt": "lte", "lte": "gt"}

// bound of a comparison: the one that treats the equal case otherwise.
var bound = map[string]string{"lt": "lte", "lte": "lt", "gt": "gte", "gte": "gt"}

var symbol = map[string]string{"equal": "==", "neq": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}

// operator changes a comparison in place.
func (m *mutator) operator(loc *ast.Location, terms []*ast.Term, old string) {
	ref, ok := terms[0].Value.(ast.Ref)
	if !ok {
		return
	}
	name := ref.String()
	for _, table := range []map[string]string{opposite, bound} {
		other, ok := table[name]
		if !ok {
			continue
		}
		if m.site(loc, KindOperator, old, strings.Replace(old, " "+symbol[name]+" ", " "+symbol[other]+" ", 1)) {
			terms[0] = ast.NewTerm(ast.Ref{ast.VarTerm(other)}).SetLocation(terms[0].Location)
		}
	}
}

// isFormat reports whether the first operand is the format of a message.
func (m *mutator) isFormat(terms []*ast.Term) bool {
	ref, ok := terms[0].Value.(ast.Ref)
	return ok && ref.String() == "sprintf"
}

func (m *mutator) term(t *ast.Term) *ast.Term {
	if t == nil {
		return t
	}
	if t.Location != nil && t.Location.Row > 0 {
		outer := m.loc
		m.loc = t.Location
		defer func() { m.loc = outer }()
	}
	with := func(v ast.Value) *ast.Term { return &ast.Term{Value: v, Location: t.Location} }
	switch v := t.Value.(type) {
	case ast.Boolean:
		if m.site(t.Location, KindBoolean, v.String(), (!v).String()) {
			return with(!v)
		}
	case ast.String:
		kind, other := altered(v)
		if m.site(t.Location, kind, v.String(), other.String()) {
			return with(other)
		}
	case ast.Number:
		if n, ok := v.Int64(); ok {
			other := ast.IntNumberTerm(int(n) + 1).Value
			if m.site(t.Location, KindNumber, v.String(), other.String()) {
				return with(other)
			}
		}
	case ast.Set:
		return with(ast.NewSet(m.members(v.Slice())...))
	case *ast.Array:
		var items []*ast.Term
		v.Foreach(func(item *ast.Term) { items = append(items, item) })
		return with(ast.NewArray(m.members(items)...))
	case ast.Object:
		return with(m.object(v))
	case *ast.ArrayComprehension:
		v.Term = m.term(v.Term)
		m.body(&v.Body)
	case *ast.SetComprehension:
		v.Term = m.term(v.Term)
		m.body(&v.Body)
	case *ast.ObjectComprehension:
		v.Key, v.Value = m.term(v.Key), m.term(v.Value)
		m.body(&v.Body)
	case ast.Call:
		m.operator(t.Location, v, written(t))
		for i := 1; i < len(v); i++ {
			if i == 1 && m.isFormat(v) {
				continue
			}
			v[i] = m.term(v[i])
		}
	case ast.Ref:
		if _, isVar := v[0].Value.(ast.Var); !isVar {
			v[0] = m.term(v[0])
		}
	}
	return t
}

// altered is another text: another outcome for an outcome.
func altered(s ast.String) (string, ast.String) {
	switch s {
	case "allow":
		return KindOutcome, "deny"
	case "ask", "deny":
		return KindOutcome, "allow"
	case "":
		return KindText, "mutant"
	}
	return KindText, s + "~"
}

// members drops one item, or changes something in one that is no plain text.
func (m *mutator) members(items []*ast.Term) []*ast.Term {
	var out []*ast.Term
	for _, item := range items {
		if m.site(item.Location, KindMember, written(item), "") {
			continue
		}
		switch item.Value.(type) {
		case ast.String, ast.Number, ast.Boolean, ast.Var: // to drop it says as much
		default:
			item = m.term(item)
		}
		out = append(out, item)
	}
	return out
}

// prose are the members of a finding that only people read.
var prose = []string{"message", "remediation", "severity", "description", "title"}

func (m *mutator) object(o ast.Object) ast.Object {
	finding := o.Get(ast.StringTerm("rule")) != nil
	var items [][2]*ast.Term
	keys := o.Keys()
	for _, key := range keys {
		value := o.Get(key)
		name, isText := key.Value.(ast.String)
		if finding && isText && slices.Contains(prose, string(name)) {
			items = append(items, [2]*ast.Term{key, value})
			continue
		}
		if !finding && m.site(key.Location, KindMember, written(key)+": "+written(value), "") {
			continue
		}
		items = append(items, [2]*ast.Term{key, m.term(value)})
	}
	return ast.NewObject(items...)
}
