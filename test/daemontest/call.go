package daemontest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// Option changes a call before it is sent.
type Option func(*sandgatev1.ExecuteRequest)

// Profile makes the call under a profile.
func Profile(name string) Option {
	return func(r *sandgatev1.ExecuteRequest) { r.Call.Profile = name }
}

// Session makes the call in a session.
func Session(id string) Option {
	return func(r *sandgatev1.ExecuteRequest) { r.Call.SessionId = id }
}

// CallID names the call.
func CallID(id string) Option {
	return func(r *sandgatev1.ExecuteRequest) { r.Call.CallId = id }
}

// Timeout shortens the deadline.
func Timeout(d time.Duration) Option {
	return func(r *sandgatev1.ExecuteRequest) { r.Call.Timeout = durationpb.New(d) }
}

// Stdin gives the call a standard input.
func Stdin(data []byte) Option {
	return func(r *sandgatev1.ExecuteRequest) { r.Stdin = data }
}

// WorkspaceDir makes the call work on a directory of the machine.
func WorkspaceDir(dir string) Option {
	return func(r *sandgatev1.ExecuteRequest) { r.Call.WorkspaceDir = dir }
}

// Request builds the request of a call of a tool.
func Request(tool string, args any, opts ...Option) *sandgatev1.ExecuteRequest {
	text, err := json.Marshal(args)
	if err != nil {
		panic(err) // a mistake in the test itself
	}
	req := &sandgatev1.ExecuteRequest{Call: &sandgatev1.Call{Tool: tool, ArgsJson: string(text)}}
	for _, opt := range opts {
		opt(req)
	}
	return req
}

// Bash builds the request of a bash call.
func Bash(command string, opts ...Option) *sandgatev1.ExecuteRequest {
	return Request("bash", map[string]string{"command": command}, opts...)
}

// Execute sends a request and fails the test on a gRPC error.
func (d *Daemon) Execute(t testing.TB, req *sandgatev1.ExecuteRequest) *sandgatev1.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	resp, err := d.Tools.Execute(ctx, req)
	if err != nil {
		t.Fatalf("Execute %s: %v", req.GetCall().GetArgsJson(), err)
	}
	return resp.GetResult()
}

// Text is what was kept of a stream, with a mark where bytes are missing.
func Text(o *sandgatev1.Output) string {
	if o.GetTruncated() {
		return string(o.GetHead()) + "\n[…]\n" + string(o.GetTail())
	}
	return string(o.GetHead()) + string(o.GetTail())
}
