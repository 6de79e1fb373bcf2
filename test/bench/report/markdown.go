package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/sandgate/sandgate/test/bench/measure"
)

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
			r.writePlan(p, group)
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
	r.writeCellNotes(p, group)
	if s := r.Find(group, CellOpenLoop, 1, 0).Arm(ArmSandgate); s != nil {
		late := func(at float64) string {
			return fmt.Sprintf("%.0f", s.Median(func(rep measure.Rep) float64 { return float64(rep.Late.Percentile(at)) })/1e3)
		}
		p.line("The open loop ran at %.0f/s for %v in each of %d repetitions; its own starts were %s µs late (p50) and %s µs (p99), which counts.\n", r.Method.OpenRate, r.Method.OpenLasts, len(s.Reps), late(50), late(99))
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
	p.line("## Peers\n\nThe same command; floor, sandgate and peer taking turns. sandgate and containerd are called over a unix socket, go-judge over TCP on loopback, the others are programs that are started.\n")
	r.writePlan(p, GroupPeers)
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
