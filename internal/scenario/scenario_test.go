package scenario

import (
	"encoding/xml"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/policy"
)

func TestParseReadsEveryField(t *testing.T) {
	suite, err := Parse("a.yaml", []byte(`
profile: readonly
workspace: {files: {a.txt: hi}, symlinks: {link: /etc}}
cases:
  - name: plain
    call: {tool: bash, args: {command: ls}}
    want: {outcome: allow}
  - name: everything
    profile: open
    time: "2026-05-01T00:00:00Z"
    caller: {id: "unix:uid:7", transport: unix, uid: 7}
    session: {id: s, seq: 3, counts: {allow: 2}, labels: [a], grants: [g]}
    call: {tool: bash, args: {command: ls, timeout_ms: 5}, cwd: /workspace/src, env: {A: "1"}}
    want: {outcome: deny, rules: [r], warnings: [w], shadow: [s], labels: [], obligations: {sandbox: {pids: 5}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	uid := 7
	want := []Case{
		{
			Name: "plain", Line: 5, Profile: "readonly", Time: defaultTime,
			Caller:  policy.CallerInput{ID: "cli:policy-test", Transport: "cli"},
			Session: policy.SessionInput{Profile: "readonly"},
			Call:    Call{Tool: "bash", Args: []byte(`{"command":"ls"}`)},
			Want:    Want{Outcome: policy.Allow},
		},
		{
			Name: "everything", Line: 8, Profile: "open", Time: "2026-05-01T00:00:00Z",
			Caller: policy.CallerInput{ID: "unix:uid:7", Transport: "unix", UID: &uid},
			Session: policy.SessionInput{
				ID: "s", Profile: "open", Seq: 3, Counts: map[string]int{"allow": 2}, Labels: []string{"a"}, Grants: []string{"g"},
			},
			Call: Call{Tool: "bash", Args: []byte(`{"command":"ls","timeout_ms":5}`), Cwd: "/workspace/src", Env: map[string]string{"A": "1"}},
			Want: Want{
				Outcome: policy.Deny, Rules: []string{"r"}, Warnings: []string{"w"}, Shadow: []string{"s"}, Labels: []string{},
				Obligations: map[string]any{"sandbox": map[string]any{"pids": 5}},
			},
		},
	}
	if diff := cmp.Diff(want, suite.Cases); diff != "" {
		t.Errorf("cases (-want +got):\n%s", diff)
	}
	if _, err := suite.Workspace.Lstat("a.txt"); err != nil {
		t.Errorf("workspace: %v", err)
	}
}

func TestParseTellsWhatIsWrongAndWhere(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "a.yaml: empty"},
		{"no cases", "profile: open\n", "a.yaml: no cases"},
		{"not YAML", "profile: [", "a.yaml: yaml:"},
		{"two documents", "profile: open\n---\nprofile: open\n", "more than one YAML document"},
		{"unknown key of the file", "profil: open\n", "line 1: field profil not found"},
		{"unknown key of a case", "profile: open\ncases:\n  - nam: x\n", "line 3: field nam not found"},
		{"unknown key of want", "profile: open\ncases:\n  - name: x\n    want:\n      outcom: deny\n", "line 5: field outcom not found"},
		{"wrong type", "profile: open\ncases:\n  - name: x\n    want: {rules: no-list}\n", "line 4: cannot unmarshal"},
		{"no name", "profile: open\ncases:\n  - call: {tool: bash}\n    want: {outcome: deny}\n", "a.yaml:3: case 1: no name"},
		{"no profile", "cases:\n  - name: x\n    call: {tool: bash}\n    want: {outcome: deny}\n", `a.yaml:2: case 1: "x": no profile`},
		{"no tool", "profile: open\ncases:\n  - name: x\n    want: {outcome: deny}\n", `"x": no call.tool`},
		{"no outcome", "profile: open\ncases:\n  - name: x\n    call: {tool: bash}\n", `want.outcome is "", want allow, ask or deny`},
		{
			"an argument that JSON does not have",
			"profile: open\ncases:\n  - name: x\n    call: {tool: bash, args: {a: .nan}}\n    want: {outcome: deny}\n",
			`"x": call.args`,
		},
		{
			"two wrong cases",
			"profile: open\ncases:\n  - name: x\n    call: {tool: bash}\n  - name: y\n    want: {outcome: deny}\n",
			`a.yaml:5: case 2: "y": no call.tool`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse("a.yaml", []byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestParseBoundsTheFile(t *testing.T) {
	if _, err := Parse("a.yaml", make([]byte, maxFileBytes+1)); err == nil {
		t.Error("got no error")
	}
}

func TestCompare(t *testing.T) {
	got := policy.Decision{
		Outcome: policy.Deny, Reasons: []policy.Reason{{Rule: "a"}, {Rule: "a"}, {Rule: "b"}},
		Warnings: []policy.Reason{{Rule: "w"}}, Shadow: []policy.Shadow{{Rule: "s"}}, Labels: []string{"x", "y"},
		Obligations: policy.Obligations{
			Sandbox: policy.SandboxObligations{Pids: 5, Network: "none"},
			Exec:    policy.ExecObligations{EnvDrop: []string{"*_TOKEN"}},
		},
	}
	for _, tt := range []struct {
		name string
		want Want
		diff []string
	}{
		{"the outcome alone", Want{Outcome: policy.Deny}, nil},
		{
			"all that holds",
			Want{
				Outcome: policy.Deny, Rules: []string{"b"}, Warnings: []string{"w"}, Shadow: []string{"s"}, Labels: []string{"y", "x"},
				Obligations: map[string]any{"sandbox": map[string]any{"pids": 5}, "exec": map[string]any{"env_drop": []any{"*_TOKEN"}}},
			},
			nil,
		},
		{"another outcome", Want{Outcome: policy.Allow}, []string{"outcome: want allow, got deny"}},
		{"another rule", Want{Outcome: policy.Deny, Rules: []string{"c"}}, []string{"rules: want c, got [a, b]"}},
		{"another warning", Want{Outcome: policy.Deny, Warnings: []string{"c"}}, []string{"warnings: want c, got [w]"}},
		{"another shadow", Want{Outcome: policy.Deny, Shadow: []string{"c"}}, []string{"shadow: want c, got [s]"}},
		{"no labels", Want{Outcome: policy.Deny, Labels: []string{}}, []string{`labels: want [], got ["x" "y"]`}},
		{
			"another obligation",
			Want{Outcome: policy.Deny, Obligations: map[string]any{"sandbox": map[string]any{"pids": 6, "network": "none"}}},
			[]string{"obligations.sandbox.pids: want 6, got 5"},
		},
		{
			"an obligation that is not there",
			Want{Outcome: policy.Deny, Obligations: map[string]any{"audit": map[string]any{"level": "shape"}}},
			[]string{`obligations.audit: want {"level":"shape"}, got nothing`},
		},
	} {
		if diff := cmp.Diff(tt.diff, Compare(tt.want, got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestACallThatValidationRefusesFails(t *testing.T) {
	runner := newRunner(t, policy.Config{})
	suite, err := Parse("a.yaml", []byte(`
profile: open
cases:
  - name: a wrong argument
    call: {tool: bash, args: {comand: ls}}
    want: {outcome: deny}
  - name: a wrong tool
    call: {tool: bsh}
    want: {outcome: deny}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runner.Run(t.Context(), suite) {
		if r.Passed() || !strings.HasPrefix(r.Problems[0], "the call never reaches the policy: ") {
			t.Errorf("%s: got %q", r.Case.Name, r.Problems)
		}
	}
}

func TestReports(t *testing.T) {
	results := []Result{
		{File: "a.yaml", Case: Case{Name: "good", Line: 3}},
		{
			File: "a.yaml", Case: Case{Name: "bad <&>", Line: 7, Call: Call{Tool: "bash", Args: []byte(`{"command":"ls"}`)}},
			Got:      policy.Decision{Reasons: []policy.Reason{{Rule: "r", Message: "m"}}},
			Problems: []string{"outcome: want allow, got deny", "rules: want x, got [r]"},
		},
		{File: "b.yaml", Case: Case{Name: "good", Line: 3}},
	}
	var text strings.Builder
	if err := WriteText(&text, results); err != nil {
		t.Fatal(err)
	}
	want := `--- a.yaml:7: bad <&>
    call bash {"command":"ls"}
    outcome: want allow, got deny
    rules: want x, got [r]
    got rule r: m
FAIL a.yaml: 2 cases, 1 failed
ok   b.yaml: 1 cases, 0 failed
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	var out strings.Builder
	if err := WriteJUnit(&out, results, []Extra{{Suite: "data.x", Name: "test_y", Failure: "false"}}); err != nil {
		t.Fatal(err)
	}
	var doc junitSuites
	if err := xml.Unmarshal([]byte(out.String()), &doc); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if doc.Tests != 4 || doc.Failures != 2 || len(doc.Suites) != 3 || doc.Suites[0].Failures != 1 ||
		doc.Suites[0].Cases[1].Name != "bad <&>" || doc.Suites[0].Cases[1].Failure.Message != "outcome: want allow, got deny" {
		t.Errorf("junit: got %+v: %s", doc, out.String())
	}
}
