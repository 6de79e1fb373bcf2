package report

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/test/bench/measure"
)

// steady is a series of three repetitions in which everything took the same.
func steady(name string, clients int, took time.Duration, perSecond int) measure.Series {
	s := measure.Series{Name: name, Clients: clients}
	for range 3 {
		rep := measure.Rep{Wall: time.Second}
		for range perSecond {
			rep.Latencies = append(rep.Latencies, took)
		}
		s.Reps = append(s.Reps, rep)
	}
	return s
}

// goodRun meets every target by a little.
func goodRun() *Run {
	const msec = time.Millisecond
	beside := Cell{Group: GroupNeighbours, Name: "a fork bomb", Base: ArmIdle, Series: []measure.Series{
		steady(ArmIdle, 1, 2*msec, 100), steady(ArmSandgate, 1, 3*msec, 100),
	}}
	pair := func(group, name string, clients, amount int, base string, baseTook, took time.Duration, rate int) Cell {
		return Cell{Group: group, Name: name, Amount: amount, Base: base, Series: []measure.Series{
			steady(base, clients, baseTook, rate), steady(ArmSandgate, clients, took, rate),
		}}
	}
	alone := func(group, name string, clients int, took time.Duration, rate int) Cell {
		return Cell{Group: group, Name: name, Series: []measure.Series{steady(ArmSandgate, clients, took, rate)}}
	}
	peer := func(name string, took time.Duration) Cell {
		c := pair(GroupPeers, name+", true", 1, 0, ArmFloor, msec, msec, 100)
		c.Series = append(c.Series, steady(name, 1, took, 10))
		return c
	}
	return &Run{
		Schema: Schema, Mode: "full", Began: time.Unix(1, 0).UTC(), Ended: time.Unix(60, 0).UTC(),
		Machine: Machine{CPU: "a processor", Cores: 2, Kernel: "Linux 6", CgroupVersion: 2},
		Method:  Method{Reps: 3, Slices: 1, OpenRate: 1000},
		Cells: []Cell{
			pair(GroupCommands, CellBash, 1, 0, ArmFloor, 2*msec, 3*msec, 300),
			pair(GroupClients, CellBash, 4, 0, ArmFloor, 2*msec, 3*msec, 650),
			pair(GroupClients, CellBash, 32, 0, ArmFloor, 2*msec, 3*msec, 660),
			alone(GroupCells, CellFull, 1, 4*msec, 100),
			alone(GroupCells, CellDry, 2, 90*msec, 22),
			alone(GroupCells, CellDry, 4, 180*msec, 21),
			pair(GroupIdle, CellOpening, 1, 5000, ArmFloor, msec, 10*msec, 90),
			alone(GroupDecide, CellOpenLoop, 1, 300*time.Microsecond, 1000),
			alone(GroupDecide, CellOpenShape, 1, 390*time.Microsecond, 1000),
			pair(GroupRules, CellToolRules, 1, 1000, ArmLibrary, 300*time.Microsecond, 330*time.Microsecond, 100),
			pair(GroupRules, CellCommandRules, 1, 1000, ArmLibrary, 300*time.Microsecond, 340*time.Microsecond, 100),
			pair(GroupRules, CellArgumentRules, 1, 1000, ArmLibrary, 300*time.Microsecond, 3000*time.Microsecond, 100),
			pair(GroupIsolation, "gVisor, "+CellBash, 1, 0, ArmFloor, msec, 12*msec, 80),
			beside, peer("go-judge", 3*msec), peer("containerd", 50*msec),
		},
		Memory: []Memory{
			{Name: MemoryCell, Amount: 8, Bytes: 11 << 20, Parts: []Part{{"init", 11 << 20}}},
			{Name: MemoryWorking, Amount: 1000, Bytes: 170 << 20},
			{Name: MemoryDaemon, Amount: 1000, Bytes: 100 << 20, After: 5 * time.Second},
			{Name: MemoryIdle, Amount: 5000, Bytes: 60 << 20},
		},
		Stages: []Stages{
			{Name: CellBash, Source: "means of a test", Calls: 9, Seen: msec, Stages: []Stage{{Name: "run", Took: msec / 2}}, Explained: 0.5},
			{Name: CellBash, Source: "from a test", Calls: 9, Seen: 1000, Band: &Band{40, 60, 2}, Stages: []Stage{
				{Name: "run", Took: 700}, {Name: "newest", Took: 260}, {Name: "sandbox", Took: 30, Rest: true},
			}},
		},
		Peers:   []Peer{{"go-judge", "thin"}},
		Skipped: []Note{{"peer nsjail", "not on PATH"}},
	}
}

