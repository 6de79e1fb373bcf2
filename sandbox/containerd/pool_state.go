package containerd

import (
	"cmp"
	"slices"
	"time"

	"github.com/sandgate/sandgate/sandbox"
)

const (
	// measured is how many idle cells a sweep measures.
	measured = 4
	// maxClasses bounds those that are remembered without any cell or call.
	maxClasses = 64
)

// sweep destroys what has been idle too long, is too old or has ended, and measures
// what idle cells take.
func (p *pool) sweep(now time.Time) {
	p.measure()
	p.mu.Lock()
	defer p.mu.Unlock()
	replaced := map[*classPool]bool{}
	for _, e := range p.cells {
		if e.state != fresh && e.state != kept {
			continue
		}
		// Fresh cells are of one age: not all at once, or none would be left.
		old := now.Sub(e.c.born) > p.cfg.maxAge && (e.state == kept || !replaced[e.class])
		idle := now.Sub(e.c.since) > p.cfg.idleTimeout
		surplus := e.state == fresh && len(e.class.fresh) > p.target(e.class, now)
		switch {
		case old:
			replaced[e.class] = replaced[e.class] || e.state == fresh
			e.class.count.Retired++
			p.destroy(e)
		case !e.c.alive(), idle && (e.state == kept || surplus):
			p.destroy(e)
		}
	}
	p.fitMemory()
	p.forgetClasses()
	p.plan()
}

// forgetClasses drops those that had nothing to do for longest, if there are very
// many: an image can have any name; p.mu is held.
func (p *pool) forgetClasses() {
	for len(p.classes) > maxClasses {
		var oldest *classPool
		for _, of := range p.classes {
			idle := of.queue.len()+len(of.fresh)+of.kept+of.busy+of.making+of.dying == 0 && of.floor == 0 && of.pause == nil
			if idle && (oldest == nil || of.used.Before(oldest.used)) {
				oldest = of
			}
		}
		if oldest == nil {
			return
		}
		delete(p.classes, oldest.class)
	}
}

// measure looks at some fresh cells, without the lock: it reads files.
func (p *pool) measure() {
	p.mu.Lock()
	var some []*aCell
	for c, e := range p.cells {
		if e.state == fresh && len(some) < measured {
			some = append(some, c)
		}
	}
	p.mu.Unlock()
	sum, n := int64(0), int64(0)
	for _, c := range some {
		if b := p.cfg.maker.idleBytes(c); b > 0 {
			sum, n = sum+b, n+1
		}
	}
	if n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cellBytes = sum / n
}

// state is what Ready and logs tell.
func (p *pool) state() (fresh, kept, busy int, lastFail error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.freshN, p.unused.Len(), p.busyN, p.lastFail
}

// Pools implements sandbox.Runtime.
func (r *Runtime) Pools() []sandbox.Pool { return r.pool.pools() }

// pools tells the state and the counters of each class, the busiest first.
func (p *pool) pools() []sandbox.Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	sums := map[sandbox.Pool]*sandbox.Pool{}
	for _, of := range p.classes {
		// Cells for directories that cannot be written to, those on all processors, and
		// versions of an image are told together.
		name := sandbox.Pool{Image: of.class.image, Isolation: of.class.isolation}
		s := sums[name]
		if s == nil {
			s = &name
			sums[name] = s
		}
		s.Fresh, s.Kept, s.Busy = s.Fresh+len(of.fresh), s.Kept+of.kept, s.Busy+of.busy
		s.Making, s.Dying, s.Waiting = s.Making+of.making, s.Dying+of.dying, s.Waiting+of.queue.len()
		s.Target += p.target(of, now)
		s.Made, s.Claims, s.Dry = s.Made+of.count.Made, s.Claims+of.count.Claims, s.Dry+of.count.Dry
		s.Retired, s.Poisoned, s.Failed = s.Retired+of.count.Retired, s.Poisoned+of.count.Poisoned, s.Failed+of.count.Failed
	}
	out := make([]sandbox.Pool, 0, len(sums))
	for _, s := range sums {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b sandbox.Pool) int {
		return cmp.Or(cmp.Compare(b.Claims, a.Claims), cmp.Compare(a.Image, b.Image), cmp.Compare(a.Isolation, b.Isolation))
	})
	return out
}
