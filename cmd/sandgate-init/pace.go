//go:build linux

package main

import "time"

// What lies between the kept ends of a call's output has no value, but reading it
// costs as much processor time as writing it. So of a flood init takes no more than
// this: a burst that is more than most programs ever write, at full speed, and then
// so much a second. The program waits meanwhile, as it would for a slow terminal,
// and leaves the processors to the other calls of the machine.
const (
	floodBurst  = 64 << 20
	floodRate   = 128 << 20
	floodQuanta = 512 << 10 // is waited for, so that a wake-up is worth it: both pipes full, each 4 ms
)

// pace bounds what is read of a running call's output: floodBurst bytes, then
// floodRate a second. What is not read for a while does not add up beyond a quantum.
// The zero value has its whole burst.
type pace struct {
	spent int64     // of the burst
	owed  int64     // bytes beyond it that were read and are not paid for by time yet
	since time.Time // of the last payment
}

// took notes n bytes that were read.
func (p *pace) took(n int64, now time.Time) {
	free := min(n, floodBurst-p.spent)
	p.spent += free
	if n -= free; n <= 0 {
		return
	}
	p.pay(now)
	p.owed += n
}

// pay lets the time that has passed count.
func (p *pace) pay(now time.Time) {
	if paid := int64(now.Sub(p.since).Seconds() * floodRate); paid > 0 {
		p.owed, p.since = max(-floodQuanta, p.owed-paid), now
	}
}

// until is when more may be read; the zero time is now.
func (p *pace) until(now time.Time) time.Time {
	if p.owed <= 0 {
		return time.Time{}
	}
	if p.pay(now); p.owed <= 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(max(p.owed, floodQuanta)) * time.Second / floodRate)
}
