// Package measure tells what decisions of a policy cost: their time, their
// allocations, and the lines of Rego that take the most of it. `sandgate policy
// bench` is its front. It must never change what is decided.
package measure

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/profiler"

	"github.com/sandgate/sandgate/internal/policy"
)

// Report is what a decision costs. Times are of one goroutine, in microseconds.
type Report struct {
	Policy      string  `json:"policy"`
	Calls       int     `json:"calls"` // different ones
	Decisions   int     `json:"decisions"`
	P50         float64 `json:"p50_us"`
	P99         float64 `json:"p99_us"`
	Mean        float64 `json:"mean_us"`
	Typical     float64 `json:"typical_us"` // mean without the slowest tenth: what ratios are of
	PerSecond   float64 `json:"decisions_per_s"`
	Allocations float64 `json:"allocs_per_decision"`
	Bytes       float64 `json:"bytes_per_decision"`
	Slowest     []Line  `json:"slowest,omitempty"`
}

// Line is a line of Rego with the time that all its evaluations took, under the
// profiler, which takes a multiple of a decision itself.
type Line struct {
	File  string  `json:"file"`
	Line  int     `json:"line"`
	Share float64 `json:"share_percent"` // of all lines
	Evals int     `json:"evals"`
}

// Run decides the calls in turn, count decisions in all, after one round to warm
// up. slowest is how many lines are told.
func Run(ctx context.Context, e *policy.Engine, calls []policy.Input, count, slowest int) (Report, error) {
	if len(calls) == 0 || count < 1 {
		return Report{}, errors.New("nothing to measure: want calls and a count of at least 1")
	}
	completed := make([]policy.Input, len(calls))
	for i, in := range calls {
		completed[i] = e.Complete(in)
		if err := decide(ctx, e, completed[i]); err != nil {
			return Report{}, err
		}
	}
	took := make([]time.Duration, count)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin := time.Now()
	for i := range took {
		start := time.Now()
		if err := decide(ctx, e, completed[i%len(completed)]); err != nil {
			return Report{}, err
		}
		took[i] = time.Since(start)
	}
	all := time.Since(begin)
	runtime.ReadMemStats(&after)
	if ctx.Err() != nil {
		return Report{}, context.Cause(ctx)
	}
	slices.Sort(took)
	n := float64(count)
	r := Report{
		Policy: e.Status().Revision, Calls: len(calls), Decisions: count,
		P50: micros(took[count/2]), P99: micros(took[min(count-1, count*99/100)]), Mean: micros(all) / n,
		Typical:   typical(took),
		PerSecond: n / all.Seconds(), Allocations: float64(after.Mallocs-before.Mallocs) / n, Bytes: float64(after.TotalAlloc-before.TotalAlloc) / n,
	}
	var err error
	r.Slowest, err = lines(ctx, e, completed, slowest)
	return r, err
}

func typical(sorted []time.Duration) float64 {
	most := max(1, len(sorted)*9/10)
	var sum time.Duration
	for _, d := range sorted[:most] {
		sum += d
	}
	return micros(sum) / float64(most)
}

// decide makes the document and evaluates it, past the engine's memory of equal
// calls, which would hide what the policy costs.
func decide(ctx context.Context, e *policy.Engine, in policy.Input) error {
	value, err := policy.InputValue(in)
	if err == nil {
		e.DecideTraced(ctx, value)
	}
	return err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// lines are the slowest lines by OPA's profiler, over one round of the calls.
func lines(ctx context.Context, e *policy.Engine, calls []policy.Input, most int) ([]Line, error) {
	if most <= 0 {
		return nil, nil
	}
	p := profiler.New()
	for _, in := range calls {
		value, err := policy.InputValue(in)
		if err != nil {
			return nil, err
		}
		e.DecideTraced(ctx, value, p)
	}
	stats := p.ReportTopNResults(0, []string{"total_time_ns"})
	var total int64
	for _, s := range stats {
		total += s.ExprTimeNs
	}
	var out []Line
	for _, s := range stats {
		if len(out) == most {
			break
		}
		if s.Location == nil || s.Location.File == "" {
			continue
		}
		out = append(out, Line{s.Location.File, s.Location.Row, 100 * float64(s.ExprTimeNs) / float64(max(total, 1)), s.NumEval})
	}
	return out, nil
}
