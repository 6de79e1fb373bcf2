package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

const (
	maxFacts     = 12  // of one rule
	maxFactText  = 160 // bytes of a list
	maxFrames    = 1 << 20
	maxFiredRule = 256 // firings of one rule that are kept
)

// ruleAt is where a rule begins.
type ruleAt struct {
	file string
	row  int
}

// factTracer notes what the rules that can emit an id read of the input. A value
// of the input is known by its identity: OPA hands the same object or array on,
// also as an argument of a function.
type factTracer struct {
	input  ast.Value
	paths  map[ast.Value]string
	wanted map[ruleAt]bool
	parent map[uint64]uint64  // of queries
	open   map[uint64]*firing // wanted rules that are being evaluated, by query
	fired  map[ruleAt][]firing
}

// firing is one time that a rule held.
type firing struct {
	own, below []Fact // read by the body itself, and by what it called
	text       string // of the rule
}

func newFactTracer(input ast.Value, index ruleIndex) *factTracer {
	t := &factTracer{
		input: input, paths: map[ast.Value]string{}, wanted: map[ruleAt]bool{}, parent: map[uint64]uint64{},
		open: map[uint64]*firing{}, fired: map[ruleAt][]firing{},
	}
	for _, sources := range index {
		for _, s := range sources {
			t.wanted[ruleAt{s.File, s.Line}] = true
		}
	}
	t.name(input, "input")
	return t
}

