package gate

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/journal"
)

// TestForgottenCallsDoNotRunAgain: of a call that ran the id stays, and none of it is
// lost on the way through the journal and its snapshots.
func TestForgottenCallsDoNotRunAgain(t *testing.T) {
	const calls, ids, all = 10, 80, 60
	mem := Memory{Calls: calls, Forgotten: ids}
	l := newLedger(mem.withDefaults(), time.Now)
	replay := NewReplay(mem)
	apply := func(seq int, kind journal.Kind, id, data string) {
		t.Helper()
		rec := journal.Record{Seq: int64(seq), Kind: kind, Caller: "alice", CallID: id, Data: []byte(data)}
		if err := replay.Apply(rec); err != nil {
			t.Fatal(err)
		}
	}
	claimed := func(l *ledger, caller, id string) (*entry, error) {
		e, mine, err := l.claim(&prepared{call: Call{ID: id, Caller: Caller{ID: caller}}}, &live{}, nil)
		if err == nil && !mine {
			t.Errorf("%s is known with its result", id)
		}
		return e, err
	}
	for i := range all {
		id := fmt.Sprint(i)
		e, err := claimed(l, "alice", id)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			l.finish(e, Result{CallID: id, Outcome: "EXITED"}, outputs{})
			apply(2*i+1, journal.KindIntent, id, `{}`)
			apply(2*i+2, journal.KindOutcome, id, `{"outcome":"EXITED"}`)
		} else {
			l.finish(e, Result{CallID: id, Outcome: OutcomeDenied}, outputs{})
			apply(2*i+1, journal.KindDecision, id, `{"outcome":"DENIED"}`)
		}
	}
	var saved, again bytes.Buffer
	if err := replay.Save(&saved); err != nil {
		t.Fatal(err)
	}
	loaded := NewReplay(mem)
	if err := loaded.Load(bytes.NewReader(saved.Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := loaded.Save(&again); err != nil || !bytes.Equal(saved.Bytes(), again.Bytes()) {
		t.Errorf("loaded and saved it is another one, %v", err)
	}
	if len(loaded.ran.parts) == 0 {
		t.Fatal("the fold has forgotten nothing")
	}
	restarted := newLedger(mem.withDefaults(), time.Now)
	restarted.ran = loaded.ran
	for _, o := range loaded.sorted() {
		restarted.restore(o.key, loaded.calls[o.key])
	}
	for name, l := range map[string]*ledger{"running": l, "restarted": restarted} {
		for i := range all - calls {
			id := fmt.Sprint(i)
			_, err := l.get(callKey{"alice", id})
			if !errdefs.IsNotFound(err) || strings.Contains(err.Error(), "no longer kept") != (i%2 == 0) {
				t.Errorf("%s: looked for %s: %v", name, id, err)
			}
			_, err = claimed(l, "alice", id)
			if i%2 == 0 && (!errdefs.IsAlreadyExists(err) || !strings.Contains(err.Error(), "no longer kept")) {
				t.Errorf("%s: %s, which ran, was sent again: %v", name, id, err)
			}
			if i%2 != 0 && err != nil {
				t.Errorf("%s: %s, which was denied, was sent again: %v", name, id, err)
			}
		}
		if _, err := claimed(l, "bob", "0"); err != nil {
			t.Errorf("%s: another caller's id: %v", name, err)
		}
	}
	var none bytes.Buffer
	if err := new(forgottenIDs).save(&none); err != nil {
		t.Fatal(err)
	}
	of := NewReplay(Memory{Calls: calls, Forgotten: -1}) // of an older sandgate: without them
	if err := errors.Join(of.Load(bytes.NewReader(saved.Bytes())), of.Save(&again)); err != nil {
		t.Fatal(err)
	}
	older := again.Bytes()[saved.Len() : again.Len()-none.Len()]
	older[0] = replayWithoutIDs
	if err := of.Load(bytes.NewReader(older)); err != nil || len(of.calls) != len(loaded.calls) {
		t.Errorf("of an older sandgate: %d of %d calls, %v", len(of.calls), len(loaded.calls), err)
	}
	if err := NewReplay(mem).Load(bytes.NewReader(saved.Bytes()[:saved.Len()-1])); err == nil {
		t.Error("a cut snapshot is taken for whole")
	}
}

func TestForgottenIDsAreBounded(t *testing.T) {
	f := newForgotten(80)
	for i := range 1000 {
		f.add(callKey{"c", fmt.Sprint(i)})
		f.add(callKey{"c", fmt.Sprint(i)})
	}
	n := 0
	for _, part := range f.parts {
		n += len(part)
	}
	if n < 80 || n > 88 {
		t.Errorf("%d are kept, want 80 and a part", n)
	}
	for i := 920; i < 1000; i++ {
		if !f.has(callKey{"c", fmt.Sprint(i)}) {
			t.Errorf("%d is not kept", i)
		}
	}
	if f.has(callKey{"c", "900"}) || f.has(callKey{"d", "999"}) {
		t.Error("has what it cannot have")
	}
	none := newForgotten(-1)
	if none.add(callKey{"c", "1"}); none.has(callKey{"c", "1"}) {
		t.Error("kept though none are wanted")
	}
}

// TestAMillionForgottenIDs holds their memory, and what they make a start longer, to what
// the configuration says.
func TestAMillionForgottenIDs(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc) //nolint:gosec // far below
	}
	const ids = 1_000_000
	before := heap()
	f := newForgotten(ids)
	var id shortID
	for i := range ids {
		id[0], id[1], id[2], id[15] = byte(i), byte(i>>8), byte(i>>16), byte(i>>4)
		f.put(id)
	}
	each := (heap() - before) / ids
	var saved bytes.Buffer
	if err := f.save(&saved); err != nil {
		t.Fatal(err)
	}
	loaded := newForgotten(ids)
	began := time.Now()
	if err := loaded.load(bytes.NewReader(saved.Bytes())); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes each, %d MiB saved, loaded in %v", each, saved.Len()>>20, time.Since(began))
	if each > 40 {
		t.Errorf("%d bytes of memory each, want 40 at most", each)
	}
	if !slices.EqualFunc(f.parts, loaded.parts, func(a, b map[shortID]struct{}) bool { return len(a) == len(b) }) {
		t.Error("loaded are others")
	}
	runtime.KeepAlive(f)
}

// BenchmarkForgottenLookup is what a call pays at most that was not forgotten.
func BenchmarkForgottenLookup(b *testing.B) {
	f := newForgotten(100_000)
	for i := range 110_000 {
		f.add(callKey{"unix:uid:1000", fmt.Sprint(i)})
	}
	key := callKey{"unix:uid:1000", "new"}
	b.ReportAllocs()
	for b.Loop() {
		if f.has(key) {
			b.Fatal("has what it cannot have")
		}
	}
}
