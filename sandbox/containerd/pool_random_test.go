package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestPoolHoldsUnderRandomUse: whatever comes in whatever order, no cell is with
// two calls or two keys, counts hold, and nothing waits for ever.
func TestPoolHoldsUnderRandomUse(t *testing.T) {
	for seed := range 20 {
		change := func(cfg *poolConfig, m *fakeMaker) {
			cfg.maxCells, cfg.maxCalls, m.bytes = 5+seed, 7, 1<<20
			if seed%2 == 0 {
				cfg.idleMemory = 6 << 20
			}
			random := rand.New(rand.NewPCG(uint64(seed), 0)) //nolint:gosec // a test's order
			m.fail = func(class) error {                     // under m's lock
				if random.IntN(20) == 0 {
					return errors.New("sick")
				}
				return nil
			}
		}
		testPool(t, change, func(t *testing.T, p *pool, _ *fakeMaker) {
			p.warmUp()
			var mu sync.Mutex
			with := map[*aCell]string{} // what a cell's key is for ever
			inUse := map[*aCell]bool{}
			var clients sync.WaitGroup
			for client := range 12 {
				clients.Go(func() { randomClient(t, p, seed, client, &mu, with, inUse) })
			}
			for range 30 {
				time.Sleep(300 * time.Millisecond)
				p.sweep(time.Now())
				p.check(t)
			}
			clients.Wait()
		})
	}
}

func randomClient(t *testing.T, p *pool, seed, client int, mu *sync.Mutex, with map[*aCell]string, inUse map[*aCell]bool) {
	random := rand.New(rand.NewPCG(uint64(seed), uint64(client)+1)) //nolint:gosec // a test's order
	for range 60 {
		key := []string{"", "a", "b", fmt.Sprint("own", client)}[random.IntN(4)]
		cl := []class{hostClass, hostClass, otherClass}[random.IntN(3)]
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(3000))*time.Millisecond)
		c, err := p.claim(ctx, cl, key, fmt.Sprint("owner", client%3))
		cancel()
		if err != nil {
			continue
		}
		mu.Lock()
		if have, ok := with[c]; inUse[c] || ok && (have != key || key == "") || c.class != cl {
			t.Errorf("cell %s of %q went to %q, in use %t", c.id, have, key, inUse[c])
		}
		inUse[c] = true
		mu.Unlock()
		time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
		mu.Lock()
		inUse[c] = false
		ran := random.IntN(8) > 0
		if ran {
			with[c] = key
			c.calls++
		}
		mu.Unlock()
		switch {
		case !ran:
			p.unclaim(c)
		case random.IntN(10) == 0:
			p.doubt(c)
			p.release(c, false)
		case random.IntN(20) == 0:
			close(c.gone)
			p.release(c, true)
		default:
			p.release(c, key != "")
		}
		if random.IntN(30) == 0 {
			p.endKey([]string{"a", "b"}[random.IntN(2)])
		}
	}
}

// sessionPool has an idle cell for each of n sessions, "k0" and on.
func sessionPool(ctx context.Context, n int) *pool {
	p := newPool(poolConfig{
		maker: &fakeMaker{alive: map[*aCell]bool{}}, standard: hostClass, maxCells: n + 1, makers: 1,
		idleTimeout: time.Hour, maxAge: time.Hour, maxCalls: 1 << 40, ctx: ctx, background: &sync.WaitGroup{},
		log: slog.New(slog.DiscardHandler),
	})
	of := p.classOf(hostClass)
	for i := range n {
		c := &aCell{class: hostClass, key: fmt.Sprint("k", i), calls: 1, born: time.Now(), since: time.Now(), gone: make(chan struct{})}
		e := &entry{c: c, class: of}
		p.cells[c] = e
		p.keys[c.key] = map[*entry]bool{e: true}
		p.keep(e)
	}
	return p
}

func claimOnce(tb testing.TB, p *pool) {
	c, err := p.claim(tb.Context(), hostClass, "k0", "x")
	if err != nil {
		tb.Fatal(err)
	}
	p.release(c, true)
}

// TestClaimCostsTheSameWithManySessions: a claim must not cost more with the cells
// and sessions that there are.
func TestClaimCostsTheSameWithManySessions(t *testing.T) {
	cost := func(n int) float64 {
		p := sessionPool(t.Context(), n)
		return testing.AllocsPerRun(1000, func() { claimOnce(t, p) })
	}
	if few, many := cost(10), cost(2000); many > few+1 || many > 8 {
		t.Errorf("a claim allocates %.0f times with 2000 sessions, %.0f with 10", many, few)
	}
}

func BenchmarkClaim(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			p := sessionPool(b.Context(), n)
			for b.Loop() {
				claimOnce(b, p)
			}
		})
	}
}
