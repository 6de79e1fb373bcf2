package containerd_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox"
)

// BenchmarkRun is `bash -c true` in a session's cell, next to its median.
func BenchmarkRun(b *testing.B) {
	r := start(b, testConfig(b))
	run := func(b *testing.B, key string) time.Duration {
		call := bashCall("true")
		call.Reuse, call.ReuseKey = sandbox.ReuseSession, key
		began := time.Now()
		res, err := r.Run(b.Context(), call)
		if err != nil || res.Outcome != sandbox.OutcomeExited {
			b.Fatalf("%s %v", res.Outcome, err)
		}
		return time.Since(began)
	}
	report := func(b *testing.B, took []time.Duration) {
		slices.Sort(took)
		for _, p := range []int{50, 90, 99} {
			b.ReportMetric(float64(took[len(took)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	}
	b.Run("one client", func(b *testing.B) {
		took := make([]time.Duration, 0, b.N)
		for b.Loop() {
			took = append(took, run(b, "one"))
		}
		report(b, took)
	})
	b.Run("one client with pauses", func(b *testing.B) {
		took := make([]time.Duration, 0, b.N)
		for b.Loop() {
			b.StopTimer()
			<-time.After(30 * time.Millisecond)
			b.StartTimer()
			took = append(took, run(b, "pause"))
		}
		report(b, took)
	})
	b.Run("four clients", func(b *testing.B) {
		took := make([]time.Duration, b.N)
		var n, client atomic.Int64
		b.SetParallelism(2) // times GOMAXPROCS
		b.RunParallel(func(pb *testing.PB) {
			key := fmt.Sprintf("client-%d", client.Add(1))
			for pb.Next() {
				took[n.Add(1)-1] = run(b, key)
			}
		})
		report(b, took)
	})
}

// BenchmarkRunInGVisor is `bash -c true` in a session's cells in gVisor, by step.
func BenchmarkRunInGVisor(b *testing.B) {
	r := start(b, gvisorConfig(b))
	dir := b.TempDir()
	if err := r.PrepareDir(dir); err != nil {
		b.Fatal(err)
	}
	run := func() sandbox.Result {
		call := gvisorCall("true")
		call.Workspace.HostDir, call.Limits.CPUMillis = dir, 1000 // as the daemon has it if nothing else is said
		res, err := r.Run(b.Context(), call)
		if err != nil || res.Outcome != sandbox.OutcomeExited {
			b.Fatalf("%s %v", res.Outcome, err)
		}
		return res
	}
	for range 100 { // its cells are made
		run()
	}
	took := map[string][]time.Duration{}
	for b.Loop() {
		began := time.Now()
		res := run()
		took["all"] = append(took["all"], time.Since(began))
		for _, s := range res.Steps {
			took[s.Name] = append(took[s.Name], s.Took)
		}
	}
	for name, all := range took {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, name+"-ms")
	}
}
