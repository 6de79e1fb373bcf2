package rpc

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

const (
	// maxQueuedBytes bounds the output that waits for a slow host.
	maxQueuedBytes = 1 << 20
	// stallBudget is how long a call's output waits for its host in all. After it
	// output that finds no room is dropped, so that a host that does not read can
	// neither hold up the end of its call nor fill the daemon.
	stallBudget = 5 * time.Second
	// maxEventBytes is the most output in one message. With what is around it, it fits in
	// 32 KiB: a client by grpc-go takes a buffer of 1 MiB for a larger message, and clears
	// all of it.
	maxEventBytes = 32<<10 - 64
)

// eventSender sends a call's events to its host from a goroutine of its own,
// in order, with a bounded queue between. It is the call's gate.Observer.
type eventSender struct {
	ctx    context.Context //nolint:containedctx // of the RPC, which this type does not outlive
	stream executeStream
	done   chan struct{} // closed when the goroutine has ended
	wake   chan struct{} // capacity 1: the queue or closed changed
	room   chan struct{} // capacity 1: the queue became shorter
	chunks *chunkPool

	mu     sync.Mutex
	queue  []event
	bytes  int           // of output in queue
	closed bool          // no event will follow
	err    error         // of Send: nothing is sent any more
	left   time.Duration // of the stall budget; only the observer's goroutine uses it
}

var _ gate.Asker = (*eventSender)(nil)

func newEventSender(ctx context.Context, stream executeStream, chunks *chunkPool) *eventSender {
	s := &eventSender{
		ctx: ctx, stream: stream, done: make(chan struct{}), wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
		left: stallBudget, chunks: chunks,
	}
	go s.run()
	return s
}

// Decided implements gate.Observer.
func (s *eventSender) Decided(callID string, d policy.Decision) {
	s.put(event{message: &sandgatev1.ExecuteStreamResponse{Event: &sandgatev1.ExecuteStreamResponse_Decision{
		Decision: &sandgatev1.DecisionEvent{CallId: callID, Decision: decisionProto(d)},
	}}})
}

// Asked implements gate.Asker.
func (s *eventSender) Asked(a approval.Approval) {
	s.put(event{message: &sandgatev1.ExecuteStreamResponse{Event: &sandgatev1.ExecuteStreamResponse_ApprovalPending{
		ApprovalPending: &sandgatev1.ApprovalPendingEvent{Approval: approvalProto(&gate.AskedCall{Approval: a})},
	}}})
}

// Started implements gate.Observer.
func (s *eventSender) Started(r sandbox.Receipt) {
	s.put(event{message: &sandgatev1.ExecuteStreamResponse{Event: &sandgatev1.ExecuteStreamResponse_Started{
		Started: &sandgatev1.StartedEvent{Receipt: receiptProto(r)},
	}}})
}

// Output implements gate.Observer. It waits while the queue is full, as long as
// the stall budget lasts, and drops what then still finds no room: the gap shows
// in the offsets, and the result holds the head and tail in any case.
func (s *eventSender) Output(stream sandbox.Stream, offset int64, data []byte) {
	for len(data) > 0 {
		n := min(len(data), maxEventBytes)
		if !s.waitForRoom(n) {
			return
		}
		s.put(event{message: newOutput(s.chunks, stream, offset, data[:n]), size: n})
		data, offset = data[n:], offset+int64(n)
	}
}

// Following tells it that the call is another request's, which a slow host does
// not hold up: output waits for it as long as the RPC lasts.
func (s *eventSender) Following() { s.left = math.MaxInt64 }

// close sends what is queued and ends the goroutine. It returns the error of
// sending, if any.
func (s *eventSender) close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	poke(s.wake)
	<-s.done
	return s.err
}

// event is a message to the host, with the bytes of output that it holds.
type event struct {
	message any
	size    int
}

func (s *eventSender) put(e event) {
	s.mu.Lock()
	if s.err == nil {
		s.queue = append(s.queue, e)
		s.bytes += e.size
	}
	s.mu.Unlock()
	poke(s.wake)
}

// waitForRoom reports whether n bytes of output may be queued.
func (s *eventSender) waitForRoom(n int) bool {
	for {
		s.mu.Lock()
		ok, dead := s.bytes+n <= maxQueuedBytes, s.err != nil
		s.mu.Unlock()
		if ok || dead {
			return ok && !dead
		}
		if s.left <= 0 {
			return false
		}
		start := time.Now()
		timer := time.NewTimer(s.left)
		select {
		case <-s.room:
		case <-timer.C:
		case <-s.ctx.Done():
			s.left = 0
		}
		timer.Stop()
		s.left -= time.Since(start)
	}
}

// run sends until the queue is closed and empty, or sending fails.
func (s *eventSender) run() {
	defer close(s.done)
	for {
		s.mu.Lock()
		batch, closed := s.queue, s.closed
		s.queue = nil
		s.mu.Unlock()
		for _, e := range batch {
			if err := s.send(e); err != nil {
				return
			}
		}
		if len(batch) == 0 {
			if closed {
				return
			}
			<-s.wake
		}
	}
}

// send sends one event, whose data are gRPC's from then on.
func (s *eventSender) send(e event) error {
	err := s.stream.SendMsg(e.message)
	s.mu.Lock()
	s.bytes -= e.size
	if err != nil {
		s.err, s.queue = err, nil
	}
	s.mu.Unlock()
	poke(s.room)
	return err
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
