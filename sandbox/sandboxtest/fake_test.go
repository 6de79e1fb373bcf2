package sandboxtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

func call() sandbox.Call {
	return sandbox.Call{
		ID: "c1", Argv: []string{"echo", "hi"},
		Limits: sandbox.Limits{
			WallTime: time.Minute, CPUMillis: 1000, MemoryBytes: 64 << 20, Pids: 8, OutputBytes: 8, DiskBytes: 1 << 20,
		},
	}
}

func TestFakeAnswersWithItsFunction(t *testing.T) {
	fake := sandboxtest.NewFake(func(_ context.Context, c sandbox.Call) (sandbox.Result, error) {
		return sandboxtest.Exit(3, strings.Join(c.Argv, " ")+" 0123456789"), nil
	})
	res, err := fake.Run(t.Context(), call())
	if err != nil {
		t.Fatal(err)
	}
	want := sandbox.Output{Head: []byte("echo"), Tail: []byte("6789"), TotalBytes: 18}
	if res.Outcome != sandbox.OutcomeExited || res.ExitCode != 3 || cmp.Diff(want, res.Stdout) != "" {
		t.Errorf("got %s %d %+v, want EXITED 3 %+v", res.Outcome, res.ExitCode, res.Stdout, want)
	}
	if got := fake.Calls(); len(got) != 1 || got[0].ID != "c1" {
		t.Errorf("recorded calls %+v, want c1", got)
	}
}

func TestFakeKeepsDeadlineAndCancellation(t *testing.T) {
	never := make(chan struct{})
	fake := sandboxtest.NewFake(func(context.Context, sandbox.Call) (sandbox.Result, error) {
		<-never // a program that ignores its end
		return sandbox.Result{}, nil
	})
	t.Cleanup(func() { close(never) })
	c := call()
	c.Limits.WallTime = 5 * time.Millisecond
	if res, err := fake.Run(t.Context(), c); err != nil || res.Outcome != sandbox.OutcomeTimedOut {
		t.Errorf("deadline: got %q, %v, want TIMED_OUT", res.Outcome, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if res, err := fake.Run(ctx, call()); err != nil || res.Outcome != sandbox.OutcomeCancelled || res.ExitCode != -1 {
		t.Errorf("cancel: got %q %d, %v, want CANCELLED -1", res.Outcome, res.ExitCode, err)
	}
}

func TestFakeRefusesBadCallsAndWhenClosed(t *testing.T) {
	fake := sandboxtest.NewFake(nil)
	bad := call()
	bad.Limits.MemoryBytes = 0
	if _, err := fake.Run(t.Context(), bad); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "memory_bytes") {
		t.Errorf("zero memory: got %v, want an invalid argument naming memory_bytes", err)
	}
	gone := errors.New("no containerd")
	fake.SetReady(gone)
	if _, err := fake.Run(t.Context(), call()); !errdefs.IsUnavailable(err) || !errors.Is(err, gone) {
		t.Errorf("not ready: got %v, want unavailable", err)
	}
	if err := fake.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := fake.Run(t.Context(), call()); !errdefs.IsUnavailable(err) {
		t.Errorf("closed: got %v, want unavailable", err)
	}
}
