//go:build linux

package main

import (
	"context"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// BenchmarkFloor is fork and exec of the same program without a cell.
func BenchmarkFloor(b *testing.B) {
	for b.Loop() {
		if err := exec.Command("/bin/bash", "-c", "true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCall is Exec of bash -c true, the next stage made ahead, back to back.
func BenchmarkCall(b *testing.B) { benchmarkCall(b, 0) }

// BenchmarkCallPaused is the same with a pause before each call, in which the
// next stage gets ready: what a caller sees who does not saturate the machine.
func BenchmarkCallPaused(b *testing.B) { benchmarkCall(b, 10*time.Millisecond) }

func benchmarkCall(b *testing.B, pause time.Duration) {
	c := startCell(b)
	ctx := context.Background()
	x := base("/bin/bash", "-c", "true")
	var took []time.Duration
	b.ResetTimer()
	for range b.N {
		if _, err := c.Prepare(ctx); err != nil {
			b.Fatal(err)
		}
		<-time.After(pause)
		x.Next = c.after()
		begin := time.Now()
		end, err := c.Exec(ctx, x, cell.Handlers{})
		took = append(took, time.Since(begin))
		if err != nil || end.ExitCode != 0 || end.Signal != 0 {
			b.Fatalf("got %+v, %v", end, err)
		}
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
