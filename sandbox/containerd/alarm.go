package containerd

import (
	"sync"
	"time"
)

// alarm sees to what becomes due in a cell: that the processes of a call whose deadline
// has come get processor time to die, and that the cell is killed when init has not ended
// the call. One timer serves the calls of a cell one after another. It is set when it is
// not, or too late, and left as it is when a call ends: a timer of each call's own, that is
// set at three of its stages and stopped, wakes a thread of the daemon at most starts, and
// whoever stops it does not know whether it is just killing the cell.
// It is safe for concurrent use; the zero value is ready.
type alarm struct {
	mu    sync.Mutex
	timer *time.Timer // nil: it was never set
	rings time.Time   // when timer is due; zero: it is not set
	// Of the present call: what is to be done, and when. nil: there is none, zero: not.
	lift, kill     func()
	liftAt, killAt time.Time
}

// begin takes what is to be done for the next call.
func (a *alarm) begin(lift, kill func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lift, a.kill, a.liftAt, a.killAt = lift, kill, time.Time{}, time.Time{}
}

// set says after how long what is to be done; lift 0: not. Nothing happens after end.
func (a *alarm) set(lift, kill time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kill == nil {
		return
	}
	now := time.Now()
	a.killAt, a.liftAt = now.Add(kill), time.Time{}
	if lift > 0 {
		a.liftAt = now.Add(lift)
	}
	a.arm(now)
}

// end forgets the call. When it returns nothing is done for it any more, nor being done.
func (a *alarm) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lift, a.kill, a.liftAt, a.killAt = nil, nil, time.Time{}, time.Time{}
}

// arm sets the timer if it would ring too late. a.mu is held.
func (a *alarm) arm(now time.Time) {
	next := a.killAt
	if !a.liftAt.IsZero() && (next.IsZero() || a.liftAt.Before(next)) {
		next = a.liftAt
	}
	if next.IsZero() || !a.rings.IsZero() && !next.Before(a.rings) {
		return
	}
	a.rings = next
	if a.timer == nil {
		a.timer = time.AfterFunc(next.Sub(now), a.ring)
		return
	}
	a.timer.Reset(next.Sub(now))
}

// ring does what is due. That may be nothing: the timer may be an earlier call's.
func (a *alarm) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rings = time.Time{}
	now := time.Now()
	if !a.liftAt.IsZero() && !now.Before(a.liftAt) {
		a.liftAt = time.Time{}
		a.lift()
	}
	if !a.killAt.IsZero() && !now.Before(a.killAt) {
		a.killAt = time.Time{}
		a.kill()
	}
	a.arm(now)
}
