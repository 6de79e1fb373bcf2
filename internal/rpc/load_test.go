package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/telemetry"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

// A host whose calls take all the room there is, on one connection, can still
// steer and ask.
func TestControlNeverWaitsBehindCalls(t *testing.T) {
	const room = 5
	began, release := make(chan struct{}, room), make(chan struct{})
	asked := &fakeApprovals{}
	h := serve(t, func(h *harness, c *Config) {
		c.MaxOpen, c.MaxOpenPerCaller, c.Approvals = room, room, asked
		h.gate.calls = map[string]gate.CallStatus{"c0": {CallID: "c0", Tool: "bash"}}
		h.gate.execute = func(_ context.Context, call gate.Call, _ gate.Observer) (gate.Result, error) {
			began <- struct{}{}
			<-release
			return gate.Result{CallID: call.ID, Outcome: "EXITED"}, nil
		}
	})
	tools, system := sandgatev1.NewToolServiceClient(h.conn), sandgatev1.NewSystemServiceClient(h.conn)
	ended := make(chan error, room)
	for range room {
		go func() { ended <- execute(t.Context(), h) }()
		<-began
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	wantHint(t, execute(ctx, h), "5 requests open")
	// A call that is only decided meets no other bound than this one.
	_, err := tools.Evaluate(ctx, &sandgatev1.EvaluateRequest{Call: &sandgatev1.Call{Tool: "bash"}})
	wantHint(t, err, "5 requests open")
	approvals := sandgatev1.NewApprovalServiceClient(h.conn)
	for name, ask := range map[string]func() error{
		"cancel": func() error {
			_, err := tools.Cancel(ctx, &sandgatev1.CancelRequest{CallId: "c0"})
			return err
		},
		"get call": func() error {
			_, err := tools.GetCall(ctx, &sandgatev1.GetCallRequest{CallId: "c0"})
			return err
		},
		"load": func() error {
			_, err := system.GetLoad(ctx, &sandgatev1.GetLoadRequest{})
			return err
		},
		"capabilities": func() error {
			_, err := system.GetCapabilities(ctx, &sandgatev1.GetCapabilitiesRequest{})
			return err
		},
		"health": func() error {
			_, err := healthpb.NewHealthClient(h.conn).Check(ctx, &healthpb.HealthCheckRequest{})
			return err
		},
		"policy status": func() error {
			_, err := sandgatev1.NewPolicyServiceClient(h.conn).GetStatus(ctx, &sandgatev1.GetStatusRequest{})
			return err
		},
		"approvals": func() error {
			list, err := approvals.ListApprovals(ctx, &sandgatev1.ListApprovalsRequest{State: sandgatev1.ApprovalState_APPROVAL_STATE_PENDING})
			if err != nil {
				return err
			}
			if len(list.GetApprovals()) != 1 {
				return fmt.Errorf("%d approvals are pending, want one", len(list.GetApprovals()))
			}
			a := list.GetApprovals()[0]
			got, err := approvals.Approve(ctx, &sandgatev1.ApproveRequest{ApprovalId: a.GetApprovalId(), Digest: a.GetBindingDigest()})
			if err == nil && got.GetApproval().GetState() != sandgatev1.ApprovalState_APPROVAL_STATE_APPROVED {
				err = fmt.Errorf("the approval is %v, want approved", got.GetApproval().GetState())
			}
			return err
		},
	} {
		if err := ask(); err != nil {
			t.Errorf("%s: got %v beside a full line", name, err)
		}
	}
	if len(asked.approved) != 1 {
		t.Errorf("approved by %v, want once", asked.approved)
	}
	close(release)
	for range room {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// wantHint wants a refusal for want of room that says when to come again, to programs and
// to people.
func wantHint(t *testing.T, err error, text string) {
	t.Helper()
	wantCode(t, err, codes.ResourceExhausted, text, "try again in ")
	details := status.Convert(err).Details()
	if len(details) != 1 {
		t.Fatalf("got %d details, want one", len(details))
	}
	if info, ok := details[0].(*errdetails.RetryInfo); !ok || info.GetRetryDelay().AsDuration() < minRetry || info.GetRetryDelay().AsDuration() > maxRetry {
		t.Errorf("got %v, want a RetryInfo of %v to %v", details[0], minRetry, maxRetry)
	}
}

func TestBusyDaemonSaysWhenToComeAgain(t *testing.T) {
	h := serve(t, func(h *harness, _ *Config) {
		h.gate.execute = func(context.Context, gate.Call, gate.Observer) (gate.Result, error) {
			return gate.Result{}, fmt.Errorf("admit: %w", &admission.BusyError{Reason: "9 calls wait to run", RetryAfter: 1500 * time.Millisecond})
		}
	})
	err := execute(t.Context(), h)
	wantCode(t, err, codes.ResourceExhausted, "9 calls wait", "1.5s")
	details := status.Convert(err).Details()
	if len(details) != 1 {
		t.Fatalf("got %d details, want one", len(details))
	}
	if info, ok := details[0].(*errdetails.RetryInfo); !ok || info.GetRetryDelay().AsDuration() != 1500*time.Millisecond {
		t.Errorf("got %v, want a RetryInfo of 1.5s", details[0])
	}
}

func TestLoadIsToldAsItIs(t *testing.T) {
	h := serve(t, func(_ *harness, c *Config) {
		c.Load = telemetry.Sources{
			Pools: func() []sandbox.Pool {
				return []sandbox.Pool{{Image: "host", Isolation: "runc", Fresh: 1, Kept: 2, Busy: 3, Making: 4, Dying: 5, Waiting: 6, Target: 7, Made: 8, Claims: 9, Dry: 10, Retired: 11, Poisoned: 12, Failed: 13}}
			},
			Admission: func() admission.State {
				return admission.State{
					Running: 1, Waiting: 2, WaitingCallers: 3, Used: admission.Resources{Calls: 1, CPUMillis: 4, MemoryBytes: 5}, Budget: admission.Resources{Calls: 6, CPUMillis: 7, MemoryBytes: 8},
					ExpectedWait: time.Second, Admitted: 9, Waited: 10, Refused: 11, Expired: 12, Left: 13, Beginning: 14, Slots: 15,
				}
			},
			Journal: func() journal.State {
				return journal.State{LastSeq: 1, Bytes: 2, Waiting: 3, Records: 4, Commits: 5, FailedCommits: 6, Err: errors.New("x"), Full: errors.New("y")}
			},
			Sessions: func() int { return 14 },
		}
	})
	got, err := sandgatev1.NewSystemServiceClient(h.conn).GetLoad(t.Context(), &sandgatev1.GetLoadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &sandgatev1.GetLoadResponse{
		Pools: []*sandgatev1.Pool{{Image: "host", Isolation: "runc", Fresh: 1, Kept: 2, Busy: 3, Making: 4, Dying: 5, Waiting: 6, Target: 7, Made: 8, Claims: 9, Dry: 10, Retired: 11, Poisoned: 12, Failed: 13}},
		Admission: &sandgatev1.AdmissionState{
			Running: 1, MaxRunning: 6, Waiting: 2, WaitingCallers: 3, CpuMillis: 4, MaxCpuMillis: 7, MemoryBytes: 5, MaxMemoryBytes: 8,
			ExpectedWait: got.GetAdmission().GetExpectedWait(), Admitted: 9, Waited: 10, Refused: 11, Expired: 12, Left: 13, Beginning: 14, Slots: 15,
		},
		Journal:  &sandgatev1.JournalState{LastSequence: 1, SizeBytes: 2, Waiting: 3, Records: 4, Commits: 5, FailedCommits: 6, Failing: true, Full: true},
		Sessions: 14,
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || got.GetAdmission().GetExpectedWait().AsDuration() != time.Second {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTimeAroundTheGateIsMeasured(t *testing.T) {
	metrics := telemetry.NewMetrics()
	h := serve(t, func(_ *harness, c *Config) { c.Telemetry = telemetry.NewRecorder(metrics, nil) })
	if err := execute(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	// What the reply took is known when its stream has ended, a little later.
	deadline := time.Now().Add(20 * time.Second)
	for {
		w := httptest.NewRecorder()
		metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		text := w.Body.String()
		if strings.Contains(text, `sandgate_call_stage_seconds_count{class="ok",stage="receive"} 1`) &&
			strings.Contains(text, `sandgate_call_stage_seconds_count{class="ok",stage="reply"} 1`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("neither receive nor reply was measured")
		}
		time.Sleep(time.Millisecond)
	}
}
