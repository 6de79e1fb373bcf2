package daemon_test

import (
	"context"
	"encoding/hex"
	"net"
	"path/filepath"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/sandgate/sandgate/internal/daemon/daemontest"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// collector keeps the spans that it is sent.
type collector struct {
	collectorpb.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*tracepb.Span
}

func (c *collector) Export(_ context.Context, req *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		for _, s := range r.GetScopeSpans() {
			c.spans = append(c.spans, s.GetSpans()...)
		}
	}
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

func TestSpansReachTheCollectorInTheTraceOfTheHost(t *testing.T) {
	cfg := settings(t)
	path := filepath.Join(filepath.Dir(cfg.DataDir), "otlp")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	got := &collector{}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, got)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	cfg.Tracing.Address, cfg.Tracing.Insecure = "unix://"+path, true
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	r := start(t, cfg, daemontest.Open)
	r.waitFor(t, healthpb.HealthCheckResponse_SERVING)
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+trace+"-"+parent+"-01")
	tools, call := sandgatev1.NewToolServiceClient(r.conn), &sandgatev1.Call{
		CallId: "traced", Tool: "bash", Profile: "open", ArgsJson: `{"command":"echo secret-words"}`,
	}
	if _, err = tools.Execute(ctx, &sandgatev1.ExecuteRequest{Call: call}); err != nil {
		t.Fatal(err)
	}
	if _, err = tools.Evaluate(ctx, &sandgatev1.EvaluateRequest{Call: call}); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil { // which sends what waits
		t.Fatal(err)
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	names, under := map[string]int{}, map[string]int{} // by name; by the span above
	ids := map[string]string{}
	for _, s := range got.spans {
		ids[s.GetName()] = string(s.GetSpanId())
	}
	for _, s := range got.spans {
		names[s.GetName()]++
		for _, whole := range []string{"tool_call", "evaluate"} {
			if string(s.GetParentSpanId()) == ids[whole] {
				under[whole+" "+s.GetName()]++
			}
		}
		if id := hex.EncodeToString(s.GetTraceId()); id != trace {
			t.Errorf("span %s is in the trace %s, want %s", s.GetName(), id, trace)
		}
		if (s.GetName() == "tool_call" || s.GetName() == "evaluate") && hex.EncodeToString(s.GetParentSpanId()) != parent {
			t.Errorf("the call is under %x, want %s", s.GetParentSpanId(), parent)
		}
		for _, a := range s.GetAttributes() {
			if a.GetValue().GetStringValue() == "echo secret-words" {
				t.Errorf("span %s tells the arguments", s.GetName())
			}
		}
	}
	for whole, stages := range map[string][]string{
		"tool_call": {"receive", "validate", "decide", "record_intent", "run", "record_outcome", "reply"},
		"evaluate":  {"receive", "validate", "facts", "decide", "reply"},
	} {
		if names[whole] != 1 {
			t.Errorf("%d spans %s, want 1", names[whole], whole)
		}
		for _, want := range stages {
			if under[whole+" "+want] != 1 {
				t.Errorf("%d spans %s under %s, want 1: %v", under[whole+" "+want], want, whole, under)
			}
		}
	}
}
