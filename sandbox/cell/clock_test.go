package cell

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestClockTellsTheKernelsTime(t *testing.T) {
	c, err := NewClock()
	if err != nil {
		t.Fatal(err)
	}
	read := func() time.Duration {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			t.Fatal(err)
		}
		return time.Duration(now.Nano())
	}
	before := read()
	now := time.Now()
	after := read()
	const between = time.Second // of the two readings that it begins with
	if got := c.Kernel(now); got < before-between || got > after+between {
		t.Errorf("got %v, want %v to %v", got, before, after)
	}
	if got := c.Time(c.Kernel(now)); got.Sub(now).Abs() > time.Microsecond {
		t.Errorf("there and back: got %v, want %v", got, now)
	}
}
