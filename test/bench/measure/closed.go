package measure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Arm is one of the things that are measured side by side.
type Arm struct {
	// Name of the series. Required.
	Name string
	// Op is one operation of one client, from 0. Required. Clients call it at the
	// same time.
	Op func(ctx context.Context, client int) error
	// Prepare runs before each Op and is not timed. Optional.
	Prepare func(ctx context.Context, client int) error
	// Around runs before a slice of this arm and what it returns after it, none of it
	// timed. Optional.
	Around func(ctx context.Context) (after func() error, err error)
	// CPU tells the processor time so far of the process behind Op. Optional.
	CPU func() (time.Duration, error)
	// Share of a slice's time that this arm gets. 0 means 1.
	Share float64
}

// Plan says how long is measured. All fields are required.
type Plan struct {
	Reps    int           // repetitions, of which medians are taken
	Slices  int           // of one repetition; arms take turns in each
	Slice   time.Duration // of one arm with share 1
	MaxOps  int           // of one arm in one repetition; ends its slices early
	Clients int           // at once
}

// Closed runs the arms in closed loops: each client begins an operation when its
// last one has ended. The arms take turns within every repetition, so that what
// disturbs the machine disturbs all. Each client runs every arm once before that.
// The first error ends it.
func Closed(ctx context.Context, p Plan, arms ...Arm) ([]Series, error) {
	out := make([]Series, len(arms))
	for i, arm := range arms {
		out[i] = Series{Name: arm.Name, Clients: p.Clients, Reps: make([]Rep, p.Reps), Paused: arm.Prepare != nil}
		for client := range p.Clients {
			if err := arm.once(ctx, client, func(time.Duration) {}); err != nil {
				return nil, fmt.Errorf("%s: warm-up: %w", arm.Name, err)
			}
		}
	}
	for rep := range p.Reps {
		for slice := range p.Slices {
			for turn := range arms {
				i := (turn + slice + rep) % len(arms) // nobody is always the first, of one slice neither
				if err := p.slice(ctx, arms[i], &out[i].Reps[rep]); err != nil {
					return nil, fmt.Errorf("%s: %w", arms[i].Name, err)
				}
			}
		}
	}
	return out, nil
}

// slice runs one slice of an arm and adds it to a repetition.
func (p Plan) slice(ctx context.Context, arm Arm, rep *Rep) (err error) {
	if arm.Around != nil {
		after, err := arm.Around(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, after()) }()
	}
	share := arm.Share
	if share == 0 {
		share = 1
	}
	before, err := arm.cpu()
	if err != nil {
		return err
	}
	loops := p.loops(ctx, arm, time.Duration(float64(p.Slice)*share))
	after, err := arm.cpu()
	if err != nil {
		return err
	}
	rep.Wall += loops.wall
	rep.CPU += after - before
	rep.Latencies = append(rep.Latencies, loops.latencies...)
	return loops.err
}

func (a Arm) cpu() (time.Duration, error) {
	if a.CPU == nil {
		return 0, nil
	}
	return a.CPU()
}

// once runs one operation and hands its latency to keep.
func (a Arm) once(ctx context.Context, client int, keep func(time.Duration)) error {
	if a.Prepare != nil {
		if err := a.Prepare(ctx, client); err != nil {
			return err
		}
	}
	began := time.Now()
	err := a.Op(ctx, client)
	took := time.Since(began)
	if err != nil {
		return err
	}
	keep(took)
	return nil
}

// looped is what the clients of one slice did.
type looped struct {
	wall      time.Duration
	latencies Latencies
	err       error
}

func (p Plan) loops(ctx context.Context, arm Arm, lasts time.Duration) looped {
	var (
		mu    sync.Mutex
		out   looped
		wg    sync.WaitGroup
		most  = max(p.MaxOps/(p.Slices*p.Clients), 1) // of one client
		begin = time.Now()
		end   = begin.Add(lasts)
	)
	for client := range p.Clients {
		wg.Go(func() {
			mine := make(Latencies, 0, min(most, 4096))
			var err error
			for n := 0; n < most && err == nil && (n == 0 || time.Now().Before(end)); n++ {
				if err = context.Cause(ctx); err == nil {
					err = arm.once(ctx, client, func(d time.Duration) { mine = append(mine, d) })
				}
			}
			mu.Lock()
			defer mu.Unlock()
			out.latencies = append(out.latencies, mine...)
			out.err = errors.Join(out.err, err)
		})
	}
	wg.Wait()
	out.wall = time.Since(begin)
	return out
}