// name notes the paths of all that can be known by its identity: of no empty
// list, since there is one for all.
func (t *factTracer) name(value ast.Value, path string) {
	switch v := value.(type) {
	case ast.Object:
		if v.Len() > 0 {
			t.paths[value] = path
		}
		v.Foreach(func(k, member *ast.Term) { t.name(member.Value, path+step(k)) })
	case *ast.Array:
		if v.Len() > 0 {
			t.paths[value] = path
		}
		for i := range v.Len() {
			t.name(v.Elem(i).Value, fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

func step(key *ast.Term) string {
	switch k := key.Value.(type) {
	case ast.String:
		if ast.IsVarCompatibleString(string(k)) {
			return "." + string(k)
		}
		return "[" + strconv.Quote(string(k)) + "]"
	default:
		return "[" + k.String() + "]"
	}
}

// Enabled implements topdown.QueryTracer.
func (*factTracer) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (*factTracer) Config() topdown.TraceConfig { return topdown.TraceConfig{PlugLocalVars: true} }

// TraceEvent implements topdown.QueryTracer.
func (t *factTracer) TraceEvent(e topdown.Event) {
	if len(t.parent) > maxFrames {
		return
	}
	t.parent[e.QueryID] = e.ParentID
	rule, isRule := e.Node.(*ast.Rule)
	isRule = isRule && rule.Location != nil && t.wanted[ruleAt{rule.Location.File, rule.Location.Row}]
	switch e.Op {
	case topdown.EnterOp:
		if isRule {
			t.open[e.QueryID] = &firing{}
		}
	case topdown.ExitOp:
		if isRule {
			t.hold(e.QueryID, rule, e.Locals)
			return
		}
		t.below(e)
	case topdown.FailOp:
		if t.open[e.QueryID] == nil {
			t.below(e)
		}
	}
}

// hold notes that a wanted rule holds.
func (t *factTracer) hold(query uint64, rule *ast.Rule, locals *ast.ValueMap) {
	f := t.open[query]
	if f == nil {
		return
	}
	at := ruleAt{rule.Location.File, rule.Location.Row}
	now := firing{own: t.read(rule.Body, locals), text: string(rule.Location.Text)}
	now.own = append(now.own, t.read(rule.Head, locals)...)
	now.below = f.below
	t.open[query] = &firing{} // for the next time
	if len(t.fired[at]) < maxFiredRule {
		t.fired[at] = append(t.fired[at], now)
	}
}

// below notes what a called rule or a nested body read for the wanted rule above.
func (t *factTracer) below(e topdown.Event) {
	for query := e.QueryID; query != 0; query = t.parent[query] {
		f := t.open[query]
		if f == nil {
			continue
		}
		node := e.Node
		if rule, ok := node.(*ast.Rule); ok {
			node = rule.Body
		}
		f.below = append(f.below, t.read(node, e.Locals)...)
		return
	}
}

// read are the parts of the input that a piece of Rego reads, with its variables.
func (t *factTracer) read(node ast.Node, locals *ast.ValueMap) []Fact {
	var facts []Fact
	ast.WalkRefs(node, func(ref ast.Ref) bool {
		path, value := t.resolve(ref, locals)
		if value != nil {
			facts = append(facts, Fact{path, value})
		}
		return false
	})
	return facts
}

func (t *factTracer) resolve(ref ast.Ref, locals *ast.ValueMap) (path string, value ast.Value) {
	head, ok := ref[0].Value.(ast.Var)
	if !ok {
		return "", nil
	}
	if head.Equal(ast.InputRootDocument.Value) {
		path, value = "input", t.input
	} else if value = plugged(ref[0].Value, locals); isHashable(value) {
		path = t.paths[value]
	}
	if path == "" {
		return "", nil
	}
	for _, key := range ref[1:] {
		term := ast.NewTerm(plugged(key.Value, locals))
		var member *ast.Term
		switch v := value.(type) {
		case ast.Object:
			member = v.Get(term)
		case *ast.Array:
			member = v.Get(term)
		}
		if member == nil {
			return "", nil
		}
		path, value = path+step(term), member.Value
	}
	return path, value
}

func plugged(value ast.Value, locals *ast.ValueMap) ast.Value {
	if _, ok := value.(ast.Var); ok && locals != nil {
		if found := locals.Get(value); found != nil {
			return found
		}
	}
	return value
}

func isHashable(value ast.Value) bool {
	switch value.(type) {
	case ast.Object, *ast.Array:
		return true
	}
	return false
}

// explain adds to a rule that fired what is known of it.
func (t *factTracer) explain(r *RuleFired) {
	var sources []RuleSource
	var facts, below []Fact
	for _, s := range r.Sources {
		for _, f := range t.fired[ruleAt{s.File, s.Line}] {
			if r.Command != nil && !concerns(f.own, *r.Command) {
				continue
			}
			s.Text = f.text
			facts, below = append(facts, f.own...), append(below, siblingsLeftOut(f.below, f.own)...)
		}
		if s.Text != "" {
			sources = append(sources, s)
		}
	}
	if len(sources) > 0 {
		r.Sources = sources
	}
	for _, s := range r.Sources {
		if r.Title == "" {
			r.Title = s.Title
		}
	}
	r.Facts = shown(append(facts, below...))
}

func commandPath(index int) string { return fmt.Sprintf("input.call.shell.commands[%d]", index) }

// concerns tells whether facts are about a command of the script, or none are.
func concerns(facts []Fact, command int) bool {
	about := false
	for _, f := range facts {
		if strings.HasPrefix(f.Path, commandPath(command)) {
			return true
		}
		about = about || strings.HasPrefix(f.Path, "input.call.shell.commands[")
	}
	return !about
}

// siblingsLeftOut are the facts but those about other items of the lists that the
// rule itself has picked items of: it tried them before and they did not do.
func siblingsLeftOut(facts, own []Fact) []Fact {
	picked := map[string]map[string]bool{}
	for _, f := range own {
		if list, item, ok := firstItem(f.Path); ok {
			if picked[list] == nil {
				picked[list] = map[string]bool{}
			}
			picked[list][item] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(facts), func(f Fact) bool {
		list, item, ok := firstItem(f.Path)
		return ok && picked[list] != nil && !picked[list][item]
	})
}

// firstItem cuts "a.b[3].c" into "a.b" and "3".
func firstItem(path string) (list, item string, ok bool) {
	list, rest, found := strings.Cut(path, "[")
	item, _, closed := strings.Cut(rest, "]")
	return list, item, found && closed
}

// shown are facts for people: each once, scalars and short lists, and what holds
// others only if nothing of it was read.
func shown(facts []Fact) []Fact {
	var out []Fact
	for _, f := range facts {
		value, ok := f.Value.(ast.Value)
		if !ok || f.Path == programsRef.String() || strings.HasSuffix(f.Path, "].index") ||
			slices.ContainsFunc(out, func(have Fact) bool { return have.Path == f.Path }) {
			continue
		}
		if isHashable(value) && slices.ContainsFunc(facts, func(other Fact) bool {
			return len(other.Path) > len(f.Path) && strings.HasPrefix(other.Path, f.Path) && strings.ContainsRune(".[", rune(other.Path[len(f.Path)]))
		}) {
			continue
		}
		plain, err := ast.JSON(value)
		if err != nil {
			continue
		}
		if raw, err := json.Marshal(plain); isHashable(value) && err == nil && len(raw) > maxFactText {
			plain = strings.ToValidUTF8(string(raw[:maxFactText]), "") + "…"
		}
		if out = append(out, Fact{f.Path, plain}); len(out) == maxFacts {
			break
		}
	}
	return out
}
