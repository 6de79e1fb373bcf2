package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sandgate/sandgate/test/bench/measure"
	"github.com/sandgate/sandgate/test/bench/report"
	"github.com/sandgate/sandgate/test/daemontest"
)

// bench is one run on its way.
type bench struct {
	ctx      context.Context //nolint:containedctx // of the whole run
	progress io.Writer
	size     size
	only     []string // groups; empty: all
	dir      string   // of policies, tools and peers
	binDir   string
	out      *report.Run
}

// size says how much is measured.
type size struct {
	plan       measure.Plan // Clients is set for each cell
	open       measure.OpenPlan
	rules      []int         // numbers of additional rules
	sessions   []int         // numbers of idle sessions, growing
	idle       int           // sessions that wait without cells
	cells      int           // most cells of the daemon with the sessions
	pool       int           // cells that the daemon for single-use cells keeps
	bursts     int           // of one repetition, each empties the pool
	several    time.Duration // of several clients in one repetition
	neighbours time.Duration // with each abuser in one repetition
	harmWait   time.Duration // for what abusers do only after that
	dry        time.Duration // of one repetition after the pool was used up
	rest       time.Duration // for which sessions wait before it is looked what they take
}

func fullSize() size {
	return size{
		plan:  measure.Plan{Reps: 5, Slices: 5, Slice: 360 * time.Millisecond, MaxOps: 2000},
		open:  measure.OpenPlan{Reps: 5, Rate: 1000, Lasts: 4 * time.Second},
		rules: []int{1, 100, 1000}, sessions: []int{10, 1000}, idle: 5000, cells: 64, pool: 8, bursts: 3,
		several: 3 * time.Second, neighbours: 3 * time.Second, dry: 4 * time.Second, rest: 5 * time.Second,
	}
}

func quickSize() size {
	return size{
		plan:  measure.Plan{Reps: 2, Slices: 1, Slice: 60 * time.Millisecond, MaxOps: 20},
		open:  measure.OpenPlan{Reps: 2, Rate: 1000, Lasts: 200 * time.Millisecond},
		rules: []int{1, 100, 1000}, sessions: []int{4, 12}, idle: 40, cells: 6, pool: 3, bursts: 1,
		several: 60 * time.Millisecond, neighbours: 200 * time.Millisecond, harmWait: 20 * time.Second, dry: 150 * time.Millisecond, rest: 100 * time.Millisecond,
	}
}

func newBench(ctx context.Context, o options, progress io.Writer) (*bench, error) {
	bin, err := daemontest.BinDir()
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("the daemon needs root to make its cells: run the benchmark as root")
	}
	b := &bench{ctx: ctx, progress: progress, size: fullSize(), binDir: bin, out: &report.Run{Schema: report.Schema, Mode: "full"}}
	if o.quick {
		b.size, b.out.Mode = quickSize(), "quick"
	}
	if o.only != "" {
		b.only = strings.Split(o.only, ",")
		for _, group := range b.only {
			if !slices.ContainsFunc(b.sections(), func(s section) bool { return slices.Contains(s.groups, group) }) {
				return nil, fmt.Errorf("-only %q: there is no such group", group)
			}
		}
	}
	return b, nil
}

// section is a part of the matrix that is measured on a daemon of its own.
type section struct {
	groups []string
	run    func() error
}

func (b *bench) sections() []section {
	return []section{
		{[]string{report.GroupCommands, report.GroupClients, report.GroupReuse, report.GroupPeers}, b.calls},
		{[]string{report.GroupFloors}, b.floors},
		{[]string{report.GroupDecide, report.GroupRules}, b.decisions},
		{[]string{report.GroupCells}, b.newCells},
		{[]string{report.GroupNeighbours}, b.neighbours},
		{[]string{report.GroupSessions}, b.sessions},
		{[]string{report.GroupIdle}, b.idleSessions},
		{[]string{report.GroupIsolation}, b.isolation},
	}
}

// wanted tells whether a group is to be measured.
func (b *bench) wanted(group string) bool { return len(b.only) == 0 || slices.Contains(b.only, group) }

