package scenario

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteText writes each failing case with what was wanted and got, and a line
// per file. The results must be in the order of the files.
func WriteText(w io.Writer, results []Result) error {
	var b strings.Builder
	for at := 0; at < len(results); {
		file, failed, end := results[at].File, 0, at
		for ; end < len(results) && results[end].File == file; end++ {
			if r := results[end]; !r.Passed() {
				failed++
				writeFailure(&b, r)
			}
		}
		verdict := "ok  "
		if failed > 0 {
			verdict = "FAIL"
		}
		fmt.Fprintf(&b, "%s %s: %d cases, %d failed\n", verdict, file, end-at, failed)
		at = end
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeFailure(b *strings.Builder, r Result) {
	fmt.Fprintf(b, "--- %s:%d: %s\n", r.File, r.Case.Line, r.Case.Name)
	fmt.Fprintf(b, "    call %s %s\n", r.Case.Call.Tool, r.Case.Call.Args)
	for _, problem := range r.Problems {
		fmt.Fprintf(b, "    %s\n", problem)
	}
	for _, reason := range r.Got.Reasons {
		fmt.Fprintf(b, "    got rule %s: %s\n", reason.Rule, reason.Message)
	}
}

type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		Classname string        `xml:"classname,attr"`
		File      string        `xml:"file,attr"`
		Line      int           `xml:"line,attr,omitempty"`
		Time      string        `xml:"time,attr"`
		Failure   *junitFailure `xml:"failure"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// Extra is a test of another kind that goes into the same JUnit file.
type Extra struct {
	Suite, Name, File string
	Line              int
	Duration          time.Duration
	Failure           string // empty: passed
}

// WriteJUnit writes the results as JUnit XML, one testsuite per file.
func WriteJUnit(w io.Writer, results []Result, extra []Extra) error {
	all := make([]Extra, 0, len(results)+len(extra))
	for _, r := range results {
		all = append(all, Extra{
			Suite: r.File, Name: r.Case.Name, File: r.File, Line: r.Case.Line, Duration: r.Duration,
			Failure: strings.Join(r.Problems, "\n"),
		})
	}
	all = append(all, extra...)
	var doc junitSuites
	var spent time.Duration
	for _, t := range all {
		if n := len(doc.Suites); n == 0 || doc.Suites[n-1].Name != t.Suite {
			doc.Suites, spent = append(doc.Suites, junitSuite{Name: t.Suite}), 0
		}
		suite := &doc.Suites[len(doc.Suites)-1]
		c := junitCase{Name: t.Name, Classname: t.Suite, File: t.File, Line: t.Line, Time: seconds(t.Duration)}
		if t.Failure != "" {
			first, _, _ := strings.Cut(t.Failure, "\n")
			c.Failure = &junitFailure{Message: first, Text: t.Failure}
			suite.Failures++
			doc.Failures++
		}
		spent += t.Duration
		suite.Tests, suite.Time = suite.Tests+1, seconds(spent)
		suite.Cases = append(suite.Cases, c)
		doc.Tests++
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.6f", d.Seconds()) }
