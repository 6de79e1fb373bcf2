package containerd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox"
)

// pool owns all cells that no call has. It hands them to waiting calls in the
// order in which those came, has new ones made while calls wait or fewer than
// the wanted number are fresh, and destroys what is old, unused or suspect.
type pool struct {
	r *Runtime

	mu       sync.Mutex
	fresh    []*aCell        // never claimed
	kept     []*aCell        // belong to a reuse key, oldest use first
	busy     map[*aCell]bool // claimed
	making   map[class]int   // being made
	dying    int             // being destroyed
	waiters  []*waiter
	closed   bool
	lastFail error         // why the last try to make a cell failed
	backoff  time.Duration // pause after it
	retry    *time.Timer   // runs while pausing
	changed  chan struct{} // closed and renewed at each change, for close
}

// waiter is a call that waits for a cell.
type waiter struct {
	class class
	key   string
	got   chan *aCell // one element
	fail  chan error  // one element
	tries int         // how often a cell for it could not be made; guarded by the pool
}

// makeTries bounds how often making a cell may fail before the call is told.
const makeTries = 2

const (
	failBackoffFirst = 250 * time.Millisecond
	failBackoffLast  = 30 * time.Second
)

func newPool(r *Runtime) *pool {
	return &pool{r: r, busy: map[*aCell]bool{}, making: map[class]int{}, changed: make(chan struct{})}
}

// claim waits for a cell of the class that belongs to the key or to nobody yet.
func (p *pool) claim(ctx context.Context, cl class, key string) (*aCell, error) {
	w := &waiter{class: cl, key: key, got: make(chan *aCell, 1), fail: make(chan error, 1)}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, fmt.Errorf("sandbox is closed: %w", errdefs.ErrUnavailable)
	}
	p.waiters = append(p.waiters, w)
	p.dispatch()
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
	p.waiters = slices.DeleteFunc(p.waiters, func(x *waiter) bool { return x == w })
	select {
	case c := <-w.got: // it came at the same moment: nobody has used it
		p.putBack(c)
		p.dispatch()
	default:
	}
	return nil, fmt.Errorf("wait for a cell: %w", context.Cause(ctx))
}

// release takes a cell back after a call. keep tells whether it may serve its
// key again; otherwise it is destroyed in the background.
func (p *pool) release(c *aCell, keep bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.busy, c)
	worn := c.calls >= p.r.cfg.MaxCalls || time.Since(c.born) > p.r.cfg.MaxAge
	if keep && c.key != "" && !worn && !p.closed && c.alive() {
		p.putBack(c)
	} else {
		p.destroy(c)
	}
	p.dispatch()
}

// unclaim takes a cell back that ran nothing: its stage waits on.
func (p *pool) unclaim(c *aCell) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !c.alive() || c.key == "" && c.calls > 0 {
		delete(p.busy, c)
		p.destroy(c)
	} else {
		p.putBack(c)
	}
	p.dispatch()
}

// endKey destroys the idle cells of a key. Busy ones follow when they come back.
func (p *pool) endKey(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = slices.DeleteFunc(p.kept, func(c *aCell) bool {
		if c.key == key {
			p.destroy(c)
			return true
		}
		return false
	})
	for c := range p.busy {
		if c.key == key {
			c.key = "" // release then destroys it
		}
	}
	p.dispatch()
}

// sweep destroys what has been idle too long and cells whose init has ended.
func (p *pool) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = slices.DeleteFunc(p.kept, func(c *aCell) bool {
		old := now.Sub(c.since) > p.r.cfg.IdleTimeout || now.Sub(c.born) > p.r.cfg.MaxAge
		if old || !c.alive() {
			p.destroy(c)
			return true
		}
		return false
	})
	p.fresh = slices.DeleteFunc(p.fresh, func(c *aCell) bool {
		if !c.alive() || c.class != p.r.standardClass() && now.Sub(c.since) > p.r.cfg.IdleTimeout {
			p.destroy(c)
			return true
		}
		return false
	})
	p.dispatch()
}

// putBack makes a cell available; p.mu is held.
func (p *pool) putBack(c *aCell) {
	delete(p.busy, c)
	c.since = time.Now()
	if c.calls == 0 {
		c.key = ""
		p.fresh = append(p.fresh, c)
	} else {
		p.kept = append(p.kept, c)
	}
}

// dispatch serves waiting calls and starts what the rest needs; p.mu is held.
func (p *pool) dispatch() {
	if p.closed {
		p.signal()
		return
	}
	waiting := map[class]int{}
	p.waiters = slices.DeleteFunc(p.waiters, func(w *waiter) bool {
		c := p.take(w)
		if c == nil {
			waiting[w.class]++
			return false
		}
		c.key = w.key
		p.busy[c] = true
		w.got <- c
		return true
	})
	if p.retry == nil {
		for cl, n := range waiting {
			p.want(cl, n, true)
		}
		if p.r.warm.Load() {
			std := p.r.standardClass()
			p.want(std, waiting[std]+p.r.cfg.PoolSize-len(p.fresh), false)
		}
	}
	p.signal()
}

