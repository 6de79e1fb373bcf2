package rpc

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// toolService serves sandgate.v1.ToolService.
type toolService struct {
	sandgatev1.UnimplementedToolServiceServer
	server *Server
	gate   toolGate
}

// ListTools implements ToolServiceServer.
func (t *toolService) ListTools(ctx context.Context, req *sandgatev1.ListToolsRequest) (*sandgatev1.ListToolsResponse, error) {
	var c checker
	c.profile("profile", req.GetProfile())
	if err := c.err(); err != nil {
		return nil, err
	}
	tools, err := t.gate.ListTools(ctx, callerFrom(ctx), req.GetProfile())
	if err != nil {
		return nil, err
	}
	out := &sandgatev1.ListToolsResponse{}
	for _, tool := range tools {
		p, err := toolProto(tool)
		if err != nil {
			return nil, err
		}
		out.Tools = append(out.Tools, p)
	}
	return out, nil
}

// Evaluate implements ToolServiceServer.
func (t *toolService) Evaluate(ctx context.Context, req *sandgatev1.EvaluateRequest) (*sandgatev1.EvaluateResponse, error) {
	call, err := convertEvaluate(req, callerFrom(ctx))
	if err != nil {
		return nil, err
	}
	came := time.Now()
	ev, err := t.gate.Evaluate(ctx, call, req.GetExplain())
	if err != nil {
		return nil, err
	}
	decided(ctx, came)
	out := &sandgatev1.EvaluateResponse{CallId: ev.CallID, Digest: ev.Digest, Decision: decisionProto(ev.Decision)}
	if req.GetExplain() {
		out.InputJson = validText(string(ev.Input))
	}
	return out, nil
}

// Execute implements ToolServiceServer.
func (t *toolService) Execute(ctx context.Context, req *sandgatev1.ExecuteRequest) (*sandgatev1.ExecuteResponse, error) {
	call, err := convertExecute(req, callerFrom(ctx))
	if err != nil {
		return nil, err
	}
	if req.GetDetach() {
		return t.start(ctx, call)
	}
	ctx, cancel := t.server.untilStop(ctx)
	defer cancel(nil)
	var obs gate.Observer
	line := timelineOf(ctx)
	if line != nil {
		obs = line
	}
	failpoint.At(failpoint.RPCRequest)
	came := time.Now()
	res, err := t.gate.Execute(ctx, call, obs)
	passed(ctx, came, res, err)
	if line != nil {
		line.tell(ctx, came, time.Now())
	}
	if err != nil {
		return nil, err
	}
	failpoint.At(failpoint.RPCReply)
	return &sandgatev1.ExecuteResponse{Result: resultProto(res)}, nil
}

// start is Execute of a detached call.
func (t *toolService) start(ctx context.Context, call gate.Call) (*sandgatev1.ExecuteResponse, error) {
	running, res, err := t.gate.Start(ctx, call)
	if err != nil {
		return nil, err
	}
	failpoint.At(failpoint.DetachReply)
	if res != nil {
		return &sandgatev1.ExecuteResponse{Result: resultProto(*res)}, nil
	}
	return &sandgatev1.ExecuteResponse{Running: &sandgatev1.RunningCall{
		CallId: running.CallID, Digest: running.Digest, Decision: decisionProto(running.Decision),
		Receipt: receiptProto(running.Receipt), StartTime: timeProto(running.Started),
	}}, nil
}

// Cancel implements ToolServiceServer.
func (t *toolService) Cancel(ctx context.Context, req *sandgatev1.CancelRequest) (*sandgatev1.CancelResponse, error) {
	if err := requireID("call_id", req.GetCallId()); err != nil {
		return nil, err
	}
	if err := t.gate.Cancel(ctx, callerFrom(ctx), req.GetCallId()); err != nil {
		return nil, err
	}
	return &sandgatev1.CancelResponse{}, nil
}

