package gate

import (
	"context"
	"errors"
	"runtime"
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// intent is the record that a call is about to run. It is written while the
// sandbox makes a cell ready, and nothing runs before it is on disk. It belongs to the
// goroutine that runs the call.
type intent struct {
	id       string // of the call
	pending  journal.Pending
	deadline time.Time
	settled  bool  // it was written or could not be, or the deadline has passed
	err      error // valid once it is settled

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
	return i.wait(context.Background())
}

// wait is written, until ctx ends: that settles nothing.
func (i *intent) wait(ctx context.Context) error {
	if i.settled {
		return i.err
	}
	bound, cancel := context.WithDeadlineCause(ctx, i.deadline, errRecordTimeout)
	defer cancel()
	_, err := i.pending.Wait(bound)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if i.settled = true; err != nil {
		i.err = recordError(journal.KindIntent, i.id, err)
	}
	failpoint.At(failpoint.GateIntentAfter)
	return i.err
}

// begin begins to write the intent, also when the host has gone away meanwhile.
func (w *way) begin(ctx context.Context, call *sandbox.Call) *intent {
	failpoint.At(failpoint.GateIntentBefore)
	i := &intent{id: w.call.ID, deadline: time.Now().Add(recordTimeout)}
	bound, cancel := context.WithDeadlineCause(context.WithoutCancel(ctx), i.deadline, errRecordTimeout)
	defer cancel()
	i.pending = w.gate.cfg.Journal.Begin(bound, w.entry(journal.KindIntent, w.intentData(call)))
	// The disk takes longer than what is done meanwhile: the journal's writer, which Begin has
	// made ready, goes to it at once on this thread. Else it waits for another thread, some 50 us
	// on processors that sleep.
	runtime.Gosched()
	return i
}

// ready is the sandbox.Call's: the program may run once the intent is on disk
// and its labels are on the session, so that no call beside this one misses them.
func (w *way) ready(ctx context.Context) error {
	w.intent.asked = true
	failpoint.At(failpoint.GateAsked)
	if err := w.intent.wait(ctx); err != nil {
		return err
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
