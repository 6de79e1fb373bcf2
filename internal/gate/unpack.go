package gate

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"reflect"
)

var errPacked = errors.New("it is damaged")

// decoder reads what an encoder wrote. What it gives shares no memory with the block.
type decoder struct {
	b   []byte // the block
	at  int
	err error // once it is set all that is read is zero
}

func (d *decoder) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(d.text())
	case reflect.Bool:
		v.SetBool(d.number() == 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(d.signed())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(d.number())
	case reflect.Pointer:
		if d.number() == 1 {
			v.Set(reflect.New(v.Type().Elem()))
			d.value(v.Elem())
		}
	case reflect.Slice:
		d.slice(v)
	case reflect.Map:
		d.dict(v)
	case reflect.Struct:
		d.fields(v)
	default:
		d.json(v)
	}
}

func (d *decoder) fields(v reflect.Value) {
	if !plain(v) {
		d.json(v)
		return
	}
	set := d.number()
	for i := range v.NumField() {
		if set&(1<<i) != 0 {
			d.value(v.Field(i))
		}
	}
}

func (d *decoder) slice(v reflect.Value) {
	n, ok := d.length()
	if !ok {
		return
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		v.SetBytes(append(make([]byte, 0, n), d.bytes(n)...))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	for i := range n {
		d.value(v.Index(i))
	}
}

func (d *decoder) dict(v reflect.Value) {
	switch v.Interface().(type) {
	case map[string]string:
		if n, ok := d.length(); ok {
			m := reflect.MakeMapWithSize(v.Type(), n)
			into, _ := reflect.TypeAssert[map[string]string](m)
			for range n {
				k := d.text()
				into[k] = d.text()
			}
			v.Set(m)
		}
	case map[string]int64:
		if n, ok := d.length(); ok {
			m := reflect.MakeMapWithSize(v.Type(), n)
			into, _ := reflect.TypeAssert[map[string]int64](m)
			for range n {
				k := d.text()
				into[k] = d.signed()
			}
			v.Set(m)
		}
	default:
		d.json(v)
	}
}

// length is how many a slice or map has; not ok: it is nil.
func (d *decoder) length() (int, bool) {
	n := d.number()
	if n == 0 {
		return 0, false
	}
	if n-1 > uint64(len(d.b)) {
		d.err = errPacked
		return 0, false
	}
	return int(n - 1), true //nolint:gosec // looked at above
}

func (d *decoder) number() uint64 {
	if d.err != nil {
		return 0
	}
	n, size := binary.Uvarint(d.b[d.at:])
	if size <= 0 {
		d.err = errPacked
		return 0
	}
	d.at += size
	return n
}

func (d *decoder) signed() int64 {
	if d.err != nil {
		return 0
	}
	n, size := binary.Varint(d.b[d.at:])
	if size <= 0 {
		d.err = errPacked
		return 0
	}
	d.at += size
	return n
}

func (d *decoder) bytes(n int) []byte {
	if d.err == nil && n > len(d.b)-d.at {
		d.err = errPacked
	}
	if d.err != nil {
		return nil
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

func (d *decoder) text() string {
	n := d.number()
	if n&1 == 0 {
		return string(d.bytes(d.limit(n >> 1)))
	}
	there := decoder{b: d.b, at: d.limit(n >> 1), err: d.err}
	n = there.number()
	s := string(there.bytes(there.limit(n >> 1)))
	if there.err != nil || n&1 != 0 {
		d.err = errPacked
	}
	return s
}

// limit is a length or place within the block.
func (d *decoder) limit(n uint64) int {
	if n > uint64(len(d.b)) {
		d.err = errPacked
		return 0
	}
	return int(n) //nolint:gosec // looked at above
}

func (d *decoder) json(v reflect.Value) {
	raw := d.bytes(d.limit(d.number()))
	if d.err == nil {
		d.err = json.Unmarshal(raw, v.Addr().Interface())
	}
}
