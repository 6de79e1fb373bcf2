package telemetry

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Request is the front's part of a call's span: with it the span begins when the request
// came and ends when it was answered. Whichever comes last, the gate's word of the call's
// end or the answer, ends the span; a call that goes on without its request ends it by
// itself. A nil Request is one that nobody traces. It is safe for concurrent use.
type Request struct {
	tracer   trace.Tracer
	received time.Time

	mu       sync.Mutex
	answered bool
	span     trace.Span // of a call that has ended and whose answer is under way; else nil
	ended    time.Time  // the gate's last word of it
}

// Received returns what a request that came then tells of it; nil without tracing.
func (r *Recorder) Received(now time.Time) *Request {
	if r == nil || r.tracer == nil {
		return nil
	}
	return &Request{tracer: r.tracer, received: now}
}

type requestKey struct{}

// In returns ctx such that Ended and Evaluated know of the request.
func (q *Request) In(ctx context.Context) context.Context {
	if q == nil {
		return ctx
	}
	return context.WithValue(ctx, requestKey{}, q)
}

// Replied ends the span of the request's call, if there is one, with the stage Reply.
func (q *Request) Replied(now time.Time) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.answered = true
	if q.span == nil {
		return
	}
	part(trace.ContextWithSpan(context.Background(), q.span), q.tracer, Reply, q.ended, now)
	q.span.End(trace.WithTimestamp(now))
	q.span = nil
}

// keep leaves it to the request to end a span, if it has not been answered yet.
func (q *Request) keep(span trace.Span, ended time.Time) bool {
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.answered || q.span != nil {
		return false
	}
	q.span, q.ended = span, ended
	return true
}

// part makes the span of a stage.
func part(ctx context.Context, tracer trace.Tracer, s Stage, from, to time.Time) {
	_, span := tracer.Start(ctx, s.String(), trace.WithTimestamp(from))
	span.End(trace.WithTimestamp(to))
}
