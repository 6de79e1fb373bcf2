package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

func TestExecuteReturnsTheWholeResult(t *testing.T) {
	index := 1
	h := serve(t, func(h *harness, _ *Config) {
		h.gate.execute = func(context.Context, gate.Call, gate.Observer) (gate.Result, error) {
			return gate.Result{
				CallID: "c", Outcome: "SIGNALED", ExitCode: -1, Signal: "SIGSEGV", Message: "bad \xff", IsError: true,
				Stdout:   sandbox.Output{Head: []byte("a\xff"), Tail: []byte("z"), TotalBytes: 9},
				Duration: gate.Durations{Queue: 1, Decide: 2, Start: 3, Run: 4, Total: 10}, ResultSizeBytes: 3,
				Usage: sandbox.Usage{CPUUser: 7, CPUSystem: -1, MemoryPeakBytes: 8, IOReadBytes: -1},
				Decision: policy.Decision{
					ID: "d", Outcome: policy.Allow, Profile: "open", Revision: "r", Labels: []string{"l"},
					Reasons:     []policy.Reason{{Rule: "r1", Message: "m", Remediation: "x", Severity: "low", Command: &index}},
					Shadow:      []policy.Shadow{{Rule: "s", Would: policy.Deny}},
					Obligations: policy.Obligations{Sandbox: policy.SandboxObligations{Pids: 5}},
				},
				Receipt: &sandbox.Receipt{CellID: "cell", Enforced: map[string]int64{"pids": 5}, UID: 1000}, Digest: "sha256:x",
			}, nil
		}
	})
	resp, err := sandgatev1.NewToolServiceClient(h.conn).Execute(t.Context(), &sandgatev1.ExecuteRequest{Call: &sandgatev1.Call{Tool: "bash"}})
	if err != nil {
		t.Fatal(err)
	}
	commandIndex := int32(1)
	want := &sandgatev1.Result{
		CallId: "c", Outcome: sandgatev1.Outcome_OUTCOME_SIGNALED, ExitCode: -1, Signal: "SIGSEGV", Message: "bad \uFFFD", IsError: true,
		Stdout: &sandgatev1.Output{Head: []byte("a\xff"), Tail: []byte("z"), TotalBytes: 9, Truncated: true}, Stderr: &sandgatev1.Output{},
		Duration: &sandgatev1.Durations{
			Queue: durationpb.New(1), Decide: durationpb.New(2), Start: durationpb.New(3), Run: durationpb.New(4), Total: durationpb.New(10),
		},
		ResultSizeBytes: 3, Digest: "sha256:x",
		Usage: &sandgatev1.Usage{CpuUser: durationpb.New(7), MemoryPeakBytes: 8, IoReadBytes: -1},
		Decision: &sandgatev1.Decision{
			DecisionId: "d", Outcome: sandgatev1.DecisionOutcome_DECISION_OUTCOME_ALLOW, Profile: "open", PolicyRevision: "r", Labels: []string{"l"},
			Reasons: []*sandgatev1.Reason{{Rule: "r1", Message: "m", Remediation: "x", Severity: "low", CommandIndex: &commandIndex}},
			Shadow:  []*sandgatev1.ShadowReason{{Rule: "s", Would: sandgatev1.DecisionOutcome_DECISION_OUTCOME_DENY}},
			Obligations: &sandgatev1.Obligations{
				Sandbox: &sandgatev1.SandboxObligations{Pids: 5}, Exec: &sandgatev1.ExecObligations{}, Audit: &sandgatev1.AuditObligations{},
			},
		},
		Receipt: &sandgatev1.Receipt{CellId: "cell", Enforced: map[string]int64{"pids": 5}, Uid: 1000},
	}
	if diff := cmp.Diff(want, resp.GetResult(), protocmp.Transform()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEveryOutcomeHasItsNameOnTheWire(t *testing.T) {
	for _, o := range []gate.Outcome{
		gate.Outcome(sandbox.OutcomeExited), gate.Outcome(sandbox.OutcomeSignaled), gate.Outcome(sandbox.OutcomeTimedOut),
		gate.Outcome(sandbox.OutcomeOutOfMemory), gate.Outcome(sandbox.OutcomeOutputLimit), gate.Outcome(sandbox.OutcomeDiskLimit),
		gate.Outcome(sandbox.OutcomeCancelled), gate.Outcome(sandbox.OutcomeStartFailed), gate.Outcome(sandbox.OutcomeUnknown),
		gate.OutcomeDenied, gate.OutcomeApprovalRequired,
	} {
		if got := outcomeProto(o).String(); got != "OUTCOME_"+string(o) {
			t.Errorf("%s: got %s", o, got)
		}
	}
	for _, o := range []gate.Outcome{"", "UNSPECIFIED", "NONSENSE"} {
		if got := outcomeProto(o); got != sandgatev1.Outcome_OUTCOME_UNKNOWN {
			t.Errorf("%q: got %v, want OUTCOME_UNKNOWN", o, got)
		}
	}
	if got := decisionOutcome("nonsense"); got != sandgatev1.DecisionOutcome_DECISION_OUTCOME_DENY {
		t.Errorf("got %v, want a decision that nobody knows to be a deny", got)
	}
}

func TestEvaluateExplainsOnDemand(t *testing.T) {
	h := serve(t, nil)
	client := sandgatev1.NewToolServiceClient(h.conn)
	for _, explain := range []bool{false, true} {
		resp, err := client.Evaluate(t.Context(), &sandgatev1.EvaluateRequest{Call: &sandgatev1.Call{Tool: "bash", CallId: "c"}, Explain: explain})
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.GetInputJson() != ""; got != explain {
			t.Errorf("explain %v: got input %q", explain, resp.GetInputJson())
		}
		ask := resp.GetDecision().GetAsk()
		if resp.GetDecision().GetOutcome() != sandgatev1.DecisionOutcome_DECISION_OUTCOME_ASK || ask.GetQuorum() != 2 || ask.GetTtlMillis() != 5 {
			t.Errorf("got %v, want the terms of asking", resp.GetDecision())
		}
	}
}

func TestListToolsCancelAndGetCall(t *testing.T) {
	h := serve(t, func(h *harness, _ *Config) {
		h.gate.calls = map[string]gate.CallStatus{
			"running": {CallID: "running", Tool: "bash", Began: time.Unix(3, 0)},
			"done":    {CallID: "done", Result: &gate.Result{CallID: "done", Outcome: "EXITED"}},
		}
	})
	client := sandgatev1.NewToolServiceClient(h.conn)
	tools, err := client.ListTools(t.Context(), &sandgatev1.ListToolsRequest{})
	if err != nil || len(tools.GetTools()) != 1 || tools.GetTools()[0].GetInputSchema().GetFields()["type"].GetStringValue() != "object" {
		t.Errorf("list: got %v %v, want bash with its schema", tools, err)
	}
	_, err = client.ListTools(t.Context(), &sandgatev1.ListToolsRequest{Profile: "stolen"})
	wantCode(t, err, codes.PermissionDenied, "stolen")
	_, err = client.ListTools(t.Context(), &sandgatev1.ListToolsRequest{Profile: "No!"})
	wantCode(t, err, codes.InvalidArgument, "profile")

	running, err := client.GetCall(t.Context(), &sandgatev1.GetCallRequest{CallId: "running"})
	if err != nil || running.GetState() != sandgatev1.CallState_CALL_STATE_RUNNING || running.GetResult() != nil || running.GetAcceptTime().GetSeconds() != 3 {
		t.Errorf("running: got %v %v", running, err)
	}
	done, err := client.GetCall(t.Context(), &sandgatev1.GetCallRequest{CallId: "done"})
	if err != nil || done.GetState() != sandgatev1.CallState_CALL_STATE_FINISHED || done.GetResult().GetCallId() != "done" {
		t.Errorf("done: got %v %v", done, err)
	}
	_, err = client.GetCall(t.Context(), &sandgatev1.GetCallRequest{CallId: "other"})
	wantCode(t, err, codes.NotFound, "other")
	_, err = client.GetCall(t.Context(), &sandgatev1.GetCallRequest{})
	wantCode(t, err, codes.InvalidArgument, "call_id")

	if _, err := client.Cancel(t.Context(), &sandgatev1.CancelRequest{CallId: "running"}); err != nil || h.gate.cancelled[0] != "running" {
		t.Errorf("cancel: got %v %v", h.gate.cancelled, err)
	}
	_, err = client.Cancel(t.Context(), &sandgatev1.CancelRequest{CallId: "a/b"})
	wantCode(t, err, codes.InvalidArgument, "call_id")
}

func TestPolicyService(t *testing.T) {
	h := serve(t, nil)
	client := sandgatev1.NewPolicyServiceClient(h.conn)
	st, err := client.GetStatus(t.Context(), &sandgatev1.GetStatusRequest{})
	if err != nil || st.GetStatus().GetRevision() != "r1" || len(st.GetStatus().GetErrors()) != 0 {
		t.Errorf("status: got %v %v", st, err)
	}
	d, err := client.Evaluate(t.Context(), &sandgatev1.PolicyServiceEvaluateRequest{InputJson: "{}"})
	if err != nil || d.GetDecision().GetReasons()[0].GetRule() != "r" {
		t.Errorf("evaluate: got %v %v", d, err)
	}
	for _, bad := range []string{"", `"text"`, strings.Repeat("x", maxInputBytes+1)} {
		_, err = client.Evaluate(t.Context(), &sandgatev1.PolicyServiceEvaluateRequest{InputJson: bad})
		wantCode(t, err, codes.InvalidArgument, "input_json")
	}
	h.policy.reload = errors.New("x.rego:3: unexpected eof")
	_, err = client.Reload(t.Context(), &sandgatev1.ReloadRequest{})
	wantCode(t, err, codes.FailedPrecondition, "x.rego:3")
	st, err = client.GetStatus(t.Context(), &sandgatev1.GetStatusRequest{})
	if err != nil || len(st.GetStatus().GetErrors()) != 1 {
		t.Errorf("status: got %v %v, want the error", st, err)
	}
	h.policy.notReady = errors.New("no policy is loaded")
	_, err = client.Evaluate(t.Context(), &sandgatev1.PolicyServiceEvaluateRequest{InputJson: "{}"})
	wantCode(t, err, codes.Unavailable)
}

func TestSystemService(t *testing.T) {
	h := serve(t, nil)
	client := sandgatev1.NewSystemServiceClient(h.conn)
	v, err := client.GetVersion(t.Context(), &sandgatev1.GetVersionRequest{})
	if err != nil || v.GetVersion() != "v1" || v.GetStartTime().AsTime().IsZero() {
		t.Errorf("version: got %v %v", v, err)
	}
	c, err := client.GetCapabilities(t.Context(), &sandgatev1.GetCapabilitiesRequest{})
	if err != nil || !c.GetReady() || c.GetKernel() != "fake" || len(c.GetControls()) != 1 || c.GetPolicy().GetRevision() != "r1" {
		t.Errorf("capabilities: got %v %v", c, err)
	}
}

func TestImagesAreStreamedInListedAndRemoved(t *testing.T) {
	h := serve(t, nil)
	client := sandgatev1.NewImageServiceClient(h.conn)
	send := func(parts ...*sandgatev1.ImportImageRequest) (*sandgatev1.ImportImageResponse, error) {
		stream, err := client.ImportImage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			if stream.Send(p) != nil {
				break // the reason comes with the answer
			}
		}
		return stream.CloseAndRecv()
	}
	name := func(n string) *sandgatev1.ImportImageRequest {
		return &sandgatev1.ImportImageRequest{Part: &sandgatev1.ImportImageRequest_Name{Name: n}}
	}
	data := func(n int) *sandgatev1.ImportImageRequest {
		return &sandgatev1.ImportImageRequest{Part: &sandgatev1.ImportImageRequest_Data{Data: bytes.Repeat([]byte("x"), n)}}
	}
	resp, err := send(name("example.com/a:1"), data(1<<20), data(5), data(0))
	if err != nil || resp.GetImages()[0].GetSizeBytes() != 1<<20+5 {
		t.Fatalf("import: got %v %v, want all bytes", resp, err)
	}
	_, err = send()
	wantCode(t, err, codes.InvalidArgument, "name")
	_, err = send(data(1))
	wantCode(t, err, codes.InvalidArgument, "name")
	_, err = send(name("a b"))
	wantCode(t, err, codes.InvalidArgument, "name")
	_, err = send(name("host"))
	wantCode(t, err, codes.InvalidArgument, "machine")
	_, err = send(name("b"), data(1), name("c"))
	wantCode(t, err, codes.InvalidArgument, "part")
	_, err = send(name("b"), data(1<<20+1))
	wantCode(t, err, codes.InvalidArgument, "at most")

	list, err := client.ListImages(t.Context(), &sandgatev1.ListImagesRequest{})
	if err != nil || len(list.GetImages()) != 1 {
		t.Errorf("list: got %v %v, want one image", list, err)
	}
	if _, err := client.RemoveImage(t.Context(), &sandgatev1.RemoveImageRequest{Name: "example.com/a:1"}); err != nil {
		t.Error(err)
	}
	_, err = client.RemoveImage(t.Context(), &sandgatev1.RemoveImageRequest{Name: "example.com/a:1"})
	wantCode(t, err, codes.NotFound)
	_, err = client.RemoveImage(t.Context(), &sandgatev1.RemoveImageRequest{})
	wantCode(t, err, codes.InvalidArgument, "name")
}

func TestWhatIsNotServedSaysWhatToDoInstead(t *testing.T) {
	h := serve(t, nil)
	_, err := sandgatev1.NewSessionServiceClient(h.conn).ListSessions(t.Context(), &sandgatev1.ListSessionsRequest{})
	wantCode(t, err, codes.Unimplemented, "ListSessions", "first names it")
	_, err = sandgatev1.NewApprovalServiceClient(h.conn).Approve(t.Context(), &sandgatev1.ApproveRequest{})
	wantCode(t, err, codes.Unimplemented, "APPROVAL_REQUIRED")
	_, err = sandgatev1.NewAuditServiceClient(h.conn).GetCheckpoint(t.Context(), &sandgatev1.GetCheckpointRequest{})
	wantCode(t, err, codes.Unimplemented, "journal")
}

func TestDomainErrorsReachTheHostWithTheirText(t *testing.T) {
	h := serve(t, func(h *harness, _ *Config) {
		h.gate.execute = func(context.Context, gate.Call, gate.Observer) (gate.Result, error) {
			return gate.Result{}, fmt.Errorf("call id is in use: %w", errdefs.ErrAlreadyExists)
		}
	})
	wantCode(t, execute(t.Context(), h), codes.AlreadyExists, "in use")
}
