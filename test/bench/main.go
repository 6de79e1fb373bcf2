// Command bench measures calls through the whole daemon, journal on, over a
// matrix of commands, clients, cells, rules, sessions and neighbours, and in the
// same run what sandgate is to be compared with. It starts daemons of its own in
// directories of their own and removes them. Developers run it by `make bench`,
// which writes RESULTS.md and results.json here; a small run is a test. It must
// never write a figure that it did not measure in this run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sandgate/sandgate/test/bench/parts"
	"github.com/sandgate/sandgate/test/bench/report"
)

// options are what the command line says.
type options struct {
	quick   bool
	json    string // file for the raw data
	table   string // file for the Markdown; empty: none
	compare string // file of an earlier run
	read    string // file to be shown instead of measuring
	only    string // groups, with commas; empty: all
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 2 && os.Args[1] == leastArg { // started by the benchmark itself
		if err := parts.ServeLeast(ctx, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1) //nolint:gocritic // ServeLeast has cleaned up
		}
		return
	}
	o := options{}
	flag.BoolVar(&o.quick, "quick", false, "a run of about a minute, to see that everything works; its figures say little")
	flag.StringVar(&o.json, "json", "test/bench/results.json", "file for the raw data; empty for none")
	flag.StringVar(&o.table, "table", "test/bench/RESULTS.md", "file for the tables; empty for none")
	flag.StringVar(&o.compare, "compare", "", "raw data of an earlier run, to be shown beside this one")
	flag.StringVar(&o.read, "read", "", "raw data to be shown instead of measuring")
	flag.StringVar(&o.only, "only", "", "groups to be measured, with commas between; all when empty")
	flag.Parse()
	o.keepOnlyWholeRuns(flag.CommandLine)
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the only exit, after run has cleaned up
	}
}

// keepOnlyWholeRuns leaves the files of the repository alone unless they are named
// or the run is a whole one.
func (o *options) keepOnlyWholeRuns(flags *flag.FlagSet) {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if !o.quick && o.only == "" && o.read == "" {
		return
	}
	if !given["json"] {
		o.json = ""
	}
	if !given["table"] {
		o.table = ""
	}
}

func run(ctx context.Context, o options, out, progress io.Writer) error {
	var earlier *report.Run
	if o.compare != "" {
		var err error
		if earlier, err = report.Read(o.compare); err != nil {
			return err
		}
	}
	result, err := measureOrRead(ctx, o, progress)
	if err != nil {
		return err
	}
	if o.json != "" && o.read == "" {
		if err := result.Write(o.json); err != nil {
			return err
		}
	}
	if err := writeTables(o.table, out, result); err != nil {
		return err
	}
	if earlier != nil {
		if err := report.Compare(out, earlier, result); err != nil {
			return err
		}
	}
	if len(result.Failed) > 0 {
		return fmt.Errorf("%d measurements failed; the tables say which", len(result.Failed))
	}
	return nil
}

func measureOrRead(ctx context.Context, o options, progress io.Writer) (*report.Run, error) {
	if o.read != "" {
		return report.Read(o.read)
	}
	b, err := newBench(ctx, o, progress)
	if err != nil {
		return nil, err
	}
	return b.run()
}

// writeTables writes the tables to out and, if there is a name, to a file.
func writeTables(path string, out io.Writer, r *report.Run) (err error) {
	if path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644) //nolint:gosec // a report for everybody
		if err != nil {
			return fmt.Errorf("write the tables: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = io.MultiWriter(out, f)
	}
	return r.Markdown(out)
}
