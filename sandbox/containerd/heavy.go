package containerd

import (
	"sync"
	"time"

	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// A call that goes on computing must not be what short calls wait for. The kernel shares
// a processor out fairly, and so has a short call wait for half of what it needs, behind
// each program that computes. So short calls come first, as schedulers with feedback have
// it: while calls that have used much processor time want many processors and others call
// beside them, each of their cells has a smaller share, until the call has rested or ended.
// Who makes such calls one after another (each may be ended by its limit of memory) has it
// from the next one's beginning. It is never without: beside one other busy cell it has a
// seventeenth of the processor, and all of it where nobody else wants it. Alone that does not
// help, but makes it worse: who has a small share gets it in one piece, up to the kernel's
// next tick. See pulse.
const (
	// heavyWeight is the cell's share, where others have cgroup.UsualWeight.
	heavyWeight = 6
	// heavyAfter is the processor time that a call may use before.
	heavyAfter = 100 * time.Millisecond
	// heavyLook is how often calls are looked at, and how old one is before its first look.
	heavyLook = 50 * time.Millisecond
	// A call that used less than restShare of the time for restLooks has rested. It is
	// less than what is left to a heavy call beside many others.
	restShare = 100
	restLooks = 20
)

// heavies looks after calls that run for long. It is safe for concurrent use. Its
// goroutine is there only while calls are, and a second longer.
type heavies struct {
	groups *cgroup.Manager
	start  func(run func()) // runs the loop in the background
	done   <-chan struct{}  // closed when the sandbox ends
	pulse  pulse

	mu      sync.Mutex
	calls   map[*running]*load
	awake   bool // the loop runs
	light   bool // since the loop's last look a call began that may be a short one
	crowded bool // as pulse.want had it at the last look
}

// load is what is known of one call. But for weighed, which is guarded by heavies.mu, it
// is the loop's.
type load struct {
	cell, group string        // control groups: of the cell, and of the call in it
	due         time.Time     // of its first look
	known       bool          // used and at were seen
	first       time.Duration // used when the call was first looked at
	used        time.Duration
	at          time.Time
	heavy       bool
	rested      int // looks
	weighed     bool
}

// enter has a call looked after until leave.
func (h *heavies) enter(u *running, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calls == nil {
		h.calls = map[*running]*load{}
	}
	l := &load{cell: u.c.path, group: u.stage.group.Path(), due: now.Add(heavyLook)}
	h.calls[u] = l
	if now.Sub(u.c.heavy) < restLooks*heavyLook {
		l.heavy, l.due = true, now
		h.share(l, h.crowded)
	} else {
		h.light = true
	}
	u.c.heavy = time.Time{} // it has to be shown again
	if !h.awake {
		h.awake = true
		h.start(h.run)
	}
}

// leave gives the cell its share back, and does not look at the call again. It is safe
// to repeat.
func (h *heavies) leave(u *running) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.calls[u]; l != nil {
		h.share(l, false)
		delete(h.calls, u)
	}
}

// run looks at the calls until there have been none for restLooks.
func (h *heavies) run() {
	ticker := time.NewTicker(heavyLook)
	defer ticker.Stop()
	for without := 0; ; {
		var now time.Time
		select {
		case <-h.done:
			h.pulse.stop()
			return
		case now = <-ticker.C:
		}
		old, light := h.old(now)
		wanted := 0.0
		for _, l := range old {
			before := l.used
			wanted += l.look(h.groups.CPUTime(l.group), now)
			light = light || !l.heavy && l.used > before
		}
		if without++; h.weigh(old, h.pulse.want(wanted, light, now)) > 0 {
			without = 0
		}
		if without < restLooks {
			continue
		}
		h.pulse.stop() // before another loop may begin
		if h.sleep() {
			return
		}
	}
}

// sleep ends the loop unless a call has come.
func (h *heavies) sleep() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.awake = len(h.calls) > 0
	h.crowded = h.crowded && h.awake
	return !h.awake
}

// old are the calls that have run for long enough to be looked at. light tells whether one
// has begun since this was last asked that may be a short one.
func (h *heavies) old(now time.Time) (out map[*running]*load, light bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	light, h.light = h.light, false
	for u, l := range h.calls {
		if now.Before(l.due) {
			continue
		}
		if out == nil {
			out = map[*running]*load{}
		}
		out[u] = l
	}
	return out, light
}

// look takes in what a call's group has used so far; it returns how many processors a heavy
// one wants: as many as it used since the last look, and one at least.
func (l *load) look(used time.Duration, now time.Time) (wants float64) {
	if used < 0 {
		return 0
	}
	if !l.known {
		l.known, l.first, l.used, l.at = true, used, used, now
		return 0
	}
	spent, passed := used-l.used, now.Sub(l.at)
	l.used, l.at = used, now
	if l.rested++; spent*restShare >= passed {
		l.rested = 0
	}
	switch {
	case l.heavy:
		l.heavy = l.rested < restLooks
	case used-l.first >= heavyAfter && l.rested == 0:
		l.heavy = true
	}
	if !l.heavy {
		l.first = max(l.first, used-heavyAfter*3/4) // what it used long ago does not count
		return 0
	}
	return max(float64(spent)/float64(max(passed, 1)), 1)
}

// weigh gives the cells of calls that were looked at the share that they are to have, and
// remembers of which cells the next call has it at once. It returns how many calls there are.
func (h *heavies) weigh(looked map[*running]*load, crowded bool) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.crowded = crowded
	for u, l := range looked {
		if h.calls[u] == nil {
			continue // it has left
		}
		if l.heavy && l.used-l.first >= heavyAfter {
			u.c.heavy = l.at
		}
		h.share(l, l.heavy && crowded)
	}
	return len(h.calls)
}

// share gives the call's cell a small share or the usual one; h.mu is held.
func (h *heavies) share(l *load, small bool) {
	if small == l.weighed {
		return
	}
	weight := int64(cgroup.UsualWeight)
	if small {
		weight = heavyWeight
	}
	// Where it cannot be set, all calls are alike, as without it: at worst the cell's next call
	// is slower beside others.
	if _, err := h.groups.SetWeight(l.cell, weight); err == nil {
		l.weighed = small
	}
}
