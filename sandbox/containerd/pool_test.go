package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cell"
)

// fakeMaker makes cells that are nothing but names.
type fakeMaker struct {
	makeTakes, endTakes time.Duration
	bytes               int64

	mu     sync.Mutex
	fail   func(class) error // nil: none fails
	made   int
	alive  map[*aCell]bool
	making int // at present
	most   int // makings at a time, seen
	killed int
}

func (m *fakeMaker) createCell(ctx context.Context, cl class) (*aCell, error) {
	m.mu.Lock()
	m.making++
	m.most = max(m.most, m.making)
	fail := m.fail
	m.mu.Unlock()
	select {
	case <-time.After(m.makeTakes):
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.making--
	if fail != nil {
		if err := fail(cl); err != nil {
			return nil, err
		}
	}
	m.made++
	c := &aCell{id: fmt.Sprintf("c%d", m.made), class: cl, born: time.Now(), gone: make(chan struct{})}
	m.alive[c] = true
	return c, nil
}

func (m *fakeMaker) killCell(*aCell) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.killed++
	return nil
}

func (m *fakeMaker) destroyCell(_ context.Context, c *aCell) error {
	time.Sleep(m.endTakes) // as long as it takes: the test's clock is a false one
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.alive[c] {
		return fmt.Errorf("cell %s is destroyed twice", c.id)
	}
	delete(m.alive, c)
	return nil
}

func (m *fakeMaker) living() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.alive)
}

func (m *fakeMaker) seen() (made, most, killed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.made, m.most, m.killed
}

func (m *fakeMaker) idleBytes(*aCell) int64 { return m.bytes }

var (
	hostClass  = class{image: sandbox.HostImage, isolation: sandbox.IsolationRunc}
	otherClass = class{image: "other", digest: "sha256:x", isolation: sandbox.IsolationRunc}
)

// testPool runs in a bubble of false time and is closed at its end.
func testPool(t *testing.T, change func(*poolConfig, *fakeMaker), run func(t *testing.T, p *pool, m *fakeMaker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMaker{makeTakes: 50 * time.Millisecond, endTakes: 20 * time.Millisecond, alive: map[*aCell]bool{}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var background sync.WaitGroup
		cfg := poolConfig{
			maker: m, standard: hostClass, floor: 3, ceiling: 8, maxCells: 16, makers: 2,
			idleTimeout: time.Minute, maxAge: time.Hour, maxCalls: 100,
			ctx: ctx, background: &background, log: slog.New(slog.DiscardHandler),
		}
		if change != nil {
			change(&cfg, m)
		}
		p := newPool(cfg)
		run(t, p, m)
		p.mu.Lock()
		var held []*aCell
		for c, e := range p.cells {
			if e.state == busy {
				held = append(held, c)
			}
		}
		p.mu.Unlock()
		for _, c := range held {
			p.release(c, false)
		}
		if err := p.close(t.Context()); err != nil {
			t.Error(err)
		}
		background.Wait()
		if m.living() != 0 || p.total() != 0 {
			t.Errorf("%d cells left, the pool counts %d, want none", m.living(), p.total())
		}
		p.check(t)
	})
}

// check looks that all counts agree with the cells.
func (p *pool) check(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	n := map[state]int{}
	for c, e := range p.cells {
		n[e.state]++
		if c != e.c || e.state == fresh && (c.key != "" || !slices.Contains(e.class.fresh, e)) || e.state == kept && (c.key == "" || !p.keys[c.key][e]) {
			t.Errorf("cell %s in state %d with key %q is in the wrong place", c.id, e.state, c.key)
		}
	}
	sum := map[state]int{}
	for _, of := range p.classes {
		sum[fresh] += len(of.fresh)
		sum[kept] += of.kept
		sum[busy] += of.busy
		sum[dying] += of.dying
	}
	if n[fresh] != p.freshN || n[kept] != p.unused.Len() || n[busy] != p.busyN || n[dying] != p.dyingN {
		t.Errorf("cells by state %v, counted %d %d %d %d", n, p.freshN, p.unused.Len(), p.busyN, p.dyingN)
	}
	for s, want := range n {
		if sum[s] != want {
			t.Errorf("state %d: classes count %d, want %d", s, sum[s], want)
		}
	}
	if p.total() > p.cfg.maxCells {
		t.Errorf("%d cells, want at most %d", p.total(), p.cfg.maxCells)
	}
}

