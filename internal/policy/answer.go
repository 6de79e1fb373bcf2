package policy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
)

// answer is what a policy may say. Fields that only the daemon may set are not
// in it.
type answer struct {
	Outcome     Outcome     `json:"outcome"`
	Reasons     []Reason    `json:"reasons"`
	Warnings    []Reason    `json:"warnings"`
	Shadow      []Shadow    `json:"shadow"`
	Ask         *AskTerms   `json:"ask"`
	Obligations Obligations `json:"obligations"`
	Labels      []string    `json:"labels"`
	Grants      []string    `json:"grants"`
	Transform   rewrite     `json:"transform"`
	// Tighten are merged into Obligations, see tighten.
	Tighten []Tightening `json:"tighten"`
}

// rewrite is a transform as a policy may state it; without arguments it is none.
type rewrite struct {
	Args json.RawMessage `json:"args"`
}

// problem is why an answer is not a decision.
type problem struct{ rule, message string }

// read takes an answer out of what the policy said. It is strict: no unknown
// key, no null and no wrong type at any depth.
func (a *answer) read(value ast.Value) *problem {
	r := reader{left: maxAnswerBytes}
	if p := r.read(value, reflect.ValueOf(a).Elem(), nil); p != nil {
		return p
	}
	if r.left < 0 {
		return invalid("the decision has %d bytes, the most is %d", maxAnswerBytes-r.left, maxAnswerBytes)
	}
	return nil
}

// reader fills Go values from OPA's.
type reader struct {
	left int // bytes of text that the answer may still have
}

// place is where in the answer a value is. It is only spelt out for a problem.
type place struct {
	in    *place
	key   string
	index int // -1: key counts
}

func (p *place) String() string {
	switch {
	case p == nil:
		return ""
	case p.index >= 0:
		return fmt.Sprintf("%s[%d]", p.in, p.index)
	case p.in == nil:
		return p.key
	}
	return p.in.String() + "." + p.key
}

func (r *reader) read(value ast.Value, into reflect.Value, at *place) *problem {
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		return r.read(value, into.Elem(), at)
	case reflect.Struct:
		return r.object(value, into, at)
	case reflect.Slice:
		if into.Type() == jsonType {
			return r.document(value, into, at)
		}
		return r.list(value, into, at)
	case reflect.Map:
		return r.texts(value, into, at)
	case reflect.String:
		text, ok := value.(ast.String)
		if !ok {
			return wrongType(value, "a string", at)
		}
		into.SetString(r.text(string(text)))
		return nil
	case reflect.Bool:
		flag, ok := value.(ast.Boolean)
		if !ok {
			return wrongType(value, "a boolean", at)
		}
		into.SetBool(bool(flag))
		return nil
	default: // int, int64
		number, ok := value.(ast.Number)
		if !ok {
			return wrongType(value, "an integer", at)
		}
		n, err := json.Number(number).Int64()
		if err != nil || into.OverflowInt(n) {
			return invalid("the decision's %s is %s, want an integer", at, string(number))
		}
		into.SetInt(n)
		return nil
	}
}

var jsonType = reflect.TypeFor[json.RawMessage]()

// document takes an object of any members as JSON.
func (r *reader) document(value ast.Value, into reflect.Value, at *place) *problem {
	if _, ok := value.(ast.Object); !ok {
		return wrongType(value, "an object", at)
	}
	doc, err := ast.JSON(value)
	if err != nil {
		return invalid("the decision's %s is no JSON: %v", at, err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return invalid("the decision's %s is no JSON: %v", at, err)
	}
	r.left -= len(raw)
	into.SetBytes(raw)
	return nil
}

// text is a string as it is after a way through JSON, which is how it is kept.
func (r *reader) text(s string) string {
	r.left -= jsonBytes(s)
	if !utf8.ValidString(s) {
		return string([]rune(s))
	}
	return s
}

// jsonBytes is at least what encoding/json writes for s.
func jsonBytes(s string) int {
	const escape = len(`\u003c`) - 1 // what an escape adds to its byte
	n := len(s) + len(`"",`)
	if !utf8.ValidString(s) {
		n += escape * len(s)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == '<' || c == '>' || c == '&':
			n += escape
		case c == '"' || c == '\\' || c >= utf8.RuneSelf: // of U+2028 all three bytes
			n++
		}
	}
	return n
}

