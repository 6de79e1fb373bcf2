package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func engineOf(t *testing.T, answer string, cfg Config) *Engine {
	t.Helper()
	cfg.Dir = t.TempDir()
	writePolicy(t, cfg.Dir, policyOf(answer))
	e := newEngine(t, cfg)
	if err := e.Ready(); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestGoodDecisionIsTakenAsItIs(t *testing.T) {
	e := engineOf(t, `{
		"outcome": "ask",
		"reasons": [{"rule": "r", "message": "m", "remediation": "do", "severity": "low", "command": 2}],
		"warnings": [{"rule": "w", "message": "m"}],
		"shadow": [{"rule": "s", "would": "deny", "message": "m"}],
		"ask": {"approvers": ["role:oncall"], "quorum": 2, "ttl_ms": 1000, "on_timeout": "deny"},
		"obligations": {
			"sandbox": {"isolation": "gvisor", "reuse": "never", "network": "none", "workspace": "ro", "pids": 5, "memory_bytes": 1000},
			"exec": {"env_set": {"A": "b"}, "env_drop": ["*_TOKEN"]},
			"audit": {"level": "shape"},
		},
		"labels": ["read:secrets"],
	}`, Config{Isolations: []string{"runc", "gvisor"}, Ceiling: SandboxObligations{Pids: 5, Workspace: "rw", Reuse: "session"}})
	in := input("test")
	in.DecisionID = "d1"
	command := 2
	want := Decision{
		ID: "d1", Outcome: Ask, Profile: "test", Revision: e.Status().Revision,
		Reasons:  []Reason{{Rule: "r", Message: "m", Remediation: "do", Severity: "low", Command: &command}},
		Warnings: []Reason{{Rule: "w", Message: "m"}},
		Shadow:   []Shadow{{Rule: "s", Would: Deny, Message: "m"}},
		Ask:      &AskTerms{Approvers: []string{"role:oncall"}, Quorum: 2, TTLMs: 1000, OnTimeout: Deny},
		Obligations: Obligations{
			Sandbox: SandboxObligations{Isolation: "gvisor", Reuse: "never", Network: "none", Workspace: "ro", Pids: 5, MemoryBytes: 1000},
			Exec:    ExecObligations{EnvSet: map[string]string{"A": "b"}, EnvDrop: []string{"*_TOKEN"}},
			Audit:   AuditObligations{Level: "shape"},
		},
		Labels: []string{"read:secrets"},
	}
	if diff := cmp.Diff(want, e.Decide(t.Context(), in)); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
}

func TestInvalidAnswerIsDenied(t *testing.T) {
	const reasons = `"reasons": [{"rule": "r", "message": "m"}]`
	allow := func(more string) string { return `{"outcome": "allow", ` + reasons + `, ` + more + `}` }
	sandbox := func(more string) string { return allow(`"obligations": {"sandbox": {` + more + `}}`) }
	for _, tt := range []struct{ name, answer, rule, message string }{
		{"not an object", `true`, RuleInvalidDecision, "value is a boolean, want an object"},
		{"a list", `["allow"]`, RuleInvalidDecision, "want an object"},
		{"no outcome", `{` + reasons + `}`, RuleInvalidDecision, `outcome is ""`},
		{"unknown outcome", `{"outcome": "permit", ` + reasons + `}`, RuleInvalidDecision, `outcome is "permit"`},
		{"outcome in capitals", `{"outcome": "ALLOW", ` + reasons + `}`, RuleInvalidDecision, `outcome is "ALLOW"`},
		{"outcome of another type", `{"outcome": 1, ` + reasons + `}`, RuleInvalidDecision, "outcome is a number, want a string"},
		{"key in capitals", `{"Outcome": "allow", ` + reasons + `}`, RuleInvalidDecision, "has Outcome"},
		{"unknown key", allow(`"also": 1`), RuleInvalidDecision, "has also"},
		{"a key of the daemon", allow(`"revision": "x"`), RuleInvalidDecision, "has revision"},
		{"null", allow(`"labels": null`), RuleInvalidDecision, "labels is null"},
		{"allow without reasons", `{"outcome": "allow"}`, RuleInvalidDecision, "without a reason"},
		{"allow with empty reasons", `{"outcome": "allow", "reasons": []}`, RuleInvalidDecision, "without a reason"},
		{"reason without rule", `{"outcome": "allow", "reasons": [{"message": "m"}]}`, RuleInvalidDecision, "without a rule id"},
		{"reason without message", `{"outcome": "allow", "reasons": [{"rule": "r"}]}`, RuleInvalidDecision, "has no message"},
		{"reason with unknown key", `{"outcome": "allow", "reasons": [{"rule": "r", "message": "m", "msg": ""}]}`, RuleInvalidDecision, "reasons[0].msg"},
		{"reserved rule id", `{"outcome": "deny", "reasons": [{"rule": "daemon:timeout", "message": "m"}]}`, RuleInvalidDecision, "reserved"},
		{"reserved rule id in warnings", allow(`"warnings": [{"rule": "daemon:x", "message": "m"}]`), RuleInvalidDecision, "reserved"},
		{"reserved rule id in shadow", allow(`"shadow": [{"rule": "daemon:x", "would": "deny"}]`), RuleInvalidDecision, "reserved"},
		{"shadow of unknown outcome", allow(`"shadow": [{"rule": "x", "would": "warn"}]`), RuleInvalidDecision, "would"},
		{"unknown severity", `{"outcome": "allow", "reasons": [{"rule": "r", "message": "m", "severity": "bad"}]}`, RuleInvalidDecision, "severity"},
		{"negative command", `{"outcome": "allow", "reasons": [{"rule": "r", "message": "m", "command": -1}]}`, RuleInvalidDecision, "command"},
		{"asked again on time-out", `{"outcome": "ask", ` + reasons + `, "ask": {"on_timeout": "ask"}}`, RuleInvalidDecision, "on time-out"},
		{"approver without a form", `{"outcome": "ask", ` + reasons + `, "ask": {"approvers": ["oncall"]}}`, RuleInvalidDecision, `the approver "oncall"`},
		{"approver of an unknown form", `{"outcome": "ask", ` + reasons + `, "ask": {"approvers": ["role:ok", "group:ops"]}}`, RuleInvalidDecision, `the approver "group:ops"`},
		{"approver that is no number", `{"outcome": "ask", ` + reasons + `, "ask": {"approvers": ["uid:root"]}}`, RuleInvalidDecision, `the approver "uid:root"`},
		{"enormous quorum", `{"outcome": "ask", ` + reasons + `, "ask": {"quorum": 101}}`, RuleInvalidDecision, "the most is 100"},
		{"endless ttl", `{"outcome": "ask", ` + reasons + `, "ask": {"ttl_ms": 2592000001}}`, RuleInvalidDecision, "the most is"},
		{"too many grants", allow(`"grants": [sprintf("g%d", [i]) | some i in numbers.range(1, 17)]`), RuleInvalidDecision, "17 grants"},
		{"negative quorum", `{"outcome": "ask", ` + reasons + `, "ask": {"quorum": -1}}`, RuleInvalidDecision, "negative"},
		{"empty label", allow(`"labels": [""]`), RuleInvalidDecision, "label"},
		{"too many labels", allow(`"labels": [sprintf("l%d", [i]) | some i in numbers.range(1, 33)]`), RuleInvalidDecision, "33 labels"},
		{
			"too many reasons",
			`{"outcome": "allow", "reasons": [{"rule": "r", "message": sprintf("%d", [i])} | some i in numbers.range(1, 101)]}`,
			RuleInvalidDecision, "more than 100",
		},
		{"unknown obligation", allow(`"obligations": {"mounts": {}}`), RuleObligationUnknown, "obligations.mounts"},
		{"unknown sandbox obligation", sandbox(`"memory": 1`), RuleObligationUnknown, "obligations.sandbox.memory,"},
		{"unknown exec obligation", allow(`"obligations": {"exec": {"binaries": []}}`), RuleObligationUnknown, "obligations.exec.binaries"},
		{"obligation in capitals", sandbox(`"PIDS": 1`), RuleObligationUnknown, "obligations.sandbox.PIDS"},
		{"obligation of another type", sandbox(`"pids": "5"`), RuleInvalidDecision, "obligations.sandbox.pids is a string, want an integer"},
		{"fraction", sandbox(`"pids": 1.5`), RuleInvalidDecision, "1.5"},
		{"too large a number", sandbox(`"pids": 99999999999999999999`), RuleInvalidDecision, "want an integer"},
		{"negative", sandbox(`"pids": -1`), RuleInvalidDecision, "is -1"},
		{"above the ceiling", sandbox(`"pids": 11`), RuleObligationCeiling, "above the daemon's ceiling of 10"},
		{"looser than the ceiling", sandbox(`"workspace": "rw"`), RuleObligationCeiling, `ceiling is "ro"`},
		{"looser reuse", sandbox(`"reuse": "caller"`), RuleObligationCeiling, `ceiling is "session"`},
		{"unknown reuse", sandbox(`"reuse": "always"`), RuleInvalidDecision, "reuse"},
		{"egress", sandbox(`"network": "egress"`), RuleObligationUnsupported, "egress"},
		{"isolation that is not there", sandbox(`"isolation": "gvisor"`), RuleObligationUnsupported, "gvisor"},
		{"unknown isolation", sandbox(`"isolation": "kata"`), RuleInvalidDecision, "kata"},
		{"variable name with =", allow(`"obligations": {"exec": {"env_set": {"A=B": "c"}}}`), RuleInvalidDecision, "env_set"},
		{"variable of another type", allow(`"obligations": {"exec": {"env_set": {"A": 1}}}`), RuleInvalidDecision, "env_set.A"},
		{"bad pattern", allow(`"obligations": {"exec": {"env_drop": ["["]}}`), RuleInvalidDecision, "env_drop"},
		{"unknown audit level", allow(`"obligations": {"audit": {"level": "none"}}`), RuleInvalidDecision, "audit.level"},
		{"a set where a list is due is a list", `{"outcome": "allow", "reasons": {{"rule": "r", "message": "m"}}}`, "r", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := engineOf(t, tt.answer, Config{Ceiling: SandboxObligations{Pids: 10, Workspace: "ro", Reuse: "session"}})
			d := e.Decide(t.Context(), input("test"))
			if tt.rule == "r" {
				if d.Outcome != Allow {
					t.Errorf("got %+v, want allow", d)
				}
				return
			}
			if d.Outcome != Deny || len(d.Reasons) != 1 || d.Reasons[0].Rule != tt.rule || !strings.Contains(d.Reasons[0].Message, tt.message) {
				t.Errorf("got %+v, want a deny by %s with %q", d, tt.rule, tt.message)
			}
			if diff := cmp.Diff(Obligations{}, d.Obligations); diff != "" {
				t.Errorf("a refused decision keeps obligations: %s", diff)
			}
		})
	}
}

