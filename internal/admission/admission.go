// Package admission bounds what runs at once. A call enters with what its limits
// may cost; it gets its place at once, waits in a bounded line that is served
// fairly between callers, or is refused with a hint when to come again. The gate
// enters each allowed call here before it runs. It must never hold up what is no
// call, never let one caller shut the others out, and knows nothing of what a
// call does.
//
// Two budgets are counted, cpu and memory, and the number of calls. A call
// counts with its whole limits. Whether that is overcommitted is the budget's to
// say: one of eight times the machine's cores reckons with calls that mostly wait.
// Beside them slots bound how many calls begin at once.
//
// Callers are served in turn, and a caller's calls in their order, with one exception:
// a call that comes right after one of the same session, whose cell is warm therefore,
// goes ahead of its own caller's others, but the next one of that session does not.
package admission

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// Resources are amounts of what is counted.
type Resources struct {
	Calls       int
	CPUMillis   int64 // 1000 = one core
	MemoryBytes int64
}

// Config of a Line.
type Config struct {
	// Budget is what the running calls may count together. All parts are required.
	// A call that counts more than there is at all counts as what there is: it runs
	// alone.
	Budget Resources
	// Reserve keeps a share of the budget, above 0, for the calls of a class. They
	// may use what is left to all as well. At most 0.9 together.
	Reserve map[string]float64
	// CallerShare is how much of the budget one caller may use, above 0 to 1.
	// Default 0.75. A caller that runs nothing may always run one call.
	CallerShare float64
	// MaxWaiting bounds the line, MaxWaitingPerCaller what one caller may have in it.
	// Default 256 and a quarter of MaxWaiting. A negative one: nobody waits.
	MaxWaiting, MaxWaitingPerCaller int
	// MaxWait is how long a call waits at most. Default one minute.
	MaxWait time.Duration
	// Slots bounds the calls that begin at once: each holds one until it ends or has
	// run for slotHeld. More than the processors can serve only get in each other's
	// way. What is reserved for a class needs none. Optional, 0 means no bound.
	Slots int
	// Idle tells whether a processor has nothing to do, so that a call may begin
	// though all slots are held: those that hold them wait for something. It is asked
	// while calls wait for a slot, every slotLook. Optional.
	Idle func() bool
	// Now is the clock. Optional.
	Now func() time.Time
}

// maxPassed is how many calls may be let in before one that waits for more room
// than there is. After that the room is kept free for it.
const maxPassed = 32

// Line admits calls. It is safe for concurrent use.
type Line struct {
	cfg     Config
	perHead Resources // what one caller may use

	mu      sync.Mutex
	classes map[string]*class
	rest    *class    // of all calls that nothing is reserved for
	common  Resources // the budget less what is reserved
	over    Resources // of common, in use
	used    Resources
	callers map[string]*caller // those that run or wait
	ring    []*caller          // those that wait, whose turn it is first
	waiting int
	slots   slots
	hold    time.Duration // mean time that calls keep their place; 0: not known
	stats   State         // its counters
}

// class is a kind of call that has a share of its own.
type class struct{ reserve, used Resources }

// caller is what one caller has here.
type caller struct {
	id      string
	used    Resources
	waiting []*waiter // in the order of service
	ended   []end     // calls of sessions, a moment ago, the oldest first
	// following is the share of those let in from the line that went ahead of others.
	following float64
}

// waiter is a call in line.
type waiter struct {
	ticket *Ticket
	passed int           // calls that were let in before it though it was its turn
	ready  chan struct{} // closed when it was let in
}

// Request is a call that wants to run.
type Request struct {
	Caller string // who asks
	Class  string // what a share may be reserved for: the policy profile
	// Session names calls of the caller that are served best one right after another,
	// by the same cell. Optional.
	Session string
	// CPUMillis and MemoryBytes are the call's limits.
	CPUMillis, MemoryBytes int64
	// Deadline is when the call is of no use any more. Zero: none.
	Deadline time.Time
}

// Ticket is a place among the running calls.
type Ticket struct {
	line   *Line
	caller *caller
	class  *class
	cost   Resources
	since  time.Time
	in     bool // guarded by the line's mutex, as the next
	slot   *list.Element
	// session is the request's; follows: it goes ahead, after a call of that session.
	session string
	follows bool
	// Waited is how long the call was in line.
	Waited time.Duration
}

// BusyError says that a call was not admitted. It did not run and can be sent
// again. It is errdefs.ErrResourceExhausted.
type BusyError struct {
	Reason string
	// RetryAfter is when there will probably be room, reckoned from how fast calls
	// end at present.
	RetryAfter time.Duration
}

// Error implements error.
func (e *BusyError) Error() string {
	return fmt.Sprintf("%s: try again in %s", e.Reason, e.RetryAfter)
}

// Unwrap makes it an errdefs.ErrResourceExhausted.
func (e *BusyError) Unwrap() error { return errdefs.ErrResourceExhausted }

