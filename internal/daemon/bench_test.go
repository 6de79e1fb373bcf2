package daemon_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// benched starts a daemon whose programs end at once, so that what is measured
// is the daemon's own part of a call: gRPC over the unix socket, facts, the
// default library, journal on this machine's disk.
func benched(b *testing.B) *running {
	b.Helper()
	fake := sandboxtest.NewFake(func(context.Context, sandbox.Call) (sandbox.Result, error) {
		return sandboxtest.Exit(0, ""), nil
	})
	r := start(b, settings(b), fakeOpen(fake))
	r.waitFor(b, healthpb.HealthCheckResponse_SERVING)
	return r
}

// cpuPerOp reports the processor time of this process, client included, for each
// operation: on a busy machine that says more than the time that passed.
func cpuPerOp(b *testing.B) {
	b.Helper()
	used := func() time.Duration {
		var r unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	before := used()
	b.Cleanup(func() {
		b.ReportMetric(float64((used()-before).Microseconds())/float64(b.N), "cpu-us/op")
	})
}

func trueCall(session string) *sandgatev1.Call {
	return &sandgatev1.Call{Tool: "bash", Profile: "open", ArgsJson: `{"command":"true"}`, SessionId: session}
}

func BenchmarkExecute(b *testing.B) {
	for _, session := range []string{"", "s"} {
		b.Run(fmt.Sprintf("session=%t", session != ""), func(b *testing.B) {
			r := benched(b)
			tools := sandgatev1.NewToolServiceClient(r.conn)
			b.ReportAllocs()
			cpuPerOp(b)
			for b.Loop() {
				resp, err := tools.Execute(b.Context(), &sandgatev1.ExecuteRequest{Call: trueCall(session)})
				if err != nil || resp.GetResult().GetIsError() {
					b.Fatalf("got %v %v", resp, err)
				}
			}
		})
	}
}

func BenchmarkExecuteClients(b *testing.B) {
	for _, clients := range []int{4, 32} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			r := benched(b)
			tools := sandgatev1.NewToolServiceClient(r.conn)
			var failed atomic.Pointer[error]
			b.SetParallelism(max(1, clients/2)) // times GOMAXPROCS
			b.ReportAllocs()
			cpuPerOp(b)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := tools.Execute(b.Context(), &sandgatev1.ExecuteRequest{Call: trueCall("")}); err != nil {
						failed.Store(&err)
					}
				}
			})
			if err := failed.Load(); err != nil {
				b.Fatal(*err)
			}
		})
	}
}

func BenchmarkEvaluate(b *testing.B) {
	r := benched(b)
	tools := sandgatev1.NewToolServiceClient(r.conn)
	b.ReportAllocs()
	cpuPerOp(b)
	for b.Loop() {
		if _, err := tools.Evaluate(b.Context(), &sandgatev1.EvaluateRequest{Call: trueCall("")}); err != nil {
			b.Fatal(err)
		}
	}
}
