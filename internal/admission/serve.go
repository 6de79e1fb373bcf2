package admission

import (
	"slices"
	"time"
)

// serve lets in whom there is room for, a call of each caller in turn. l.mu is
// held, as for all below.
func (l *Line) serve(now time.Time) {
	for l.waiting > 0 && l.serveOne(now) {
	}
	l.watchSlots()
}

// serveOne lets in the next call, if any can be. A call for which there is no
// room does not hold up smaller ones, until maxPassed have overtaken it: then
// only calls that need nothing but what is reserved for them get past it.
func (l *Line) serveOne(now time.Time) bool {
	var stuck []*waiter
	barred := !l.slotFree(now)
	for i, c := range l.ring {
		w, blocked := l.next(c, barred)
		if w == nil {
			if blocked != nil {
				stuck = append(stuck, blocked)
				barred = barred || blocked.passed >= maxPassed
			}
			continue
		}
		for _, s := range stuck {
			s.passed++
		}
		l.letIn(w, now)
		// Its caller goes to the end of the ring.
		l.ring = slices.Delete(l.ring, i, i+1)
		if len(c.waiting) > 0 {
			l.ring = append(l.ring, c)
		}
		return true
	}
	return false
}

// next returns the caller's first call that can be let in; of each class only
// the first is looked at. If there is none it returns the first that waits for
// room, rather than for other calls of its own caller.
func (l *Line) next(c *caller, barred bool) (fitting, blocked *waiter) {
	var seen [8]*class
	n := 0
	for _, w := range c.waiting {
		if slices.Contains(seen[:n], w.ticket.class) {
			continue
		}
		if n == len(seen) {
			break
		}
		seen[n], n = w.ticket.class, n+1
		switch {
		case !l.withinShare(w.ticket):
		case l.fitsReserve(w.ticket), !barred && l.roomFor(w.ticket):
			return w, nil
		case blocked == nil:
			blocked = w
		}
	}
	return nil, blocked
}

func (l *Line) letIn(w *waiter, now time.Time) {
	t := w.ticket
	l.remove(w)
	l.stats.Waited++
	t.caller.countFollowers(t)
	t.Waited, t.since = now.Sub(t.since), now
	l.admit(t, now)
	close(w.ready)
}

func (l *Line) admit(t *Ticket, now time.Time) {
	t.in = true
	l.takeSlot(t, now)
	l.stats.Admitted++
	l.take(t, t.cost)
}

// drop takes a call that gave up out of the line.
func (l *Line) drop(w *waiter) {
	c := w.ticket.caller
	l.remove(w)
	if len(c.waiting) == 0 {
		l.ring = slices.DeleteFunc(l.ring, func(o *caller) bool { return o == c })
	}
	l.forget(c)
}

func (l *Line) remove(w *waiter) {
	c := w.ticket.caller
	if i := slices.Index(c.waiting, w); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
		l.waiting--
	}
}

// forget drops a caller that has nothing here any more.
func (l *Line) forget(c *caller) {
	if c.used.Calls == 0 && len(c.waiting) == 0 {
		delete(l.callers, c.id)
	}
}

// take counts a cost, which is negative when it is given back.
func (l *Line) take(t *Ticket, cost Resources) {
	before := t.class.used.beyond(t.class.reserve)
	t.class.used = t.class.used.plus(cost)
	l.over = l.over.plus(t.class.used.beyond(t.class.reserve)).less(before)
	l.used = l.used.plus(cost)
	t.caller.used = t.caller.used.plus(cost)
}

func (l *Line) fits(t *Ticket) bool { return l.withinShare(t) && l.roomFor(t) }

// withinShare reports whether the caller may use that much more.
func (l *Line) withinShare(t *Ticket) bool {
	return t.caller.used.Calls == 0 || t.caller.used.plus(t.cost).within(l.perHead)
}

// roomFor reports whether there is room in what is reserved and common.
func (l *Line) roomFor(t *Ticket) bool {
	k := t.class
	more := k.used.plus(t.cost).beyond(k.reserve).less(k.used.beyond(k.reserve))
	return l.over.plus(more).within(l.common)
}

// fitsReserve reports whether there is room in what is reserved alone.
func (l *Line) fitsReserve(t *Ticket) bool {
	return t.class != l.rest && t.class.used.plus(t.cost).within(t.class.reserve)
}

// expected is about how long a call of c waits with that many of its caller's before it.
// Where there are any, others that go ahead come later. 0: not known.
func (l *Line) expected(c *caller, own int) time.Duration {
	callers := len(l.ring)
	if len(c.waiting) == 0 {
		callers++
	}
	before := min(l.waiting, own*callers+callers-1)
	calls := float64(before + 1)
	if own > 0 {
		calls /= 1 - min(c.following, 0.5)
	}
	return time.Duration(calls * float64(l.hold) / float64(max(l.used.Calls, 1)))
}

// Bounds of the hint when to come again.
const (
	minRetry = 50 * time.Millisecond
	maxRetry = time.Minute
)

func (l *Line) retryAfter(c *caller, own int) time.Duration {
	return min(max(l.expected(c, own), minRetry), maxRetry).Round(time.Millisecond)
}

// Crowded reports whether calls wait to run. It does not block.
func (l *Line) Crowded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting > 0
}

// State is how the line is doing.
type State struct {
	Running, Waiting, WaitingCallers int
	Used, Budget                     Resources
	Beginning, Slots                 int // calls that hold a slot, and how many there are; 0: no bound
	// ExpectedWait is about how long a caller that has nothing in line would wait if
	// there is no room now.
	ExpectedWait time.Duration

	// Counters since the line was made.
	Admitted int64
	Waited   int64 // of the admitted
	Refused  int64 // since the line was full
	Expired  int64 // since the deadline had passed or would have
	Left     int64 // cancelled while they waited
}

// State tells how the line is doing. It does not block.
func (l *Line) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Running, s.Waiting, s.WaitingCallers = l.used.Calls, l.waiting, len(l.ring)
	l.dropSettled(l.cfg.Now())
	s.Beginning, s.Slots = l.slots.held.Len(), l.cfg.Slots
	s.Used, s.Budget, s.ExpectedWait = l.used, l.cfg.Budget, l.expected(&caller{}, 0)
	return s
}

func (r Resources) plus(o Resources) Resources {
	return Resources{r.Calls + o.Calls, r.CPUMillis + o.CPUMillis, r.MemoryBytes + o.MemoryBytes}
}

func (r Resources) less(o Resources) Resources { return r.plus(o.times(-1)) }

func (r Resources) times(n int) Resources {
	return Resources{r.Calls * n, r.CPUMillis * int64(n), r.MemoryBytes * int64(n)}
}

// beyond is what r has more than o, part by part.
func (r Resources) beyond(o Resources) Resources {
	return Resources{max(r.Calls-o.Calls, 0), max(r.CPUMillis-o.CPUMillis, 0), max(r.MemoryBytes-o.MemoryBytes, 0)}
}

func (r Resources) within(o Resources) bool {
	return r.Calls <= o.Calls && r.CPUMillis <= o.CPUMillis && r.MemoryBytes <= o.MemoryBytes
}

// share is a part of r, at least one call.
func (r Resources) share(part float64) Resources {
	return Resources{
		max(int(float64(r.Calls)*part), 1), int64(float64(r.CPUMillis) * part), int64(float64(r.MemoryBytes) * part),
	}
}
