package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/scenario"
)

// write prints what came of the tests in the chosen form.
func (r *suiteRun) write(w io.Writer) error {
	switch r.flags.format {
	case "json":
		return writeIndented(w, r.report())
	case "junit":
		return scenario.WriteJUnit(w, r.results, r.rego)
	case "github":
		return r.writeGitHub(w)
	}
	if _, err := io.WriteString(w, r.text.String()); err != nil {
		return err
	}
	return scenario.WriteText(w, r.results)
}

// testJSON is `sandgate policy test --format json`.
type testJSON struct {
	Total    int              `json:"total"`
	Failed   int              `json:"failed"`
	Tests    []testResultJSON `json:"tests"`
	Coverage []coverageJSON   `json:"coverage,omitempty"`
}

type testResultJSON struct {
	Suite      string   `json:"suite"` // the scenario file or the Rego package
	Name       string   `json:"name"`
	File       string   `json:"file"`
	Line       int      `json:"line"`
	Passed     bool     `json:"passed"`
	Problems   []string `json:"problems,omitempty"`
	DurationMs float64  `json:"duration_ms"`
}

type coverageJSON struct {
	Source string `json:"source"`
	*policy.Coverage
}

func (r *suiteRun) report() testJSON {
	out := testJSON{Total: r.total, Failed: r.failed, Tests: []testResultJSON{}}
	for _, t := range r.rego {
		one := testResultJSON{
			Suite: t.Suite, Name: t.Name, File: t.File, Line: t.Line, Passed: t.Failure == "",
			DurationMs: float64(t.Duration.Microseconds()) / 1000,
		}
		if t.Failure != "" {
			one.Problems = []string{t.Failure}
		}
		out.Tests = append(out.Tests, one)
	}
	for _, t := range r.results {
		out.Tests = append(out.Tests, testResultJSON{
			Suite: t.File, Name: t.Case.Name, File: t.File, Line: t.Case.Line, Passed: t.Passed(), Problems: t.Problems,
			DurationMs: float64(t.Duration.Microseconds()) / 1000,
		})
	}
	for _, report := range r.reports {
		if report.Coverage != nil {
			out.Coverage = append(out.Coverage, coverageJSON{report.Source, report.Coverage})
		}
	}
	return out
}

// writeGitHub writes an annotation for each failure.
func (r *suiteRun) writeGitHub(w io.Writer) error {
	var b strings.Builder
	for _, t := range r.report().Tests {
		if !t.Passed {
			fmt.Fprintf(&b, "::error file=%s,line=%d,title=%s::%s\n", githubEscape(t.File, true), t.Line,
				githubEscape(t.Name, true), githubEscape(strings.Join(t.Problems, "\n"), false))
		}
	}
	for _, report := range r.reports {
		if c := report.Coverage; c != nil && c.Percent < r.flags.threshold {
			fmt.Fprintf(&b, "::error title=coverage::%s\n",
				githubEscape(fmt.Sprintf("%s: coverage %.1f %%, at least %g %% is wanted", report.Source, c.Percent, r.flags.threshold), false))
		}
	}
	fmt.Fprintf(&b, "%d tests, %d failed\n", r.total, r.failed)
	_, err := io.WriteString(w, b.String())
	return err
}
