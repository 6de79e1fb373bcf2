package gate

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/spool"
)

// callKey names a call: ids are each caller's own, so that nobody can learn of
// or disturb another's calls by guessing ids.
type callKey struct{ caller, id string }

// entry is one call that the gate knows.
type entry struct {
	key      callKey
	digest   string
	tool     string
	session  string
	detached bool
	began    time.Time
	shelf    *shelf

	// finished is set once, when all else has its last value but for what is kept of it.
	finished atomic.Bool
	err      error // the call was given up before it ran; the entry is no longer in the ledger

	// Guarded by the ledger's mutex.
	wait    chan struct{}           // closed when it has finished; nil: nobody waits for that
	cancel  context.CancelCauseFunc // nil once finished
	live    *live                   // what its followers see; nil once all of it is elsewhere
	stored  outputs                 // what of its output is kept outside of the memory
	newer   *entry                  // of the same caller, by began; see history
	older   *entry
	ended   time.Time
	outcome Outcome // empty before it has ended, and when it was given up
	exit    int     // its exit code then
	printed int64   // bytes that it wrote
	whole   bool    // kept is the whole result
	kept    packed  // the result, or its summary
	order   links   // in shelf.ended once finished
	output  links   // in ledger.whole while its result is whole
}

// ledger knows every call that runs and, within bounds, those that have ended.
type ledger struct {
	mem Memory
	now func() time.Time
	log *zap.Logger

	mu      sync.Mutex
	calls   map[callKey]*entry
	shelves map[string]*shelf // of callers with calls that are known
	known   int               // how many entries have finished
	enders  int               // of how many callers those are
	whole   chain             // finished entries with their whole result, oldest first
	bytes   int64             // of whole
	ran     forgottenIDs
	scratch Result // what is packed

	detached map[string]int // running detached calls by caller; no entry at 0
	past     chan struct{}  // closed
}

func newLedger(mem Memory, now func() time.Time) *ledger {
	l := &ledger{
		mem: mem, now: now, log: zap.NewNop(), calls: make(map[callKey]*entry), shelves: make(map[string]*shelf),
		whole:    chain{of: func(e *entry) *links { return &e.output }},
		detached: make(map[string]int), ran: newForgotten(mem.Forgotten), past: make(chan struct{}),
	}
	close(l.past)
	return l
}

// claim makes the call the claimant's to run (mine), or returns the entry of the
// same call that runs or has run. Another call under the id is an error, and so is one
// that ran and is not known any more.
// What follows the call sees through the view.
func (l *ledger) claim(p *prepared, view *live, cancel context.CancelCauseFunc) (e *entry, mine bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.calls[p.key()]; ok {
		if e.digest != p.digest {
			return nil, false, fmt.Errorf("call id %q was used for another call (%s): use a new id: %w", p.call.ID, e.digest, errdefs.ErrAlreadyExists)
		}
		if !e.waits() {
			return e, false, nil
		}
		l.drop(e) // it goes on
	} else if l.ran.has(p.key()) {
		return nil, false, ranBefore(p.call.ID)
	}
	if p.call.Detach && l.detached[p.call.Caller.ID] >= l.mem.Detached {
		return nil, false, fmt.Errorf("this caller has %d calls in the background, the most it may have: cancel one, or send this call without detach: %w",
			l.mem.Detached, errdefs.ErrResourceExhausted)
	}
	e = l.shelf(p.call.Caller.ID).entry(p.key(), p.digest, p.call.SessionID)
	e.tool, e.detached, e.began, e.cancel, e.live = p.tool.Name, p.call.Detach, l.now(), cancel, view
	l.add(e)
	if e.detached {
		l.detached[e.key.caller]++
	}
	return e, true, nil
}

// finish stores the result and lets everybody have it who waits. Of the output more
// may be kept elsewhere.
func (l *ledger) finish(e *entry, res Result, stored outputs) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.finished.Load() {
		return
	}
	res.Decision = boundedDecision(res.Decision) // a replayed one may be of an older sandgate
	e.stored, e.ended = stored, l.now()
	l.keepWhole(e, res)
	l.remember(e)
	l.settle(e)
	l.forget()
	l.bound(e.key.caller)
}

