package containerd

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/containerd/errdefs"
)

// makeTries bounds how often making a cell may fail before the call is told.
const makeTries = 2

const (
	failBackoffFirst = 250 * time.Millisecond
	failBackoffLast  = 30 * time.Second
	// restLast bounds how long filling rests after a cell while calls run.
	restLast = time.Second
	// activeFor is how long after a call another one is likely.
	activeFor = time.Second
	// endAfter is how long a dead cell may wait for calls to be served first.
	endAfter = time.Second
)

// plan starts what the pool's state asks for: cells for calls that wait, then one
// for stock, then the end of dead ones. It is to be called after every change;
// p.mu is held.
func (p *pool) plan() {
	if p.closed {
		p.end()
		if p.total() == 0 {
			select {
			case <-p.empty:
			default:
				close(p.empty)
			}
		}
		return
	}
	for p.makingN < p.cfg.makers {
		of := p.mostUrgent()
		if of == nil {
			break
		}
		if p.total() >= p.cfg.maxCells {
			// A dying cell makes room soon; an idle one of somebody else is to.
			if p.dyingN < of.queue.len()-of.making {
				p.evict(of)
			}
			break
		}
		p.start(of, false)
	}
	p.fill()
	p.end()
}

// total is all that there is and will soon be; p.mu is held.
func (p *pool) total() int { return len(p.cells) + p.makingN }

// mostUrgent is the class whose calls wait longest for a cell that nobody makes.
func (p *pool) mostUrgent() (best *classPool) {
	for _, of := range p.classes {
		if of.pause != nil || of.queue.len() <= of.making {
			continue
		}
		if best == nil || of.queue.oldest().Before(best.queue.oldest()) {
			best = of
		}
	}
	return best
}

// fill starts to make cells for stock. That is never to be felt by calls: while they
// come, one is made at a time, and filling rests after each as long as that took,
// and longer the more run. But while a call waits, stock is made with full force:
// the next ones would wait too.
func (p *pool) fill() {
	atOnce, resting := p.cfg.makers, p.rest != nil
	switch {
	case p.waits():
		resting = false
	case p.active():
		atOnce = 1
	}
	now := time.Now()
	for p.makingN < atOnce && !resting && p.total() < p.cfg.maxCells {
		var most *classPool
		lack := 0
		for _, of := range p.classes {
			n, again := p.lacks(of, now)
			p.lookAgain(again)
			if of.pause == nil && n > lack {
				most, lack = of, n
			}
		}
		if most == nil {
			return
		}
		p.start(most, true)
	}
}

// active tells whether calls run or came a moment ago; p.mu is held.
func (p *pool) active() bool { return p.busyN > 0 || time.Since(p.handed) < activeFor }

// waits tells whether any call waits for a cell that can be made; p.mu is held.
func (p *pool) waits() bool {
	for _, of := range p.classes {
		if of.queue.len() > 0 && of.pause == nil {
			return true
		}
	}
	return false
}

// start makes one cell in the background; p.mu is held.
func (p *pool) start(of *classPool, forStock bool) {
	p.makingN++
	of.making++
	p.cfg.background.Go(func() { p.make(of, forStock) })
}

func (p *pool) make(of *classPool, forStock bool) {
	ctx, cancel := context.WithTimeoutCause(p.cfg.ctx, createBudget, errors.New("cell was not made in time"))
	defer cancel()
	began := time.Now()
	c, err := p.cfg.maker.createCell(ctx, of.class)
	took := time.Since(began)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.makingN--
	of.making--
	of.used = time.Now()
	if err != nil {
		p.failed(of, err)
	} else {
		p.lastFail, of.backoff = nil, 0
		of.demand.made(took)
		of.count.Made++
		e := &entry{c: c, class: of, state: busy}
		p.cells[c] = e
		p.busyN++
		of.busy++
		if p.closed {
			p.destroy(e)
		} else {
			p.putBack(e)
		}
	}
	if forStock && p.active() {
		p.takeRest(min(took*time.Duration(1+p.busyN/runtime.GOMAXPROCS(0)), restLast))
	}
	p.plan()
}

// takeRest keeps filling from going on; p.mu is held.
func (p *pool) takeRest(d time.Duration) {
	if p.rest != nil || p.closed {
		return
	}
	p.rest = time.AfterFunc(d, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.rest = nil
		p.plan()
	})
}