func get(t *testing.T, p *pool, cl class, key, owner string) *aCell {
	t.Helper()
	c, err := p.claim(t.Context(), cl, key, owner)
	if err != nil {
		t.Fatal(err)
	}
	if c.key != key {
		t.Errorf("cell for key %q has key %q", key, c.key)
	}
	return c
}

// serve is one call in a cell.
func giveBack(p *pool, c *aCell, keep bool) {
	c.calls++
	p.release(c, keep)
}

func TestPoolKeepsItsFloor(t *testing.T) {
	testPool(t, nil, func(t *testing.T, p *pool, m *fakeMaker) {
		time.Sleep(time.Second)
		if made, _, _ := m.seen(); made != 0 {
			t.Errorf("%d cells made before the pool was warm", made)
		}
		p.warmUp()
		time.Sleep(time.Second)
		_, most, _ := m.seen()
		if s := p.pools(); len(s) != 1 || s[0].Fresh != 3 || s[0].Target != 3 || s[0].Made != 3 || most > 2 {
			t.Errorf("got %+v with %d made at a time, want 3 fresh ones, 2 at a time", s, most)
		}
	})
}

func TestPoolGrowsWithDemandAndShrinksAfter(t *testing.T) {
	testPool(t, nil, func(t *testing.T, p *pool, _ *fakeMaker) {
		p.warmUp()
		time.Sleep(time.Second)
		for range 300 { // single-use calls, 15 in a second
			c := get(t, p, hostClass, "", "a")
			time.Sleep(60 * time.Millisecond)
			giveBack(p, c, false)
			time.Sleep(6 * time.Millisecond)
		}
		if s := p.pools()[0]; s.Target < 6 || s.Target > 8 {
			t.Errorf("target is %d at 15 calls a second and 50 ms for a cell, want 6 to 8", s.Target)
		}
		for range 60 {
			time.Sleep(2 * time.Second)
			p.sweep(time.Now())
		}
		if s := p.pools()[0]; s.Target != 3 || s.Fresh != 3 || s.Dying != 0 {
			t.Errorf("two minutes later: %+v, want the floor of 3", s)
		}
	})
}

func TestPoolServesOwnersInTurn(t *testing.T) {
	change := func(cfg *poolConfig, _ *fakeMaker) { cfg.makers, cfg.floor = 1, 0 }
	testPool(t, change, func(t *testing.T, p *pool, _ *fakeMaker) {
		var mu sync.Mutex
		var order []string
		ask := func(owner string, i int) {
			go func() {
				c, err := p.claim(t.Context(), hostClass, "", owner)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, fmt.Sprint(owner, i))
				mu.Unlock()
				giveBack(p, c, false)
			}()
			synctest.Wait()
		}
		for i := range 4 {
			ask("a", i)
		}
		ask("b", 0)
		ask("c", 0)
		ask("b", 1)
		time.Sleep(3 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if got, want := fmt.Sprint(order), "[a0 b0 c0 a1 b1 a2 a3]"; got != want {
			t.Errorf("served %s, want %s", got, want)
		}
	})
}

