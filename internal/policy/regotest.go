package policy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/tester"
)

// TestReport is what came of the Rego tests of a policy.
type TestReport struct {
	Source   string       `json:"source"`
	Tests    []TestResult `json:"tests"`
	Coverage *Coverage    `json:"coverage,omitempty"`
}

// TestResult is one Rego test, or one case of a table test.
type TestResult struct {
	Package  string        `json:"package"`
	Name     string        `json:"name"`
	File     string        `json:"file"`
	Line     int           `json:"line"`
	Skipped  bool          `json:"skipped,omitempty"`
	Failure  string        `json:"failure,omitempty"` // empty: passed or skipped
	Output   string        `json:"output,omitempty"`  // of print
	Duration time.Duration `json:"duration"`
}

// Coverage counts the lines of the policy that its tests evaluated; the tests
// themselves do not count.
type Coverage struct {
	Percent float64       `json:"percent"`
	Lines   int           `json:"lines"`
	Covered int           `json:"covered"`
	Files   []FileCovered `json:"files"`
	Missing []FileMissing `json:"missing,omitempty"`
}

// FileCovered is the coverage of one file.
type FileCovered struct {
	File    string  `json:"file"`
	Lines   int     `json:"lines"`
	Covered int     `json:"covered"`
	Percent float64 `json:"percent"`
}

// FileMissing are the lines of a file that no test evaluated, as "12" or "12-14".
type FileMissing struct {
	File  string   `json:"file"`
	Lines []string `json:"lines"`
}

// Failed counts the failing tests.
func (r TestReport) Failed() int {
	n := 0
	for _, t := range r.Tests {
		if t.Failure != "" {
			n++
		}
	}
	return n
}

// TestOptions of RunTests.
type TestOptions struct {
	// Coverage also tells which lines of the policy the tests evaluate.
	Coverage bool
	// Run takes only the tests whose package and name match this expression.
	Run string
}

// RunTests runs the Rego tests (test_ rules) of the policy in dir, or of the
// default library for "", under the rules that the daemon loads policies with:
// strict, typed by the input schema, without forbidden built-ins. An error means
// that the policy cannot be loaded; a failing test is in the report.
func RunTests(ctx context.Context, dir string, opts TestOptions) (TestReport, error) {
	src, err := readSources(dir)
	if err != nil {
		return TestReport{}, err
	}
	caps := capabilities()
	mods, err := src.modules(caps, true)
	if err != nil {
		return TestReport{}, err
	}
	store, err := src.store()
	if err != nil {
		return TestReport{}, err
	}
	// The runner compiles anew with what tests need; this is what the daemon would say.
	compiler, err := compile(ctx, mods, store, caps)
	if err != nil {
		return TestReport{}, err
	}
	report := TestReport{Source: src.name}
	tracer := cover.New()
	runner := tester.NewRunner().SetCompiler(newTestCompiler(caps)).SetStore(store).SetModules(mods).
		RaiseBuiltinErrors(true).CapturePrintOutput(true).SetTimeout(time.Minute)
	if opts.Run != "" {
		runner = runner.Filter(opts.Run)
	}
	if opts.Coverage {
		// The supplementary passes tell why a line is not covered, at three times the cost.
		runner.SetCoverageQueryTracer(tracer).SetCoverageRuns(nil)
	} else {
		runner = runner.SetParallel(runtime.GOMAXPROCS(0)) // coverage has one tracer
	}
	if report.Tests, err = runTests(ctx, runner, store); err != nil {
		return TestReport{}, err
	}
	if opts.Coverage {
		report.Coverage = coverageOf(tracer, compiler.Modules)
	}
	return report, nil
}

func newTestCompiler(caps *ast.Capabilities) *ast.Compiler {
	return ast.NewCompiler().WithCapabilities(caps).WithStrict(true).WithEnablePrintStatements(true)
}

func runTests(ctx context.Context, runner *tester.Runner, store storage.Store) (_ []TestResult, err error) {
	txn, err := store.NewTransaction(ctx, storage.WriteParams)
	if err != nil {
		return nil, err
	}
	defer store.Abort(ctx, txn)
	ch, err := runner.RunTests(ctx, txn)
	if err != nil {
		return nil, fmt.Errorf("run tests: %w", err)
	}
	var results []TestResult
	for r := range ch {
		results = append(results, flatten(r)...)
	}
	slices.SortFunc(results, func(a, b TestResult) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Name, b.Name))
	})
	return results, ctx.Err()
}

// flatten makes one result of a test, or one of each case of a table test.
func flatten(r *tester.Result) []TestResult {
	one := TestResult{
		Package: r.Package, Name: r.Name, File: r.Location.File, Line: r.Location.Row,
		Skipped: r.Skip, Output: string(r.Output), Duration: r.Duration,
	}
	var cases []TestResult
	for path, sub := range r.SubResults.Iter {
		if len(sub.SubResults) > 0 {
			continue
		}
		c := one
		c.Name, c.Output, c.Duration = r.Name+"/"+strings.Join(path, "/"), "", r.Duration/time.Duration(max(1, len(r.SubResults)))
		if sub.Fail {
			c.Failure = "the case is false or undefined"
		}
		cases = append(cases, c)
	}
	switch {
	case r.Error != nil:
		one.Failure = r.Error.Error()
	case r.Fail && !slices.ContainsFunc(cases, func(c TestResult) bool { return c.Failure != "" }):
		one.Failure = "the test is false or undefined"
	case len(cases) > 0:
		return cases
	}
	return []TestResult{one}
}

func coverageOf(tracer *cover.Cover, mods map[string]*ast.Module) *Coverage {
	report := tracer.Report(mods)
	out := &Coverage{}
	for file, r := range report.Files {
		if strings.HasSuffix(file, "_test.rego") {
			continue
		}
		missing := FileMissing{File: file}
		out.Covered += r.CoveredLines
		out.Lines += r.CoveredLines + r.NotCoveredLines
		lines := r.CoveredLines + r.NotCoveredLines
		out.Files = append(out.Files, FileCovered{
			File: file, Lines: lines, Covered: r.CoveredLines, Percent: 100 * float64(r.CoveredLines) / float64(max(1, lines)),
		})
		missing.Lines = rowRanges(r.NotCovered)
		if len(missing.Lines) > 0 {
			out.Missing = append(out.Missing, missing)
		}
	}
	if out.Lines > 0 {
		out.Percent = 100 * float64(out.Covered) / float64(out.Lines)
	}
	slices.SortFunc(out.Files, func(a, b FileCovered) int { return cmp.Compare(a.File, b.File) })
	slices.SortFunc(out.Missing, func(a, b FileMissing) int { return cmp.Compare(a.File, b.File) })
	return out
}

// rowRanges joins ranges that touch: "3-5", "9".
func rowRanges(spans []cover.Range) []string {
	rows := map[int]bool{}
	for _, span := range spans {
		for row := span.Start.Row; row <= span.End.Row; row++ {
			rows[row] = true
		}
	}
	var texts []string
	for _, row := range slices.Sorted(maps.Keys(rows)) {
		if rows[row-1] {
			continue
		}
		end := row
		for rows[end+1] {
			end++
		}
		if end == row {
			texts = append(texts, fmt.Sprint(row))
			continue
		}
		texts = append(texts, fmt.Sprintf("%d-%d", row, end))
	}
	return texts
}
