package containerd

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// maker makes and ends cells: all that the pool needs of a runtime.
type maker interface {
	createCell(ctx context.Context, cl class) (*aCell, error)
	// killCell ends a cell's processes and nothing else; it does not wait.
	killCell(c *aCell) error
	destroyCell(ctx context.Context, c *aCell) error
	// idleBytes measures the memory that an idle cell takes with everything that it
	// brings; 0 if that cannot be told.
	idleBytes(c *aCell) int64
}

// poolConfig is what a pool is made from. All fields are required unless said
// otherwise.
type poolConfig struct {
	maker       maker
	standard    class         // is kept ready without any demand
	floor       int           // fresh cells of the standard class, at least
	ceiling     int           // fresh cells of a class, at most
	maxCells    int           // of all kinds
	makers      int           // cells made at a time while calls wait
	idleTimeout time.Duration // of kept cells, and of fresh ones that nobody asks for
	maxAge      time.Duration
	maxCalls    int64
	idleMemory  int64           // bytes that idle cells may take together; 0 means no bound
	ctx         context.Context // ends when the runtime closes
	background  *sync.WaitGroup // of the runtime's goroutines
	log         *slog.Logger
}

// pool owns all cells that no call has. It hands them to waiting calls, in turn
// between their owners; has new ones made while calls wait or fewer are fresh
// than demand asks for; and destroys what is old, unused or suspect.
type pool struct {
	cfg poolConfig

	mu      sync.Mutex
	classes map[class]*classPool
	cells   map[*aCell]*entry
	keys    map[string]map[*entry]bool // kept and busy cells of a reuse key
	unused  *list.List                 // of kept *entry, the one used longest ago first
	freshN  int
	busyN   int
	makingN int
	dyingN  int

	handed time.Time // when a call got a cell last
	left   time.Time // when a call gave one back last
	warm   bool      // fresh cells are kept
	closed bool
	empty  chan struct{} // closed when closed and nothing is left
	rest   *time.Timer   // runs while filling rests
	ending int           // of dying, those being destroyed at present
	asideN int           // of dying, those that live
	again  *time.Timer   // runs while work waits for a lull
	ends   *list.List    // of *entry, those waiting to be

	againAt   time.Time // when again fires
	cellBytes int64     // that an idle cell takes, as measured; 0 before
	lastFail  error     // why the last try to make a cell failed
}

// entry is what the pool knows of a cell.
type entry struct {
	c     *aCell
	class *classPool
	state state
	dir   workspace     // of a veiled cell: that of its calls, as long as it belongs to them
	at    *list.Element // in unused while kept, in ends while waiting to be destroyed
	over  bool          // its key has ended, or its reset is in doubt: it serves nobody any more
	since time.Time     // of dying
	lives bool          // of dying: its own processes have not been killed yet
}

// state is where a cell is in its life.
type state int

const (
	fresh state = iota // never claimed
	kept               // belongs to a reuse key, idle
	busy               // claimed
	dying              // being destroyed
)

func newPool(cfg poolConfig) *pool {
	p := &pool{
		cfg: cfg, classes: map[class]*classPool{}, cells: map[*aCell]*entry{}, keys: map[string]map[*entry]bool{},
		unused: list.New(), ends: list.New(), empty: make(chan struct{}),
	}
	p.classOf(cfg.standard).floor = cfg.floor
	return p
}

// claim waits for a cell of the class that belongs to the key or to nobody yet. The
// class of a veiled call has its directory: the cell is one that has it, or none yet.
// Calls that wait are served in turn between owners, and in their order within one.
func (p *pool) claim(ctx context.Context, cl class, key, owner string) (*aCell, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, fmt.Errorf("sandbox is closed: %w", errdefs.ErrUnavailable)
	}
	of := p.classOf(cl.made())
	if e := p.take(of, key, cl.dir); e != nil {
		p.hand(e, key, cl.dir)
		p.plan()
		p.mu.Unlock()
		return e.c, nil
	}
	of.count.Dry++
	of.wantedFor(key)
	w := &waiter{key: key, owner: owner, dir: cl.dir, since: time.Now(), got: make(chan *aCell, 1), fail: make(chan error, 1)}
	of.queue.add(w)
	p.plan()
	p.mu.Unlock()
	select {
	case c := <-w.got:
		return c, nil
	case err := <-w.fail:
		return nil, err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case c := <-w.got: // it came at the same moment: nobody has used it
		p.putBack(p.cells[c])
	default:
		of.queue.remove(w)
	}
	p.plan()
	return nil, fmt.Errorf("wait for a cell: %w", context.Cause(ctx))
}

// take finds an idle cell: one that its key used, else a fresh one; p.mu is held.
func (p *pool) take(of *classPool, key string, dir workspace) *entry {
	if key != "" {
		best, cells := p.bestKept(of, key, dir)
		if best != nil && !best.c.alive() {
			p.destroy(best)
			return p.take(of, key, dir)
		}
		if best != nil && (best.c.prepared() || !of.class.veiled() || cells >= veiledCells) {
			return best
		}
		if best != nil {
			if e := p.takeFresh(of, key); e != nil {
				return e
			}
			of.wantedFor(key) // so that there is a second one soon
			return best
		}
	}
	return p.takeFresh(of, key)
}

// bestKept is the idle cell of a key that serves a call soonest: one whose stage is
// made, among those the one used last. cells is how many the key has; p.mu is held. All
// of them are those with the directory, which a cell never has of another call.
func (p *pool) bestKept(of *classPool, key string, dir workspace) (best *entry, cells int) {
	for e := range p.keys[key] {
		if e.class != of || e.dir != dir {
			continue
		}
		cells++
		if e.state != kept {
			continue
		}
		if best == nil || e.c.prepared() != best.c.prepared() && e.c.prepared() ||
			e.c.prepared() == best.c.prepared() && e.c.since.After(best.c.since) {
			best = e
		}
	}
	return best, cells
}

