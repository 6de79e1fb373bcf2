package gate

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
)

// members writes JSON objects, member by member, as encoding/json would: by hand,
// because each call has two records, and by reflection they took a twentieth of the
// daemon's time for it. A name is written with its colon: `"digest":`.
//
// What is rare is left to encoding/json, by value.
type members struct {
	b   []byte
	err error // the first one
}

// next writes the comma before a member or an element that is not the first.
func (m *members) next() {
	if last := m.b[len(m.b)-1]; last != '{' && last != '[' {
		m.b = append(m.b, ',')
	}
}

func (m *members) name(name string) {
	m.next()
	m.b = append(m.b, name...)
}

// object writes a member that is an object; what writes its members.
func (m *members) object(name string, what func(*members)) {
	m.name(name)
	m.body(what)
}

// someObject is object for one that is left out when nothing is in it.
func (m *members) someObject(name string, what func(*members)) {
	before := len(m.b)
	m.object(name, what)
	if bytes.HasSuffix(m.b, []byte("{}")) {
		m.b = m.b[:before]
	}
}

// body writes an object without a name: an element, or the document itself.
func (m *members) body(what func(*members)) {
	m.b = append(m.b, '{')
	what(m)
	m.b = append(m.b, '}')
}

func (m *members) text(name, s string) {
	m.name(name)
	m.quoted(s)
}

// texts writes a list.
func (m *members) texts(name string, list []string) {
	m.name(name)
	m.b = append(m.b, '[')
	for _, s := range list {
		m.next()
		m.quoted(s)
	}
	m.b = append(m.b, ']')
}

func (m *members) number(name string, n int64) {
	m.name(name)
	m.b = strconv.AppendInt(m.b, n, 10)
}

func (m *members) unsigned(name string, n uint64) {
	m.name(name)
	m.b = strconv.AppendUint(m.b, n, 10)
}

func (m *members) flag(name string, f bool) {
	m.name(name)
	m.b = strconv.AppendBool(m.b, f)
}

func (m *members) float(name string, f float64) {
	if abs := math.Abs(f); abs != 0 && !(abs >= 1e-6 && abs < 1e21) {
		m.value(name, f) // with an exponent, or none at all
		return
	}
	m.name(name)
	m.b = strconv.AppendFloat(m.b, f, 'f', -1, 64)
}

// What follows is for members that are left out when they are empty.

func (m *members) someText(name, s string) {
	if s != "" {
		m.text(name, s)
	}
}

func (m *members) someTexts(name string, list []string) {
	if len(list) > 0 {
		m.texts(name, list)
	}
}

func (m *members) someNumber(name string, n int64) {
	if n != 0 {
		m.number(name, n)
	}
}

func (m *members) someFlag(name string, f bool) {
	if f {
		m.flag(name, f)
	}
}

// raw writes what is JSON already.
func (m *members) raw(name string, raw json.RawMessage) {
	m.name(name)
	buf := bytes.NewBuffer(m.b)
	if err := json.Compact(buf, raw); err != nil && m.err == nil {
		m.err = err
	}
	m.b = buf.Bytes()
}

// value writes anything.
func (m *members) value(name string, v any) {
	m.name(name)
	m.any(v)
}

func (m *members) any(v any) {
	buf := bytes.NewBuffer(m.b)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		if m.err == nil {
			m.err = err
		}
		return
	}
	m.b = bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})
}

// quoted writes a string.
func (m *members) quoted(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x80 || c == '"' || c == '\\' {
			m.any(s)
			return
		}
	}
	m.b = append(m.b, '"')
	m.b = append(m.b, s...)
	m.b = append(m.b, '"')
}

// textMap and numberMap write maps in the order of their keys. One that is nil is null.
func (m *members) textMap(name string, texts map[string]string) {
	writeMap(m, name, texts, func(text string) { m.quoted(text) })
}

func (m *members) numberMap(name string, numbers map[string]int64) {
	writeMap(m, name, numbers, func(n int64) { m.b = strconv.AppendInt(m.b, n, 10) })
}

func writeMap[V any](m *members, name string, values map[string]V, write func(V)) {
	if values == nil {
		m.value(name, nil)
		return
	}
	m.name(name)
	m.b = append(m.b, '{')
	var room [16]string
	for _, key := range keysInto(room[:0], values) {
		m.next()
		m.quoted(key)
		m.b = append(m.b, ':')
		write(values[key])
	}
	m.b = append(m.b, '}')
}

// keysInto is sortedKeys with memory for the keys.
func keysInto[V any](keys []string, m map[string]V) []string {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
