package main

import (
	"math"
	"testing"
	"time"
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
	want := []struct {
		name string
		took time.Duration
	}{{wayThere, 100}, {"receive", 30}, {"queue", 50}, {"decide", 200}, {"run", 500}, {wayBack, 100}}
	if len(got.Stages) != len(want) || got.Seen != 1000 || math.Abs(got.Explained-0.98) > 1e-9 {
		t.Fatalf("got %+v, want 1000 seen and 98 %% explained", got)
	}
	for i, w := range want {
		if s := got.Stages[i]; s.Name != w.name || s.Took != w.took {
			t.Errorf("stage %d: got %+v, want %+v", i, s, w)
		}
	}
	for _, bad := range []string{"", "received=1", "received=x,left=2"} {
		if _, err := parseTimeline(bad, began, began); err == nil {
			t.Errorf("timeline %q: got no error", bad)
		}
	}
}
