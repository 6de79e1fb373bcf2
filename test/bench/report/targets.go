package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sandgate/sandgate/test/bench/measure"
)

// target is one of the project's targets and what the run says of it.
type target struct {
	text     string
	measured string // empty: not measured
	met      bool
}

// atMost makes a target of a value that must not exceed a limit.
func atMost(text, format string, value, limit float64) target {
	return target{text, fmt.Sprintf(format, value), value <= limit}
}

func atLeast(text, format string, value, limit float64) target {
	return target{text, fmt.Sprintf(format, value), value >= limit}
}

func missing(text string) target { return target{text: text} }

// targets are those of the issue "Fast", in its order.
func (r *Run) targets() []target {
	var out []target
	out = append(out, r.callTargets()...)
	out = append(out, r.rateTargets()...)
	out = append(out, r.cellTargets()...)
	out = append(out, r.decideTargets()...)
	out = append(out, r.gvisorTarget())
	out = append(out, r.memoryTargets()...)
	out = append(out, r.sessionTargets()...)
	out = append(out, r.neighbourTargets()...)
	out = append(out, r.stageTarget())
	return append(out, r.peerTargets()...)
}

func (r *Run) callTargets() []target {
	const (
		first  = "`bash -c true`, one client: p50 at most 1.8 times the bare fork+exec"
		second = "`bash -c true`, one client: p99 at most 4 times p50"
	)
	c := r.Find(GroupCommands, CellBash, 1, 0)
	s, floor := c.Arm(ArmSandgate), c.Arm(ArmFloor)
	if s == nil || floor == nil {
		return []target{missing(first), missing(second)}
	}
	tail := s.Median(func(rep measure.Rep) float64 {
		return float64(rep.Latencies.Percentile(99)) / float64(max(rep.Latencies.Percentile(50), 1))
	})
	one := atMost(first, "%.2f times", measure.Ratio(s, floor, 50), 1.8)
	one.measured += fmt.Sprintf(" (%s ms over %s ms)", ms(s.Percentile(50)), ms(floor.Percentile(50)))
	if same := c.Arm(ArmSameEnv); same != nil {
		one.measured += fmt.Sprintf("; %.2f times the same with the cell's environment", measure.Ratio(s, same, 50))
	}
	return []target{one, atMost(second, "%.2f times", tail, 4)}
}

func (r *Run) rateTargets() []target {
	const (
		first  = "four clients: at least 600 calls/s"
		second = "four clients: at least half the rate of four loops of bare fork+exec"
		third  = "32 clients: no lower rate than four"
	)
	four := r.Find(GroupClients, CellBash, 4, 0)
	s, floor := four.Arm(ArmSandgate), four.Arm(ArmFloor)
	if s == nil || floor == nil {
		return []target{missing(first), missing(second), missing(third)}
	}
	out := []target{
		atLeast(first, "%.0f/s", s.Rate(), 600),
		atLeast(second, "%.2f of it", measure.RateRatio(s, floor), 0.5),
	}
	many := r.Find(GroupClients, CellBash, 32, 0).Arm(ArmSandgate)
	if many == nil {
		return append(out, missing(third))
	}
	last := atLeast(third, "%.0f/s", many.Rate(), s.Rate())
	last.measured += fmt.Sprintf(" against %.0f/s", s.Rate())
	return append(out, last)
}

func (r *Run) cellTargets() []target {
	const (
		full  = "single-use cells: p50 at most 5 ms while the pool lasts"
		rate  = "single-use cells, pool dry: at least 20/s sustained"
		tail  = "single-use cells, pool dry: no call slower than 150 ms"
		where = " (with as many clients as cores)"
	)
	var out []target
	if s := r.Find(GroupCells, CellFull, 1, 0).Arm(ArmSandgate); s != nil {
		out = append(out, atMost(full, "%.2f ms", msFloat(s.Percentile(50)), 5))
	} else {
		out = append(out, missing(full))
	}
	s := r.Find(GroupCells, CellDry, r.Machine.Cores, 0).Arm(ArmSandgate)
	if s == nil {
		return append(out, missing(rate), missing(tail))
	}
	out = append(out, atLeast(rate, "%.1f/s"+where, s.Rate(), 20))
	return append(out, atMost(tail, "%.0f ms"+where, msFloat(s.Max()), 150))
}

