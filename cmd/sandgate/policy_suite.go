package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/scenario"
)

// suiteFlags are those of `sandgate policy test`.
type suiteFlags struct {
	dir       string
	toolsDir  string
	junit     string
	coverage  bool
	threshold float64
	verbose   bool
	format    string
	only      string
	emptyIsOK bool
	watch     bool
}

func newPolicyTestCommand() *cobra.Command {
	var flags suiteFlags
	cmd := &cobra.Command{
		Use:   "test [FILE|DIR]...",
		Short: "Run scenario files and Rego tests",
		Long: `Run the tests of policies, print each failing case with what was wanted and
what was got, and exit with an error if there is one.

A FILE is a scenario file. A DIR that holds Rego is a policy: its Rego tests are
run, and its scenarios: the files in its folders "scenarios" and "testdata", and
those called scenario.yaml. Any other DIR is searched for scenario files (*.yaml). Scenarios are decided by the policy of --policy; by
default by the policy of the DIR they are in, or else by the library that is
built in. With neither FILE nor DIR the policy of --policy, or the library that
is built in, is tested itself. Files that end in .tsv are labelled commands.` + exitCodesHelp,
		Example: `  sandgate policy test cases.yaml
  sandgate policy test ./my-policy --coverage --threshold 95 --junit report.xml
  sandgate policy test cases/ --policy ./candidate`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.watch {
				return watchPolicyTests(cmd, flags, args)
			}
			return runPolicyTests(cmd, flags, args)
		},
	}
	registerPolicyDir(cmd, &flags.dir)
	cmd.Flags().StringVar(&flags.toolsDir, "tools", "", "directory with the declarations of your own tools")
	cmd.Flags().StringVar(&flags.junit, "junit", "", "write the results as JUnit XML to this file as well")
	cmd.Flags().BoolVar(&flags.coverage, "coverage", false, "tell which lines of Rego the Rego tests evaluate")
	cmd.Flags().Float64Var(&flags.threshold, "threshold", 0, "fail below this coverage in percent; implies --coverage")
	cmd.Flags().StringVar(&flags.format, "format", "pretty", "pretty, json, junit or github (annotations)")
	cmd.Flags().StringVar(&flags.only, "run", "", "run only the tests and cases whose name matches this regular expression")
	cmd.Flags().BoolVar(&flags.emptyIsOK, "allow-empty", false, "do not fail when there are no tests")
	cmd.Flags().BoolVarP(&flags.watch, "watch", "w", false, "run again whenever a file changes, until interrupted")
	cmd.Flags().BoolVarP(&flags.verbose, "verbose", "v", false, "print passing cases too")
	return cmd
}

// suiteRun gathers what was run.
type suiteRun struct {
	cmd     *cobra.Command
	flags   suiteFlags
	tools   *catalog.Catalog
	engines map[string]*policy.Engine

	only    *regexp.Regexp
	text    strings.Builder // of the Rego tests, for people
	reports []policy.TestReport
	results []scenario.Result
	rego    []scenario.Extra
	total   int
	failed  int
}

func runPolicyTests(cmd *cobra.Command, flags suiteFlags, args []string) error {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // many decisions, little that stays
	if flags.threshold < 0 || flags.threshold > 100 {
		return fmt.Errorf("--threshold %g: want a percentage, 0 to 100", flags.threshold)
	}
	if err := checkFormat(flags.format, "pretty", "json", "junit", "github"); err != nil {
		return err
	}
	only, err := regexp.Compile(flags.only)
	if err != nil {
		return fmt.Errorf("--run: %w", err)
	}
	flags.coverage = flags.coverage || flags.threshold > 0
	tools, err := catalog.New(catalog.Options{Dir: flags.toolsDir})
	if err != nil {
		return err
	}
	run := &suiteRun{cmd: cmd, flags: flags, only: only, tools: tools, engines: map[string]*policy.Engine{}}
	if err := run.all(args); err != nil {
		return err
	}
	for _, r := range run.results {
		run.total++
		if !r.Passed() {
			run.failed++
		}
	}
	if err := run.write(cmd.OutOrStdout()); err != nil {
		return err
	}
	if flags.junit != "" {
		if err := run.writeJUnit(); err != nil {
			return err
		}
	}
	switch {
	case run.total == 0 && !flags.emptyIsOK:
		return findings("no tests were found")
	case run.failed > 0:
		return findings(fmt.Sprintf("%d of %d tests failed", run.failed, run.total))
	}
	return nil
}

func (r *suiteRun) all(args []string) error {
	if len(args) == 0 && r.flags.dir == "" {
		if err := r.regoTests(""); err != nil {
			return err
		}
		return r.suites(func() ([]scenario.Suite, error) { return suitesOf("") }, "")
	}
	if len(args) == 0 {
		args = []string{r.flags.dir}
	}
	for _, arg := range args {
		if err := r.one(arg); err != nil {
			return err
		}
	}
	return nil
}

