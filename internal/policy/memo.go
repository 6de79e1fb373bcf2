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

// memo keeps what a revision decided of the last different inputs. A decision
// follows from its revision and its input alone, since policies have neither
// clock nor network nor chance, so that the same input is not decided anew: an
// agent runs its tests, its build and git status again and again.
//
// Inputs are the same only if all is the same that a rule can read, to the byte
// (see [needs]); what no rule reads, such as the id of the call, is not in them.
// Where a rule reads what is never the same, there is no memo.
//
// It has two generations: what is asked for again moves to the young one, and
// when that is full the old one is dropped. Safe for concurrent use.
type memo struct {
	mu         sync.Mutex
	young, old map[string]Decision
	bytes      int // of young
}

// newMemo makes the memo of a revision: none if no two calls can be the same to
// its rules.
func newMemo(n needs) *memo {
	if n.ids || n.time || n.seq || n.recent || n.counts || n.usage {
		return nil
	}
	return &memo{young: map[string]Decision{}}
}

// find returns what was decided of the input with the key.
func (m *memo) find(key []byte) (Decision, bool) {
	if m == nil || len(key) == 0 {
		return Decision{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if d, ok := m.young[string(key)]; ok {
		return d.clone(), true
	}
	d, ok := m.old[string(key)]
	if ok {
		m.put(string(key), d)
		d = d.clone()
	}
	return d, ok
}

// keep notes what was decided of the input with the key.
func (m *memo) keep(key []byte, d Decision) {
	if m == nil || len(key) == 0 {
		return
	}
	own := d.clone()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(string(key), own)
}

func (m *memo) put(key string, d Decision) {
	size := len(key) + d.size()
	if size > maxMemoBytes/16 {
		return
	}
	if len(m.young) >= maxMemoEntries || m.bytes+size > maxMemoBytes {
		m.old, m.young, m.bytes = m.young, make(map[string]Decision, len(m.young)), 0
	}
	m.young[key] = d
	m.bytes += size
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
type keyWriter struct {
	key []byte
	ok  bool // the key is whole

	item   func(*ast.Term) // write, made once
	member func(name, item *ast.Term)
}

func newKeyWriter() *keyWriter {
	w := &keyWriter{key: make([]byte, 0, 2<<10)}
	w.item = func(item *ast.Term) { w.write(item.Value) }
	w.member = func(name, item *ast.Term) {
		w.write(name.Value)
		w.write(item.Value)
	}
	return w
}

// of returns the key of an input, until the next call; false: it would be too long.
func (w *keyWriter) of(input ast.Value) ([]byte, bool) {
	w.key, w.ok = w.key[:0], true
	w.write(input)
	return w.key, w.ok
}

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
		v.Foreach(w.item)
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
