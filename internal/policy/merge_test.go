package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func tightened(t *testing.T, obligations, tighten string, cfg Config) Decision {
	t.Helper()
	e := engineOf(t, fmt.Sprintf(`{"outcome": "allow", "reasons": [{"rule": "r", "message": "m"}],
		"obligations": %s, "tighten": %s, "labels": ["a"]}`, obligations, tighten), cfg)
	return e.Decide(t.Context(), input("test"))
}

func TestTightening(t *testing.T) {
	cfg := Config{Isolations: []string{"runc", "gvisor"}}
	for _, tt := range []struct {
		name, obligations, tighten string
		want                       Obligations
		bounds                     SandboxObligations
		labels                     []string
		problem                    string
	}{
		{
			name: "the least of numbers", obligations: `{"sandbox": {"pids": 10, "memory_bytes": 100}}`,
			tighten: `[{"source": "extra.a", "obligations": {"sandbox": {"pids": 20, "memory_bytes": 50}}}, {"source": "tenants.b", "obligations": {"sandbox": {"pids": 5}}}]`,
			want:    Obligations{Sandbox: SandboxObligations{Pids: 5, MemoryBytes: 50}}, bounds: SandboxObligations{Pids: 5, MemoryBytes: 50},
		},
		{
			name: "a bound where nothing is demanded is no demand", obligations: `{}`,
			tighten: `[{"source": "tenants.b", "obligations": {"sandbox": {"memory_bytes": 1000000}}}]`,
			bounds:  SandboxObligations{MemoryBytes: 1000000},
		},
		{
			name: "the tightest of words", obligations: `{"sandbox": {"workspace": "rw", "reuse": "never"}}`,
			tighten: `[{"source": "tenants.b", "obligations": {"sandbox": {"workspace": "ro", "reuse": "caller", "network": "none"}}}]`,
			want:    Obligations{Sandbox: SandboxObligations{Workspace: "ro", Reuse: "never"}},
			bounds:  SandboxObligations{Workspace: "ro", Reuse: "caller", Network: "none"},
		},
		{
			name: "unions", obligations: `{"exec": {"env_set": {"A": "1"}, "env_drop": ["X"]}, "output": {"redact": ["jwt"]}}`,
			tighten: `[{"source": "extra.a", "obligations": {"exec": {"env_set": {"A": "1", "B": "2"}, "env_drop": ["Y"]}, "output": {"redact": ["aws-key"], "labels": ["l"]}, "audit": {"level": "shape"}}},
				{"source": "tenants.b", "obligations": {"exec": {"env_drop": ["X"]}, "output": {"patterns": {"p": "x+"}, "labels": ["k"]}}}]`,
			want: Obligations{
				Exec:   ExecObligations{EnvSet: map[string]string{"A": "1", "B": "2"}, EnvDrop: []string{"X", "Y"}},
				Output: OutputObligations{Redact: []string{"jwt", "aws-key"}, Patterns: map[string]string{"p": "x+"}, Labels: []string{"l", "k"}},
				Audit:  AuditObligations{Level: "shape"},
			},
			labels: []string{"l", "k"},
		},
		{
			name: "isolation where none is demanded", obligations: `{}`,
			tighten: `[{"source": "tenants.b", "obligations": {"sandbox": {"isolation": "gvisor"}}}]`, bounds: SandboxObligations{Isolation: "gvisor"},
		},
		{
			name: "variables of two sources that differ", obligations: `{"exec": {"env_set": {"A": "1"}}}`,
			tighten: `[{"source": "extra.a", "obligations": {"exec": {"env_set": {"A": "2"}}}}]`, problem: "exec.env_set.A different values",
		},
		{
			name: "variables of a tenant", obligations: `{}`,
			tighten: `[{"source": "tenants.b", "obligations": {"exec": {"env_set": {"LD_PRELOAD": "/workspace/x.so"}}}}]`, problem: "sets variables",
		},
		{
			name: "a tenant's lesser isolation", obligations: `{"sandbox": {"isolation": "gvisor"}}`,
			tighten: `[{"source": "tenants.b", "obligations": {"sandbox": {"isolation": "runc"}}}]`, problem: `where "gvisor" is demanded`,
		},
		{
			name: "a tenant's isolation below the default", obligations: `{}`,
			tighten: `[{"source": "tenants.b", "obligations": {"sandbox": {"isolation": "runc"}}}]`, problem: "less than the default",
		},
		{
			name: "a tenant hides what it does", obligations: `{}`,
			tighten: `[{"source": "tenants.b", "obligations": {"audit": {"level": "shape"}}}]`, problem: "less of the call recorded",
		},
		{
			name: "two levels", obligations: `{"audit": {"level": "full"}}`,
			tighten: `[{"source": "extra.b", "obligations": {"audit": {"level": "shape"}}}]`, problem: "audit.level",
		},
		{
			name: "two patterns of one name", obligations: `{"output": {"patterns": {"p": "x"}}}`,
			tighten: `[{"source": "extra.b", "obligations": {"output": {"patterns": {"p": "y"}}}}]`, problem: "output.patterns.p",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tightened(t, tt.obligations, tt.tighten, cfg)
			if tt.problem != "" {
				if d.Outcome != Deny || d.Reasons[0].Rule != RuleObligationConflict || !strings.Contains(d.Reasons[0].Message, tt.problem) {
					t.Errorf("%+v, want a deny with %q", d, tt.problem)
				}
				return
			}
			if diff := cmp.Diff(tt.want, d.Obligations); diff != "" || d.Outcome != Allow {
				t.Errorf("%s: obligations (-want +got):\n%s", d.Outcome, diff)
			}
			if diff := cmp.Diff(tt.bounds, d.Bounds); diff != "" {
				t.Errorf("bounds (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(append([]string{"a"}, tt.labels...), d.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTighteningIsChecked(t *testing.T) {
	for _, tt := range []struct{ tighten, rule, message string }{
		{`[{"source": "tenants.b", "obligations": {"sandbox": {"cpus": 1}}}]`, RuleInvalidDecision, "tighten[0].obligations.sandbox.cpus"},
		{`[{"obligations": {}}]`, RuleInvalidDecision, "without a source"},
		{`[{"source": "tenants.b", "obligations": {"sandbox": {"pids": -1}}}]`, RuleInvalidDecision, "tenants.b: obligations.sandbox.pids is -1"},
		{`[{"source": "tenants.b", "obligations": {"sandbox": {"network": "host"}}}]`, RuleObligationUnsupported, "host"},
		{`[{"source": "tenants.b", "obligations": {"output": {"redact": ["passwords"]}}}]`, RuleInvalidDecision, "want one of aws-key"},
	} {
		d := tightened(t, `{}`, tt.tighten, Config{})
		if d.Outcome != Deny || d.Reasons[0].Rule != tt.rule || !strings.Contains(d.Reasons[0].Message, tt.message) {
			t.Errorf("%s: %+v, want a deny by %s with %q", tt.tighten, d, tt.rule, tt.message)
		}
	}
}

// Whatever a tightening says, the cage is never looser than without it.
func TestCageIsNeverLooser(t *testing.T) {
	ceiling := SandboxObligations{MemoryBytes: 1000, Pids: 100, Workspace: "rw", Reuse: "caller"}
	defaults := SandboxObligations{MemoryBytes: 500, Pids: 50, Workspace: "rw", Reuse: "session", Isolation: "runc", Network: "none"}
	for _, demanded := range []SandboxObligations{{}, {MemoryBytes: 700, Workspace: "ro"}, {MemoryBytes: 100, Pids: 10, Reuse: "never", Workspace: "rw"}} {
		for _, more := range []SandboxObligations{
			{},
			{MemoryBytes: 1 << 40, Pids: 1 << 20, Workspace: "rw", Reuse: "caller"},
			{MemoryBytes: 600, Pids: 60, Reuse: "session"},
			{MemoryBytes: 1, Pids: 1, Workspace: "ro", Reuse: "never", Isolation: "gvisor"},
		} {
			alone := Decision{Obligations: Obligations{Sandbox: demanded}}
			d := alone
			if p := tighten(&d.Obligations, &d.Bounds, &Tightening{Source: "tenants.t", Obligations: Obligations{Sandbox: more}}); p != nil {
				t.Fatal(p.message)
			}
			before, after := alone.Cage(ceiling, defaults), d.Cage(ceiling, defaults)
			for _, a := range amounts {
				if *a.of(&after) > *a.of(&before) {
					t.Errorf("%+v by %+v: %s is %d, was %d", demanded, more, a.name, *a.of(&after), *a.of(&before))
				}
				if limit := *a.of(&more); limit > 0 && *a.of(&after) > limit {
					t.Errorf("%+v by %+v: %s is %d", demanded, more, a.name, *a.of(&after))
				}
			}
			for _, w := range words {
				if w.ranked && w.tightest(*w.of(&before), *w.of(&after)) != *w.of(&after) {
					t.Errorf("%+v by %+v: %s is %s, was %s", demanded, more, w.name, *w.of(&after), *w.of(&before))
				}
			}
			if more.Isolation != "" && after.Isolation != more.Isolation {
				t.Errorf("%+v by %+v: isolation %s", demanded, more, after.Isolation)
			}
		}
	}
}

func TestBothDecisionsHold(t *testing.T) {
	reason := func(rule string) []Reason { return []Reason{{Rule: rule, Message: "m"}} }
	first := Decision{
		ID: "1", Outcome: Allow, Reasons: reason("first"), Labels: []string{"a"}, Warnings: reason("w1"),
		Obligations: Obligations{Sandbox: SandboxObligations{Pids: 5, MemoryBytes: 10}, Audit: AuditObligations{Level: "shape"}},
	}
	second := Decision{
		ID: "2", Outcome: Allow, Reasons: reason("second"), Labels: []string{"b"}, Warnings: reason("w2"),
		Obligations: Obligations{Sandbox: SandboxObligations{Pids: 10}},
	}
	to := Transform{From: "x", To: "y"}
	d := Both(first, second, to)
	if d.ID != "1" || d.Outcome != Allow || d.Reasons[0].Rule != "second" || d.Obligations.Sandbox.Pids != 5 || d.Bounds.MemoryBytes != 10 ||
		d.Obligations.Audit.Level != "shape" || len(d.Warnings) != 2 || strings.Join(d.Labels, "") != "ab" || d.Transform.To != "y" {
		t.Errorf("%+v", d)
	}
	ask := first
	ask.Outcome = Ask
	if d := Both(ask, second, to); d.Outcome != Ask || d.Reasons[0].Rule != "first" {
		t.Errorf("an ask that became an allow: %+v", d)
	}
	deny := second
	deny.Outcome = Deny
	if d := Both(first, deny, to); d.Outcome != Deny || d.Reasons[0].Rule != "second" {
		t.Errorf("a deny: %+v", d)
	}
	other := second
	first.Obligations.Exec.EnvSet, other.Obligations.Exec.EnvSet = map[string]string{"A": "1"}, map[string]string{"A": "2"}
	if d := Both(first, other, to); d.Outcome != Deny || d.Reasons[0].Rule != RuleTransform {
		t.Errorf("a conflict: %+v", d)
	}
}
