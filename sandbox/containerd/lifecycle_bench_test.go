package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCellLifecycle makes and destroys cells with nothing running in them,
// by one and by several makers: what a single-use call costs in the background.
func BenchmarkCellLifecycle(b *testing.B) {
	if os.Getenv("SANDGATE_ROOT_TESTS") != "1" {
		b.Skip("needs root and containerd: set SANDGATE_ROOT_TESTS=1")
	}
	r, err := New(b.Context(), Config{DataDir: b.TempDir(), BinDir: os.Getenv("SANDGATE_BIN_DIR"), PoolSize: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Minute, errors.New("close takes too long"))
		defer cancel()
		if err := r.Close(ctx); err != nil {
			b.Error(err)
		}
	})
	for r.Ready(b.Context()) != nil {
		time.Sleep(10 * time.Millisecond) // polls a condition, does not stand for it
	}
	for _, makers := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("makers=%d", makers), func(b *testing.B) { benchLifecycle(b, r, makers) })
	}
}

func benchLifecycle(b *testing.B, r *Runtime, makers int) {
	type took struct{ create, destroy time.Duration }
	all := make([]took, b.N)
	next := make(chan int)
	var wg sync.WaitGroup
	for range makers {
		wg.Go(func() {
			for i := range next {
				began := time.Now()
				c, err := r.createCell(b.Context(), r.standardClass())
				if err != nil {
					b.Error(err)
					continue
				}
				made := time.Now()
				if err := r.destroyCell(b.Context(), c); err != nil {
					b.Error(err)
				}
				all[i] = took{made.Sub(began), time.Since(made)}
			}
		})
	}
	before := machineCPU(b, r)
	b.ResetTimer()
	for i := range b.N {
		next <- i
	}
	close(next)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cells/s")
	after := machineCPU(b, r)
	for name, took := range after {
		b.ReportMetric(float64((took-before[name]).Microseconds())/1000/float64(b.N), name+"-cpu-ms")
	}
	median := func(of func(took) time.Duration) float64 {
		slices.SortFunc(all, func(a, b took) int { return int(of(a) - of(b)) })
		return float64(of(all[len(all)/2]).Microseconds()) / 1000
	}
	b.ReportMetric(median(func(t took) time.Duration { return t.create }), "create-p50-ms")
	b.ReportMetric(median(func(t took) time.Duration { return t.destroy }), "destroy-p50-ms")
}

// machineCPU is the processor time that everything has used which makes cells. It
// tells more than a rate where others use the machine too. The service has its part
// only where it got a control group of its own.
func machineCPU(b *testing.B, r *Runtime) map[string]time.Duration {
	b.Helper()
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		b.Fatal(err)
	}
	of := func(group string) time.Duration {
		u := r.groups.Usage(group)
		return max(u.CPUUser+u.CPUSystem, 0)
	}
	return map[string]time.Duration{
		"cells": of(r.cgroupRoot), "service": of(r.serviceGroup()),
		"daemon": time.Duration(self.Utime.Nano() + self.Stime.Nano()),
	}
}