func (r *suiteRun) one(arg string) error {
	info, err := os.Stat(arg)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		suite, err := readSuiteFile(arg)
		if err != nil {
			return err
		}
		return r.suite(suite, r.flags.dir)
	}
	isPolicy, err := holdsRego(arg)
	if err != nil {
		return err
	}
	if !isPolicy {
		return r.suites(func() ([]scenario.Suite, error) { return suitesIn(os.DirFS(arg), ".", arg) }, r.flags.dir)
	}
	if err := r.regoTests(arg); err != nil {
		return err
	}
	by := r.flags.dir
	if by == "" {
		by = arg
	}
	return r.suites(func() ([]scenario.Suite, error) { return suitesOf(arg) }, by)
}

func holdsRego(dir string) (bool, error) {
	found := errors.New("found")
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(d.Name(), ".rego") {
			return found
		}
		return err
	})
	if errors.Is(err, found) {
		return true, nil
	}
	return false, err
}

// suites runs scenario files by the policy of a directory.
func (r *suiteRun) suites(read func() ([]scenario.Suite, error), by string) error {
	suites, err := read()
	if err != nil {
		return err
	}
	for _, suite := range suites {
		if err := r.suite(suite, by); err != nil {
			return err
		}
	}
	return nil
}

func (r *suiteRun) suite(suite scenario.Suite, by string) (err error) {
	engine, ok := r.engines[by]
	if !ok {
		if engine, err = newPolicyEngine(r.cmd, by); err != nil {
			return err
		}
		r.engines[by] = engine
	}
	if r.flags.only != "" {
		suite.Cases = slices.DeleteFunc(suite.Cases, func(c scenario.Case) bool { return !r.only.MatchString(c.Name) })
	}
	runner := scenario.Runner{Engine: engine, Catalog: r.tools}
	results := runner.Run(r.cmd.Context(), suite)
	if r.flags.verbose {
		for _, res := range results {
			if res.Passed() {
				if _, err := fmt.Fprintf(&r.text, "pass %s:%d: %s\n", suite.File, res.Case.Line, res.Case.Name); err != nil {
					return err
				}
			}
		}
	}
	r.results = append(r.results, results...)
	return nil
}

// regoTests runs the Rego tests of a policy directory.
func (r *suiteRun) regoTests(dir string) error {
	report, err := policy.RunTests(r.cmd.Context(), dir, policy.TestOptions{Coverage: r.flags.coverage, Run: r.flags.only})
	if err != nil {
		return err
	}
	b := &r.text
	r.reports = append(r.reports, report)
	for _, t := range report.Tests {
		r.rego = append(r.rego, scenario.Extra{
			Suite: t.Package, Name: t.Name, File: t.File, Line: t.Line, Duration: t.Duration, Failure: t.Failure,
		})
		switch {
		case t.Failure != "":
			fmt.Fprintf(b, "--- %s:%d: %s\n    %s\n", t.File, t.Line, t.Name, t.Failure)
			if t.Output != "" {
				fmt.Fprintf(b, "    printed: %s\n", strings.TrimSpace(t.Output))
			}
		case r.flags.verbose:
			fmt.Fprintf(b, "pass %s:%d: %s\n", t.File, t.Line, t.Name)
		}
	}
	verdict := "ok  "
	if report.Failed() > 0 {
		verdict = "FAIL"
	}
	fmt.Fprintf(b, "%s %s: %d Rego tests, %d failed\n", verdict, report.Source, len(report.Tests), report.Failed())
	r.total, r.failed = r.total+len(report.Tests), r.failed+report.Failed()
	if c := report.Coverage; c != nil {
		r.writeCoverage(b, report.Source, c)
	}
	return nil
}

func (r *suiteRun) writeCoverage(b *strings.Builder, source string, c *policy.Coverage) {
	for _, f := range c.Files {
		if f.Lines > 0 {
			fmt.Fprintf(b, "     %5.1f %%  %s\n", f.Percent, f.File)
		}
	}
	for _, m := range c.Missing {
		fmt.Fprintf(b, "     not covered: %s: %s\n", m.File, strings.Join(m.Lines, ", "))
	}
	verdict := "ok  "
	if c.Percent < r.flags.threshold {
		verdict = "FAIL"
		r.failed++
	}
	if r.flags.threshold > 0 {
		r.total++
	}
	fmt.Fprintf(b, "%s %s: coverage %.1f %% of %d lines", verdict, source, c.Percent, c.Lines)
	if r.flags.threshold > 0 {
		fmt.Fprintf(b, ", at least %g %% is wanted", r.flags.threshold)
	}
	b.WriteByte('\n')
}

func (r *suiteRun) writeJUnit() (err error) {
	f, err := os.OpenFile(r.flags.junit, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("--junit: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return scenario.WriteJUnit(f, r.results, r.rego)
}
