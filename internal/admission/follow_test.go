package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func in(caller, session string) Request {
	r := of(caller)
	r.Session = session
	return r
}

// loops are clients that make one call after another, each in a session of its own.
type loops struct {
	mu      sync.Mutex
	order   []string
	waited  map[string]time.Duration // the longest
	stopped bool
	all     sync.WaitGroup
}

func (o *loops) begin(t *testing.T, l *Line, r Request, runs, pause time.Duration) {
	name := r.Caller + "/" + r.Session
	o.all.Go(func() {
		for {
			ticket, err := l.Enter(context.Background(), r)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			o.mu.Lock()
			if o.waited == nil {
				o.waited = map[string]time.Duration{}
			}
			o.order = append(o.order, name)
			o.waited[name] = max(o.waited[name], ticket.Waited)
			stopped := o.stopped
			o.mu.Unlock()
			time.Sleep(runs)
			ticket.Leave()
			if stopped {
				return
			}
			time.Sleep(pause)
		}
	})
	synctest.Wait()
}

func (o *loops) stop(after time.Duration) {
	time.Sleep(after)
	o.mu.Lock()
	o.stopped = true
	o.mu.Unlock()
	o.all.Wait()
}

func (o *loops) counts() map[string]int {
	n := map[string]int{}
	for _, name := range o.order {
		n[name]++
	}
	return n
}

func TestCallFollowsOneOfItsSessionOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, func(c *Config) { c.Budget.Calls = 1 })
		var o loops
		for _, session := range []string{"1", "2", "3"} {
			o.begin(t, l, in("a", session), 5*time.Millisecond, time.Millisecond)
		}
		o.stop(60 * time.Millisecond)
		// While the second of session 1 is on its way, session 2 is let in, and so on.
		want := []string{"a/1", "a/2", "a/1", "a/2", "a/3", "a/1", "a/3", "a/1", "a/2", "a/3", "a/2", "a/3"}
		if diff := cmp.Diff(want, o.order[:len(want)]); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestCallsThatFollowNothingStandInTheirOrder(t *testing.T) {
	for name, x := range map[string]struct {
		first, second Request
		pause         time.Duration
	}{
		"without a session": {of("a"), of("a"), 0},
		"another session":   {in("a", "1"), in("a", "2"), 0},
		"another caller's":  {in("a", "1"), in("b", "1"), 0},
		"later":             {in("a", "1"), in("a", "1"), followWithin},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLine(t, func(c *Config) { c.Budget.Calls = 2 })
				holder := enter(t, l, of("holder"))
				first := enter(t, l, x.first)
				leave := make(chan struct{})
				var o order
				other := in("a", "x")
				for range 3 {
					o.queue(t, l, other, leave)
				}
				first.Leave() // lets one of them in
				time.Sleep(x.pause)
				synctest.Wait()
				if l.callers[x.second.Caller] != nil {
					l.mu.Lock()
					if l.callers[x.second.Caller].takeEnd(x.second.Session, time.Now()) {
						t.Error("follows, want it to stand where it came")
					}
					l.mu.Unlock()
				}
				holder.Leave()
				close(leave)
			})
		})
	}
}

// TestNobodyWaitsForSessionsWithoutEnd: with as many sessions as clients, each in a closed
// loop, none waits more than twice as long as in strict turns, and all have as many calls.
func TestNobodyWaitsForSessionsWithoutEnd(t *testing.T) {
	const sessions, runs = 16, 5 * time.Millisecond
	for _, places := range []int{1, 4} {
		t.Run(fmt.Sprint(places, " at once"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLine(t, func(c *Config) {
					c.Budget = Resources{Calls: places, CPUMillis: 1 << 20, MemoryBytes: 1 << 40}
				})
				var o loops
				for i := range sessions {
					o.begin(t, l, in("a", fmt.Sprint(i)), runs, 2*time.Millisecond)
				}
				o.stop(20 * time.Second)
				least, most := len(o.order), 0
				for _, n := range o.counts() {
					least, most = min(least, n), max(most, n)
				}
				if most-least > 4 {
					t.Errorf("sessions have %d to %d calls, want as many each", least, most)
				}
				bound := 2 * sessions * runs / time.Duration(places)
				for name, waited := range o.waited {
					if waited > bound {
						t.Errorf("%s waited %s, want at most %s", name, waited, bound)
					}
				}
			})
		})
	}
}

