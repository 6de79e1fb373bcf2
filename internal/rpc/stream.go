package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

type executeStream = sandgatev1.ToolService_ExecuteStreamServer

// errStdinDone is the cause by which the reader of stdin ends with its call.
var errStdinDone = errors.New("the call has ended")

// ExecuteStream implements ToolServiceServer.
func (t *toolService) ExecuteStream(stream executeStream) error {
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return fieldError("start", "is missing: it is the first message")
	}
	if err != nil {
		return err
	}
	if first.GetStart() == nil {
		return fieldError("start", "is missing: it is the first message")
	}
	call, err := convertStart(first.GetStart(), callerFrom(stream.Context()))
	if err != nil {
		return err
	}
	ctx, cancel := t.server.untilStop(stream.Context())
	defer cancel(nil)
	inputs := make(chan sandbox.Input)
	call.Inputs = inputs
	in := &stdinReader{stream: stream, cancel: cancel, inputs: inputs, done: ctx.Done(), terminal: call.Terminal != nil}
	if first.GetStart().GetStdin() {
		r, w := io.Pipe()
		defer r.CloseWithError(errStdinDone)
		call.Stdin, in.pipe = r, w
	}
	t.server.readers.Go(in.run)

	failpoint.At(failpoint.StreamRequest)
	out := newEventSender(ctx, stream, &t.server.chunks)
	came := time.Now()
	res, err := t.gate.Execute(ctx, call, out)
	passed(ctx, came, res, err)
	sendErr := out.close()
	if cause := context.Cause(ctx); errors.Is(cause, errdefs.ErrInvalidArgument) {
		return cause // a message after start was wrong, which has ended the call
	}
	if err != nil {
		return err
	}
	if sendErr != nil {
		return sendErr
	}
	failpoint.At(failpoint.StreamReply)
	return stream.Send(&sandgatev1.ExecuteStreamResponse{
		Event: &sandgatev1.ExecuteStreamResponse_Result{Result: resultProto(res)},
	})
}

// stdinReader receives the messages after start: stdin, signals and new sizes. It reads on only when the
// program has taken what came before, so gRPC's flow control bounds it. It ends
// when the host closes its side or the RPC ends.
type stdinReader struct {
	stream executeStream
	cancel context.CancelCauseFunc
	pipe   *io.PipeWriter // nil: the host said that there is no stdin
	closed bool           // stdin_close was received

	inputs   chan<- sandbox.Input
	done     <-chan struct{} // closed when nobody takes inputs any more
	terminal bool            // the call has one
}

func (s *stdinReader) run() {
	err := s.read()
	switch {
	case err == nil:
		s.finish(nil)
	case errors.Is(err, errdefs.ErrInvalidArgument):
		s.cancel(err)
		s.finish(err)
	default: // the RPC has ended, its context with it
		s.finish(err)
	}
}

func (s *stdinReader) read() error {
	for {
		msg, err := s.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch event := msg.GetEvent().(type) {
		case *sandgatev1.ExecuteStreamRequest_Stdin:
			if err := s.write(event.Stdin); err != nil {
				return err
			}
		case *sandgatev1.ExecuteStreamRequest_StdinClose:
			s.closed = true
			s.finish(nil)
		case *sandgatev1.ExecuteStreamRequest_Signal:
			if err := s.signal(event.Signal); err != nil {
				return err
			}
		case *sandgatev1.ExecuteStreamRequest_Resize:
			if err := s.resize(event.Resize); err != nil {
				return err
			}
		case *sandgatev1.ExecuteStreamRequest_Start:
			return fieldError("start", "came twice: only the first message is a start")
		default:
			return fieldError("event", "is missing: want stdin, stdin_close, signal or resize")
		}
	}
}

// write hands a chunk to the program. What the program no longer reads is
// dropped, as a pipe's writer would be told by SIGPIPE.
func (s *stdinReader) write(chunk []byte) error {
	switch {
	case s.pipe == nil:
		return fieldError("stdin", "was sent, but start has stdin unset")
	case s.closed:
		return fieldError("stdin", "was sent after stdin_close")
	case len(chunk) > maxChunkBytes:
		return fieldError("stdin", "has %d bytes: want at most %d in one message", len(chunk), maxChunkBytes)
	}
	if _, err := s.pipe.Write(chunk); err != nil && !errors.Is(err, errStdinDone) && !errors.Is(err, io.ErrClosedPipe) {
		return fmt.Errorf("write stdin: %w", err)
	}
	return nil
}

func (s *stdinReader) finish(err error) {
	if s.pipe != nil {
		_ = s.pipe.CloseWithError(err) // never fails; nil is the end of file
	}
}
