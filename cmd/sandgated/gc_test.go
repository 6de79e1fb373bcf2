package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestGarbageMayGatherUpToItsSlack(t *testing.T) {
	for live, want := range map[uint64]int{0: 1600, 4 << 20: 1600, 16 << 20: 600, 32 << 20: 300, 96 << 20: 100, 4 << 30: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("with %d MiB: got %d, want %d", live>>20, got, want)
		}
	}
}

// Memory is given back when nothing happens and there is enough of it, twice, and not
// for what lies between objects or for the daemon's own looks.
func TestRestIsRareAndEnds(t *testing.T) {
	const mib = 1 << 20
	r := &rester{}
	for i, s := range []struct {
		allocated, live, held uint64 // in MiB
		want                  bool
	}{
		{100, 20, 100, false}, // calls run
		{101, 20, 101, true},
		{102, 20, 21, true}, // what pools held
		{103, 20, 22, false},
		{104, 20, 23, false},
		{109, 20, 28, false},
		{110, 20, 29, true}, // the looks' garbage of some time
		{130, 20, 50, false},
		{131, 20, 21, false}, // a collection took it meanwhile
	} {
		if got := r.due(s.allocated*mib, s.live*mib, s.held*mib); got != s.want {
			t.Errorf("look %d: got %v, want %v", i, got, s.want)
		}
	}
}

// What was allocated and let go is given back at rest.
func TestMemoryIsGivenBackAtRest(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1600))
	r := newRester()
	runtime.GC()
	r.look()
	for range 64 {
		garbage = make([]byte, 1<<20)
	}
	garbage = nil
	if r.look() {
		t.Error("while 64 MiB were allocated nothing happened")
	}
	if !r.look() {
		t.Error("64 MiB of garbage are nothing to give back")
	}
	debug.FreeOSMemory()
	if r.look(); r.look() {
		t.Error("there is still something to give back")
	}
}

var garbage []byte
