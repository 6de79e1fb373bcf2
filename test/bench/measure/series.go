// Package measure runs operations and keeps how long each took: closed loops of
// several arms side by side, and an open loop at a fixed rate. The benchmark in
// test/bench calls it. It knows nothing of what it measures, it must never drop
// a latency that it does not like, and it must never be imported by the product.
package measure

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Series is what came of one arm: its repetitions in order.
type Series struct {
	// Name of the arm.
	Name string `json:"name"`
	// Clients is how many called at once.
	Clients int `json:"clients"`
	// Reps are the repetitions.
	Reps []Rep `json:"reps"`
	// Paused says that time passed between operations that nobody waited for, so
	// that a rate would say nothing.
	Paused bool `json:"paused,omitempty"`
}

// Rep is one repetition of an arm.
type Rep struct {
	// Wall is the time in which its operations ran, without those of other arms.
	Wall time.Duration `json:"wall_ns"`
	// CPU is what the measured process used of processors meanwhile. 0: not asked.
	CPU time.Duration `json:"cpu_ns,omitempty"`
	// Latencies are those of the operations, in the order of their ends.
	Latencies Latencies `json:"latencies_us"`
	// Late is how late the load generator itself was, of an open loop only. It is
	// part of the latencies.
	Late Latencies `json:"late_us,omitempty"`
}

// Latencies are durations that are kept as one line of text, in microseconds
// with one decimal, so that a file of many of them can be read and compared.
type Latencies []time.Duration

// MarshalJSON implements json.Marshaler.
func (l Latencies) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	for i, d := range l {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', 1, 64))
	}
	return json.Marshal(b.String())
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *Latencies) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("latencies: want a text of numbers: %w", err)
	}
	*l = nil
	for field := range strings.FieldsSeq(text) {
		us, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return fmt.Errorf("latencies: %q: want microseconds", field)
		}
		*l = append(*l, time.Duration(us*float64(time.Microsecond)))
	}
	return nil
}

// Percentile returns the p-th percentile (0 to 100) by nearest rank; 0 of none.
func (l Latencies) Percentile(p float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	sorted := slices.Clone(l)
	slices.Sort(sorted)
	rank := int(p/100*float64(len(sorted))+0.5) - 1
	return sorted[max(0, min(rank, len(sorted)-1))]
}

// Count is how many operations all repetitions hold.
func (s *Series) Count() (n int) {
	for _, r := range s.Reps {
		n += len(r.Latencies)
	}
	return n
}

// Percentile is the median over the repetitions of their p-th percentiles.
func (s *Series) Percentile(p float64) time.Duration {
	return time.Duration(s.Median(func(r Rep) float64 { return float64(r.Latencies.Percentile(p)) }))
}

// Max is the largest latency of all repetitions.
func (s *Series) Max() (largest time.Duration) {
	for _, r := range s.Reps {
		largest = max(largest, r.Latencies.Percentile(100))
	}
	return largest
}

// Rate is the median over the repetitions of operations per second.
func (s *Series) Rate() float64 {
	return s.Median(func(r Rep) float64 {
		if r.Wall <= 0 {
			return 0
		}
		return float64(len(r.Latencies)) / r.Wall.Seconds()
	})
}

// CPU is the median over the repetitions of processor time per operation.
func (s *Series) CPU() time.Duration {
	return time.Duration(s.Median(func(r Rep) float64 { return float64(r.CPU) / float64(max(len(r.Latencies), 1)) }))
}

// Median is the median over the repetitions of what of says.
func (s *Series) Median(of func(Rep) float64) float64 {
	values := make([]float64, 0, len(s.Reps))
	for _, r := range s.Reps {
		values = append(values, of(r))
	}
	return Median(values)
}

// Spread is how far the repetitions' p50 lie apart: (largest - smallest) / median.
func (s *Series) Spread() float64 {
	mid := float64(s.Percentile(50))
	if mid == 0 || len(s.Reps) == 0 {
		return 0
	}
	least, most := s.Reps[0].Latencies.Percentile(50), time.Duration(0)
	for _, r := range s.Reps {
		p := r.Latencies.Percentile(50)
		least, most = min(least, p), max(most, p)
	}
	return float64(most-least) / mid
}

// Ratio is the median over the repetitions of the ratio of the p-th percentiles
// of s and base, which must have run in the same slices; 0 when there is none.
func Ratio(s, base *Series, p float64) float64 {
	var ratios []float64
	for i := range min(len(s.Reps), len(base.Reps)) {
		if b := base.Reps[i].Latencies.Percentile(p); b > 0 {
			ratios = append(ratios, float64(s.Reps[i].Latencies.Percentile(p))/float64(b))
		}
	}
	return Median(ratios)
}

// RateRatio is the median over the repetitions of the ratio of the rates.
func RateRatio(s, base *Series) float64 {
	var ratios []float64
	for i := range min(len(s.Reps), len(base.Reps)) {
		a, b := s.Reps[i], base.Reps[i]
		if a.Wall > 0 && b.Wall > 0 && len(b.Latencies) > 0 {
			ratios = append(ratios, float64(len(a.Latencies))/a.Wall.Seconds()*b.Wall.Seconds()/float64(len(b.Latencies)))
		}
	}
	return Median(ratios)
}

// Median of values; of an even number the mean of the middle two; 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}