// New makes a line in which nobody is.
func New(cfg Config) (*Line, error) {
	if cfg.CallerShare == 0 {
		cfg.CallerShare = 0.75
	}
	if cfg.MaxWaiting == 0 {
		cfg.MaxWaiting = 256
	}
	if cfg.MaxWaitingPerCaller == 0 {
		cfg.MaxWaitingPerCaller = max(cfg.MaxWaiting/4, 1)
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	b := cfg.Budget
	if b.Calls < 1 || b.CPUMillis < 1 || b.MemoryBytes < 1 {
		return nil, errors.New("admission: the budget has an empty part")
	}
	if cfg.Slots < 0 {
		return nil, errors.New("admission: want slots above 0, or 0 for no bound")
	}
	if cfg.CallerShare < 0 || cfg.CallerShare > 1 || cfg.MaxWait < 0 {
		return nil, errors.New("admission: want a caller's share above 0 to 1 and a longest wait above 0")
	}
	l := &Line{
		cfg: cfg, perHead: b.share(cfg.CallerShare), classes: make(map[string]*class), rest: &class{}, common: b,
		callers: make(map[string]*caller),
	}
	sum := 0.0
	for name, share := range cfg.Reserve {
		if sum += share; share <= 0 || sum > 0.9 {
			return nil, errors.New("admission: want reserved shares above 0 and at most 0.9 together")
		}
		c := &class{reserve: b.share(share)}
		l.classes[name] = c
		l.common = l.common.less(c.reserve)
	}
	return l, nil
}

// Enter returns when the call may run. The ticket's Leave must be called when it
// has ended. An error means that it may not run: a *BusyError when the line is
// full, the deadline or MaxWait has passed or would pass before its turn comes;
// the cause of ctx when that ended.
func (l *Line) Enter(ctx context.Context, r Request) (*Ticket, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	now := l.cfg.Now()
	l.mu.Lock()
	t := l.ticket(r, now)
	if l.waiting == 0 && l.fits(t) && (l.slotFree(now) || l.fitsReserve(t)) {
		l.admit(t, now)
		l.mu.Unlock()
		return t, nil
	}
	w, err := l.lineUp(t, r, now)
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return l.wait(ctx, w, r.Deadline, now)
}

// Leave gives the place back. Only the first time counts.
func (t *Ticket) Leave() {
	l := t.line
	now := l.cfg.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !t.in {
		return
	}
	t.in = false
	l.take(t, t.cost.times(-1))
	l.freeSlot(t)
	t.caller.noteEnd(t, now)
	l.forget(t.caller)
	held := max(now.Sub(t.since), time.Microsecond)
	if l.hold == 0 {
		l.hold = held
	}
	l.hold += (held - l.hold) / 16
	l.serve(now)
}

// ticket makes a place that is not taken yet. l.mu is held, as for all below.
func (l *Line) ticket(r Request, now time.Time) *Ticket {
	c := l.callers[r.Caller]
	if c == nil {
		c = &caller{id: r.Caller}
		l.callers[r.Caller] = c
	}
	k := l.classes[r.Class]
	if k == nil {
		k = l.rest
	}
	most := l.common.plus(k.reserve)
	return &Ticket{line: l, caller: c, class: k, session: r.Session, since: now, cost: Resources{
		Calls: 1, CPUMillis: min(max(r.CPUMillis, 0), most.CPUMillis), MemoryBytes: min(max(r.MemoryBytes, 0), most.MemoryBytes),
	}}
}

// lineUp puts a call into the line, or says why not.
func (l *Line) lineUp(t *Ticket, r Request, now time.Time) (*waiter, error) {
	own := len(t.caller.waiting)
	if l.waiting >= l.cfg.MaxWaiting || own >= l.cfg.MaxWaitingPerCaller {
		l.stats.Refused++
		l.forget(t.caller)
		reason := fmt.Sprintf("%d calls wait to run, the most that this daemon takes", l.waiting)
		if own >= l.cfg.MaxWaitingPerCaller {
			reason = fmt.Sprintf("%d calls of this caller wait to run, the most it may have", own)
		}
		return nil, &BusyError{reason, l.retryAfter(t.caller, own)}
	}
	at := own
	if t.follows = t.caller.takeEnd(t.session, now); t.follows {
		at = t.caller.place()
	}
	if wait := l.expected(t.caller, at); !r.Deadline.IsZero() && now.Add(wait).After(r.Deadline) {
		l.stats.Expired++
		l.forget(t.caller)
		return nil, &BusyError{"the timeout of the call would pass before its turn to run", l.retryAfter(t.caller, own)}
	}
	w := &waiter{ticket: t, ready: make(chan struct{})}
	if own == 0 {
		l.ring = append(l.ring, t.caller)
	}
	t.caller.waiting = slices.Insert(t.caller.waiting, at, w)
	l.waiting++
	l.serve(now) // those before it may only wait for their own callers' calls
	return w, nil
}

// wait returns when the call was let in or is to wait no longer.
func (l *Line) wait(ctx context.Context, w *waiter, deadline, now time.Time) (*Ticket, error) {
	longest := l.cfg.MaxWait
	if !deadline.IsZero() {
		longest = min(longest, deadline.Sub(now))
	}
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-w.ready:
		return w.ticket, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.ticket.in { // at this very moment; who gave up will notice
		return w.ticket, nil
	}
	c := w.ticket.caller
	own := len(c.waiting)
	l.drop(w)
	l.serve(l.cfg.Now()) // it may have kept room free
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		l.stats.Left++
		return nil, context.Cause(ctx)
	}
	l.stats.Expired++
	return nil, &BusyError{fmt.Sprintf("the call waited %s for its turn to run", l.cfg.Now().Sub(now).Round(time.Millisecond)), l.retryAfter(c, own)}
}
