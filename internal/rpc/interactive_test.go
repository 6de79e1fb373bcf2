package rpc

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/sandgate/sandgate/internal/gate"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

func signalled(name string) *sandgatev1.ExecuteStreamRequest {
	return &sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Signal{Signal: name}}
}

func resized(rows, cols uint32) *sandgatev1.ExecuteStreamRequest {
	return &sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Resize{
		Resize: &sandgatev1.TerminalSize{Rows: rows, Cols: cols},
	}}
}

func startOnTerminal(rows, cols uint32) *sandgatev1.ExecuteStreamRequest {
	req := start(true)
	req.GetStart().Terminal = &sandgatev1.Terminal{Term: "vt100", Size: &sandgatev1.TerminalSize{Rows: rows, Cols: cols}}
	return req
}

// TestStreamInputsReachTheGate in the order in which they were sent.
func TestStreamInputsReachTheGate(t *testing.T) {
	var got []sandbox.Input
	h := serve(t, func(h *harness, _ *Config) {
		h.gate.execute = func(ctx context.Context, call gate.Call, _ gate.Observer) (gate.Result, error) {
			for range 3 {
				select {
				case in := <-call.Inputs:
					got = append(got, in)
				case <-ctx.Done():
					return gate.Result{}, ctx.Err()
				}
			}
			if call.Terminal == nil || call.Terminal.Term != "vt100" || call.Terminal.Size != (sandbox.TerminalSize{Rows: 5, Cols: 65535}) {
				t.Errorf("terminal %+v, want the one of the start", call.Terminal)
			}
			return gate.Result{CallID: "c", Outcome: "EXITED"}, nil
		}
	})
	// What nobody takes any more must not keep the stream from its end.
	_, err := drain(open(t, h, startOnTerminal(5, 65535), signalled("SIGINT"), resized(50, 132), signalled("SIGKILL"), signalled("SIGTERM")))
	if err != nil || len(got) != 3 || got[0].Signal != "SIGINT" || *got[1].Resize != (sandbox.TerminalSize{Rows: 50, Cols: 132}) || got[2].Signal != "SIGKILL" {
		t.Errorf("got %+v, %v, want a signal, a size and a signal", got, err)
	}
}

func TestStreamRefusesBadInputs(t *testing.T) {
	h := serve(t, func(h *harness, _ *Config) {
		h.gate.execute = func(ctx context.Context, _ gate.Call, _ gate.Observer) (gate.Result, error) {
			<-ctx.Done()
			return gate.Result{}, ctx.Err()
		}
	})
	for name, tt := range map[string]struct {
		messages    []*sandgatev1.ExecuteStreamRequest
		field, want string
	}{
		"unknown signal":    {[]*sandgatev1.ExecuteStreamRequest{start(false), signalled("SIGNOT")}, "signal", "SIGHUP, SIGINT, SIGKILL"},
		"signal by number":  {[]*sandgatev1.ExecuteStreamRequest{start(false), signalled("9")}, "signal", "SIGTERM"},
		"size of nothing":   {[]*sandgatev1.ExecuteStreamRequest{start(true), resized(1, 1)}, "resize", "terminal unset"},
		"no rows":           {[]*sandgatev1.ExecuteStreamRequest{startOnTerminal(0, 80)}, "terminal.size", "1 to 65535"},
		"too many columns":  {[]*sandgatev1.ExecuteStreamRequest{startOnTerminal(24, 65536)}, "terminal.size", "1 to 65535"},
		"resize to nothing": {[]*sandgatev1.ExecuteStreamRequest{startOnTerminal(24, 80), resized(0, 0)}, "resize", "1 to 65535"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := drain(open(t, h, tt.messages...))
			wantCode(t, err, codes.InvalidArgument, tt.field)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}