// run measures everything. Only an interruption or a machine on which nothing
// works is an error; what fails by itself is noted in the report.
func (b *bench) run() (_ *report.Run, err error) {
	if b.dir, err = os.MkdirTemp("/tmp", "sgb-"); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := writeTools(filepath.Join(b.dir, "tools")); err != nil {
		return nil, err
	}
	b.out.Began = time.Now()
	p := b.size.plan
	b.out.Method = report.Method{
		Reps: p.Reps, Slices: p.Slices, Slice: p.Slice, MaxOps: p.MaxOps, OpenRate: b.size.open.Rate, OpenLasts: b.size.open.Lasts,
	}
	b.out.Machine = machine()
	if b.out.Versions, err = versions(b.binDir); err != nil {
		return nil, err
	}
	for _, s := range b.sections() {
		if !slices.ContainsFunc(s.groups, b.wanted) {
			continue
		}
		if err := s.run(); err != nil {
			if ctxErr := context.Cause(b.ctx); ctxErr != nil {
				return nil, ctxErr
			}
			b.failed(strings.Join(s.groups, ", "), err)
		}
	}
	b.out.Machine.LoadAfter = firstLineOf("/proc/loadavg")
	b.out.Ended = time.Now()
	return b.out, nil
}

func (b *bench) failed(what string, err error) {
	b.say("%s: FAILED: %v", what, err)
	b.out.Failed = append(b.out.Failed, report.Note{What: what, Reason: err.Error()})
}

func (b *bench) skipped(what string, reason error) {
	b.say("%s: skipped: %v", what, reason)
	b.out.Skipped = append(b.out.Skipped, report.Note{What: what, Reason: reason.Error()})
}

func (b *bench) say(format string, args ...any) {
	at := time.Since(b.out.Began).Round(100 * time.Millisecond)
	_, _ = fmt.Fprintf(b.progress, "%8v  "+format+"\n", append([]any{at}, args...)...)
}

// cell is what measureCell needs to know of a cell.
type cell struct {
	on          *target // waited for to come to rest before
	group, name string
	amount      int
	clients     int            // 0 means 1
	base        string         // name of the arm that the others are divided by
	plan        measure.Plan   // zero: the run's
	counts      map[string]int // filled while it is measured; nil: nothing is counted
	note        string
}

// measureCell runs the arms of one cell and keeps what came of them. A failure
// is noted; the returned error is only that of an interruption.
func (b *bench) measureCell(c cell, arms ...measure.Arm) error {
	if !b.wanted(c.group) {
		return nil
	}
	p := c.plan
	if p.Reps == 0 {
		p = b.size.plan
	}
	p.Clients = max(c.clients, 1)
	// What the last cell left to collect is not for this one to pay.
	runtime.GC()
	if c.on != nil {
		if err := c.on.settle(b.ctx, 0); err != nil {
			return err
		}
	}
	series, err := measure.Closed(b.ctx, p, arms...)
	if err != nil {
		if ctxErr := context.Cause(b.ctx); ctxErr != nil {
			return ctxErr
		}
		b.failed(fmt.Sprintf("%s: %s, %d clients", c.group, c.name, p.Clients), err)
		return nil
	}
	b.keep(report.Cell{
		Group: c.group, Name: c.name, Amount: c.amount, Base: c.base, Series: series, Counts: c.counts, Note: c.note,
		Plan: &report.Plan{Reps: p.Reps, Slices: p.Slices, Slice: p.Slice, MaxOps: p.MaxOps},
	})
	return nil
}

func (b *bench) keep(c report.Cell) {
	b.out.Cells = append(b.out.Cells, c)
	var text strings.Builder
	for i := range c.Series {
		fmt.Fprintf(&text, "  %s p50 %v", c.Series[i].Name, c.Series[i].Percentile(50).Round(time.Microsecond))
	}
	b.say("%s: %s %d ×%d:%s", c.Group, c.Name, c.Amount, c.Clients(), text.String())
}
