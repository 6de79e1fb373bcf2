package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runPolicy runs `sandgate policy ARGS` in an empty directory.
func runPolicy(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := newPolicyCommand()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func inTempDir(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

func TestPolicyEval(t *testing.T) {
	inTempDir(t, map[string]string{"a.txt": "hi"})
	for _, tt := range []struct {
		name string
		args []string
		want string
		rule string
	}{
		{"allowed", []string{"-c", "cat a.txt"}, "allow", "read-only-commands"},
		{"denied", []string{"-c", "git status; rm -rf ."}, "deny", "destructive-command"},
		{"asked", []string{"-c", "make"}, "ask", "not-read-only"},
		{"another profile", []string{"-c", "make", "--profile", "workspace"}, "allow", "script-in-workspace"},
		{"a tool", []string{"--tool", "read_file", "--args", `{"path": "a.txt"}`}, "allow", "read-only-tool"},
		{"a tool without arguments", []string{"--tool", "list_dir"}, "allow", "read-only-tool"},
		{"a directory", []string{"-c", "ls", "--cwd", "/etc"}, "ask", "not-allowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := runPolicy(t, "", append([]string{"eval"}, tt.args...)...)
			if err != nil {
				t.Fatal(err, out)
			}
			var decision struct {
				Outcome string
				Reasons []struct{ Rule string }
			}
			if err := json.Unmarshal([]byte(out), &decision); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if decision.Outcome != tt.want || decision.Reasons[0].Rule != tt.rule {
				t.Errorf("got %s, want %s by %s", out, tt.want, tt.rule)
			}
		})
	}
}

func TestPolicyFactsFeedEval(t *testing.T) {
	inTempDir(t, map[string]string{"a.txt": "hi"})
	document, err := runPolicy(t, "", "facts", "-c", "cat a.txt", "--label", "saw:untrusted", "--env", "CI=1")
	if err != nil {
		t.Fatal(err, document)
	}
	for _, want := range []string{`"sandgate.input/v1"`, `"base": "cat"`, `"in_workspace": true`, `"saw:untrusted"`, `"CI": "1"`} {
		if !strings.Contains(document, want) {
			t.Errorf("facts: got %s, want %s in it", document, want)
		}
	}
	out, err := runPolicy(t, document, "eval", "-i", "-")
	if err != nil || !strings.Contains(out, `"outcome": "allow"`) {
		t.Errorf("eval of the facts: got %s, %v", out, err)
	}
	shell, err := runPolicy(t, "", "facts", "--shell", "-c", "ls")
	if err != nil || !strings.HasPrefix(shell, "{\n  \"dialect\"") {
		t.Errorf("facts --shell: got %s, %v", shell, err)
	}
}

func TestPolicyExplain(t *testing.T) {
	inTempDir(t, nil)
	out, err := runPolicy(t, "", "explain", "-c", "ls; rm -rf .", "--trace")
	if err != nil {
		t.Fatal(err, out)
	}
	for _, want := range []string{
		`deny by the profile "readonly", policy sha256:`, "deny destructive-command:", `command:  "rm -rf ."`,
		"written:  policies/sandgate/profiles/readonly.rego:", "instead:", "Enter data.sandgate.decision",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got %.2000s, want %q in it", out, want)
		}
	}
	out, err = runPolicy(t, "", "explain", "--json", "-c", "ls")
	if err != nil || !json.Valid([]byte(out)) || !strings.Contains(out, `"rule": "read-only-commands"`) {
		t.Errorf("--json: got %s, %v", out, err)
	}
}

func TestPolicyTellsWhatIsWrong(t *testing.T) {
	inTempDir(t, map[string]string{
		"bad/main.rego": "package sandgate\n", "plain.txt": "x", "empty/x.txt": "x", "list.json": "[]",
		"typo.yaml":   "profile: open\ncases:\n  - name: a\n    cal: {tool: bash}\n    want: {outcome: allow}\n",
		"untold.yaml": "profile: open\ncases:\n  - name: a\n    call: {tool: bash, args: {command: ls}}\n    want: {outcome: yes}\n",
	})
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"eval"}, "no call is given: use -c"},
		{[]string{"eval", "--tool", "bsh"}, `no tool "bsh": did you mean bash`},
		{[]string{"eval", "--tool", "bash", "--args", `{"command": 1}`}, `argument "command"`},
		{[]string{"eval", "-c", "ls", "--tool", "bash"}, "command tool"},
		{[]string{"eval", "-c", "ls", "--env", "X"}, "want NAME=VALUE"},
		{[]string{"eval", "-c", "ls", "--workspace", "no/such"}, "--workspace"},
		{[]string{"eval", "-c", "ls", "--policy", "no/such"}, "policy directory"},
		{[]string{"eval", "-c", "ls", "--policy", "bad"}, "data.sandgate.decision is not defined"},
		{[]string{"eval", "-i", "list.json"}, "want a JSON object"},
		{[]string{"eval", "-i", "no-such.json"}, "no such file"},
		{[]string{"facts", "--shell", "--tool", "list_dir"}, "takes no script"},
		{[]string{"test", "no-such.yaml"}, "no such file"},
		{[]string{"test", "plain.txt"}, "want a scenario file"},
		{[]string{"test", "empty"}, "no tests were found"},
		{[]string{"test", "--threshold", "101"}, "percentage"},
		{[]string{"test", "typo.yaml"}, "typo.yaml: line 4: field cal not found"},
		{[]string{"test", "untold.yaml"}, `untold.yaml:3: case 1: "a": want.outcome is "yes"`},
	} {
		if out, err := runPolicy(t, "", tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, %s; want an error with %q", tt.args, err, out, tt.want)
		}
	}
}

