package containerd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// result turns init's report and the control group's counters into a Result.
func (u *running) result(ctx context.Context, exit cell.Exit) sandbox.Result {
	usage := u.stage.group.Usage()
	if u.c.class.veiled() {
		usage = u.usageVeiled(usage)
	} else {
		// What a transactional call wrote is charged to its group until it is let go of.
		u.c.slots[u.stage.slot].worn = u.stage.group.Worn(usage) || u.overlay != nil
	}
	if exit.StartError == "" && exit.ExitCode != 0 && u.full() {
		exit.DiskFull = true
	}
	res := u.base(usage, exit.StdoutTotal, exit.StderrTotal)
	res.Usage.BackgroundKilled = exit.BackgroundKilled
	if res.Usage.CPUUser < 0 {
		res.Usage.CPUUser, res.Usage.CPUSystem = exit.CPUUser, exit.CPUSystem
	}
	if exit.StartError == "" { // the news of a short program's start may have come with its end
		res.RunTime, res.StartTime = exit.RunTime, max(0, u.execTime-exit.RunTime)
	}
	res.ExitCode = -1
	res.Outcome = outcomeOf(exit, res.Usage.OOMKills, context.Cause(ctx))
	res.Overlay = u.handOver()
	switch res.Outcome {
	case sandbox.OutcomeExited, sandbox.OutcomeDiskLimit, sandbox.OutcomeOutOfMemory:
		res.ExitCode = exit.ExitCode
	case sandbox.OutcomeSignaled:
		res.Signal = signalName(exit.Signal)
	case sandbox.OutcomeStartFailed:
		res.Message = exit.StartError
	}
	return res
}

// outcomeOf says why a call ended. What init did comes first, since it names a
// cause; then what the kernel did; then how the program ended by itself. A
// program that exits with 137 of its own is EXITED: only the counter of the
// call's own control group says that memory was the cause.
func outcomeOf(exit cell.Exit, oomKills int64, cause error) sandbox.Outcome {
	switch {
	case exit.StartError != "":
		return sandbox.OutcomeStartFailed
	case exit.TimedOut, exit.Cancelled && errors.Is(cause, sandbox.ErrDeadline):
		return sandbox.OutcomeTimedOut
	case exit.Cancelled:
		return sandbox.OutcomeCancelled
	case exit.OutputLimit:
		return sandbox.OutcomeOutputLimit
	case oomKills > 0:
		return sandbox.OutcomeOutOfMemory
	case exit.DiskFull, exit.Signal == int(unix.SIGXFSZ):
		return sandbox.OutcomeDiskLimit
	case exit.Signal != 0:
		return sandbox.OutcomeSignaled
	}
	return sandbox.OutcomeExited
}

// base is what all results of this call have; the totals are those of its streams, as
// far as they are known. It is asked once.
func (u *running) base(g cgroup.Usage, stdout, stderr int64) sandbox.Result {
	return sandbox.Result{
		QueueTime: u.queued, StartTime: u.startTime, RunTime: time.Since(u.from) - u.startTime,
		Stdout: u.stdout.output(stdout), Stderr: u.stderr.output(stderr),
		Usage: sandbox.Usage{
			CPUUser: g.CPUUser, CPUSystem: g.CPUSystem,
			MemoryPeakBytes: g.MemoryPeakBytes, PidsPeak: g.PidsPeak, PidsLimitHits: g.PidsLimitHits,
			OOMKills: g.OOMKills, IOReadBytes: g.IOReadBytes, IOWriteBytes: g.IOWriteBytes,
		},
		Receipt: u.receipt,
	}
}

// interrupted is the result of a call that ended while it waited for a cell.
func interrupted(ctx context.Context, waited time.Duration) sandbox.Result {
	res := sandbox.Result{Outcome: sandbox.OutcomeCancelled, ExitCode: -1, QueueTime: waited}
	if errors.Is(context.Cause(ctx), sandbox.ErrDeadline) {
		res.Outcome = sandbox.OutcomeTimedOut
	}
	return res
}

func signalName(n int) string {
	if name := unix.SignalName(unix.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("SIG%d", n)
}
