package policy

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzEvalRaw: whatever the input is, the decision is one, and what is no
// well-formed call of a known tool and profile is never allowed.
func FuzzEvalRaw(f *testing.F) {
	e, err := New(f.Context(), Config{})
	if err != nil || e.Ready() != nil {
		f.Fatal(err, e.Ready())
	}
	for _, s := range samples(e.Status().Profiles) {
		f.Add([]byte(s.input))
	}
	for _, profile := range []string{"open", "readonly", "workspace", "locked"} {
		raw, err := json.Marshal(e.Complete(input(profile)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := e.EvalRaw(t.Context(), raw)
		if err != nil {
			return
		}
		var d Decision
		if err := json.Unmarshal(out, &d); err != nil || len(d.Reasons) == 0 {
			t.Fatalf("%s: got %s, %v", raw, out, err)
		}
		var in struct {
			Schema  string `json:"schema"`
			Session struct {
				Profile string `json:"profile"`
			} `json:"session"`
		}
		if err := json.Unmarshal(raw, &in); d.Outcome == Allow &&
			(err != nil || in.Schema != InputSchema || strings.HasSuffix(in.Session.Profile, "locked")) {
			t.Errorf("%s is allowed: %s", raw, out)
		}
	})
}
