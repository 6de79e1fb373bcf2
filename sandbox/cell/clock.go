//go:build linux

package cell

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Clock puts readings of the kernel's monotonic clock, which all processes on that kernel
// have in common, and a process's own times into each other's terms. Both tick together:
// it does not read the kernel's again.
type Clock struct {
	at     time.Time
	kernel time.Duration // the kernel's reading then
}

// NewClock reads the kernel's clock.
func NewClock() (Clock, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return Clock{}, fmt.Errorf("read the clock: %w", err)
	}
	return Clock{time.Now(), time.Duration(now.Nano())}, nil
}

// Time is when the kernel's clock showed that.
func (c Clock) Time(kernel time.Duration) time.Time { return c.at.Add(kernel - c.kernel) }

// Kernel is what the kernel's clock showed then.
func (c Clock) Kernel(t time.Time) time.Duration { return c.kernel + t.Sub(c.at) }