// giveUp ends a call that did not run: its id can be used again. Nothing happens
// if the call has finished.
func (l *ledger) giveUp(e *entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.finished.Load() {
		return
	}
	e.err = err
	l.remove(e)
	l.settle(e)
}

// settle marks an entry as finished. l.mu is held.
func (l *ledger) settle(e *entry) {
	e.cancel = nil
	if e.live != nil && !e.live.outlives {
		e.live = nil
	}
	e.finished.Store(true)
	if e.wait != nil {
		close(e.wait)
		e.wait = nil
	}
	if !e.detached {
		return
	}
	if l.detached[e.key.caller]--; l.detached[e.key.caller] <= 0 {
		delete(l.detached, e.key.caller)
	}
}

// done is closed when the call has ended, with a result or without.
func (l *ledger) done(e *entry) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.finished.Load() {
		return l.past
	}
	if e.wait == nil {
		e.wait = make(chan struct{})
	}
	return e.wait
}

// mostAged is how many results are shortened at once because of their age.
const mostAged = 64

// forget keeps the bounds of what is kept whole. l.mu is held.
func (l *ledger) forget() {
	for n := 0; l.whole.first != nil; n++ {
		e := l.whole.first
		if l.bytes <= l.mem.OutputBytes && (n >= mostAged || !l.aged(e)) {
			break
		}
		l.shorten(e)
	}
}

// aged reports whether the result of an entry is too old to be kept whole.
func (l *ledger) aged(e *entry) bool { return e.whole && l.now().Sub(e.ended) >= l.mem.OutputFor }

// bound forgets calls that are too many after one more of the caller. l.mu is held.
func (l *ledger) bound(caller string) {
	for l.known > l.mem.Calls {
		e := l.spare(caller)
		if e.err == nil && mayHaveRun(e.outcome) {
			l.ran.add(e.key)
		}
		l.drop(e)
	}
}

// drop forgets a finished entry. Whoever waited for it may still read its result. l.mu
// is held.
func (l *ledger) drop(e *entry) {
	switch {
	case e.whole && (e.kept.output != nil || e.kept.n > leastBlock): // the entry goes with its slab only
		l.shorten(e)
	case e.whole:
		e.kept = l.takeFromWhole(e)
	}
	l.unremember(e)
	l.remove(e)
}

// waits reports whether the call ended with a question to people: that is no final
// result, and the call goes on when it is sent again. l.mu is held.
func (e *entry) waits() bool { return e.finished.Load() && e.outcome == OutcomeApprovalRequired }

// shorten keeps only the summary of a result.
func (l *ledger) shorten(e *entry) {
	whole := l.takeFromWhole(e)
	r, err := whole.unpack()
	if err != nil {
		l.lost(e, err)
		return
	}
	l.keepBrief(e, summarize(&r))
}

// resultOf reads a finished entry.
func (l *ledger) resultOf(e *entry) (Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.err != nil { // given up
		return Result{}, e.err
	}
	if l.aged(e) {
		l.shorten(e)
	}
	return e.unpack()
}

// viewOf returns what followers of a call see, nil when that is its result, and
// what of its output is stored.
func (l *ledger) viewOf(e *entry) (*live, outputs) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return e.live, e.stored
}

// forgetView lets go of what followers saw: it is stored now, or lost.
func (l *ledger) forgetView(e *entry, kept bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.live = nil; !kept {
		e.stored.log = spool.Digest{}
	}
}

// get returns the caller's entry of that id.
func (l *ledger) get(key callKey) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget()
	if e, ok := l.calls[key]; ok {
		return e, nil
	}
	if l.ran.has(key) {
		return nil, fmt.Errorf("call %q ran long ago, and its result is no longer kept: %w", key.id, errdefs.ErrNotFound)
	}
	return nil, fmt.Errorf("call %q: %w", key.id, errdefs.ErrNotFound)
}

// stop cancels an unfinished call with the cause; a finished one is left alone.
func (l *ledger) stop(e *entry, cause error) {
	l.mu.Lock()
	cancel := e.cancel
	l.mu.Unlock()
	if cancel != nil {
		cancel(cause)
	}
}

// ofSession returns the caller's running entries in a session.
func (l *ledger) ofSession(caller, id string) []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*entry
	for k, e := range l.calls {
		if k.caller == caller && e.session == id && !e.finished.Load() {
			out = append(out, e)
		}
	}
	return out
}
