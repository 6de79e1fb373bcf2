package gate

import (
	"fmt"
	"testing"
	"time"

	"github.com/sandgate/sandgate/internal/journal"
)

// TestNoCallerMakesAnothersCallsForgotten: what is forgotten runs again under its id.
func TestNoCallerMakesAnothersCallsForgotten(t *testing.T) {
	const limit = 100
	l := newLedger(Memory{Calls: limit}.withDefaults(), time.Now)
	replay := NewReplay(Memory{Calls: limit})
	seq := int64(0)
	end := func(caller, id string) {
		t.Helper()
		p := &prepared{call: Call{ID: id, Caller: Caller{ID: caller}}}
		e, mine, err := l.claim(p, &live{}, nil)
		if err != nil || !mine {
			t.Fatalf("claim %s: %v, %v", id, mine, err)
		}
		l.finish(e, Result{CallID: id, Outcome: OutcomeDenied}, outputs{})
		seq++
		rec := journal.Record{Seq: seq, Kind: journal.KindDecision, Caller: caller, CallID: id, Data: []byte(`{"outcome":"DENIED"}`)}
		if err := replay.Apply(rec); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		end("alice", fmt.Sprint(i))
	}
	for i := range 10 * limit {
		end("mallory", fmt.Sprint(i))
	}
	for i := range 10 {
		end("bob", fmt.Sprint(i))
	}
	for caller, n := range map[string]int{"alice": 30, "bob": 10} {
		for i := range n {
			key := callKey{caller, fmt.Sprint(i)}
			if _, err := l.get(key); err != nil {
				t.Errorf("%s's %s is not known any more: %v", caller, key.id, err)
			}
			if replay.calls[key] == nil {
				t.Errorf("after a restart %s's %s is not known any more", caller, key.id)
			}
		}
	}
	if l.known != limit || len(l.calls) != limit || l.enders != 3 {
		t.Errorf("%d calls are known, %d of them finished, of %d callers, want %d of 3", len(l.calls), l.known, l.enders, limit)
	}
	if _, err := l.get(callKey{"mallory", fmt.Sprint(10*limit - 1)}); err != nil {
		t.Errorf("the flooder's own latest: %v", err)
	}
	if n := len(replay.calls); n > 2*limit {
		t.Errorf("the journal remembers %d calls", n)
	}
}

func TestFairShare(t *testing.T) {
	for _, tt := range []struct {
		have        map[string]int
		limit, want int
	}{
		{map[string]int{"a": 5}, 10, 10},
		{map[string]int{"a": 50}, 10, 10},
		{map[string]int{"a": 50, "b": 2}, 10, 8},
		{map[string]int{"a": 50, "b": 50}, 10, 5},
		{map[string]int{"a": 1, "b": 2, "c": 50, "d": 60}, 11, 4},
		{nil, 10, 10},
	} {
		if got := fairShare(tt.have, tt.limit); got != tt.want {
			t.Errorf("%v within %d: got %d, want %d", tt.have, tt.limit, got, tt.want)
		}
	}
}
