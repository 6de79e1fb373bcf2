package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Recorder takes measurements to where they were configured to go. A nil
// Recorder drops them. It is safe for concurrent use.
type Recorder struct {
	metrics *Metrics     // nil: none
	tracer  trace.Tracer // nil: none
}

// NewRecorder returns a recorder of the parts that are not nil; nil when none is.
func NewRecorder(m *Metrics, t *Tracing) *Recorder {
	if m == nil && t == nil {
		return nil
	}
	r := &Recorder{metrics: m}
	if t != nil {
		r.tracer = t.tracer
	}
	return r
}

// Call is what is told of a call beside its stages. Only Outcome and Class
// become labels; the rest is for spans.
type Call struct {
	Class   Class
	Outcome string // empty: an error
	Tool, CallID, SessionID, DecisionID,
	Decision string
}

// Ended records a call with its stages. ctx carries the caller's trace, if any
// (see Remote).
func (r *Recorder) Ended(ctx context.Context, t *Trace, c Call) {
	if r == nil {
		return
	}
	if r.metrics != nil {
		r.metrics.ended(t, c)
	}
	if r.tracer != nil {
		r.spans(ctx, "tool_call", t, c)
	}
}

// Replayed counts a call that got the result of an earlier one.
func (r *Recorder) Replayed() {
	if r != nil && r.metrics != nil {
		r.metrics.replayed.Inc()
	}
}

// Evaluated records a call that was only decided, with its stages. One of the class Error
// was not, and has a span only.
func (r *Recorder) Evaluated(ctx context.Context, t Trace, c Call) {
	if r == nil {
		return
	}
	if r.metrics != nil && c.Class != Error {
		r.metrics.evaluated(&t)
	}
	if r.tracer != nil {
		r.spans(ctx, "evaluate", &t, c)
	}
}

// EvaluateRequest records what a call that was only decided took in front of the gate and
// behind it.
func (r *Recorder) EvaluateRequest(receive, reply time.Duration) {
	if r != nil && r.metrics != nil {
		r.metrics.evaluation[Receive].Observe(receive.Seconds())
		r.metrics.evaluation[Reply].Observe(reply.Seconds())
	}
}

// Request records what a call took in front of the gate and behind it.
func (r *Recorder) Request(receive, reply time.Duration, c Class) {
	if r != nil && r.metrics != nil && c < classes {
		r.metrics.stage[Receive][c].Observe(receive.Seconds())
		r.metrics.stage[Reply][c].Observe(reply.Seconds())
	}
}

// Committed records a commit of the journal. It fits journal.Options.Observe.
func (r *Recorder) Committed(records int, took time.Duration) {
	if r != nil && r.metrics != nil {
		r.metrics.commits.Observe(took.Seconds())
		r.metrics.batches.Observe(float64(records))
	}
}

// Remote returns ctx with the trace that the W3C headers of a request name. get
// returns a header's value, empty when it was not sent. Without tracing ctx
// comes back as it is.
func (r *Recorder) Remote(ctx context.Context, get func(key string) string) context.Context {
	if r == nil || r.tracer == nil {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, getter(get))
}

// getter is a propagation.TextMapCarrier that is only read.
type getter func(string) string

// Get implements propagation.TextMapCarrier.
func (g getter) Get(key string) string { return g(key) }

// Set implements propagation.TextMapCarrier.
func (getter) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (getter) Keys() []string { return nil }

// spans makes the spans of a call that has ended: one of the whole, one of each
// stage. So a call that is not sampled costs nothing on its way. The request in ctx, if
// any, has its part in them, from before the gate's and after.
func (r *Recorder) spans(ctx context.Context, name string, t *Trace, c Call) {
	q, _ := ctx.Value(requestKey{}).(*Request)
	from := t.began
	if q != nil {
		from = q.received
	}
	ctx, span := r.tracer.Start(ctx, name, trace.WithTimestamp(from), trace.WithSpanKind(trace.SpanKindServer))
	if !span.IsRecording() {
		return
	}
	defer func() {
		if !q.keep(span, t.last) {
			span.End(trace.WithTimestamp(t.last))
		}
	}()
	outcome := c.Outcome
	if c.Class == Error {
		outcome = "ERROR"
		span.SetStatus(codes.Error, "the call did not run")
	}
	span.SetAttributes(
		attribute.String("sandgate.tool", c.Tool),
		attribute.String("sandgate.call_id", c.CallID), attribute.String("sandgate.session_id", c.SessionID),
		attribute.String("sandgate.decision", c.Decision), attribute.String("sandgate.decision_id", c.DecisionID),
	)
	if outcome != "" { // it has none where it was only decided
		span.SetAttributes(attribute.String("sandgate.outcome", outcome))
	}
	if q != nil {
		part(ctx, r.tracer, Receive, from, t.began)
	}
	at := t.began
	for _, seg := range t.segments[:t.n] {
		next := at.Add(seg.took)
		part(ctx, r.tracer, seg.stage, at, next)
		at = next
	}
}
