package containerd

import (
	"sync"
	"time"

	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// A call that goes on computing must not be what short calls wait for. The kernel shares
// a processor out fairly, and so has a short call wait for half of what it needs, behind
// each program that computes. So short calls come first, as schedulers with feedback have
// it: while calls that have used much processor time want all processors, each of their
// cells has a smaller share, until the call has rested or ended. It is never without:
// beside one other busy cell it has a seventeenth of the processor, and all of it where
// nobody else wants it. Alone that does not help, but makes it worse: who has a small share
// gets it in one piece, up to the kernel's next tick. See pulse.
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

	mu    sync.Mutex
	calls map[*running]*load
	awake bool // the loop runs
}

// load is what is known of one call. But for weighed, which is guarded by heavies.mu, it
// is the loop's.
type load struct {
	cell, group string // control groups: of the cell, and of the call in it
	since       time.Time
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
	h.calls[u] = &load{cell: u.c.path, group: u.stage.group.Path(), since: now}
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
	if l := h.calls[u]; l != nil && l.weighed {
		_, _ = h.groups.SetWeight(l.cell, cgroup.UsualWeight) // at worst its next call is slower beside others
	}
	delete(h.calls, u)
}

// run looks at the calls until there have been none for restLooks.
func (h *heavies) run() {
	ticker := time.NewTicker(heavyLook)
	defer ticker.Stop()
	defer h.pulse.stop()
	for without := 0; ; {
		var now time.Time
		select {
		case <-h.done:
			return
		case now = <-ticker.C:
		}
		old := h.old(now)
		wanted := 0.0
		for _, l := range old {
			wanted += l.look(h.groups.CPUTime(l.group), now)
		}
		crowded := h.pulse.want(wanted, now)
		for u, l := range old {
			h.weigh(u, l, l.heavy && crowded)
		}
		h.mu.Lock()
		if without++; len(h.calls) > 0 {
			without = 0
		}
		if without == restLooks {
			h.awake = false
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
	}
}

// old are the calls that have run for long enough to be looked at.
func (h *heavies) old(now time.Time) map[*running]*load {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out map[*running]*load
	for u, l := range h.calls {
		if now.Sub(l.since) < heavyLook {
			continue
		}
		if out == nil {
			out = map[*running]*load{}
		}
		out[u] = l
	}
	return out
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

// weigh gives the call's cell the share that it is to have.
func (h *heavies) weigh(u *running, l *load, small bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if small == l.weighed || h.calls[u] == nil {
		return
	}
	weight := int64(cgroup.UsualWeight)
	if small {
		weight = heavyWeight
	}
	// Where it cannot be set, all calls are alike, as without it.
	if _, err := h.groups.SetWeight(l.cell, weight); err == nil {
		l.weighed = small
	}
}
