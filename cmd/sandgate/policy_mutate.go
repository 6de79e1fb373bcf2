package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/mutate"
	"github.com/sandgate/sandgate/internal/scenario"
)

// mutateFlags are those of `sandgate policy mutate`.
type mutateFlags struct {
	toolsDir  string
	format    string
	threshold float64
	opts      mutate.Options
}

func newPolicyMutateCommand() *cobra.Command {
	var flags mutateFlags
	cmd := &cobra.Command{
		Use:   "mutate [DIR]",
		Short: "Test the tests: change the policy and see whether they notice",
		Long: `Change the policy in small ways, one at a time, and run its Rego tests,
scenarios (scenarios/) and labelled commands (testdata/*.tsv) on each change:
a rule or an expression is dropped, a comparison or an outcome is flipped, a
text, a number or a member of a set is altered. A change that no test notices is
reported: either a test is missing, or the policy says more than it needs.

Changes that do not compile, or that compile to the same policy, do not count.
The score is the percentage of the others that is noticed; it is told of each
file, of each directory at the top of the policy, and of all that was changed,
which is what --threshold asks about. Without DIR the library that is built in is
tried.` + exitCodesHelp,
		Example: `  sandgate policy mutate policies/ --threshold 90
  sandgate policy mutate policies/ --only profiles/readonly.rego --only cookbook/no_sudo
  sandgate policy mutate policies/ --sample 200 --seed 7 --format github`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := ""
			if len(args) == 1 {
				dir = args[0]
			}
			return runPolicyMutate(cmd, &flags, dir)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&flags.toolsDir, "tools", "", "directory with the declarations of your own tools")
	fl.StringVar(&flags.format, "format", "pretty", "pretty, json or github (annotations)")
	fl.Float64Var(&flags.threshold, "threshold", 0, "fail below this score in percent")
	fl.StringArrayVar(&flags.opts.Only, "only", nil, "change only this file or directory of the policy; may be repeated")
	fl.IntVar(&flags.opts.Sample, "sample", 0, "try only that many of the changes")
	fl.Uint64Var(&flags.opts.Seed, "seed", 1, "of the sample: the same seed takes the same changes")
	fl.DurationVar(&flags.opts.CheckTimeout, "test-timeout", 5*time.Second, "of one test on one change; a change that takes longer is noticed")
	fl.IntVar(&flags.opts.Workers, "workers", 0, "changes that are tried at a time (default: one per processor)")
	return cmd
}

func runPolicyMutate(cmd *cobra.Command, flags *mutateFlags, dir string) error {
	if err := checkFormat(flags.format, "pretty", "json", "github"); err != nil {
		return err
	}
	if flags.threshold < 0 || flags.threshold > 100 {
		return fmt.Errorf("--threshold %g: want a percentage, 0 to 100", flags.threshold)
	}
	src, err := policy.OpenSource(dir)
	if err != nil {
		return err
	}
	engine, err := newPolicyEngine(cmd, dir)
	if err != nil {
		return err
	}
	tools, err := catalog.New(catalog.Options{Dir: flags.toolsDir})
	if err != nil {
		return err
	}
	opts := flags.opts
	opts.Runner = scenario.Runner{Engine: engine, Catalog: tools}
	if opts.Suites, err = suitesOf(dir); err != nil {
		return err
	}
	if p := newPalette(cmd.ErrOrStderr()); p.on {
		opts.Progress = func(done, all int) {
			if done%10 == 0 || done == all {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "\r%d of %d changes tried", done, all) // only a courtesy
			}
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // many short compilations, little that stays
	report, err := mutate.Run(cmd.Context(), src, opts)
	if err != nil {
		return err
	}
	if err := writeMutants(cmd.OutOrStdout(), flags.format, report); err != nil {
		return err
	}
	if report.Score < flags.threshold {
		return findings(fmt.Sprintf("the score is %.1f %%, at least %g %% is wanted", report.Score, flags.threshold))
	}
	return nil
}

func writeMutants(w io.Writer, format string, r mutate.Report) error {
	var b strings.Builder
	switch format {
	case "json":
		return writeIndented(w, r)
	case "github":
		for _, m := range r.Survivors {
			fmt.Fprintf(&b, "::warning file=%s,line=%d,col=%d,title=%s::%s\n", githubEscape(m.File, true), m.Line, m.Col, m.Kind,
				githubEscape(fmt.Sprintf("no test notices that %s becomes %s", m.Old, orGone(m.New)), false))
		}
	default:
		p := newPalette(w)
		for _, m := range r.Survivors {
			fmt.Fprintf(&b, "%s %s: survived %d tests\n", p.bold(fmt.Sprintf("%s:%d:%d:", m.File, m.Line, m.Col)), m.Kind, m.Tests)
			fmt.Fprintf(&b, "    %s\n    %s\n", p.red("- "+m.Old), p.green("+ "+orGone(m.New)))
		}
		for _, f := range r.Files {
			writeTally(&b, f.File, f.Tally)
		}
		for _, d := range r.Directories {
			writeTally(&b, d.Directory+"/", d.Tally)
		}
	}
	fmt.Fprintf(&b, "%s: %d of %d changes noticed by %d tests, score %.1f %% (%d did not compile, %d were no change; %s)\n",
		r.Source, r.Killed, r.Killed+r.Survived, r.Checks, r.Score, r.Invalid, r.Equivalent, r.Duration.Round(100*time.Millisecond))
	_, err := io.WriteString(w, b.String())
	return err
}

func writeTally(b *strings.Builder, name string, t mutate.Tally) {
	fmt.Fprintf(b, "%6.1f %%  %s: %d of %d noticed\n", t.Score, name, t.Killed, t.Killed+t.Survived)
}

func orGone(s string) string {
	if s == "" {
		return "(gone)"
	}
	return s
}
