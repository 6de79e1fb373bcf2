package main

import "testing"

func TestGarbageMayGatherUpToItsSlack(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 4 << 20: 400, 6 << 20: 400, 12 << 20: 200, 24 << 20: 100, 4 << 30: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("with %d MiB: got %d, want %d", live>>20, got, want)
		}
	}
}
