package main

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// statusServer answers as a daemon does whose status is set by the test.
type statusServer struct {
	sandgatev1.UnimplementedPolicyServiceServer
	status atomic.Pointer[sandgatev1.PolicyStatus]
	asked  chan struct{} // gets one for each question, as long as there is room
}

func (s *statusServer) GetStatus(context.Context, *sandgatev1.GetStatusRequest) (*sandgatev1.GetStatusResponse, error) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	return &sandgatev1.GetStatusResponse{Status: s.status.Load()}, nil
}

func serveStatus(t *testing.T, now *sandgatev1.PolicyStatus) (*statusServer, *grpchealth.Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s, h, server := &statusServer{asked: make(chan struct{}, 1)}, grpchealth.NewServer(), grpc.NewServer()
	s.status.Store(now)
	sandgatev1.RegisterPolicyServiceServer(server, s)
	healthpb.RegisterHealthServer(server, h)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return s, h, "unix://" + path
}

const toolService = "sandgate.v1.ToolService"

func TestStatusWaitsUntilCallsAreTaken(t *testing.T) {
	s, h, addr := serveStatus(t, &sandgatev1.PolicyStatus{})
	h.SetServingStatus(toolService, healthpb.HealthCheckResponse_NOT_SERVING)
	var out, errOut bytes.Buffer
	ended := make(chan int)
	go func() {
		ended <- run([]string{"policy", "status", "--addr", addr, "--wait", "house-1"}, strings.NewReader(""), &out, &errOut)
	}()
	step := func() { // what was set before is seen by the second question from here
		<-s.asked
		<-s.asked
	}
	step()
	s.status.Store(&sandgatev1.PolicyStatus{Revision: "house-1@sha256:00"})
	step()
	select {
	case code := <-ended:
		t.Fatalf("ended with %d before calls are taken:\n%s%s", code, out.String(), errOut.String())
	default:
	}
	h.SetServingStatus(toolService, healthpb.HealthCheckResponse_SERVING)
	if code := <-ended; code != 0 || !strings.Contains(out.String(), "house-1@sha256:00") {
		t.Errorf("got the code %d and\n%s%s", code, out.String(), errOut.String())
	}
}

func TestStatusSaysWhatItWaitedFor(t *testing.T) {
	bad := &sandgatev1.PolicyStatus{Revision: "old@sha256:00", Errors: []string{"a.rego:1:\n\tno such fact"}}
	for _, tc := range []struct {
		name   string
		status *sandgatev1.PolicyStatus
		want   string
	}{
		{"nothing", &sandgatev1.PolicyStatus{}, "no policy is in force"},
		{"another", &sandgatev1.PolicyStatus{Revision: "old@sha256:00"}, "old@sha256:00 is in force"},
		{"refused", bad, "old@sha256:00 is in force; the newest was refused: a.rego:1: no such fact"},
		{"not serving", &sandgatev1.PolicyStatus{Revision: "new@sha256:00"}, "it is in force, but the daemon does not take calls: its log says why"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, h, addr := serveStatus(t, tc.status)
			h.SetServingStatus(toolService, healthpb.HealthCheckResponse_NOT_SERVING)
			var out, errOut bytes.Buffer
			code := run([]string{"policy", "status", "--addr", addr, "--wait", "new", "--timeout", "300ms"}, strings.NewReader(""), &out, &errOut)
			if want := "waited 300ms for the revision new: " + tc.want + "\n"; code != 124 || !strings.HasSuffix(errOut.String(), want) {
				t.Errorf("got the code %d and %q, want 124 and %q", code, errOut.String(), want)
			}
		})
	}
}

// A daemon that listens and does not answer must not hold --wait for ever.
func TestStatusWaitEndsWithoutAnAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing was written
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f := statusFlags{wait: "new", timeout: 300 * time.Millisecond}
	_, err = f.status(ctx, &client{addr: "unix://" + path}, &bytes.Buffer{})
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("got %v, want that the daemon does not answer", err)
	}
}
