package report

import (
	"strings"
	"testing"
)

func TestTheStagesTargetIsJudgedByItsPrintedRows(t *testing.T) {
	band := &Band{Low: 40, High: 60, Calls: 3}
	for _, tt := range []struct {
		name     string
		tables   []Stages
		measured string
		met      bool
	}{
		{"met", []Stages{{Name: CellBash, Band: band, Seen: 1e6, Stages: []Stage{{Name: "run", Took: 7e5}, {Name: "reap", Took: 2.51e5}, {Name: "rest", Took: 4.9e4, Rest: true}}}}, "95.1 % (0.951 of 1.000 ms; 0.049 ms more of no stage)", true},
		{"a remainder explains nothing", []Stages{{Name: CellBash, Band: band, Seen: 1e6, Explained: 1, Stages: []Stage{{Name: "run", Took: 9.4e5}, {Name: "rest", Took: 6e4, Rest: true}}}}, "94.0 % (0.940 of 1.000 ms; 0.060 ms more of no stage)", false},
		{"a better table does not help", []Stages{
			{Name: CellBash, Seen: 1e6, Explained: 0.99, Stages: []Stage{{Name: "run", Took: 1e6}}},
			{Name: CellTrue, Band: band, Seen: 1e6, Stages: []Stage{{Name: "run", Took: 1e6}}},
			{Name: CellBash, Band: band, Floors: true, Seen: 1e6, Stages: []Stage{{Name: "run", Took: 1e6}}},
			{Name: CellBash, Band: band, Seen: 1e6, Stages: []Stage{{Name: "run", Took: 9.4996e5}}},
		}, "94.996 % (0.950 of 1.000 ms; 0.000 ms more of no stage)", false},
		{"an old run has no such table", []Stages{{Name: CellBash, Seen: 1e6, Explained: 0.99, Stages: []Stage{{Name: "run", Took: 1e6}}}}, "", false},
	} {
		if got := (&Run{Stages: tt.tables}).stageTarget(); got.measured != tt.measured || got.met != tt.met {
			t.Errorf("%s: got %q, met %v; want %q, %v", tt.name, got.measured, got.met, tt.measured, tt.met)
		}
	}
}

func TestTargetsHideNothingThatIsWorse(t *testing.T) {
	r := goodRun()
	for text, want := range map[string]string{
		"no call slower than 150 ms":                      "90.0 ms; 180 ms with 4 clients",
		"at least 20/s sustained":                         "22.0/s; 21.0/s with 4 clients",
		"1,000 sessions, at rest, 5s after the last call": "100 MiB; 170 MiB at work, right after calls",
		"1,000 more rules that an index finds":            "+10 % for a tool, +13 % for a program; not judged: +900 % where each looks into the arguments, which no index finds",
		"p50 at most 0.4 ms; the same where all rules":    "0.390 ms",
		"p99 at most 2 ms; the same where all rules":      "0.390 ms",
	} {
		found := false
		for _, target := range r.targets() {
			if strings.Contains(target.text, text) {
				if found = true; target.measured != want || !target.met {
					t.Errorf("%s: got %q, met %v; want %q, met", target.text, target.measured, target.met, want)
				}
			}
		}
		if !found {
			t.Errorf("no target of %q", text)
		}
	}
	dear := r.Find(GroupRules, CellCommandRules, 1, 1000).Arm(ArmSandgate)
	slow := r.Find(GroupDecide, CellOpenShape, 1, 0).Arm(ArmSandgate)
	for i := range dear.Reps {
		for j := range dear.Reps[i].Latencies {
			dear.Reps[i].Latencies[j] *= 2
		}
		for j := range slow.Reps[i].Latencies {
			slow.Reps[i].Latencies[j] *= 6
		}
	}
	missed := 0
	for _, target := range r.targets() {
		if !target.met {
			missed++
			if !strings.Contains(target.text, "that an index finds") && !strings.Contains(target.text, "never asked about") {
				t.Errorf("%s: got %q, not met", target.text, target.measured)
			}
		}
	}
	if missed != 3 {
		t.Errorf("with dear rules for a program and slow new shapes %d targets are not met, want 3", missed)
	}
}

func TestTheRangeIsShownWhereTheLimitLiesInIt(t *testing.T) {
	for _, tt := range []struct {
		value    span
		measured string
		met      bool
	}{
		{span{1.85, 1.75, 1.9}, "1.85 times, in repetitions 1.75 to 1.90", false},
		{span{1.7, 1.6, 1.79}, "1.70 times", true},
		{span{}, "", false},
	} {
		if got := judge("x", " times", tt.value, 1.8, true); got.measured != tt.measured || got.met != tt.met {
			t.Errorf("%v: got %q, met %v; want %q, %v", tt.value, got.measured, got.met, tt.measured, tt.met)
		}
	}
}