// TestLongCallsOfASessionDoNotKeepOthersOut: the session of long calls has one more of
// them ahead of the others, not all.
func TestLongCallsOfASessionDoNotKeepOthersOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, func(c *Config) { c.Budget.Calls = 1 })
		var o loops
		o.begin(t, l, in("a", "long"), time.Second, time.Millisecond)
		for i := range 4 {
			o.begin(t, l, in("a", fmt.Sprint(i)), 5*time.Millisecond, time.Millisecond)
		}
		o.stop(time.Minute)
		for name, waited := range o.waited {
			if want := 2*time.Second + 100*time.Millisecond; waited > want {
				t.Errorf("%s waited %s, want at most %s", name, waited, want)
			}
		}
	})
}

// TestOtherCallersSeeNothingOfSessions: beside a caller of many sessions, one that makes
// one call at a time has as many and waits as long as if those had no sessions.
func TestOtherCallersSeeNothingOfSessions(t *testing.T) {
	type seen struct {
		Calls  int
		Waited time.Duration
	}
	beside := func(session func(int) string) (one seen) {
		synctest.Test(t, func(t *testing.T) {
			l := newLine(t, func(c *Config) { c.Budget.Calls = 1 })
			var o loops
			for i := range 24 {
				o.begin(t, l, in("many", session(i)), 5*time.Millisecond, time.Millisecond)
			}
			o.begin(t, l, in("one", ""), 5*time.Millisecond, 100*time.Microsecond)
			o.stop(5 * time.Second)
			one = seen{o.counts()["one/"], o.waited["one/"]}
		})
		return one
	}
	without, with := beside(func(int) string { return "" }), beside(func(i int) string { return fmt.Sprint(i) })
	if diff := cmp.Diff(without, with); diff != "" || with.Waited > 10*time.Millisecond || with.Calls < 300 {
		t.Errorf("beside calls without sessions %+v, with %+v: want the same, and no longer wait than for two calls", without, with)
	}
}

// TestThoseThatGoAheadCountForDeadlines: a call whose turn comes in time only if none
// goes ahead of it is refused at once.
func TestThoseThatGoAheadCountForDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, func(c *Config) { c.Budget.Calls = 1 })
		var o loops
		for i := range 8 {
			o.begin(t, l, in("a", fmt.Sprint(i)), 10*time.Millisecond, time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		late := in("a", "late")
		late.Deadline = time.Now().Add(110 * time.Millisecond) // seven wait, one runs: 80 ms in turn
		began := time.Now()
		var busy *BusyError
		if _, err := l.Enter(t.Context(), late); !errors.As(err, &busy) || time.Since(began) != 0 || busy.RetryAfter < 110*time.Millisecond {
			t.Errorf("got %v after %s, want it refused at once with a hint beyond its deadline", err, time.Since(began))
		}
		o.stop(time.Second)
	})
}

// TestRoomThatIsKeptIsNotTakenByCallsThatFollow: a call that was passed by for it wants
// much stays the first of its caller.
func TestRoomThatIsKeptIsNotTakenByCallsThatFollow(t *testing.T) {
	c := &caller{}
	large, small := &waiter{ticket: &Ticket{}, passed: 1}, &waiter{ticket: &Ticket{}}
	ahead := &waiter{ticket: &Ticket{follows: true}}
	for _, x := range []struct {
		line []*waiter
		want int
	}{
		{nil, 0},
		{[]*waiter{small, small}, 0},
		{[]*waiter{ahead, small}, 1},
		{[]*waiter{large, small}, 1},
		{[]*waiter{small, large, small}, 2},
	} {
		if c.waiting = x.line; c.place() != x.want {
			t.Errorf("place %d of %d, want %d", c.place(), len(x.line), x.want)
		}
	}
}

func TestEndsAreForgotten(t *testing.T) {
	now := time.Now()
	c := &caller{waiting: []*waiter{{}}}
	for i := range 3 * maxEnded {
		c.noteEnd(&Ticket{session: fmt.Sprint(i)}, now)
	}
	if len(c.ended) != maxEnded || c.takeEnd("0", now) || !c.takeEnd(fmt.Sprint(3*maxEnded-1), now) {
		t.Errorf("%d ends are remembered, want the last %d", len(c.ended), maxEnded)
	}
	if c.dropEnds(now.Add(followWithin)); len(c.ended) != 0 {
		t.Errorf("%d ends are remembered after %s, want none", len(c.ended), followWithin)
	}
	c.noteEnd(&Ticket{session: "a", follows: true}, now)
	if slices.ContainsFunc(c.ended, func(e end) bool { return e.session == "a" }) {
		t.Error("one that went ahead is followed, too")
	}
}
