package rpc

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func TestDoorBoundsEachCallerAndAll(t *testing.T) {
	a := &door{calls: room{perCaller: 2, all: 3}, control: room{perCaller: 1, all: 2}}
	ends := map[int][]context.CancelFunc{}
	request := func(uid int, method string) codes.Code {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		ctx = peer.NewContext(ctx, &peer.Peer{AuthInfo: newUnixPeer(uid, uid, 0, "")})
		_, err := a.tap(ctx, &tap.Info{FullMethodName: method})
		if err == nil {
			ends[uid] = append(ends[uid], cancel)
		}
		return status.Code(err)
	}
	const execute = sandgatev1.ToolService_Execute_FullMethodName
	for i, step := range []struct {
		uid    int
		method string
		want   codes.Code
	}{
		{1, execute, codes.OK},
		{1, execute, codes.OK},
		{1, execute, codes.ResourceExhausted}, // its own bound
		{2, execute, codes.OK},                // another caller is not hindered
		{2, execute, codes.ResourceExhausted}, // the bound of all
		{1, "/grpc.health.v1.Health/Check", codes.OK},
		{1, sandgatev1.ToolService_Cancel_FullMethodName, codes.OK}, // is counted apart
		{1, sandgatev1.ToolService_GetCall_FullMethodName, codes.ResourceExhausted},
		{2, sandgatev1.SystemService_GetCapabilities_FullMethodName, codes.OK},
	} {
		if got := request(step.uid, step.method); got != step.want {
			t.Errorf("step %d: got %v, want %v", i, got, step.want)
		}
	}
	for _, end := range ends[1][:2] {
		end()
	}
	// The place is given back when the stream's context ends, which is told to
	// another goroutine: wait for it by the lock that it takes.
	for {
		a.calls.mu.Lock()
		left := a.calls.sum
		a.calls.mu.Unlock()
		if left == 1 {
			break
		}
	}
	if got := request(1, execute); got != codes.OK {
		t.Errorf("after two ended: got %v, want OK", got)
	}
}

// TestPlaceIsGivenBackOnce ends a request by its handler's return, by its context's
// end, and by both.
func TestPlaceIsGivenBackOnce(t *testing.T) {
	a := &door{calls: room{perCaller: 2, all: 2}}
	enter := func() (*request, context.CancelFunc) {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		ctx = peer.NewContext(ctx, &peer.Peer{AuthInfo: newUnixPeer(1, 1, 0, "")})
		ctx, err := a.tap(ctx, &tap.Info{FullMethodName: sandgatev1.ToolService_Execute_FullMethodName})
		if err != nil {
			t.Fatal(err)
		}
		return requestOf(ctx), cancel
	}
	sum := func() int {
		a.calls.mu.Lock()
		defer a.calls.mu.Unlock()
		return a.calls.sum
	}
	other, _ := enter()
	returned, cancel := enter()
	returned.end()
	if got := sum(); got != 1 {
		t.Errorf("after the handler returned: %d places are taken, want 1", got)
	}
	cancel()
	returned.end()
	if got := sum(); got != 1 {
		t.Errorf("after its context ended, too: %d places are taken, want 1", got)
	}
	broken, cancel := enter()
	cancel()
	for sum() != 1 { // by a goroutine: wait for it by the lock that it takes
	}
	broken.end()
	if got := sum(); got != 1 {
		t.Errorf("after the context ended before the handler returned: %d places are taken, want 1", got)
	}
	other.end()
	var none *request
	none.end() // where there was no tap
	if got := sum(); got != 0 || len(a.calls.open) != 0 {
		t.Errorf("at the end %d places are taken, of callers %v; want none", got, a.calls.open)
	}
}
