package containerd

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAlarm takes three calls of a cell through one alarm: one that ends in time, one
// whose deadline comes and that ends then, and one that has to be killed.
func TestAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a alarm
		var lifted, killed []string
		begin := func(call string) {
			a.begin(func() { lifted = append(lifted, call) }, func() { killed = append(killed, call) })
		}
		after := func(d time.Duration, wantLifted, wantKilled int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			a.mu.Lock() // under which both are written
			defer a.mu.Unlock()
			if len(lifted) != wantLifted || len(killed) != wantKilled {
				t.Fatalf("lifted %q, killed %q, want %d and %d", lifted, killed, wantLifted, wantKilled)
			}
		}
		begin("quick")
		a.set(0, time.Hour) // not started yet
		a.set(10*time.Second, 12*time.Second)
		after(time.Second, 0, 0)
		a.end()
		a.set(time.Second, time.Second) // a late word of a call that has ended

		begin("late")
		timer := a.timer
		a.set(10*time.Second, 12*time.Second) // due at 11 s and 13 s; the timer rings at 10 s
		after(10*time.Second-time.Millisecond, 0, 0)
		after(time.Millisecond, 1, 0)
		a.end()
		after(time.Minute, 1, 0) // nobody is killed who has ended

		begin("stuck")
		a.set(10*time.Second, 12*time.Second)
		after(11*time.Second, 2, 0)
		after(time.Second, 2, 1)
		after(time.Minute, 2, 1) // once
		a.set(0, 2*time.Second)  // and again if it is wanted
		after(2*time.Second, 2, 2)
		a.end()
		if lifted[0] != "late" || lifted[1] != "stuck" || killed[0] != "stuck" {
			t.Errorf("lifted %q, killed %q", lifted, killed)
		}
		if a.timer != timer {
			t.Error("the timer is not one for all calls")
		}
	})
}

// TestAlarmComesForward cancels a call: the time until its cell is killed becomes shorter
// than what the timer is set to.
func TestAlarmComesForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a alarm
		killed := make(chan time.Time, 1)
		a.begin(func() {}, func() { killed <- time.Now() })
		began := time.Now()
		a.set(0, time.Hour)
		time.Sleep(time.Second)
		a.set(0, 2*time.Second)
		if took := (<-killed).Sub(began); took != 3*time.Second {
			t.Errorf("killed after %v, want 3s", took)
		}
		a.end()
	})
}

// TestAlarmEndWaits ends a call while its cell is being killed: the cell's next call must
// not come before that is over.
func TestAlarmEndWaits(t *testing.T) {
	var a alarm
	began, let := make(chan struct{}), make(chan struct{})
	over := false
	a.begin(func() {}, func() {
		close(began)
		<-let
		over = true
	})
	a.set(0, time.Nanosecond)
	<-began
	ended := make(chan bool)
	go func() {
		a.end()
		ended <- over
	}()
	close(let)
	if !<-ended {
		t.Error("the end of the call did not wait")
	}
}
