package rpc

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

// admission bounds the RPCs that are open at once, each caller's and all
// together. gRPC holds a whole message of each in memory before any handler
// sees it, so this product with MaxRecvBytes is what hosts can make the daemon
// hold. It is safe for concurrent use.
type admission struct {
	auth           authenticator
	perCaller, all int

	mu   sync.Mutex
	open map[string]int // by caller id; no entry at 0
	sum  int
}

// tap admits an RPC when its headers have come, before its message is read.
func (a *admission) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	id := "" // all that cannot be identified share one place; the interceptor refuses them
	if caller, err := a.auth.caller(metadata.NewIncomingContext(ctx, info.Header)); err == nil {
		id = caller.ID
	}
	if needOf(info.FullMethodName) == needNothing {
		return ctx, nil // a probe has no message worth bounding and must not wait behind calls
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.open[id] >= a.perCaller:
		return ctx, status.Error(codes.ResourceExhausted,
			fmt.Sprintf("this caller has %d requests open, the most it may have: try again when one has ended", a.perCaller))
	case a.sum >= a.all:
		return ctx, status.Error(codes.ResourceExhausted,
			fmt.Sprintf("%d requests are open, the most that this daemon takes: try again when one has ended", a.all))
	}
	a.open[id]++
	a.sum++
	context.AfterFunc(ctx, func() { a.release(id) }) // the context ends with the stream
	return ctx, nil
}

func (a *admission) release(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sum--
	if a.open[id]--; a.open[id] <= 0 {
		delete(a.open, id)
	}
}
