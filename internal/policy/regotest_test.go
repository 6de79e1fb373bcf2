package policy

import (
	"strings"
	"testing"
)

// minCoverage is what the issue demands of the default library.
const minCoverage = 95

// Coverage takes two minutes under the race detector and has one goroutine: `go test`
// without it and `make policy-test` look at all.
func TestRegoTestsOfTheDefaultLibrary(t *testing.T) {
	if raced {
		report, err := RunTests(t.Context(), "", TestOptions{Run: `^data\.sandgate\.lib\.`})
		if err != nil || len(report.Tests) < 100 || report.Failed() > 0 {
			t.Errorf("tests of lib: got %d, %d failed, %v; want 100 and none", len(report.Tests), report.Failed(), err)
		}
		return
	}
	report, err := RunTests(t.Context(), "", TestOptions{Coverage: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Tests {
		if r.Failure != "" {
			t.Errorf("%s:%d: %s: %s %s", r.File, r.Line, r.Name, r.Failure, r.Output)
		}
	}
	if len(report.Tests) < 100 {
		t.Errorf("got %d tests: are they found?", len(report.Tests))
	}
	for _, m := range report.Coverage.Missing {
		t.Logf("not covered: %s: %s", m.File, strings.Join(m.Lines, ", "))
	}
	t.Logf("coverage: %.1f %% of %d lines", report.Coverage.Percent, report.Coverage.Lines)
	if report.Coverage.Percent < minCoverage {
		t.Errorf("coverage: got %.1f %%, want at least %d %%", report.Coverage.Percent, minCoverage)
	}
}

func TestRunTestsTellsFailures(t *testing.T) {
	dir := t.TempDir()
	files := policyOf(allowAnswer)
	files["main_test.rego"] = `package sandgate_test

test_passes if data.sandgate.decision.outcome == "deny"

test_fails if {
	print("seen")
	data.sandgate.decision.outcome == "allow"
}

test_table[note] if {
	some note, n in {"one": 1, "two": 2}
	n == 1
}

test_breaks if count(input.call.args) / 0 == 1 with input as {"call": {"args": {}}}

todo_later if false
`
	writePolicy(t, dir, files)
	report, err := RunTests(t.Context(), dir, TestOptions{Coverage: true})
	if err != nil {
		t.Fatal(err)
	}
	failures := map[string]string{}
	for _, r := range report.Tests {
		failures[r.Name] = r.Failure
		if r.Name == "test_fails" && (!strings.Contains(r.Output, "seen") || r.Line == 0 || !strings.HasSuffix(r.File, "main_test.rego")) {
			t.Errorf("test_fails: got %+v", r)
		}
	}
	if failures["test_passes"] != "" || failures["test_fails"] == "" || failures["test_table/two"] == "" ||
		failures["test_table/one"] != "" || !strings.Contains(failures["test_breaks"], "divide by zero") {
		t.Errorf("got %+v", report.Tests)
	}
	if got := report.Failed(); got != 3 {
		t.Errorf("failed: got %d, want 3", got)
	}
	if c := report.Coverage; c == nil || c.Percent <= 0 || c.Percent >= 100 || len(c.Missing) != 1 {
		t.Errorf("coverage: got %+v", c)
	}
}

func TestRunTestsRefusesABadPolicy(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"syntax":    {"main.rego": "package sandgate\nx := {"},
		"http.send": {"main.rego": "package sandgate\nx := http.send({})", "main_test.rego": "package sandgate_test\ntest_x if true"},
	} {
		dir := t.TempDir()
		writePolicy(t, dir, files)
		if report, err := RunTests(t.Context(), dir, TestOptions{}); err == nil {
			t.Errorf("%s: got %+v, want an error", name, report)
		}
	}
}