func TestPoolKeepsKeysApart(t *testing.T) {
	change := func(cfg *poolConfig, _ *fakeMaker) { cfg.floor, cfg.maxCells = 0, 3 }
	testPool(t, change, func(t *testing.T, p *pool, _ *fakeMaker) {
		a, b := get(t, p, hostClass, "a", "x"), get(t, p, hostClass, "b", "x")
		giveBack(p, a, true)
		giveBack(p, b, true)
		if got := get(t, p, hostClass, "b", "x"); got != b {
			t.Errorf("key b got %s, want its own cell %s", got.id, b.id)
		}
		c := get(t, p, hostClass, "c", "x")
		if c == a {
			t.Error("key c got a's cell")
		}
		p.unclaim(c) // it ran nothing
		if got := get(t, p, hostClass, "d", "x"); got != c {
			t.Errorf("key d got %s, want the cell %s that ran nothing", got.id, c.id)
		}
		p.check(t)
		if got := get(t, p, otherClass, "a", "x"); got == a || got.class != otherClass {
			t.Errorf("another image got %s of %s", got.id, got.class.image)
		}
		// It had to make room: a's idle cell is the one that is missed least.
		if s := p.pools(); s[0].Kept != 0 {
			t.Errorf("got %+v, want a's cell evicted", s)
		}
		p.endKey("b") // while it is busy
		giveBack(p, b, true)
		time.Sleep(time.Second)
		if got := p.pools()[0].Busy; got != 1 {
			t.Errorf("%d busy, want only d's", got)
		}
	})
}

// In gVisor a stage takes as long as a short program: a key's calls take two cells
// in turn.
func TestCallsInGVisorTakeTwoCellsInTurn(t *testing.T) {
	cl := class{image: sandbox.HostImage, isolation: sandbox.IsolationGVisor, dir: workspace{Workspace: sandbox.Workspace{HostDir: "/w"}}}
	testPool(t, nil, func(t *testing.T, p *pool, m *fakeMaker) {
		p.warmUp()
		used := map[*aCell]bool{}
		var last *aCell
		repeated := 0
		for range 100 {
			c := get(t, p, cl, "a", "x")
			if c.calls > 0 && !c.prepared() {
				time.Sleep(6 * time.Millisecond) // as whoever has claimed it waits
			}
			if c == last {
				repeated++
			}
			last, used[c] = c, true
			time.Sleep(10 * time.Millisecond)
			s := &staging{done: make(chan struct{})}
			c.staging = s
			time.AfterFunc(6*time.Millisecond, func() { close(s.done) })
			giveBack(p, c, true)
			p.check(t)
		}
		if len(used) != veiledCells || repeated > 60 || m.living() > veiledCells+3 {
			t.Errorf("%d cells used, %d times the same again, %d alive: want %d in turn and no further one", len(used), repeated, m.living(), veiledCells)
		}
	})
}

func TestKeyOfAWaitingCallGetsItsOwnCellFirst(t *testing.T) {
	change := func(cfg *poolConfig, _ *fakeMaker) { cfg.floor, cfg.maxCells = 0, 1 }
	testPool(t, change, func(t *testing.T, p *pool, m *fakeMaker) {
		a := get(t, p, hostClass, "a", "x")
		got := make(chan *aCell, 2)
		for range 2 {
			go func() {
				c, err := p.claim(t.Context(), hostClass, "a", "x")
				if err != nil {
					t.Error(err)
				}
				got <- c
			}()
		}
		synctest.Wait()
		for range 2 {
			giveBack(p, a, true)
			if c := <-got; c != a {
				t.Errorf("got %v, want the key's own cell", c)
			}
		}
		if made, _, _ := m.seen(); made != 1 {
			t.Errorf("%d cells made, want 1", made)
		}
	})
}

func TestWornAndDoubtfulCellsAreRetiredAndCounted(t *testing.T) {
	change := func(cfg *poolConfig, _ *fakeMaker) { cfg.floor, cfg.maxCalls = 0, 2 }
	testPool(t, change, func(t *testing.T, p *pool, m *fakeMaker) {
		c := get(t, p, hostClass, "a", "x")
		giveBack(p, c, true)
		c = get(t, p, hostClass, "a", "x")
		giveBack(p, c, true) // its second call
		d := get(t, p, hostClass, "b", "x")
		p.doubt(d)
		giveBack(p, d, true)
		old := get(t, p, hostClass, "c", "x")
		time.Sleep(2 * time.Hour)
		giveBack(p, old, true)
		once := get(t, p, hostClass, "", "x")
		giveBack(p, once, false)
		time.Sleep(time.Second)
		s := p.pools()[0]
		if s.Retired != 2 || s.Poisoned != 1 || s.Kept+s.Fresh+s.Busy+s.Dying != 0 || s.Claims != 5 || s.Made != 4 || s.Dry != 4 {
			t.Errorf("got %+v, want 2 retired, 1 poisoned, 5 claims, 4 dry, nothing left", s)
		}
		if _, _, killed := m.seen(); killed != 3 { // nothing is left in the one that served a single call
			t.Errorf("%d cells killed at once, want 3", killed)
		}
	})
}

