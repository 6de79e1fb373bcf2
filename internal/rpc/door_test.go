package rpc

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/sandgate/sandgate/internal/admission"
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
	if got := a.calls.retryAfter(3); got != (firstHint / 3).Round(time.Millisecond) {
		t.Errorf("before a request has ended: a hint of %v, want a third of %v", got, firstHint)
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

// TestHintFollowsWhatRequestsTake keeps places for long and for short: who is refused is
// told to come when the next one is due, within bounds.
func TestHintFollowsWhatRequestsTake(t *testing.T) {
	r := &room{perCaller: 4, all: 4}
	refused := func() time.Duration {
		t.Helper()
		for range 4 {
			if err := r.enter("a"); err != nil {
				t.Fatal(err)
			}
		}
		_, ok := errors.AsType[*admission.BusyError](r.enter("a"))
		st := toStatus(r.enter("b"), "")
		if len(st.Details()) != 1 || !ok || st.Code() != codes.ResourceExhausted {
			t.Fatalf("one too many: got %v %v, want RESOURCE_EXHAUSTED with a hint", st, st.Details())
		}
		info, ok := st.Details()[0].(*errdetails.RetryInfo)
		if !ok {
			t.Fatalf("got %v, want a RetryInfo", st.Details()[0])
		}
		return info.GetRetryDelay().AsDuration()
	}
	for _, step := range []struct{ kept, want time.Duration }{
		{8 * time.Second, firstHint / 4}, // nothing has ended yet
		{8 * time.Second, 2 * time.Second},
		{time.Hour, 2 * time.Second},
		{time.Microsecond, maxRetry},
	} {
		if got := refused(); got != step.want {
			t.Errorf("got a hint of %v, want %v", got, step.want)
		}
		for range 4 {
			r.leave("a", step.kept)
		}
	}
	for range 500 {
		r.open["a"], r.sum = 1, 1
		r.leave("a", time.Microsecond)
	}
	if got := refused(); got != minRetry {
		t.Errorf("after many short ones: got a hint of %v, want %v", got, minRetry)
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
