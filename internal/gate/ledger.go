package gate

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// callKey names a call: ids are each caller's own, so that nobody can learn of
// or disturb another's calls by guessing ids.
type callKey struct{ caller, id string }

// entry is one call that the gate knows. What is below done is set before done
// is closed and read only after.
type entry struct {
	key     callKey
	digest  string
	tool    string
	session string
	began   time.Time

	done   chan struct{}
	result *Result // nil once only its summary is kept
	brief  *summary
	err    error // the call was given up before it ran; the entry is no longer in the ledger

	// Guarded by the ledger's mutex.
	finished bool
	cancel   context.CancelCauseFunc // nil once finished
	order    *list.Element           // in ledger.known once finished
	output   *list.Element           // in ledger.whole while its result is kept
	ended    time.Time
	bytes    int64 // about what shorten frees
}

// ledger knows every call that runs and, within bounds, those that have ended.
type ledger struct {
	mem Memory
	now func() time.Time

	mu    sync.Mutex
	calls map[callKey]*entry
	known *list.List // finished entries, oldest first
	whole *list.List // finished entries with their whole result, oldest first
	bytes int64      // of whole
}

func newLedger(mem Memory, now func() time.Time) *ledger {
	return &ledger{mem: mem, now: now, calls: make(map[callKey]*entry), known: list.New(), whole: list.New()}
}

// claim makes the call the claimant's to run (mine), or returns the entry of the
// same call that runs or has run. Another call under the id is an error.
func (l *ledger) claim(p *prepared, cancel context.CancelCauseFunc) (e *entry, mine bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.calls[p.key()]; ok {
		if e.digest != p.digest {
			return nil, false, fmt.Errorf("call id %q was used for another call (%s): use a new id: %w", p.call.ID, e.digest, errdefs.ErrAlreadyExists)
		}
		return e, false, nil
	}
	e = &entry{
		key: p.key(), digest: p.digest, tool: p.tool.Name, session: p.call.SessionID, began: l.now(),
		done: make(chan struct{}), cancel: cancel,
	}
	l.calls[e.key] = e
	return e, true, nil
}

// finish stores the result and lets everybody have it who waits.
func (l *ledger) finish(e *entry, res Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.finished {
		return
	}
	res.Decision = boundedDecision(res.Decision) // a replayed one may be of an older sandgate
	e.result, e.finished, e.cancel, e.ended = &res, true, nil, l.now()
	e.bytes = resultSize(&res)
	e.order, e.output = l.known.PushBack(e), l.whole.PushBack(e)
	l.bytes += e.bytes
	close(e.done)
	l.forget()
}

// giveUp ends a call that did not run: its id can be used again. Nothing happens
// if the call has finished.
func (l *ledger) giveUp(e *entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.finished {
		return
	}
	e.err, e.finished, e.cancel = err, true, nil
	delete(l.calls, e.key)
	close(e.done)
}

// forget keeps the bounds. l.mu is held.
func (l *ledger) forget() {
	for el := l.whole.Front(); el != nil; el = l.whole.Front() {
		e := entryOf(el)
		if l.bytes <= l.mem.OutputBytes && l.now().Sub(e.ended) < l.mem.OutputFor {
			break
		}
		l.shorten(e)
	}
	for l.known.Len() > l.mem.Calls {
		e := entryOf(l.known.Front())
		l.shorten(e)
		l.known.Remove(e.order)
		delete(l.calls, e.key)
	}
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

// get returns the caller's entry of that id.
func (l *ledger) get(key callKey) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget()
	if e, ok := l.calls[key]; ok {
		return e, nil
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
