package parts

import (
	"slices"
	"sync"
	"time"
)

// followWithin is how long after the end of a call of its session another one goes ahead
// of the line; as long as in internal/admission.
const followWithin = 20 * time.Millisecond

// room is what calls take while they run, handed out as the daemon's line does for one
// caller: so many at once, the rest in their order, but that a call of a session whose last
// one has just ended goes ahead of the line, once: the next one of its session waits for
// its turn again. It knows no budget, no shares, no deadlines and nothing of idle
// processors.
type room struct {
	mu      sync.Mutex
	free    int
	waiting []*place
	ended   map[string]time.Time // when calls of sessions ended that another may follow
}

// place is a call's in the room.
type place struct {
	session string
	follows bool // it went ahead
	in      chan struct{}
}

func newRoom(atOnce int) *room {
	return &room{free: atOnce, ended: map[string]time.Time{}}
}

// enter waits until there is room for a call.
func (r *room) enter(session string) *place {
	p := &place{session: session, in: make(chan struct{})}
	if !r.lineUp(p) {
		<-p.in
	}
	return p
}

// lineUp puts a call into the line unless it is in at once.
func (r *room) lineUp(p *place) (in bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.free > 0 {
		r.free--
		return true
	}
	if last, ok := r.ended[p.session]; ok {
		delete(r.ended, p.session)
		p.follows = time.Since(last) < followWithin
	}
	at := len(r.waiting)
	if p.follows {
		// Behind those that follow, too.
		if at = slices.IndexFunc(r.waiting, func(w *place) bool { return !w.follows }); at < 0 {
			at = len(r.waiting)
		}
	}
	r.waiting = slices.Insert(r.waiting, at, p)
	return false
}

// leave gives the room to the next call.
func (r *room) leave(p *place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		r.free++
		return
	}
	if !p.follows {
		r.ended[p.session] = time.Now()
	}
	close(r.waiting[0].in)
	r.waiting = r.waiting[1:]
}
