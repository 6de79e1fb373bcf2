package report

import (
	"strings"
	"testing"
	"time"

	"github.com/sandgate/sandgate/test/bench/measure"
)

func TestVerdictsKnowWhatAFloorIs(t *testing.T) {
	for _, tt := range []struct {
		name string
		v    verdict
		want string
	}{
		{"met", verdict{limit: 1.8, most: true, least: one(1.5), whole: span{1.7, 1.6, 1.8}}, soMet},
		{"met by the median", verdict{limit: 600, whole: span{610, 590, 620}}, soMetMostly},
		{"the best of the least misses", verdict{limit: 0.5, warm: one(0.6), least: span{0.48, 0.47, 0.499}, whole: one(0.4)}, soBelow},
		{"some of the least get there", verdict{limit: 0.5, warm: one(0.6), least: span{0.499, 0.487, 0.528}, whole: one(0.4)}, soAt},
		{"the median of the least gets there", verdict{limit: 0.5, warm: one(0.6), least: span{0.51, 0.49, 0.53}, whole: one(0.4)}, soAt},
		{"the product is quicker", verdict{limit: 1, least: span{0.76, 0.69, 0.8}, whole: span{0.93, 0.87, 0.97}, beaten: true}, soNoFloor},
		{"not even parts", verdict{limit: 40, warm: span{37, 34, 39}, cold: one(33), least: one(29), whole: one(26)}, soBelowParts},
		{"parts that the product beats", verdict{limit: 40, warm: span{37, 34, 39}, least: one(37.5), whole: one(38), beaten: true}, soNoFloor},
		{"parts of which some get there", verdict{limit: 1.8, most: true, warm: span{1.85, 1.75, 1.9}, whole: one(2)}, soAt},
		{"parts that get there", verdict{limit: 1.8, most: true, warm: one(1.5), whole: one(2)}, soUnknown},
		{"the least gets there", verdict{limit: 2, most: true, warm: one(1), least: span{1.5, 1.4, 1.6}, whole: one(3)}, "a daemon that does nothing else meets it and leaves 25 % for the daemon's own"},
	} {
		if got := tt.v.so(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestVerdictOf32ClientsNeedsAFloorThatIsOne has the least daemon be slower with many
// clients than sandgate in all repetitions, and in all but one.
func TestVerdictOf32ClientsNeedsAFloorThatIsOne(t *testing.T) {
	series := func(name string, clients int, perSecond ...int) measure.Series {
		s := measure.Series{Name: name, Clients: clients}
		for _, n := range perSecond {
			s.Reps = append(s.Reps, measure.Rep{Wall: time.Second, Latencies: make(measure.Latencies, n)})
		}
		return s
	}
	for _, tt := range []struct {
		many []int
		want string
	}{
		{[]int{597, 596, 568}, "| 32 clients no lower than four | - | - | 0.761 of it (0.708 to 0.802) | 0.931 of it (0.870 to 0.951) | " + soNoFloor + " |"},
		{[]int{597, 596, 530}, soBelow + " |"},
	} {
		r := &Run{Cells: []Cell{
			{Group: GroupFloors, Name: CellBash, Series: []measure.Series{series(ArmFloor, 4, 1400, 1400, 1400), series(ArmSandgate, 4, 640, 653, 628), series(ArmLeast, 4, 732, 750, 711)}},
			{Group: GroupFloors, Name: CellBash, Series: []measure.Series{series(ArmFloor, 32, 1400, 1400, 1400), series(ArmSandgate, 32, tt.many...), series(ArmLeast, 32, 557, 570, 531)}},
		}}
		one := Cell{Group: GroupFloors, Name: CellBash}
		for _, arm := range []string{ArmFloor, ArmSandgate, ArmEmpty, ArmDecision, ArmRecords, ArmWalls} {
			one.Series = append(one.Series, steady(arm, 1, time.Millisecond, 10))
		}
		r.Cells = append(r.Cells, one)
		var out strings.Builder
		r.writeVerdicts(&printer{w: &out})
		for line := range strings.SplitSeq(out.String(), "\n") {
			if strings.HasPrefix(line, "| 32 clients") && !strings.HasSuffix(line, tt.want) {
				t.Errorf("sandgate at %v: got\n%s\nwant\n%s", tt.many, line, tt.want)
			}
		}
		if !strings.Contains(out.String(), "| 32 clients") {
			t.Errorf("no verdict of 32 clients in\n%s", out.String())
		}
	}
}

func TestFiguresNearALimitDoNotLookLikeIt(t *testing.T) {
	for _, tt := range []struct {
		v, limit float64
		want     string
	}{
		{0.49949, 0.5, "0.499"},
		{0.49996, 0.5, "0.49996"},
		{0.5, 0.5, "0.500"},
		{1.8016, 1.8, "1.802"},
		{599.7, 600, "599.7"},
		{37.46, 40, "37.5"},
	} {
		if got := near(tt.v, tt.limit); got != tt.want {
			t.Errorf("%v beside %v: got %s, want %s", tt.v, tt.limit, got, tt.want)
		}
	}
	if got := (span{0.499, 0.487, 0.528}).text(0.5, " of it"); got != "0.499 of it (0.487 to 0.528)" {
		t.Errorf("got %q", got)
	}
}