func TestDenyObligesNothing(t *testing.T) {
	e := engineOf(t, `{"outcome": "deny", "reasons": [{"rule": "r", "message": "m"}], "labels": ["l"],
		"obligations": {"sandbox": {"pids": 11}}}`, Config{Ceiling: SandboxObligations{Pids: 10}})
	d := e.Decide(t.Context(), input("test"))
	if d.Outcome != Deny || d.Reasons[0].Rule != "r" || d.Obligations.Sandbox.Pids != 0 || d.Labels != nil {
		t.Errorf("got %+v, want the policy's own deny without obligations and labels", d)
	}
}

func TestUndefinedDecisionIsDenied(t *testing.T) {
	if d := validate(nil, Config{}); d.Outcome != Deny || d.Reasons[0].Rule != RuleUndefined {
		t.Errorf("got %+v, want a deny by %s", d, RuleUndefined)
	}
}

func TestEvaluationErrorIsDenied(t *testing.T) {
	e := engineOf(t, `{"outcome": "allow", "reasons": [{"rule": "r", "message": sprintf("%d", [1 / (count(input.call.args) - 1)])}]}`, Config{})
	d := e.Decide(t.Context(), input("test")) // one argument: division by zero
	if d.Outcome != Deny || d.Reasons[0].Rule != RuleEvaluationError || !strings.Contains(d.Reasons[0].Message, "divide by zero") {
		t.Errorf("got %+v, want a deny by %s", d, RuleEvaluationError)
	}
}