// take finds a cell for a waiting call: the one its key used last, else a fresh one.
func (p *pool) take(w *waiter) *aCell {
	pick := func(from *[]*aCell, ok func(*aCell) bool) *aCell {
		for i, c := range slices.Backward(*from) {
			if c.class == w.class && ok(c) && c.alive() {
				*from = slices.Delete(*from, i, i+1)
				return c
			}
		}
		return nil
	}
	if w.key != "" {
		if c := pick(&p.kept, func(c *aCell) bool { return c.key == w.key }); c != nil {
			return c
		}
	}
	return pick(&p.fresh, func(*aCell) bool { return true })
}

// want has cells made until n of the class are under way, as far as there is
// room. urgent makes room by destroying an idle cell of somebody else.
func (p *pool) want(cl class, n int, urgent bool) {
	for p.making[cl] < n {
		if p.total() >= p.r.cfg.MaxCells {
			// A dying cell makes room soon.
			if urgent && p.dying < n-p.making[cl] {
				p.evict(cl)
			}
			return
		}
		p.making[cl]++
		p.r.background.Go(func() { p.make(cl) })
	}
}

func (p *pool) total() int {
	n := len(p.fresh) + len(p.kept) + len(p.busy) + p.dying
	for _, m := range p.making {
		n += m
	}
	return n
}

// evict destroys the idle cell that is missed least.
func (p *pool) evict(cl class) {
	for i, c := range p.fresh {
		if c.class != cl {
			p.fresh = slices.Delete(p.fresh, i, i+1)
			p.destroy(c)
			return
		}
	}
	if len(p.kept) > 0 {
		c := p.kept[0]
		p.kept = p.kept[1:]
		p.destroy(c)
	}
}

// make makes one cell in the background.
func (p *pool) make(cl class) {
	ctx, cancel := context.WithTimeoutCause(p.r.ctx, createBudget, errors.New("cell was not made in time"))
	defer cancel()
	c, err := p.r.createCell(ctx, cl)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.making[cl]--; p.making[cl] == 0 {
		delete(p.making, cl)
	}
	switch {
	case err != nil:
		p.failed(cl, err)
	case p.closed:
		p.destroy(c)
	default:
		p.lastFail, p.backoff = nil, 0
		p.putBack(c)
	}
	p.dispatch()
}

// failed tells the calls that wait for this class, and pauses before the next try.
func (p *pool) failed(cl class, err error) {
	p.lastFail = err
	if p.r.ctx.Err() == nil {
		p.r.log.Error("cell not made", "image", cl.image, "isolation", string(cl.isolation), "error", err)
	}
	p.waiters = slices.DeleteFunc(p.waiters, func(w *waiter) bool {
		if w.class != cl {
			return false
		}
		told := classify(err)
		if w.tries++; w.tries < makeTries && errdefs.IsUnavailable(told) {
			return false
		}
		w.fail <- told
		return true
	})
	p.backoff = min(max(p.backoff*2, failBackoffFirst), failBackoffLast)
	if p.retry == nil && !p.closed {
		p.retry = time.AfterFunc(p.backoff, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.retry = nil
			p.dispatch()
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

// destroy removes a cell in the background; p.mu is held. One that does not go
// is tried again until it does: it holds its place meanwhile.
func (p *pool) destroy(c *aCell) {
	p.dying++
	p.r.background.Go(func() {
		for wait := failBackoffFirst; ; wait = min(wait*2, failBackoffLast) {
			err := p.r.destroyCell(context.Background(), c)
			if err == nil {
				break
			}
			p.r.log.Error("cell not removed", "cell_id", c.id, "error", err)
			select {
			case <-p.r.ctx.Done(): // closing: what is left is reaped as a whole
				err = nil
			case <-time.After(wait):
			}
			if err == nil {
				break
			}
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.dying--
		p.dispatch()
	})
}

func (p *pool) signal() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// close destroys all cells and waits until none is left or ctx ends.
func (p *pool) close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	if p.retry != nil {
		p.retry.Stop()
	}
	for _, w := range p.waiters {
		w.fail <- fmt.Errorf("sandbox is closing: %w", errdefs.ErrUnavailable)
	}
	for _, c := range append(p.fresh, p.kept...) {
		p.destroy(c)
	}
	p.waiters, p.fresh, p.kept = nil, nil, nil
	for p.total() > 0 {
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("close sandbox: cells are left: %w", context.Cause(ctx))
		}
		p.mu.Lock()
	}
	p.mu.Unlock()
	return nil
}

// state is what Ready and logs tell.
func (p *pool) state() (fresh, kept, busy int, lastFail error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.fresh), len(p.kept), len(p.busy), p.lastFail
}

// Pools implements sandbox.Runtime.
func (r *Runtime) Pools() []sandbox.Pool { return r.pool.pools() }

// pools counts the cells of each class.
func (p *pool) pools() []sandbox.Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := map[class]*sandbox.Pool{}
	of := func(cl class) *sandbox.Pool {
		if at[cl] == nil {
			at[cl] = &sandbox.Pool{Image: cl.image, Isolation: cl.isolation}
		}
		return at[cl]
	}
	of(p.r.standardClass()).Target = p.r.cfg.PoolSize
	for _, c := range p.fresh {
		of(c.class).Fresh++
	}
	for _, c := range p.kept {
		of(c.class).Kept++
	}
	for c := range p.busy {
		of(c.class).Busy++
	}
	for cl, n := range p.making {
		of(cl).Making += n
	}
	for _, w := range p.waiters {
		of(w.class).Waiting++
	}
	out := make([]sandbox.Pool, 0, len(at))
	for _, s := range at {
		out = append(out, *s)
	}
	return out
}
