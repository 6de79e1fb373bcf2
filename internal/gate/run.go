package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// unknownOutcome is what a call has of which it is not known whether it ran.
const unknownOutcome = sandbox.OutcomeUnknown

// run runs an allowed call: intent on disk, program, outcome on disk.
func (w *way) run(ctx context.Context, place *admission.Ticket) (Result, error) {
	call, err := w.sandboxCall(w.cage())
	if err != nil {
		return Result{}, err
	}
	if w.session != nil {
		if err := w.session.CanLabel(w.decision.Labels); err != nil {
			return Result{}, err
		}
	}
	w.intent = w.begin(ctx, &call)
	call.Ready = w.ready
	before := w.look(&call)
	defer before.stop()
	w.mark(telemetry.Prepare)
	runCtx, cancel := w.withinTimeout(ctx)
	defer cancel()
	ran, err := w.gate.cfg.Runtime.Run(runCtx, call)
	failpoint.At(failpoint.GateRan)
	w.redacted(&ran)
	place.Leave()
	for _, step := range ran.Steps {
		w.trace.Add(telemetry.StepStage(step.Name), step.Took)
	}
	w.mark(telemetry.Sandbox)
	if ierr := w.intent.written(); ierr != nil {
		return Result{}, ierr // so it was not made ready
	}
	w.count()
	switch {
	case w.void != nil && !w.intent.passed:
		return w.voided(ctx, w.void)
	case err != nil && (w.intent.asked && !w.intent.passed || refusedToRun(err)):
		err = w.notRun(ctx, err)
		w.mark(telemetry.RecordOutcome)
		return Result{}, err
	case err != nil:
		ran = sandbox.Result{Outcome: unknownOutcome, ExitCode: -1, Message: "the sandbox failed: it is not known whether the call ran"}
	case !w.intent.passed && ran.Receipt.CellID != "":
		w.gate.log.Error("the sandbox ran a call that it had not asked about", zap.String("call_id", w.call.ID))
	}
	res := w.result(ran)
	res.endedBy(context.Cause(ctx))
	res.Duration.Queue += place.Waited
	settled := w.settle(ctx, &ran, &res)
	written := w.beginOutcome(ctx, &res)
	// What the record does not tell is found out while the disk takes it.
	w.compare(&call, before, &res)
	if w.session != nil {
		w.session.Spent(res.Usage.CPUUser + res.Usage.CPUSystem)
		w.session.Finished(session.Recent{Seq: w.seq, Tool: w.tool.Name, Outcome: string(res.Outcome), Digest: w.digest, At: w.trace.Began()})
	}
	rerr := written()
	settled(rerr == nil)
	w.mark(telemetry.RecordOutcome)
	switch {
	case err != nil:
		return res, errors.Join(fmt.Errorf("run call %q: %w", w.call.ID, err), rerr)
	case rerr != nil:
		// The call ran and the host must know what came of it. The journal shows it
		// as begun, so after a restart it is UNKNOWN.
		w.gate.log.Error("outcome not recorded", zap.String("call_id", w.call.ID), zap.Error(rerr))
	}
	return res, nil
}

// cage is what the call is put into: what policy demands, over the defaults of
// the tool and the daemon, under the ceiling.
func (w *way) cage() policy.SandboxObligations {
	ceiling, defaults := w.gate.cfg.Ceiling, overlay(w.gate.cfg.Defaults, w.tool.Defaults)
	if w.call.Detach {
		w.gate.cfg.Background.bound(&ceiling, &defaults)
	}
	return w.decision.Cage(ceiling, defaults)
}

// startMargin is what a call may take beyond the host's timeout, so that a call
// that gets its cell at once has its whole time.
const startMargin = 500 * time.Millisecond

// withinTimeout bounds a call to the host's timeout from its acceptance on, so
// that waiting for a cell counts. The program's own deadline begins at its start.
func (w *way) withinTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.call.Timeout <= 0 {
		return ctx, func() {}
	}
	left := min(w.call.Timeout, time.Duration(maxWallTimeMs)*time.Millisecond) + startMargin + w.paused - w.gate.now().Sub(w.trace.Began())
	return context.WithTimeoutCause(ctx, left, sandbox.ErrDeadline)
}

