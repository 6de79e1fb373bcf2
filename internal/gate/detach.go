package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// ErrStopping is the cause by which calls are cancelled when the daemon stops: those of
// requests by the server, those that no request waits for in Close.
var ErrStopping = errors.New("the daemon stops")

// endedBy says what has cancelled a call where that is not its host.
func (r *Result) endedBy(cause error) {
	if r.Outcome == Outcome(sandbox.OutcomeCancelled) && r.Message == "" && (errors.Is(cause, ErrStopping) || errors.Is(cause, errSessionEnded)) {
		r.Message = "ended: " + cause.Error()
	}
}

// background are the calls that no request waits for.
type background struct {
	life context.Context //nolint:containedctx // not of a request: it ends with the gate
	end  context.CancelCauseFunc

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

func (b *background) begin() {
	b.life, b.end = context.WithCancelCause(context.Background())
}

// run runs do in the background; false once that is closed.
func (b *background) run(do func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.calls.Go(do)
	return true
}

// Close cancels the calls that run without a request waiting for them, and waits
// until they have ended or ctx has. No such call can be begun after.
func (g *Gate) Close(ctx context.Context) error {
	b := &g.running
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.end(ErrStopping)
	defer g.watches.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.calls.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("calls in the background do not end: %w", context.Cause(ctx))
	}
}

// aside runs a call of its own beside its request: what ends the request does not
// end it.
func (g *Gate) aside(ctx context.Context, e *entry, w *way, cancel context.CancelCauseFunc) error {
	release := context.AfterFunc(g.running.life, func() { cancel(context.Cause(g.running.life)) })
	ok := g.running.run(func() {
		defer cancel(nil)
		defer release()
		defer func() {
			if fault := recover(); fault != nil { // its id is settled; the others must go on
				g.log.Error("a call in the background broke", zap.String("call_id", w.call.ID), zap.Any("panic", fault), zap.Stack("stack"))
			}
		}()
		failpoint.At(failpoint.DetachBegun)
		if _, err := g.conduct(ctx, e, w); err != nil {
			g.log.Info("call in the background did not run", zap.String("call_id", w.call.ID), zap.Error(err))
		}
	})
	if ok {
		return nil
	}
	release()
	err := fmt.Errorf("the daemon stops and takes no calls: %w", errdefs.ErrUnavailable)
	g.ledger.giveUp(e, err)
	w.letGo()
	return err
}

// bound puts the deadline of detached calls in the place of that of others.
func (b Background) bound(ceiling, defaults *policy.SandboxObligations) {
	if b.MaxWallTime > 0 {
		ceiling.WallTimeMs = b.MaxWallTime.Milliseconds()
	}
	if b.WallTime > 0 {
		defaults.WallTimeMs = b.WallTime.Milliseconds()
	}
}

// Running is a call that runs in the background.
type Running struct {
	CallID, Digest string
	Decision       policy.Decision
	Receipt        sandbox.Receipt
	Started        time.Time
}

// Start takes one call the whole way in the background: it returns when the
// program has been started, or with the result of a call that ended before. The
// call goes on until it ends, is cancelled, or its session or the gate ends; it is
// not ended by ctx. An error means, as for Execute, that it did not run, or that
// ctx ended before it was started: then it goes on, and may be asked for by its id.
//
// A call that is sent again under its id does not run again: Start tells of the
// one that runs, however it was begun.
func (g *Gate) Start(ctx context.Context, call Call) (*Running, *Result, error) {
	call.Detach = true
	e, mine, err := g.launch(ctx, call)
	if err != nil {
		return nil, nil, err
	}
	view, _ := g.ledger.viewOf(e)
	for view != nil {
		changed := view.tape.Changed()
		if now := view.progress(); now.receipt != nil {
			return &Running{CallID: e.key.id, Digest: e.digest, Decision: *now.decision, Receipt: *now.receipt, Started: now.started}, nil, nil
		}
		if changed == nil {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, left(ctx)
		}
	}
	res, err := g.await(ctx, e)
	if err != nil {
		return nil, nil, err
	}
	res.Replayed = !mine
	return nil, &res, nil
}

// launch begins a call in the background, or finds the one that has its id.
func (g *Gate) launch(ctx context.Context, call Call) (e *entry, mine bool, err error) {
	w := g.newWay(nil)
	if err := w.check(ctx, call); err != nil {
		return nil, false, err
	}
	runCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	e, mine, err = g.ledger.claim(w.prepared, &w.live, cancel)
	if err != nil || !mine {
		cancel(nil)
		return e, mine, err
	}
	return e, true, g.aside(runCtx, e, w, cancel)
}
