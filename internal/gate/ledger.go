package gate

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/spool"
)

// callKey names a call: ids are each caller's own, so that nobody can learn of
// or disturb another's calls by guessing ids.
type callKey struct{ caller, id string }

// entry is one call that the gate knows. What is below done is set before done
// is closed and read only after.
type entry struct {
	key      callKey
	digest   string
	tool     string
	session  string
	detached bool
	began    time.Time

	done   chan struct{}
	result *Result // nil once only its summary is kept
	brief  *summary
	err    error // the call was given up before it ran; the entry is no longer in the ledger

	// Guarded by the ledger's mutex.
	finished bool
	cancel   context.CancelCauseFunc // nil once finished
	live     *live                   // what its followers see; nil once all of it is elsewhere
	stored   outputs                 // what of its output is kept outside of the memory
	newer    *entry                  // of the same caller, by began; see history
	older    *entry
	order    *list.Element // in ledger.known once finished
	output   *list.Element // in ledger.whole while its result is kept
	ended    time.Time
	bytes    int64 // about what shorten frees
}

// ledger knows every call that runs and, within bounds, those that have ended.
type ledger struct {
	mem Memory
	now func() time.Time

	mu    sync.Mutex
	calls map[callKey]*entry
	known knownCalls // finished entries
	whole *list.List // finished entries with their whole result, oldest first
	bytes int64      // of whole
	ran   forgottenIDs

	latest   map[string]*entry // the latest entry of each caller
	detached map[string]int    // running detached calls by caller; no entry at 0
}

func newLedger(mem Memory, now func() time.Time) *ledger {
	return &ledger{
		mem: mem, now: now, calls: make(map[callKey]*entry), whole: list.New(),
		latest: make(map[string]*entry), detached: make(map[string]int), ran: newForgotten(mem.Forgotten),
	}
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
	e = &entry{
		key: p.key(), digest: p.digest, tool: p.tool.Name, session: p.call.SessionID, detached: p.call.Detach, began: l.now(),
		done: make(chan struct{}), cancel: cancel, live: view,
	}
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
	if e.finished {
		return
	}
	res.Decision = boundedDecision(res.Decision) // a replayed one may be of an older sandgate
	l.settle(e)
	e.result, e.stored, e.ended = &res, stored, l.now()
	e.bytes = resultSize(&res)
	e.order, e.output = l.known.push(e), l.whole.PushBack(e)
	l.bytes += e.bytes
	close(e.done)
	l.forget()
	l.bound(e.key.caller)
}

// giveUp ends a call that did not run: its id can be used again. Nothing happens
// if the call has finished.
func (l *ledger) giveUp(e *entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.finished {
		return
	}
	l.settle(e)
	e.err = err
	l.remove(e)
	close(e.done)
}

// settle marks an entry as finished. l.mu is held.
func (l *ledger) settle(e *entry) {
	e.finished, e.cancel = true, nil
	if e.live != nil && !e.live.outlives {
		e.live = nil
	}
	if !e.detached {
		return
	}
	if l.detached[e.key.caller]--; l.detached[e.key.caller] <= 0 {
		delete(l.detached, e.key.caller)
	}
}

// forget keeps the bounds of what is kept whole. l.mu is held.
func (l *ledger) forget() {
	for el := l.whole.Front(); el != nil; el = l.whole.Front() {
		e := entryOf(el)
		if l.bytes <= l.mem.OutputBytes && l.now().Sub(e.ended) < l.mem.OutputFor {
			break
		}
		l.shorten(e)
	}
}

// bound forgets calls that are too many after one more of the caller. l.mu is held.
func (l *ledger) bound(caller string) {
	for l.known.n > l.mem.Calls {
		e := l.known.spare(caller)
		if mayHaveRun(e.outcome()) {
			l.ran.add(e.key)
		}
		l.drop(e)
	}
}

// drop forgets a finished entry. l.mu is held.
func (l *ledger) drop(e *entry) {
	l.shorten(e)
	l.known.remove(e)
	l.remove(e)
}

// waits reports whether the call ended with a question to people: that is no final
// result, and the call goes on when it is sent again. l.mu is held.
func (e *entry) waits() bool {
	return e.finished && (e.result != nil && e.result.Outcome == OutcomeApprovalRequired || e.brief != nil && e.brief.outcome == OutcomeApprovalRequired)
}

// entryOf reads an element of known or whole, which hold nothing else.
func entryOf(el *list.Element) *entry {
	e, _ := el.Value.(*entry)
	return e
}

// shorten keeps only the summary of a result.
func (l *ledger) shorten(e *entry) {
	if e.output == nil {
		return
	}
	l.whole.Remove(e.output)
	e.output = nil
	l.bytes -= e.bytes
	e.brief, e.result = summarize(e.result), nil
}

// resultOf reads a finished entry.
func (l *ledger) resultOf(e *entry) (Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.result != nil {
		return *e.result, e.err
	}
	if e.brief == nil { // given up
		return Result{}, e.err
	}
	res := e.brief.result()
	res.CallID, res.Digest = e.key.id, e.digest
	return res, e.err
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
		if k.caller == caller && e.session == id && !e.finished {
			out = append(out, e)
		}
	}
	return out
}