// failed tells the calls that wait for this class, and pauses before the next try.
// The first failure in a row has neither: a shim may have died, and the next cell
// gets another.
func (p *pool) failed(of *classPool, err error) {
	p.lastFail = err
	of.count.Failed++
	again := of.backoff == 0 && errdefs.IsUnavailable(classify(err))
	if p.cfg.ctx.Err() == nil {
		p.cfg.log.Error("cell not made", "image", of.class.image, "isolation", string(of.class.isolation), "error", err)
	}
	of.backoff = min(max(of.backoff*2, failBackoffFirst), failBackoffLast)
	if again {
		return
	}
	told := classify(err)
	of.queue.all(func(w *waiter) {
		if w.tries++; w.tries < makeTries && errdefs.IsUnavailable(told) {
			return
		}
		of.queue.remove(w)
		w.fail <- told
	})
	if of.pause == nil && !p.closed {
		of.pause = time.AfterFunc(of.backoff, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			of.pause = nil
			p.plan()
		})
	}
}

// classify keeps the classes that a caller can act on; the rest is unavailable.
func classify(err error) error {
	if errdefs.IsFailedPrecondition(err) || errdefs.IsInvalidArgument(err) || errdefs.IsNotFound(err) {
		return err
	}
	return fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err)
}

// evict destroys the idle cell that is missed least, and tells whether there was
// one: a fresh one of another class than the one given, the larger stock first;
// else the one that its key used longest ago; p.mu is held.
func (p *pool) evict(not *classPool) bool {
	var most *classPool
	for _, of := range p.classes {
		if of != not && len(of.fresh) > 0 && (most == nil || len(of.fresh) > len(most.fresh)) {
			most = of
		}
	}
	front := p.unused.Front()
	switch {
	case most != nil && (not != nil || front == nil || len(most.fresh) > most.floor):
		p.destroy(most.fresh[0])
	case front != nil:
		e, _ := front.Value.(*entry)
		p.destroy(e)
	default:
		return false
	}
	return true
}

// destroy ends a cell in the background; p.mu is held. Its processes end at once;
// the rest waits while calls wait for cells, but not for long. It holds its place
// until it is gone.
func (p *pool) destroy(e *entry) {
	p.listDead(e)
	p.cfg.background.Go(func() {
		if err := p.cfg.maker.killCell(e.c); err != nil {
			p.cfg.log.Warn("cell not killed, it will be with its removal", "cell_id", e.c.id, "error", err)
		}
	})
}

// listDead puts a cell in the line of those that are to be removed; p.mu is held.
func (p *pool) listDead(e *entry) {
	p.unlist(e)
	p.forgetKey(e)
	e.state, e.since = dying, time.Now()
	e.class.dying++
	p.dyingN++
	e.at = p.ends.PushBack(e)
}

// end starts to remove dead cells, as many at a time as are made. While calls wait
// for cells, only what has been dead for a while or takes their room is removed, and
// one at a time; p.mu is held.
func (p *pool) end() {
	atOnce, waits := p.cfg.makers, !p.closed && p.waits()
	switch {
	case waits:
		atOnce = 1
	case p.closed:
		atOnce *= 4
	}
	for p.ending < atOnce {
		front := p.ends.Front()
		if front == nil {
			return
		}
		e, _ := front.Value.(*entry)
		if p.mayWait(e, waits) {
			return
		}
		p.ends.Remove(front)
		e.at = nil
		if e.lives {
			e.lives = false
			p.asideN--
		}
		p.ending++
		p.cfg.background.Go(func() { p.remove(e) })
	}
}

// remove removes a dead cell; one that does not go is tried again until it does.
func (p *pool) remove(e *entry) {
	for wait := failBackoffFirst; ; wait = min(wait*2, failBackoffLast) {
		err := p.cfg.maker.destroyCell(context.Background(), e.c)
		if err == nil {
			break
		}
		p.cfg.log.Error("cell not removed", "cell_id", e.c.id, "error", err)
		if !p.pauseEnding(wait) {
			break // closing: what is left is reaped as a whole
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending--
	p.dyingN--
	e.class.dying--
	delete(p.cells, e.c)
	p.plan()
}

// pauseEnding waits, and lets others be removed meanwhile. It is false when the
// runtime closes.
func (p *pool) pauseEnding(wait time.Duration) bool {
	count := func(n int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ending += n
		p.plan()
	}
	count(-1)
	defer count(1)
	select {
	case <-p.cfg.ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}
