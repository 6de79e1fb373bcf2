package main

import "testing"

func TestGarbageMayGatherUpToItsSlack(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 4 << 20: 400, 10 << 20: 400, 20 << 20: 200, 40 << 20: 100, 4 << 30: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("with %d MiB: got %d, want %d", live>>20, got, want)
		}
	}
}
