package policy

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/facts"
)

// input is a call of bash that the profile open allows.
func input(profile string) Input {
	return Input{
		Caller:  CallerInput{ID: "unix:uid:1000", Transport: "unix"},
		Session: SessionInput{Profile: profile},
		Call:    CallInput{ID: "c1", Tool: "bash", Args: json.RawMessage(`{"command":"true"}`), Cwd: "/workspace"},
		Tool:    ToolInput{Name: "bash", Source: "builtin", Effects: []string{"execute"}, Risk: "medium"},
	}
}

func newEngine(t *testing.T, cfg Config) *Engine {
	t.Helper()
	e, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// writePolicy makes a policy directory of files.
func writePolicy(tb testing.TB, dir string, files map[string]string) {
	tb.Helper()
	for name, body := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

// policyOf is a policy that says answer to a call of the tool bash with an
// input of the right schema, and denies all else.
func policyOf(answer string) map[string]string {
	return map[string]string{"main.rego": `package sandgate

default decision := {"outcome": "deny", "reasons": [{"rule": "default", "message": "no"}]}

decision := ` + answer + ` if {
	input.schema == "sandgate.input/v1"
	input.session.profile == "test"
	input.tool.name == "bash"
}

visible contains tool.name if some tool in input.tools
`}
}

func TestEmbeddedPolicyIsReadyAndDecides(t *testing.T) {
	e := newEngine(t, Config{Ceiling: SandboxObligations{WallTimeMs: 5000}, Version: "test"})
	if err := e.Ready(); err != nil {
		t.Fatal(err)
	}
	s := e.Status()
	if s.Error != "" || s.Source != EmbeddedSource || s.LoadedAt.IsZero() || !strings.HasPrefix(s.Revision, "sha256:") {
		t.Errorf("status: got %+v", s)
	}
	if want := []string{"locked", "open", "readonly", "workspace"}; !cmp.Equal(s.Profiles, want) {
		t.Errorf("profiles: got %v, want %v", s.Profiles, want)
	}
	for _, tt := range []struct {
		profile string
		want    Outcome
		rule    string
	}{
		{"open", Allow, "cage-holds"},
		{"locked", Deny, "locked"},
		{"no-such", Deny, "unknown-profile"},
		{"", Deny, "unknown-profile"},
		{"workspace", Deny, "missing-facts"},
	} {
		d := e.Decide(t.Context(), input(tt.profile))
		if d.Outcome != tt.want || d.Reasons[0].Rule != tt.rule {
			t.Errorf("profile %q: got %s by %+v, want %s by %s", tt.profile, d.Outcome, d.Reasons, tt.want, tt.rule)
		}
		if d.ID == "" || d.Profile != tt.profile || d.Revision != s.Revision {
			t.Errorf("profile %q: got id %q, profile %q, revision %q", tt.profile, d.ID, d.Profile, d.Revision)
		}
	}
}

// TestTheDaemonSaysHowLongAnApprovalIsWaitedFor: the library's own terms name no time,
// or approvals.ttl of the daemon's configuration would never count.
func TestTheDaemonSaysHowLongAnApprovalIsWaitedFor(t *testing.T) {
	e := newEngine(t, Config{Version: "test"})
	d := e.Decide(t.Context(), input("readonly"))
	if d.Outcome != Ask || d.Ask == nil || d.Ask.TTLMs != 0 || d.Ask.OnTimeout != Deny || d.Ask.Quorum != 1 {
		t.Errorf("got %s on the terms %+v, want an ask for one approval without a time of its own", d.Outcome, d.Ask)
	}
}

func TestTheLibraryFitsUnderEveryCeiling(t *testing.T) {
	// An operator who lowers the ceiling must not lose the default library.
	low := SandboxObligations{Reuse: "never", Network: "none", Workspace: "ro"}
	for _, a := range amounts {
		*a.of(&low) = 1
	}
	e := newEngine(t, Config{Ceiling: low})
	if err := e.Ready(); err != nil {
		t.Fatal(err)
	}
	for _, profile := range e.Status().Profiles {
		in := input(profile)
		in.Call.Shell = facts.AnalyzeShell("ls", facts.Options{Root: facts.NewMemFS(nil, nil)})
		d := e.Decide(t.Context(), in)
		if strings.HasPrefix(d.Reasons[0].Rule, reservedPrefix) {
			t.Errorf("%s: got %+v", profile, d.Reasons)
		}
		if profile != "locked" && (d.Outcome != Allow || d.Obligations.Sandbox.Reuse != "never" || d.Obligations.Sandbox.Workspace != "ro") {
			t.Errorf("%s: got %+v, want an allow in the smallest cage", profile, d)
		}
	}
}

func TestCompleteIsWhatIsDecided(t *testing.T) {
	e := newEngine(t, Config{Ceiling: SandboxObligations{Pids: 9}, Version: "1.2.3"})
	in := e.Complete(input("open"))
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "null") {
		t.Errorf("the input holds null: %s", raw)
	}
	if in.Schema != InputSchema || in.Daemon.Version != "1.2.3" || in.Daemon.Revision != e.Status().Revision ||
		in.Sandbox.Ceiling.Pids != 9 || in.DecisionID == "" || in.Time == "" {
		t.Errorf("got %+v", in)
	}
	out, err := e.EvalRaw(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	var fromRaw Decision
	if err := json.Unmarshal(out, &fromRaw); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e.Decide(t.Context(), in), fromRaw); diff != "" {
		t.Errorf("Decide and EvalRaw differ (-decide +raw):\n%s", diff)
	}
}

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(t.Context())
}