// refusedToRun tells errors by which a runtime says that it did not begin from
// those after which nothing is known.
func refusedToRun(err error) bool {
	return errdefs.IsInvalidArgument(err) || errdefs.IsFailedPrecondition(err) || errdefs.IsUnavailable(err) ||
		errdefs.IsResourceExhausted(err) || errdefs.IsNotFound(err)
}

// notRun records that the intent came to nothing; the id can be used again.
func (w *way) notRun(ctx context.Context, cause error) error {
	w.nothing = true
	err := fmt.Errorf("run call %q: %w", w.call.ID, cause)
	return errors.Join(err, w.recordNotRun(ctx, cause))
}

// sandboxCall puts the decided call into the sandbox's terms.
func (w *way) sandboxCall(cage policy.SandboxObligations) (sandbox.Call, error) {
	if cage.Network != "" && cage.Network != "none" {
		return sandbox.Call{}, fmt.Errorf("policy demands the network %q, which cannot be enforced here: %w", cage.Network, errdefs.ErrFailedPrecondition)
	}
	limits := limitsOf(cage)
	for _, wish := range []time.Duration{w.call.Timeout, w.runs().Timeout} {
		if wish > 0 {
			limits.WallTime = min(limits.WallTime, max(wish, time.Millisecond))
		}
	}
	call := sandbox.Call{
		ID:        sandboxID(w.key()),
		Image:     w.tool.Image,
		Isolation: sandbox.Isolation(cage.Isolation),
		Reuse:     sandbox.Reuse(cage.Reuse),
		Owner:     opaqueKey("owner", w.call.Caller.ID),
		Argv:      w.runs().Argv,
		Env:       w.environment(),
		Cwd:       w.call.Cwd,
		Stdin:     w.stdin(),
		Limits:    limits,
		Live:      w.call.Detach, // who looks later wants all of it
	}
	if w.obs != nil {
		call.Observer = w.obs
	}
	w.interactive(&call)
	if err := w.redactOutput(&call); err != nil {
		return sandbox.Call{}, err
	}
	if call.Image == "" {
		call.Image = w.gate.cfg.DefaultImage
	}
	w.setReuse(&call)
	return call, w.setWorkspace(&call, cage)
}

// sandboxID names a call in the sandbox: ids are each caller's own, the sandbox's
// are the machine's.
func sandboxID(key callKey) string {
	return key.id[:min(len(key.id), 64)] + "-" + opaqueKey(key.caller, key.id)[:16]
}

func (w *way) stdin() io.Reader {
	if w.runs().StdinIsArgs {
		return bytes.NewReader(w.runs().Stdin)
	}
	return w.call.Stdin
}

// setReuse names for whom a cell may be kept. Without a session there is nothing
// that reuse within a session could mean.
func (w *way) setReuse(call *sandbox.Call) {
	switch call.Reuse {
	case sandbox.ReuseSession:
		if w.call.SessionID == "" {
			call.Reuse = sandbox.ReuseNever
			return
		}
		call.ReuseKey = sessionReuseKey(w.call.Caller.ID, w.call.SessionID)
	case sandbox.ReuseCaller:
		call.ReuseKey = opaqueKey("caller", w.call.Caller.ID)
	default:
		call.Reuse = sandbox.ReuseNever
	}
}

func sessionReuseKey(caller, id string) string { return opaqueKey("session", caller, id) }

func (w *way) setWorkspace(call *sandbox.Call, cage policy.SandboxObligations) error {
	call.Workspace.ReadOnly = cage.Workspace == "ro"
	call.Workspace.Transaction = cage.Workspace == policy.WorkspaceTransaction
	for _, m := range cage.Mounts {
		call.Mounts = append(call.Mounts, sandbox.Mount{Path: m.Path, Mode: sandbox.MountMode(m.Mode), IfExists: m.IfExists})
	}
	switch {
	case w.call.WorkspaceDir != "":
		call.Workspace.HostDir, call.Workspace.KeepOwner = w.call.WorkspaceDir, true
	case w.session != nil:
		if err := w.session.EnsureWorkspace(); err != nil {
			return err
		}
		call.Workspace.HostDir, call.Workspace.KeepOwner = w.session.WorkspaceDir(), w.session.KeepOwner()
		call.Workspace.DiskBytes = w.session.DiskBytes()
	}
	if dir := call.Workspace.HostDir; call.Workspace.Transaction && dir != "" {
		w.stage = w.stagePath(dir, call.Workspace.KeepOwner)
	}
	return nil
}

