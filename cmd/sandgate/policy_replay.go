package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/policy/replay"
	"github.com/sandgate/sandgate/internal/scenario"
)

// replayFlags are those of `sandgate policy replay` and `diff`.
type replayFlags struct {
	logs        []string
	candidate   string
	baseline    string
	toolsDir    string
	environment string
	failOn      string
	format      string
	keepFacts   bool
	opts        replay.Options
}

func (f *replayFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.toolsDir, "tools", "", "directory with the declarations of your own tools")
	fl.StringVar(&f.environment, "environment", "", "the environment that the policy is told")
	fl.StringVar(&f.failOn, "fail-on", "", "exit with 1 if a call is widened, tightened, or changed in any way")
	fl.StringVar(&f.format, "format", "pretty", "pretty or json")
	fl.BoolVar(&f.keepFacts, "keep-facts", false, "decide stored inputs with the facts that they hold instead of deriving them anew")
	fl.IntVar(&f.opts.Examples, "examples", 3, "calls that are shown of each group")
	fl.IntVar(&f.opts.Workers, "workers", 0, "calls that are decided at a time (default: one per processor)")
}

func newPolicyReplayCommand() *cobra.Command {
	var flags replayFlags
	cmd := &cobra.Command{
		Use:   "replay --log FILE|DIR|- --candidate DIR",
		Short: "Tell what a policy would have decided of recorded calls",
		Long: `Decide recorded calls once more and tell which ones the candidate would widen
(let through what was stopped, or cage it less), tighten, or decide by other
rules. Logs are the daemon's journal, or JSON lines with "input" and "result"
as OPA's decision logs have them.

Facts are derived anew from the arguments. What else the policy saw (the time, the
session, what was looked up in the workspace) is in the journal; of calls where it
is not, or was too much, the report says that they are approximate. With --baseline both policies decide the same input, so that
nothing but the policies differs; without it the recorded decision counts. The
state of sessions is put together from the records before. Calls of which the
log does not hold everything (masked secrets, cut arguments, audit level shape,
another input schema) are counted as not replayable, with the reason.` + exitCodesHelp,
		Example: `  sandgate policy replay --log /var/lib/sandgate/journal --candidate ./policies --fail-on widened
  sandgate policy replay --log decisions.jsonl --baseline ./live --candidate ./next --format json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(flags.logs) == 0 {
				return errors.New("no log is given: use --log with a journal, a file of JSON lines, a directory of them, or -")
			}
			return flags.run(cmd)
		},
	}
	flags.register(cmd)
	cmd.Flags().StringArrayVar(&flags.logs, "log", nil, "journal or JSON lines; a directory of them; - for stdin; may be repeated")
	cmd.Flags().StringVar(&flags.candidate, "candidate", "", "policy that is tried, a directory or a bundle file (default: the library that is built in)")
	cmd.Flags().StringVar(&flags.baseline, "baseline", "", "policy that it is compared with, \"builtin\" for the library (default: the recorded decisions)")
	return cmd
}

func newPolicyDiffCommand() *cobra.Command {
	var flags replayFlags
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two policies over calls",
		Long: `Decide the calls of a corpus by policy A and by policy B and tell which ones B
widens, tightens or decides by other rules. A corpus is a scenario file, a file
of labelled commands (.tsv), a journal, JSON lines, or a directory of them. The
default is the scenarios of A and B. "builtin" is the library that is built in.` + exitCodesHelp,
		Example: `  sandgate policy diff builtin ./policies --fail-on widened
  sandgate policy diff ./live ./next --corpus cases.tsv --corpus journal.jsonl`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.baseline, flags.candidate = args[0], args[1]
			if len(flags.logs) == 0 {
				flags.logs = []string{scenariosOf + args[0], scenariosOf + args[1]}
			}
			return flags.run(cmd)
		},
	}
	flags.register(cmd)
	cmd.Flags().StringArrayVar(&flags.logs, "corpus", nil, "calls that are decided; may be repeated (default: the scenarios of A and B)")
	return cmd
}

// scenariosOf marks a corpus that is the scenarios of a policy.
const scenariosOf = "scenarios of "

// builtin names the default library where "" stands for something else.
const builtin = "builtin"

func policyDir(arg string) string {
	if arg == builtin {
		return ""
	}
	return arg
}

func (f *replayFlags) run(cmd *cobra.Command) error {
	if err := checkFormat(f.format, "pretty", "json"); err != nil {
		return err
	}
	if !slices.Contains([]string{"", "widened", "tightened", "changed"}, f.failOn) {
		return fmt.Errorf("--fail-on %q: want widened, tightened or changed", f.failOn)
	}
	tools, err := catalog.New(catalog.Options{Dir: f.toolsDir})
	if err != nil {
		return err
	}
	opts := f.opts
	if opts.Candidate, err = newPolicyEngine(cmd, policyDir(f.candidate)); err != nil {
		return fmt.Errorf("candidate: %w", err)
	}
	if f.baseline != "" {
		if opts.Baseline, err = newPolicyEngine(cmd, policyDir(f.baseline)); err != nil {
			return fmt.Errorf("baseline: %w", err)
		}
	}
	corpus := &corpus{
		reader: replay.Reader{Catalog: tools, KeepFacts: f.keepFacts, Environment: f.environment},
		runner: scenario.Runner{Engine: opts.Candidate, Catalog: tools}, stdin: cmd.InOrStdin(), seen: map[string]bool{},
	}
	report, err := replay.Run(cmd.Context(), func(yield func(replay.Call) bool) error {
		for _, log := range f.logs {
			if err := corpus.read(log, yield); err != nil {
				return err
			}
		}
		return nil
	}, opts)
	if err != nil {
		return err
	}
	if report.Calls == 0 {
		return errors.New("the logs hold no calls")
	}
	if err := writeReplay(cmd.OutOrStdout(), f.format, &report); err != nil {
		return err
	}
	return f.verdict(&report)
}

func (f *replayFlags) verdict(r *replay.Report) error {
	n := map[string]int{"widened": r.Widened, "tightened": r.Tightened, "changed": r.Changed()}[f.failOn]
	if n > 0 {
		return findings(fmt.Sprintf("%d calls are %s", n, f.failOn))
	}
	return nil
}

// corpus reads calls from wherever they are.
type corpus struct {
	reader replay.Reader
	runner scenario.Runner
	stdin  io.Reader
	seen   map[string]bool // scenario files by name
}

func (c *corpus) read(name string, yield func(replay.Call) bool) error {
	if dir, ok := strings.CutPrefix(name, scenariosOf); ok {
		suites, err := suitesOf(policyDir(dir))
		if err != nil {
			return err
		}
		suites = slices.DeleteFunc(suites, func(s scenario.Suite) bool { return c.seen[s.File] })
		for _, s := range suites {
			c.seen[s.File] = true
		}
		replay.Cases(c.runner, suites, yield)
		return nil
	}
	if name == "-" {
		return c.reader.Read("stdin", c.stdin, yield)
	}
	return filepath.WalkDir(name, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return nil
		case isSuite(file):
			suite, err := readSuiteFile(file)
			if err == nil {
				replay.Cases(c.runner, []scenario.Suite{suite}, yield)
			}
			return err
		case file != name && !slices.Contains([]string{".jsonl", ".ndjson", ".log", ".journal"}, filepath.Ext(file)) && filepath.Base(file) != "journal":
			return nil // in a directory only what looks like a log
		}
		return c.readLog(file, yield)
	})
}

func (c *corpus) readLog(file string, yield func(replay.Call) bool) (err error) {
	f, err := os.Open(file) // #nosec G304 -- the author names the log
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return c.reader.Read(file, f, yield)
}

func writeReplay(w io.Writer, format string, r *replay.Report) error {
	if format == "json" {
		return writeIndented(w, r)
	}
	p := newPalette(w)
	colours := map[replay.Class]func(string) string{
		replay.Widened: p.red, replay.Tightened: p.yellow, replay.Altered: p.bold, replay.NotReplayable: p.bold,
	}
	var b strings.Builder
	for _, g := range r.Groups {
		fmt.Fprintf(&b, "%s %d: %s\n", colours[g.Class](string(g.Class)), g.Count, g.Change)
		fmt.Fprintf(&b, "    tool %s, caller %s\n", g.Tool, g.Caller)
		for _, e := range g.Examples {
			fmt.Fprintf(&b, "    %s: %q\n", e.Place, e.Text)
		}
	}
	if r.Dropped > 0 {
		fmt.Fprintf(&b, "%d calls more are in groups that are not shown\n", r.Dropped)
	}
	fmt.Fprintf(&b, "%d calls: %d same, %d widened, %d tightened, %d altered, %d not replayable (%s)\n",
		r.Calls, r.Same, r.Widened, r.Tightened, r.Altered, r.NotReplayable, r.Duration.Round(10*time.Millisecond))
	for _, guess := range slices.Sorted(maps.Keys(r.Approximate)) {
		fmt.Fprintf(&b, "%d calls are approximate: %s\n", r.Approximate[guess], guess)
	}
	fmt.Fprintf(&b, "candidate %s, compared with %s\n", r.Candidate, r.Baseline)
	_, err := io.WriteString(w, b.String())
	return err
}