func fieldCount(v any) int { return reflect.TypeOf(v).NumField() }

func ceilingOf(a amount, value int64) SandboxObligations {
	var c SandboxObligations
	*a.of(&c) = value
	return c
}

func TestInvalidConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"negative time-out": {DecisionTimeout: -1},
		"negative ceiling":  {Ceiling: SandboxObligations{Pids: -1}},
		"unknown reuse":     {Ceiling: SandboxObligations{Reuse: "always"}},
	} {
		if _, err := New(t.Context(), cfg); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

const allowAnswer = `{"outcome": "allow", "reasons": [{"rule": "r", "message": "m"}]}`

func TestBadPolicyIsRefused(t *testing.T) {
	good := policyOf(allowAnswer)["main.rego"]
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no rego", map[string]string{"readme.txt": "x"}, "no .rego file"},
		{"empty file", map[string]string{"main.rego": good, "empty.rego": ""}, "empty"},
		{"syntax error", map[string]string{"main.rego": "package sandgate\nx := {"}, "rego_parse_error"},
		{"old syntax", map[string]string{"main.rego": "package sandgate\nx { true }"}, "rego_parse_error"},
		{"no decision", map[string]string{"main.rego": "package sandgate\n\nvisible := []\n"}, "data.sandgate.decision is not defined"},
		{
			"no default",
			map[string]string{"main.rego": "package sandgate\n\ndecision := {\"outcome\": \"deny\"}\n\nvisible := []\n"},
			"has no default",
		},
		{
			"default allow",
			map[string]string{"main.rego": strings.Replace(good, `"outcome": "deny"`, `"outcome": "allow"`, 1)},
			`must have the outcome "deny"`,
		},
		{"no visible", map[string]string{"main.rego": strings.ReplaceAll(good, "visible", "shown")}, "data.sandgate.visible is not defined"},
		{
			"allows the empty input",
			map[string]string{"main.rego": good, "more.rego": "package sandgate\n\ndecision := " + allowAnswer + " if not input.call\n"},
			"the policy allows an empty input",
		},
		{
			"allows another schema",
			map[string]string{
				"main.rego":        good,
				"more.rego":        "package sandgate\n\ndecision := " + allowAnswer + " if input.schema == \"other/v9\"\n",
				"profiles/p1.rego": "package sandgate.profiles.p1\n\nx := 1\n",
			},
			"another schema in the profile p1",
		},
		{
			"allows a tool that is not declared",
			map[string]string{
				"main.rego":          strings.Replace(good, `input.tool.name == "bash"`, `input.call.tool == "bash"`, 1),
				"profiles/test.rego": "package sandgate.profiles.test\n\nx := 1\n",
			},
			"not declared in the profile test",
		},
		{
			"answers nonsense to an empty input",
			map[string]string{"main.rego": good, "more.rego": "package sandgate\n\ndecision := {\"outcome\": \"maybe\"} if not input.call\n"},
			"no valid decision on an empty input",
		},
		{
			"a misspelt input",
			map[string]string{"main.rego": good, "more.rego": "package sandgate.extra\n\nx if input.call.shel.parsed\n"},
			"undefined ref: input.call.shel",
		},
		{
			"http.send",
			map[string]string{"main.rego": good, "more.rego": "package sandgate.extra\n\nx := http.send({\"method\": \"get\", \"url\": \"http://a\"})\n"},
			"http.send is not available to policies",
		},
		{
			"opa.runtime",
			map[string]string{"main.rego": good, "more.rego": "package sandgate.extra\n\nx := opa.runtime().env\n"},
			"opa.runtime is not available to policies",
		},
		{
			"the clock",
			map[string]string{"main.rego": good, "more.rego": "package sandgate.extra\n\nx := time.now_ns()\n"},
			"time.now_ns is not available to policies",
		},
		{
			"unsafe unused variable",
			map[string]string{"main.rego": good, "more.rego": "package sandgate.extra\n\nx if {\n\ty := 1\n\ttrue\n}\n"},
			"rego_compile_error",
		},
		{"broken data", map[string]string{"main.rego": good, "a/data.json": "{"}, "a/data.json"},
		{"data that is a list", map[string]string{"main.rego": good, "a/data.json": "[]"}, "a/data.json"},
		{"data given twice", map[string]string{"main.rego": good, "a/data.json": `{"b": 1}`, "a/data.yaml": "b: 2"}, `"b" is given by another file`},
		{"data below a value", map[string]string{"main.rego": good, "data.json": `{"z": 1}`, "z/data.yaml": "c: 2"}, `gives "z" a value`},
		{"data over a rule", map[string]string{"main.rego": good, "sandgate/data.json": `{"decision": {"outcome": "allow"}}`}, "conflict"},
		{"broken manifest", map[string]string{"main.rego": good, ".manifest": "{"}, ".manifest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			writePolicy(t, dir, tt.files)
			e := newEngine(t, Config{Dir: dir})
			err := e.Ready()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error with %q", err, tt.want)
			}
			if s := e.Status(); s.Error == "" || s.ErrorAt.IsZero() || s.Source != dir || s.Revision != "" {
				t.Errorf("status: got %+v", s)
			}
			if d := e.Decide(t.Context(), input("test")); d.Outcome != Deny || d.Reasons[0].Rule != RuleNoPolicy {
				t.Errorf("got %+v, want a deny by %s", d, RuleNoPolicy)
			}
			if names, err := e.Visible(t.Context(), input("test"), []ToolInput{{Name: "bash"}}); err == nil {
				t.Errorf("visible: got %v, want an error", names)
			}
		})
	}
}

func TestMissingPolicyDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{file + "-not": "no such file", file: "not a directory"} {
		if err := newEngine(t, Config{Dir: dir}).Ready(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", dir, err, want)
		}
	}
}

func TestReloadKeepsTheGoodRevision(t *testing.T) {
	dir := t.TempDir()
	writePolicy(t, dir, policyOf(allowAnswer))
	e := newEngine(t, Config{Dir: dir})
	first := e.Status()
	if d := e.Decide(t.Context(), input("test")); d.Outcome != Allow || d.Revision != first.Revision {
		t.Fatalf("got %+v", d)
	}

	writePolicy(t, dir, map[string]string{"main.rego": "package sandgate\n"})
	if err := e.Reload(t.Context()); err == nil {
		t.Fatal("a policy without a decision was taken")
	}
	s := e.Status()
	if s.Error == "" || s.Revision != first.Revision || !s.LoadedAt.Equal(first.LoadedAt) || e.Ready() != nil {
		t.Errorf("after a bad reload: got %+v, want the error beside revision %s", s, first.Revision)
	}
	if d := e.Decide(t.Context(), input("test")); d.Outcome != Allow {
		t.Errorf("after a bad reload: got %+v, want the old policy to decide", d)
	}

	writePolicy(t, dir, policyOf(`{"outcome": "ask", "reasons": [{"rule": "r2", "message": "m"}]}`))
	if err := e.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = e.Status()
	if s.Error != "" || s.Revision == first.Revision || !s.ErrorAt.IsZero() {
		t.Errorf("after a good reload: got %+v", s)
	}
	if d := e.Decide(t.Context(), input("test")); d.Outcome != Ask || d.Revision != s.Revision {
		t.Errorf("after a good reload: got %+v", d)
	}
}

