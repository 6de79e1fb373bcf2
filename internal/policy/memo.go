package policy

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Bounds of a memo: it holds at most twice as much as one generation.
const (
	maxMemoEntries = 512
	maxMemoBytes   = 1 << 20
	maxMemoKey     = 16 << 10 // bytes; larger calls are seldom made twice
)

// generations keep what was looked at last, by keys: at most two generations of
// it. What is asked for again moves to the young one, and when that is full the
// old one is dropped. Safe for concurrent use.
type generations[V any] struct {
	mu         sync.Mutex
	young, old map[string]V
	bytes      int // of young
	size       func(V) int
}

func newGenerations[V any](size func(V) int) generations[V] {
	return generations[V]{young: map[string]V{}, size: size}
}

func (g *generations[V]) find(key []byte) (V, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v, ok := g.young[string(key)]; ok {
		return v, true
	}
	v, ok := g.old[string(key)]
	if ok {
		g.put(string(key), v)
	}
	return v, ok
}

func (g *generations[V]) keep(key []byte, v V) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.put(string(key), v)
}

func (g *generations[V]) put(key string, v V) {
	size := len(key) + g.size(v)
	if size > maxMemoBytes/16 {
		return
	}
	if old, ok := g.young[key]; ok {
		g.bytes -= len(key) + g.size(old)
	}
	if len(g.young) >= maxMemoEntries || g.bytes+size > maxMemoBytes {
		g.old, g.young, g.bytes = g.young, make(map[string]V, len(g.young)), 0
	}
	g.young[key] = v
	g.bytes += size
}

// memo keeps what a revision decided of the last different inputs. A decision
// follows from its revision and its input alone, since policies have neither
// clock nor network nor chance, so that the same input is not decided anew: an
// agent runs its tests, its build and git status again and again.
//
// Inputs are the same only if all is the same that a rule can read, to the byte
// (see [needs]); what no rule reads, such as the id of the call, is not in them.
// Where a rule reads what is never the same, there is no memo.
//
// The same holds of inputs whose words differ, where the evaluation of one of
// them came by nothing that looks at words (see [wordUse]): `wc -l a` is decided
// as `wc -l b` was, if no rule has asked what wc is given. What is the same to
// those inputs is their shape. It is found out when a shape is met for the second
// time, once: whether words are looked at follows from the shape as well.
//
// Safe for concurrent use; decisions are their finder's own.
type memo struct {
	decisions generations[Decision]
	shapes    generations[shape]
	words     *wordUse // nil: every rule may look at them
}

// shape is what is known of the inputs of one shape. Its zero value: one was met.
type shape struct {
	looks   bool      // their words are looked at
	decided *Decision // of all of them; nil: it is not known
}

// newMemo makes the memo of a revision: none if no two calls can be the same to
// its rules.
func newMemo(n needs, words *wordUse) *memo {
	if n.ids || n.time || n.seq || n.recent || n.counts || n.usage {
		return nil
	}
	return &memo{
		decisions: newGenerations(func(d Decision) int { return d.size() }),
		shapes:    newGenerations(func(s shape) int { return s.size() }),
		words:     words,
	}
}

func (s shape) size() int {
	if s.decided == nil {
		return 0
	}
	return s.decided.size()
}

// find returns what was decided of the input with the key, or of all of its
// shape. A watch is for the evaluation that has to be made instead, for keep: nil
// if nothing is to be found out by it.
func (m *memo) find(w *keyWriter) (d Decision, found bool, watch *wordWatch) {
	var known bool
	var s shape
	if m.words != nil {
		s, known = m.shapes.find(w.shape())
		if s.decided != nil {
			return s.decided.clone(), true, nil
		}
	}
	if d, found = m.decisions.find(w.whole()); found {
		return d.clone(), true, nil
	}
	if known && !s.looks {
		watch = &wordWatch{use: m.words}
	}
	if m.words != nil && !known {
		m.shapes.keep(w.shape(), shape{})
	}
	return Decision{}, false, watch
}

// keep notes what was decided of the input with the key.
func (m *memo) keep(w *keyWriter, d Decision, watch *wordWatch) {
	own := d.clone()
	if watch != nil {
		if !watch.looked {
			m.shapes.keep(w.shape(), shape{decided: &own})
			return
		}
		m.shapes.keep(w.shape(), shape{looks: true})
	}
	m.decisions.keep(w.whole(), own)
}

// keys are writers of keys, so that looking one up makes no garbage.
type keys struct{ pool sync.Pool }

func (k *keys) get() *keyWriter {
	if w, ok := k.pool.Get().(*keyWriter); ok {
		return w
	}
	return newKeyWriter()
}

func (k *keys) put(w *keyWriter) { k.pool.Put(w) }

// keyWriter writes values so that no two different ones are written alike, and
// numbers as they are spelt, which OPA's order of values does not tell apart.
// Words are written behind the rest, which says where there are any.
type keyWriter struct {
	key   []byte // what is being written to
	words []byte
	rest  int  // bytes of key that are no words
	at    part // what is written is this of an input
	ok    bool // the key is whole

	item   func(*ast.Term) // write, made once
	member func(name, item *ast.Term)
}

