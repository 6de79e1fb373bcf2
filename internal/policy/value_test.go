package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/sandgate/sandgate/internal/facts"
)

// jsonValue is the document as encoding/json would have it.
func jsonValue(t *testing.T, in *Input) ast.Value {
	t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	value, err := ast.ValueFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func wantSameValue(t *testing.T, in *Input) {
	t.Helper()
	got, err := in.value()
	if err != nil {
		t.Fatalf("value: %v", err)
	}
	want := jsonValue(t, in)
	if got.Compare(want) != 0 {
		t.Fatalf("the value is not what the JSON says:\n got %s\nwant %s", got, want)
	}
	if got.Hash() != want.Hash() || got.IsGround() != want.IsGround() {
		t.Fatalf("hash or ground: got %d, %v, want %d, %v", got.Hash(), got.IsGround(), want.Hash(), want.IsGround())
	}
}

// filler gives every field of a value something to hold, as its choices say.
type filler struct {
	choose func(n int) int // 0 to n-1
	serial int
}

func (f *filler) text() string {
	f.serial++
	switch f.choose(8) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("a\xffb\xc3%d", f.serial)
	case 2:
		return fmt.Sprintf("<&>\u2028\\\"\n\x00é%d", f.serial)
	}
	return fmt.Sprintf("text%d", f.serial)
}

func (f *filler) fill(v reflect.Value, depth int) {
	if v.Type() == reflect.TypeFor[json.RawMessage]() {
		f.serial++
		v.SetBytes(fmt.Appendf(nil, `{"a": [1, -7, 2.50, 1e3, null, true, "x\u00e9<\ud83d\ude00"], "b%d": {"c": {}}}`, f.serial))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(f.text())
	case reflect.Bool:
		v.SetBool(f.choose(2) == 1)
	case reflect.Int, reflect.Int64:
		v.SetInt([]int64{0, 1, -1, 600, 1 << 40, -1 << 62}[f.choose(6)])
	case reflect.Pointer:
		if f.choose(4) > 0 || depth < 1 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem(), depth+1)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 0, 3))
		for range f.choose(4) {
			item := reflect.New(v.Type().Elem()).Elem()
			f.fill(item, depth+1)
			v.Set(reflect.Append(v, item))
		}
		if f.choose(9) == 0 {
			v.SetZero()
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range f.choose(4) {
			f.serial++
			item := reflect.New(v.Type().Elem()).Elem()
			f.fill(item, depth+1)
			v.SetMapIndex(reflect.ValueOf(fmt.Sprintf("k<%d", f.serial)), item)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fill(v.Field(i), depth+1)
			}
		}
	default:
		panic("a field of the kind " + v.Kind().String() + " is new: teach valueBuilder and this test")
	}
}

// TestValueIsTheJSON fills every field of an input, whatever fields there will
// be, so that one that the builder forgets is found.
func TestValueIsTheJSON(t *testing.T) {
	for name, choose := range map[string]func(int) int{
		"everything is there": func(n int) int { return n - 1 },
		"nothing is there":    func(int) int { return 0 },
		"half is there":       func(n int) int { return n / 2 },
	} {
		t.Run(name, func(t *testing.T) {
			var in Input
			(&filler{choose: choose}).fill(reflect.ValueOf(&in).Elem(), 0)
			wantSameValue(t, &in)
		})
	}
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same inputs every time
	for range 300 {
		var in Input
		(&filler{choose: rng.IntN}).fill(reflect.ValueOf(&in).Elem(), 0)
		wantSameValue(t, &in)
		in.normalise()
		wantSameValue(t, &in)
	}
	var empty Input
	wantSameValue(t, &empty)
}

func TestInputThatIsNoJSON(t *testing.T) {
	for _, tt := range []struct{ name, args, want string }{
		{"half", `{"a": `, "unexpected EOF"},
		{"two", `{} {}`, "more than one"},
		{"comma", `{},`, "more than one"},
		{"word", `x`, "invalid character"},
	} {
		in := input("open")
		in.Call.Args = json.RawMessage(tt.args)
		if _, err := in.value(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		d := newEngine(t, Config{}).Decide(t.Context(), in)
		if d.Outcome != Deny || d.Reasons[0].Rule != RuleInvalidInput {
			t.Errorf("%s: got %+v, want a deny by %s", tt.name, d, RuleInvalidInput)
		}
	}
	in := input("open")
	in.Call.Env = map[string]string{"A\xff": "1", "A\xfe": "2"}
	if d := newEngine(t, Config{}).Decide(t.Context(), in); d.Outcome != Deny || d.Reasons[0].Rule != RuleInvalidInput {
		t.Errorf("names that are no UTF-8: got %+v, want a deny by %s", d, RuleInvalidInput)
	}
}

// FuzzValue: the document that is built is the one that JSON would have, for
// whatever a host can send.
func FuzzValue(f *testing.F) {
	f.Add(`git -C sub log | grep "x" > out; sudo rm -rf $HOME/*`, "/workspace", "A", "b", uint64(1))
	f.Add("echo \xff > ~/a{b,c} <<EOF\n$x\nEOF", "/workspace/\xfe", "", "\x00", uint64(2))
	root := facts.NewMemFS(map[string]string{"a.txt": "x", "src/b.go": "x"}, map[string]string{"l": "/etc"})
	f.Fuzz(func(t *testing.T, script, cwd, name, text string, seed uint64) {
		var in Input
		rng := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // the fuzzer chooses
		(&filler{choose: rng.IntN}).fill(reflect.ValueOf(&in).Elem(), 0)
		args, err := json.Marshal(map[string]any{"command": script, "other": text})
		if err != nil {
			t.Fatal(err)
		}
		in.Call.Args, in.Call.Cwd, in.Caller.Exe = args, cwd, text
		in.Call.Env = map[string]string{strings.ToValidUTF8(name, "?"): text}
		in.Call.Shell = facts.AnalyzeShell(script, facts.Options{Root: root, Cwd: cwd})
		in.Call.Files = []facts.File{facts.AnalyzePath("read", text, facts.Options{Root: root, Cwd: cwd})}
		wantSameValue(t, &in)
	})
}