// environment is all that the program gets: the host's variables less those that
// policy drops, the declaration's, then policy's. Nothing of the daemon's own
// environment is in it. Variables such as LD_PRELOAD or BASH_ENV are allowed
// here: they act inside the cage only, and policy sees them in call.env.
func (w *way) environment() []string {
	env := maps.Clone(w.call.Env)
	if env == nil {
		env = make(map[string]string)
	}
	exec := w.decision.Obligations.Exec
	maps.DeleteFunc(env, func(name, _ string) bool {
		for _, pattern := range exec.EnvDrop {
			// A pattern that cannot be read drops everything: what was to be kept
			// out must not get in.
			if ok, err := path.Match(pattern, name); ok || err != nil {
				return true
			}
		}
		return false
	})
	out := make([]string, 0, len(env)+len(w.runs().Env)+len(exec.EnvSet))
	for _, kv := range w.runs().Env {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	maps.Copy(env, exec.EnvSet)
	for _, name := range sortedKeys(env) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// overlay puts what the tool wants by default over the daemon's defaults.
func overlay(o policy.SandboxObligations, d catalog.Defaults) policy.SandboxObligations {
	for _, f := range []struct {
		to   *int64
		want int64
	}{
		{&o.WallTimeMs, d.WallTimeMs},
		{&o.CPUMillis, d.CPUMillis},
		{&o.MemoryBytes, d.MemoryBytes},
		{&o.Pids, d.Pids},
		{&o.OutputBytes, d.OutputBytes},
		{&o.DiskBytes, d.DiskBytes},
		{&o.FileBytes, d.FileBytes},
		{&o.OpenFiles, d.OpenFiles},
	} {
		if f.want > 0 {
			*f.to = f.want
		}
	}
	return o
}

func limitsOf(c policy.SandboxObligations) sandbox.Limits {
	return sandbox.Limits{
		WallTime: time.Duration(min(c.WallTimeMs, maxWallTimeMs)) * time.Millisecond, CPUMillis: c.CPUMillis,
		MemoryBytes: c.MemoryBytes, Pids: c.Pids, OutputBytes: c.OutputBytes, OutputTotalBytes: c.OutputTotalBytes,
		DiskBytes: c.DiskBytes, FileBytes: c.FileBytes, OpenFiles: c.OpenFiles,
	}
}

// maxWallTimeMs keeps a deadline within what a time.Duration can hold.
const maxWallTimeMs = int64(365 * 24 * time.Hour / time.Millisecond)

// result puts the sandbox's result into the host's terms.
func (w *way) result(ran sandbox.Result) Result {
	res := Result{
		CallID: w.call.ID, Outcome: Outcome(ran.Outcome), ExitCode: ran.ExitCode, Signal: ran.Signal, Message: ran.Message,
		Stdout: ran.Stdout, Stderr: ran.Stderr, Usage: ran.Usage, Decision: w.decision, Digest: w.digest, Redactions: w.redactions,
		Duration: Durations{Queue: ran.QueueTime, Decide: w.decided, Start: ran.StartTime, Run: ran.RunTime},
	}
	if ran.Outcome != sandbox.OutcomeExited {
		res.ExitCode = -1
	}
	if w.approval != nil {
		res.ApprovalID = w.approval.ID
	}
	switch {
	case ran.Receipt.CellID != "":
		receipt := ran.Receipt
		res.Receipt = &receipt
	case ran.Outcome == sandbox.OutcomeTimedOut && res.Message == "":
		res.Message = "not run: the timeout of the call passed before its program began"
	}
	res.IsError = ran.Outcome != sandbox.OutcomeExited || ran.ExitCode != 0
	for _, o := range []sandbox.Output{ran.Stdout, ran.Stderr} {
		res.ResultSizeBytes += int64(len(o.Head) + len(o.Tail))
	}
	w.sealed(&res)
	return res
}
