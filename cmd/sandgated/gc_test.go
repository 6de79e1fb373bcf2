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

// What was allocated and let go is given back at rest, once.
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