func TestOldFreshCellsAreReplacedOneByOne(t *testing.T) {
	testPool(t, nil, func(t *testing.T, p *pool, m *fakeMaker) {
		p.warmUp()
		time.Sleep(2 * time.Hour)
		for range 3 {
			p.sweep(time.Now())
			if s := p.pools()[0]; s.Fresh < 2 {
				t.Errorf("%d fresh ones while they are replaced, want at least 2", s.Fresh)
			}
			time.Sleep(2 * time.Second)
		}
		p.sweep(time.Now())
		made, _, _ := m.seen()
		if s := p.pools()[0]; s.Fresh != 3 || s.Retired != 3 || made != 6 {
			t.Errorf("got %+v, want all 3 replaced", s)
		}
	})
}

func TestEndedCellsAreNeverHandedOut(t *testing.T) {
	testPool(t, nil, func(t *testing.T, p *pool, _ *fakeMaker) {
		p.warmUp()
		a := get(t, p, hostClass, "a", "x")
		giveBack(p, a, true)
		close(a.gone)
		time.Sleep(time.Second)
		p.mu.Lock()
		for _, e := range p.classes[hostClass].fresh[1:] {
			close(e.c.gone)
		}
		p.mu.Unlock()
		b := get(t, p, hostClass, "a", "x")
		if b == a || !b.alive() {
			t.Error("got a cell whose init has ended")
		}
		p.unclaim(b)
		time.Sleep(time.Second)
		p.sweep(time.Now())
		time.Sleep(time.Second)
		p.check(t)
		if s := p.pools()[0]; s.Fresh != 3 {
			t.Errorf("%d fresh ones, want 3 live ones", s.Fresh)
		}
	})
	// The end of the connection tells it sooner than containerd does.
	host, other := net.Pipe()
	c := &aCell{gone: make(chan struct{}), conn: cell.NewConn(host, host)}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.conn.Hello(t.Context()); err == nil || c.alive() {
		t.Errorf("a cell whose connection has ended: got %v, alive %t", err, c.alive())
	}
}

func TestFailureIsToldAndPausesItsClassOnly(t *testing.T) {
	gone := fmt.Errorf("image is gone: %w", errdefs.ErrNotFound)
	change := func(_ *poolConfig, m *fakeMaker) {
		m.fail = func(cl class) error {
			if cl == otherClass {
				return gone
			}
			return nil
		}
	}
	testPool(t, change, func(t *testing.T, p *pool, m *fakeMaker) {
		if _, err := p.claim(t.Context(), otherClass, "", "x"); !errdefs.IsNotFound(err) {
			t.Errorf("got %v, want what made it fail", err)
		}
		began := time.Now()
		get(t, p, hostClass, "", "x")
		if d := time.Since(began); d > 60*time.Millisecond {
			t.Errorf("another class waited %v, want its making alone", d)
		}
		m.mu.Lock()
		m.fail = func(class) error { return errors.New("sick") }
		m.mu.Unlock()
		began = time.Now()
		if _, err := p.claim(t.Context(), hostClass, "", "x"); !errdefs.IsUnavailable(err) {
			t.Errorf("got %v, want unavailable", err)
		}
		if d := time.Since(began); d < failBackoffFirst {
			t.Errorf("told after %v, want a second try after a pause", d)
		}
		if _, _, _, last := p.state(); last == nil {
			t.Error("the last failure is not told")
		}
		m.mu.Lock()
		m.fail = nil
		m.mu.Unlock()
		get(t, p, hostClass, "", "x")
		if _, _, _, last := p.state(); last != nil {
			t.Errorf("failure %v is told after a success", last)
		}
		if s := p.pools(); s[0].Failed != 3 || s[1].Failed != 1 {
			t.Errorf("got %+v, want 3 and 1 failures", s)
		}
	})
}

