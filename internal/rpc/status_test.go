package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/session"
)

func TestToStatusMapsEveryClass(t *testing.T) {
	wrap := func(class error) error { return fmt.Errorf("open cell 7: %w", class) }
	const told, hidden = true, false
	tests := []struct {
		name string
		err  error
		want codes.Code
		text bool // whether the client sees the error's text
	}{
		{"invalid argument", wrap(errdefs.ErrInvalidArgument), codes.InvalidArgument, told},
		{"not found", wrap(errdefs.ErrNotFound), codes.NotFound, told},
		{"already exists", wrap(errdefs.ErrAlreadyExists), codes.AlreadyExists, told},
		{"permission denied", wrap(errdefs.ErrPermissionDenied), codes.PermissionDenied, told},
		{"unauthenticated", wrap(errdefs.ErrUnauthenticated), codes.Unauthenticated, told},
		{"resource exhausted", wrap(errdefs.ErrResourceExhausted), codes.ResourceExhausted, told},
		{"failed precondition", wrap(errdefs.ErrFailedPrecondition), codes.FailedPrecondition, told},
		{"conflict", wrap(errdefs.ErrConflict), codes.FailedPrecondition, told},
		{"out of range", wrap(errdefs.ErrOutOfRange), codes.OutOfRange, told},
		{"aborted", wrap(errdefs.ErrAborted), codes.Aborted, told},
		{"not implemented", wrap(errdefs.ErrNotImplemented), codes.Unimplemented, told},
		{"unavailable", wrap(errdefs.ErrUnavailable), codes.Unavailable, hidden},
		{"internal", wrap(errdefs.ErrInternal), codes.Internal, hidden},
		{"data loss", wrap(errdefs.ErrDataLoss), codes.Internal, hidden},
		{"unknown", wrap(errdefs.ErrUnknown), codes.Internal, hidden},
		{"cancelled", wrap(context.Canceled), codes.Canceled, hidden},
		{"deadline", wrap(context.DeadlineExceeded), codes.DeadlineExceeded, hidden},
		{"no class", errors.New("open cell 7"), codes.Internal, hidden},
		{"panic", &panicError{value: "open cell 7"}, codes.Internal, hidden},
		{"status of somebody else", wrap(status.Error(codes.NotFound, "open cell 7")), codes.Internal, hidden},
		{"unavailable wins over not found", fmt.Errorf("open cell 7: %w: %w", errdefs.ErrNotFound, errdefs.ErrUnavailable), codes.Unavailable, hidden},
		{"status of gRPC", wireError{status.Error(codes.ResourceExhausted, "open cell 7")}, codes.ResourceExhausted, told},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := toStatus(tt.err, "req-1")
			if st.Code() != tt.want {
				t.Errorf("code: got %v, want %v", st.Code(), tt.want)
			}
			if got := strings.Contains(st.Message(), "open cell 7"); got != tt.text {
				t.Errorf("message %q: tells the cause %v, want %v", st.Message(), got, tt.text)
			}
			fixed := tt.want == codes.Internal || tt.want == codes.Unavailable
			if fixed && !strings.Contains(st.Message(), "req-1") {
				t.Errorf("message %q: want the request id in it", st.Message())
			}
		})
	}
	busy := fmt.Errorf("open cell 7: %w", &session.BusyError{Session: "s", Why: "are being worked on by 1 calls"})
	if st := toStatus(busy, "req-1"); st.Code() != codes.Unavailable ||
		st.Message() != `the files of session "s" are being worked on by 1 calls: try again when that has ended` {
		t.Errorf("files in use: got %v: %q", st.Code(), st.Message())
	}
	turn := fmt.Errorf("cell 7: %w", &gate.BusyError{Message: "other calls work there: come again"})
	if st := toStatus(turn, "req-1"); st.Code() != codes.Unavailable || st.Message() != "other calls work there: come again" {
		t.Errorf("workspace in use: got %v: %q", st.Code(), st.Message())
	}
	if st := toStatus(nil, "req-1"); st.Code() != codes.OK {
		t.Errorf("nil: got %v, want OK", st.Code())
	}
}

func TestToStatusNamesTheFields(t *testing.T) {
	tests := []struct {
		name  string
		err   error
		field string
	}{
		{"request", fmt.Errorf("execute: %w", fieldError("call.tool", "is missing")), "call.tool"},
		{"argument", &catalog.ArgumentError{Tool: "bash", Field: "command", Problem: "is missing"}, "call.args_json.command"},
		{"call", &gate.FieldError{Field: "cwd", Problem: "is outside"}, "call.cwd"},
		{"arguments", &catalog.ArgumentError{Tool: "bash", Problem: "are too big"}, "call.args_json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := toStatus(tt.err, "r")
			if got := fieldsOf(t, st); len(got) != 1 || got[0] != tt.field {
				t.Errorf("got %v, want %s", got, tt.field)
			}
		})
	}
}

func TestToStatusBoundsTheText(t *testing.T) {
	st := toStatus(fmt.Errorf("%s: %w", strings.Repeat("ü", maxStatusText), errdefs.ErrNotFound), "r")
	if len(st.Message()) > maxStatusText+8 {
		t.Errorf("got %d bytes, want about %d", len(st.Message()), maxStatusText)
	}
}

// fieldsOf returns the fields that a status names as wrong.
func fieldsOf(t *testing.T, st *status.Status) []string {
	t.Helper()
	var out []string
	for _, d := range st.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				out = append(out, v.GetField())
				if v.GetDescription() == "" {
					t.Errorf("%s: has no description", v.GetField())
				}
			}
		}
	}
	return out
}
