package rpc

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/telemetry"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func TestTimelineIsToldToWhoAsksForIt(t *testing.T) {
	h := serve(t, func(h *harness, _ *Config) {
		h.gate.execute = func(_ context.Context, _ gate.Call, obs gate.Observer) (gate.Result, error) {
			if tracer, ok := obs.(gate.Tracer); ok {
				var trace telemetry.Trace
				now := time.Now()
				trace.Begin(now)
				trace.Mark(telemetry.Decide, now.Add(7))
				trace.Mark(telemetry.Run, now.Add(12))
				tracer.Traced(trace)
			}
			return gate.Result{Outcome: "EXITED"}, nil
		}
	})
	client := sandgatev1.NewToolServiceClient(h.conn)
	req := &sandgatev1.ExecuteRequest{Call: &sandgatev1.Call{Tool: "bash"}}
	var asked, plain metadata.MD
	ctx := metadata.AppendToOutgoingContext(t.Context(), timelineHeader, "1")
	if _, err := client.Execute(ctx, req, grpc.Trailer(&asked)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Execute(t.Context(), req, grpc.Trailer(&plain)); err != nil {
		t.Fatal(err)
	}
	got := asked.Get(timelineHeader)
	if len(got) != 1 || !strings.HasPrefix(got[0], "received=") || !strings.Contains(got[0], ",decide=7,run=5,left=") {
		t.Errorf("got %q, want the times and the stages in their order", got)
	}
	if told := plain.Get(timelineHeader); len(told) != 0 {
		t.Errorf("got %q without asking", told)
	}
}
