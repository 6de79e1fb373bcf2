package containerd

import (
	"testing"
	"testing/synctest"
	"time"
)

// calmPool has a full stock of eight cells, each 1 MiB large.
func calmPool(t *testing.T, change func(*poolConfig), run func(t *testing.T, p *pool, m *fakeMaker)) {
	t.Helper()
	with := func(cfg *poolConfig, m *fakeMaker) {
		cfg.floor, cfg.maxCells, m.bytes = 8, 24, 1<<20
		if change != nil {
			change(cfg)
		}
	}
	testPool(t, with, func(t *testing.T, p *pool, m *fakeMaker) {
		p.warmUp()
		time.Sleep(2 * time.Second)
		if s := p.pools()[0]; s.Fresh != 8 || s.Making+s.Dying != 0 {
			t.Fatalf("got %+v, want eight fresh cells", s)
		}
		run(t, p, m)
	})
}

// once makes a single-use call after another, each for a while and with a pause.
func once(t *testing.T, p *pool, n int, lasts, pause time.Duration) {
	t.Helper()
	for range n {
		c := get(t, p, hostClass, "", "a")
		time.Sleep(lasts)
		giveBack(p, c, false)
		time.Sleep(pause)
	}
}

// TestNoWorkBesideCallsWhileThePoolLasts: as long as calls come and the pool is not
// low, nothing is made, killed or removed; all of it is once they pause.
func TestNoWorkBesideCallsWhileThePoolLasts(t *testing.T) {
	calmPool(t, nil, func(t *testing.T, p *pool, m *fakeMaker) {
		once(t, p, 5, 10*time.Millisecond, 2*time.Millisecond)
		made, _, killed := m.seen()
		if s := p.pools()[0]; s.Fresh != 3 || s.Making != 0 || s.Dying != 5 || made != 8 || killed != 0 {
			t.Errorf("after five calls: %+v, %d made, %d killed; want three left, and five that wait to be removed", s, made, killed)
		}
		p.check(t)
		time.Sleep(lull) // nothing runs
		synctest.Wait()
		if s := p.pools()[0]; s.Making == 0 || aside(p) == 5 {
			t.Errorf("in a lull: %+v, %d set aside; want cells made and removed", s, aside(p))
		}
		time.Sleep(5 * time.Second)
		if s := p.pools()[0]; s.Fresh != 8 || s.Dying != 0 || aside(p) != 0 || m.living() != 8 {
			t.Errorf("later: %+v with %d alive, want eight fresh ones", s, m.living())
		}
	})
}

// TestLowPoolIsFilledBesideCalls: while calls come one after another, none is slowed
// even by a low pool; beside one that goes on, a low pool is filled.
func TestLowPoolIsFilledBesideCalls(t *testing.T) {
	calmPool(t, nil, func(t *testing.T, p *pool, m *fakeMaker) {
		once(t, p, 6, 10*time.Millisecond, 2*time.Millisecond)
		c := get(t, p, hostClass, "", "a")
		synctest.Wait()
		if s := p.pools()[0]; s.Making != 0 || s.Fresh != 1 {
			t.Errorf("seven calls in turn: %+v; want none being made and one left", s)
		}
		time.Sleep(lull)
		synctest.Wait()
		if made, most, _ := m.seen(); p.pools()[0].Making != 1 || made != 8 || most > 2 {
			t.Errorf("the last call goes on: %+v, %d at a time; want one being made", p.pools()[0], most)
		}
		giveBack(p, c, false)
	})
}

// TestNothingWaitsForALullForEver: calls without any pause hold up the stock and the
// removal of used cells for a bounded time only.
func TestNothingWaitsForALullForEver(t *testing.T) {
	calmPool(t, nil, func(t *testing.T, p *pool, m *fakeMaker) {
		once(t, p, 3, 10*time.Millisecond, 0)
		began := time.Now()
		stay := get(t, p, hostClass, "key", "b") // all the time
		for p.pools()[0].Making == 0 && time.Since(began) < time.Minute {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > patience {
			t.Errorf("nothing made for %s, want at most %s", took, patience)
		}
		for m.living() > 8-3 && p.pools()[0].Dying > 0 && time.Since(began) < time.Minute {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > patience+time.Second || aside(p) != 0 {
			t.Errorf("%d used cells left after %s, want none after %s", aside(p), took, patience)
		}
		giveBack(p, stay, false)
	})
}

// TestUsedCellsTakeNoRoomOfOthers: those that wait for their removal count in the
// bound of cells and in the memory budget.
func TestUsedCellsTakeNoRoomOfOthers(t *testing.T) {
	for name, change := range map[string]func(*poolConfig){
		"cells":  func(cfg *poolConfig) { cfg.maxCells = 9 },
		"memory": func(cfg *poolConfig) { cfg.idleMemory = 8 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			calmPool(t, change, func(t *testing.T, p *pool, m *fakeMaker) {
				p.sweep(time.Now()) // it measures cells
				other := get(t, p, hostClass, "", "b")
				used := get(t, p, hostClass, "", "a")
				giveBack(p, used, false)
				synctest.Wait()
				if name == "memory" {
					m.bytes = 2 << 20 // cells grow: four of them are the budget, and six are fresh
					p.sweep(time.Now())
				}
				time.Sleep(m.endTakes) // the other one still runs
				synctest.Wait()
				p.mu.Lock()
				if p.asideN != 0 {
					t.Errorf("%d used cells wait beyond what there is room for, want none", p.asideN)
				}
				p.mu.Unlock()
				giveBack(p, other, false)
			})
		})
	}
}

// TestDoubtfulCellsAreKilledAtOnce: only of a sound cell it is known that nothing of
// its call is left.
func TestDoubtfulCellsAreKilledAtOnce(t *testing.T) {
	calmPool(t, nil, func(t *testing.T, p *pool, m *fakeMaker) {
		other := get(t, p, hostClass, "", "b") // there is no lull
		c := get(t, p, hostClass, "", "a")
		p.doubt(c)
		giveBack(p, c, false)
		synctest.Wait()
		if _, _, killed := m.seen(); killed != 1 {
			t.Errorf("%d killed, want the doubtful one", killed)
		}
		giveBack(p, other, false)
	})
}

// aside is how many used cells wait for their removal.
func aside(p *pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asideN
}
