package report

import (
	"fmt"
	"time"

	"github.com/sandgate/sandgate/test/bench/measure"
)

// verdict is what the floors say of a target: the figure that the warm parts would give,
// the parts as a call finds the machine, the least daemon and the daemon.
type verdict struct {
	target                   string
	unit                     string
	limit                    float64
	most                     bool // limit is a most, not a least
	warm, cold, least, whole span
	// beaten says that the daemon was quicker than the least daemon in every repetition.
	beaten bool
}

// writeVerdicts says of the targets that have a floor whether it is above them.
func (r *Run) writeVerdicts(p *printer) {
	p.line("Of the targets which these floors are for (the first record is written while the cell gets ready, so a sum is less one record; rates are the cores over the processor time; `sandgate` in the slices of this section; in brackets the lowest and the highest of the repetitions). Below the floor is a target only if not even the best repetition gets there; at the floor, if some do.\n")
	p.head("target", "warm parts", "parts as a call finds the machine", "least daemon", "sandgate", "so")
	for _, v := range r.verdicts() {
		if !v.warm.known() && !v.least.known() && !v.whole.known() {
			continue
		}
		row := []string{v.target}
		for _, value := range []span{v.warm, v.cold, v.least, v.whole} {
			if !value.known() {
				row = append(row, "-")
				continue
			}
			row = append(row, value.text(v.limit, v.unit))
		}
		p.row(append(row, v.so())...)
	}
	p.line("")
}

