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
	calm := func() bool { return false }
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
			p.took(128<<10, now, calm)
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

// TestStrainEndsTheBurst: when others want the processors for more than a moment,
// full speed is over.
func TestStrainEndsTheBurst(t *testing.T) {
	for name, tc := range map[string]struct {
		strained string // what the looks find, again and again: s or -
		want     int64  // bytes at full speed
	}{
		"calm":         {"-", floodBurst},
		"now and then": {"s-", floodBurst},
		"a moment":     {"sssssss---------", floodBurst},
		"all the time": {"s", strainLooks * strainEvery},
		"mostly":       {"ss-", (3*strainLooks - 4) * strainEvery},
	} {
		var p pace
		now, looks, read := time.Unix(1000, 0), 0, int64(0)
		for p.until(now).IsZero() {
			p.took(64<<10, now, func() bool { looks++; return tc.strained[(looks-1)%len(tc.strained)] == 's' })
			read += 64 << 10
		}
		if over := read - tc.want; over < 0 || over > 2*floodQuanta {
			t.Errorf("%s: read %d bytes at once, want %d and little more", name, read, tc.want)
		}
	}
}

func TestRunningProcessesAreRead(t *testing.T) {
	for text, want := range map[string]int{"0.08 0.34 1.28 2/152 1234\n": 2, "0.00 0.00 0.00 0/0 0\n": 0, "12.00 9 8 117/4096 99": 117, "": 0, "1 2 3": 0, "a b c d/e f": 0} {
		if got := runningOf([]byte(text)); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
	s := strain{}
	if s.felt(); s.file > 0 && s.most < 2 {
		t.Errorf("%d processes at most, want one more than there are processors", s.most)
	}
	if s.most = -1; s.file > 0 && !s.felt() {
		t.Error("a machine on which this test runs has nothing to run")
	}
}

// TestFlow: only a program that writes much at once is let write on for a moment.
func TestFlow(t *testing.T) {
	var f flow
	now := time.Unix(1000, 0)
	for range 1000 { // 30 MB/s
		now = now.Add(flowTime / 10)
		f.took(flowBytes/11, now)
		if until := f.until(now); !until.IsZero() {
			t.Fatalf("a program that writes little in a while is left alone until %v", until.Sub(now))
		}
	}
	now = now.Add(time.Hour)
	for range 8 {
		now = now.Add(flowTime / 100)
		f.took(flowBytes/8, now)
	}
	if until := f.until(now); until.Sub(now) != flowPeriod {
		t.Errorf("a program that writes much at once is left alone for %v, want %v", until.Sub(now), flowPeriod)
	}
	if now = now.Add(flowPeriod); !f.until(now).IsZero() {
		t.Error("it is still left alone after that")
	}
	f.took(1, now)
	if !f.until(now).IsZero() {
		t.Error("it is left alone for its last byte")
	}
}
