package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// event is one line of `go test -json`, as `go doc test2json` describes it.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output and build-fail
	Test       string
	Output     string
	Elapsed    float64
}

// result is how one test (also a subtest), or a package without one, ended.
type result struct {
	Package string `json:"package"`
	Test    string `json:"test,omitempty"`
	Action  string `json:"action"` // pass, fail or skip
	Reason  string `json:"reason,omitempty"`
}

// collector turns events into results and prints them on the way.
type collector struct {
	out     io.Writer
	results []result
	output  map[string][]string // of tests that have not ended yet, by package and test
	counts  map[string]int      // tests that ended, by package
}

func newCollector(out io.Writer) *collector {
	return &collector{out: out, output: map[string][]string{}, counts: map[string]int{}}
}

// line takes one line of go test's output. What is not an event is passed on.
func (c *collector) line(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		c.printf("%s", line)
		return
	}
	key := e.Package + "\x00" + e.Test
	switch e.Action {
	case "build-output":
		c.printf("%s", e.Output)
	case "output":
		c.output[key] = append(c.output[key], e.Output)
	case "pass", "fail", "skip":
		c.end(e, c.output[key])
		delete(c.output, key)
	}
}

// end records and prints the end of a test or of a package.
func (c *collector) end(e event, output []string) {
	if e.Test == "" {
		c.endPackage(e, output)
		return
	}
	c.counts[e.Package]++
	r := result{Package: e.Package, Test: e.Test, Action: e.Action}
	if e.Action == "skip" {
		r.Reason = skipReason(output)
	}
	c.results = append(c.results, r)
	switch {
	case e.Action == "fail":
		c.printf("%s", strings.Join(output, ""))
	case !strings.Contains(e.Test, "/"):
		c.printf("--- %s: %s (%.2fs)\n", strings.ToUpper(e.Action), e.Test, e.Elapsed)
	}
}

func (c *collector) endPackage(e event, output []string) {
	switch {
	case e.Action == "fail":
		// A package can fail without a failed test: a build, a panic, os.Exit.
		c.results = append(c.results, result{Package: e.Package, Action: e.Action})
		text := c.unfinished(e.Package) + strings.Join(output, "")
		c.printf("%s", text)
		if line := "FAIL\t" + e.Package; !strings.Contains(text, line) {
			c.printf("%s\t%.3fs\n", line, e.Elapsed)
		}
	case c.counts[e.Package] == 0:
		// Packages without tests would only be noise.
	default:
		c.printf("ok  \t%s\t%.3fs\t(%d tests)\n", e.Package, e.Elapsed, c.counts[e.Package])
	}
}

// unfinished is the output of the tests of a package that never ended: those
// that a panic or the time-out of go test cut short.
func (c *collector) unfinished(pkg string) string {
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(c.output)) {
		if strings.HasPrefix(key, pkg+"\x00") && key != pkg+"\x00" {
			text.WriteString(strings.Join(c.output[key], ""))
			delete(c.output, key)
		}
	}
	return text.String()
}

func (c *collector) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, format, args...)
}

// position is what testing puts before a message: "    name_test.go:12: ".
var position = regexp.MustCompile(`^\s*[\w.-]+\.go:\d+: `)

// skipReason is what the test said on skipping: its last own line of output.
func skipReason(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		return position.ReplaceAllString(line, "")
	}
	return "no reason given"
}
