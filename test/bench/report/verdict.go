package report

import (
	"fmt"
	"time"

	"github.com/sandgate/sandgate/test/bench/measure"
)

// writeLeast writes what the least daemon takes beside the daemon.
func (r *Run) writeLeast(p *printer) {
	if r.Find(GroupFloors, CellBash, 1, 0).Arm(ArmLeast) == nil {
		return
	}
	p.line("The *least daemon* is a process that does for a request just these parts, one after the other, by the same code: it decides, begins the intent, has the stage of a cell get ready, executes the program when the intent is durable, appends the outcome, answers with a ready response. No identity, facts, limits, line, evidence, result or metrics are in it (`test/bench/parts/least.go`). It shows what the parts take when they have to be handed from one to the next. CPU is that of the whole machine.\n")
	p.head("command", "clients", "fork+exec p50 ms", "per s", "CPU ms", "least daemon p50 ms", "per s", "CPU ms", "sandgate p50 ms", "per s", "CPU ms")
	for _, of := range []struct {
		command string
		clients int
	}{{CellBash, 1}, {CellBash, 4}, {CellBash, 32}, {CellTrue, 1}} {
		c := r.Find(GroupFloors, of.command, of.clients, 0)
		row := []string{of.command, fmt.Sprint(of.clients)}
		for _, name := range []string{ArmFloor, ArmLeast, ArmSandgate} {
			s := c.Arm(name)
			if s == nil {
				row = nil
				break
			}
			row = append(row, ms(s.Percentile(50)), fmt.Sprintf("%.0f", s.Rate()), msFine(s.CPU()))
		}
		if row != nil {
			p.row(row...)
		}
	}
	p.line("")
	r.writeLess(p)
}

// writeLess writes what the least daemon takes without some of its parts.
func (r *Run) writeLess(p *printer) {
	c := r.Find(GroupFloors, CellBash, 1, 0)
	base := c.Arm(ArmFloor)
	if base == nil || c.Arm(ArmLeastNeither) == nil {
		return
	}
	p.line("What two of its parts take, with one client: the same process without them. Without gRPC a message has its length before it, and one goroutine serves a connection; nothing of sandgate works like that.\n")
	p.head("`bash -c true`, one client", "p50 ms", "over fork+exec", "CPU ms")
	for _, name := range []string{ArmFloor, ArmWalls, ArmLeastNeither, ArmLeastNoJournal, ArmLeastNoGRPC, ArmLeast, ArmSandgate} {
		if s := c.Arm(name); s != nil {
			p.row(name, ms(s.Percentile(50)), fmt.Sprintf("%.2f", measure.Ratio(s, base, 50)), msFine(s.CPU()))
		}
	}
	p.line("")
}

// verdict is what the floors say of a target: the figure that the warm parts would give,
// the parts as a call finds the machine, the least daemon and the daemon. 0: not known.
type verdict struct {
	target                   string
	format                   string
	limit                    float64
	most                     bool // limit is a most, not a least
	warm, cold, least, whole float64
}

// writeVerdicts says of the targets that have a floor whether it is above them.
func (r *Run) writeVerdicts(p *printer) {
	p.line("Of the targets which these floors are for (the first record is written while the cell gets ready, so a sum is less one record; rates are the cores over the processor time; `sandgate` in the slices of this section):\n")
	p.head("target", "warm parts", "parts as a call finds the machine", "least daemon", "sandgate", "so")
	for _, v := range r.verdicts() {
		if v.warm == 0 && v.least == 0 && v.whole == 0 {
			continue
		}
		row := []string{v.target}
		for _, value := range []float64{v.warm, v.cold, v.least, v.whole} {
			if value == 0 {
				row = append(row, "-")
				continue
			}
			row = append(row, fmt.Sprintf(v.format, value))
		}
		p.row(append(row, v.so())...)
	}
	p.line("")
}

func (r *Run) verdicts() (out []verdict) {
	c := r.Find(GroupFloors, CellBash, 1, 0)
	warm, cold, ok := c.floorSums()
	bare := c.Arm(ArmFloor)
	if !ok || bare == nil {
		return nil
	}
	one := float64(max(bare.Percentile(50), 1))
	out = append(out, verdict{
		target: "one client at most 1.8 times the bare fork+exec", format: "%.2f times", limit: 1.8, most: true,
		warm: float64(warm.least()) / one, cold: float64(cold.least()) / one, least: ratioTo(c, ArmLeast, bare), whole: ratioTo(c, ArmSandgate, bare),
	})
	out = append(out, r.rateVerdicts(bare, warm, cold)...)
	for _, peer := range []struct {
		name, command string
		times         float64
	}{{"go-judge", CellTrue, 2}, {"containerd", CellBash, 40}} {
		if v, ok := r.peerVerdict(peer.name, peer.command, peer.times); ok {
			out = append(out, v)
		}
	}
	return out
}

