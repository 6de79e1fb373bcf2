package report

import (
	"fmt"

	"github.com/sandgate/sandgate/test/bench/measure"
)

// target is one of the project's targets and what the run says of it.
type target struct {
	text     string
	measured string // empty: not measured
	met      bool
}

// judge makes a target of a figure whose median must keep a limit, a most or a least.
// Where the limit lies among the repetitions their range is shown.
func judge(text, unit string, value span, limit float64, most bool) target {
	if !value.known() {
		return missing(text)
	}
	out := target{text, near(value.mid, limit) + unit, value.meets(limit, most)}
	if low, high := near(value.low, limit), near(value.high, limit); value.holds(limit) && low != high {
		out.measured += fmt.Sprintf(", in repetitions %s to %s", low, high)
	}
	return out
}

// atMost makes a target of a figure that has no repetitions and must not exceed a limit.
func atMost(text, unit string, value, limit float64) target {
	return target{text, near(value, limit) + unit, value <= limit}
}

func atLeast(text, unit string, value, limit float64) target {
	return target{text, near(value, limit) + unit, value >= limit}
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
	tail := spanOf(s, func(rep measure.Rep) float64 {
		return float64(rep.Latencies.Percentile(99)) / float64(max(rep.Latencies.Percentile(50), 1))
	})
	p50 := judge(first, " times", pairs(s, floor, at(50)), 1.8, true)
	p50.measured += fmt.Sprintf(" (%s ms over %s ms)", ms(s.Percentile(50)), ms(floor.Percentile(50)))
	if same := c.Arm(ArmSameEnv); same != nil {
		p50.measured += fmt.Sprintf("; %.2f times the same with the cell's environment", measure.Ratio(s, same, 50))
	}
	return []target{p50, judge(second, " times", tail, 4, true)}
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
		judge(first, "/s", spanOf(s, rate), 600, false),
		judge(second, " of it", pairs(s, floor, rate), 0.5, false),
	}
	many := spanOf(r.Find(GroupClients, CellBash, 32, 0).Arm(ArmSandgate), rate)
	if !many.known() {
		return append(out, missing(third))
	}
	last := judge(third, "/s", many, s.Rate(), false)
	last.measured += fmt.Sprintf(" against %.0f/s", s.Rate())
	return append(out, last)
}

func (r *Run) cellTargets() []target {
	const (
		full = "single-use cells: p50 at most 5 ms while the pool lasts"
		dry  = "single-use cells, pool dry, as many clients as cores: at least 20/s sustained"
		tail = "single-use cells, pool dry, as many clients as cores: no call slower than 150 ms"
	)
	out := []target{judge(full, " ms", spanOf(r.Find(GroupCells, CellFull, 1, 0).Arm(ArmSandgate), at(50)), 5, true)}
	s := r.Find(GroupCells, CellDry, r.Machine.Cores, 0).Arm(ArmSandgate)
	if s == nil {
		return append(out, missing(dry), missing(tail))
	}
	perSecond, slowest := judge(dry, "/s", spanOf(s, rate), 20, false), atMost(tail, " ms", msFloat(s.Max()), 150)
	for i := range r.Cells {
		c := &r.Cells[i]
		other := c.Arm(ArmSandgate)
		if c.Group != GroupCells || c.Name != CellDry || other == nil || c.Clients() == r.Machine.Cores {
			continue
		}
		clients := "one client"
		if n := c.Clients(); n > 1 {
			clients = fmt.Sprintf("%d clients", n)
		}
		perSecond.measured += fmt.Sprintf("; %s/s with %s", near(other.Rate(), 20), clients)
		slowest.measured += fmt.Sprintf("; %s ms with %s", near(msFloat(other.Max()), 150), clients)
	}
	return append(out, perSecond, slowest)
}

func (r *Run) decideTargets() (out []target) {
	const (
		half  = "decide only, 1,000/s, default library: p50 at most 0.4 ms"
		tail  = "decide only, 1,000/s, default library: p99 at most 2 ms"
		fresh = "; the same where all rules are evaluated (a shape never asked about)"
	)
	for _, loop := range []struct{ cell, also string }{{CellOpenLoop, ""}, {CellOpenShape, fresh}} {
		var p50, p99 span
		if s := r.Find(GroupDecide, loop.cell, 1, 0).Arm(ArmSandgate); r.Method.OpenRate == 1000 {
			p50, p99 = spanOf(s, at(50)), spanOf(s, at(99))
		}
		out = append(out, judge(half+loop.also, " ms", p50, 0.4, true), judge(tail+loop.also, " ms", p99, 2, true))
	}
	return append(out, r.rulesTarget())
}

