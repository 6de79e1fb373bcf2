package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox"
)

// RunFunc stands for a program: it gets the call as Fake got it and a context
// that ends with the call's deadline or cancellation.
type RunFunc func(ctx context.Context, call sandbox.Call) (sandbox.Result, error)

// Fake is a sandbox.Runtime and sandbox.ImageStore in memory. It runs the
// function that it was made with, on the machine itself and without any
// isolation. It is safe for concurrent use.
type Fake struct {
	run RunFunc

	mu       sync.Mutex
	calls    []sandbox.Call
	ended    []string
	images   []sandbox.Image
	notReady error
	closed   bool
}

var (
	_ sandbox.Runtime    = (*Fake)(nil)
	_ sandbox.ImageStore = (*Fake)(nil)
)

// NewFake returns a Fake that answers each call with run. A nil run answers
// EXITED with code 0 and no output.
func NewFake(run RunFunc) *Fake {
	if run == nil {
		run = func(context.Context, sandbox.Call) (sandbox.Result, error) {
			return sandbox.Result{Outcome: sandbox.OutcomeExited}, nil
		}
	}
	return &Fake{run: run}
}

// Exit returns a Result as of a program that wrote stdout and ended with code.
func Exit(code int, stdout string) sandbox.Result {
	return sandbox.Result{
		Outcome: sandbox.OutcomeExited, ExitCode: code,
		Stdout: sandbox.Output{Head: []byte(stdout), TotalBytes: int64(len(stdout))},
	}
}

// Run implements sandbox.Runtime. It keeps the contract around the function: the
// call is checked, Ready is asked, the deadline of Limits.WallTime ends it with TIMED_OUT and a
// cancelled ctx with CANCELLED, output is cut to Limits.OutputBytes, the
// observer is told of the start and of the output, and an empty receipt is
// filled with what the call asked for.
func (f *Fake) Run(ctx context.Context, call sandbox.Call) (sandbox.Result, error) {
	if err := call.Validate(); err != nil {
		return sandbox.Result{}, err
	}
	f.mu.Lock()
	closed, notReady := f.closed, f.notReady
	f.mu.Unlock()
	if closed {
		return sandbox.Result{}, fmt.Errorf("run after close: %w", errdefs.ErrUnavailable)
	}
	if notReady != nil {
		return sandbox.Result{}, fmt.Errorf("%w: %w", errdefs.ErrUnavailable, notReady)
	}
	if ctx.Err() != nil {
		return interrupted(ctx), nil
	}
	began := time.Now()
	if call.Ready != nil {
		if err := call.Ready(ctx); err != nil {
			if ctx.Err() != nil {
				return interrupted(ctx), nil
			}
			return sandbox.Result{}, fmt.Errorf("make ready: %w", err)
		}
		if ctx.Err() != nil {
			return interrupted(ctx), nil
		}
	}
	f.mu.Lock()
	f.calls = append(f.calls, call)
	f.mu.Unlock()
	started := time.Now() // before the deadline is set, or a call could end before its limit
	runCtx, cancel := context.WithTimeoutCause(ctx, call.Limits.WallTime, sandbox.ErrDeadline)
	defer cancel()
	if call.Observer != nil {
		call.Observer.Started(receiptOf(call))
	}
	type answer struct {
		res sandbox.Result
		err error
	}
	done := make(chan answer, 1)
	go func() {
		res, err := f.run(runCtx, call)
		done <- answer{res, err}
	}()
	var a answer
	select {
	case a = <-done:
	case <-runCtx.Done():
		a.res = interrupted(runCtx)
	}
	if a.err != nil {
		return sandbox.Result{}, a.err
	}
	ended := time.Now()
	res := finish(call, a.res, ended.Sub(started))
	if res.Steps == nil {
		res.Steps = []sandbox.Step{
			{Name: "ready", Took: started.Sub(began)}, {Name: "run", Took: ended.Sub(started)}, {Name: "collect", Took: time.Since(ended)},
		}
	}
	return res, nil
}

// EndSession implements sandbox.Runtime; Ended tells which keys came.
func (f *Fake) EndSession(_ context.Context, reuseKey string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, reuseKey)
	return nil
}

// Capabilities implements sandbox.Runtime: it claims nothing.
func (f *Fake) Capabilities(context.Context) (sandbox.Capabilities, error) {
	return sandbox.Capabilities{Kernel: "fake", Runtime: "fake", Controls: []sandbox.Control{
		{Name: "isolation", Binds: false, Detail: "the fake runs Go functions", Remedy: "use a real runtime"},
	}}, nil
}

// Ready implements sandbox.Runtime.
func (f *Fake) Ready(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("closed: %w", errdefs.ErrUnavailable)
	}
	return f.notReady
}

// Pools implements sandbox.Runtime: there are no cells.
func (f *Fake) Pools() []sandbox.Pool { return nil }

// Close implements sandbox.Runtime.
func (f *Fake) Close(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

// SetReady makes Ready answer err and, if it is not nil, Run fail with it.
func (f *Fake) SetReady(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notReady = err
}

// Calls returns the calls that reached the function, in order.
func (f *Fake) Calls() []sandbox.Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]sandbox.Call(nil), f.calls...)
}

// Ended returns the reuse keys that EndSession was called with, in order.
func (f *Fake) Ended() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.ended...)
}

// Import implements sandbox.ImageStore: the digest is made from the bytes.
func (f *Fake) Import(_ context.Context, archive io.Reader, name string) ([]sandbox.Image, error) {
	img, err := fakeImage(archive, name)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images = append(without(f.images, name), img)
	return []sandbox.Image{img}, nil
}

// List implements sandbox.ImageStore.
func (f *Fake) List(context.Context) ([]sandbox.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return sorted(f.images), nil
}

// Remove implements sandbox.ImageStore.
func (f *Fake) Remove(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := without(f.images, name)
	if len(left) == len(f.images) {
		return fmt.Errorf("image %q: %w", name, errdefs.ErrNotFound)
	}
	f.images = left
	return nil
}

func interrupted(ctx context.Context) sandbox.Result {
	out := sandbox.OutcomeCancelled
	if errors.Is(context.Cause(ctx), sandbox.ErrDeadline) {
		out = sandbox.OutcomeTimedOut
	}
	return sandbox.Result{Outcome: out, ExitCode: -1}
}
