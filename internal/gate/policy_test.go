package gate_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/telemetry"
)

// withDefaultPolicy puts the default policy library behind the gate.
func withDefaultPolicy(t *testing.T) func(*gate.Config) {
	t.Helper()
	engine, err := policy.New(t.Context(), policy.Config{Ceiling: defaults(), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Ready(); err != nil {
		t.Fatal(err)
	}
	return func(c *gate.Config) {
		c.Policy = engine
		c.Profiles = func(gate.Caller) gate.Profiles {
			return gate.Profiles{Default: "readonly", Allowed: []string{"open", "locked"}}
		}
	}
}

func TestTheDefaultPolicyThroughTheGate(t *testing.T) {
	tests := []struct {
		name, profile, tool, args string
		want                      gate.Outcome
	}{
		{"read-only command", "readonly", "bash", `{"command":"git status && ls -la"}`, "EXITED"},
		{"destructive command", "readonly", "bash", `{"command":"rm -rf ."}`, gate.OutcomeDenied},
		{"destructive after an allowed prefix", "readonly", "bash", `{"command":"git status; rm -rf ."}`, gate.OutcomeDenied},
		{"anything else", "readonly", "bash", `{"command":"make"}`, gate.OutcomeApprovalRequired},
		{"file tool inside", "readonly", "read_file", `{"path":"README.md"}`, "EXITED"},
		{"open", "open", "bash", `{"command":"rm -rf ."}`, "EXITED"},
		{"locked", "locked", "bash", `{"command":"ls"}`, gate.OutcomeDenied},
	}
	set := withDefaultPolicy(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, t.TempDir(), nil, set)
			res := b.do(t, gate.Call{Caller: alice, Profile: tt.profile, Tool: tt.tool, Args: json.RawMessage(tt.args)})
			if res.Outcome != tt.want {
				t.Errorf("got %s (%s), want %s", res.Outcome, res.Message, tt.want)
			}
			if ran := len(b.runtime.Calls()); (ran == 1) != (tt.want == "EXITED") {
				t.Errorf("the runtime got %d calls", ran)
			}
			if res.Decision.Revision == "" || len(res.Decision.Reasons) == 0 {
				t.Errorf("decision without revision or reasons: %+v", res.Decision)
			}
		})
	}
}

func TestToolsShownByTheDefaultPolicy(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, withDefaultPolicy(t))
	tools, err := b.ListTools(t.Context(), alice, "locked")
	if err != nil || len(tools) != 0 {
		t.Errorf("locked: %d tools, %v; want none", len(tools), err)
	}
	tools, err = b.ListTools(t.Context(), alice, "open")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range tools {
		names = append(names, tool.Name)
	}
	want := "bash edit_file glob grep list_dir python read_file write_file"
	if diff := cmp.Diff(want, strings.Join(names, " ")); diff != "" {
		t.Errorf("open (-want +got):\n%s", diff)
	}
}

func BenchmarkExecute(b *testing.B) {
	for name, id := range map[string]string{"alone": "", "session": "s"} {
		b.Run(name, func(b *testing.B) {
			bench := newBench(b, b.TempDir(), nil, nil)
			bench.policy.forget = true
			call := bash("", "git status && true | cat")
			call.SessionID = id
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bench.Execute(b.Context(), call, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEvaluate is what a decision costs around the policy, with metrics as the
// daemon has them.
func BenchmarkEvaluate(b *testing.B) {
	for name, id := range map[string]string{"alone": "", "session": "s"} {
		b.Run(name, func(b *testing.B) {
			bench := newBench(b, b.TempDir(), nil, func(c *gate.Config) {
				c.Telemetry = telemetry.NewRecorder(telemetry.NewMetrics(), nil)
			})
			bench.policy.forget = true
			call := bash("", "git status && true | cat")
			call.SessionID = id
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bench.Evaluate(b.Context(), call, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
