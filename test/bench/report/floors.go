package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/sandgate/sandgate/test/bench/measure"
)

// floorPart is a part of a call that cannot be left out, and the daemon's stages in
// which it does the same.
type floorPart struct {
	arm    string
	what   string
	stages []string
}

func floorParts() []floorPart {
	return []floorPart{
		{ArmEmpty, "an RPC over the same socket that finds a result of the same size ready", []string{StageThere, "receive", "reply", StageBack}},
		{ArmDecision, "the library's decision on the same input, in one process", []string{"decide"}},
		{ArmRecords, "intent and outcome appended to a journal on the same disk", []string{"record_intent", "record_outcome"}},
		{ArmWalls, "the command in a cell made by runc: init, both walls, no daemon", []string{"claim", "limits", "workspace", "start", "run", "collect"}},
	}
}

// writeFloors writes what the call of the targets is made of at least, each part by
// itself and beside it what the daemon takes for it.
func (r *Run) writeFloors(p *printer) {
	c := r.Find(GroupFloors, CellBash, 1, 0)
	bare, whole := c.Arm(ArmFloor), c.Arm(ArmSandgate)
	if bare == nil || whole == nil {
		return
	}
	took, seen := r.floorStages()
	p.line("## Floors\n")
	p.line("The parts that no implementation of the design can leave out, each by the same code with nothing around it, and the call through the daemon, in turns in the same slices. CPU is that of the whole machine. The same right after a fork+exec of the command, which is not counted: in a loop of its own a part finds its caches warm, in a call it does not. Beside each part what the daemon's stages take for it (medians of %s).\n", seen)
	p.head("part", "by itself p50 ms", "by itself CPU ms", "after a fork+exec p50 ms", "after a fork+exec CPU ms", "in the daemon ms", "gap ms", "stages")
	var sum, cold floorSum
	var inDaemon time.Duration
	known := map[string]bool{}
	for _, part := range floorParts() {
		alone, after, ok := c.floorOf(part)
		if !ok {
			return // a sum without it would be no floor
		}
		var stages time.Duration
		for _, name := range part.stages {
			stages += took[name]
			known[name] = true
		}
		sum, cold, inDaemon = sum.plus(alone), cold.plus(after), inDaemon+stages
		p.row(part.arm+": "+part.what, msFine(alone.took), msFine(alone.cpu), msFine(after.took), msFine(after.cpu), msFine(stages), msFine(stages-alone.took), strings.Join(part.stages, ", "))
	}
	var rest time.Duration
	var others []string
	for _, name := range r.floorStageNames() {
		if !known[name] {
			rest += took[name]
			others = append(others, name)
		}
	}
	p.row("what the daemon does besides", "-", "-", "-", "-", msFine(rest), msFine(rest), strings.Join(others, ", "))
	p.row("sum of the parts", msFine(sum.took), msFine(sum.cpu), msFine(cold.took), msFine(cold.cpu), msFine(inDaemon+rest), msFine(inDaemon+rest-sum.took), "")
	p.row("`bash -c true` through the daemon", msFine(whole.Percentile(50)), msFine(whole.CPU()), "", "", "", msFine(whole.Percentile(50)-sum.took), "")
	if quick := c.Arm(ArmMemory); quick != nil {
		p.row("the same, its journal in memory, where nothing waits for a disk", msFine(quick.Percentile(50)), msFine(quick.CPU()), "", "", "", "", "")
	}
	p.row("bare fork+exec", msFine(bare.Percentile(50)), msFine(bare.CPU()), "", "", "", "", "")
	p.line("")
	r.writeVerdict(p, bare, whole, sum, cold)
	r.writePeerVerdict(p, "go-judge", CellTrue, 2)
	r.writePeerVerdict(p, "containerd", CellBash, 40)
	p.line("")
}

// floorOf is what a part takes by itself and after a fork+exec.
func (c *Cell) floorOf(part floorPart) (alone, after floorSum, ok bool) {
	s, bare := c.Arm(part.arm), c.Arm(ArmFloor)
	if s == nil || bare == nil {
		return alone, after, false
	}
	alone = floorSum{took: s.Percentile(50), cpu: s.CPU()}
	after = alone
	if disturbed := c.Arm(Cold(part.arm)); disturbed != nil {
		after = floorSum{took: disturbed.Percentile(50), cpu: max(alone.cpu, disturbed.CPU()-bare.CPU())} // never cheaper
	}
	if part.arm == ArmRecords {
		alone.record, after.record = alone.took/2, after.took/2
	}
	return alone, after, true
}

