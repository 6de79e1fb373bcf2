package report

import (
	"fmt"
	"strings"
	"time"
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
		{ArmWalls, "the command in a cell made by runc: init, both walls, no daemon", []string{"claim", "limits", "workspace", "start", "run", "reap", "collect"}},
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
	took, what := r.floorStages()
	p.line("## Floors\n")
	p.line("The parts that no implementation of the design can leave out, each by the same code with nothing around it, and the call through the daemon, in turns in the same slices. CPU is that of the whole machine. The same right after a fork+exec of the command, which is not counted: in a loop of its own a part finds its caches warm, in a call it does not. Beside each part what the daemon's stages take for it (%s).\n", what)
	r.writePlan(p, GroupFloors)
	p.head("part", "by itself p50 ms", "by itself CPU ms", "after a fork+exec p50 ms", "after a fork+exec CPU ms", "in the daemon ms", "gap ms", "stages")
	var sum, cold floorSum
	var inDaemon time.Duration
	known := map[string]bool{}
	for _, part := range floorParts() {
		alone, after, ok := c.floorOf(part)
		if !ok {
			return // a sum without it would be no floor
		}
		var (
			stages time.Duration
			names  []string // of those that this run has
		)
		for _, name := range part.stages {
			if d, ok := took[name]; ok {
				stages, known[name], names = stages+d, true, append(names, name)
			}
		}
		sum, cold, inDaemon = sum.plus(alone), cold.plus(after), inDaemon+stages
		p.row(part.arm+": "+part.what, msFine(alone.took), msFine(alone.cpu), msFine(after.took), msFine(after.cpu), msFine(stages), msFine(stages-alone.took), strings.Join(names, ", "))
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
	p.line("What lies between the two sums is the price of caches and of processors that slept.\n")
	r.writeLeast(p)
	r.writeVerdicts(p)
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

// floorStages are the daemon's stages in the slices of the floors, and what they are.
func (r *Run) floorStages() (took map[string]time.Duration, what string) {
	took, what = map[string]time.Duration{}, "of no call"
	for i := range r.Stages {
		t := &r.Stages[i]
		if !t.Floors {
			continue
		}
		what = fmt.Sprintf("medians of %d calls that asked for their timeline, each stage by itself", t.Calls)
		if t.Band != nil {
			what = fmt.Sprintf("means over those %d of %d calls with their timeline that lie between the %.0fth and the %.0fth percentile", t.Band.Calls, t.Calls, t.Band.Low, t.Band.High)
		}
		for _, s := range t.Stages {
			took[s.Name] = s.Took
		}
	}
	return took, what
}