func TestIdleCellsFitTheMemoryBudget(t *testing.T) {
	change := func(cfg *poolConfig, m *fakeMaker) {
		m.bytes, cfg.idleMemory = 10<<20, 45<<20
	}
	testPool(t, change, func(t *testing.T, p *pool, _ *fakeMaker) {
		p.warmUp()
		time.Sleep(time.Second)
		p.sweep(time.Now())
		var held []*aCell
		for i := range 8 {
			held = append(held, get(t, p, hostClass, fmt.Sprint("key", i), "x"))
		}
		for _, c := range held {
			giveBack(p, c, true)
		}
		time.Sleep(time.Second)
		p.sweep(time.Now())
		time.Sleep(time.Second)
		if f, k, _, _ := p.state(); f+k != 4 {
			t.Errorf("%d fresh and %d kept of 10 MiB each, want 4 in 45 MiB", f, k)
		}
		p.check(t)
		if c := get(t, p, hostClass, "key7", "x"); c != held[7] {
			t.Error("the cell used last was destroyed, want those used longest ago")
		}
	})
}

// TestStockYieldsToCalls: while calls run, cells for stock are made one at a time,
// with a rest as long as the making between two.
func TestStockYieldsToCalls(t *testing.T) {
	change := func(cfg *poolConfig, _ *fakeMaker) { cfg.floor, cfg.ceiling = 8, 8 }
	testPool(t, change, func(t *testing.T, p *pool, m *fakeMaker) {
		c := get(t, p, hostClass, "", "x")
		p.warmUp()
		time.Sleep(patience) // the pool is low until a quarter of them is there
		if made, most, _ := m.seen(); most != 1 || made < 1+1 || made > 1+3 {
			t.Errorf("%d made while the call runs, %d at a time, want a quarter of the stock", made, most)
		}
		time.Sleep(time.Second) // it has waited for the end of the call long enough
		if made, most, _ := m.seen(); most != 1 || made < 8 || made > 1+3+1000/100 {
			t.Errorf("%d made a second later, %d at a time, want one in 100 ms at most", made, most)
		}
		giveBack(p, c, false)
		for range 3 {
			giveBack(p, get(t, p, hostClass, "", "x"), false)
		}
		time.Sleep(300 * time.Millisecond) // calls may come again
		if _, most, _ := m.seen(); most != 1 {
			t.Errorf("%d made at a time right after calls, want one", most)
		}
	})
}

func TestCallsThatGiveUpLeaveNothing(t *testing.T) {
	change := func(cfg *poolConfig, _ *fakeMaker) { cfg.floor = 0 }
	testPool(t, change, func(t *testing.T, p *pool, _ *fakeMaker) {
		why := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, why)
		defer cancel()
		if _, err := p.claim(ctx, hostClass, "k", "x"); !errors.Is(err, why) {
			t.Errorf("got %v, want the cause", err)
		}
		time.Sleep(time.Second)
		if s := p.pools()[0]; s.Waiting != 0 || s.Fresh != 1 {
			t.Errorf("got %+v, want the cell that was under way fresh", s)
		}
		p.check(t)
	})
}

func TestCloseEndsWhoWaits(t *testing.T) {
	testPool(t, func(_ *poolConfig, m *fakeMaker) { m.makeTakes = time.Minute }, func(t *testing.T, p *pool, _ *fakeMaker) {
		failed := make(chan error, 1)
		go func() {
			_, err := p.claim(t.Context(), hostClass, "", "x")
			failed <- err
		}()
		synctest.Wait()
		if err := p.close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-failed; !errdefs.IsUnavailable(err) {
			t.Errorf("got %v, want unavailable", err)
		}
		if _, err := p.claim(t.Context(), hostClass, "", "x"); !errdefs.IsUnavailable(err) {
			t.Errorf("after close: got %v, want unavailable", err)
		}
	})
}
