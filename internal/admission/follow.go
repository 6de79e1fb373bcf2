package admission

import (
	"slices"
	"time"
)

// Calls of a session that come one right after another find their cell warm: its memory
// is in the processors' caches, its processes are awake. Served strictly in turn with
// many others, none of them would. So a call whose session had one running until just
// now goes ahead of its caller's calls in line, once: the next of its session stands
// behind them again. Each call that was let in in its turn brings at most one along, so
// nobody waits longer than twice as long as in turn; turns of callers are as they were.

const (
	// followWithin is how long after the end of a call of its session another one
	// follows it. It takes that long at most until a host has the result and has sent
	// the next one, and the gate has decided it, when many do so at once.
	followWithin = 20 * time.Millisecond
	// maxEnded bounds what is remembered of a caller.
	maxEnded = 64
)

// end is that of a call that another one may follow.
type end struct {
	session string
	at      time.Time
}

// noteEnd remembers that a call has ended that came in its turn, if others wait that
// one could go ahead of. l.mu is held, as for all below.
func (c *caller) noteEnd(t *Ticket, now time.Time) {
	if t.session == "" || t.follows || len(c.waiting) == 0 {
		return
	}
	c.dropEnds(now)
	if len(c.ended) == maxEnded {
		c.ended = slices.Delete(c.ended, 0, 1)
	}
	c.ended = append(c.ended, end{t.session, now})
}

// dropEnds forgets ends that no call follows any more.
func (c *caller) dropEnds(now time.Time) {
	old := slices.IndexFunc(c.ended, func(e end) bool { return now.Sub(e.at) < followWithin })
	if old < 0 {
		old = len(c.ended)
	}
	c.ended = slices.Delete(c.ended, 0, old)
}

// takeEnd reports whether a call of the session follows one, which no other call does then.
func (c *caller) takeEnd(session string, now time.Time) bool {
	if session == "" {
		return false
	}
	c.dropEnds(now)
	i := slices.IndexFunc(c.ended, func(e end) bool { return e.session == session })
	if i >= 0 {
		c.ended = slices.Delete(c.ended, i, i+1)
	}
	return i >= 0
}

// place is where in its caller's line a call that follows another one stands: behind
// those that do, too, and those that were passed by because they want much.
func (c *caller) place() int {
	at := 0
	for i, w := range c.waiting {
		if w.ticket.follows || w.passed > 0 {
			at = i + 1
		}
	}
	return at
}

// countFollowers keeps the share of the caller's calls let in from the line that went ahead.
func (c *caller) countFollowers(t *Ticket) {
	x := 0.0
	if t.follows {
		x = 1
	}
	c.following += (x - c.following) / 16
}
