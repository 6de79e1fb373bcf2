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
	p.head("part", "by itself p50 ms", "by itself CPU ms", "after a fork+exec p50 ms", "in the daemon ms", "gap ms", "stages")
	var sum, sumCold, cpu, record, inDaemon time.Duration
	known := map[string]bool{}
	for _, part := range floorParts() {
		s := c.Arm(part.arm)
		if s == nil {
			return // a sum without it would be no floor
		}
		var stages time.Duration
		for _, name := range part.stages {
			stages += took[name]
			known[name] = true
		}
		alone := s.Percentile(50)
		after := alone
		if disturbed := c.Arm(Cold(part.arm)); disturbed != nil {
			after = disturbed.Percentile(50)
		}
		sumCold += after
		sum, cpu, inDaemon = sum+alone, cpu+s.CPU(), inDaemon+stages
		if part.arm == ArmRecords {
			record = alone / 2
		}
		p.row(part.arm+": "+part.what, msFine(alone), msFine(s.CPU()), msFine(after), msFine(stages), msFine(stages-alone), strings.Join(part.stages, ", "))
	}
	var rest time.Duration
	var others []string
	for _, name := range r.floorStageNames() {
		if !known[name] {
			rest += took[name]
			others = append(others, name)
		}
	}
	p.row("what the daemon does besides", "-", "-", "-", msFine(rest), msFine(rest), strings.Join(others, ", "))
	p.row("sum of the parts", msFine(sum), msFine(cpu), msFine(sumCold), msFine(inDaemon+rest), msFine(inDaemon+rest-sum), "")
	p.row("`bash -c true` through the daemon", msFine(whole.Percentile(50)), msFine(whole.CPU()), "", "", msFine(whole.Percentile(50)-sum), "")
	p.row("bare fork+exec", msFine(bare.Percentile(50)), msFine(bare.CPU()), "", "", "", "")
	p.line("")
	r.writeVerdict(p, bare, whole, sum, cpu, record)
	if one := max(bare.Percentile(50), 1); sumCold != sum {
		p.line("As the parts are in a call, after a fork+exec, they sum up to %s ms, %.2f times the bare fork+exec: what lies between the two sums is the price of caches and of processors that slept.\n",
			msFine(sumCold), float64(sumCold)/float64(one))
	}
}

// writeVerdict says what the floors mean for the targets.
func (r *Run) writeVerdict(p *printer, bare, whole *measure.Series, sum, cpu, record time.Duration) {
	least := sum - record
	one := float64(max(bare.Percentile(50), 1))
	p.line("- The first record can be written while the cell gets ready: the least that a call can take here is the sum less one record, %s ms, %.2f times the bare fork+exec. The target is 1.8 times: %s.",
		msFine(least), float64(least)/one, reachable(float64(least)/one <= 1.8))
	if cpu > 0 && bare.CPU() > 0 && whole.CPU() > 0 {
		most := perCore(r.Machine.Cores, cpu)
		half := perCore(r.Machine.Cores, bare.CPU()) / 2
		p.line("- %d cores are used up by %.0f such sums a second, by %.0f calls through the daemon as it is, and by %.0f bare fork+exec, of which half is %.0f. 600/s from many clients: %s; half the bare rate: %s.",
			r.Machine.Cores, most, perCore(r.Machine.Cores, whole.CPU()), 2*half, half, reachable(most >= 600), reachable(most >= half))
	}
	p.line("")
}

func perCore(cores int, each time.Duration) float64 {
	return float64(cores) * float64(time.Second) / float64(each)
}

func reachable(yes bool) string {
	if yes {
		return "reachable, so what is missing is the daemon's own"
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
