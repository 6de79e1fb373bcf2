package rpc

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/telemetry"
)

// timelineHeader is the metadata key by which a host asks where the time of its
// Execute goes, with any value, and the key of the trailer that tells: pairs
// "name=nanoseconds", with commas between. "received", "came" and "left" are when
// the request's headers were read and when the call came to the gate and left it,
// as wall clock since 1970; the others are the gate's stages in their order.
const timelineHeader = "x-sandgate-timeline"

// timeline is the observer of a call whose host asked for its timeline.
type timeline struct {
	ignore
	trace telemetry.Trace
}

var _ gate.Tracer = (*timeline)(nil)

// Traced implements gate.Tracer.
func (l *timeline) Traced(t telemetry.Trace) { l.trace = t }

// timelineOf returns an observer if the host asked for one, or nil.
func timelineOf(ctx context.Context) *timeline {
	if len(metadata.ValueFromIncomingContext(ctx, timelineHeader)) == 0 {
		return nil
	}
	return &timeline{}
}

// tell puts the timeline into the trailer of a call that came to the gate then and
// leaves it now. Where there is no trailer nobody gets one.
func (l *timeline) tell(ctx context.Context, came, left time.Time) {
	raw := make([]byte, 0, 512)
	add := func(name string, n int64) {
		if len(raw) > 0 {
			raw = append(raw, ',')
		}
		raw = strconv.AppendInt(append(append(raw, name...), '='), n, 10)
	}
	if r := requestOf(ctx); r != nil {
		add("received", r.received.UnixNano())
	}
	add("came", came.UnixNano())
	l.trace.Each(func(s telemetry.Stage, took time.Duration) { add(s.String(), took.Nanoseconds()) })
	add("left", left.UnixNano())
	_ = grpc.SetTrailer(ctx, metadata.Pairs(timelineHeader, string(raw))) // fails only outside of an RPC
}
