// Package parts holds the parts of a call that no implementation of the design
// could leave out, each by the product's own code with nothing around it: the two
// walls without a daemon, the journal without a gate, a remote call that finds
// something ready, a decision in this process. test/bench calls it and measures what
// it hands out. It must never do a part in another way than the daemon does it.
package parts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
)

// Part is something that can be done again and again, by one caller at a time.
type Part struct {
	Op    func(ctx context.Context) error
	Close func() error // takes back what was made; called once
}

// Records appends an intent and an outcome to a journal of its own at path, one
// after the other. What they hold is that of the last of each in the journal of the
// daemon at like, which must have some.
func Records(path, like string) (*Part, error) {
	entries, err := entriesLike(like)
	if err != nil {
		return nil, err
	}
	j, err := journal.Open(path, journal.Options{}, nil)
	if err != nil {
		return nil, err
	}
	return &Part{Close: j.Close, Op: func(ctx context.Context) error {
		for _, e := range entries {
			if _, err := j.Append(ctx, e); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

// entriesLike are the last intent and the last outcome of the journal at like.
func entriesLike(like string) ([]journal.Entry, error) {
	last := map[journal.Kind]journal.Entry{}
	text, err := os.ReadFile(like) //nolint:gosec // the measured daemon's
	if err != nil {
		return nil, fmt.Errorf("read a journal: %w", err)
	}
	for line := range strings.Lines(strings.TrimRight(string(text), "\x00")) {
		var r journal.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			break // the line that is being written
		}
		last[r.Kind] = journal.Entry{Kind: r.Kind, Caller: r.Caller, Session: r.Session, CallID: r.CallID, Data: r.Data}
	}
	entries := []journal.Entry{last[journal.KindIntent], last[journal.KindOutcome]}
	for _, e := range entries {
		if e.Kind == "" {
			return nil, fmt.Errorf("the journal %s holds no call that ran", like)
		}
	}
	return entries, nil
}

// Decision decides an input under the default library; it must be allowed.
func Decision(ctx context.Context, input string) (*Part, error) {
	decide, err := decider(ctx, input)
	if err != nil {
		return nil, err
	}
	return &Part{Close: func() error { return nil }, Op: decide}, nil
}

// decider decides the same input each time it is called, also by several at once.
func decider(ctx context.Context, input string) (func(ctx context.Context) error, error) {
	var in policy.Input
	if err := json.Unmarshal([]byte(input), &in); err != nil {
		return nil, fmt.Errorf("read the input of a decision: %w", err)
	}
	in.DecisionID, in.Time = "", ""
	engine, err := policy.New(ctx, policy.Config{Version: in.Daemon.Version, Ceiling: in.Sandbox.Ceiling, Environment: in.Daemon.Environment})
	if err == nil {
		err = engine.Ready()
	}
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if d := engine.Decide(ctx, engine.Complete(in)); d.Outcome != policy.Allow {
			return fmt.Errorf("decision %v, want allow: %v", d.Outcome, d.Reasons)
		}
		return nil
	}, nil
}

// MachineCPU is the processor time that all processes of the machine have used. It
// is exact under cgroup v1; under v2 it is as fine as the kernel's clock ticks.
func MachineCPU() (time.Duration, error) {
	text, err := os.ReadFile("/sys/fs/cgroup/cpuacct/cpuacct.usage")
	if err == nil {
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the machine's processor time: %w", err)
		}
		return time.Duration(n), nil
	}
	stat, serr := os.ReadFile("/sys/fs/cgroup/cpu.stat")
	if serr != nil {
		return 0, fmt.Errorf("read the machine's processor time: %w", errors.Join(err, serr))
	}
	for line := range strings.Lines(string(stat)) {
		if value, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read the machine's processor time: %w", err)
			}
			return time.Duration(n) * time.Microsecond, nil
		}
	}
	return 0, errors.New("read the machine's processor time: cpu.stat has no usage_usec")
}
