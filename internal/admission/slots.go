package admission

import (
	"bytes"
	"container/list"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	// slotHeld is how long a call holds its slot at most. Those of an agent are mostly
	// over by then; what runs longer is bounded by its own limits, and may wait for
	// something all the time.
	slotHeld = 50 * time.Millisecond
	// slotLook is how often it is looked whether a processor is idle while calls wait, and
	// slotLookMost how seldom when none is for long: each look wakes the daemon.
	slotLook     = 2 * time.Millisecond
	slotLookMost = 16 * time.Millisecond
	// slotIdle is how many looks in a row must find an idle processor: for a moment
	// one often is, when calls wait for the disk.
	slotIdle = 3
)

// slots are what calls hold that have just begun. It is guarded by the line's mutex.
type slots struct {
	held  list.List     // of *Ticket, the one that began first comes first
	extra int           // that may begin beyond the bound now
	idle  int           // looks in a row that found an idle processor
	look  *time.Timer   // runs while calls wait for a slot
	pause time.Duration // before the next look; 0: slotLook
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
	if l.waiting == 0 {
		l.slots.pause = 0
	}
	if l.cfg.Slots == 0 || l.waiting == 0 || l.slots.held.Len() == 0 || l.slots.look != nil {
		return
	}
	l.slots.look = time.AfterFunc(l.untilLook(), func() {
		idle := l.cfg.Idle != nil && l.cfg.Idle()
		now := l.cfg.Now()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.slots.look = nil
		l.noteLook(idle)
		if l.slots.idle >= slotIdle { // one more for each look: it takes a moment to be seen
			l.slots.extra = max(l.slots.held.Len()-l.cfg.Slots, 0) + 1
		}
		l.serve(now)
		l.slots.extra = 0
	})
}

// noteLook takes in what a look has found: the longer no processor was idle, the less
// often it is looked.
func (l *Line) noteLook(idle bool) {
	if idle {
		l.slots.idle++
		l.slots.pause = slotLook
		return
	}
	l.slots.idle = 0
	l.slots.pause = min(2*max(l.slots.pause, slotLook), slotLookMost)
}

// untilLook is when to look next, at the latest when the first slot has been held for
// long enough.
func (l *Line) untilLook() time.Duration {
	wait := max(l.slots.pause, slotLook)
	if t, ok := l.slots.held.Front().Value.(*Ticket); ok {
		wait = min(wait, max(slotHeld-l.cfg.Now().Sub(t.since), slotLook))
	}
	return wait
}

// IdleProcessor returns a function that tells whether one of the machine's
// processors had nothing to do a moment ago. It is false where that cannot be told.
// It keeps a file open.
func IdleProcessor(processors int) func() bool {
	load := sync.OnceValues(func() (*os.File, error) { return os.Open("/proc/loadavg") })
	return func() bool {
		f, err := load()
		if err != nil {
			return false
		}
		running, ok := runnable(f)
		return ok && running-1 < processors // it is one of them itself
	}
}

// runnable reads how many threads of the machine run or want to: the part before the
// slash in "0.20 0.18 0.12 1/80 11206", proc(5). The kernel makes the text anew for
// each read of its beginning.
func runnable(f *os.File) (int, bool) {
	var text [128]byte
	read, _ := f.ReadAt(text[:], 0) // it ends before the room does
	before, _, ok := bytes.Cut(text[:read], []byte("/"))
	fields := bytes.Fields(before)
	if !ok || len(fields) != 4 {
		return 0, false
	}
	n, err := strconv.Atoi(string(fields[3]))
	return n, err == nil
}
