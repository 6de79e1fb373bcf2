package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/uuid"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sandgate/sandgate/internal/logging"
)

// requestIDHeader is the metadata key of the request id, both ways.
const requestIDHeader = "x-request-id"

// panicError is a panic of a handler.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// unary is the interceptor of unary RPCs.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	in := s.begin(ctx, info.FullMethod, func(md metadata.MD) error { return grpc.SetHeader(ctx, md) })
	err = guard(func() error {
		ctx, err := s.admit(ctx, in)
		if err != nil {
			return err
		}
		if err := malformed(req); err != nil {
			return err
		}
		resp, err = handler(ctx, req)
		return fromHandler(info.FullMethod, err)
	})
	err = s.done(in, err)
	requestOf(ctx).end()
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// stream is the interceptor of streaming RPCs.
func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	in := s.begin(ss.Context(), info.FullMethod, ss.SetHeader)
	defer requestOf(ss.Context()).end()
	return s.done(in, guard(func() error {
		ctx, err := s.admit(ss.Context(), in)
		if err != nil {
			return err
		}
		return fromHandler(info.FullMethod, handler(srv, &serverStream{ServerStream: ss, ctx: ctx}))
	}))
}

// incoming is a request in the interceptor.
type incoming struct {
	id, method, caller string // caller is empty before it was let in
	start              time.Time
}

// fields are those of all log lines about the request.
func (in *incoming) fields() []zap.Field {
	fields := make([]zap.Field, 0, 8)
	fields = append(fields, zap.String(logging.KeyRequestID, in.id), zap.String(logging.KeyMethod, in.method))
	if in.caller != "" {
		fields = append(fields, zap.String(logging.KeyCaller, in.caller))
	}
	return fields
}

// begin gives a request its id.
func (s *Server) begin(ctx context.Context, method string, setHeader func(metadata.MD) error) *incoming {
	in := &incoming{id: requestID(ctx), method: method, start: time.Now()}
	if err := setHeader(metadata.MD{requestIDHeader: {in.id}}); err != nil {
		s.logger.Debug("header was not sent", append(in.fields(), zap.Error(err))...)
	}
	return in
}

// done turns the handler's error into a status and is the one place that logs it.
func (s *Server) done(in *incoming, err error) error {
	st := toStatus(err, in.id)
	if entry := s.logger.Check(levelOf(st.Code()), "request"); entry != nil {
		fields := append(in.fields(), zap.Stringer(logging.KeyCode, st.Code()), zap.Duration(logging.KeyDurationMS, time.Since(in.start)))
		if err != nil {
			fields = append(fields, zap.Error(err))
		}
		if p, ok := errors.AsType[*panicError](err); ok {
			fields = append(fields, zap.ByteString(logging.KeyStack, p.stack))
		}
		entry.Write(fields...)
	}
	return st.Err()
}

// admit authenticates and authorizes the caller and gives the context what the
// handler needs: the request with its caller, the caller's trace.
func (s *Server) admit(ctx context.Context, in *incoming) (context.Context, error) {
	n := needOf(in.method)
	if n == needNothing {
		return ctx, nil
	}
	r := requestOf(ctx)
	if r == nil {
		return ctx, fmt.Errorf("the request was not looked at: %w", errdefs.ErrUnauthenticated)
	}
	if r.denied != nil {
		return ctx, r.denied
	}
	if err := authorize(n, r.caller, s.access(r.caller)); err != nil {
		return ctx, err
	}
	in.caller = r.caller.ID
	if err := s.admitNotReady(in.method); err != nil {
		return ctx, err
	}
	r.admitted = true
	header := headerOf(ctx)
	return s.telemetry.Remote(r.traced.In(ctx), func(key string) string {
		if v := header(key); len(v) > 0 {
			return v[0]
		}
		return ""
	}), nil
}

// admitNotReady refuses calls while the daemon has not become ready yet.
func (s *Server) admitNotReady(method string) error {
	switch method {
	case "/sandgate.v1.ToolService/Execute", "/sandgate.v1.ToolService/ExecuteStream",
		"/sandgate.v1.ToolService/Evaluate", "/sandgate.v1.ToolService/ListTools":
		if err := s.notReady(); err != nil {
			return fmt.Errorf("not ready: %w: %w", err, errdefs.ErrUnavailable)
		}
	}
	return nil
}

// fromHandler sorts out the statuses that handlers return which are not ours:
// gRPC's own services, and the generated answer to what is not implemented.
func fromHandler(method string, err error) error {
	st, ok := err.(interface{ GRPCStatus() *status.Status }) // only what the handler itself returned
	switch {
	case !ok:
		return err
	case strings.HasPrefix(method, "/grpc."):
		return wireError{err}
	case st.GRPCStatus().Code() == codes.Unimplemented:
		return notImplemented(method)
	}
	return err
}

// levelOf is the log level of a request by its outcome.
func levelOf(c codes.Code) zapcore.Level {
	switch c {
	case codes.OK, codes.Canceled:
		return zapcore.DebugLevel
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return zapcore.ErrorLevel
	case codes.Unavailable:
		return zapcore.WarnLevel
	default:
		return zapcore.InfoLevel
	}
}

// requestID returns the id that the host sent if it is a decent one, or a new one.
func requestID(ctx context.Context) string {
	if v := metadata.ValueFromIncomingContext(ctx, requestIDHeader); len(v) == 1 {
		var c checker
		if c.id("", v[0], true); c.err() == nil {
			return v[0]
		}
	}
	return uuid.NewString()
}

// guard turns a panic into an error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	return f()
}

// serverStream is a stream with the interceptor's context, whose received
// messages were checked for being decodable.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // gRPC hands a stream's context over in no other way
}

// Context implements grpc.ServerStream.
func (s *serverStream) Context() context.Context { return s.ctx }

// RecvMsg implements grpc.ServerStream.
func (s *serverStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return received(err)
	}
	return malformed(m)
}

// SendMsg implements grpc.ServerStream.
func (s *serverStream) SendMsg(m any) error {
	if err := s.ServerStream.SendMsg(m); err != nil {
		return received(err)
	}
	return nil
}

// received marks an error that gRPC made; io.EOF stays what it is.
func received(err error) error {
	if _, ok := status.FromError(err); ok && !errors.Is(err, io.EOF) {
		return wireError{err}
	}
	return err
}
