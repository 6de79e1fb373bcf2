// Package logging makes the daemon's zap logger and holds the keys and the redacting
// types of log fields. The daemon and the fronts use it. It must never hold a global logger, and nothing
// but Redirect touches those of other packages.
package logging

import (
	"fmt"
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zapgrpc"
	"google.golang.org/grpc/grpclog"
)

// Keys of log fields. All log lines of sandgate use these and no others.
const (
	KeyRequestID       = "request_id"
	KeyMethod          = "method"
	KeyPeer            = "peer"
	KeyCode            = "code"
	KeyCaller          = "caller"
	KeySession         = "session"
	KeyCallID          = "call_id"
	KeyTool            = "tool"
	KeyArgs            = "args"
	KeyOutcome         = "outcome"
	KeyDecisionID      = "decision_id"
	KeyDurationMS      = "duration_ms"
	KeyResultSizeBytes = "result_size_bytes"
	KeyIsError         = "is_error"
	KeyRevision        = "policy_revision"
	KeyAddress         = "address"
	KeyPath            = "path"
	KeyVersion         = "version"
	KeySignal          = "signal"
	KeyStack           = "stack"
)

// Options say how a logger writes.
type Options struct {
	// Level is the lowest level that is written: debug, info, warn or error.
	Level string
	// Format is json (one object a line, for machines) or console (for people).
	Format string
	// Output gets the lines. Writes are serialised.
	Output io.Writer
}

// New returns a logger. An unknown level or format is an error.
func New(o Options) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(o.Level)
	if err != nil || level > zapcore.ErrorLevel {
		return nil, fmt.Errorf("log level %q: want debug, info, warn or error", o.Level)
	}
	enc := zap.NewProductionEncoderConfig()
	enc.TimeKey, enc.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	enc.MessageKey = "message"
	enc.EncodeDuration = zapcore.MillisDurationEncoder
	var encoder zapcore.Encoder
	switch o.Format {
	case "json":
		encoder = zapcore.NewJSONEncoder(enc)
	case "console":
		enc.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(enc)
	default:
		return nil, fmt.Errorf("log format %q: want json or console", o.Format)
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(o.Output)), level)
	return zap.New(core), nil
}

// Redirect sends what the standard library's and gRPC's own loggers write to l,
// gRPC's only from warnings on. The returned function restores the former; it
// must be called before l is closed. Only the daemon's main calls Redirect.
func Redirect(l *zap.Logger) (restore func()) {
	undo := zap.RedirectStdLog(l.Named("std"))
	grpclog.SetLoggerV2(zapgrpc.NewLogger(l.Named("grpc").WithOptions(zap.IncreaseLevel(zapcore.WarnLevel))))
	return func() {
		undo()
		grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	}
}
