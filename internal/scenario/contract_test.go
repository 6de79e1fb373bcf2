package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/policies"
)

func compileSchema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	raw, err := policies.FS.ReadFile("schemas/" + name)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(name, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validJSON(t *testing.T, schema *jsonschema.Schema, v any) error {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(doc)
}

// TestEveryInputIsWhatItsSchemaSays puts the labelled commands, many of them
// hostile, through every profile: the input must fit the schema that policies
// are type-checked against, and each profile must come to a decision of its own.
func TestEveryInputIsWhatItsSchemaSays(t *testing.T) {
	runner := newRunner(t, policy.Config{Ceiling: policy.SandboxObligations{WallTimeMs: 10_000, Pids: 64}, Version: "test"})
	schema := compileSchema(t, "input.json")
	workspace := facts.NewMemFS(nil, map[string]string{"link": "/etc", "rel": "../outside"})
	decided := map[string]map[policy.Outcome]int{}
	for _, tt := range readTSV(t) {
		if tt.command == "" {
			continue
		}
		c := Case{Time: defaultTime, Call: Call{Tool: "bash", Args: fmt.Appendf(nil, `{"command": %s}`, text(tt.command))}}
		in, err := runner.Input(workspace, c)
		if err != nil {
			t.Errorf("%s:%d: %v", tt.file, tt.line, err)
			continue
		}
		in = runner.Engine.Complete(in)
		if err := validJSON(t, schema, in); err != nil {
			t.Errorf("%s:%d: %q: the input does not fit its schema: %v", tt.file, tt.line, tt.command, err)
		}
		for _, profile := range runner.Engine.Status().Profiles {
			in.Session.Profile = profile
			d := runner.Engine.Decide(t.Context(), in)
			if strings.HasPrefix(d.Reasons[0].Rule, "daemon:") {
				t.Errorf("%s:%d: %q in %s: got %+v", tt.file, tt.line, tt.command, profile, d.Reasons)
			}
			if decided[profile] == nil {
				decided[profile] = map[policy.Outcome]int{}
			}
			decided[profile][d.Outcome]++
		}
	}
	if n := decided["locked"]; n[policy.Allow]+n[policy.Ask] > 0 || n[policy.Deny] == 0 {
		t.Errorf("locked: got %v, want nothing but deny", n)
	}
	if n := decided["open"]; n[policy.Deny]+n[policy.Ask] > 0 || n[policy.Allow] == 0 {
		t.Errorf("open: got %v, want nothing but allow", n)
	}
	t.Logf("%v", decided)
}

// TestTheSchemaOfDecisionsRefusesWhatTheDaemonRefuses keeps the schema that
// authors read in step with the validation that counts.
func TestTheSchemaOfDecisionsRefusesWhatTheDaemonRefuses(t *testing.T) {
	schema := compileSchema(t, "decision/decision.json")
	const reason = `{"rule": "r", "message": "m"}`
	for _, good := range []string{
		`{"outcome": "deny", "reasons": [` + reason + `]}`,
		`{"outcome": "allow", "reasons": [` + reason + `], "warnings": [], "shadow": [{"rule": "s", "would": "deny"}], "ask": {},
			"obligations": {"sandbox": {"pids": 5, "network": "none"}, "exec": {"env_set": {"A": "b"}}}, "labels": ["x"]}`,
	} {
		if err := validJSON(t, schema, json.RawMessage(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		`{}`, `[]`,
		`{"outcome": "permit", "reasons": [` + reason + `]}`,
		`{"outcome": "allow", "reasons": [{"rule": "", "message": "m"}]}`,
		`{"outcome": "allow", "reasons": [{"rule": "daemon:x", "message": "m"}]}`,
		`{"outcome": "allow", "reasons": [` + reason + `], "obligations": {"sandbox": {"memory": 1}}}`,
		`{"outcome": "allow", "reasons": [` + reason + `], "obligations": {"sandbox": {"pids": -1}}}`,
		`{"outcome": "allow", "reasons": [` + reason + `], "obligations": {"sandbox": {"network": "egress"}}}`,
		`{"outcome": "allow", "reasons": [` + reason + `], "labels": null}`,
	} {
		if err := validJSON(t, schema, json.RawMessage(bad)); err == nil {
			t.Errorf("%s fits the schema", bad)
		}
	}
}
