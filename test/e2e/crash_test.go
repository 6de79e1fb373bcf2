package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// TestKilledDaemonLeavesNoOrphanAndSaysUnknown kills the daemon with SIGKILL
// while ten calls run: after a restart nothing of them is left and each
// answers UNKNOWN, because it may have run.
func TestKilledDaemonLeavesNoOrphanAndSaysUnknown(t *testing.T) {
	const calls = 10
	d := daemontest.Start(t, "pool: {idle: 2, max_cells: 16}\n")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	started := make(chan error, calls)
	for i := range calls {
		go func() { started <- startCall(ctx, d, fmt.Sprintf("crash-%d", i)) }()
	}
	for range calls {
		if err := <-started; err != nil {
			t.Fatalf("start a call: %v", err)
		}
	}
	if got := d.Footprint(); got.Guests < calls {
		t.Fatalf("before the kill: %+v, want at least %d guests", got, calls)
	}
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := d.Run(ctx); err != nil {
		t.Fatalf("restart: %v", err)
	}
	// A cell has two slots for calls, and is init, two fork servers, a stage and its holder.
	fresh := daemontest.Footprint{Cells: 2, CallGroups: 4, Shims: 2, Inits: 10, Mounts: 64, NetNS: 64}
	d.WaitFootprint(t, fresh, 5*time.Second)

	for i := range calls {
		id := fmt.Sprintf("crash-%d", i)
		got, err := d.Tools.GetCall(ctx, &sandgatev1.GetCallRequest{CallId: id})
		if err != nil || got.GetResult().GetOutcome() != sandgatev1.Outcome_OUTCOME_UNKNOWN {
			t.Errorf("GetCall %s: got %v, %v; want UNKNOWN", id, got.GetResult().GetOutcome(), err)
		}
		again := d.Execute(t, sleeper(id))
		if again.GetOutcome() != sandgatev1.Outcome_OUTCOME_UNKNOWN || !again.GetReplayed() {
			t.Errorf("Execute %s again: got %v (replayed %v), want the stored UNKNOWN", id, again.GetOutcome(), again.GetReplayed())
		}
	}
	if r := d.Execute(t, daemontest.Bash("echo alive", daemontest.Profile("open"))); daemontest.Text(r.GetStdout()) != "alive\n" {
		t.Errorf("a new call: got %v", r)
	}
}

func sleeper(id string) *sandgatev1.ExecuteRequest {
	return daemontest.Bash("sleep 300", daemontest.Profile("open"), daemontest.CallID(id), daemontest.Timeout(100*time.Second))
}

// startCall starts a sleeping call and returns when the daemon says that it runs.
func startCall(ctx context.Context, d *daemontest.Daemon, id string) error {
	stream, err := d.Tools.ExecuteStream(ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Start{
		Start: &sandgatev1.ExecuteStart{Call: sleeper(id).GetCall()},
	}})
	for err == nil {
		var m *sandgatev1.ExecuteStreamResponse
		if m, err = stream.Recv(); err == nil && m.GetStarted() != nil {
			return nil
		}
		if m.GetResult() != nil {
			return fmt.Errorf("%s ended before it ran: %v", id, m.GetResult())
		}
	}
	return err
}

// TestStoppedDaemonLeavesNothing ends a daemon by SIGTERM while a call runs.
func TestStoppedDaemonLeavesNothing(t *testing.T) {
	d := daemontest.Start(t, "pool: {idle: 2}\n")
	if err := startCall(t.Context(), d, "stopped"); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	d.WaitFootprint(t, daemontest.Footprint{NetNS: 64}, 5*time.Second)
	if log := d.Log(); !strings.Contains(log, "CANCELLED") {
		t.Errorf("the log does not say that the running call was cancelled:\n%s", d.LogTail(20))
	}
}
