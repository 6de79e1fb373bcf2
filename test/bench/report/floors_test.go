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
		walls, least time.Duration
		want         []string
	}{
		{4 * ms, 7300 * time.Microsecond, []string{
			"| two records alone: intent and outcome appended to a journal on the same disk | 2.000 | 1.000 | 2.600 | 3.000 | 5.000 | 3.000 | record_intent, record_outcome |",
			"| what the daemon does besides | - | - | - | - | 7.000 | 7.000 | finish |",
			"| sum of the parts | 8.000 | 7.000 | 8.600 | 9.000 | 12.000 |",
			"| bash -c true | 1 | 4.00 | 250 | 4.000 | 7.30 | 137 | 3.000 | 20.0 | 50 | 10.000 |",
			"| one client at most 1.8 times the bare fork+exec | 1.75 times | 1.82 times | 1.82 times | 5.00 times | below the floor: a daemon that does nothing else does not meet it |",
			"| four clients at least 600/s | 286/s | 222/s | - | - | below the floor: not even warm parts meet it |",
			"| at least 40 times as quick as containerd (`bash -c true`, 300 ms) | 42.9 times | 41.1 times | 41.1 times | 15.0 times | a daemon that does nothing else meets it and leaves 3 % for the daemon's own |",
		}},
		{3 * ms, 6300 * time.Microsecond, []string{"| 1.50 times | 1.57 times | 1.57 times | 5.00 times | a daemon that does nothing else meets it and leaves 12 % for the daemon's own |"}},
		{5 * ms, 9 * ms, []string{"| 2.00 times | 2.08 times | 2.25 times | 5.00 times | below the floor: not even warm parts meet it |"}},
		{4 * ms, 0, []string{"above what the parts take; not known of a daemon"}},
	} {
		r := &Run{
			Machine: Machine{Cores: 2},
			Cells: []Cell{{Group: GroupFloors, Name: CellBash, Base: ArmFloor, Series: []measure.Series{
				series(ArmFloor, 4*ms, 4*ms), series(ArmSandgate, 20*ms, 10*ms), series(ArmEmpty, ms, ms),
				series(ArmDecision, ms, ms), series(ArmRecords, 2*ms, ms), series(Cold(ArmRecords), 2600*time.Microsecond, 7*ms), series(ArmWalls, tt.walls, 4*ms),
			}}, {Group: GroupPeers, Name: "containerd, bash -c true", Series: []measure.Series{
				series(ArmFloor, 4*ms, 4*ms), series(ArmSandgate, 20*ms, 10*ms), series("containerd", 300*ms, 0),
			}}},
			Stages: []Stages{{Floors: true, Calls: 9, Stages: []Stage{{Name: "record_intent", Took: 2 * ms}, {Name: "record_outcome", Took: 3 * ms}, {Name: "finish", Took: 7 * ms}}}},
		}
		if tt.least != 0 {
			r.Cells[0].Series = append(r.Cells[0].Series, series(ArmLeast, tt.least, 3*ms))
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