// rulesTarget is judged by the dearer of the two kinds of rules that an index finds. What
// rules cost that look into the arguments is shown and not judged.
func (r *Run) rulesTarget() target {
	const text = "1,000 more rules that an index finds (each for a tool; each for a program): at most 20 % more for a decision"
	more := func(name string) span {
		c := r.Find(GroupRules, name, 1, 1000)
		return pairs(c.Arm(ArmSandgate), c.Arm(ArmLibrary), at(50))
	}
	percent := func(v span) string { return fmt.Sprintf("%+.0f %%", 100*(v.mid-1)) }
	tool, program, arguments := more(CellToolRules), more(CellCommandRules), more(CellArgumentRules)
	if !tool.known() || !program.known() {
		return missing(text)
	}
	out := target{text: text, measured: percent(tool) + " for a tool, " + percent(program) + " for a program", met: max(tool.mid, program.mid) <= 1.2}
	if arguments.known() {
		out.measured += "; not judged: " + percent(arguments) + " where each looks into the arguments, which no index finds"
	}
	return out
}

func (r *Run) gvisorTarget() target {
	const text = "gVisor, `bash -c true`: p50 at most 15 ms"
	return judge(text, " ms", spanOf(r.Find(GroupIsolation, "gVisor, "+CellBash, 1, 0).Arm(ArmSandgate), at(50)), 15, true)
}

func (r *Run) memoryTargets() []target {
	const (
		cell   = "idle cell: at most 12 MiB resident with all that it brings"
		daemon = "daemon: at most 120 MiB with 1,000 sessions, at rest"
	)
	out := []target{missing(cell), missing(daemon)}
	var working string
	for _, m := range r.Memory {
		switch {
		case m.Name == MemoryCell:
			out[0] = atMost(cell, " MiB", mib(m.Bytes), 12)
		case m.Name == MemoryWorking && m.Amount >= 1000:
			working = fmt.Sprintf("; %s MiB at work, right after calls", near(mib(m.Bytes), 120))
		case m.Name == MemoryDaemon && m.Amount >= 1000:
			text := daemon
			if m.After > 0 {
				text += fmt.Sprintf(", %v after the last call", m.After)
			}
			out[1] = atMost(text, " MiB", mib(m.Bytes), 120)
		}
	}
	if out[1].measured != "" {
		out[1].measured += working
	}
	return out
}

// sessionTargets are those of the issue "A session" that a benchmark can show.
func (r *Run) sessionTargets() []target {
	const (
		memory  = "5,000 idle sessions: at most 100 MiB more"
		opening = "the first call of the next session beside 5,000, pool warm: p99 at most 20 ms"
	)
	out := []target{missing(memory), judge(opening, " ms", spanOf(r.Find(GroupIdle, CellOpening, 1, 5000).Arm(ArmSandgate), at(99)), 20, true)}
	for _, m := range r.Memory {
		if m.Name == MemoryIdle && m.Amount >= 5000 {
			out[0] = atMost(memory, " MiB", mib(m.Bytes), 100)
		}
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
		t := judge(fmt.Sprintf(text, c.Name), " times", pairs(s, idle, at(99)), 2, true)
		t.measured += fmt.Sprintf(" (%s ms over %s ms)", ms(s.Percentile(99)), ms(idle.Percentile(99)))
		out = append(out, t)
	}
	if out == nil {
		out = append(out, missing(fmt.Sprintf(text, "an abuser")))
	}
	return out
}

// peerTargets compare with the peers that the issue names, one client each.
func (r *Run) peerTargets() (out []target) {
	for _, p := range []struct {
		text, peer string
		times      float64
	}{
		{"at least twice as quick as go-judge (p50, one client)", "go-judge", 2},
		{"at least forty times as quick as a containerd life cycle (p50, one client)", "containerd", 40},
	} {
		peer, s := r.peerSeries(p.peer)
		t := judge(p.text, " times", pairs(peer, s, at(50)), p.times, false)
		for i := range r.Cells {
			if c := &r.Cells[i]; t.measured != "" && c.Group == GroupPeers && c.Clients() > 1 && c.Arm(p.peer) != nil {
				t.measured += fmt.Sprintf("; %s times with %d clients", near(pairs(c.Arm(p.peer), c.Arm(ArmSandgate), at(50)).mid, p.times), c.Clients())
			}
		}
		out = append(out, t)
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
