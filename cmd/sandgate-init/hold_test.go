//go:build linux

package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// TestHeldProgramRunsOnlyWhenReleased: the host may still refuse a call for which
// init has everything ready.
func TestHeldProgramRunsOnlyWhenReleased(t *testing.T) {
	c := startCell(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	refused := errors.New("no record")
	for range 3 {
		if _, err := c.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
		x := base("bash", "-c", "echo ran")
		x.Next, x.Ready = c.after(), func() error { return refused }
		end, err := c.Exec(ctx, x, cell.Handlers{
			Started: func(cell.Started) { t.Error("the program was started") },
			Output:  func(cell.Stream, int64, []byte) { t.Error("the program has said something") },
		})
		if !errors.Is(err, cell.ErrNotReady) || !errors.Is(err, refused) || end.Poisoned != "" || !end.Cancelled {
			t.Fatalf("got %+v, %v, want a cancelled call and the cell sound", end, err)
		}
		released := false
		x.Ready = func() error {
			select {
			case <-time.After(50 * time.Millisecond): // init is at its end of the preparations by now, or later
			case <-ctx.Done():
			}
			released = true
			return nil
		}
		x.WallTime = 20 * time.Second
		r := c.run(t, x)
		if r.ExitCode != 0 || string(r.stdout) != "ran\n" || !released || r.started == nil {
			t.Fatalf("got %+v, %q, want it to have run after its release", r.Exit, r.stdout)
		}
	}
	x := base("no-such-program")
	x.Ready = func() error { return nil }
	if r := c.run(t, x); r.StartError == "" || r.started != nil {
		t.Errorf("got %+v, want a start error", r.Exit)
	}
	c.onlyNext(t)
}

// TestNextStageIsMadeBeforeTheRelease: what a host does before it releases a call leaves
// the processors to the stage of the next one.
func TestNextStageIsMadeBeforeTheRelease(t *testing.T) {
	c := startCell(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := c.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	slot := c.slot
	x := base("true")
	x.Next = c.after()
	x.Ready = func() error {
		_, err := c.Prepare(ctx)
		return err
	}
	end, err := c.Exec(ctx, x, cell.Handlers{})
	if err != nil || end.ExitCode != 0 || end.Poisoned != "" {
		t.Fatalf("got %+v, %v, want the next stage while the call waits, then its end", end, err)
	}
	if c.slot == slot {
		t.Errorf("the next stage is in slot %d, where the call runs", slot)
	}
	if end, err = c.Exec(ctx, base("true"), cell.Handlers{}); err != nil || end.ExitCode != 0 {
		t.Errorf("a call in that stage: got %+v, %v", end, err)
	}
}

// TestNextStageIsToldOfWhileAProgramRuns: of a program that says nothing the host hears late,
// and of the next stage with it, but it does not wait for the program's end.
func TestNextStageIsToldOfWhileAProgramRuns(t *testing.T) {
	c := startCell(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, change := range []func(*cell.Exec){
		func(*cell.Exec) {},
		func(x *cell.Exec) { x.Live = true },
		func(x *cell.Exec) { x.Ready = func() error { return nil } },
	} {
		if _, err := c.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
		x := base("sleep", "1000")
		x.Next = c.after()
		change(&x)
		running, end := context.WithCancel(ctx)
		started, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			_, err := c.Exec(running, x, cell.Handlers{Started: func(cell.Started) { close(started) }})
			ended <- err
		}()
		select {
		case <-started:
		case <-ctx.Done():
			t.Fatal("the host is not told of the start")
		}
		if _, err := c.Prepare(ctx); err != nil {
			t.Errorf("the next stage while the program runs: %v", err)
		}
		end()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if r, err := c.Exec(ctx, base("true"), cell.Handlers{}); err != nil || r.ExitCode != 0 {
			t.Fatalf("a call in that stage: got %+v, %v", r, err)
		}
	}
}
