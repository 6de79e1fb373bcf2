package admission

import (
	"container/list"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// slotHeld is how long a call holds its slot at most. Those of an agent are mostly
	// over by then; what runs longer is bounded by its own limits, and may wait for
	// something all the time.
	slotHeld = 50 * time.Millisecond
	// slotLook is how often it is looked whether a processor is idle while calls wait.
	slotLook = 2 * time.Millisecond
	// slotIdle is how many looks in a row must find an idle processor: for a moment
	// one often is, when calls wait for the disk.
	slotIdle = 3
)

// slots are what calls hold that have just begun. It is guarded by the line's mutex.
type slots struct {
	held  list.List   // of *Ticket, the one that began first comes first
	extra int         // that may begin beyond the bound now
	idle  int         // looks in a row that found an idle processor
	look  *time.Timer // runs while calls wait for a slot
}

// slotFree tells whether a call may begin. l.mu is held, as for all below.
func (l *Line) slotFree(now time.Time) bool {
	if l.cfg.Slots == 0 {
		return true
	}
	l.dropSettled(now)
	return l.slots.held.Len() < l.cfg.Slots+l.slots.extra
}

// dropSettled takes the slots of calls that have held them long enough.
func (l *Line) dropSettled(now time.Time) {
	for front := l.slots.held.Front(); front != nil; front = l.slots.held.Front() {
		t, _ := front.Value.(*Ticket)
		if now.Sub(t.since) < slotHeld {
			return
		}
		l.freeSlot(t)
	}
}

func (l *Line) takeSlot(t *Ticket, now time.Time) {
	if l.cfg.Slots > 0 {
		t.since = now
		t.slot = l.slots.held.PushBack(t)
	}
}

func (l *Line) freeSlot(t *Ticket) {
	if t.slot != nil {
		l.slots.held.Remove(t.slot)
		t.slot = nil
	}
}

// watchSlots looks again in a while if calls wait and all slots are held.
func (l *Line) watchSlots() {
	if l.cfg.Slots == 0 || l.waiting == 0 || l.slots.held.Len() == 0 || l.slots.look != nil {
		return
	}
	l.slots.look = time.AfterFunc(slotLook, func() {
		idle := l.cfg.Idle != nil && l.cfg.Idle()
		now := l.cfg.Now()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.slots.look = nil
		if l.slots.idle++; !idle {
			l.slots.idle = 0
		}
		if l.slots.idle >= slotIdle { // one more for each look: it takes a moment to be seen
			l.slots.extra = max(l.slots.held.Len()-l.cfg.Slots, 0) + 1
		}
		l.serve(now)
		l.slots.extra = 0
	})
}

// IdleProcessor returns a function that tells whether one of the machine's
// processors had nothing to do a moment ago. It is false where that cannot be told.
func IdleProcessor(processors int) func() bool {
	return func() bool {
		running, ok := runnable("/proc/loadavg")
		return ok && running-1 < processors // it is one of them itself
	}
}

// runnable reads how many threads of the machine run or want to: the part before the
// slash in "0.20 0.18 0.12 1/80 11206", proc(5).
func runnable(file string) (int, bool) {
	text, err := os.ReadFile(file) //nolint:gosec // of the kernel
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(text))
	if len(fields) < 4 {
		return 0, false
	}
	first, _, _ := strings.Cut(fields[3], "/")
	n, err := strconv.Atoi(first)
	return n, err == nil
}
