package journal

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// Pending is an entry on its way to the disk.
type Pending interface {
	// Wait returns the record's number once it is on disk. Its errors are those of
	// Append. It may be called more than once, and by several goroutines.
	Wait(ctx context.Context) (int64, error)
}

// refused is an entry that is not on its way.
type refused struct{ err error }

// Wait implements Pending.
func (r refused) Wait(context.Context) (int64, error) { return 0, r.err }

// Begin puts the entry in line for the disk and returns. Its place among the records
// is settled then, also if nobody waits. The entry is encoded in the caller's
// goroutine; Begin only waits while very many entries are in line, and gives up when ctx
// ends meanwhile. It never returns nil: Wait tells what went wrong.
func (j *Journal) Begin(ctx context.Context, e Entry) Pending {
	if ctx.Err() != nil {
		return refused{context.Cause(ctx)}
	}
	memory := j.encodings.get()
	data, err := encode(memory, e.Data)
	if err != nil {
		j.encodings.put(memory)
		return refused{err}
	}
	r := &request{
		j: j, rec: Record{Kind: e.Kind, Caller: e.Caller, Session: e.Session, CallID: e.CallID, Data: data}, memory: memory,
		done: make(chan struct{}),
	}
	failpoint.At(failpoint.JournalQueued)
	select {
	case <-j.closing:
		return refused{errClosed()}
	case <-ctx.Done():
		return refused{context.Cause(ctx)}
	case j.requests <- r:
	}
	return r
}

// Wait implements Pending.
func (r *request) Wait(ctx context.Context) (int64, error) {
	select {
	case <-r.done:
		return r.seq, r.err
	case <-r.j.done:
		select {
		case <-r.done:
			return r.seq, r.err
		default:
			return 0, errClosed()
		}
	case <-ctx.Done():
		select {
		case <-r.done: // what is on disk is not given up because somebody came late
			return r.seq, r.err
		default:
			return 0, fmt.Errorf("write journal: %w", context.Cause(ctx))
		}
	}
}

// Append writes the entry and returns its sequence number once it is on disk.
// On an error nothing of it counts: the caller must act as if it had not been
// recorded. A full disk is errdefs.ErrResourceExhausted, another failure and a
// closed journal are errdefs.ErrUnavailable. When ctx ends while the record waits
// or is being written, Append returns at once, also from a disk that hangs: the
// record stays the writer's, and it is not known whether it gets there. That is an
// error too.
func (j *Journal) Append(ctx context.Context, e Entry) (int64, error) {
	return j.Begin(ctx, e).Wait(ctx)
}

func errClosed() error { return fmt.Errorf("journal is closed: %w", errdefs.ErrUnavailable) }