func newKeyWriter() *keyWriter {
	w := &keyWriter{key: make([]byte, 0, 3<<10), words: make([]byte, 0, 1<<10)}
	w.item = func(item *ast.Term) { w.write(item.Value) }
	w.member = func(name, item *ast.Term) {
		w.write(name.Value)
		in := w.at
		if in == noWords {
			w.write(item.Value)
			return
		}
		next, words := noWords, false
		if name, ok := keyOf(name); ok {
			next, words = in.member(name)
		}
		w.at = next
		if words {
			w.key = append(w.key, '?')
			w.key, w.words = w.words, w.key
		}
		w.write(item.Value)
		if words {
			w.key, w.words = w.words, w.key
		}
		w.at = in
	}
	return w
}

// of makes the key of an input, until the next call; false: it would be too long.
func (w *keyWriter) of(input ast.Value) bool {
	w.key, w.words, w.ok, w.at = w.key[:0], w.words[:0], true, inputPart
	w.write(input)
	w.rest = len(w.key)
	w.key = append(w.key, w.words...)
	return w.ok && len(w.key) <= maxMemoKey
}

// shape is the key without words.
func (w *keyWriter) shape() []byte { return w.key[:w.rest] }

func (w *keyWriter) whole() []byte { return w.key }

func (w *keyWriter) write(value ast.Value) {
	if w.ok = w.ok && len(w.key) < maxMemoKey; !w.ok {
		return
	}
	switch v := value.(type) {
	case ast.Null:
		w.key = append(w.key, 'n')
	case ast.Boolean:
		if v {
			w.key = append(w.key, 't')
		} else {
			w.key = append(w.key, 'f')
		}
	case ast.Number:
		w.text('#', string(v))
	case ast.String:
		w.text('"', string(v))
	case *ast.Array:
		w.head('[', v.Len())
		in := w.at
		w.at = in.item()
		v.Foreach(w.item)
		w.at = in
	case ast.Object:
		w.head('{', v.Len())
		v.Foreach(w.member)
	default: // an input is JSON
		w.ok = false
	}
}

func (w *keyWriter) head(kind byte, n int) {
	w.key = binary.AppendUvarint(append(w.key, kind), uint64(max(n, 0)))
}

func (w *keyWriter) text(kind byte, text string) {
	if w.ok = len(text) <= maxMemoKey; w.ok {
		w.head(kind, len(text))
		w.key = append(w.key, text...)
	}
}

// clone is a decision that shares nothing that can be written to.
func (d Decision) clone() Decision {
	d.Reasons, d.Warnings = cloneReasons(d.Reasons), cloneReasons(d.Warnings)
	d.Shadow, d.Labels, d.Grants = slices.Clone(d.Shadow), slices.Clone(d.Labels), slices.Clone(d.Grants)
	if d.Ask != nil {
		terms := *d.Ask
		terms.Approvers = slices.Clone(terms.Approvers)
		d.Ask = &terms
	}
	if d.Transform != nil {
		transform := *d.Transform
		transform.Args = slices.Clone(transform.Args)
		d.Transform = &transform
	}
	d.Bounds.Mounts = slices.Clone(d.Bounds.Mounts)
	o := &d.Obligations
	o.Sandbox.Mounts = slices.Clone(o.Sandbox.Mounts)
	o.Exec.EnvSet, o.Exec.EnvDrop = maps.Clone(o.Exec.EnvSet), slices.Clone(o.Exec.EnvDrop)
	o.Output.Redact, o.Output.Labels = slices.Clone(o.Output.Redact), slices.Clone(o.Output.Labels)
	o.Output.Patterns = maps.Clone(o.Output.Patterns)
	return d
}

func cloneReasons(list []Reason) []Reason {
	list = slices.Clone(list)
	for i := range list {
		if list[i].Command != nil {
			command := *list[i].Command
			list[i].Command = &command
		}
	}
	return list
}

// size is about how many bytes the decision holds.
func (d *Decision) size() int {
	const fixed = 512
	n := fixed
	for _, list := range [][]Reason{d.Reasons, d.Warnings} {
		for i := range list {
			n += fixed/4 + len(list[i].Rule) + len(list[i].Message) + len(list[i].Remediation) + len(list[i].Severity)
		}
	}
	for i := range d.Shadow {
		n += fixed/8 + len(d.Shadow[i].Rule) + len(d.Shadow[i].Message)
	}
	if d.Transform != nil {
		n += len(d.Transform.Args)
	}
	o := &d.Obligations
	for _, list := range [][]string{d.Labels, d.Grants, o.Exec.EnvDrop, o.Output.Redact, o.Output.Labels} {
		n += textBytes(list)
	}
	for _, mounts := range [][]Mount{o.Sandbox.Mounts, d.Bounds.Mounts} {
		for i := range mounts {
			n += fixed/8 + len(mounts[i].Path)
		}
	}
	if d.Ask != nil {
		n += textBytes(d.Ask.Approvers)
	}
	for _, texts := range []map[string]string{o.Exec.EnvSet, o.Output.Patterns} {
		for name, text := range texts {
			n += fixed/8 + len(name) + len(text)
		}
	}
	return n
}

func textBytes(list []string) int {
	n := 0
	for _, text := range list {
		n += 16 + len(text)
	}
	return n
}
