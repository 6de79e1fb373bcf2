package rpc

import (
	"context"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

type attachStream = sandgatev1.ToolService_AttachServer

// Attach implements ToolServiceServer.
func (t *toolService) Attach(req *sandgatev1.AttachRequest, stream attachStream) error {
	var c checker
	c.id("call_id", req.GetCallId(), true)
	for _, f := range []struct {
		name   string
		offset int64
	}{{"stdout_offset", req.GetStdoutOffset()}, {"stderr_offset", req.GetStderrOffset()}} {
		if f.offset < 0 {
			c.bad(f.name, "is %d: want 0 or more", f.offset)
		}
	}
	if err := c.err(); err != nil {
		return err
	}
	ctx, cancel := t.server.untilStop(stream.Context())
	defer cancel(nil)
	to := &attached{stream: stream, cancel: cancel}
	failpoint.At(failpoint.StreamAttached)
	res, err := t.gate.Attach(ctx, callerFrom(ctx), req.GetCallId(), req.GetStdoutOffset(), req.GetStderrOffset(), to)
	if to.err != nil {
		return to.err
	}
	if err != nil {
		return err
	}
	return stream.Send(&sandgatev1.AttachResponse{Event: &sandgatev1.AttachResponse_Result{Result: resultProto(res)}})
}

// attached sends what a call does to who has attached to it, as fast as he takes
// it: it holds up nobody but the goroutine of its RPC.
type attached struct {
	stream attachStream
	cancel context.CancelCauseFunc
	err    error // of sending: nothing is sent after
}

var _ gate.Follower = (*attached)(nil)

func (a *attached) send(m *sandgatev1.AttachResponse) {
	if a.err != nil {
		return
	}
	if a.err = a.stream.Send(m); a.err != nil {
		a.cancel(a.err)
	}
}

// Decided implements gate.Follower.
func (a *attached) Decided(callID string, d policy.Decision) {
	a.send(&sandgatev1.AttachResponse{Event: &sandgatev1.AttachResponse_Decision{
		Decision: &sandgatev1.DecisionEvent{CallId: callID, Decision: decisionProto(d)},
	}})
}

// Started implements gate.Follower.
func (a *attached) Started(r sandbox.Receipt) {
	a.send(&sandgatev1.AttachResponse{Event: &sandgatev1.AttachResponse_Started{
		Started: &sandgatev1.StartedEvent{Receipt: receiptProto(r)},
	}})
}

// Output implements gate.Follower.
func (a *attached) Output(stream sandbox.Stream, offset int64, data []byte) {
	for len(data) > 0 {
		n := min(len(data), maxEventBytes)
		a.send(&sandgatev1.AttachResponse{Event: &sandgatev1.AttachResponse_Output{
			Output: &sandgatev1.OutputEvent{Stream: streamProto(stream), Offset: offset, Data: data[:n]},
		}})
		offset, data = offset+int64(n), data[n:]
	}
}

// Gap implements gate.Follower.
func (a *attached) Gap(stream sandbox.Stream, offset, size int64) {
	a.send(&sandgatev1.AttachResponse{Event: &sandgatev1.AttachResponse_Gap{
		Gap: &sandgatev1.GapEvent{Stream: streamProto(stream), Offset: offset, SizeBytes: size},
	}})
}