// takeFresh finds a cell that nobody has used; p.mu is held.
func (p *pool) takeFresh(of *classPool, key string) *entry {
	for n := len(of.fresh); n > 0; n = len(of.fresh) {
		e := of.fresh[n-1]
		if e.c.alive() {
			of.wantedFor(key)
			return e
		}
		p.destroy(e)
	}
	return nil
}

// hand gives an idle cell to a call; p.mu is held.
func (p *pool) hand(e *entry, key string, dir workspace) {
	p.unlist(e)
	e.state, e.c.key, e.dir = busy, key, dir
	if key != "" {
		if p.keys[key] == nil {
			p.keys[key] = map[*entry]bool{}
		}
		p.keys[key][e] = true
	}
	p.busyN++
	p.handed = time.Now()
	e.class.busy++
	e.class.count.Claims++
}

// unlist takes a cell out of where its state has it; p.mu is held. Its key keeps it.
func (p *pool) unlist(e *entry) {
	switch e.state {
	case fresh:
		p.freshN--
		for i, have := range e.class.fresh {
			if have == e {
				e.class.fresh = append(e.class.fresh[:i], e.class.fresh[i+1:]...)
				break
			}
		}
	case kept:
		p.unused.Remove(e.at)
		e.at = nil
		e.class.kept--
	case busy:
		p.busyN--
		e.class.busy--
	case dying:
	}
}

// forgetKey parts a cell from its reuse key; p.mu is held.
func (p *pool) forgetKey(e *entry) {
	if of := p.keys[e.c.key]; of != nil {
		delete(of, e)
		if len(of) == 0 {
			delete(p.keys, e.c.key)
		}
	}
	e.c.key = ""
}

// release takes a cell back after a call. keep tells whether it may serve its
// key again; otherwise it is destroyed in the background.
func (p *pool) release(c *aCell, keep bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.cells[c]
	if e == nil || e.state != busy {
		return
	}
	p.left = time.Now()
	worn := c.calls >= p.cfg.maxCalls || time.Since(c.born) > p.cfg.maxAge
	switch {
	case c.key == "" && !p.closed && !e.over && c.alive() && !c.class.veiled():
		p.setAside(e)
	case p.closed || e.over || c.key == "" || !keep && !worn:
		p.destroy(e)
	case worn:
		e.class.count.Retired++
		p.destroy(e)
	case !c.alive():
		p.destroy(e)
	default:
		p.putBack(e)
	}
	p.plan()
}

// doubt marks a claimed cell as one whose reset is in doubt: whoever gives it
// back, it serves nobody any more.
func (p *pool) doubt(c *aCell) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.cells[c]; e != nil && !e.over {
		e.over = true
		e.class.count.Poisoned++
	}
}

// unclaim takes a cell back that ran nothing: its stage waits on.
func (p *pool) unclaim(c *aCell) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.cells[c]
	if e == nil || e.state != busy {
		return
	}
	// What has a directory is not fresh any more, even if no call has seen it.
	if p.closed || e.over || !c.alive() || c.calls == 0 && c.attached != nil || c.key == "" && c.calls > 0 {
		p.destroy(e)
	} else {
		p.putBack(e)
	}
	p.plan()
}

// putBack makes a claimed or a new cell available; p.mu is held.
func (p *pool) putBack(e *entry) {
	p.unlist(e)
	e.c.since = time.Now()
	if e.c.calls > 0 {
		if w := e.class.queue.popKey(e.c.key, e.dir); w != nil {
			p.hand(p.keep(e), w.key, w.dir)
			w.got <- e.c
			return
		}
		p.keep(e)
		p.fitMemory()
		return
	}
	p.forgetKey(e)
	e.state, e.dir = fresh, workspace{}
	p.freshN++
	e.class.fresh = append(e.class.fresh, e)
	p.serve(e.class)
	p.fitMemory()
}

// keep lists a cell as kept; p.mu is held.
func (p *pool) keep(e *entry) *entry {
	e.state = kept
	e.at = p.unused.PushBack(e)
	e.class.kept++
	return e
}

// serve hands fresh cells to the calls that wait; p.mu is held.
func (p *pool) serve(of *classPool) {
	for of.queue.len() > 0 && len(of.fresh) > 0 {
		e := of.fresh[len(of.fresh)-1]
		if !e.c.alive() {
			p.destroy(e)
			continue
		}
		w := of.queue.pop()
		p.hand(e, w.key, w.dir)
		w.got <- e.c
	}
}

// endKey destroys the idle cells of a key. Busy ones follow when they come back.
func (p *pool) endKey(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := range p.keys[key] {
		if e.state == kept {
			p.destroy(e)
		} else {
			e.over = true
		}
	}
	p.plan()
}

// warmUp begins to keep fresh cells.
func (p *pool) warmUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.warm = true
	p.plan()
}

// close destroys all cells and waits until none is left or ctx ends.
func (p *pool) close(ctx context.Context) error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		for _, of := range p.classes {
			for w := of.queue.pop(); w != nil; w = of.queue.pop() {
				w.fail <- fmt.Errorf("sandbox is closing: %w", errdefs.ErrUnavailable)
			}
			of.stopPause()
		}
		for _, timer := range []*time.Timer{p.rest, p.again} {
			if timer != nil {
				timer.Stop()
			}
		}
		for _, e := range p.cells {
			if e.state == fresh || e.state == kept {
				p.destroy(e)
			}
		}
		p.plan()
	}
	p.mu.Unlock()
	select {
	case <-p.empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close sandbox: cells are left: %w", context.Cause(ctx))
	}
}
