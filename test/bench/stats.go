package main

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// series is the latencies of one measured thing.
type series struct {
	Name      string          `json:"name"`
	Clients   int             `json:"clients"`
	Wall      time.Duration   `json:"wall_ns"`
	Latencies []time.Duration `json:"latencies_ns"`
}

// percentile returns the p-th percentile (0 to 100) by nearest rank.
func (s *series) percentile(p float64) time.Duration {
	if len(s.Latencies) == 0 {
		return 0
	}
	sorted := slices.Clone(s.Latencies)
	slices.Sort(sorted)
	rank := int(p/100*float64(len(sorted))+0.5) - 1
	return sorted[max(0, min(rank, len(sorted)-1))]
}

// rate is operations per second over the whole run.
func (s *series) rate() float64 { return float64(len(s.Latencies)) / s.Wall.Seconds() }

// measure runs op total times from clients goroutines at once, after one
// unmeasured run of each client, and stops at the first error.
func measure(name string, clients, total int, op func(client int) error) (*series, error) {
	for c := range clients {
		if err := op(c); err != nil {
			return nil, fmt.Errorf("%s: warm-up: %w", name, err)
		}
	}
	var (
		mu       sync.Mutex
		firstErr error
		wg       sync.WaitGroup
		s        = &series{Name: name, Clients: clients}
	)
	start := time.Now()
	for c := range clients {
		wg.Go(func() {
			for range total / clients {
				began := time.Now()
				err := op(c)
				took := time.Since(began)
				mu.Lock()
				if err != nil && firstErr == nil {
					firstErr = err
				}
				s.Latencies = append(s.Latencies, took)
				stop := firstErr != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	s.Wall = time.Since(start)
	if firstErr != nil {
		return nil, fmt.Errorf("%s: %w", name, firstErr)
	}
	return s, nil
}

// writeTable prints the series as a Markdown table, each beside its ratio to
// the p50 of the floor with as many clients.
func writeTable(w io.Writer, all []*series) error {
	floor := map[int]time.Duration{}
	for _, s := range all {
		if s.Name == floorName {
			floor[s.Clients] = s.percentile(50)
		}
	}
	if _, err := fmt.Fprintf(w, "| what | clients | n | p50 ms | p90 ms | p99 ms | rate /s | p50 / floor |\n|---|---|---|---|---|---|---|---|\n"); err != nil {
		return err
	}
	for _, s := range all {
		ratio := "-"
		if f := floor[s.Clients]; f > 0 {
			ratio = fmt.Sprintf("%.1f", float64(s.percentile(50))/float64(f))
		}
		_, err := fmt.Fprintf(w, "| %s | %d | %d | %.2f | %.2f | %.2f | %.0f | %s |\n", s.Name, s.Clients, len(s.Latencies),
			ms(s.percentile(50)), ms(s.percentile(90)), ms(s.percentile(99)), s.rate(), ratio)
		if err != nil {
			return err
		}
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
