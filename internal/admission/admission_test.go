package admission

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

const mib = 1 << 20

func newLine(t testing.TB, change func(*Config)) *Line {
	t.Helper()
	cfg := Config{Budget: Resources{Calls: 4, CPUMillis: 4000, MemoryBytes: 4096 * mib}, CallerShare: 1}
	if change != nil {
		change(&cfg)
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func of(caller string) Request {
	return Request{Caller: caller, CPUMillis: 1000, MemoryBytes: 512 * mib}
}

func enter(t *testing.T, l *Line, r Request) *Ticket {
	t.Helper()
	ticket, err := l.Enter(t.Context(), r)
	if err != nil {
		t.Fatalf("enter %+v: %v", r, err)
	}
	return ticket
}

// order notes who was let in, in order.
type order struct {
	mu    sync.Mutex
	names []string
}

// soFar are those who were let in until now.
func (o *order) soFar() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.names)
}

// queue sends a call of its own goroutine into the line and waits until it
// stands there or was let in. A call that was let in leaves when told to.
func (o *order) queue(t *testing.T, l *Line, r Request, leave <-chan struct{}) {
	t.Helper()
	go func() {
		ticket, err := l.Enter(context.Background(), r)
		if err != nil {
			t.Errorf("%+v: %v", r, err)
			return
		}
		o.mu.Lock()
		o.names = append(o.names, r.Caller)
		o.mu.Unlock()
		<-leave
		ticket.Leave()
	}()
	synctest.Wait()
}

func TestCallersAreServedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, func(c *Config) { c.Budget.Calls = 1 })
		first := enter(t, l, of("x"))
		leave := make(chan struct{})
		close(leave)
		var o order
		for _, caller := range []string{"a", "a", "a", "a", "b", "b", "c"} {
			o.queue(t, l, of(caller), leave)
		}
		if s := l.State(); s.Running != 1 || s.Waiting != 7 || s.WaitingCallers != 3 {
			t.Errorf("state: %+v, want 1 running, 7 of 3 callers waiting", s)
		}
		first.Leave()
		synctest.Wait()
		if diff := cmp.Diff([]string{"a", "b", "c", "a", "b", "a", "a"}, o.soFar()); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
		if s := l.State(); s.Running != 0 || s.Waiting != 0 || s.Used != (Resources{}) || len(l.callers) != 0 || s.Waited != 7 || s.Admitted != 8 {
			t.Errorf("state: %+v and %d callers, want nothing left", s, len(l.callers))
		}
	})
}

func TestEachPartOfTheBudgetBinds(t *testing.T) {
	for name, r := range map[string]Request{
		"calls":  {Caller: "a"},
		"cpu":    {Caller: "a", CPUMillis: 1000},
		"memory": {Caller: "a", MemoryBytes: 1024 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLine(t, func(c *Config) { c.MaxWaiting = -1 })
			for range 4 {
				enter(t, l, r)
			}
			var busy *BusyError
			if _, err := l.Enter(t.Context(), r); !errors.As(err, &busy) || !errdefs.IsResourceExhausted(err) || busy.RetryAfter <= 0 {
				t.Errorf("fifth: got %v, want a *BusyError with a hint", err)
			}
		})
	}
}

func TestOneCallerCannotTakeAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, func(c *Config) { c.CallerShare = 0.75 })
		var greedy []*Ticket
		for range 3 {
			greedy = append(greedy, enter(t, l, of("greedy")))
		}
		leave := make(chan struct{})
		var o order
		o.queue(t, l, of("greedy"), leave)
		if s := l.State(); s.Waiting != 1 {
			t.Errorf("state: %+v, want its fourth in line", s)
		}
		enter(t, l, of("other")).Leave() // at once, past the one in line
		if s := l.State(); s.Waiting != 1 || s.Running != 3 {
			t.Errorf("state: %+v, want the fourth still in line", s)
		}
		// It goes in when one of its own caller's calls has ended.
		close(leave)
		greedy[0].Leave()
		synctest.Wait()
		if diff := cmp.Diff([]string{"greedy"}, o.soFar()); diff != "" {
			t.Errorf("let in (-want +got):\n%s", diff)
		}
	})
}

