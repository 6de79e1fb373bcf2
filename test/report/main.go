// Command report runs `go test -json` with the arguments that it is given,
// prints what a reader of `go test` expects to see (each test, each package,
// the whole output of what failed), and after it what was skipped and why. The
// Makefile calls it; with -total it sums up the runs recorded before, so that
// `make test` ends with one honest count.
//
// It must never turn a failure of go test into a success.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"time"
)

// Exit codes besides those of go test itself.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	label := flag.String("label", "tests", "`name` of this run in the summary")
	record := flag.String("record", "", "append the results of this run to `file`; read by -total")
	total := flag.Bool("total", false, "sum up the runs in the -record file and exit")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "usage: report [-label NAME] [-record FILE] -- GO-TEST-ARGUMENTS...\n       report -total -record FILE")
		flag.PrintDefaults()
	}
	flag.Parse()
	os.Exit(run(*label, *record, *total, flag.Args()))
}

// run does what the flags ask for and gives the exit code.
func run(label, record string, total bool, args []string) int {
	if total {
		return printTotal(os.Stdout, record)
	}
	if len(args) == 0 {
		flag.Usage()
		return exitUsage
	}
	started := time.Now()
	results, code := runTests(args)
	summary := newSummary([]runRecord{{Label: label, Seconds: time.Since(started).Seconds(), Results: results}})
	summary.print(os.Stdout)
	if summary.failed > 0 && code == 0 {
		code = exitFailed
	}
	if record != "" {
		if err := appendRecord(record, runRecord{Label: label, Seconds: time.Since(started).Seconds(), Results: results}); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "report:", err)
			return exitFailed
		}
	}
	return code
}

// printTotal sums up the record file. A missing or empty record is a failure:
// it would mean that nothing ran.
func printTotal(out io.Writer, record string) int {
	runs, err := readRecord(record)
	if err == nil && len(runs) == 0 {
		err = errors.New("no run was recorded")
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "report:", err)
		return exitFailed
	}
	summary := newSummary(runs)
	summary.print(out)
	if summary.failed > 0 {
		return exitFailed
	}
	return 0
}

// runTests runs go test, echoes its events readably, and returns the results
// with its exit code. An interrupt is passed on by the terminal; it is caught
// here so that what had been seen by then is still summed up.
func runTests(args []string) ([]result, int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	// The arguments are those of the Makefile or of the developer at the keyboard.
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...) //nolint:gosec // see above
	cmd.Cancel = func() error { return nil }
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "report: start go test:", err)
		return nil, exitFailed
	}
	collector := newCollector(os.Stdout)
	readErr := eachLine(out, collector.line)
	waitErr := cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(waitErr, &exit) {
		return collector.results, max(exit.ExitCode(), exitFailed)
	}
	if err := errors.Join(readErr, waitErr); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "report: go test:", err)
		return collector.results, exitFailed
	}
	return collector.results, 0
}

// eachLine calls f for every line of r, of any length.
func eachLine(r io.Reader, f func([]byte)) error {
	reader := bufio.NewReader(r)
	for {
		line, err := reader.ReadBytes('\n')
		if len(line) > 0 {
			f(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
