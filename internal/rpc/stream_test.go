package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

func start(stdin bool) *sandgatev1.ExecuteStreamRequest {
	return &sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Start{
		Start: &sandgatev1.ExecuteStart{Call: &sandgatev1.Call{Tool: "bash", CallId: "c"}, Stdin: stdin},
	}}
}

func chunk(data []byte) *sandgatev1.ExecuteStreamRequest {
	return &sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Stdin{Stdin: data}}
}

func stdinClose() *sandgatev1.ExecuteStreamRequest {
	return &sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_StdinClose{StdinClose: &sandgatev1.StdinClose{}}}
}

// open begins a streamed call with the messages.
func open(t *testing.T, h *harness, messages ...*sandgatev1.ExecuteStreamRequest) sandgatev1.ToolService_ExecuteStreamClient {
	t.Helper()
	stream, err := sandgatev1.NewToolServiceClient(h.conn).ExecuteStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if stream.Send(m) != nil {
			break // the reason comes with the answer
		}
	}
	return stream
}

// drain receives to the end.
func drain(stream sandgatev1.ToolService_ExecuteStreamClient) ([]*sandgatev1.ExecuteStreamResponse, error) {
	var out []*sandgatev1.ExecuteStreamResponse
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, msg)
	}
}

// cat is a program that copies stdin to stdout.
func cat(_ context.Context, call gate.Call, obs gate.Observer) (gate.Result, error) {
	obs.Decided(call.ID, policy.Decision{Outcome: policy.Allow})
	obs.Started(sandbox.Receipt{CellID: "cell"})
	var all []byte
	if call.Stdin != nil {
		var err error
		if all, err = io.ReadAll(call.Stdin); err != nil {
			return gate.Result{CallID: call.ID, Outcome: "CANCELLED"}, nil
		}
	}
	obs.Output(sandbox.Stdout, 0, all)
	return gate.Result{CallID: call.ID, Outcome: "EXITED"}, nil
}

func TestStreamTellsDecisionStartOutputAndResultInOrder(t *testing.T) {
	h := serve(t, func(h *harness, _ *Config) { h.gate.execute = cat })
	in := bytes.Repeat([]byte("0123456789"), 30000)
	stream := open(t, h, start(true), chunk(in[:100]), chunk(in[100:]))
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	got, err := drain(stream)
	if err != nil {
		t.Fatal(err)
	}
	if d := got[0].GetDecision(); d.GetCallId() != "c" || d.GetDecision().GetOutcome() != sandgatev1.DecisionOutcome_DECISION_OUTCOME_ALLOW {
		t.Errorf("first: got %v, want the decision", got[0])
	}
	if got[1].GetStarted().GetReceipt().GetCellId() != "cell" {
		t.Errorf("second: got %v, want the start", got[1])
	}
	var out []byte
	for _, m := range got[2 : len(got)-1] {
		o := m.GetOutput()
		if o.GetOffset() != int64(len(out)) || len(o.GetData()) > maxEventBytes || o.GetStream() != sandgatev1.Stream_STREAM_STDOUT {
			t.Errorf("output: got offset %d with %d bytes, want %d with at most %d", o.GetOffset(), len(o.GetData()), len(out), maxEventBytes)
		}
		out = append(out, o.GetData()...)
	}
	if !bytes.Equal(out, in) {
		t.Errorf("output: got %d bytes, want the %d of stdin", len(out), len(in))
	}
	if got[len(got)-1].GetResult().GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED {
		t.Errorf("last: got %v, want the result", got[len(got)-1])
	}
}

func TestStreamStdinEndsWithStdinClose(t *testing.T) {
	h := serve(t, func(h *harness, _ *Config) { h.gate.execute = cat })
	got, err := drain(open(t, h, start(true), chunk([]byte("x")), stdinClose()))
	if err != nil || string(got[2].GetOutput().GetData()) != "x" {
		t.Errorf("got %v %v, want the one byte", got, err)
	}
	if got, err = drain(open(t, h, start(false))); err != nil || len(got) != 3 {
		t.Errorf("without stdin: got %v %v, want decision, start and result", got, err)
	}
}

func TestStreamRefusesMessagesOutOfOrder(t *testing.T) {
	h := serve(t, func(h *harness, _ *Config) {
		h.gate.execute = func(ctx context.Context, call gate.Call, obs gate.Observer) (gate.Result, error) {
			if call.Stdin == nil {
				<-ctx.Done()
			}
			return cat(ctx, call, obs)
		}
	})
	tests := []struct {
		name     string
		messages []*sandgatev1.ExecuteStreamRequest
		field    string
	}{
		{"no start", []*sandgatev1.ExecuteStreamRequest{chunk([]byte("x"))}, "start"},
		{"empty message", []*sandgatev1.ExecuteStreamRequest{{}}, "start"},
		{"bad call", []*sandgatev1.ExecuteStreamRequest{{Event: &sandgatev1.ExecuteStreamRequest_Start{}}}, "call"},
		{"two starts", []*sandgatev1.ExecuteStreamRequest{start(true), start(true)}, "start"},
		{"stdin without leave", []*sandgatev1.ExecuteStreamRequest{start(false), chunk([]byte("x"))}, "stdin"},
		{"nothing", []*sandgatev1.ExecuteStreamRequest{start(true), {}}, "event"},
		{"big chunk", []*sandgatev1.ExecuteStreamRequest{start(true), chunk(make([]byte, maxChunkBytes+1))}, "stdin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := drain(open(t, h, tt.messages...))
			wantCode(t, err, codes.InvalidArgument, tt.field)
		})
	}
	stream := open(t, h)
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	_, err := drain(stream)
	wantCode(t, err, codes.InvalidArgument, "start")
}