func TestReservedShareIsForItsClass(t *testing.T) {
	l := newLine(t, func(c *Config) {
		c.Reserve, c.MaxWaiting = map[string]float64{"urgent": 0.25}, -1
	})
	urgent := of("u")
	urgent.Class = "urgent"
	for range 3 {
		enter(t, l, of("a"))
	}
	if _, err := l.Enter(t.Context(), of("b")); !errdefs.IsResourceExhausted(err) {
		t.Errorf("a fourth common call: got %v, want it refused", err)
	}
	first := enter(t, l, urgent)
	if _, err := l.Enter(t.Context(), urgent); !errdefs.IsResourceExhausted(err) {
		t.Errorf("a second urgent call beyond its share: got %v, want it refused", err)
	}
	first.Leave()
	first.Leave() // no second time
	if s := l.State(); s.Running != 3 {
		t.Errorf("after leaving twice %d run, want 3", s.Running)
	}

	l = newLine(t, func(c *Config) { c.Reserve, c.MaxWaiting = map[string]float64{"urgent": 0.25}, -1 })
	for range 4 {
		enter(t, l, urgent) // its class may use what is common as well
	}
	if _, err := l.Enter(t.Context(), of("a")); !errdefs.IsResourceExhausted(err) {
		t.Errorf("beyond the budget: got %v, want it refused", err)
	}
}

func TestUrgentCallPassesAFullLineOfItsOwnCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, func(c *Config) { c.Reserve = map[string]float64{"urgent": 0.25} })
		first := enter(t, l, of("a"))
		for range 2 {
			enter(t, l, of("a"))
		}
		leave := make(chan struct{})
		close(leave)
		var o order
		o.queue(t, l, of("a"), leave)
		urgent := of("a")
		urgent.Class = "urgent"
		enter(t, l, urgent) // else it would wait until the test ends
		first.Leave()
		synctest.Wait()
	})
}

func TestTheLineIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, func(c *Config) { c.Budget.Calls, c.MaxWaiting, c.MaxWaitingPerCaller = 1, 3, 2 })
		first := enter(t, l, of("x"))
		leave := make(chan struct{})
		close(leave)
		var o order
		o.queue(t, l, of("a"), leave)
		o.queue(t, l, of("a"), leave)
		if _, err := l.Enter(t.Context(), of("a")); !errdefs.IsResourceExhausted(err) || l.State().Refused != 1 {
			t.Errorf("third of a caller: got %v, want it refused", err)
		}
		o.queue(t, l, of("b"), leave)
		if _, err := l.Enter(t.Context(), of("c")); !errdefs.IsResourceExhausted(err) {
			t.Errorf("fourth of all: got %v, want it refused", err)
		}
		if n := len(l.callers); n != 3 {
			t.Errorf("%d callers are remembered, want 3", n)
		}
		first.Leave()
		synctest.Wait()
	})
}

func TestCallsThatNoLongerWantToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, func(c *Config) { c.Budget.Calls, c.MaxWait = 1, time.Hour })
		first := enter(t, l, of("x"))
		late := of("a")
		late.Deadline = time.Now().Add(2 * time.Second)
		began := time.Now()
		var busy *BusyError
		if _, err := l.Enter(t.Context(), late); !errors.As(err, &busy) || time.Since(began) != 2*time.Second {
			t.Errorf("deadline in line: got %v after %s, want a *BusyError after 2s", err, time.Since(began))
		}
		if _, err := l.Enter(t.Context(), of("a")); !errors.As(err, &busy) || time.Since(began) != time.Hour+2*time.Second {
			t.Errorf("MaxWait: got %v after %s, want a *BusyError after an hour", err, time.Since(began))
		}
		gone := errors.New("host went away")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		if _, err := l.Enter(ctx, of("a")); !errors.Is(err, gone) {
			t.Errorf("cancelled: got %v, want the cause", err)
		}
		if s := l.State(); s.Waiting != 0 || s.WaitingCallers != 0 || s.Expired != 2 || s.Left != 1 {
			t.Errorf("state: %+v, want nobody in line", s)
		}
		first.Leave() // held for over an hour: from now on that is what is reckoned with
		first = enter(t, l, of("x"))
		defer first.Leave()
		late.Deadline = time.Now().Add(time.Minute)
		began = time.Now()
		if _, err := l.Enter(t.Context(), late); !errors.As(err, &busy) || time.Since(began) != 0 || busy.RetryAfter != time.Minute {
			t.Errorf("a call whose turn cannot come in time: got %v after %s, want it refused at once", err, time.Since(began))
		}
	})
}

func TestALargeCallIsNotOvertakenForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, nil)
		leaves := make([]chan struct{}, 200)
		var o order
		for i := range leaves {
			leaves[i] = make(chan struct{})
		}
		holder := enter(t, l, of("holder"))
		o.queue(t, l, of("small-first"), leaves[0])
		forever := make(chan struct{})
		o.queue(t, l, Request{Caller: "large", CPUMillis: 4000, MemoryBytes: mib}, forever)
		// Small calls that come and go, so that there never are four cores free.
		for i := 1; i <= maxPassed+5; i++ {
			o.queue(t, l, of(fmt.Sprint("small-", i)), leaves[i])
			if i > 1 {
				close(leaves[i-1])
			}
			synctest.Wait()
		}
		passed := len(o.soFar()) - 1
		if passed != maxPassed {
			t.Errorf("%d calls got past the large one, want %d", passed, maxPassed)
		}
		holder.Leave()
		close(leaves[0])
		synctest.Wait()
		if !slices.Contains(o.soFar(), "large") {
			t.Error("the large call was not let in when there was room")
		}
		close(forever)
		for i := maxPassed + 5; i < len(leaves); i++ {
			close(leaves[i])
		}
		synctest.Wait()
	})
}

func TestACallLargerThanTheBudgetRunsAlone(t *testing.T) {
	l := newLine(t, func(c *Config) { c.MaxWaiting, c.CallerShare = -1, 0.5 })
	large := enter(t, l, Request{Caller: "a", CPUMillis: 64_000, MemoryBytes: 1 << 40})
	if _, err := l.Enter(t.Context(), of("b")); !errdefs.IsResourceExhausted(err) {
		t.Errorf("beside it: got %v, want it refused", err)
	}
	large.Leave()
	enter(t, l, of("b")).Leave()
}

func TestBadConfigurationIsRefused(t *testing.T) {
	full := Resources{1, 1, 1}
	for name, cfg := range map[string]Config{
		"no budget":     {},
		"no memory":     {Budget: Resources{1, 1, 0}},
		"share above 1": {Budget: full, CallerShare: 2},
		"all reserved":  {Budget: full, Reserve: map[string]float64{"a": 0.5, "b": 0.5}},
		"nothing":       {Budget: full, Reserve: map[string]float64{"a": 0}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestManyCallersAtOnce(t *testing.T) {
	l := newLine(t, func(c *Config) {
		c.Reserve, c.CallerShare, c.MaxWaiting = map[string]float64{"urgent": 0.25}, 0.75, 64
	})
	var running, most, done atomic.Int64
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i))) //nolint:gosec // not a secret
			for range 200 {
				req := Request{Caller: fmt.Sprint(i % 5), CPUMillis: r.Int64N(2500), MemoryBytes: r.Int64N(3000 * mib), Deadline: time.Now().Add(time.Duration(r.IntN(20)) * time.Millisecond)}
				if r.IntN(3) == 0 {
					req.Class = "urgent"
				}
				ctx, cancel := context.WithCancel(context.Background())
				if r.IntN(4) == 0 {
					cancel()
				}
				ticket, err := l.Enter(ctx, req)
				if err == nil {
					n := running.Add(1)
					for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
					}
					if s := l.State(); !s.Used.within(s.Budget) {
						t.Errorf("used %+v of %+v", s.Used, s.Budget)
					}
					running.Add(-1)
					done.Add(1)
					ticket.Leave()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if s := l.State(); s.Used != (Resources{}) || s.Waiting != 0 || s.WaitingCallers != 0 || len(l.callers) != 0 || l.over != (Resources{}) || done.Load() == 0 || most.Load() > 4 {
		t.Errorf("state %+v, %d callers, %d done, %d at once", s, len(l.callers), done.Load(), most.Load())
	}
}

func BenchmarkEnterLeave(b *testing.B) {
	l := newLine(b, nil)
	b.Run("idle", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ticket, err := l.Enter(b.Context(), of("a"))
			if err != nil {
				b.Fatal(err)
			}
			ticket.Leave()
		}
	})
	b.Run("contended", func(b *testing.B) {
		b.SetParallelism(16)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if ticket, err := l.Enter(context.Background(), of("a")); err == nil {
					ticket.Leave()
				}
			}
		})
	})
}
