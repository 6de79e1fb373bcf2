package main

import "testing"

func TestGarbageMayGatherUpToItsSlack(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 12 << 20: 400, 16 << 20: 300, 32 << 20: 100, 40 << 20: 100, 4 << 30: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("with %d MiB: got %d, want %d", live>>20, got, want)
		}
	}
}
