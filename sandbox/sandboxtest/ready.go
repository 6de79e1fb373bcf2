package sandboxtest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox"
)

// begun counts how often a program was started.
type begun struct{ n atomic.Int64 }

func (b *begun) Started(sandbox.Receipt)              { b.n.Add(1) }
func (b *begun) Output(sandbox.Stream, int64, []byte) {}

func testReady(t *testing.T, rt sandbox.Runtime) {
	var asked, early int64
	seen := &begun{}
	call := Call("echo ran")
	call.Observer = seen
	call.Ready = func(context.Context) error {
		asked++
		early = seen.n.Load()
		return nil
	}
	res := mustRun(t, rt, call)
	wantExit(t, res, 0)
	if asked != 1 || early != 0 || seen.n.Load() != 1 {
		t.Errorf("asked %d times, started %d times before and %d in all: want 1, 0, 1", asked, early, seen.n.Load())
	}
}

func testReadyRefuses(t *testing.T, rt sandbox.Runtime) {
	refused := errors.New("the record could not be written")
	seen := &begun{}
	call := Call("echo ran")
	call.Observer = seen
	call.Ready = func(context.Context) error { return refused }
	if res, err := rt.Run(t.Context(), call); !errors.Is(err, refused) || seen.n.Load() != 0 {
		t.Errorf("got %s, %v, started %d times: want the error and nothing started", res.Outcome, err, seen.n.Load())
	}
	// Its cell is fit for the next call.
	wantExit(t, mustRun(t, rt, Call("true")), 0)
}

func testReadyCancelled(t *testing.T, rt sandbox.Runtime) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	seen := &begun{}
	call := Call("echo ran")
	call.Observer = seen
	call.Ready = func(ctx context.Context) error {
		cancel(errors.New("host went away"))
		<-ctx.Done()
		return context.Cause(ctx)
	}
	res, err := rt.Run(ctx, call)
	if err != nil || res.Outcome != sandbox.OutcomeCancelled || seen.n.Load() != 0 {
		t.Errorf("got %s, %v, started %d times: want CANCELLED and nothing started", res.Outcome, err, seen.n.Load())
	}
}

func testSteps(t *testing.T, rt sandbox.Runtime) {
	call := Call("sleep 0.3")
	call.Ready = func(context.Context) error { return nil }
	began := time.Now()
	res := mustRun(t, rt, call)
	took := time.Since(began)
	wantExit(t, res, 0)
	var sum, run time.Duration
	for _, s := range res.Steps {
		if s.Took < 0 {
			t.Errorf("step %s took %s", s.Name, s.Took)
		}
		sum += s.Took
		if s.Name == "run" {
			run += s.Took
		}
	}
	if sum > took || sum < took*9/10 || run < 300*time.Millisecond {
		t.Errorf("steps %+v add up to %s, run is %s of it: want all of %s, and at least 300ms", res.Steps, sum, run, took)
	}
}
