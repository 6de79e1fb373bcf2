package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/test/bench/report"
)

func TestTimelineIsPutBetweenTheClientsTimes(t *testing.T) {
	began := time.Unix(0, 1000)
	var calls []traced
	for _, text := range []string{
		"received=1100,came=1130,queue=20,decide=200,queue=30,run=500,left=1900", // 20 between the gate and its front
		"received=1200,came=1230,queue=20,decide=100,queue=30,run=500,left=1900",
		"received=1100,came=1130,queue=20,decide=200,queue=30,run=500,left=1900",
	} {
		c, err := parseTimeline(text, began, time.Unix(0, 2000))
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, c)
	}
	got := stagesOfTimelines("x", calls)
	// Of three calls that took the same all are around the median.
	want := []report.Stage{
		{Name: wayThere, Took: 133},
		{Name: "receive", Took: 30},
		{Name: "queue", Took: 50},
		{Name: "decide", Took: 166},
		{Name: "run", Took: 500},
		{Name: wayBack, Took: 100},
		{Name: notTold, Took: 20, Rest: true},
	}
	if diff := cmp.Diff(want, got.Stages); diff != "" || got.Seen != 1000 || got.Calls != 3 {
		t.Errorf("got %+v; -want +got:\n%s", got, diff)
	}
	for _, bad := range []string{"", "received=1", "received=x,left=2"} {
		if _, err := parseTimeline(bad, began, began); err == nil {
			t.Errorf("timeline %q: got no error", bad)
		}
	}
}

// TestStagesOfTimelinesAddUp has calls whose medians stage by stage would not: what is
// long in one is short in the next.
func TestStagesOfTimelinesAddUp(t *testing.T) {
	var calls []traced
	for i := range 100 {
		run, record := time.Duration(600), time.Duration(200)
		if i%3 == 0 {
			run, record = record, run
		}
		slow := time.Duration(i) // the slower, the more of it is of no stage
		calls = append(calls, traced{seen: 1000 + slow, stages: []report.Stage{{Name: "run", Took: run}, {Name: "sandbox", Took: 100}, {Name: "record_outcome", Took: record}}})
	}
	got := stagesOfTimelines("x", calls)
	told, rest := got.Sums()
	if mean := told + rest; mean < 1048 || mean > 1050 || got.Seen != 1049 {
		t.Errorf("the rows add up to %d, want the mean of the calls around the median, 1049", mean)
	}
	if told < 798 || told > 800 || got.Explained < 0.76 || got.Explained > 0.763 {
		t.Errorf("%d explained, %.3f; want 800 of 1049, since what the sandbox does not say more of explains nothing", told, got.Explained)
	}
	if got.Band == nil || got.Band.Calls != 21 {
		t.Errorf("got %+v, want 21 calls around the median", got.Band)
	}
}
