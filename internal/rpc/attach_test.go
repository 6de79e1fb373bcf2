package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

func TestAttachTellsAllInOrder(t *testing.T) {
	h := serve(t, nil)
	big := bytes.Repeat([]byte("x"), maxEventBytes+1)
	h.gate.attach = func(_ context.Context, stdout, stderr int64, f gate.Follower) (gate.Result, error) {
		if stdout != 3 || stderr != 5 {
			t.Errorf("offsets %d, %d, want 3 and 5", stdout, stderr)
		}
		f.Decided("c", policy.Decision{Outcome: policy.Allow})
		f.Started(sandbox.Receipt{CellID: "cell"})
		f.Gap(sandbox.Stderr, 5, 7)
		f.Output(sandbox.Stderr, 12, big)
		return gate.Result{CallID: "c", Outcome: "EXITED"}, nil
	}
	stream, err := sandgatev1.NewToolServiceClient(h.conn).Attach(t.Context(), &sandgatev1.AttachRequest{CallId: "c", StdoutOffset: 3, StderrOffset: 5})
	if err != nil {
		t.Fatal(err)
	}
	next := func() *sandgatev1.AttachResponse {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := next(); m.GetDecision().GetCallId() != "c" {
		t.Errorf("first %v", m)
	}
	if m := next(); m.GetStarted().GetReceipt().GetCellId() != "cell" {
		t.Errorf("second %v", m)
	}
	if g := next().GetGap(); g.GetStream() != sandgatev1.Stream_STREAM_STDERR || g.GetOffset() != 5 || g.GetSizeBytes() != 7 {
		t.Errorf("gap %v", g)
	}
	if o := next().GetOutput(); o.GetOffset() != 12 || len(o.GetData()) != maxEventBytes {
		t.Errorf("output at %d of %d bytes", o.GetOffset(), len(o.GetData()))
	}
	if o := next().GetOutput(); o.GetOffset() != 12+maxEventBytes || string(o.GetData()) != "x" {
		t.Errorf("rest at %d", o.GetOffset())
	}
	if r := next().GetResult(); r.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED {
		t.Errorf("result %v", r)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the result: %v", err)
	}
}

func TestAttachRefusesWhatIsWrong(t *testing.T) {
	h := serve(t, nil)
	for name, c := range map[string]struct {
		req  *sandgatev1.AttachRequest
		code codes.Code
		text string
	}{
		"no id":           {&sandgatev1.AttachRequest{}, codes.InvalidArgument, "call_id"},
		"negative offset": {&sandgatev1.AttachRequest{CallId: "c", StderrOffset: -1}, codes.InvalidArgument, "stderr_offset"},
		"unknown":         {&sandgatev1.AttachRequest{CallId: "c"}, codes.NotFound, "c"},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := sandgatev1.NewToolServiceClient(h.conn).Attach(t.Context(), c.req)
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			wantCode(t, err, c.code, c.text)
		})
	}
}

// TestWhoLeavesAnAttachEndsItsGate: the follower must not be told any more.
func TestWhoLeavesAnAttachEndsItsGate(t *testing.T) {
	h := serve(t, nil)
	ended := make(chan error, 1)
	h.gate.attach = func(ctx context.Context, _, _ int64, f gate.Follower) (gate.Result, error) {
		f.Started(sandbox.Receipt{})
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return gate.Result{}, ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := sandgatev1.NewToolServiceClient(h.conn).Attach(ctx, &sandgatev1.AttachRequest{CallId: "c"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("no cause")
	}
}

func TestDetachedExecuteAnswersBeforeTheResult(t *testing.T) {
	h := serve(t, nil)
	h.gate.execute = func(_ context.Context, call gate.Call, _ gate.Observer) (gate.Result, error) {
		if call.ID == "ended" {
			return gate.Result{CallID: call.ID, Outcome: "DENIED"}, nil
		}
		return gate.Result{CallID: call.ID, Outcome: "RUNNING"}, nil
	}
	tools := sandgatev1.NewToolServiceClient(h.conn)
	call := func(id string) *sandgatev1.ExecuteRequest {
		return &sandgatev1.ExecuteRequest{Call: &sandgatev1.Call{Tool: "bash", CallId: id}, Detach: true}
	}
	resp, err := tools.Execute(t.Context(), call("runs"))
	if err != nil || resp.GetResult() != nil || resp.GetRunning().GetCallId() != "runs" || resp.GetRunning().GetStartTime().AsTime() != time.Unix(3, 0).UTC() {
		t.Errorf("got %v, %v", resp, err)
	}
	resp, err = tools.Execute(t.Context(), call("ended"))
	if err != nil || resp.GetRunning() != nil || resp.GetResult().GetOutcome() != sandgatev1.Outcome_OUTCOME_DENIED {
		t.Errorf("got %v, %v", resp, err)
	}
	if got := h.gate.seen[0]; !got.Detach || got.DetachOnDisconnect {
		t.Errorf("the gate got %+v", got)
	}
	both := call("x")
	both.DetachOnDisconnect = true
	_, err = tools.Execute(t.Context(), both)
	wantCode(t, err, codes.InvalidArgument, "detach_on_disconnect")
}

func TestListCalls(t *testing.T) {
	h := serve(t, nil)
	tools := sandgatev1.NewToolServiceClient(h.conn)
	resp, err := tools.ListCalls(t.Context(), &sandgatev1.ListCallsRequest{
		SessionId: "s", State: sandgatev1.CallState_CALL_STATE_FINISHED, PageSize: 7, PageToken: "p",
	})
	if err != nil || len(resp.GetCalls()) != 1 || resp.GetNextPageToken() != "next" {
		t.Fatalf("got %v, %v", resp, err)
	}
	c := resp.GetCalls()[0]
	if c.GetCallId() != "s false true 7 p" || c.GetState() != sandgatev1.CallState_CALL_STATE_FINISHED || c.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED {
		t.Errorf("got %v", c)
	}
	for _, bad := range []*sandgatev1.ListCallsRequest{{PageSize: -1}, {PageSize: 1001}, {SessionId: "a b"}, {State: 99}} {
		_, err := tools.ListCalls(t.Context(), bad)
		wantCode(t, err, codes.InvalidArgument)
	}
}
