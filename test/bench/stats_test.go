package main

import (
	"errors"
	"testing"
	"time"
)

func TestPercentileIsNearestRank(t *testing.T) {
	s := &series{}
	for i := 100; i >= 1; i-- {
		s.Latencies = append(s.Latencies, time.Duration(i))
	}
	for p, want := range map[float64]time.Duration{50: 50, 90: 90, 99: 99, 100: 100} {
		if got := s.percentile(p); got != want {
			t.Errorf("percentile(%v) = %v, want %v", p, got, want)
		}
	}
	if got := (&series{}).percentile(50); got != 0 {
		t.Errorf("percentile of nothing = %v, want 0", got)
	}
}

func TestMeasureCountsAndStopsAtAnError(t *testing.T) {
	s, err := measure("ok", 4, 40, func(int) error { return nil })
	if err != nil || len(s.Latencies) != 40 {
		t.Fatalf("measure = %v, %v; want 40 latencies", s, err)
	}
	boom := errors.New("boom")
	calls := 0
	if _, err := measure("bad", 1, 1000, func(int) error {
		if calls++; calls > 3 {
			return boom
		}
		return nil
	}); !errors.Is(err, boom) {
		t.Fatalf("measure = %v, want %v", err, boom)
	}
	if calls > 5 {
		t.Errorf("went on for %d calls after the error", calls)
	}
}