// ratioTo is the p50 of an arm over that of base; 0 where it is missing.
func ratioTo(c *Cell, name string, base *measure.Series) float64 {
	s := c.Arm(name)
	if s == nil {
		return 0
	}
	return measure.Ratio(s, base, 50)
}

func (r *Run) rateVerdicts(bare *measure.Series, warm, cold floorSum) []verdict {
	four, many := r.Find(GroupFloors, CellBash, 4, 0), r.Find(GroupFloors, CellBash, 32, 0)
	rate := func(c *Cell, name string) float64 {
		if s := c.Arm(name); s != nil {
			return s.Rate()
		}
		return 0
	}
	cores, loops := r.Machine.Cores, perCore(r.Machine.Cores, bare.CPU())
	over := func(value, base float64) float64 {
		if base == 0 {
			return 0
		}
		return value / base
	}
	return []verdict{
		{
			target: "four clients at least 600/s", format: "%.0f/s", limit: 600,
			warm: perCore(cores, warm.cpu), cold: perCore(cores, cold.cpu), least: rate(four, ArmLeast), whole: rate(four, ArmSandgate),
		},
		{
			target: "four clients at least half of four bare loops", format: "%.2f", limit: 0.5,
			warm: over(perCore(cores, warm.cpu), loops), cold: over(perCore(cores, cold.cpu), loops),
			least: over(rate(four, ArmLeast), rate(four, ArmFloor)), whole: over(rate(four, ArmSandgate), rate(four, ArmFloor)),
		},
		{
			target: "32 clients no lower than four", format: "%.2f of it", limit: 1,
			least: over(rate(many, ArmLeast), rate(four, ArmLeast)), whole: over(rate(many, ArmSandgate), rate(four, ArmSandgate)),
		},
	}
}

// peerVerdict is that of a target which is a ratio to what a peer takes for a command.
func (r *Run) peerVerdict(name, command string, times float64) (verdict, bool) {
	c := r.Find(GroupFloors, command, 1, 0)
	s, _ := r.peerSeries(name)
	warm, cold, ok := c.floorSums()
	if s == nil || !ok {
		return verdict{}, false
	}
	over := func(took time.Duration) float64 { return float64(s.Percentile(50)) / float64(max(took, 1)) }
	v := verdict{
		target: fmt.Sprintf("at least %.0f times as quick as %s (`%s`, %s ms)", times, name, command, ms(s.Percentile(50))),
		format: "%.1f times", limit: times, warm: over(warm.least()), cold: over(cold.least()),
	}
	if least := c.Arm(ArmLeast); least != nil {
		v.least = over(least.Percentile(50))
	}
	if whole := c.Arm(ArmSandgate); whole != nil {
		v.whole = over(whole.Percentile(50))
	}
	return v, true
}

// so says where the floor of a target lies.
func (v verdict) so() string {
	meets := func(value float64) bool {
		if v.most {
			return value <= v.limit
		}
		return value >= v.limit
	}
	best := max(v.warm, v.cold)
	if v.most {
		best = v.warm
	}
	switch {
	case v.whole != 0 && meets(v.whole):
		return "met here"
	case v.least != 0 && meets(v.least):
		return fmt.Sprintf("a daemon that does nothing else meets it and leaves %.0f %% for the daemon's own", 100*v.room())
	case best != 0 && !meets(best):
		return "below the floor: not even warm parts meet it"
	case v.least != 0:
		return "below the floor: a daemon that does nothing else does not meet it"
	}
	return "above what the parts take; not known of a daemon that does nothing else"
}

// room is how much of a call lies between the least daemon and the limit.
func (v verdict) room() float64 {
	if v.most {
		return 1 - v.least/v.limit
	}
	return 1 - v.limit/v.least
}

// floorSums are those of all parts, by themselves and after a fork+exec; not ok when one
// is missing.
func (c *Cell) floorSums() (warm, cold floorSum, ok bool) {
	for _, part := range floorParts() {
		alone, after, found := c.floorOf(part)
		if !found {
			return floorSum{}, floorSum{}, false
		}
		warm, cold = warm.plus(alone), cold.plus(after)
	}
	return warm, cold, true
}

func perCore(cores int, each time.Duration) float64 {
	if each <= 0 {
		return 0
	}
	return float64(cores) * float64(time.Second) / float64(each)
}
