package admission

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slotLine has room for many calls, two of which begin at once.
func slotLine(t *testing.T, change func(*Config)) *Line {
	t.Helper()
	return newLine(t, func(c *Config) {
		c.Budget, c.Slots = Resources{Calls: 64, CPUMillis: 64_000, MemoryBytes: 1 << 40}, 2
		if change != nil {
			change(c)
		}
	})
}

func TestCallsBeginInSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := slotLine(t, nil)
		first := enter(t, l, of("a"))
		enter(t, l, of("b"))
		leave := make(chan struct{})
		var o order
		o.queue(t, l, of("a"), leave)
		o.queue(t, l, of("c"), leave)
		if s := l.State(); s.Running != 2 || s.Waiting != 2 || s.Beginning != 2 || s.Slots != 2 || !l.Crowded() {
			t.Errorf("state: %+v, crowded %t; want two in their slots and two in line", s, l.Crowded())
		}
		first.Leave() // its slot is free at once
		synctest.Wait()
		if s := l.State(); s.Running != 2 || s.Waiting != 1 || len(o.soFar()) != 1 {
			t.Errorf("state: %+v after one has left, want the next let in", s)
		}
		// The others run on, and so their slots are free after a while.
		time.Sleep(slotHeld + slotLook)
		synctest.Wait()
		if s := l.State(); s.Running != 3 || s.Waiting != 0 || l.Crowded() {
			t.Errorf("state: %+v, crowded %t; want all let in after %s", s, l.Crowded(), slotHeld)
		}
		close(leave)
	})
}

// TestCallsThatWaitHoldUpNobody: with an idle processor calls begin though all slots
// are held, one at each look, and no more than the budget allows.
func TestCallsThatWaitHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var idle atomic.Bool
		l := slotLine(t, func(c *Config) { c.Idle, c.Budget.Calls = idle.Load, 5 })
		leave := make(chan struct{})
		var o order
		for range 8 {
			o.queue(t, l, of("a"), leave)
		}
		time.Sleep(2 * slotLook)
		synctest.Wait()
		if s := l.State(); s.Running != 2 {
			t.Errorf("%d run without an idle processor, want 2", s.Running)
		}
		idle.Store(true)
		time.Sleep((slotIdle - 1) * slotLook)
		for want := 3; want <= 5; want++ {
			time.Sleep(slotLook)
			synctest.Wait()
			if s := l.State(); s.Running != want {
				t.Errorf("%d run, want %d", s.Running, want)
			}
		}
		time.Sleep(10 * slotLook)
		if s := l.State(); s.Running != 5 || s.Waiting != 3 {
			t.Errorf("state: %+v, want no more than the budget has", s)
		}
		close(leave)
	})
}

func TestReservedCallsNeedNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := slotLine(t, func(c *Config) { c.Reserve = map[string]float64{"urgent": 0.1} })
		urgent := of("u")
		urgent.Class = "urgent"
		for range 2 {
			enter(t, l, of("a"))
		}
		leave := make(chan struct{})
		close(leave)
		var o order
		o.queue(t, l, of("b"), leave) // waits for a slot
		began := time.Now()
		enter(t, l, urgent).Leave()
		if took := time.Since(began); took != 0 {
			t.Errorf("the urgent call waited %s", took)
		}
		time.Sleep(time.Second)
	})
}

// TestNobodyLooksWithoutACallInLine: the look at the processors ends with the last
// call that waits, also one that gives up.
func TestNobodyLooksWithoutACallInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		l := slotLine(t, func(c *Config) { c.Idle = func() bool { looks.Add(1); return false } })
		for range 2 {
			enter(t, l, of("a"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*slotLook)
		defer cancel()
		if _, err := l.Enter(ctx, of("b")); err == nil {
			t.Error("a call without a slot was let in")
		}
		time.Sleep(slotLookMost) // one was on its way
		seen := looks.Load()
		time.Sleep(time.Minute)
		if now := looks.Load(); seen < 2 || now != seen {
			t.Errorf("%d looks while a call waited, %d a minute later, want no more", seen, now)
		}
	})
}

// TestLooksAreRareWhileNoProcessorIsIdle: a busy machine is not kept busy by looks at it.
// As soon as a processor is idle the looks are frequent again.
func TestLooksAreRareWhileNoProcessorIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var idle atomic.Bool
		var looks atomic.Int64
		l := slotLine(t, func(c *Config) { c.Idle = func() bool { looks.Add(1); return idle.Load() } })
		leave := make(chan struct{})
		var o order
		for range 64 {
			o.queue(t, l, of("a"), leave)
		}
		hold := func(d time.Duration) (running int, looked int64) {
			before := looks.Load()
			time.Sleep(d)
			synctest.Wait()
			return l.State().Running, looks.Load() - before
		}
		running, looked := hold(slotHeld - slotLook)
		if most := int64(slotHeld/slotLookMost) + 4; running != 2 || looked < 2 || looked > most {
			t.Errorf("%d run, %d looks, want 2 and up to %d looks", running, looked, most)
		}
		// Slots that have been held for long enough are taken at once, not at the next look.
		if running, _ = hold(2 * slotLook); running != 4 {
			t.Errorf("%d run %s after the first two, want 4", running, slotHeld)
		}
		idle.Store(true)
		running, looked = hold(slotLookMost + 9*slotLook)
		if running < 4+10-slotIdle || looked < 10 {
			t.Errorf("%d run after %d looks since processors are idle, want one more with each but %d", running, looked, slotIdle-1)
		}
		close(leave)
	})
}

func TestRunnableIsReadFromLoadavg(t *testing.T) {
	for text, want := range map[string]int{
		"0.20 0.18 0.12 3/80 11206\n": 3, "": -1, "0.1 0.1 0.1 x/80 1\n": -1, "0.1 0.1 3/80\n": -1, "0.1 0.1 0.1 3": -1,
	} {
		path := filepath.Join(t.TempDir(), "loadavg")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := runnable(f); ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: got %d %t, want %d", text, n, ok, want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if _, ok := runnable(f); ok {
			t.Error("a closed file tells a number")
		}
	}
}

// TestRunnableIsReadAnew: one descriptor tells of the present at each look.
func TestRunnableIsReadAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loadavg")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	for want := range 3 {
		if _, err := f.WriteAt([]byte("0.20 0.18 0.12 "+strconv.Itoa(want)+"/80 11206\n"), 0); err != nil {
			t.Fatal(err)
		}
		if n, ok := runnable(f); !ok || n != want {
			t.Errorf("got %d %t, want %d", n, ok, want)
		}
	}
}
