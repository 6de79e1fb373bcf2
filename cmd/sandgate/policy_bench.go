package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/measure"
	"github.com/sandgate/sandgate/internal/policy/replay"
	"github.com/sandgate/sandgate/internal/scenario"
)

// maxBenchCalls bounds the calls that are kept in memory.
const maxBenchCalls = 2_000

// benchReport is what `sandgate policy bench` tells.
type benchReport struct {
	measure.Report
	// Baseline and Ratio (of the typical time, and of the allocations) only with --baseline.
	Baseline    *measure.Report `json:"baseline,omitempty"`
	Ratio       float64         `json:"ratio,omitempty"`
	AllocsRatio float64         `json:"allocs_ratio,omitempty"`
}

type benchFlags struct {
	dir, baseline, toolsDir, format string
	corpus                          []string
	count, slowest                  int
	maxRatio                        float64
}

func newPolicyBenchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what decisions of a policy cost",
		Long: `Decide the calls of a corpus in turn and tell what a decision takes: time (half of
them less than p50, 99 % less than p99), allocations, and the lines of Rego that OPA's
profiler finds the slowest. The facts of the calls are derived before and do not count;
that a daemon keeps what it has decided of equal calls is left out.
The default corpus is the scenarios of the policy, or those of the library. With
--baseline another policy decides the same calls; --max-ratio fails if the policy takes
more than so many times as long.` + exitCodesHelp,
		Example: `  sandgate policy bench
  sandgate policy bench --policy . --baseline builtin --max-ratio 1.5
  sandgate policy bench --corpus /var/lib/sandgate/journal --count 100000 --format json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	registerPolicyDir(cmd, &f.dir)
	fl := cmd.Flags()
	fl.StringVar(&f.baseline, "baseline", "", "policy that it is compared with, \"builtin\" for the library")
	fl.StringVar(&f.toolsDir, "tools", "", "directory with the declarations of your own tools")
	fl.StringVar(&f.format, "format", "pretty", "pretty or json")
	fl.StringArrayVar(&f.corpus, "corpus", nil, "scenario files, labelled commands, a journal, JSON lines; may be repeated")
	fl.IntVar(&f.count, "count", 10_000, "decisions")
	fl.IntVar(&f.slowest, "slowest", 10, "lines of Rego that are told")
	fl.Float64Var(&f.maxRatio, "max-ratio", 0, "fail if a decision takes more than so many times as long as by the baseline")
	return cmd
}

func (f *benchFlags) run(cmd *cobra.Command) error {
	switch err := checkFormat(f.format, "pretty", "json"); {
	case err != nil:
		return err
	case f.count < 1 || f.slowest < 0:
		return fmt.Errorf("--count %d, --slowest %d: want at least 1, and at least 0", f.count, f.slowest)
	case f.maxRatio != 0 && f.baseline == "":
		return fmt.Errorf("--max-ratio %g: name what it is compared with by --baseline", f.maxRatio)
	}
	engine, err := newPolicyEngine(cmd, f.dir)
	if err != nil {
		return err
	}
	calls, err := f.calls(cmd, engine)
	if err != nil {
		return err
	}
	var out benchReport
	if f.baseline != "" {
		baseline, err := newPolicyEngine(cmd, policyDir(f.baseline))
		if err != nil {
			return fmt.Errorf("baseline: %w", err)
		}
		r, err := measure.Run(cmd.Context(), baseline, calls, f.count, 0)
		if err != nil {
			return err
		}
		out.Baseline = &r
	}
	if out.Report, err = measure.Run(cmd.Context(), engine, calls, f.count, f.slowest); err != nil {
		return err
	}
	if b := out.Baseline; b != nil {
		out.Ratio, out.AllocsRatio = out.Typical/b.Typical, out.Allocations/max(b.Allocations, 1)
	}
	if err := writeBench(cmd.OutOrStdout(), f.format, &out); err != nil {
		return err
	}
	if f.maxRatio > 0 && out.Ratio > f.maxRatio {
		return findings(fmt.Sprintf("a decision takes %.2f times as long as by the baseline, at most %g is wanted", out.Ratio, f.maxRatio))
	}
	return nil
}

// calls are the inputs of the corpus; what cannot be decided is left out.
func (f *benchFlags) calls(cmd *cobra.Command, engine *policy.Engine) ([]policy.Input, error) {
	tools, err := catalog.New(catalog.Options{Dir: f.toolsDir})
	if err != nil {
		return nil, err
	}
	c := &corpus{
		reader: replay.Reader{Catalog: tools}, runner: scenario.Runner{Engine: engine, Catalog: tools},
		stdin: cmd.InOrStdin(), seen: map[string]bool{},
	}
	logs := f.corpus
	if len(logs) == 0 {
		logs = []string{scenariosOf + f.dir, scenariosOf}
	}
	var inputs []policy.Input
	for _, log := range logs {
		if len(f.corpus) == 0 && len(inputs) > 0 {
			break // the policy has scenarios of its own
		}
		err := c.read(log, func(call replay.Call) bool {
			if doc, err := call.Input(); err == nil && doc.Input != nil {
				inputs = append(inputs, *doc.Input)
			}
			return len(inputs) < maxBenchCalls
		})
		if err != nil {
			return nil, err
		}
	}
	if len(inputs) == 0 {
		return nil, fmt.Errorf("the corpus holds no call that can be decided")
	}
	return inputs, nil
}

func writeBench(w io.Writer, format string, r *benchReport) error {
	if format == "json" {
		return writeIndented(w, r)
	}
	var b strings.Builder
	row := func(name string, m *measure.Report) {
		fmt.Fprintf(&b, "%-9s %s: p50 %.1f us, p99 %.1f us, mean %.1f us, %.0f decisions/s, %.0f allocations, %.0f bytes each\n",
			name, m.Policy, m.P50, m.P99, m.Mean, m.PerSecond, m.Allocations, m.Bytes)
	}
	fmt.Fprintf(&b, "%d decisions about %d calls, on one processor\n", r.Decisions, r.Calls)
	row("policy", &r.Report)
	if r.Baseline != nil {
		row("baseline", r.Baseline)
		fmt.Fprintf(&b, "%.2f times as long, %.2f times the allocations\n", r.Ratio, r.AllocsRatio)
	}
	for _, l := range r.Slowest {
		fmt.Fprintf(&b, "  %5.1f %%  %s:%d (%d evaluations)\n", l.Share, l.File, l.Line, l.Evals)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
