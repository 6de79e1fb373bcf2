package admission

import (
	"context"
	"os"
	"path/filepath"
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
		if s := l.State(); s.Running != 2 || s.Waiting != 2 || s.Beginning != 2 || s.Slots != 2 {
			t.Errorf("state: %+v, want two in their slots and two in line", s)
		}
		first.Leave() // its slot is free at once
		synctest.Wait()
		if s := l.State(); s.Running != 2 || s.Waiting != 1 || len(o.soFar()) != 1 {
			t.Errorf("state: %+v after one has left, want the next let in", s)
		}
		// The others run on, and so their slots are free after a while.
		time.Sleep(slotHeld + slotLook)
		synctest.Wait()
		if s := l.State(); s.Running != 3 || s.Waiting != 0 {
			t.Errorf("state: %+v, want all let in after %s", s, slotHeld)
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
		time.Sleep(2 * slotLook) // one was on its way
		seen := looks.Load()
		time.Sleep(time.Minute)
		if now := looks.Load(); seen < 2 || now != seen {
			t.Errorf("%d looks while a call waited, %d a minute later, want no more", seen, now)
		}
	})
}

func TestRunnableIsReadFromLoadavg(t *testing.T) {
	for text, want := range map[string]int{"0.20 0.18 0.12 3/80 11206\n": 3, "": -1, "0.1 0.1 0.1 x/80 1\n": -1} {
		file := filepath.Join(t.TempDir(), "loadavg")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, ok := runnable(file); ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: got %d %t, want %d", text, n, ok, want)
		}
	}
	if _, ok := runnable(filepath.Join(t.TempDir(), "absent")); ok {
		t.Error("an absent file tells a number")
	}
}
