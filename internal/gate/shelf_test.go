package gate

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// claimed makes a call of a caller known to the ledger.
func claimed(t *testing.T, l *ledger, caller, id, session string) *entry {
	t.Helper()
	e, mine, err := l.claim(&prepared{call: Call{ID: id, SessionID: session, Caller: Caller{ID: caller}}, digest: "digest of " + id}, &live{}, nil)
	if err != nil || !mine {
		t.Fatalf("claim %s: %v, %v", id, mine, err)
	}
	return e
}

// TestOldResultsAreShortenedAFewAtATime: after a long pause nobody waits until all that
// has become too old was shortened, and nobody gets it whole.
func TestOldResultsAreShortenedAFewAtATime(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLedger(Memory{OutputFor: time.Minute}.withDefaults(), func() time.Time { return now })
	for i := range 3 * mostAged {
		l.finish(claimed(t, l, "alice", fmt.Sprint(i), ""), sampleResult(i), outputs{})
	}
	now = now.Add(time.Hour)
	last := callKey{"alice", fmt.Sprint(3*mostAged - 1)}
	e, err := l.get(last)
	if err != nil || l.whole.n != 2*mostAged {
		t.Errorf("%d are whole after one look, want %d; %v", l.whole.n, 2*mostAged, err)
	}
	r, err := l.resultOf(e)
	if err != nil || r.ChangesUnknown != ChangesForgotten || r.Receipt != nil || r.Outcome != "EXITED" || r.CallID != last.id || r.Digest != "digest of "+last.id {
		t.Errorf("got %+v, %v, want a summary", r, err)
	}
	for range 3 {
		if _, err := l.get(last); err != nil {
			t.Fatal(err)
		}
	}
	if l.whole.n != 0 || l.bytes != 0 {
		t.Errorf("%d of %d bytes are whole at the end, want none", l.whole.n, l.bytes)
	}
}

// TestShelvesGoWithTheirCalls: of a caller of whose calls none is known nothing is kept.
func TestShelvesGoWithTheirCalls(t *testing.T) {
	l := newLedger(Memory{Calls: 3}.withDefaults(), time.Now)
	e := claimed(t, l, "alice", "c1", "")
	waiting := l.done(e)
	l.giveUp(e, errors.New("it is not to be"))
	<-waiting
	<-l.done(e)
	if _, err := l.resultOf(e); err == nil || len(l.shelves) != 0 || len(l.calls) != 0 {
		t.Errorf("%v; %d callers with %d calls are known after one was given up", err, len(l.shelves), len(l.calls))
	}
	// A question goes on under its id, and whoever has the old entry still reads it.
	asked := claimed(t, l, "alice", "c2", "s")
	l.finish(asked, Result{Outcome: OutcomeApprovalRequired, ResultSizeBytes: 2 * looseBytes}, outputs{})
	e = claimed(t, l, "alice", "c2", "s")
	if e == asked || l.known != 0 || l.enders != 0 || l.shelves["alice"].calls != 1 {
		t.Errorf("%d are known of %d callers, want the one that goes on", l.known, l.enders)
	}
	if r, err := l.resultOf(asked); err != nil || r.Outcome != OutcomeApprovalRequired || r.CallID != "c2" {
		t.Errorf("the question: %+v, %v", r, err)
	}
	l.finish(e, sampleResult(1), outputs{})
	for i := range 4 {
		l.finish(claimed(t, l, "bob", fmt.Sprint(i), ""), Result{Outcome: OutcomeDenied}, outputs{})
	}
	if l.known != 3 || l.enders != 2 || len(l.shelves) != 2 {
		t.Errorf("%d calls of %d callers, %d shelves: want 3 of 2", l.known, l.enders, len(l.shelves))
	}
}

// TestShelfKeepsTexts of all lengths, each as it came.
func TestShelfKeepsTexts(t *testing.T) {
	l := newLedger(Memory{}.withDefaults(), time.Now)
	want := map[string]string{}
	for i := range 2000 {
		id, session := fmt.Sprintf("%d-%s", i, strings.Repeat("x", i)), fmt.Sprintf("session %d", i/7)
		want[id] = session
		claimed(t, l, "alice", id, session)
	}
	for id, session := range want {
		e, err := l.get(callKey{"alice", id})
		if err != nil || e.key != (callKey{"alice", id}) || e.session != session || e.digest != "digest of "+id {
			t.Fatalf("%.20s: got %+v, %v", id, e.key, err)
		}
	}
}
