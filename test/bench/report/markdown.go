package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sandgate/sandgate/test/bench/measure"
)

// groups tells the heading and the explanation of each group of cells.
var groups = []struct{ group, heading, text string }{
	{GroupCommands, "Commands", "One client, one session, `runc`, the cell reused, the same call again and again, so that its decision is a remembered one (what a new one costs more is under Decisions). The floor is fork+exec of the same command with its output read."},
	{GroupClients, "Clients", "`bash -c true`, each client on a connection and in a session of its own; the floor is as many loops of fork+exec. The repetitions are as long as the others, in two slices: of a short one with 32 clients the end, at which fewer and fewer calls run, is an eighth."},
	{GroupReuse, "Reuse of cells", "`bash -c true`, one client, the reuse that policy demands. `never` takes what the pool has and then waits for cells to be made."},
	{GroupIsolation, "Isolation", "One client, session, the wall that policy demands. The plain container is gVisor's floor: the daemon's own specification, rootfs and environment on one processor, with a shell in the place of init that forks and executes the command when it is told so; no inner wall, no daemon."},
	{GroupCells, "New cells", "`bash -c true`, each call in a cell that nobody used before. Full: one client, bursts no longer than the pool, which is full again before the next. Dry: closed loops for longer than the pool lasts. Cold: no pool, and nothing under way when the call comes."},
	{GroupDecide, "Decisions", "Evaluate over the unix socket, nothing runs. No two calls are the same but where it says so. Of a call that was decided a moment ago the decision is remembered, and of calls that differ only in words which no rule has looked at (`true 1`, `true 2`: their shape is the same); where it says that a shape was never asked about, all rules are evaluated. Open loop: begun at a fixed rate, measured from the intended start."},
	{GroupRules, "Rules", "Evaluate of a call under the default library and, in the same slices on a second daemon, under the library with more rules (`data.sandgate.extra`), none of which the call meets. No shape is asked about twice."},
	{GroupSessions, "Idle sessions", "`bash -c true`, one client, while other sessions wait."},
	{GroupIdle, "One more session", "The first call of a session, `bash -c true`, with as many waiting without cells; the pool is warm each time."},
	{GroupNeighbours, "Beside abusers", "`bash -c true`, one client in turns alone and beside a caller whose calls do as told without end, each held by the daemon's default limits."},
}

// Markdown writes the run as a document.
func (r *Run) Markdown(w io.Writer) error {
	p := &printer{w: w}
	p.line("# Benchmark results\n")
	p.line("Written by `make bench`; every figure is computed from one run, whose raw data lie beside this file. Do not edit.\n")
	r.writeMethod(p)
	r.writeTargets(p)
	for _, g := range groups {
		r.writeGroup(p, g.group, g.heading, g.text)
	}
	r.writeFloors(p)
	r.writePeers(p)
	r.writeMemory(p)
	r.writeStages(p)
	writeNotes(p, "Not measured", r.Skipped)
	writeNotes(p, "Failed", r.Failed)
	return p.err
}

// printer keeps the first error of many writes.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) row(cells ...string) { p.line("| %s |", strings.Join(cells, " | ")) }

func (p *printer) head(cells ...string) {
	p.row(cells...)
	p.line("|%s", strings.Repeat("---|", len(cells)))
}

