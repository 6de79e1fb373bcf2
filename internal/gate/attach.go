package gate

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/spool"
	"github.com/sandgate/sandgate/sandbox"
)

// Follower is who follows a call that another request has begun.
type Follower interface {
	Observer
	// Gap tells of output that is not kept: what follows on the stream begins
	// behind it.
	Gap(stream sandbox.Stream, offset, size int64)
}

// Attach tells of the caller's call from the offsets of its streams on: what is
// kept of its output, then what comes, and returns its result. The follower is
// told as of a call of its own, and of gaps; it may block as long as it likes, and
// misses what is meanwhile no longer kept. When ctx ends Attach ends, and the call
// goes on. An unknown id, and one of another caller, is errdefs.ErrNotFound.
func (g *Gate) Attach(ctx context.Context, caller Caller, id string, stdout, stderr int64, f Follower) (Result, error) {
	if err := checkCallID(id); err != nil {
		return Result{}, err
	}
	if stdout < 0 || stderr < 0 {
		return Result{}, &FieldError{"offset", "is negative", "0 or more"}
	}
	e, err := g.ledger.get(callKey{caller.ID, id})
	if err != nil {
		return Result{}, err
	}
	res, err := g.followed(ctx, e, &teller{to: f, pos: [2]int64{stdout, stderr}})
	if err != nil && ctx.Err() == nil && e.gaveUp() {
		return Result{}, fmt.Errorf("call %q did not run: %w", id, errdefs.ErrNotFound)
	}
	return res, err
}

// hasEnded reports whether the call has ended, with a result or without.
func (e *entry) hasEnded() bool { return e.finished.Load() }

// gaveUp reports whether the call ended without a result.
func (e *entry) gaveUp() bool { return e.hasEnded() && e.err != nil }

// attach is for a call that is sent again: it waits for the one that has its id,
// tells the observer of it from the beginning, and returns its result.
func (g *Gate) attach(ctx context.Context, e *entry, obs Observer) (Result, error) {
	res, err := g.join(ctx, e, obs)
	if err != nil {
		return Result{}, err
	}
	res.Replayed = true
	g.cfg.Telemetry.Replayed()
	return res, nil
}

// patient is an Observer that wants to know that it follows another request's
// call: it may then block as long as it likes.
type patient interface{ Following() }

// join waits for the end of a call and tells the observer of it meanwhile.
func (g *Gate) join(ctx context.Context, e *entry, obs Observer) (Result, error) {
	if obs == nil {
		return g.await(ctx, e)
	}
	if p, ok := obs.(patient); ok {
		p.Following()
	}
	return g.followed(ctx, e, &teller{to: obs})
}

// await waits for the end of a call.
func (g *Gate) await(ctx context.Context, e *entry) (Result, error) {
	select {
	case <-g.ledger.done(e):
	case <-ctx.Done():
		return Result{}, left(ctx)
	}
	return g.resultOf(e)
}

// left is the error of a request that ends before the call that it waits for.
func left(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("the request ended before the call, which goes on: %w", cause)
	}
	return fmt.Errorf("the request ended before the call, which goes on: %w: %w", context.Canceled, cause)
}

// followed tells a follower of a call and returns its result.
func (g *Gate) followed(ctx context.Context, e *entry, t *teller) (Result, error) {
	view, stored := g.ledger.viewOf(e)
	if view != nil {
		if err := view.follow(ctx, e.key.id, t); err != nil {
			if ctx.Err() != nil {
				err = left(ctx)
			}
			return Result{}, err
		}
		return g.await(ctx, e)
	}
	res, err := g.await(ctx, e)
	if err != nil {
		return Result{}, err
	}
	t.to.Decided(res.CallID, res.Decision)
	if res.Receipt != nil {
		t.to.Started(*res.Receipt)
	}
	if !g.replayLog(e, stored, t) {
		t.result(&res)
	}
	return res, ctx.Err()
}

// replayLog tells of what is stored beside the result.
func (g *Gate) replayLog(e *entry, stored outputs, t *teller) bool {
	if stored.log == (spool.Digest{}) || g.cfg.Output == nil {
		return false
	}
	from, err := g.cfg.Output.Open(e.key.log(), stored.log)
	if err != nil {
		return false
	}
	defer from.Close() //nolint:errcheck // only read
	return spool.ReadPieces(from, func(p spool.Piece) error {
		t.output(sandboxStream(p.Stream), p.Offset, p.Data)
		return nil
	}) == nil
}

// result tells of the output in a result.
func (t *teller) result(r *Result) {
	for _, s := range []struct {
		stream sandbox.Stream
		out    *sandbox.Output
	}{{sandbox.Stdout, &r.Stdout}, {sandbox.Stderr, &r.Stderr}} {
		t.output(s.stream, 0, s.out.Head)
		t.output(s.stream, s.out.TotalBytes-int64(len(s.out.Tail)), s.out.Tail)
		t.upTo(s.stream, s.out.TotalBytes)
	}
}
