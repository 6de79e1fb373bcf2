//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

func TestCallsThroughADoor(t *testing.T) {
	t.Run("end as the program did", func(t *testing.T) { callsEndAsTheProgramDid(t, startCellWithDoors(t)) })
	t.Run("leave nothing", func(t *testing.T) { manyCallsLeaveNothing(t, startCellWithDoors(t)) })
	t.Run("have no door themselves", func(t *testing.T) {
		r := startCellWithDoors(t).run(t, base("/probe", "probe", "self"))
		var got surroundings
		if err := json.Unmarshal(r.stdout, &got); err != nil {
			t.Fatalf("%v: %q %q", err, r.stdout, r.stderr)
		}
		if diff := cmp.Diff([]string{"0", "1", "2"}, got.Descriptors); diff != "" {
			t.Errorf("descriptors (-want +got):\n%s", diff)
		}
	})
}

// knock writes a number to the door of a slot.
func (c *testCell) knock(t *testing.T, slot int, number uint64) {
	t.Helper()
	if _, err := c.doors[slot].Write(binary.NativeEndian.AppendUint64(nil, number)); err != nil {
		t.Error(err)
	}
}

// TestDoorIsForOneCall: what is left of calls before, which were ended before their holder
// has read it, lets nobody pass; another number is no release either.
func TestDoorIsForOneCall(t *testing.T) {
	c := startCellWithDoors(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	refused := errors.New("no record")
	for _, x := range []cell.Exec{base("sleep", "1000"), base("true"), base("sleep", "1000")} {
		if _, err := c.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
		calling, end := context.WithCancel(ctx)
		x.Next, x.Ready = c.after(), func() error {
			end() // so that it is killed as soon as it is released
			return nil
		}
		r, err := c.Exec(calling, x, cell.Handlers{})
		// It may have been ended on its way to the door, or not have been ended in time.
		if err != nil || r.Poisoned != "" || r.StartError != "" || r.Cancelled && r.Signal != 0 && r.Signal != int(unix.SIGKILL) {
			t.Fatalf("%q, cancelled when it was released: got %+v, %v", x.Argv, r, err)
		}
		if _, err = c.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
		x = base("echo", "ran")
		x.Next, x.Ready = c.after(), func() error {
			c.knock(t, c.slot, 1)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			return refused
		}
		r, err = c.Exec(ctx, x, cell.Handlers{
			Started: func(cell.Started) { t.Error("the program was started") },
			Output:  func(cell.Stream, int64, []byte) { t.Error("the program has said something") },
		})
		if !errors.Is(err, refused) || !r.Cancelled || r.Signal != 0 || r.Poisoned != "" {
			t.Fatalf("a call that was never released: got %+v, %v", r, err)
		}
	}
	x := base("echo", "ran")
	x.Ready = func() error {
		c.knock(t, c.slot, 1) // is passed over
		return nil
	}
	if r := c.run(t, x); string(r.stdout) != "ran\n" {
		t.Errorf("got %+v, %q, want it to have run", r.Exit, r.stdout)
	}
	x.Ready = func() error {
		c.knock(t, c.slot, math.MaxUint64)
		return nil
	}
	if r := c.run(t, x); r.StartErrno != int(unix.EPROTO) || r.StartError == "" || r.started != nil {
		t.Errorf("another call's number: got %+v, want a call that cannot be started", r.Exit)
	}
}

// TestTimesAreThoseBehindTheDoor: init is not told when the program was let run.
func TestTimesAreThoseBehindTheDoor(t *testing.T) {
	const waits = 200 * time.Millisecond
	c := startCellWithDoors(t)
	ready := func() error {
		<-time.After(waits)
		return nil
	}
	for _, argv := range [][]string{{"true"}, {"sleep", "0.1"}} {
		x := base(argv...)
		x.Ready = ready
		began := time.Now()
		r := c.run(t, x)
		if took := time.Since(began); r.ExitCode != 0 || r.RunTime <= 0 || r.RunTime > took-waits || len(argv) > 1 && r.RunTime < 100*time.Millisecond {
			t.Errorf("%q took %v, waited for %v of it, and ran for %v by itself: %+v", argv, took, waits, r.RunTime, r.Exit)
		}
		if r.started == nil {
			t.Errorf("%q: no start was reported", argv)
		}
	}
	x := base("sleep", "1000")
	x.WallTime, x.Ready = waits/2, ready
	if r := c.run(t, x); !r.TimedOut || r.Signal != int(unix.SIGKILL) || r.RunTime < x.WallTime {
		t.Errorf("got %+v, want it to be ended %v after its release", r.Exit, x.WallTime)
	}
	c.onlyNext(t)
}

// TestStageKilledBehindTheDoorPoisonsTheCell: when it was let run nobody may say that it has
// not run.
func TestStageKilledBehindTheDoorPoisonsTheCell(t *testing.T) {
	c := startCellWithDoors(t)
	ctx := t.Context()
	p, err := c.Prepare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	victim := c.hostPID(t, p.StagePID)
	x := base("sleep", "1000")
	x.Ready = func() error {
		time.AfterFunc(time.Millisecond, func() { _ = unix.Kill(victim, unix.SIGKILL) }) // the end will tell
		return nil
	}
	end, err := c.Exec(ctx, x, cell.Handlers{})
	if err != nil || end.Poisoned == "" || end.StartError != "" || end.ExitCode != -1 {
		t.Errorf("got %+v, %v, want a poisoned cell, and no word of a program that was not started", end, err)
	}
}