func (r *Run) writeMethod(p *printer) {
	m := r.Machine
	p.line("## Machine and method\n")
	p.head("what", "value")
	p.row("mode", r.Mode)
	p.row("date", r.Began.UTC().Format("2006-01-02 15:04 MST")+", "+r.Ended.Sub(r.Began).Round(time.Second).String())
	p.row("machine", fmt.Sprintf("%s, %d cores, %.1f GiB", m.CPU, m.Cores, mib(m.MemoryBytes)/1024))
	p.row("kernel", fmt.Sprintf("%s, cgroup v%d, data on %s", m.Kernel, m.CgroupVersion, m.DataFS))
	p.row("load average", m.LoadBefore+" before, "+m.LoadAfter+" after")
	for _, v := range r.Versions {
		p.row(v.Name, v.Version)
	}
	p.line("")
	p.line("Each figure is the median of %d repetitions. Within a repetition the things compared take turns in %d slices of %v", r.Method.Reps, r.Method.Slices, r.Method.Slice)
	p.line("(or until each has done %d operations), so that what disturbs the machine disturbs all of them; ratios are taken within a", r.Method.MaxOps)
	p.line("repetition. `max` is the slowest of all; `spread` is how far the p50 of the repetitions lie apart. The load generator is a Go")
	p.line("process with one connection per client, on the same cores as what it measures. The journal is on.")
	if low, high, ok := r.floors(); ok {
		p.line("The floor of `bash -c true` with one client lay between %s and %s ms (p50 of a repetition): the nearer, the quieter the machine.", ms(low), ms(high))
	}
	p.line("")
}

// floors are the smallest and largest p50 of repetitions of the same floor.
func (r *Run) floors() (low, high time.Duration, ok bool) {
	for i := range r.Cells {
		c := &r.Cells[i]
		floor := c.Arm(ArmFloor)
		if floor == nil || c.Clients() != 1 || !strings.Contains(c.Name, CellBash) {
			continue
		}
		for _, rep := range floor.Reps {
			v := rep.Latencies.Percentile(50)
			if !ok || v < low {
				low = v
			}
			high, ok = max(high, v), true
		}
	}
	return low, high, ok
}

func (r *Run) writeTargets(p *printer) {
	p.line("## Targets\n")
	p.head("target", "measured", "")
	for _, t := range r.targets() {
		switch {
		case t.measured == "":
			p.row(t.text, "-", "not measured")
		case t.met:
			p.row(t.text, t.measured, "met")
		default:
			p.row(t.text, t.measured, "**not met**")
		}
	}
	p.line("")
}

func (r *Run) writeGroup(p *printer, group, heading, text string) {
	first := true
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.Group != group {
			continue
		}
		if first {
			first = false
			p.line("## %s\n\n%s\n", heading, text)
			p.head("what", "clients", "n", "p50 ms", "p90 ms", "p99 ms", "max ms", "per s", "spread", "daemon CPU ms", "divided by", "its p50 ms", "ratio p50", "ratio p99")
		}
		base := c.Arm(c.Base)
		for j := range c.Series {
			if s := &c.Series[j]; s.Name != c.Base {
				p.row(cellRow(c, s, base)...)
			}
		}
	}
	if first {
		return
	}
	p.line("")
	if s := r.Find(group, CellOpenLoop, 1, 0).Arm(ArmSandgate); s != nil {
		late := func(at float64) string {
			return fmt.Sprintf("%.0f", s.Median(func(rep measure.Rep) float64 { return float64(rep.Late.Percentile(at)) })/1e3)
		}
		p.line("The open loop ran at %.0f/s; its own starts were %s µs late (p50) and %s µs (p99), which counts.\n", r.Method.OpenRate, late(50), late(99))
		r.writeOpenFloor(p, s)
	}
}

// writeOpenFloor says how much of a new decision in the open loop is there without it.
func (r *Run) writeOpenFloor(p *printer, whole *measure.Series) {
	empty, same, fresh := r.Find(GroupDecide, CellOpenEmpty, 1, 0).Arm(ArmSandgate), r.Find(GroupDecide, CellOpenSame, 1, 0).Arm(ArmSandgate), r.Find(GroupDecide, CellOpenShape, 1, 0).Arm(ArmSandgate)
	if empty == nil || same == nil || fresh == nil {
		return
	}
	p.line("Of the p50 of a new decision, %s ms, an RPC that asks for nothing takes %s (client, kernel, gRPC, processors that slept), in the same run and in turns; the same call again %s more; other words of a known shape %s more; evaluating all rules %s more. Their p99 are %s, %s, %s and %s ms; what the first of these has is not made by deciding.\n",
		msFine(whole.Percentile(50)), msFine(empty.Percentile(50)), msFine(same.Percentile(50)-empty.Percentile(50)), msFine(whole.Percentile(50)-same.Percentile(50)), msFine(fresh.Percentile(50)-whole.Percentile(50)),
		ms(empty.Percentile(99)), ms(same.Percentile(99)), ms(whole.Percentile(99)), ms(fresh.Percentile(99)))
}

