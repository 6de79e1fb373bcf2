package cell

import (
	"encoding/binary"
	"fmt"
	"math"
	"sort"
	"time"
)

// encoder appends fields to a body.
type encoder struct{ b []byte }

func (e *encoder) uint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)   { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) bool(v bool) {
	if v {
		e.b = append(e.b, 1)
		return
	}
	e.b = append(e.b, 0)
}

func (e *encoder) string(v string) {
	e.uint(uint64(len(v)))
	e.b = append(e.b, v...)
}

func (e *encoder) strings(v []string) {
	e.uint(uint64(len(v)))
	for _, s := range v {
		e.string(s)
	}
}

func (e *encoder) stringMap(m map[string]string) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	e.uint(uint64(len(keys)))
	for _, k := range keys {
		e.string(k)
		e.string(m[k])
	}
}

func (e *encoder) intMap(m map[string]int64) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	e.uint(uint64(len(keys)))
	for _, k := range keys {
		e.string(k)
		e.int(m[k])
	}
}

// maxMapEntries bounds the maps of a message: namespaces and mount points.
const maxMapEntries = 64

// decoder takes fields from a body. The first fault sticks: later reads return
// zero values and finish reports it.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: %w", what, ErrProtocol)
	}
	d.b = nil
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("bad unsigned number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int64() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int {
	v := d.int64()
	if v < math.MinInt32 || v > math.MaxInt32 {
		d.fail("number out of range")
		return 0
	}
	return int(v)
}

func (d *decoder) duration() time.Duration { return time.Duration(d.int64()) }

func (d *decoder) bool() bool {
	if len(d.b) == 0 || d.b[0] > 1 {
		d.fail("bad boolean")
		return false
	}
	v := d.b[0] == 1
	d.b = d.b[1:]
	return v
}

// bytes returns the next n bytes without a copy.
func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail("length beyond the frame")
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes(d.uint())) }

// count reads a number of items, each of which takes at least one byte.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail("count beyond the frame")
		return 0
	}
	return int(n) //nolint:gosec // at most the frame's length
}

func (d *decoder) strings() []string {
	n := d.count()
	if n == 0 {
		return nil
	}
	v := make([]string, 0, min(n, 64))
	for range n {
		v = append(v, d.string())
		if d.err != nil {
			return nil
		}
	}
	return v
}

func (d *decoder) stringMap() map[string]string {
	n := d.count()
	if n > maxMapEntries {
		d.fail("too many map entries")
	}
	if n == 0 || d.err != nil {
		return nil
	}
	m := make(map[string]string)
	for range n {
		k := d.string()
		m[k] = d.string()
		if d.err != nil {
			return nil
		}
	}
	return m
}

func (d *decoder) intMap() map[string]int64 {
	n := d.count()
	if n > maxMapEntries {
		d.fail("too many map entries")
	}
	if n == 0 || d.err != nil {
		return nil
	}
	m := make(map[string]int64)
	for range n {
		k := d.string()
		m[k] = d.int64()
		if d.err != nil {
			return nil
		}
	}
	return m
}

// finish returns the first fault, or an error when bytes are left over.
func (d *decoder) finish(what string) error {
	if d.err != nil {
		return fmt.Errorf("decode %s: %w", what, d.err)
	}
	if len(d.b) != 0 {
		return fmt.Errorf("decode %s: %d bytes left over: %w", what, len(d.b), ErrProtocol)
	}
	return nil
}
