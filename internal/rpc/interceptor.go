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
	ctx, done := s.begin(ctx, info.FullMethod, func(md metadata.MD) error { return grpc.SetHeader(ctx, md) })
	err = guard(func() (err error) {
		if ctx, err = s.admit(ctx, info.FullMethod); err != nil {
			return err
		}
		if err := malformed(req); err != nil {
			return err
		}
		resp, err = handler(ctx, req)
		return fromHandler(info.FullMethod, err)
	})
	if err = done(err); err != nil {
		return nil, err
	}
	return resp, nil
}

// stream is the interceptor of streaming RPCs.
func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, done := s.begin(ss.Context(), info.FullMethod, ss.SetHeader)
	return done(guard(func() (err error) {
		if ctx, err = s.admit(ctx, info.FullMethod); err != nil {
			return err
		}
		return fromHandler(info.FullMethod, handler(srv, &serverStream{ServerStream: ss, ctx: ctx}))
	}))
}

// begin gives a request its id and logger. The returned function turns the
// handler's error into a status and is the one place that logs it.
func (s *Server) begin(ctx context.Context, method string, setHeader func(metadata.MD) error) (context.Context, func(error) error) {
	id := requestID(ctx)
	logger := s.logger.With(zap.String(logging.KeyRequestID, id), zap.String(logging.KeyMethod, method))
	if err := setHeader(metadata.Pairs(requestIDHeader, id)); err != nil {
		logger.Debug("header was not sent", zap.Error(err))
	}
	start := time.Now()
	return logging.Into(ctx, logger), func(err error) error {
		st := toStatus(err, id)
		level := levelOf(st.Code())
		if entry := logger.Check(level, "request"); entry != nil {
			fields := []zap.Field{zap.Stringer(logging.KeyCode, st.Code()), zap.Duration(logging.KeyDurationMS, time.Since(start))}
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
}

// admit authenticates and authorizes the caller and puts it into the context.
func (s *Server) admit(ctx context.Context, method string) (context.Context, error) {
	n := needOf(method)
	if n == needNothing {
		return ctx, nil
	}
	caller, err := s.auth.caller(ctx)
	if err != nil {
		return ctx, err
	}
	if err := authorize(n, caller, s.access(caller)); err != nil {
		return ctx, err
	}
	ctx = logging.Into(ctx, logging.From(ctx).With(zap.String(logging.KeyCaller, caller.ID)))
	if err := s.admitNotReady(method); err != nil {
		return ctx, err
	}
	return withCaller(ctx, caller), nil
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
