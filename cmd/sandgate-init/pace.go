//go:build linux

package main

import (
	"bytes"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// What lies between the kept ends of a call's output has no value, but reading it
// costs as much processor time as writing it. So of a flood init takes no more than
// this: a burst that is more than most programs ever write, at full speed unless
// others want the processors, and then so much a second. The program waits
// meanwhile, as it would for a slow terminal, and leaves the machine to other calls.
const (
	floodBurst  = 64 << 20
	floodRate   = 128 << 20
	floodQuanta = 512 << 10 // is waited for, so that a wake-up is worth it: both pipes full, each 4 ms
	strainEvery = 1 << 20   // bytes of the burst between two looks at the machine
	strainLooks = 8         // more that find it strained than that do not end the burst: a call's beginning is busy by itself
)

// pace bounds what is read of a running call's output: floodBurst bytes, less when
// the machine is strained, then floodRate a second. What is not read for a while
// does not add up beyond a quantum. The zero value has its whole burst.
type pace struct {
	spent  int64     // of the burst
	looked int64     // spent, when the machine was looked at
	felt   int       // looks that found it strained, less those that did not
	owed   int64     // bytes beyond it that were read and are not paid for by time yet
	since  time.Time // of the last payment
}

// took notes n bytes that were read. strained is asked now and then.
func (p *pace) took(n int64, now time.Time, strained func() bool) {
	free := min(n, floodBurst-p.spent)
	p.spent += free
	if p.spent < floodBurst && p.spent-p.looked >= strainEvery {
		p.looked = p.spent
		if !strained() {
			p.felt = max(0, p.felt-1)
		} else if p.felt++; p.felt == strainLooks {
			p.spent = floodBurst
		}
	}
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

// A program that writes much at once, and init on the same processor, would take turns at
// each of its writes, eight kilobytes or less. So while much comes its pipes are left to
// fill for a moment.
const (
	flowBytes  = 96 << 10 // in flowTime are much
	flowTime   = time.Millisecond
	flowPeriod = 40 * time.Microsecond // that a fast writer takes to fill a pipe
)

// flow tells when a running program's output is worth reading. The zero value is for one
// that has written nothing.
type flow struct {
	since time.Time // of bytes
	bytes int64
	next  time.Time // not before; zero: at once
}

// took notes n bytes that were read.
func (f *flow) took(n int64, now time.Time) {
	if now.Sub(f.since) >= flowTime {
		f.since, f.bytes = now, 0
	}
	if f.bytes += n; f.bytes < flowBytes {
		return
	}
	f.since, f.bytes, f.next = now, 0, now.Add(flowPeriod)
	// The kernel would add 50 µs to the wait. It is this thread's; the fork servers, and
	// with them all programs, are there already.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1000, 0, 0, 0)
}

// until is when output is to be read again; the zero time is now.
func (f *flow) until(now time.Time) time.Time {
	if !now.Before(f.next) {
		f.next = time.Time{}
	}
	return f.next
}

// strain tells whether others want the processors.
type strain struct {
	file int // /proc/loadavg; 0 while it is not open, -1 where there is none
	most int // processes that may be ready to run
}

// spareRunning is how many more processes than there are processors may be ready to
// run: a program that writes, init and the daemon that hear of it take turns. With two
// processors some 2 are beside one writer alone, and more than 4 beside two and a call.
const spareRunning = 1

// felt looks at how many processes of the machine are ready to run at this moment.
func (s *strain) felt() bool {
	if s.file == 0 {
		var err error
		if s.file, err = unix.Open("/proc/loadavg", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			s.file = -1
		}
		s.most = runtime.NumCPU() + spareRunning
	}
	if s.file < 0 {
		return false
	}
	var buf [128]byte
	n, err := unix.Pread(s.file, buf[:], 0)
	return err == nil && runningOf(buf[:n]) > s.most
}

// runningOf takes "2" from "0.08 0.34 1.28 2/152 1234"; it is 0 if there is no such
// thing.
func runningOf(loadavg []byte) int {
	fields := bytes.Fields(loadavg)
	if len(fields) < 4 {
		return 0
	}
	running, _, _ := bytes.Cut(fields[3], []byte("/"))
	n, err := strconv.Atoi(string(running))
	if err != nil {
		return 0
	}
	return n
}
