//go:build linux

package main

import (
	"testing"
	"time"
)

// leaver leaves processes that wait, of which the kernel has to end and to bury each.
const leaver = "for i in {1..150}; do sleep 1000 & done"

// TestEndOfTheRestIsNoTimeOfTheProgram: what a program leaves behind has its own time, by
// whatever way the program was let run.
func TestEndOfTheRestIsNoTimeOfTheProgram(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *testCell{"socket": startCell, "stdio": startCellByStdio, "doors": startCellWithDoors} {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			ready := func() error { return nil }
			alone, with := base("true"), base("bash", "-c", leaver)
			alone.Ready, with.Ready = ready, ready
			least := time.Hour // that it takes by itself, whatever the machine does beside
			for range 3 {
				r := c.run(t, alone)
				plausible(t, r, "a program that leaves nothing")
				least = min(least, r.ReapTime)
			}
			r := c.run(t, with)
			plausible(t, r, "a program that leaves 150")
			if buried := r.RunTime - r.OwnTime; r.BackgroundKilled != 150 || buried <= 0 || r.ReapTime < buried || r.ReapTime < 2*least {
				t.Errorf("left %d; its own %v of %v, %v more until the answer, %v where nothing is left: want the end of the rest in the latter alone",
					r.BackgroundKilled, r.OwnTime, r.RunTime, r.ReapTime, least)
			}
		})
	}
}

// TestKilledProgramEndsWithItsKill: a program that init ends has its own time until then.
func TestKilledProgramEndsWithItsKill(t *testing.T) {
	x := base("bash", "-c", leaver+"; sleep 1000")
	x.WallTime = 500 * time.Millisecond
	r := startCell(t).run(t, x)
	plausible(t, r, "a program that is killed")
	if !r.TimedOut || r.OwnTime < x.WallTime || r.OwnTime >= r.RunTime {
		t.Errorf("got %+v: want its own time from %v on, and less than all", r.Exit, x.WallTime)
	}
}

func plausible(t *testing.T, r result, what string) {
	t.Helper()
	if r.OwnTime <= 0 || r.ReapTime <= 0 || r.OwnTime > r.RunTime || r.Answered <= r.OwnTime+r.ReapTime {
		t.Errorf("%s: got %v of its own of %v, %v until the answer at %v of the machine", what, r.OwnTime, r.RunTime, r.ReapTime, r.Answered)
	}
}
