package gate

import (
	"context"
	"sync"
	"time"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/spool"
	"github.com/sandgate/sandgate/sandbox"
)

// live is a call on its way as those see it who follow it: what was decided,
// that it was started, what it writes. It is the observer of every call and
// tells the call's own host at once; all others read the tape at their own pace.
type live struct {
	host Observer // of the call's own request; nil: none
	tape spool.Tape
	now  func() time.Time
	// outlives: the tape has more than the result, or is one to follow later, and goes
	// to the store.
	outlives bool

	mu       sync.Mutex
	decision *policy.Decision
	receipt  *sandbox.Receipt
	started  time.Time
}

var _ Observer = (*live)(nil)

// Decided implements Observer.
func (l *live) Decided(callID string, d policy.Decision) {
	l.mu.Lock()
	l.decision = &d
	l.mu.Unlock()
	l.tape.Poke()
	if l.host != nil {
		l.host.Decided(callID, d)
	}
}

// Started implements Observer.
func (l *live) Started(r sandbox.Receipt) {
	l.mu.Lock()
	l.receipt, l.started = &r, l.now()
	l.mu.Unlock()
	l.tape.Poke()
	if l.host != nil {
		l.host.Started(r)
	}
}

// Output implements Observer.
func (l *live) Output(stream sandbox.Stream, offset int64, data []byte) {
	l.tape.Append(spoolStream(stream), offset, data)
	if l.host != nil {
		l.host.Output(stream, offset, data)
	}
}

// progress is how far a call has got.
type progress struct {
	decision *policy.Decision // nil before
	receipt  *sandbox.Receipt // nil before it was started
	started  time.Time
}

func (l *live) progress() progress {
	l.mu.Lock()
	defer l.mu.Unlock()
	return progress{l.decision, l.receipt, l.started}
}

func spoolStream(s sandbox.Stream) spool.Stream {
	if s == sandbox.Stderr {
		return spool.Stderr
	}
	return spool.Stdout
}

func sandboxStream(s spool.Stream) sandbox.Stream {
	if s == spool.Stderr {
		return sandbox.Stderr
	}
	return sandbox.Stdout
}

// teller tells a follower of output from given offsets on, and of what is missing.
type teller struct {
	to  Observer
	pos [2]int64
}

// gapTeller is an Observer that wants to be told of output that is not kept;
// others see it in the offsets.
type gapTeller interface {
	Gap(stream sandbox.Stream, offset, size int64)
}

func (t *teller) at(stream sandbox.Stream) *int64 {
	if stream == sandbox.Stderr {
		return &t.pos[1]
	}
	return &t.pos[0]
}

// output tells of bytes, as far as they are new to the follower.
func (t *teller) output(stream sandbox.Stream, offset int64, data []byte) {
	pos := t.at(stream)
	if known := *pos - offset; known > 0 {
		if known >= int64(len(data)) {
			return
		}
		offset, data = *pos, data[known:]
	}
	t.upTo(stream, offset)
	for len(data) > 0 {
		n := min(len(data), maxPiece)
		t.to.Output(stream, *pos, data[:n])
		*pos += int64(n)
		data = data[n:]
	}
}

// upTo tells that what is before the offset is not kept.
func (t *teller) upTo(stream sandbox.Stream, offset int64) {
	pos := t.at(stream)
	if offset <= *pos {
		return
	}
	if to, ok := t.to.(gapTeller); ok {
		to.Gap(stream, *pos, offset-*pos)
	}
	*pos = offset
}

// follow tells a follower of a call on its way until it has ended or ctx does. A
// follower that is slow misses what the tape no longer has, and holds up nobody.
func (l *live) follow(ctx context.Context, callID string, t *teller) error {
	read := l.tape.Read(t.pos[0], t.pos[1])
	defer read.Close() //nolint:errcheck // only read
	buf := make([]byte, maxPiece)
	decided, started := false, false
	for {
		p, skipped, changed, err := read.Next(buf)
		if err != nil {
			return err
		}
		now := l.progress()
		if !decided && now.decision != nil {
			decided = true
			t.to.Decided(callID, *now.decision)
		}
		if !started && now.receipt != nil {
			started = true
			t.to.Started(*now.receipt)
		}
		switch {
		case p.Stream != 0:
			if skipped > 0 {
				t.upTo(sandboxStream(p.Stream), p.Offset)
			}
			t.output(sandboxStream(p.Stream), p.Offset, p.Data)
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
		case changed == nil:
			return nil
		default:
			select {
			case <-changed:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}