// writePeerVerdict says what the floors of a command mean for a target that is a ratio
// to what a peer takes for it.
func (r *Run) writePeerVerdict(p *printer, name, command string, times float64) {
	c := r.Find(GroupFloors, command, 1, 0)
	s, _ := r.peerSeries(name)
	if c == nil || s == nil {
		return
	}
	var sum, cold floorSum
	for _, part := range floorParts() {
		alone, after, ok := c.floorOf(part)
		if !ok {
			return
		}
		sum, cold = sum.plus(alone), cold.plus(after)
	}
	took := s.Percentile(50)
	best, inCall := float64(took)/float64(max(sum.least(), 1)), float64(took)/float64(max(cold.least(), 1))
	p.line("- %s takes %s ms for `%s`, of which the least sum less one record is %s ms, after a fork+exec %s ms: %.1f and %.1f times as quick. The target is %.0f times: %s.",
		name, ms(took), command, msFine(sum.least()), msFine(cold.least()), best, inCall, times, reachable(best >= times, inCall >= times))
}

// floorSum is what parts of a call take.
type floorSum struct {
	took, cpu time.Duration
	record    time.Duration // of one of the two records
}

func (s floorSum) plus(t floorSum) floorSum {
	return floorSum{took: s.took + t.took, cpu: s.cpu + t.cpu, record: s.record + t.record}
}

// least is what a call takes at least whose first record is written while its cell
// gets ready.
func (s floorSum) least() time.Duration { return s.took - s.record }

// writeVerdict says what the floors mean for the targets: sum with the caches as a loop
// of one part leaves them, cold as a call finds them.
func (r *Run) writeVerdict(p *printer, bare, whole *measure.Series, sum, cold floorSum) {
	one := float64(max(bare.Percentile(50), 1))
	best, inCall := float64(sum.least())/one, float64(cold.least())/one
	p.line("What lies between the two sums is the price of caches and of processors that slept.\n")
	p.line("- The first record can be written while the cell gets ready: the least that a call can take here is the sum less one record, %s ms, %.2f times the bare fork+exec, and as a call finds the machine, after a fork+exec, %s ms, %.2f times. The target is 1.8 times: %s.",
		msFine(sum.least()), best, msFine(cold.least()), inCall, reachable(best <= 1.8, inCall <= 1.8))
	if sum.cpu > 0 && cold.cpu > 0 && bare.CPU() > 0 && whole.CPU() > 0 {
		most, likely := perCore(r.Machine.Cores, sum.cpu), perCore(r.Machine.Cores, cold.cpu)
		half := perCore(r.Machine.Cores, bare.CPU()) / 2
		p.line("- %d cores are used up by %.0f such sums a second, after a fork+exec by %.0f, by %.0f calls through the daemon as it is, and by %.0f bare fork+exec, of which half is %.0f. 600/s from many clients: %s; half the bare rate: %s.",
			r.Machine.Cores, most, likely, perCore(r.Machine.Cores, whole.CPU()), 2*half, half, reachable(most >= 600, likely >= 600), reachable(most >= half, likely >= half))
	}
}

func perCore(cores int, each time.Duration) float64 {
	return float64(cores) * float64(time.Second) / float64(each)
}

// reachable says what a floor means for a target that it leaves room for at best, and
// as it is in a call.
func reachable(atBest, inCall bool) string {
	switch {
	case inCall:
		return "reachable, so what is missing is the daemon's own"
	case atBest:
		return "out of reach for parts that find the machine as a call does, and not for warm ones"
	}
	return "below the floor of this machine"
}

func (r *Run) floorStageNames() (names []string) {
	for _, t := range r.Stages {
		for _, s := range t.Stages {
			if t.Floors {
				names = append(names, s.Name)
			}
		}
	}
	return names
}

// floorStages are the daemon's stages in the slices of the floors, and how many calls
// they are the medians of.
func (r *Run) floorStages() (took map[string]time.Duration, calls string) {
	took, calls = map[string]time.Duration{}, "no call"
	for _, t := range r.Stages {
		if !t.Floors {
			continue
		}
		calls = fmt.Sprintf("%d calls that asked for their timeline", t.Calls)
		for _, s := range t.Stages {
			took[s.Name] = s.Took
		}
	}
	return took, calls
}

func msFine(d time.Duration) string { return fmt.Sprintf("%.3f", msFloat(d)) }
