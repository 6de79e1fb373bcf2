package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// repeats finds a repeated key by decoding token by token.
func repeats(raw []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var walk func() bool
	walk = func() bool {
		tok, err := dec.Token()
		if err != nil {
			return false
		}
		open, ok := tok.(json.Delim)
		if !ok {
			return false
		}
		seen, found := map[string]bool{}, false
		for dec.More() {
			if open == '{' {
				key, err := dec.Token()
				if err != nil {
					return found
				}
				name, _ := key.(string)
				found = found || seen[name]
				seen[name] = true
			}
			found = walk() || found
		}
		_, _ = dec.Token() // the closing one, which the text has
		return found
	}
	return walk()
}

func FuzzAmbiguous(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":{"a":[{"a":1},{"a":2}]},"c":"a"}`, `{"a":1,"\u0061":2}`, `{"a\"":":","a\\":1, "a\\" :2}`, `[{"x":{}},{"x":[{"y":1,"y":1}]}]`,
		`"a:b"`, `{"a":"b\":","b":1}`, `{"":1,"":2}`,
	} {
		f.Add(s)
	}
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf(`"k%d":%d`, i, i))
	}
	f.Add("{" + strings.Join(many, ",") + "}")
	f.Add("{" + strings.Join(many, ",") + `,"k3":0}`)
	f.Add("{" + strings.Join(many, ",") + `,"k39":0}`)
	f.Fuzz(func(t *testing.T, text string) {
		raw := []byte(text)
		if !json.Valid(raw) {
			t.Skip("is checked before")
		}
		got := ambiguous(raw)
		if strings.Contains(got, "nested") {
			t.Skip("deeper than it looks")
		}
		if want := repeats(raw); (got != "") != want {
			t.Errorf("%s: got %q, a key comes twice: %v", text, got, want)
		}
	})
}

func TestDeepArgumentsAreRefused(t *testing.T) {
	for depth, want := range map[int]bool{maxArgsDepth: false, maxArgsDepth + 1: true} {
		got := ambiguous([]byte(strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)))
		if strings.Contains(got, "nested") != want {
			t.Errorf("%d levels: got %q", depth, got)
		}
	}
}
