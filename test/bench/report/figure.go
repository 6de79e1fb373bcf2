package report

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sandgate/sandgate/test/bench/measure"
)

// span is a figure: the median of the repetitions, and the lowest and the highest of
// them. The zero value is one that is not known.
type span struct{ mid, low, high float64 }

func (v span) known() bool { return v.mid != 0 }

// holds tells whether some repetitions lie on either side of a limit, or on it.
func (v span) holds(limit float64) bool { return v.low <= limit && limit <= v.high }

// meets tells whether the median keeps a limit, a most or a least.
func (v span) meets(limit float64, most bool) bool {
	if most {
		return v.mid <= limit
	}
	return v.mid >= limit
}

// over divides by a figure of other slices: any of its repetitions may belong to any.
func (v span) over(w span) span {
	if w.low <= 0 {
		return span{}
	}
	return span{mid: v.mid / w.mid, low: v.low / w.high, high: v.high / w.low}
}

// text is the figure, beside a limit, with its unit and the range of its repetitions.
func (v span) text(limit float64, unit string) string {
	text := near(v.mid, limit) + unit
	if low, high := near(v.low, limit), near(v.high, limit); low != high {
		text += fmt.Sprintf(" (%s to %s)", low, high)
	}
	return text
}

// one is a figure without repetitions.
func one(v float64) span { return span{v, v, v} }

// spanOf is what of says of the repetitions; not known of no series.
func spanOf(s *measure.Series, of func(measure.Rep) float64) span {
	if s == nil {
		return span{}
	}
	values := make([]float64, 0, len(s.Reps))
	for _, rep := range s.Reps {
		values = append(values, of(rep))
	}
	return spanOfAll(values)
}

// pairs is the ratio of what of says of s and of base, which ran in the same slices,
// within each repetition.
func pairs(s, base *measure.Series, of func(measure.Rep) float64) span {
	if s == nil || base == nil {
		return span{}
	}
	var values []float64
	for i := range min(len(s.Reps), len(base.Reps)) {
		if b := of(base.Reps[i]); b > 0 {
			values = append(values, of(s.Reps[i])/b)
		}
	}
	return spanOfAll(values)
}

func spanOfAll(values []float64) (v span) {
	v.mid = measure.Median(values)
	for i, value := range values {
		if i == 0 {
			v.low, v.high = value, value
		}
		v.low, v.high = min(v.low, value), max(v.high, value)
	}
	return v
}

// around is the span with another median, which belongs to it wherever it lies.
func (v span) around(mid float64) span {
	return span{mid: mid, low: min(v.low, mid), high: max(v.high, mid)}
}

// at makes a function that gives a repetition's percentile in milliseconds.
func at(percentile float64) func(measure.Rep) float64 {
	return func(rep measure.Rep) float64 { return msFloat(rep.Latencies.Percentile(percentile)) }
}

// rate is a repetition's operations per second.
func rate(rep measure.Rep) float64 {
	if rep.Wall <= 0 {
		return 0
	}
	return float64(len(rep.Latencies)) / rep.Wall.Seconds()
}

// near is a number with three digits that count, and with as many as it takes for it
// not to look like the limit that it is beside.
func near(v, limit float64) string {
	prec := decimals(v)
	for ; prec < 6; prec++ {
		shown, err := strconv.ParseFloat(strconv.FormatFloat(v, 'f', prec, 64), 64)
		if err != nil || shown != limit || v == limit {
			break
		}
	}
	return strconv.FormatFloat(v, 'f', prec, 64)
}

// decimals shows three digits that count, and none below a thousandth.
func decimals(v float64) int {
	switch {
	case v < 1:
		return 3
	case v < 10:
		return 2
	case v < 100:
		return 1
	}
	return 0
}

func msFloat(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// ms is a duration in milliseconds with three digits that count.
func ms(d time.Duration) string {
	v := msFloat(d)
	return strconv.FormatFloat(v, 'f', min(decimals(v), 2), 64)
}

func msFine(d time.Duration) string { return fmt.Sprintf("%.3f", msFloat(d)) }