func TestRevisionNamesTheContent(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	files := policyOf(allowAnswer)
	files["main_test.rego"] = "package sandgate_test\n"
	files["..data/main.rego"] = "a former revision that must not be read"
	writePolicy(t, dir, files)
	writePolicy(t, other, policyOf(allowAnswer))
	a, b := newEngine(t, Config{Dir: dir}).Status(), newEngine(t, Config{Dir: other}).Status()
	if a.Revision != b.Revision || !cmp.Equal(a.Files, []string{"main.rego"}) {
		t.Errorf("got %+v and %+v, want one revision: tests and hidden directories do not count", a, b)
	}
	writePolicy(t, dir, map[string]string{".manifest": `{"revision": "git:abc", "roots": [""]}`})
	c := newEngine(t, Config{Dir: dir}).Status()
	if !strings.HasPrefix(c.Revision, "git:abc@sha256:") {
		t.Errorf("got %+v, want the manifest's revision and a hash", c)
	}
}

func TestPolicyOfAMountedConfigMap(t *testing.T) {
	dir := t.TempDir()
	writePolicy(t, dir, map[string]string{"..2026/sandgate/main.rego": policyOf(allowAnswer)["main.rego"]})
	for link, target := range map[string]string{"..data": "..2026", "sandgate": "..data/sandgate"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	s := newEngine(t, Config{Dir: dir}).Status()
	if s.Error != "" || !cmp.Equal(s.Files, []string{"sandgate/main.rego"}) {
		t.Errorf("got %+v", s)
	}
}

func TestPolicyDirectoryThatIsATrap(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(dir string) error
		want string
	}{
		"a loop":            {func(dir string) error { return os.Symlink(".", filepath.Join(dir, "loop")) }, "loop of symlinks"},
		"a fifo":            {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "x.rego"), 0o600) }, "not a regular file"},
		"a dangling policy": {func(dir string) error { return os.Symlink("no-such", filepath.Join(dir, "x.rego")) }, "no such file"},
	} {
		dir := t.TempDir()
		writePolicy(t, dir, policyOf(allowAnswer))
		if err := tt.make(dir); err != nil {
			t.Fatal(err)
		}
		if err := newEngine(t, Config{Dir: dir}).Ready(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

func TestDecisionsDuringReloadsSeeOneRevision(t *testing.T) {
	dir := t.TempDir()
	answers := []string{"one", "two"}
	write := func(i int) {
		writePolicy(t, dir, policyOf(`{"outcome": "allow", "reasons": [{"rule": "`+answers[i%2]+`", "message": input.daemon.policy_revision}]}`))
	}
	write(0)
	e := newEngine(t, Config{Dir: dir})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				d := e.Decide(t.Context(), input("test"))
				if d.Outcome != Allow || d.Reasons[0].Message != d.Revision {
					t.Errorf("got %+v, want the input and the decision to be of one revision", d)
					return
				}
			}
		})
	}
	for i := range 10 {
		write(i)
		if err := e.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestVisible(t *testing.T) {
	e := newEngine(t, Config{})
	tools := []ToolInput{{Name: "read_file"}, {Name: "bash"}}
	for profile, want := range map[string][]string{
		"open": {"bash", "read_file"}, "workspace": {"bash", "read_file"}, "locked": {}, "no-such": {},
	} {
		got, err := e.Visible(t.Context(), Input{Session: SessionInput{Profile: profile}}, tools)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", profile, got, err, want)
		}
	}
}

func TestVisibleRefusesNonsense(t *testing.T) {
	for _, visible := range []string{`visible := "bash"`, `visible := [1]`, `visible := ["bash"] if input.call.id == "never"`} {
		dir := t.TempDir()
		files := policyOf(allowAnswer)
		files["main.rego"] = strings.Replace(files["main.rego"], "visible contains tool.name if some tool in input.tools", visible, 1)
		writePolicy(t, dir, files)
		e := newEngine(t, Config{Dir: dir})
		if err := e.Ready(); err != nil {
			t.Fatal(err)
		}
		if got, err := e.Visible(t.Context(), input("test"), []ToolInput{{Name: "bash"}}); err == nil {
			t.Errorf("%s: got %v, want an error", visible, got)
		}
	}
}
