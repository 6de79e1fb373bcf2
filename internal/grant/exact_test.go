package grant_test

import (
	"encoding/json"
	"testing"

	"github.com/sandgate/sandgate/internal/grant"
)

// TestAnExactClassFitsOneCall: whatever the arguments' spelling.
func TestAnExactClassFitsOneCall(t *testing.T) {
	c := grant.Class{Exact: &grant.Exact{}, Args: json.RawMessage(`{"command":"make","n":1}`), Free: []string{"description"}}
	for args, want := range map[string]bool{
		`{"command":"make","n":1}`:                               true,
		`{ "n": 1, "command": "m\u0061ke", "description": "x" }`: true,
		`{"command":"make","n":2}`:                               false,
		`{"command":"make"}`:                                     false,
		`{"command":"make","n":1,"cwd":"/"}`:                     false,
		`{"command":"make all","n":1}`:                           false,
		`nothing`:                                                false,
		`null`:                                                   false,
	} {
		if got := c.Fits(json.RawMessage(args)); got != want {
			t.Errorf("%s: got %v", args, got)
		}
	}
}