func TestConflictingRulesAreDenied(t *testing.T) {
	dir := t.TempDir()
	files := policyOf(`{"outcome": "allow", "reasons": [{"rule": "r", "message": "m"}]}`)
	files["other.rego"] = "package sandgate\n\ndecision := {\"outcome\": \"ask\", \"reasons\": [{\"rule\": \"x\", \"message\": \"m\"}]} if input.session.profile == \"test\"\n"
	writePolicy(t, dir, files)
	d := newEngine(t, Config{Dir: dir}).Decide(t.Context(), input("test"))
	if d.Outcome != Deny || d.Reasons[0].Rule != RuleEvaluationError {
		t.Errorf("got %+v, want a deny by %s", d, RuleEvaluationError)
	}
}

func TestSlowPolicyIsDenied(t *testing.T) {
	// A cubic search that takes far longer than the time-out, on any machine.
	answer := `{"outcome": "allow", "reasons": [{"rule": "r", "message": sprintf("%d", [count([1 |
		some a in numbers.range(1, 100000); some b in numbers.range(1, 100000); a * b == -1])])}]}`
	e := engineOf(t, answer, Config{DecisionTimeout: 30 * time.Millisecond})
	d := e.Decide(t.Context(), input("test"))
	if d.Outcome != Deny || d.Reasons[0].Rule != RuleTimeout {
		t.Errorf("got %+v, want a deny by %s", d, RuleTimeout)
	}
}

