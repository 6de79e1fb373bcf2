//go:build linux

package main

import (
	"testing"
	"time"
)

// TestPaceBoundsAFlood: a burst goes at full speed, what follows at floodRate, and
// a pause earns no second burst.
func TestPaceBoundsAFlood(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	read := func(n int64) (got int64, began time.Time) {
		began = now
		for got < n {
			if until := p.until(now); !until.IsZero() {
				if !until.After(now) {
					t.Fatalf("waits until %v, now is %v", until, now)
				}
				now = until
				continue
			}
			p.took(128<<10, now)
			got += 128 << 10
		}
		return got, began
	}
	if _, began := read(floodBurst); now != began {
		t.Errorf("the burst took %v, want no time at all", now.Sub(began))
	}
	for _, pause := range []time.Duration{0, time.Hour} {
		now = now.Add(pause)
		got, began := read(2 * floodRate)
		took, want := now.Sub(began), time.Duration(got)*time.Second/floodRate
		if took < want*98/100 || took > want*102/100 {
			t.Errorf("%d bytes after a pause of %v took %v, want %v", got, pause, took, want)
		}
	}
}
