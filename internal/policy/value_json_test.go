package policy

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// TestArgumentsWithoutNumbersAreReadAlike holds the short way of parseJSON to the
// one that leaves numbers as they are spelt.
func TestArgumentsWithoutNumbersAreReadAlike(t *testing.T) {
	for text, numbers := range map[string]bool{
		`{"command":"true 17"}`: false, `{"a":"\"1","b":[true,null,""]}`: false, `"\\"`: false, `{}`: false,
		`{"a":1.50}`: true, `{"a\\":-0}`: true, `{"\"":"x","n":1e400}`: true, `[12345678901234567890]`: true,
		`{"a":"x","a":"y"}`: false, "{\"a\":\"\xff\"}": false,
	} {
		if got := hasNumber([]byte(text)); got != numbers {
			t.Errorf("%s: has a number: got %v, want %v", text, got, numbers)
		}
		dec := json.NewDecoder(bytes.NewReader([]byte(text)))
		dec.UseNumber()
		var doc any
		if err := dec.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		got, err := parseJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if want := ast.MustInterfaceToValue(doc); got.String() != want.String() {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{``, `{`, `{} {}`, `{"a"}`, `x`, `{}]`, `{"a":"x"`} {
		if got, err := parseJSON([]byte(text)); err == nil {
			t.Errorf("%s: got %v, want an error", text, got)
		}
	}
}
