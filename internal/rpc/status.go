package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/session"
)

// maxStatusText bounds the message of a status: it travels in a header.
const maxStatusText = 4096

// wireError is an error that gRPC itself made while reading a stream; its
// status goes to the client as it is.
type wireError struct{ error }

// Unwrap returns gRPC's own error.
func (e wireError) Unwrap() error { return e.error }

// classes are the error classes that a client is told, with the domain's text.
// The order counts for errors of several classes: the most telling first.
func classes() []struct {
	class error
	code  codes.Code
} {
	return []struct {
		class error
		code  codes.Code
	}{
		{errdefs.ErrInvalidArgument, codes.InvalidArgument},
		{errdefs.ErrUnauthenticated, codes.Unauthenticated},
		{errdefs.ErrPermissionDenied, codes.PermissionDenied},
		{errdefs.ErrNotFound, codes.NotFound},
		{errdefs.ErrAlreadyExists, codes.AlreadyExists},
		{errdefs.ErrResourceExhausted, codes.ResourceExhausted},
		{errdefs.ErrFailedPrecondition, codes.FailedPrecondition},
		{errdefs.ErrConflict, codes.FailedPrecondition},
		{errdefs.ErrOutOfRange, codes.OutOfRange},
		{errdefs.ErrAborted, codes.Aborted},
		{errdefs.ErrNotImplemented, codes.Unimplemented},
	}
}

// toStatus is the one mapping of domain errors to gRPC statuses. For INTERNAL
// and UNAVAILABLE the client gets a fixed text and the request id: the cause is
// for the log alone, unless it is that files are in use.
func toStatus(err error, requestID string) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	if wire, ok := errors.AsType[wireError](err); ok {
		if st, ok := status.FromError(wire.error); ok {
			return st
		}
	}
	if busy, ok := errors.AsType[*session.BusyError](err); ok {
		return status.New(codes.Unavailable, clipText(busy.Error()))
	}
	if busy, ok := errors.AsType[*gate.BusyError](err); ok {
		return status.New(codes.Unavailable, clipText(busy.Error()))
	}
	switch {
	case errors.Is(err, errdefs.ErrInternal), errors.Is(err, errdefs.ErrDataLoss):
		return internal(requestID)
	case errors.Is(err, errdefs.ErrUnavailable):
		return status.New(codes.Unavailable, fmt.Sprintf(
			"sandgate cannot do this now: `sandgate doctor` and the daemon's log tell why (request %s)", requestID))
	}
	for _, c := range classes() {
		if errors.Is(err, c.class) {
			return withDetails(status.New(c.code, clipText(err.Error())), err)
		}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, "the request was cancelled")
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, "the deadline of the request has passed")
	}
	return internal(requestID)
}

func internal(requestID string) *status.Status {
	return status.New(codes.Internal, fmt.Sprintf("sandgate has a fault: the daemon's log tells more (request %s)", requestID))
}

// withDetails attaches a google.rpc.BadRequest that names the wrong fields, or a
// google.rpc.RetryInfo that says when to come again.
func withDetails(st *status.Status, err error) *status.Status {
	if busy, ok := errors.AsType[*admission.BusyError](err); ok {
		full, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(busy.RetryAfter)})
		if err != nil {
			return st
		}
		return full
	}
	var list []violation
	var request *requestError
	var field *gate.FieldError
	var argument *catalog.ArgumentError
	switch {
	case errors.As(err, &request):
		list = request.violations
	case errors.As(err, &field):
		list = []violation{{"call." + field.Field, field.Error()}}
	case errors.As(err, &argument):
		field := "call.args_json"
		if argument.Field != "" {
			field += "." + argument.Field
		}
		list = []violation{{field, argument.Error()}}
	default:
		return st
	}
	detail := &errdetails.BadRequest{}
	for _, v := range list {
		detail.FieldViolations = append(detail.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: v.field, Description: clipText(v.problem),
		})
	}
	full, err := st.WithDetails(detail)
	if err != nil {
		return st
	}
	return full
}

func clipText(s string) string {
	if len(s) <= maxStatusText {
		return s
	}
	return strings.ToValidUTF8(s[:maxStatusText], "") + "…"
}
