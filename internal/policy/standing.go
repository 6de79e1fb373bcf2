package policy

import (
	"maps"
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// maxKinds bounds for how many kinds of call a revision keeps documents.
const maxKinds = 256

// standing are the documents of a revision that are the same for all calls of
// one kind, since no rule behind them looks at more of the input than the kind is
// made of: tables and other constants, the obligations of a profile, whether the
// effects of a tool are local. The first decisions about a kind make them, and
// the others take them as they are.
//
// A decision that fails leaves nothing behind, so that what is wrong with a
// document is found again. A policy that replaces documents by `with` has none.
// Safe for concurrent use.
type standing struct {
	docs docTree

	mu    sync.RWMutex
	kinds map[kind]made
}

// kind is all of the input that standing documents may look at; the rest of
// [kindPaths] is the engine's own. The terms are those of [constants]: of one
// declaration of a tool there is one term.
type kind struct {
	profile, tenant, environment, called string
	tool, sandbox                        *ast.Term
}

var kindPaths = [][]string{
	{"schema"},
	{"session", "profile"},
	{"caller", "tenant"},
	{"daemon"},
	{"call", "tool"},
	{"tool"},
	{"sandbox"},
}

func callKind(input ast.Value) kind {
	k := kind{
		profile: stringAt(input, "session", "profile"), tenant: stringAt(input, "caller", "tenant"),
		environment: stringAt(input, "daemon", "environment"), called: stringAt(input, "call", "tool"),
	}
	if object, ok := input.(ast.Object); ok {
		k.tool, k.sandbox = object.Get(keyTool), object.Get(keySandbox)
	}
	return k
}

// made are the documents of a kind that are known; never changed.
type made map[*docTree]madeDoc

type madeDoc struct{ term *ast.Term } // nil: undefined

// newStanding finds the documents of a compiled policy.
func newStanding(compiler *ast.Compiler) *standing {
	s := &standing{kinds: map[kind]made{}}
	for _, mod := range compiler.Modules {
		if replacesInput(mod) || replacesData(mod) {
			return s
		}
	}
	looks := map[*ast.Rule]bool{}
	for _, mod := range compiler.Modules {
		for _, rule := range mod.Rules {
			path := rule.Ref().GroundPrefix()
			doc := s.docs.grow(path)
			// A function, or a document within documents: not one that is kept.
			deep := len(rule.Head.Args) > 0 || len(rule.Ref())-len(path) > 1
			doc.rules++
			doc.never = doc.never || deep || dependsOn(compiler.Graph, rule, looks)
		}
	}
	s.docs.settle(false)
	return s
}

// dependsOn tells whether a rule, or one that it asks for, looks at more of the
// input than the kind of the call.
func dependsOn(graph *ast.Graph, rule *ast.Rule, known map[*ast.Rule]bool) bool {
	if looks, ok := known[rule]; ok {
		return looks
	}
	seen := map[*ast.Rule]bool{rule: true}
	for queue := []*ast.Rule{rule}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if isBarred(at) {
			continue
		}
		if known[at] || looksFurther(at) {
			known[rule] = true
			return true
		}
		if at.Else != nil && !seen[at.Else] {
			seen[at.Else] = true
			queue = append(queue, at.Else)
		}
		for next := range graph.Dependencies(at) {
			if dep, ok := next.(*ast.Rule); ok && !seen[dep] {
				seen[dep] = true
				queue = append(queue, dep)
			}
		}
	}
	known[rule] = false
	return false
}

// looksFurther tells whether the rule itself looks at more of the input.
func looksFurther(rule *ast.Rule) bool {
	u := uses{}
	u.walk(rule)
	return slices.ContainsFunc(u.paths, func(path []string) bool {
		return !slices.ContainsFunc(kindPaths, func(allowed []string) bool {
			return len(path) >= len(allowed) && slices.Equal(path[:len(allowed)], allowed)
		})
	})
}

// docTree finds a document by its reference.
type docTree struct {
	kids  map[string]*docTree
	rules int  // that make the document
	never bool // it is not one that is kept
}

// grow makes what is at the path, from its second term on.
func (t *docTree) grow(path ast.Ref) *docTree {
	for _, term := range path[1:] {
		key, ok := keyOf(term)
		if !ok {
			t.never = true
			return t
		}
		if t.kids[key] == nil {
			if t.kids == nil {
				t.kids = map[string]*docTree{}
			}
			t.kids[key] = &docTree{}
		}
		t = t.kids[key]
	}
	return t
}

// settle leaves out documents that are within others, and those around them.
func (t *docTree) settle(within bool) (holds bool) {
	for _, kid := range t.kids {
		if kid.settle(within || t.rules > 0) {
			holds = true
		}
	}
	t.never = t.never || within || holds
	return holds || t.rules > 0
}

// find returns the document that the reference is, nil if it is none that is kept.
func (t *docTree) find(ref ast.Ref) *docTree {
	if len(ref) == 0 || !ref[0].Equal(ast.DefaultRootDocument) {
		return nil
	}
	for _, term := range ref[1:] {
		key, ok := keyOf(term)
		if !ok {
			return nil
		}
		if t = t.kids[key]; t == nil {
			return nil
		}
	}
	if t.rules == 0 || t.never {
		return nil
	}
	return t
}

// standingCache is what one evaluation knows of documents: its own and those
// that stand. It implements topdown.VirtualCache.
type standingCache struct {
	topdown.VirtualCache
	kind  kind
	docs  *docTree
	known made
	fresh []freshDoc
	deep  int // frames that are not the first one
}

type freshDoc struct {
	doc  *docTree
	made madeDoc
}

// cache is what an evaluation about a call of the kind is given; keep takes it
// back when it has gone well.
func (s *standing) cache(k kind) *standingCache {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &standingCache{VirtualCache: topdown.NewVirtualCache(), kind: k, docs: &s.docs, known: s.kinds[k]}
}

// Get implements topdown.VirtualCache.
func (c *standingCache) Get(ref ast.Ref) (*ast.Term, bool) {
	if c.deep == 0 && len(c.known) > 0 {
		if doc := c.docs.find(ref); doc != nil {
			if m, ok := c.known[doc]; ok {
				return m.term, m.term == nil
			}
		}
	}
	return c.VirtualCache.Get(ref)
}

// Put implements topdown.VirtualCache.
func (c *standingCache) Put(ref ast.Ref, value *ast.Term) {
	if c.deep == 0 {
		if doc := c.docs.find(ref); doc != nil && (value == nil || value.IsGround()) {
			c.fresh = append(c.fresh, freshDoc{doc, madeDoc{value}})
		}
	}
	c.VirtualCache.Put(ref, value)
}

// Push implements topdown.VirtualCache.
func (c *standingCache) Push() {
	c.deep++
	c.VirtualCache.Push()
}

// Pop implements topdown.VirtualCache.
func (c *standingCache) Pop() {
	c.deep--
	c.VirtualCache.Pop()
}

// keep adds the documents that an evaluation has made.
func (s *standing) keep(c *standingCache) {
	if len(c.fresh) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.kinds[c.kind]
	if !ok && len(s.kinds) >= maxKinds {
		return
	}
	next := make(made, len(old)+len(c.fresh))
	maps.Copy(next, old)
	for _, f := range c.fresh {
		next[f.doc] = f.made
	}
	s.kinds[c.kind] = next
}
