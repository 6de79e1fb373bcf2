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
	if n.ids || n.time || n.seq || n.recent || n.counts {
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

// keys are buffers for keys, so that looking one up makes no garbage.
type keys struct{ pool sync.Pool }

func (k *keys) get() *[]byte {
	if buf, ok := k.pool.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, 0, 2<<10)
	return &buf
}

func (k *keys) put(buf *[]byte) {
	*buf = (*buf)[:0]
	k.pool.Put(buf)
}

// appendKey writes a value so that no two different ones are written alike; it
// writes numbers as they are spelt, which OPA's order of values does not tell
// apart. False: the key would be too long.
func appendKey(key []byte, value ast.Value) ([]byte, bool) {
	ok := len(key) < maxMemoKey
	each := func(term *ast.Term) {
		if ok {
			key, ok = appendKey(key, term.Value)
		}
	}
	switch v := value.(type) {
	case ast.Null:
		key = append(key, 'n')
	case ast.Boolean:
		if v {
			return append(key, 't'), ok
		}
		key = append(key, 'f')
	case ast.Number:
		key = appendText(append(key, '#'), string(v))
	case ast.String:
		if len(v) > maxMemoKey {
			return key, false
		}
		key = appendText(append(key, '"'), string(v))
	case *ast.Array:
		key = binary.AppendUvarint(append(key, '['), uint64(v.Len())) //nolint:gosec // a length
		v.Foreach(each)
	case ast.Object:
		key = binary.AppendUvarint(append(key, '{'), uint64(v.Len())) //nolint:gosec // a length
		v.Foreach(func(name, item *ast.Term) {
			each(name)
			each(item)
		})
	default: // an input is JSON
		return key, false
	}
	return key, ok
}

func appendText(key []byte, text string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(text))), text...)
}

// clone is a decision that shares nothing that can be written to.
func (d Decision) clone() Decision {
	d.Reasons, d.Warnings = cloneReasons(d.Reasons), cloneReasons(d.Warnings)
	d.Shadow, d.Labels = slices.Clone(d.Shadow), slices.Clone(d.Labels)
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
	for _, list := range [][]string{d.Labels, o.Exec.EnvDrop, o.Output.Redact, o.Output.Labels} {
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