func TestCancelledDecisionIsDenied(t *testing.T) {
	e := engineOf(t, `{"outcome": "allow", "reasons": [{"rule": "r", "message": "m"}]}`, Config{})
	ctx, cancel := contextWithCancel(t)
	cancel()
	d := e.Decide(ctx, input("test"))
	if d.Outcome != Deny || d.Reasons[0].Rule != RuleCancelled {
		t.Errorf("got %+v, want a deny by %s", d, RuleCancelled)
	}
}

func TestArgumentsThatAreNoJSONAreDenied(t *testing.T) {
	e := engineOf(t, `{"outcome": "allow", "reasons": [{"rule": "r", "message": "m"}]}`, Config{})
	in := input("test")
	in.Call.Args = []byte(`{"command": `)
	d := e.Decide(t.Context(), in)
	if d.Outcome != Deny || d.Reasons[0].Rule != RuleInvalidInput {
		t.Errorf("got %+v, want a deny by %s", d, RuleInvalidInput)
	}
}

func TestEvalRawRefusesWhatIsNoObject(t *testing.T) {
	e := engineOf(t, `{"outcome": "allow", "reasons": [{"rule": "r", "message": "m"}]}`, Config{})
	for _, raw := range []string{``, `[]`, `"x"`, `null`, `{`, `{} {}`, `{"a": 1} x`} {
		if out, err := e.EvalRaw(t.Context(), []byte(raw)); err == nil {
			t.Errorf("%q: got %s, want an error", raw, out)
		}
	}
}

func TestEffective(t *testing.T) {
	ceiling := SandboxObligations{Pids: 100, MemoryBytes: 1000, CPUMillis: 2000, Workspace: "rw", Reuse: "session"}
	defaults := SandboxObligations{Pids: 500, MemoryBytes: 500, Network: "none", Reuse: "caller", Isolation: "runc", Workspace: "rw"}
	ob := Obligations{Sandbox: SandboxObligations{MemoryBytes: 700, OpenFiles: 64, Workspace: "ro"}}
	want := SandboxObligations{
		Pids:        100,  // the default, lowered to the ceiling
		MemoryBytes: 700,  // as demanded
		CPUMillis:   2000, // nobody said: the ceiling
		OpenFiles:   64,   // no ceiling
		Network:     "none", Reuse: "session", Isolation: "runc", Workspace: "ro",
	}
	if diff := cmp.Diff(want, Effective(ob, ceiling, defaults)); diff != "" {
		t.Errorf("Effective (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(SandboxObligations{}, Effective(Obligations{}, SandboxObligations{}, SandboxObligations{})); diff != "" {
		t.Errorf("of nothing (-want +got):\n%s", diff)
	}
}

func TestEveryLimitHasACheck(t *testing.T) {
	// A field that is added to SandboxObligations but not to amounts or words
	// would be accepted without a ceiling.
	// Mounts have checkMounts.
	if got, want := len(amounts)+len(words)+1, fieldCount(SandboxObligations{}); got != want {
		t.Errorf("limits.go knows %d of the %d fields of SandboxObligations", got, want)
	}
	for _, a := range amounts {
		e := engineOf(t, fmt.Sprintf(`{"outcome": "allow", "reasons": [{"rule": "r", "message": "m"}],
			"obligations": {"sandbox": {%q: 2}}}`, a.name), Config{Ceiling: ceilingOf(a, 1)})
		if d := e.Decide(t.Context(), input("test")); d.Reasons[0].Rule != RuleObligationCeiling {
			t.Errorf("%s: got %+v, want a deny by %s", a.name, d, RuleObligationCeiling)
		}
	}
}
