package rpc

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/tap"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/telemetry"
)

// Bounds of the open requests that are no calls, so that what steers calls and
// tells of them finds room however many calls are open.
const (
	maxControl          = 256
	maxControlPerCaller = 64
)

// door bounds the RPCs that are open at once, each caller's and all
// together. gRPC holds a whole message of each in memory before any handler
// sees it, so this product with MaxRecvBytes is what hosts can make the daemon
// hold. Calls and all else are counted apart. It is safe for concurrent use.
type door struct {
	auth      authenticator
	telemetry *telemetry.Recorder
	calls     room
	control   room
}

// room counts open requests.
type room struct {
	perCaller, all int

	mu   sync.Mutex
	open map[string]int // by caller id; no entry at 0
	sum  int
	// usual is about how long a request kept its place, those that ended last counting
	// most; 0 before one has ended.
	usual time.Duration
}

// Bounds of the hint when to come again, and what it is reckoned with before any
// request has ended.
const (
	minRetry  = 50 * time.Millisecond
	maxRetry  = time.Minute
	firstHint = time.Second
	remembers = 8 // how many of the last requests make most of what is usual
)

// request is what is known of an RPC from its headers on.
type request struct {
	received time.Time
	caller   gate.Caller
	denied   error // why the caller is not known
	admitted bool  // the interceptor let the caller in; only its goroutine asks
	gate     atomic.Pointer[passage]
	traced   *telemetry.Request // nil: nobody traces

	door *door
	room *room       // where it has a place; nil: it needs none
	stop func() bool // keeps the context's end from giving the place back
}

// passage is when a call came to the gate and left it.
type passage struct {
	came, left time.Time
	class      telemetry.Class
	evaluated  bool // it was only decided
}

type requestKey struct{}

// requestOf returns what tap knows of a request; nil where there was no tap.
func requestOf(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{}).(*request)
	return r
}

// passed notes what the gate's part of a call was.
func passed(ctx context.Context, came time.Time, res gate.Result, err error) {
	if r := requestOf(ctx); r != nil {
		r.gate.Store(&passage{came: came, left: time.Now(), class: telemetry.ClassOf(string(res.Outcome), res.IsError, err)})
	}
}

// decided notes likewise what the gate's part of a call was that was only to be decided,
// and was.
func decided(ctx context.Context, came time.Time) {
	if r := requestOf(ctx); r != nil {
		r.gate.Store(&passage{came: came, left: time.Now(), evaluated: true})
	}
}

// tap admits an RPC when its headers have come, before its message is read.
func (d *door) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	r := &request{received: time.Now()}
	r.caller, r.denied = d.auth.caller(ctx, func(key string) []string { return info.Header.Get(key) })
	ctx = context.WithValue(ctx, requestKey{}, r)
	if needOf(info.FullMethodName) == needNothing {
		return ctx, nil // a probe has no message worth bounding and must not wait behind calls
	}
	in := &d.control
	if isCall(info.FullMethodName) {
		in = &d.calls
	}
	id := r.caller.ID // all that cannot be identified share one place; the interceptor refuses them
	if err := in.enter(id); err != nil {
		return ctx, toStatus(err, "").Err()
	}
	r.door, r.room, r.traced = d, in, d.telemetry.Received(r.received)
	r.stop = context.AfterFunc(ctx, r.leave) // it ends with the stream, at the latest
	return ctx, nil
}

// end gives the place back when the handler has returned. The end of the context does
// so as well, for requests that come to no handler, but in a goroutine of its own: that
// wakes a thread, and it is in the way of the answer.
func (r *request) end() {
	if r != nil && r.stop != nil && r.stop() {
		r.leave()
	}
}

// leave is called once.
func (r *request) leave() {
	r.room.leave(r.caller.ID, time.Since(r.received))
	switch p := r.gate.Load(); {
	case p == nil:
	case p.evaluated:
		r.door.telemetry.EvaluateRequest(p.came.Sub(r.received), time.Since(p.left))
	default:
		r.door.telemetry.Request(p.came.Sub(r.received), time.Since(p.left), p.class)
	}
	if r.traced != nil {
		r.traced.Replied(time.Now())
	}
}

// enter takes a place. Without one the error says when to come again, as the line's does.
func (r *room) enter(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch own := r.open[id]; {
	case own >= r.perCaller:
		return &admission.BusyError{
			Reason: fmt.Sprintf("this caller has %d requests open, the most it may have", r.perCaller), RetryAfter: r.retryAfter(own),
		}
	case r.sum >= r.all:
		return &admission.BusyError{
			Reason: fmt.Sprintf("%d requests are open, the most that this daemon takes", r.all), RetryAfter: r.retryAfter(r.sum),
		}
	}
	if r.open == nil {
		r.open = make(map[string]int)
	}
	r.open[id]++
	r.sum++
	return nil
}

// retryAfter is about when the next of so many requests gives its place back; r.mu is
// held.
func (r *room) retryAfter(requests int) time.Duration {
	usual := r.usual
	if usual == 0 {
		usual = firstHint
	}
	return min(max(usual/time.Duration(max(requests, 1)), minRetry), maxRetry).Round(time.Millisecond)
}

// leave gives a place back that was kept for so long.
func (r *room) leave(id string, kept time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.usual == 0 {
		r.usual = kept
	} else {
		r.usual += (kept - r.usual) / remembers
	}
	r.sum--
	if r.open[id]--; r.open[id] <= 0 {
		delete(r.open, id)
	}
}

// isCall reports whether a method may keep the daemon busy for long or brings
// much with it.
func isCall(method string) bool {
	switch method {
	case "/sandgate.v1.ToolService/Execute", "/sandgate.v1.ToolService/ExecuteStream", "/sandgate.v1.ToolService/Attach",
		"/sandgate.v1.ToolService/Evaluate", "/sandgate.v1.ToolService/ListTools", "/sandgate.v1.PolicyService/Evaluate",
		"/sandgate.v1.ImageService/ImportImage", "/sandgate.v1.SessionService/CreateSession", "/sandgate.v1.SessionService/UploadFile",
		"/sandgate.v1.SessionService/DownloadFile", "/sandgate.v1.SessionService/UploadTree", "/sandgate.v1.SessionService/DownloadTree",
		"/sandgate.v1.SessionService/ListChanges", "/sandgate.v1.SessionService/CreateSnapshot", "/sandgate.v1.SessionService/RestoreSnapshot",
		"/sandgate.v1.SessionService/ForkSession", "/sandgate.v1.AuditService/QueryRecords", "/sandgate.v1.AuditService/TailRecords":
		return true
	}
	return false
}

// headerOf reads the headers of a request's context.
func headerOf(ctx context.Context) func(string) []string {
	return func(key string) []string { return metadata.ValueFromIncomingContext(ctx, key) }
}