func (r *Run) decideTargets() []target {
	const (
		half  = "decide only, 1,000/s, default library: p50 at most 0.4 ms"
		tail  = "decide only, 1,000/s, default library: p99 at most 2 ms"
		rules = "1,000 more rules (each for a tool) cost a decision at most 20 %"
	)
	var out []target
	if s := r.Find(GroupDecide, CellOpenLoop, 1, 0).Arm(ArmSandgate); s != nil && r.Method.OpenRate == 1000 {
		p50, p99 := atMost(half, "%.3f ms", msFloat(s.Percentile(50)), 0.4), atMost(tail, "%.2f ms", msFloat(s.Percentile(99)), 2)
		if fresh := r.Find(GroupDecide, CellOpenShape, 1, 0).Arm(ArmSandgate); fresh != nil {
			p50.measured += fmt.Sprintf("; %.3f ms where all rules are evaluated, for a shape never asked about", msFloat(fresh.Percentile(50)))
			p99.measured += fmt.Sprintf("; %.2f ms there", msFloat(fresh.Percentile(99)))
		}
		out = append(out, p50, p99)
	} else {
		out = append(out, missing(half), missing(tail))
	}
	c := r.Find(GroupRules, CellToolRules, 1, 1000)
	s, base := c.Arm(ArmSandgate), c.Arm(ArmLibrary)
	if s == nil || base == nil {
		return append(out, missing(rules))
	}
	return append(out, atMost(rules, "%+.0f %%", 100*(measure.Ratio(s, base, 50)-1), 20))
}

func (r *Run) gvisorTarget() target {
	const text = "gVisor, `bash -c true`: p50 at most 15 ms"
	s := r.Find(GroupIsolation, "gVisor, "+CellBash, 1, 0).Arm(ArmSandgate)
	if s == nil {
		return missing(text)
	}
	return atMost(text, "%.1f ms", msFloat(s.Percentile(50)), 15)
}

func (r *Run) memoryTargets() []target {
	const (
		cell   = "idle cell: at most 12 MiB resident with all that it brings"
		daemon = "daemon: at most 120 MiB with 1,000 sessions"
	)
	out := []target{missing(cell), missing(daemon)}
	for _, m := range r.Memory {
		switch {
		case m.Name == MemoryCell:
			out[0] = atMost(cell, "%.1f MiB", mib(m.Bytes), 12)
		case m.Name == MemoryDaemon && m.Amount >= 1000:
			out[1] = atMost(daemon, "%.1f MiB", mib(m.Bytes), 120)
		}
	}
	return out
}

// sessionTargets are those of the issue "A session" that a benchmark can show.
func (r *Run) sessionTargets() []target {
	const (
		memory  = "5,000 idle sessions: at most 100 MiB more"
		opening = "the first call of the next session beside 5,000, pool warm: p99 at most 20 ms"
	)
	out := []target{missing(memory), missing(opening)}
	for _, m := range r.Memory {
		if m.Name == MemoryIdle && m.Amount >= 5000 {
			out[0] = atMost(memory, "%.1f MiB", mib(m.Bytes), 100)
		}
	}
	if s := r.Find(GroupIdle, CellOpening, 1, 5000).Arm(ArmSandgate); s != nil {
		out[1] = atMost(opening, "%.1f ms", msFloat(s.Percentile(99)), 20)
	}
	return out
}

// Names of Memory rows that targets look for.
const (
	MemoryCell    = "idle cell"
	MemoryDaemon  = "sandgated"
	MemoryWorking = "sandgated, at work"
	MemoryIdle    = "sandgated, more than without"
)

func (r *Run) neighbourTargets() (out []target) {
	const text = "a healthy client beside %s: p99 at most twice the idle p99"
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.Group != GroupNeighbours {
			continue
		}
		s, idle := c.Arm(ArmSandgate), c.Arm(ArmIdle)
		if s == nil || idle == nil {
			continue
		}
		t := atMost(fmt.Sprintf(text, c.Name), "%.2f times", measure.Ratio(s, idle, 99), 2)
		t.measured += fmt.Sprintf(" (%s ms over %s ms)", ms(s.Percentile(99)), ms(idle.Percentile(99)))
		out = append(out, t)
	}
	if out == nil {
		out = append(out, missing(fmt.Sprintf(text, "an abuser")))
	}
	return out
}

func (r *Run) stageTarget() target {
	const text = "the stages explain at least 95 % of the p50"
	if len(r.Stages) == 0 {
		return missing(text)
	}
	best := slices.MaxFunc(r.Stages, func(a, b Stages) int { return cmp.Compare(a.Explained, b.Explained) })
	t := atLeast(text, "%.0f %%", 100*best.Explained, 95)
	t.measured += fmt.Sprintf(" (%s)", best.Source)
	return t
}

// peerTargets compare with the peers that the issue names.
func (r *Run) peerTargets() []target {
	var out []target
	for _, p := range []struct {
		text, peer string
		times      float64
	}{
		{"at least twice as quick as go-judge", "go-judge", 2},
		{"at least forty times as quick as a containerd life cycle", "containerd", 40},
	} {
		peer, s := r.peerSeries(p.peer)
		if s == nil || peer == nil {
			out = append(out, missing(p.text))
			continue
		}
		out = append(out, atLeast(p.text, "%.1f times (p50)", measure.Ratio(peer, s, 50), p.times))
	}
	return out
}

// peerSeries are those of a peer with one client and of sandgate beside it; nil: it was
// not there.
func (r *Run) peerSeries(name string) (peer, sandgate *measure.Series) {
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.Group == GroupPeers && c.Clients() == 1 && c.Arm(name) != nil {
			peer, sandgate = c.Arm(name), c.Arm(ArmSandgate)
		}
	}
	return peer, sandgate
}
