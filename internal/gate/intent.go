package gate

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
)

// intent is the record that a call is about to run. It is written when the
// sandbox asks whether the program may run, which it does while the cell gets
// everything else ready; nothing runs before it is on disk. The goroutine of the
// call writes it itself: to hand it to another and to be woken again took longer
// than what it gained. All of it belongs to that goroutine.
type intent struct {
	write func() error
	tried bool
	err   error // valid once tried

	asked, passed bool // the sandbox asked whether the program may run; it may
}

var errNoIntent = errors.New("no intent")

// written returns nil if the intent is on disk. A call that came to its end before
// it was asked about gets its intent here: the journal knows of every call that was
// allowed. It is bounded by recordTimeout, unless the disk hangs. After an error the
// intent may yet have got to the disk; then a restart shows the call as UNKNOWN.
func (i *intent) written() error {
	if i == nil {
		return errNoIntent
	}
	if !i.tried {
		i.tried, i.err = true, errNoIntent // should it panic
		i.err = i.write()
	}
	return i.err
}

// begin makes the intent of the call.
func (w *way) begin(ctx context.Context, call sandbox.Call) *intent {
	return &intent{write: func() error { return w.recordIntent(ctx, call) }}
}

// ready is the sandbox.Call's: the program may run once the intent is on disk
// and its labels are on the session, so that no call beside this one misses them.
func (w *way) ready(ctx context.Context) error {
	w.intent.asked = true
	if err := w.intent.written(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := w.counted(); err != nil {
		return err
	}
	w.intent.passed = true
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
