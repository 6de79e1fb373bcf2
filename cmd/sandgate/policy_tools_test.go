package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ownTests = `package sandgate_test

_call := {
	"schema": "sandgate.input/v1",
	"session": {"profile": "readonly"},
	"call": {"tool": "bash"},
	"tool": {"name": "bash"},
}

test_allowed if {
	decision := data.sandgate.decision with input as _call
	decision == {"outcome": "allow", "reasons": [{"rule": "own", "message": "yes"}]}
}

test_refused if {
	decision := data.sandgate.decision with input as {}
	decision == {"outcome": "deny", "reasons": [{"rule": "own-default", "message": "no"}]}
}

test_visible if data.sandgate.visible == {"bash"} with input as {"tools": [{"name": "bash"}]}
`

// exitOf is the exit code that the process ends with.
func exitOf(err error) int {
	var coded interface{ ExitCode() int }
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.ExitCode()
	case errors.As(err, &code):
		return int(code)
	}
	return -1
}

func TestExitCodesOfThePolicyTools(t *testing.T) {
	inTempDir(t, map[string]string{
		"own/sandgate/main.rego": ownPolicy, "own/sandgate/main_test.rego": ownTests,
		"case.yaml": failingScenario, "log.jsonl": `{"path":"sandgate/decision","input":{},"result":{}}` + "\n", "bad.jsonl": "x\n", "empty.jsonl": "{}\n",
	})
	for _, tt := range []struct {
		args []string
		want int
	}{
		{[]string{"test", "own"}, 0},
		{[]string{"test", "case.yaml"}, exitFindings},
		{[]string{"test", "own", "--run", "nothing"}, exitFindings},
		{[]string{"test", "own", "--run", "nothing", "--allow-empty"}, 0},
		{[]string{"test", "own", "--run", "("}, exitUsage},
		{[]string{"test", "no-such"}, exitUsage},
		{[]string{"test", "--format", "yaml"}, exitUsage},
		{[]string{"test", "--no-such-flag"}, exitUsage},
		{[]string{"test", "--watch"}, exitUsage},
		{[]string{"lint", "own"}, exitFindings},
		{[]string{"lint", "own", "--disable", "missing-metadata", "--disable", "format"}, 0},
		{[]string{"lint", "own", "--disable", "no-such-rule"}, exitUsage},
		{[]string{"lint", "no-such"}, exitUsage},
		{[]string{"mutate", "own", "--sample", "4"}, 0},
		{[]string{"mutate", "own", "--threshold", "101"}, exitUsage},
		{[]string{"mutate", "own", "--only", "other.rego"}, exitUsage},
		{[]string{"replay"}, exitUsage},
		{[]string{"replay", "--log", "bad.jsonl"}, exitUsage},
		{[]string{"replay", "--log", "empty.jsonl"}, exitUsage},
		{[]string{"replay", "--log", "log.jsonl"}, 0},
		{[]string{"replay", "--log", "log.jsonl", "--fail-on", "nothing"}, exitUsage},
		{[]string{"diff", "builtin"}, exitUsage},
		{[]string{"diff", "builtin", "builtin", "--fail-on", "changed"}, 0},
		{[]string{"diff", "builtin", "own", "--fail-on", "widened"}, exitFindings},
	} {
		out, err := runPolicy(t, "", tt.args...)
		if got := exitOf(err); got != tt.want {
			t.Errorf("%v: got exit code %d (%v), want %d: %.500s", tt.args, got, err, tt.want, out)
		}
	}
}

