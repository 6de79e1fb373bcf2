// Command bench measures a call through the whole daemon, journal on, and in the
// same run what it is to be compared with: the same command with nothing
// around it (the floor) and a bare containerd create, start and delete. It starts
// its own daemon in a directory of its own and removes it. Developers run it by
// `make bench`; it asserts nothing and is never part of the tests.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

const (
	floorName  = "fork+exec, nothing around it"
	daemonName = "sandgate Execute, session"
	singleName = "sandgate Execute, single-use cells"
	decideName = "sandgate Evaluate (decide only)"
	bareName   = "containerd create+start+delete"
)

type plan struct {
	clients   []int
	calls     int
	lifecycle int
	single    int
	json      string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the only exit, after run has cleaned up
	}
}

func parse() (plan, error) {
	var o plan
	clients := flag.String("clients", "1,4", "numbers of clients, with commas")
	flag.IntVar(&o.calls, "n", 2000, "measured calls of each series")
	flag.IntVar(&o.lifecycle, "lifecycle", 40, "measured containerd life cycles; 0 for none")
	flag.IntVar(&o.single, "single", 60, "measured calls in single-use cells; 0 for none")
	flag.StringVar(&o.json, "json", "", "file for the raw latencies")
	flag.Parse()
	for field := range strings.SplitSeq(*clients, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-clients %q: want numbers from 1 with commas between", *clients)
		}
		o.clients = append(o.clients, n)
	}
	return o, nil
}

func run(ctx context.Context) (err error) {
	o, err := parse()
	if err != nil {
		return err
	}
	d, err := daemontest.Launch(ctx, "pool: {idle: 4, max_cells: 16}\nlog: {level: warn}\n")
	if err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	defer func() { err = errors.Join(err, d.Stop(), os.RemoveAll(d.DataDir)) }()

	all, err := measureAll(ctx, d, o)
	if err != nil {
		return err
	}
	fmt.Printf("# bash -c true, %s, %d cores, %s\n\n", kernel(), runtime.NumCPU(), runtime.Version())
	if err := writeTable(os.Stdout, all); err != nil {
		return err
	}
	if o.json == "" {
		return nil
	}
	data, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("encode the raw data: %w", err)
	}
	return os.WriteFile(o.json, data, 0o600)
}

func measureAll(ctx context.Context, d *daemontest.Daemon, o plan) (all []*series, err error) {
	add := func(name string, clients, n int, op func(int) error) error {
		s, err := measure(name, clients, n, op)
		if err == nil {
			all = append(all, s)
		}
		return err
	}
	for _, c := range o.clients {
		if err := add(floorName, c, o.calls, func(int) error { return exec.CommandContext(ctx, "/bin/bash", "-c", "true").Run() }); err != nil {
			return nil, err
		}
		if err := add(daemonName, c, o.calls, func(client int) error { return execute(ctx, d, fmt.Sprintf("bench-%d", client)) }); err != nil {
			return nil, err
		}
		if err := add(decideName, c, o.calls, func(client int) error { return evaluate(ctx, d, fmt.Sprintf("bench-%d", client)) }); err != nil {
			return nil, err
		}
	}
	if o.single > 0 {
		if err := add(singleName, 1, o.single, func(int) error { return execute(ctx, d, "") }); err != nil {
			return nil, err
		}
	}
	if o.lifecycle > 0 {
		bin, err := daemontest.BinDir()
		if err != nil {
			return nil, err
		}
		bare, err := newBareContainerd(ctx, d.ContainerdSocket(), d.DataDir, bin)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, bare.close()) }()
		if err := add(bareName, 1, o.lifecycle, bare.lifecycle); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func execute(ctx context.Context, d *daemontest.Daemon, session string) error {
	resp, err := d.Tools.Execute(ctx, daemontest.Bash("true", daemontest.Profile("open"), daemontest.Session(session)))
	if err != nil {
		return err
	}
	if r := resp.GetResult(); r.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || r.GetExitCode() != 0 {
		return fmt.Errorf("call ended with %v, exit code %d: %s", r.GetOutcome(), r.GetExitCode(), r.GetMessage())
	}
	return nil
}

func evaluate(ctx context.Context, d *daemontest.Daemon, session string) error {
	call := daemontest.Bash("true", daemontest.Profile("open"), daemontest.Session(session)).GetCall()
	resp, err := d.Tools.Evaluate(ctx, &sandgatev1.EvaluateRequest{Call: call})
	if err != nil {
		return err
	}
	if got := resp.GetDecision().GetOutcome(); got != sandgatev1.DecisionOutcome_DECISION_OUTCOME_ALLOW {
		return fmt.Errorf("decision %v, want allow", got)
	}
	return nil
}

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown kernel"
	}
	return "Linux " + strings.TrimSpace(string(release))
}