func TestHostThatGoesAwayCancelsTheCall(t *testing.T) {
	ended := make(chan error, 1)
	h := serve(t, func(h *harness, _ *Config) {
		h.gate.execute = func(ctx context.Context, call gate.Call, obs gate.Observer) (gate.Result, error) {
			obs.Decided(call.ID, policy.Decision{Outcome: policy.Allow})
			<-ctx.Done()
			_, err := io.ReadAll(call.Stdin)
			ended <- err
			return gate.Result{Outcome: "CANCELLED"}, nil
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := sandgatev1.NewToolServiceClient(h.conn).ExecuteStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(start(true)); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("stdin ended well, want an error: the host did not close it")
	}
}

// A program that no longer reads its stdin does not hold up the end of its call.
func TestUnreadStdinDoesNotHoldUpTheResult(t *testing.T) {
	h := serve(t, func(h *harness, _ *Config) {
		h.gate.execute = func(_ context.Context, call gate.Call, _ gate.Observer) (gate.Result, error) {
			var b [1]byte
			_, err := io.ReadFull(call.Stdin, b[:])
			return gate.Result{Outcome: "EXITED"}, err
		}
	})
	stream := open(t, h, start(true))
	go func() {
		for stream.Send(chunk(make([]byte, maxChunkBytes))) == nil {
		}
	}()
	got, err := drain(stream)
	if err != nil || got[len(got)-1].GetResult() == nil {
		t.Errorf("got %v %v, want the result", got, err)
	}
}

// A daemon that stops tells the hosts of running calls what became of them.
func TestCloseCancelsCallsAndStillDeliversTheirResults(t *testing.T) {
	causes := make(chan error, 1)
	h := serve(t, func(h *harness, _ *Config) {
		h.gate.execute = func(ctx context.Context, call gate.Call, obs gate.Observer) (gate.Result, error) {
			obs.Decided(call.ID, policy.Decision{Outcome: policy.Allow})
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return gate.Result{Outcome: "CANCELLED"}, nil
		}
	})
	stream := open(t, h, start(false))
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	h.server.Close(over)
	if cause := <-causes; !errors.Is(cause, ErrShutdown) || !errors.Is(cause, gate.ErrStopping) { // which the result names
		t.Errorf("cause: got %v, want %v", cause, ErrShutdown)
	}
	got, err := drain(stream)
	if err != nil || len(got) != 1 || got[0].GetResult().GetOutcome() != sandgatev1.Outcome_OUTCOME_CANCELLED {
		t.Errorf("got %v %v, want the result", got, err)
	}
}

// blockedStream is a stream whose host does not read.
type blockedStream struct {
	sandgatev1.ToolService_ExecuteStreamServer
	open chan struct{}
	sent int
}

func (b *blockedStream) SendMsg(m any) error {
	<-b.open
	out, ok := m.(*outputMessage)
	if !ok {
		return fmt.Errorf("%T was sent, want output", m)
	}
	b.sent += out.data.Len()
	return nil
}

func TestHostThatDoesNotReadCostsBoundedMemoryAndTime(t *testing.T) {
	stream := &blockedStream{open: make(chan struct{})}
	s := newEventSender(t.Context(), stream, &chunkPool{})
	s.left = time.Millisecond
	data := make([]byte, 100<<10)
	for i := range int64(50) {
		s.Output(sandbox.Stdout, i*int64(len(data)), data)
	}
	s.mu.Lock()
	queued := s.bytes
	s.mu.Unlock()
	if queued > maxQueuedBytes || queued < maxQueuedBytes-maxEventBytes {
		t.Errorf("got %d bytes queued, want it filled up to %d", queued, maxQueuedBytes)
	}
	close(stream.open)
	if err := s.close(); err != nil || stream.sent != queued {
		t.Errorf("got %d bytes sent and %v, want the %d queued", stream.sent, err, queued)
	}
	s.put(event{message: &sandgatev1.ExecuteStreamResponse{}, size: 1}) // after close: kept from panicking
}

// failingStream is a stream whose host has gone.
type failingStream struct {
	sandgatev1.ToolService_ExecuteStreamServer
}

func (failingStream) SendMsg(any) error { return errors.New("gone") }

func TestSenderEndsWhenTheHostHasGone(t *testing.T) {
	s := newEventSender(t.Context(), failingStream{}, &chunkPool{})
	s.Decided("c", policy.Decision{})
	<-s.done
	s.Output(sandbox.Stderr, 0, bytes.Repeat([]byte("x"), 2*maxQueuedBytes))
	if err := s.close(); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("got %v, want the error of sending", err)
	}
}