func TestPolicyTestFormats(t *testing.T) {
	inTempDir(t, map[string]string{
		"own/sandgate/main.rego": ownPolicy, "own/sandgate/main_test.rego": ownTests + "\ntest_wrong if false\n",
		"own/testdata/a.tsv": "# profile: readonly\nallow\tls\tmay\ndeny\trm x\tmay not\n",
	})
	out, err := runPolicy(t, "", "test", "own", "--format", "github", "--threshold", "100")
	if exitOf(err) != exitFindings {
		t.Fatal(err, out)
	}
	want := `::error file=own/sandgate/main_test.rego,line=22,title=test_wrong::the test is false or undefined
::error file=own/testdata/a.tsv,line=3,title=rm x (may not)::outcome: want deny, got allow
7 tests, 2 failed
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("github (-want +got):\n%s", diff)
	}
	out, err = runPolicy(t, "", "test", "own", "--format", "json", "--coverage")
	var report testJSON
	if jerr := json.Unmarshal([]byte(out), &report); jerr != nil || exitOf(err) != exitFindings {
		t.Fatalf("%v, %v: %s", jerr, err, out)
	}
	if report.Total != 6 || report.Failed != 2 || len(report.Tests) != 6 || len(report.Coverage) != 1 || report.Coverage[0].Percent != 100 {
		t.Errorf("json: got %+v", report)
	}
	out, err = runPolicy(t, "", "test", "own", "--format", "junit", "--run", "test_wrong")
	if exitOf(err) != exitFindings || !strings.Contains(out, `<testsuites tests="1" failures="1">`) {
		t.Errorf("junit: got %s, %v", out, err)
	}
}

const ownLint = `package sandgate.profiles.p

default allow := true
`

func TestPolicyLintFormats(t *testing.T) {
	inTempDir(t, map[string]string{
		"own/sandgate/main.rego": ownPolicy, "own/sandgate/profiles/p.rego": ownLint,
		"own/scenarios/bad.yaml": "profile: p\ncases:\n  - nam: x\n",
	})
	out, err := runPolicy(t, "", "lint", "own", "--format", "github", "--disable", "missing-metadata")
	if exitOf(err) != exitFindings {
		t.Fatal(err, out)
	}
	want := `::error file=own/sandgate/profiles/p.rego,line=3,col=1,title=default-allow::the default of allow allows%0Ainstead: the default stands for whatever is undefined, so it must deny
::error file=own/scenarios/bad.yaml,line=3,col=1,title=scenario-file::field nam not found%0Ainstead: see ` + "`sandgate policy test --help`" + ` for what a scenario file holds
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("github (-want +got):\n%s", diff)
	}
	for _, format := range []string{"json", "sarif"} {
		out, err := runPolicy(t, "", "lint", "own", "--format", format)
		if !json.Valid([]byte(out)) || exitOf(err) != exitFindings || !strings.Contains(out, `"default-allow"`) {
			t.Errorf("%s: got %s, %v", format, out, err)
		}
	}
	out, err = runPolicy(t, "", "lint", "own", "--disable", "missing-metadata", "--disable", "scenario-file")
	wantText := `own/sandgate/profiles/p.rego:3:1: error default-allow: the default of allow allows
    instead: the default stands for whatever is undefined, so it must deny
1 errors, 0 warnings
`
	if diff := cmp.Diff(wantText, out); diff != "" || exitOf(err) != exitFindings {
		t.Errorf("pretty (-want +got), %v:\n%s", err, diff)
	}
	if out, err := runPolicy(t, "", "lint", "--rules"); err != nil || !strings.Contains(out, "allow-from-empty-deny") {
		t.Errorf("--rules: got %s, %v", out, err)
	}
}

func TestPolicyMutateTellsOfSurvivors(t *testing.T) {
	inTempDir(t, map[string]string{"own/sandgate/main.rego": ownPolicy, "own/sandgate/main_test.rego": ownTests})
	out, err := runPolicy(t, "", "mutate", "own")
	if err != nil {
		t.Fatal(err, out)
	}
	for _, want := range []string{
		"own/sandgate/main.rego:7:2: drop-expression: survived", `    - input.tool.name == "bash"`, "    + (true)", "score",
		"%  own/sandgate/main.rego: ", "%  sandgate/: ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got %s, want %q in it", out, want)
		}
	}
	out, err = runPolicy(t, "", "mutate", "own", "--only", "own/sandgate", "--format", "json", "--threshold", "99.9")
	var report struct {
		Killed, Survived int
		Directories      []struct {
			Directory        string
			Killed, Survived int
		}
	}
	if jerr := json.Unmarshal([]byte(out), &report); jerr != nil || report.Killed == 0 || report.Survived == 0 || exitOf(err) != exitFindings {
		t.Errorf("json: got %s, %v", out, err)
	}
	if d := report.Directories; len(d) != 1 || d[0].Directory != "sandgate" || d[0].Killed != report.Killed || d[0].Survived != report.Survived {
		t.Errorf("directories: got %s, want one with all that was changed", out)
	}
}

func TestPolicyDiffTellsWhatChanges(t *testing.T) {
	inTempDir(t, map[string]string{
		"own/sandgate/main.rego": ownPolicy, "cases.tsv": "# x\nallow\tls\ta\ndeny\trm -rf .\tb\n",
	})
	out, err := runPolicy(t, "", "diff", "builtin", "own", "--corpus", "cases.tsv")
	if err != nil {
		t.Fatal(err, out)
	}
	for _, want := range []string{
		"widened 1: deny destructive-command -> allow own\n", "    cases.tsv:3: \"rm -rf .\"\n", "2 calls: 0 same, 2 widened",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got %s, want %q in it", out, want)
		}
	}
}

// TestPolicyTestWatches changes a file and waits for the tests to run again.
func TestPolicyTestWatches(t *testing.T) {
	inTempDir(t, map[string]string{"own/sandgate/main.rego": ownPolicy, "own/sandgate/main_test.rego": ownTests})
	out := &lines{ch: make(chan string, 100)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := newPolicyCommand()
	cmd.SetArgs([]string{"test", "own", "--watch"})
	cmd.SetOut(out)
	cmd.SetErr(out)
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	out.wait(t, "3 Rego tests, 0 failed")
	out.wait(t, "watching")
	if err := os.WriteFile("own/sandgate/main_test.rego", []byte(ownTests+"\ntest_wrong if false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out.wait(t, "4 Rego tests, 1 failed")
	stop()
	if err := <-done; err != nil {
		t.Errorf("after the interrupt: got %v", err)
	}
}

// lines hands out what is written.
type lines struct{ ch chan string }

func (l *lines) Write(p []byte) (int, error) {
	l.ch <- string(bytes.Clone(p))
	return len(p), nil
}

func (l *lines) wait(t *testing.T, want string) {
	t.Helper()
	for timeout := time.After(30 * time.Second); ; {
		select {
		case text := <-l.ch:
			if strings.Contains(text, want) {
				return
			}
		case <-timeout:
			t.Fatalf("no %q was written", want)
		}
	}
}
