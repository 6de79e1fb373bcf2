package gate

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// intent is the record that a call is about to run. It is written while the
// sandbox makes a cell ready, and nothing runs before it is on disk.
type intent struct {
	done chan struct{} // closed when it was written or could not be
	err  error         // valid after done

	// Of the goroutine that runs the call.
	asked, passed bool // the sandbox asked whether the program may run; it may
}

var errNoIntent = errors.New("no intent")

// written waits for the intent and returns nil if it is on disk. It is bounded
// by recordTimeout. After an error the intent may yet have got to the disk, if
// it is the time-out; then a restart shows the call as UNKNOWN.
func (i *intent) written() error {
	if i == nil {
		return errNoIntent
	}
	<-i.done
	return i.err
}

// begin begins to write the intent.
func (w *way) begin(ctx context.Context, call sandbox.Call) *intent {
	i := &intent{done: make(chan struct{})}
	go func() {
		defer close(i.done)
		i.err = w.recordIntent(ctx, call)
		failpoint.At(failpoint.GateIntentAfter)
	}()
	return i
}

// ready is the sandbox.Call's: the program may run once the intent is on disk
// and its labels are on the session, so that no call beside this one misses them.
func (w *way) ready(ctx context.Context) error {
	w.intent.asked = true
	failpoint.At(failpoint.GateAsked)
	select {
	case <-w.intent.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if w.intent.err != nil {
		return w.intent.err
	}
	if err := w.counted(); err != nil {
		return err
	}
	if err := w.unchanged(); err != nil {
		return err
	}
	w.intent.passed = true
	failpoint.At(failpoint.GateReleased)
	return nil
}

// counted counts the call in its session, once.
func (w *way) counted() error {
	if w.session == nil || w.seq != 0 {
		return nil
	}
	seq, err := w.session.Decided(string(policy.Allow), w.decision.Labels, w.gate.now())
	w.seq = seq
	return err
}

// count counts a call whose intent is on disk though it was not made ready: a
// replay of the journal counts it, too.
func (w *way) count() {
	if err := w.counted(); err != nil {
		w.gate.log.Warn("call not counted in its session", zap.String("call_id", w.call.ID), zap.Error(err))
	}
}