const failingScenario = `profile: readonly
workspace: {files: {README.md: "hi"}, symlinks: {link: /etc}}
cases:
  - name: a reader
    call: {tool: bash, args: {command: "cat README.md"}}
    want: {outcome: allow}
  - name: through a symlink
    call: {tool: bash, args: {command: "cat link/passwd"}}
    want: {outcome: allow}
`

func TestPolicyTestOfAScenarioFile(t *testing.T) {
	inTempDir(t, map[string]string{"cases/case.yaml": failingScenario})
	for _, arg := range []string{"cases/case.yaml", "cases"} {
		out, err := runPolicy(t, "", "test", arg, "--junit", "report.xml", "-v")
		if err == nil || err.Error() != "1 of 2 tests failed" {
			t.Errorf("%s: got %v, want one failure", arg, err)
		}
		for _, want := range []string{
			"pass cases/case.yaml:4: a reader", "--- cases/case.yaml:7: through a symlink", "outcome: want allow, got ask",
			"FAIL cases/case.yaml: 2 cases, 1 failed",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: got %s, want %q in it", arg, out, want)
			}
		}
		raw, err := os.ReadFile("report.xml")
		if err != nil {
			t.Fatal(err)
		}
		var report struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
		}
		if err := xml.Unmarshal(raw, &report); err != nil || report.Tests != 2 || report.Failures != 1 {
			t.Errorf("junit: got %+v, %v: %s", report, err, raw)
		}
	}
}

const ownPolicy = `package sandgate

default decision := {"outcome": "deny", "reasons": [{"rule": "own-default", "message": "no"}]}

decision := {"outcome": "allow", "reasons": [{"rule": "own", "message": "yes"}]} if {
	input.schema == "sandgate.input/v1"
	input.tool.name == "bash"
	input.session.profile == "readonly"
}

visible contains tool.name if some tool in input.tools
`

func TestPolicyTestOfAPolicyDirectory(t *testing.T) {
	inTempDir(t, map[string]string{
		"own/main.rego":      ownPolicy,
		"own/main_test.rego": "package sandgate_test\n\ntest_default if data.sandgate.decision.outcome == \"deny\" with input as {}\n",
		"own/scenarios/a.yaml": `profile: readonly
cases:
  - name: decided by the own policy
    call: {tool: bash, args: {command: "rm -rf /"}}
    want: {outcome: allow, rules: [own]}
`,
	})
	out, err := runPolicy(t, "", "test", "own", "--coverage")
	if err != nil || !strings.Contains(out, "own: 1 Rego tests, 0 failed") || !strings.Contains(out, "own/scenarios/a.yaml: 1 cases, 0 failed") {
		t.Errorf("got %s, %v", out, err)
	}
	if !strings.Contains(out, "not covered: own/main.rego") {
		t.Errorf("got %s, want the lines that are not covered", out)
	}
	if out, err = runPolicy(t, "", "test", "--policy", "own", "--threshold", "99"); err == nil || !strings.Contains(out, "at least 99 % is wanted") {
		t.Errorf("threshold: got %s, %v", out, err)
	}
	if out, err = runPolicy(t, "", "eval", "--policy", "own", "-c", "ls"); err != nil || !strings.Contains(out, `"rule": "own"`) {
		t.Errorf("eval --policy: got %s, %v", out, err)
	}
}

func TestPolicyTestOfTheBuiltInLibrary(t *testing.T) {
	inTempDir(t, nil)
	out, err := runPolicy(t, "", append([]string{"test"}, ofTheLibrary()...)...)
	if err != nil || !strings.Contains(out, "ok   embedded: ") || !strings.Contains(out, "ok   policies/scenarios/readonly/scenario.yaml") {
		t.Errorf("got %s, %v", out, err)
	}
}
