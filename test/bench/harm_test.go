package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

func abuserNamed(t *testing.T, part string) abuser {
	t.Helper()
	for _, a := range abusers() {
		if strings.Contains(a.name, part) {
			return a
		}
	}
	t.Fatalf("there is no abuser %q", part)
	return abuser{}
}

func TestAnAbuserMustDoItsHarm(t *testing.T) {
	cancelled, noMemory := sandgatev1.Outcome_OUTCOME_CANCELLED, sandgatev1.Outcome_OUTCOME_OUT_OF_MEMORY
	res := func(o sandgatev1.Outcome, u *sandgatev1.Usage, written int64) *sandgatev1.Result {
		return &sandgatev1.Result{Outcome: o, Usage: u, Stdout: &sandgatev1.Output{TotalBytes: written}}
	}
	busy := &sandgatev1.Usage{CpuUser: durationpb.New(600 * time.Millisecond), CpuSystem: durationpb.New(200 * time.Millisecond)}
	for _, tt := range []struct {
		name, abuser string
		results      []*sandgatev1.Result
		want         string // part of the error; empty: none
	}{
		{"forks", "fork", []*sandgatev1.Result{res(cancelled, &sandgatev1.Usage{PidsLimitHits: 3000}, 0)}, ""},
		{"forks of a bomb that sleeps", "fork", []*sandgatev1.Result{res(cancelled, &sandgatev1.Usage{PidsLimitHits: 256}, 0)}, "did no harm"},
		{"forks that nobody refused", "fork", []*sandgatev1.Result{res(cancelled, busy, 0)}, "did no harm"},
		{"memory", "memory", []*sandgatev1.Result{res(noMemory, nil, 0), res(noMemory, nil, 0), res(cancelled, nil, 0)}, ""},
		{"memory only before", "memory", []*sandgatev1.Result{res(noMemory, nil, 0), res(cancelled, nil, 0)}, "did no harm"},
		{"a call that is denied", "memory", []*sandgatev1.Result{res(noMemory, nil, 0), res(noMemory, nil, 0), res(sandgatev1.Outcome_OUTCOME_DENIED, nil, 0)}, "DENIED"},
		{"a call that does not start", "CPU", []*sandgatev1.Result{res(cancelled, busy, 0), res(sandgatev1.Outcome_OUTCOME_START_FAILED, nil, 0)}, "START_FAILED"},
		{"a call that ends by itself", "CPU", []*sandgatev1.Result{res(cancelled, busy, 0), res(sandgatev1.Outcome_OUTCOME_EXITED, nil, 0)}, "ended by itself"},
		{"output", "flood", []*sandgatev1.Result{res(cancelled, nil, 5<<20)}, ""},
		{"little output", "flood", []*sandgatev1.Result{res(cancelled, nil, 5<<10)}, "did no harm"},
		{"processors", "CPU", []*sandgatev1.Result{res(cancelled, busy, 0)}, ""},
		{"idle processors", "CPU", []*sandgatev1.Result{res(cancelled, nil, 0)}, "did no harm"},
		{"nothing", "CPU", nil, "did no harm"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, h := abuserNamed(t, tt.abuser), newHarm()
			h.took = 3 * time.Second
			for _, r := range tt.results {
				_ = h.ended(a, r) // verdict tells it
			}
			err := h.verdict(a)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			sum := map[string]int{}
			if h.addTo(sum); sum[harmCalls] != len(tt.results) {
				t.Errorf("counted %v, want %d calls", sum, len(tt.results))
			}
		})
	}
}

// TestADaemonThatRefusesAnAbuserIsSeen has a daemon that takes the memory bomb once and
// then refuses it: healthy calls beside that would look as if nothing could disturb them.
func TestADaemonThatRefusesAnAbuserIsSeen(t *testing.T) {
	fake := &refusing{taken: 1}
	target := &target{Daemon: &daemontest.Daemon{System: fake}, clients: []sandgatev1.ToolServiceClient{fake}}
	counts := map[string]int{}
	after, err := target.abuse(t.Context(), abuserNamed(t, "memory"), time.Minute, counts)
	if err != nil {
		t.Fatal(err)
	}
	if err := after(); err == nil || !strings.Contains(err.Error(), "no more of this") {
		t.Errorf("got %v, want what the daemon said", err)
	}
	if counts[harmCalls] != 1 {
		t.Errorf("counted %v, want one call", counts)
	}
}

// refusing is a daemon that runs some calls out of memory and refuses the rest.
type refusing struct {
	sandgatev1.ToolServiceClient
	sandgatev1.SystemServiceClient
	taken int
}

func (r *refusing) GetLoad(context.Context, *sandgatev1.GetLoadRequest, ...grpc.CallOption) (*sandgatev1.GetLoadResponse, error) {
	return &sandgatev1.GetLoadResponse{}, nil
}

func (r *refusing) ExecuteStream(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[sandgatev1.ExecuteStreamRequest, sandgatev1.ExecuteStreamResponse], error) {
	if r.taken--; r.taken < 0 {
		return nil, status.Error(codes.ResourceExhausted, "no more of this")
	}
	return &oneResult{}, nil
}

// oneResult is the stream of a call that ran out of memory.
type oneResult struct {
	grpc.ClientStream
	told bool
}

func (s *oneResult) Send(*sandgatev1.ExecuteStreamRequest) error { return nil }

func (s *oneResult) CloseSend() error { return nil }

func (s *oneResult) Recv() (*sandgatev1.ExecuteStreamResponse, error) {
	if s.told {
		return nil, io.EOF
	}
	s.told = true
	return &sandgatev1.ExecuteStreamResponse{Event: &sandgatev1.ExecuteStreamResponse_Result{
		Result: &sandgatev1.Result{Outcome: sandgatev1.Outcome_OUTCOME_OUT_OF_MEMORY},
	}}, nil
}