func (r *reader) object(value ast.Value, into reflect.Value, at *place) *problem {
	object, ok := value.(ast.Object)
	if !ok {
		return wrongType(value, "an object", at)
	}
	fields := answerFields[into.Type()]
	keys := object.KeysIterator()
	for key, more := keys.Next(); more; key, more = keys.Next() {
		name := keyText(key)
		here := &place{in: at, key: name, index: -1}
		field, known := fields[name]
		if !known {
			return unknownKey(here.String(), fields)
		}
		r.left -= len(name) + len(`"":,`)
		if p := r.read(object.Get(key).Value, into.Field(field), here); p != nil {
			return p
		}
	}
	return nil
}

// list takes a set for the list of its items.
func (r *reader) list(value ast.Value, into reflect.Value, at *place) *problem {
	var items []*ast.Term
	switch v := value.(type) {
	case *ast.Array:
		items = make([]*ast.Term, 0, v.Len())
		v.Foreach(func(item *ast.Term) { items = append(items, item) })
	case ast.Set:
		items = v.Slice()
	default:
		return wrongType(value, "a list", at)
	}
	into.Set(reflect.MakeSlice(into.Type(), len(items), len(items)))
	for i, item := range items {
		if p := r.read(item.Value, into.Index(i), &place{in: at, index: i}); p != nil {
			return p
		}
	}
	return nil
}

// texts fills a map of strings.
func (r *reader) texts(value ast.Value, into reflect.Value, at *place) *problem {
	object, ok := value.(ast.Object)
	if !ok {
		return wrongType(value, "an object", at)
	}
	m := make(map[string]string, object.Len())
	keys := object.KeysIterator()
	for key, more := keys.Next(); more; key, more = keys.Next() {
		name := keyText(key)
		item := object.Get(key).Value
		text, ok := item.(ast.String)
		if !ok {
			return wrongType(item, "a string", &place{in: at, key: name, index: -1})
		}
		m[r.text(name)] = r.text(string(text))
	}
	into.Set(reflect.ValueOf(m))
	return nil
}

// keyText is the name that a key has in JSON.
func keyText(key *ast.Term) string {
	if s, ok := key.Value.(ast.String); ok {
		return string(s)
	}
	return key.Value.String()
}

// answerFields are the fields of the structs of an answer by their names in JSON.
var answerFields = fieldsOf(reflect.TypeFor[effectsAnswer](), fieldsOf(reflect.TypeFor[answer](), map[reflect.Type]map[string]int{}))

func fieldsOf(t reflect.Type, known map[reflect.Type]map[string]int) map[reflect.Type]map[string]int {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return fieldsOf(t.Elem(), known)
	case reflect.Struct:
	default:
		return known
	}
	if _, ok := known[t]; ok {
		return known
	}
	known[t] = make(map[string]int, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		known[t][name] = i
		fieldsOf(t.Field(i).Type, known)
	}
	return known
}

func unknownKey(at string, fields map[string]int) *problem {
	known := make([]string, 0, len(fields))
	for name := range fields {
		known = append(known, name)
	}
	slices.Sort(known)
	rule := RuleInvalidDecision
	if strings.HasPrefix(at, "obligations.") {
		rule = RuleObligationUnknown
	}
	return &problem{rule, fmt.Sprintf("the decision has %s, which sandgate does not know; it knows %s", at, strings.Join(known, ", "))}
}

func wrongType(value ast.Value, want string, at *place) *problem {
	where := at.String()
	if where == "" {
		where = "value"
	}
	return invalid("the decision's %s is %s, want %s", where, kindOf(value), want)
}

func kindOf(value ast.Value) string {
	switch value.(type) {
	case ast.Null:
		return "null"
	case ast.Object:
		return "an object"
	case *ast.Array, ast.Set:
		return "a list"
	case ast.String:
		return "a string"
	case ast.Boolean:
		return "a boolean"
	}
	return "a number"
}