// writePeers writes each peer beside sandgate.
func (r *Run) writePeers(p *printer) {
	if len(r.Peers) == 0 {
		return
	}
	p.line("## Peers\n\nThe same command; floor, sandgate and peer taking turns.\n")
	p.head("peer, command", "clients", "floor p50 ms", "sandgate p50 ms", "peer p50 ms", "peer / sandgate p50", "p99",
		"sandgate per s", "peer per s", "sandgate / peer")
	for i := range r.Cells {
		c := &r.Cells[i]
		s, floor := c.Arm(ArmSandgate), c.Arm(ArmFloor)
		if c.Group != GroupPeers || s == nil || floor == nil {
			continue
		}
		for j := range c.Series {
			if peer := &c.Series[j]; peer != s && peer != floor {
				p.row(c.Name, fmt.Sprint(s.Clients), ms(floor.Percentile(50)), ms(s.Percentile(50)), ms(peer.Percentile(50)),
					fmt.Sprintf("%.2f", measure.Ratio(peer, s, 50)), fmt.Sprintf("%.2f", measure.Ratio(peer, s, 99)),
					perSecond(s), perSecond(peer), fmt.Sprintf("%.2f", measure.RateRatio(s, peer)))
			}
		}
	}
	p.line("")
	p.head("peer", "what stands around the command")
	for _, peer := range r.Peers {
		p.row(peer.Name, peer.Wall)
	}
	p.line("")
}

func perSecond(s *measure.Series) string {
	switch rate := s.Rate(); {
	case s.Paused:
		return "-"
	case rate < 100:
		return fmt.Sprintf("%.1f", rate)
	default:
		return fmt.Sprintf("%.0f", rate)
	}
}

func cellRow(c *Cell, s, base *measure.Series) []string {
	name := c.Name
	if c.Amount > 0 {
		name = fmt.Sprintf("%d %s", c.Amount, c.Name)
	}
	if s.Name != ArmSandgate {
		name += ": " + s.Name
	}
	cpu := "-"
	if s.CPU() > 0 {
		cpu = fmt.Sprintf("%.2f", msFloat(s.CPU()))
	}
	row := []string{
		name, fmt.Sprint(s.Clients), fmt.Sprint(s.Count()), ms(s.Percentile(50)), ms(s.Percentile(90)), ms(s.Percentile(99)), ms(s.Max()),
		perSecond(s), fmt.Sprintf("%.0f %%", 100*s.Spread()), cpu,
	}
	if base == nil {
		return append(row, "-", "-", "-", "-")
	}
	return append(row, c.Base, ms(base.Percentile(50)), fmt.Sprintf("%.2f", measure.Ratio(s, base, 50)), fmt.Sprintf("%.2f", measure.Ratio(s, base, 99)))
}

func (r *Run) writeMemory(p *printer) {
	if len(r.Memory) == 0 {
		return
	}
	p.line("## Memory\n")
	p.head("what", "with", "MiB", "of which", "counted as")
	for _, m := range r.Memory {
		var parts []string
		for _, part := range m.Parts {
			parts = append(parts, fmt.Sprintf("%s %.1f", part.Name, mib(part.Bytes)))
		}
		unit := "sessions"
		if m.Name == MemoryCell {
			unit = "cells"
		}
		p.row(m.Name, fmt.Sprintf("%d %s", m.Amount, unit), fmt.Sprintf("%.1f", mib(m.Bytes)), strings.Join(parts, ", "), m.How)
	}
	p.line("")
}

func writeNotes(p *printer, heading string, notes []Note) {
	if len(notes) == 0 {
		return
	}
	p.line("## %s\n", heading)
	p.head("what", "why")
	for _, n := range notes {
		p.row(n.What, strings.ReplaceAll(strings.ReplaceAll(n.Reason, "\n", " "), "|", "\\|"))
	}
	p.line("")
}
