package gate

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
)

// Results of calls that have ended are kept packed: as they are they take 3 KiB in some
// forty pieces each, and the pieces lie all over the heap, which then cannot give the
// memory between them back. Packed, those of one caller lie one after another in blocks,
// each text that comes again only once in its block, some 300 bytes for a result.
// A block is let go of when none of its results is kept.

// Bounds of blocks.
const (
	leastBlock = 2 << 10 // the first of a caller, each later one twice as large up to
	mostBlock  = 64 << 10
	// Texts of these lengths are looked for in the block, the first mostTexts different ones.
	leastText, mostText = 4, 256
	mostTexts           = 256
	// looseBytes of output are not packed, but kept as they are.
	looseBytes = 1 << 10
)

// packer packs results of one caller. The ledger's mutex guards it and what it has packed.
type packer struct {
	last *block
	size int               // of last
	at   map[string]uint64 // where the last block has a text
}

// block is memory that several packed results share.
type block struct{ b []byte }

// packed is a result. The zero value is none.
type packed struct {
	in     *block
	at, n  uint32
	output *[4][]byte // head and tail of stdout and stderr, where they are much
}

// bytes is about how much memory it takes.
func (p *packed) bytes() int64 {
	n := int64(p.n)
	if p.output != nil {
		for _, out := range p.output {
			n += int64(len(out))
		}
	}
	return n
}

// pack packs a result; of its output it keeps what is much as it is.
func (p *packer) pack(r *Result) (packed, error) {
	var out packed
	if r.ResultSizeBytes > looseBytes {
		lean := *r
		out.output = &[4][]byte{r.Stdout.Head, r.Stdout.Tail, r.Stderr.Head, r.Stderr.Tail}
		lean.Stdout.Head, lean.Stdout.Tail, lean.Stderr.Head, lean.Stderr.Tail = nil, nil, nil, nil
		r = &lean
	}
	for _, fresh := range []bool{p.last == nil, true} {
		if fresh {
			p.begin()
		}
		b, err := p.encode(p.last.b, r)
		if err != nil {
			return packed{}, err
		}
		if at := len(p.last.b); len(b) <= cap(p.last.b) {
			p.last.b = b
			out.in, out.at, out.n = p.last, uint32(at), uint32(len(b)-at) //nolint:gosec // of a block
			return out, nil
		} else if len(b)-at > mostBlock {
			break
		}
	}
	// It is larger than a block: it gets one of its own.
	clear(p.at)
	b, err := p.encode(nil, r)
	clear(p.at)
	if err == nil && len(b) > math.MaxUint32 {
		err = errors.New("it is too large")
	}
	if err != nil {
		return packed{}, err
	}
	out.in, out.n = &block{slices.Clone(b)}, uint32(len(b)) //nolint:gosec // looked at above
	return out, nil
}

func (p *packer) encode(b []byte, r *Result) ([]byte, error) {
	e := encoder{b: b, texts: p.at}
	if err := e.value(reflect.ValueOf(r).Elem()); err != nil {
		p.last = nil // the places of its texts may be wrong now
		return nil, err
	}
	return e.b, nil
}

// begin begins the next block.
func (p *packer) begin() {
	p.size = min(max(2*p.size, leastBlock), mostBlock)
	p.last = &block{make([]byte, 0, p.size)}
	if p.at == nil {
		p.at = map[string]uint64{}
	}
	clear(p.at)
}

// unpack is the result as it was.
func (p *packed) unpack() (Result, error) {
	var r Result
	d := decoder{b: p.in.b, at: int(p.at)}
	d.value(reflect.ValueOf(&r).Elem())
	if d.err != nil {
		return Result{}, fmt.Errorf("a kept result cannot be read: %w", d.err)
	}
	if o := p.output; o != nil {
		r.Stdout.Head, r.Stdout.Tail, r.Stderr.Head, r.Stderr.Tail = o[0], o[1], o[2], o[3]
	}
	return r, nil
}

// encoder writes values by their types: of a struct which of its fields are not zero,
// and those; numbers and lengths as varints, 0 as the length of what is nil; a text or
// where it is. What it does not know is JSON.
type encoder struct {
	b     []byte
	texts map[string]uint64
}

func (e *encoder) value(v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		e.text(v.String())
	case reflect.Bool:
		n := uint64(0)
		if v.Bool() {
			n = 1
		}
		e.number(n)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.b = binary.AppendVarint(e.b, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.number(v.Uint())
	case reflect.Pointer:
		if v.IsNil() {
			e.number(0)
			return nil
		}
		e.number(1)
		return e.value(v.Elem())
	case reflect.Slice:
		return e.slice(v)
	case reflect.Map:
		return e.dict(v)
	case reflect.Struct:
		return e.fields(v)
	default:
		return e.json(v)
	}
	return nil
}

func (e *encoder) fields(v reflect.Value) error {
	if !plain(v) {
		return e.json(v)
	}
	set := uint64(0)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			set |= 1 << i
		}
	}
	e.number(set)
	for i := range v.NumField() {
		if set&(1<<i) == 0 {
			continue
		}
		if err := e.value(v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

// plain reports whether all of a struct is in its fields that can be set. It asks the
// value: its type would make a description of each field first.
func plain(v reflect.Value) bool {
	for i := range v.NumField() { //nolint:modernize // v.Fields makes those descriptions
		if !v.Field(i).CanInterface() { // it is not exported
			return false
		}
	}
	return v.NumField() <= 64
}

func (e *encoder) slice(v reflect.Value) error {
	if v.IsNil() {
		e.number(0)
		return nil
	}
	e.number(uint64(v.Len()) + 1) //nolint:gosec // not negative
	if v.Type().Elem().Kind() == reflect.Uint8 {
		e.b = append(e.b, v.Bytes()...)
		return nil
	}
	for i := range v.Len() {
		if err := e.value(v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) dict(v reflect.Value) error {
	switch m := v.Interface().(type) {
	case map[string]string:
		e.number(lengthOf(m))
		for k, s := range m {
			e.text(k)
			e.text(s)
		}
	case map[string]int64:
		e.number(lengthOf(m))
		for k, n := range m {
			e.text(k)
			e.b = binary.AppendVarint(e.b, n)
		}
	default:
		return e.json(v)
	}
	return nil
}

// lengthOf is one more than how many a map has, 0 for none.
func lengthOf[V any](m map[string]V) uint64 {
	if m == nil {
		return 0
	}
	return uint64(len(m)) + 1
}

func (e *encoder) number(n uint64) { e.b = binary.AppendUvarint(e.b, n) }

// text writes where a text is, odd, or its length, even, and the text.
func (e *encoder) text(s string) {
	if len(s) < leastText || len(s) > mostText {
		e.number(uint64(len(s)) << 1)
		e.b = append(e.b, s...)
		return
	}
	if at, ok := e.texts[s]; ok {
		e.number(at<<1 | 1)
		return
	}
	if len(e.texts) < mostTexts {
		e.texts[strings.Clone(s)] = uint64(len(e.b)) // s may be a part of much more
	}
	e.number(uint64(len(s)) << 1)
	e.b = append(e.b, s...)
}

func (e *encoder) json(v reflect.Value) error {
	raw, err := json.Marshal(v.Interface())
	if err != nil {
		return fmt.Errorf("keep a %v: %w", v.Type(), err)
	}
	e.number(uint64(len(raw)))
	e.b = append(e.b, raw...)
	return nil
}
