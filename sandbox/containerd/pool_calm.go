package containerd

import "time"

// The making of stock and the removal of used cells take the processors that calls
// run on. So both wait for a lull, unless a call waits for a cell or what is to be
// done has waited long enough: a call is slowed by what it or its neighbours left
// behind only while that cannot be helped. Of the call nothing is left in a used cell: its processes
// have ended with their namespace, as init has told. A cell of which that is in doubt
// is killed at once.

const (
	// lull is how long no call must have run for the next one to be unlikely to come
	// at once.
	lull = 15 * time.Millisecond
	// patience bounds how long work waits for a lull.
	patience = time.Second
)

// putOff tells how long work that is due since a time must still wait, 0 if it may
// begin. p.mu is held, as for all below.
func (p *pool) putOff(since, now time.Time) time.Duration {
	bound := patience - now.Sub(since)
	if p.busyN == 0 {
		bound = min(bound, lull-now.Sub(p.left))
	}
	return max(bound, 0)
}

// low tells whether so few fresh cells of a class are left that the making of new
// ones waits for no lull, but only until no call has come for as long: less than a
// quarter of what is wanted. One takes as long to make as several calls in turn take,
// so to begin between two of them would slow the next and help none.
func (of *classPool) low(target int) bool { return len(of.fresh)+of.making < (target+3)/4 }

// lacks is how many cells of a class are to be made for stock now, and if none
// because of calls, when to look again.
func (p *pool) lacks(of *classPool, now time.Time) (n int, again time.Duration) {
	target := p.target(of, now)
	n = target - len(of.fresh) - of.making
	if n <= 0 {
		of.lacking = time.Time{}
		return 0, 0
	}
	if of.lacking.IsZero() {
		of.lacking = now
	}
	if p.waits() {
		return n, 0
	}
	again = p.putOff(of.lacking, now)
	if of.low(target) {
		again = min(again, max(lull-now.Sub(p.handed), 0))
	}
	if again > 0 {
		return 0, again
	}
	return n, 0
}

// lookAgain plans anew in a while, at the latest.
func (p *pool) lookAgain(in time.Duration) {
	if in <= 0 || p.closed {
		return
	}
	at := time.Now().Add(in)
	if p.again != nil {
		if !p.againAt.After(at) {
			return
		}
		p.again.Stop()
	}
	p.againAt = at
	var t *time.Timer
	t = time.AfterFunc(in, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.again == t {
			p.again = nil
			p.plan()
		}
	})
	p.again = t
}

// setAside leaves a cell that served its only call alive until there is a lull: to
// end its own processes and namespaces alone takes as long as half a call.
func (p *pool) setAside(e *entry) {
	p.listDead(e)
	e.lives = true
	p.asideN++
}

// mayWait tells whether the removal of a used cell may. It does not if that takes the
// room of a new one, or memory beyond the budget of idle cells.
func (p *pool) mayWait(e *entry, callsWait bool) bool {
	if p.closed || p.total()+p.cfg.makers > p.cfg.maxCells {
		return false
	}
	if room := p.idleRoom(); e.lives && room >= 0 && p.freshN+p.unused.Len()+p.asideN > room {
		return false
	}
	if callsWait { // what changes next looks again, or the sweep
		return time.Since(e.since) < endAfter
	}
	again := p.putOff(e.since, time.Now())
	p.lookAgain(again)
	return again > 0
}