func (r *Run) verdicts() (out []verdict) {
	c := r.Find(GroupFloors, CellBash, 1, 0)
	warm, cold, ok := c.sumSpans(func(sum floorSum, bare *measure.Series) float64 {
		return float64(sum.least()) / float64(max(bare.Percentile(50), 1))
	})
	if !ok {
		return nil
	}
	bare, least, whole := c.Arm(ArmFloor), c.Arm(ArmLeast), c.Arm(ArmSandgate)
	out = append(out, verdict{
		target: "one client at most 1.8 times the bare fork+exec", unit: " times", limit: 1.8, most: true,
		warm: warm, cold: cold, least: pairs(least, bare, at(50)), whole: pairs(whole, bare, at(50)), beaten: beats(whole, least, at(50), true),
	})
	out = append(out, r.rateVerdicts(c)...)
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

func (r *Run) rateVerdicts(c *Cell) []verdict {
	cores := r.Machine.Cores
	warm, cold, _ := c.sumSpans(func(sum floorSum, _ *measure.Series) float64 { return perCore(cores, sum.cpu) })
	warmPart, coldPart, _ := c.sumSpans(func(sum floorSum, bare *measure.Series) float64 {
		if bare.CPU() == 0 || sum.cpu == 0 {
			return 0
		}
		return float64(bare.CPU()) / float64(sum.cpu)
	})
	four, many := r.Find(GroupFloors, CellBash, 4, 0), r.Find(GroupFloors, CellBash, 32, 0)
	least, whole, loops := four.Arm(ArmLeast), four.Arm(ArmSandgate), four.Arm(ArmFloor)
	beaten := beats(whole, least, rate, false)
	return []verdict{
		{
			target: "four clients at least 600/s", unit: "/s", limit: 600,
			warm: warm, cold: cold, least: spanOf(least, rate), whole: spanOf(whole, rate), beaten: beaten,
		},
		{
			target: "four clients at least half of four bare loops", limit: 0.5,
			warm: warmPart, cold: coldPart, least: pairs(least, loops, rate), whole: pairs(whole, loops, rate), beaten: beaten,
		},
		{
			target: "32 clients no lower than four", unit: " of it", limit: 1,
			least:  spanOf(many.Arm(ArmLeast), rate).over(spanOf(least, rate)),
			whole:  spanOf(many.Arm(ArmSandgate), rate).over(spanOf(whole, rate)),
			beaten: beats(many.Arm(ArmSandgate), many.Arm(ArmLeast), rate, false),
		},
	}
}

// peerVerdict is that of a target which is a ratio to what a peer takes for a command.
func (r *Run) peerVerdict(name, command string, times float64) (verdict, bool) {
	c := r.Find(GroupFloors, command, 1, 0)
	s, _ := r.peerSeries(name)
	warm, cold, ok := c.sumSpans(func(sum floorSum, _ *measure.Series) float64 { return msFloat(sum.least()) })
	if s == nil || !ok {
		return verdict{}, false
	}
	took, least, whole := spanOf(s, at(50)), c.Arm(ArmLeast), c.Arm(ArmSandgate)
	return verdict{
		target: fmt.Sprintf("at least %.0f times as quick as %s (`%s`, %s ms)", times, name, command, ms(s.Percentile(50))),
		unit:   " times", limit: times, warm: took.over(warm), cold: took.over(cold),
		least: took.over(spanOf(least, at(50))), whole: took.over(spanOf(whole, at(50))), beaten: beats(whole, least, at(50), true),
	}, true
}

// beats tells whether s was better than base in each of the repetitions, in which they
// took turns: lower where low is good, higher otherwise.
func beats(s, base *measure.Series, of func(measure.Rep) float64, low bool) bool {
	if s == nil || base == nil || len(s.Reps) == 0 || len(s.Reps) != len(base.Reps) {
		return false
	}
	for i := range s.Reps {
		a, b := of(s.Reps[i]), of(base.Reps[i])
		if a == b || (a < b) != low {
			return false
		}
	}
	return true
}

// What a verdict says.
const (
	soMet        = "met here"
	soMetMostly  = "met here, but not in every repetition"
	soBelowParts = "below the floor: not even warm parts meet it"
	soNoFloor    = "no floor: sandgate itself is quicker there"
	soAt         = "at the floor: nothing is left for what the daemon is for"
	soBelow      = "below the floor: a daemon that does nothing else does not meet it"
	soAbove      = "a daemon that does nothing else meets it and leaves %.0f %% for the daemon's own"
	soUnknown    = "above what the parts take; not known of a daemon that does nothing else"
)

// so says where the floor of a target lies.
func (v verdict) so() string {
	parts := v.better(v.warm, v.cold)
	switch {
	case v.whole.known() && v.whole.meets(v.limit, v.most):
		if worst := v.worst(v.whole); !one(worst).meets(v.limit, v.most) {
			return soMetMostly
		}
		return soMet
	case parts.known() && v.misses(parts) && v.better(parts, v.whole) == parts:
		return soBelowParts
	case v.beaten:
		return soNoFloor
	case !v.least.known() && parts.known() && !parts.meets(v.limit, v.most):
		return soAt
	case !v.least.known():
		return soUnknown
	case v.misses(v.least):
		return soBelow
	case v.least.holds(v.limit):
		return soAt
	}
	return fmt.Sprintf(soAbove, 100*v.room())
}

// misses tells whether not even the best repetition keeps the limit.
func (v verdict) misses(value span) bool {
	return !value.holds(v.limit) && !value.meets(v.limit, v.most)
}

// better is the one that is nearer to the target; one that is not known never is.
func (v verdict) better(a, b span) span {
	switch {
	case !b.known():
		return a
	case !a.known() || (a.mid < b.mid) != v.most:
		return b
	}
	return a
}

func (v verdict) worst(value span) float64 {
	if v.most {
		return value.high
	}
	return value.low
}

// room is how much of a call lies between the least daemon and the limit.
func (v verdict) room() float64 {
	if v.most {
		return 1 - v.least.mid/v.limit
	}
	return 1 - v.limit/v.least.mid
}

// sumSpans is what of says of the sums of all parts, by themselves and after a fork+exec:
// of the medians, with the range of what it says of each repetition. Not ok when a part
// is missing.
func (c *Cell) sumSpans(of func(sum floorSum, bare *measure.Series) float64) (warm, cold span, ok bool) {
	w, k, ok := c.floorSums()
	bare := c.Arm(ArmFloor)
	if !ok {
		return warm, cold, false
	}
	var warms, colds []float64
	for i := range bare.Reps {
		single := c.repetition(i)
		if w, k, ok := single.floorSums(); ok {
			warms, colds = append(warms, of(w, single.Arm(ArmFloor))), append(colds, of(k, single.Arm(ArmFloor)))
		}
	}
	return spanOfAll(warms).around(of(w, bare)), spanOfAll(colds).around(of(k, bare)), true
}

// repetition is the cell with no more than the i-th repetition of each arm.
func (c *Cell) repetition(i int) *Cell {
	out := &Cell{Group: c.Group, Name: c.Name}
	for _, s := range c.Series {
		if i < len(s.Reps) {
			s.Reps = s.Reps[i : i+1]
			out.Series = append(out.Series, s)
		}
	}
	return out
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
