package gate

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// The entries of a caller are a list of their own, so that they can be listed
// without looking at everybody's.

// add makes an entry known. l.mu is held.
func (l *ledger) add(e *entry) {
	s := e.shelf
	s.calls++
	switch old := l.calls[e.key]; {
	case old == nil:
	case old.finished.Load():
		l.drop(old)
	default:
		l.remove(old)
	}
	l.calls[e.key] = e
	if s.latest != nil {
		e.older, s.latest.newer = s.latest, e
	}
	s.latest = e
}

// remove makes an entry unknown. l.mu is held.
func (l *ledger) remove(e *entry) {
	if l.calls[e.key] != e {
		return
	}
	delete(l.calls, e.key)
	if e.older != nil {
		e.older.newer = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		e.shelf.latest = e.older
	}
	e.older, e.newer = nil, nil
	if e.shelf.calls--; e.shelf.calls == 0 {
		delete(l.shelves, e.key.caller)
	}
}

// history returns the caller's entries that fit, the latest first: those that come
// after an earlier page's last one, and one more than the limit if there are.
func (l *ledger) history(caller string, fits func(*entry) bool, after *pageMark, limit int) []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget()
	var e *entry
	if s := l.shelves[caller]; s != nil {
		e = s.latest
	}
	if after != nil {
		if last := l.calls[callKey{caller, after.id}]; last != nil && last.began.UnixNano() == after.began {
			e = last.older
		} else {
			for e != nil && e.began.UnixNano() >= after.began { // it is no longer known
				e = e.older
			}
		}
	}
	var out []*entry
	for ; e != nil && len(out) <= limit; e = e.older {
		if fits(e) {
			out = append(out, e)
		}
	}
	return out
}

// describe tells of an entry what a list has.
func (l *ledger) describe(e *entry) CallEntry {
	out := CallEntry{
		CallID: e.key.id, Tool: e.tool, SessionID: e.session, Detached: e.detached, Began: e.began, ExitCode: -1,
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case e.finished.Load():
		out.Ended, out.Outcome, out.ExitCode, out.OutputBytes = e.ended, e.outcome, e.exit, e.printed
	case e.live != nil:
		stdout, stderr := e.live.tape.Ends()
		out.OutputBytes = stdout + stderr
	}
	return out
}

// pageMark is the last call of a page.
type pageMark struct {
	began int64 // in nanoseconds since 1970
	id    string
}

// String is the text that parsePage reads.
func (m pageMark) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(m.began, 10) + "." + m.id))
}

// parsePage reads a page token; nil for an empty one.
func parsePage(token string) (*pageMark, error) {
	if token == "" {
		return nil, nil //nolint:nilnil // no mark is the first page
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	began, id, ok := strings.Cut(string(raw), ".")
	n, nerr := strconv.ParseInt(began, 10, 64)
	if err != nil || !ok || nerr != nil || checkCallID(id) != nil {
		return nil, &FieldError{"page_token", fmt.Sprintf("%.40q is none", token), "next_page_token of an earlier answer"}
	}
	return &pageMark{n, id}, nil
}
