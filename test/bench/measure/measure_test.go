package measure

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPercentileIsNearestRank(t *testing.T) {
	var l Latencies
	for i := 100; i >= 1; i-- {
		l = append(l, time.Duration(i))
	}
	for p, want := range map[float64]time.Duration{50: 50, 90: 90, 99: 99, 100: 100} {
		if got := l.Percentile(p); got != want {
			t.Errorf("Percentile(%v) = %v, want %v", p, got, want)
		}
	}
	if got := Latencies(nil).Percentile(50); got != 0 {
		t.Errorf("percentile of nothing = %v, want 0", got)
	}
}

func TestFiguresAreMediansOfTheRepetitions(t *testing.T) {
	rep := func(wall time.Duration, latency ...time.Duration) Rep {
		return Rep{Wall: wall, Latencies: latency, CPU: time.Duration(len(latency)) * 7}
	}
	s := &Series{Reps: []Rep{rep(time.Second, 10, 10), rep(time.Second, 30, 30, 30), rep(time.Second, 20)}}
	base := &Series{Reps: []Rep{rep(time.Second, 5, 5), rep(2*time.Second, 10), rep(time.Second, 20)}}
	for _, tt := range []struct {
		name      string
		got, want float64
	}{
		{"p50", float64(s.Percentile(50)), 20},
		{"max", float64(s.Max()), 30},
		{"rate", s.Rate(), 2},
		{"count", float64(s.Count()), 6},
		{"cpu", float64(s.CPU()), 7},
		{"spread", s.Spread(), 1},
		{"ratio", Ratio(s, base, 50), 2},
		{"rate ratio", RateRatio(s, base), 1},
		{"median of two", Median([]float64{1, 2}), 1.5},
		{"median of none", Median(nil), 0},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestLatenciesKeepTheirValuesInJSON(t *testing.T) {
	in := Series{Name: "x", Clients: 2, Reps: []Rep{{Wall: time.Second, Latencies: Latencies{1234500, 100}}}}
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), `"latencies_us":"1234.5 0.1"`) {
		t.Errorf("got %s, want microseconds in one text", raw)
	}
	var out Series
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"reps":[{"latencies_us":"1 x"}]}`), &out); err == nil {
		t.Error("a wrong number was taken")
	}
}

func TestClosedInterleavesItsArms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := Plan{Reps: 3, Slices: 2, Slice: 100 * time.Millisecond, MaxOps: 1000, Clients: 2}
		var prepared, around atomic.Int64
		sleeps := func(d time.Duration) func(context.Context, int) error {
			return func(context.Context, int) error { time.Sleep(d); return nil }
		}
		got, err := Closed(t.Context(), plan,
			Arm{Name: "floor", Op: sleeps(10 * time.Millisecond), Share: 0.5},
			Arm{
				Name: "slow", Op: sleeps(20 * time.Millisecond),
				Prepare: func(context.Context, int) error { prepared.Add(1); time.Sleep(time.Millisecond); return nil },
				Around: func(context.Context) (func() error, error) {
					around.Add(1)
					return func() error { around.Add(1); return nil }, nil
				},
				CPU: func() (time.Duration, error) { return time.Duration(prepared.Load()), nil },
			})
		if err != nil {
			t.Fatal(err)
		}
		floor, slow := &got[0], &got[1]
		if len(floor.Reps) != 3 || floor.Count() != 3*2*2*5 {
			t.Errorf("floor: %d operations in %d repetitions, want 60 in 3", floor.Count(), len(floor.Reps))
		}
		if r := Ratio(slow, floor, 50); r != 2 {
			t.Errorf("ratio %v, want 2: what prepares must not be timed", r)
		}
		if floor.Rate() != 200 || floor.Paused || !slow.Paused {
			t.Errorf("rate %v, paused %v and %v; want 200, false, true", floor.Rate(), floor.Paused, slow.Paused)
		}
		if int64(slow.Count()+2) != prepared.Load() || around.Load() != 2*3*2 || slow.CPU() != 1 {
			t.Errorf("%d operations, %d prepared, %d around, CPU %v", slow.Count(), prepared.Load(), around.Load(), slow.CPU())
		}
	})
}

func TestNoArmIsAlwaysTheFirst(t *testing.T) {
	for _, slices := range []int{1, 2} {
		var got strings.Builder
		arm := func(name string) Arm {
			return Arm{Name: name, Op: func(context.Context, int) error { return nil }, Around: func(context.Context) (func() error, error) {
				got.WriteString(name)
				return func() error { return nil }, nil
			}}
		}
		plan := Plan{Reps: 3, Slices: slices, Slice: time.Hour, MaxOps: 1, Clients: 1}
		if _, err := Closed(t.Context(), plan, arm("a"), arm("b")); err != nil {
			t.Fatal(err)
		}
		if want := map[int]string{1: "abbaab", 2: "abbabaababba"}[slices]; got.String() != want {
			t.Errorf("%d slices: order %s, want %s", slices, got.String(), want)
		}
	}
}

func TestClosedHoldsMaxOpsAndStopsAtAnError(t *testing.T) {
	plan := Plan{Reps: 2, Slices: 2, Slice: time.Hour, MaxOps: 40, Clients: 4}
	got, err := Closed(t.Context(), plan, Arm{Name: "ok", Op: func(context.Context, int) error { return nil }})
	if err != nil || got[0].Count() != 80 {
		t.Fatalf("got %v, %v; want 80 operations", got, err)
	}
	boom := errors.New("boom")
	calls := 0
	plan.Clients = 1
	if _, err := Closed(t.Context(), plan, Arm{Name: "bad", Op: func(context.Context, int) error {
		if calls++; calls > 3 {
			return boom
		}
		return nil
	}}); !errors.Is(err, boom) || calls != 4 {
		t.Fatalf("got %v after %d calls, want %v after 4", err, calls, boom)
	}
}

// TestOpenCountsWaitingFromTheIntendedStart stalls one operation on which the
// next ones wait: a closed loop would show one slow latency, the open one all.
func TestOpenCountsWaitingFromTheIntendedStart(t *testing.T) {
	gate := make(chan struct{})
	s, err := Open(t.Context(), OpenPlan{Reps: 1, Rate: 200, Lasts: 200 * time.Millisecond}, "stalled", func(_ context.Context, n int) error {
		if n == 39 {
			close(gate)
		}
		if n >= 10 {
			<-gate
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rep := s.Reps[0]
	if len(rep.Latencies) != 40 || len(rep.Late) != 40 {
		t.Fatalf("got %d latencies, want 40", len(rep.Latencies))
	}
	for _, n := range []int{10, 20, 30} {
		if want := time.Duration(39-n) * 5 * time.Millisecond; rep.Latencies[n] < want {
			t.Errorf("operation %d: %v, want at least the %v that it waited", n, rep.Latencies[n], want)
		}
	}
	boom := errors.New("boom")
	if _, err := Open(t.Context(), OpenPlan{Reps: 1, Rate: 1000, Lasts: time.Second}, "bad", func(context.Context, int) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v, want %v", err, boom)
	}
}
