package report

import (
	"strings"
	"testing"
	"time"

	"github.com/sandgate/sandgate/test/bench/measure"
)

// TestFloorsSayWhatCanBeReached makes runs whose parts sum up below and above what
// the targets ask for.
func TestFloorsSayWhatCanBeReached(t *testing.T) {
	const ms = time.Millisecond
	series := func(name string, took, cpu time.Duration) measure.Series {
		return measure.Series{Name: name, Clients: 1, Reps: []measure.Rep{{Wall: took, CPU: cpu, Latencies: measure.Latencies{took}}}}
	}
	for _, tt := range []struct {
		walls time.Duration
		want  []string
	}{
		{4 * ms, []string{
			"| two records alone: intent and outcome appended to a journal on the same disk | 2.000 | 1.000 | 2.600 | 3.000 | 5.000 | 3.000 | record_intent, record_outcome |",
			"| what the daemon does besides | - | - | - | - | 7.000 | 7.000 | finish |",
			"| sum of the parts | 8.000 | 7.000 | 8.600 | 9.000 | 12.000 |", "7.000 ms, 1.75 times", "7.300 ms, 1.82 times. The target is 1.8 times: out of reach for parts that",
			"2 cores are used up by 286 such sums a second, after a fork+exec by 222, by 200 calls", "half is 250. 600/s from many clients: below the floor", "half the bare rate: out of reach for parts that",
			"containerd takes 300 ms for `bash -c true`, of which the least sum less one record is 7.000 ms, after a fork+exec 7.300 ms: 42.9 and 41.1 times as quick. The target is 40 times: reachable",
		}},
		{3 * ms, []string{"6.300 ms, 1.57 times. The target is 1.8 times: reachable"}},
		{5 * ms, []string{"8.000 ms, 2.00 times", "The target is 1.8 times: below the floor", "The target is 40 times: below the floor"}},
	} {
		r := &Run{
			Machine: Machine{Cores: 2},
			Cells: []Cell{{Group: GroupFloors, Name: CellBash, Base: ArmFloor, Series: []measure.Series{
				series(ArmFloor, 4*ms, 4*ms), series(ArmSandgate, 20*ms, 10*ms), series(ArmEmpty, ms, ms),
				series(ArmDecision, ms, ms), series(ArmRecords, 2*ms, ms), series(Cold(ArmRecords), 2600*time.Microsecond, 7*ms), series(ArmWalls, tt.walls, 4*ms),
			}}, {Group: GroupPeers, Name: "containerd, bash -c true", Series: []measure.Series{
				series(ArmFloor, 4*ms, 4*ms), series(ArmSandgate, 20*ms, 10*ms), series("containerd", 300*ms, 0),
			}}},
			Stages: []Stages{{Floors: true, Calls: 9, Stages: []Stage{{"record_intent", 2 * ms}, {"record_outcome", 3 * ms}, {"finish", 7 * ms}}}},
		}
		var out strings.Builder
		p := &printer{w: &out}
		if r.writeFloors(p); p.err != nil {
			t.Fatal(p.err)
		}
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("walls of %v: no %q in:\n%s", tt.walls, want, out.String())
			}
		}
		r.Cells[0].Series = r.Cells[0].Series[:6] // without the walls there is no sum
		out.Reset()
		if r.writeFloors(p); strings.Contains(out.String(), "sum") {
			t.Errorf("without one part: got\n%s", out.String())
		}
	}
}