// GetCall implements ToolServiceServer.
func (t *toolService) GetCall(ctx context.Context, req *sandgatev1.GetCallRequest) (*sandgatev1.GetCallResponse, error) {
	if err := requireID("call_id", req.GetCallId()); err != nil {
		return nil, err
	}
	info, err := t.gate.GetCall(ctx, callerFrom(ctx), req.GetCallId())
	if err != nil {
		return nil, err
	}
	out := &sandgatev1.GetCallResponse{
		CallId: info.CallID, State: sandgatev1.CallState_CALL_STATE_RUNNING, Tool: info.Tool, Digest: info.Digest,
		AcceptTime: timeProto(info.Began), SessionId: info.SessionID, Detached: info.Detached,
	}
	if r := info.Result; r != nil {
		out.State, out.Result = sandgatev1.CallState_CALL_STATE_FINISHED, resultProto(*r)
		out.StdoutBytes, out.StderrBytes = r.Stdout.TotalBytes, r.Stderr.TotalBytes
		return out, nil
	}
	out.StartTime, out.StdoutBytes, out.StderrBytes = timeProto(info.Started), info.StdoutBytes, info.StderrBytes
	if info.Decision != nil {
		out.Decision = decisionProto(*info.Decision)
	}
	if info.Receipt != nil {
		out.Receipt = receiptProto(*info.Receipt)
	}
	if info.Usage != nil {
		out.Usage = usageProto(*info.Usage)
	}
	return out, nil
}

// ListCalls implements ToolServiceServer.
func (t *toolService) ListCalls(ctx context.Context, req *sandgatev1.ListCallsRequest) (*sandgatev1.ListCallsResponse, error) {
	var c checker
	c.id("session_id", req.GetSessionId(), false)
	if n := req.GetPageSize(); n < 0 || n > maxListed {
		c.bad("page_size", "is %d: want 1 to %d, or 0 for the default", n, maxListed)
	}
	want := gate.CallFilter{SessionID: req.GetSessionId()}
	switch req.GetState() {
	case sandgatev1.CallState_CALL_STATE_UNSPECIFIED:
	case sandgatev1.CallState_CALL_STATE_RUNNING:
		want.Running = true
	case sandgatev1.CallState_CALL_STATE_FINISHED:
		want.Finished = true
	default:
		c.bad("state", "is %d: want one of CallState", req.GetState())
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	calls, next, err := t.gate.ListCalls(ctx, callerFrom(ctx), want, int(req.GetPageSize()), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &sandgatev1.ListCallsResponse{NextPageToken: next}
	for _, call := range calls {
		p := &sandgatev1.CallSummary{
			CallId: call.CallID, Tool: call.Tool, SessionId: call.SessionID, State: sandgatev1.CallState_CALL_STATE_RUNNING,
			ExitCode: int32of(call.ExitCode), AcceptTime: timeProto(call.Began), Detached: call.Detached, OutputBytes: call.OutputBytes,
		}
		if call.Outcome != "" {
			p.State, p.Outcome, p.EndTime = sandgatev1.CallState_CALL_STATE_FINISHED, outcomeProto(call.Outcome), timeProto(call.Ended)
		}
		out.Calls = append(out.Calls, p)
	}
	return out, nil
}

func requireID(field, id string) error {
	var c checker
	c.id(field, id, true)
	return c.err()
}

// notImplemented says what to do instead of a method of the contract that this
// version does not serve.
func notImplemented(method string) error {
	hint := map[string]string{
		"sandgate.v1.SessionService":  "a session is made when a call first names it, and tools such as read_file and write_file work on its files",
		"sandgate.v1.ApprovalService": "a call that needs an approval ends with OUTCOME_APPROVAL_REQUIRED",
		"sandgate.v1.AuditService":    "the journal is written and can be read as a file in the data directory",
	}[serviceOf(method)]
	return fmt.Errorf("%s is not served by this version of sandgate: %s: %w", method, hint, errdefs.ErrNotImplemented)
}

// ignore is an observer that does nothing.
type ignore struct{}

var _ gate.Observer = ignore{}

// Decided implements gate.Observer.
func (ignore) Decided(string, policy.Decision) {}

// Started implements gate.Observer.
func (ignore) Started(sandbox.Receipt) {}

// Output implements gate.Observer.
func (ignore) Output(sandbox.Stream, int64, []byte) {}
