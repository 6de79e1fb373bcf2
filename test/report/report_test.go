package main

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const events = `{"Action":"start","Package":"example/a"}
{"Action":"run","Package":"example/a","Test":"TestGood"}
{"Action":"output","Package":"example/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"pass","Package":"example/a","Test":"TestGood","Elapsed":0.01}
{"Action":"output","Package":"example/a","Test":"TestRoot","Output":"=== RUN   TestRoot\n"}
{"Action":"output","Package":"example/a","Test":"TestRoot","Output":"    a_test.go:12: needs root\n"}
{"Action":"output","Package":"example/a","Test":"TestRoot","Output":"--- SKIP: TestRoot (0.00s)\n"}
{"Action":"skip","Package":"example/a","Test":"TestRoot","Elapsed":0}
{"Action":"pass","Package":"example/a","Elapsed":0.5}
{"Action":"output","Package":"example/b","Test":"TestBad","Output":"    b_test.go:3: got 1, want 2\n"}
{"Action":"fail","Package":"example/b","Test":"TestBad","Elapsed":0.02}
{"Action":"fail","Package":"example/b","Elapsed":0.1}
{"Action":"skip","Package":"example/empty","Elapsed":0}
{"ImportPath":"example/c","Action":"build-output","Output":"c.go:1: syntax error\n"}
`

// collect feeds the text to a collector and returns it with what it printed.
func collect(t *testing.T, text string) (*collector, string) {
	t.Helper()
	var out bytes.Buffer
	c := newCollector(&out)
	if err := eachLine(strings.NewReader(text), c.line); err != nil {
		t.Fatal(err)
	}
	return c, out.String()
}

func TestCollectorKeepsEveryEnd(t *testing.T) {
	c, out := collect(t, events)
	want := []result{
		{Package: "example/a", Test: "TestGood", Action: "pass"},
		{Package: "example/a", Test: "TestRoot", Action: "skip", Reason: "needs root"},
		{Package: "example/b", Test: "TestBad", Action: "fail"},
		{Package: "example/b", Action: "fail"},
	}
	if diff := cmp.Diff(want, c.results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	for _, line := range []string{"--- PASS: TestGood (0.01s)\n", "ok  \texample/a\t0.500s\t(2 tests)\n", "got 1, want 2\n", "FAIL\texample/b", "c.go:1: syntax error\n"} {
		if !strings.Contains(out, line) {
			t.Errorf("output lacks %q:\n%s", line, out)
		}
	}
}

func TestCollectorPassesOnWhatIsNoEvent(t *testing.T) {
	if _, out := collect(t, "# example/c\nplain text"); out != "# example/c\nplain text" {
		t.Errorf("got %q, want the text unchanged", out)
	}
}

func TestCollectorShowsWhatATestSaidThatNeverEnded(t *testing.T) {
	_, out := collect(t, `{"Action":"output","Package":"p","Test":"TestHangs","Output":"panic: test timed out\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t600s\n"}
{"Action":"fail","Package":"p","Elapsed":600}
`)
	if want := "panic: test timed out\nFAIL\tp\t600s\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestSummaryCountsATestThatRanElsewhereAsRun(t *testing.T) {
	skip := result{Package: "p", Test: "TestRoot", Action: "skip", Reason: "needs root"}
	pass := result{Package: "p", Test: "TestRoot", Action: "pass"}
	if got := newSummary([]runRecord{{Results: []result{skip}}, {Results: []result{pass}}}).skipped; len(got) != 0 {
		t.Errorf("skipped = %v, want none", got)
	}
	if got := newSummary([]runRecord{{Results: []result{skip}}}).skipped["needs root"]; !cmp.Equal(got, []string{"p.TestRoot"}) {
		t.Errorf("skipped = %v, want p.TestRoot", got)
	}
}

func TestTotalFailsWithoutRunsAndWithAFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	if code := printTotal(io.Discard, path); code != exitFailed {
		t.Errorf("no record: exit code %d, want %d", code, exitFailed)
	}
	if err := appendRecord(path, runRecord{Label: "one", Results: []result{{Package: "p", Test: "TestGood", Action: "pass"}}}); err != nil {
		t.Fatal(err)
	}
	if code := printTotal(io.Discard, path); code != 0 {
		t.Errorf("one passed test: exit code %d, want 0", code)
	}
	if err := appendRecord(path, runRecord{Label: "two", Results: []result{{Package: "p", Action: "fail"}}}); err != nil {
		t.Fatal(err)
	}
	if code := printTotal(io.Discard, path); code != exitFailed {
		t.Errorf("a failed package: exit code %d, want %d", code, exitFailed)
	}
}
