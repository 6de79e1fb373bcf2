package containerd

import (
	"math"
	"time"

	"github.com/sandgate/sandgate/sandbox"
)

const (
	// demandWindow is how far back the arrival rate looks: what came that long ago
	// counts a third of what comes now.
	demandWindow = 10 * time.Second
	// demandAhead is how many times the making of one cell the stock is to last, and
	// demandLeast for how long at least: calls come in bursts.
	demandAhead = 4
	demandLeast = 500 * time.Millisecond
	// makeWeight is what the last cell counts in the mean time of making.
	makeWeight = 0.2
)

// demand follows how fast fresh cells of a class are asked for and made.
type demand struct {
	rate float64       // per second, at seen
	seen time.Time     // of the last arrival
	make time.Duration // that a cell takes, exponential mean; 0 before the first
}

// arrived counts a call that needed a fresh cell.
func (d *demand) arrived(now time.Time) {
	d.rate = d.now(now) + 1/demandWindow.Seconds()
	d.seen = now
}

// now is the rate per second at a time.
func (d *demand) now(now time.Time) float64 {
	if d.rate == 0 {
		return 0
	}
	return d.rate * math.Exp(-now.Sub(d.seen).Seconds()/demandWindow.Seconds())
}

// made takes in how long a cell took.
func (d *demand) made(took time.Duration) {
	if d.make == 0 {
		d.make = took
		return
	}
	d.make += time.Duration(makeWeight * float64(took-d.make))
}

// stock is how many fresh cells the present demand asks for.
func (d *demand) stock(now time.Time) int {
	horizon := max(demandAhead*d.make, demandLeast)
	return int(math.Ceil(d.now(now)*horizon.Seconds() - 0.25)) // what is nearly nothing is nothing
}

// classPool is what the pool has of one class. It is guarded by pool.mu.
type classPool struct {
	class   class
	floor   int
	fresh   []*entry // the last used first
	kept    int
	busy    int
	making  int
	dying   int
	queue   queue
	demand  demand
	session time.Time    // when a key last wanted a fresh cell
	lacking time.Time    // since when it has fewer fresh cells than wanted
	count   sandbox.Pool // counters only

	backoff time.Duration // pause after the last failure
	pause   *time.Timer   // runs while pausing
	used    time.Time     // when it last had anything to do
}

// wantedFor notes that a call of a key, or of none, wants a fresh cell; pool.mu is held.
func (of *classPool) wantedFor(key string) {
	now := time.Now()
	of.demand.arrived(now)
	if key != "" {
		of.session = now
	}
}

// classOf finds or makes the pool of a class; p.mu is held.
func (p *pool) classOf(cl class) *classPool {
	of := p.classes[cl]
	if of == nil {
		of = &classPool{class: cl}
		p.classes[cl] = of
	}
	of.used = time.Now()
	return of
}

// target is how many fresh cells the pool wants of a class now; p.mu is held.
func (p *pool) target(of *classPool, now time.Time) int {
	if !p.warm {
		return 0
	}
	want := min(max(of.floor, of.demand.stock(now)), p.cfg.ceiling)
	if of.class.veiled() && !of.session.IsZero() && (now.Sub(of.session) < p.cfg.idleTimeout || of.kept+of.busy > 0) {
		// Such a cell takes a hundred times as long to make as to use: where keys
		// have some, the next one finds one.
		want = min(max(want, 1), p.cfg.ceiling)
	}
	if room := p.idleRoom(); room >= 0 {
		// What others have idle is there already: it is not driven out for stock.
		want = min(want, max(room-(p.freshN-len(of.fresh))-p.unused.Len(), 0))
	}
	return want
}

// idleRoom is how many idle cells the memory budget lets be, at least one; -1 for
// no bound.
func (p *pool) idleRoom() int {
	if p.cfg.idleMemory <= 0 || p.cellBytes <= 0 {
		return -1
	}
	return int(max(p.cfg.idleMemory/p.cellBytes, 1))
}

// fitMemory destroys the idle cells that are missed least until the rest fits the
// budget; p.mu is held.
func (p *pool) fitMemory() {
	room := p.idleRoom()
	for room >= 0 && p.freshN+p.unused.Len() > room {
		if !p.evict(nil) {
			return
		}
	}
}

func (of *classPool) stopPause() {
	if of.pause != nil {
		of.pause.Stop()
		of.pause = nil
	}
}
