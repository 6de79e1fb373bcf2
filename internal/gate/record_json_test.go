package gate

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/sandgate/sandgate/internal/journal"
)

// asEncodingJSON is what the journal would write of data that does not encode itself.
func asEncodingJSON(t *testing.T, data any) string {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		t.Fatalf("%+v: %v", data, err)
	}
	return string(bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}))
}

func compareEncodings(t *testing.T, what string, data journal.Appender) {
	t.Helper()
	got, err := data.AppendJSON([]byte("before"))
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if want := "before" + asEncodingJSON(t, data); string(got) != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// fields visits every field in v, also those of what pointers, lists and maps would
// hold, and calls visit with each set to something that is not empty, and all others
// as they are without it.
func fields(v reflect.Value, path string, visit func(path string)) {
	was := reflect.New(v.Type()).Elem()
	was.Set(v)
	defer v.Set(was)
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fields(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
		return
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		visit(path + " (empty)")
		fields(v.Elem(), path, visit)
		return
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(`{"a" : [1, "<&>\u2028 é"]}`))
			visit(path)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		visit(path + " (empty)")
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		visit(path + " (two)")
		fields(v.Index(1), path+"[1]", visit)
		return
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		visit(path + " (empty)")
		for _, key := range []string{"b", "a", `é"`} {
			item := reflect.New(v.Type().Elem()).Elem()
			fill(item, rand.New(rand.NewPCG(1, 1)), 1) // #nosec G404 -- a test
			v.SetMapIndex(reflect.ValueOf(key), item)
		}
		visit(path)
		return
	}
	for _, value := range values(v.Type()) {
		v.Set(value.Convert(v.Type()))
		visit(path)
	}
}

// values are what a field of a simple type can have.
func values(t reflect.Type) []reflect.Value {
	var all []any
	switch t.Kind() {
	case reflect.String:
		all = []any{"text", "a \"b\" \\ \n\t\x01\x7f", "<é&\u2028\xff>"}
	case reflect.Bool:
		all = []any{true}
	case reflect.Float64:
		all = []any{0.001, 1234567.25, 1e-9, -1e300, math.MaxFloat64, 1e21, 1e-6}
	case reflect.Interface:
		all = []any{1.5}
	default:
		all = []any{-7, math.MaxInt32}
		if t.Kind() == reflect.Uint64 {
			all = []any{uint64(math.MaxUint64)}
		}
	}
	out := make([]reflect.Value, 0, len(all))
	for _, v := range all {
		out = append(out, reflect.ValueOf(v))
	}
	return out
}

// fill sets about one in so many of all fields in v to something.
func fill(v reflect.Value, r *rand.Rand, one int) {
	switch {
	case v.Kind() == reflect.Struct:
		for _, field := range v.Fields() {
			fill(field, r, one)
		}
		return
	case r.IntN(one) != 0:
		return
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), r, one)
	case v.Type() == reflect.TypeFor[json.RawMessage]():
		v.SetBytes([]byte(`[null,{"a":"b"}]`))
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			fill(v.Index(i), r, one)
		}
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range []string{"one", "two", "three"}[:r.IntN(4)] {
			item := reflect.New(v.Type().Elem()).Elem()
			fill(item, r, 1)
			v.SetMapIndex(reflect.ValueOf(key), item)
		}
	default:
		all := values(v.Type())
		v.Set(all[r.IntN(len(all))].Convert(v.Type()))
	}
}

// Records are what encoding/json makes of them: with nothing set, with each field set
// by itself, so that none can be forgotten, and with many.
func TestRecordsAsEncodingJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) // #nosec G404 -- a test
	for _, newData := range []func() journal.Appender{
		func() journal.Appender { return &callData{} },
		func() journal.Appender { return &outcomeData{} },
	} {
		data := newData()
		v := reflect.ValueOf(data).Elem()
		compareEncodings(t, v.Type().Name()+" (zero)", data)
		visited := 0
		fields(v, v.Type().Name(), func(path string) {
			visited++
			compareEncodings(t, path, data)
		})
		if visited < v.NumField() {
			t.Errorf("%s: %d of at least %d fields were looked at", v.Type(), visited, v.NumField())
		}
		for i := range 500 {
			data := newData()
			fill(reflect.ValueOf(data).Elem(), r, 1+i%4)
			compareEncodings(t, "many fields", data)
		}
	}
}

// What is no JSON is an error, as it is to encoding/json.
func TestRecordOfWhatIsNoJSON(t *testing.T) {
	for _, data := range []journal.Appender{&callData{Args: json.RawMessage(`{"a":`)}, &outcomeData{RunMs: math.NaN()}} {
		if got, err := data.AppendJSON(nil); err == nil {
			t.Errorf("got %s, want an error", got)
		}
	}
}

// FuzzRecordAsEncodingJSON holds the texts of a record against encoding/json.
func FuzzRecordAsEncodingJSON(f *testing.F) {
	f.Add("plain", `{"command":"ls"}`, int64(1), 0.5)
	f.Add("\"\\\n\x00\x7f\xff\u2028<>&", ` [ "\u003c" ] `, int64(-1), 1e-7)
	f.Fuzz(func(t *testing.T, text, raw string, n int64, ms float64) {
		if math.IsNaN(ms) || math.IsInf(ms, 0) {
			return
		}
		call := &callData{Digest: text, Cwd: text, EnvNames: []string{text}, StdinBytes: &n}
		call.Decision.Labels = []string{text, "", text}
		if json.Valid([]byte(raw)) {
			call.Args = json.RawMessage(raw)
		}
		compareEncodings(t, "intent", call)
		compareEncodings(t, "outcome", &outcomeData{
			Message: text, RunMs: ms, StdoutBytes: n, Redactions: map[string]int64{text: n, "a": 1}, Usage: &usageData{CPUUserMs: -ms},
		})
	})
}
