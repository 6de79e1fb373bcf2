package measure

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// OpenPlan says how an open loop runs. All fields are required.
type OpenPlan struct {
	Reps  int
	Rate  float64       // operations begun per second, whatever becomes of them
	Lasts time.Duration // of one repetition
}

// Open begins operations at a fixed rate, however long the earlier ones take,
// and measures each from the moment at which it was meant to begin: waiting
// behind slow ones counts, which a closed loop would not see. op gets the number
// of the operation, from 0. The first error ends it.
func Open(ctx context.Context, p OpenPlan, name string, op func(ctx context.Context, n int) error) (Series, error) {
	out := Series{Name: name, Clients: 1}
	for range p.Reps {
		rep, err := p.repetition(ctx, op)
		if err != nil {
			return out, fmt.Errorf("%s: %w", name, err)
		}
		out.Reps = append(out.Reps, rep)
	}
	return out, nil
}

// starters is how many goroutines begin the operations of an open loop in turns.
// A slow operation keeps only its own starter from its next turn, and that delay
// is measured; with fewer than Rate times the longest operation it would be more
// often late than need be.
const starters = 64

func (p OpenPlan) repetition(ctx context.Context, op func(ctx context.Context, n int) error) (Rep, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	total := int(p.Rate * p.Lasts.Seconds())
	rep := Rep{Latencies: make(Latencies, total), Late: make(Latencies, total)}
	var wg sync.WaitGroup
	begin := time.Now()
	for first := range min(starters, total) {
		wg.Go(func() {
			for n := first; n < total && ctx.Err() == nil; n += starters {
				meant := begin.Add(time.Duration(float64(n) / p.Rate * float64(time.Second)))
				sleepUntil(meant)
				rep.Late[n] = time.Since(meant)
				if err := op(ctx, n); err != nil {
					cancel(err)
				}
				rep.Latencies[n] = time.Since(meant)
			}
		})
	}
	wg.Wait()
	rep.Wall = time.Since(begin)
	return rep, context.Cause(ctx)
}

// sleepUntil sleeps in the kernel: the timers of the Go runtime are a good part
// of a fast operation late. Whoever begins an operation wakes up by itself,
// since handing it to another thread would be measured with it.
func sleepUntil(t time.Time) {
	for left := time.Until(t); left > 0; left = time.Until(t) {
		// Of the thread that sleeps now, whichever it is; an error leaves the usual slack of 50 µs.
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		spec := unix.NsecToTimespec(int64(left))
		_ = unix.Nanosleep(&spec, nil) // an early end is slept again
	}
}