func TestTargetsAreJudgedByTheRun(t *testing.T) {
	for _, target := range goodRun().targets() {
		if target.measured == "" || !target.met {
			t.Errorf("%s: got %q, met %v; want it met", target.text, target.measured, target.met)
		}
	}
	for _, target := range (&Run{}).targets() {
		if target.measured != "" || target.met {
			t.Errorf("%s: got %q, met %v by a run that measured nothing", target.text, target.measured, target.met)
		}
	}
	worse := goodRun()
	for i := range worse.Cells {
		for j := range worse.Cells[i].Series {
			s := &worse.Cells[i].Series[j]
			if s.Name != ArmSandgate {
				continue
			}
			for r := range s.Reps {
				s.Reps[r].Wall *= 8
				for l := range s.Reps[r].Latencies {
					s.Reps[r].Latencies[l] *= 8
				}
				s.Reps[r].Latencies[0] *= 100 // one slow call, below the p99 of long series
			}
		}
	}
	for i := range worse.Memory {
		worse.Memory[i].Bytes *= 2
	}
	worse.Stages[1].Stages[1].Took = 240
	for _, target := range worse.targets() {
		// These two hold however slow everything is alike.
		alike := strings.HasPrefix(target.text, "32 clients") || strings.Contains(target.text, "p99 at most 4 times p50")
		if target.measured == "" || target.met != alike {
			t.Errorf("%s: got %q, met %v by a run eight times as slow", target.text, target.measured, target.met)
		}
	}
}

func TestMarkdownShowsEverything(t *testing.T) {
	r := goodRun()
	var b strings.Builder
	if err := r.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		"# Benchmark results", "## Machine and method", "| machine | a processor, 2 cores", "cgroup v2", "## Targets", "| met |",
		"## Commands", "| bash -c true | 1 | 900 | 3.00 | 3.00 | 3.00 | 3.00 | 300 | 0 % | - | fork+exec | 2.00 | 1.50 | 1.50 |",
		"## Rules", "| 1000 more rules, each for a tool | 1 |", "## Beside abusers", "The open loop ran at 1000/s",
		"## Peers", "| containerd, true | 1 | 1.00 | 1.00 | 50.0 | 50.00 |", "| go-judge | thin |",
		"## Memory", "| idle cell | 8 cells | 11.0 | init 11.0 |", "## Stages of bash -c true\n\n### Calls around the median\n", "### Means of a test\n", "| explained |  | 50.0 % |",
		"| newest | 0.000 | 26.0 % |", "| sandbox (not explained) | 0.000 | 3.0 % |", "| sum of the stages | 0.001 | 96.0 % |", "| sum of all rows | 0.001 | 99.0 % |",
		"## Not measured", "| peer nsjail | not on PATH |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the tables lack %q:\n%s", want, text)
		}
	}
	for _, bad := range []string{"NaN", "Inf", "%!", "## Failed"} {
		if strings.Contains(text, bad) {
			t.Errorf("the tables contain %q:\n%s", bad, text)
		}
	}
}

func TestRunsAreKeptAndCompared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	before := goodRun()
	if err := before.Write(path); err != nil {
		t.Fatal(err)
	}
	read, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, read); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
	after := goodRun()
	for r := range after.Cells[0].Series[1].Reps {
		for l := range after.Cells[0].Series[1].Reps[r].Latencies {
			after.Cells[0].Series[1].Reps[r].Latencies[l] /= 2
		}
	}
	var b strings.Builder
	if err := Compare(&b, read, after); err != nil {
		t.Fatal(err)
	}
	if want := "| commands: bash -c true | 1 | 3.00 | 1.50 | 0.50 | 0.50 | 1.00 | 1.50 | 0.75 | 0.50 |"; !strings.Contains(b.String(), want) {
		t.Errorf("got no %q in:\n%s", want, b.String())
	}
	if err := Compare(&b, &Run{}, after); err == nil {
		t.Error("two runs without a common cell were compared")
	}
	if err := (&Run{Schema: "other"}).Write(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), Schema) {
		t.Errorf("a file of another schema: got %v", err)
	}
}
