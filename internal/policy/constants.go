package policy

import (
	"maps"
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxKnownTools bounds how many declarations of tools are kept as terms.
const maxKnownTools = 512

// maxKeptStack bounds the stack of members that a builder leaves to the next.
const maxKeptStack = 1024

// constants are the terms of parts of the input that are the same for many
// calls of one revision. Terms are never changed, so that all decisions share
// them. Safe for concurrent use.
type constants struct {
	ceiling SandboxObligations
	sandbox *ast.Term

	mu    sync.RWMutex
	tools map[string]knownTool // by name

	stacks sync.Pool // of builders: *[][2]*ast.Term, empty
}

// stack is an empty stack for a builder, which putStack takes back.
func (c *constants) stack() [][2]*ast.Term {
	if c != nil {
		if s, ok := c.stacks.Get().(*[][2]*ast.Term); ok {
			return *s
		}
	}
	return make([][2]*ast.Term, 0, 64)
}

func (c *constants) putStack(s [][2]*ast.Term) {
	if c == nil || cap(s) > maxKeptStack {
		return
	}
	s = s[:cap(s)]
	clear(s) // so that it holds nothing of the call
	s = s[:0]
	c.stacks.Put(&s)
}

type knownTool struct {
	tool ToolInput // a copy of its own
	term *ast.Term
}

func newConstants(ceiling SandboxObligations) *constants {
	b := &valueBuilder{needs: allNeeds}
	return &constants{
		ceiling: ceiling, sandbox: b.sandbox(&SandboxInput{Ceiling: ceiling}), tools: map[string]knownTool{},
	}
}

// ceiling is the daemon's part of the input about the sandbox.
func (b *valueBuilder) ceiling(s *SandboxInput) *ast.Term {
	own := s.Ceiling // so that the whole input need not escape
	if c := b.constants; c != nil && c.ceiling.equal(&own) {
		return c.sandbox
	}
	return b.sandbox(s)
}

// declared is the declaration of a tool, which is the same for all its calls
// until the configuration changes.
func (b *valueBuilder) declared(t *ToolInput) *ast.Term {
	c := b.constants
	if c == nil {
		return b.tool(t)
	}
	c.mu.RLock()
	known, ok := c.tools[t.Name]
	c.mu.RUnlock()
	if ok && known.tool.equal(t) {
		return known.term
	}
	own := valueBuilder{needs: b.needs} // so that the term holds nothing of this call
	term := own.tool(t)
	if own.err != nil {
		b.fail(own.err)
		return term
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok || len(c.tools) < maxKnownTools {
		c.tools[t.Name] = knownTool{tool: t.clone(), term: term}
	}
	return term
}

func (t *ToolInput) equal(other *ToolInput) bool {
	return t.Name == other.Name && t.Source == other.Source && t.Risk == other.Risk &&
		(t.Effects == nil) == (other.Effects == nil) && slices.Equal(t.Effects, other.Effects) &&
		(t.Annotations == nil) == (other.Annotations == nil) && maps.Equal(t.Annotations, other.Annotations)
}

func (t *ToolInput) clone() ToolInput {
	own := *t
	own.Effects, own.Annotations = slices.Clone(t.Effects), maps.Clone(t.Annotations)
	return own
}
