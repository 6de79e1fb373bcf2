package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cgroup"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// killGrace is how long after its deadline or cancellation a call may take to
// end by init's hand; then the host kills the cell.
const killGrace = 2 * time.Second

// startGrace is how long init may take to start the program.
const startGrace = 20 * time.Second

// readyGrace is how long whoever calls may take to be ready; it has a deadline of its
// own before that.
const readyGrace = time.Minute

// claimTries bounds how many unfit cells a call goes through.
const claimTries = 4

// errUnfit is wrapped when a cell failed before anything ran in it: another may serve.
var errUnfit = errors.New("cell is unfit")

// Run implements sandbox.Runtime.
func (r *Runtime) Run(ctx context.Context, call sandbox.Call) (sandbox.Result, error) {
	if err := r.check(&call); err != nil {
		return sandbox.Result{}, err
	}
	began := time.Now()
	cl, env, err := r.resolve(ctx, &call)
	if err != nil {
		if ctx.Err() != nil {
			return interrupted(ctx, time.Since(began)), nil
		}
		return sandbox.Result{}, err
	}
	key := ""
	if call.Reuse != sandbox.ReuseNever && call.Reuse != "" {
		key = string(call.Reuse) + "\x00" + call.ReuseKey
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(context.Cause(r.ctx)) })()
	for try := 1; ; try++ {
		c, err := r.pool.claim(ctx, cl, key, call.Owner)
		if err != nil {
			if ctx.Err() != nil && r.ctx.Err() == nil {
				return interrupted(ctx, time.Since(began)), nil
			}
			return sandbox.Result{}, err
		}
		select {
		case <-c.staging.done:
		case <-ctx.Done():
			r.pool.unclaim(c)
			return interrupted(ctx, time.Since(began)), nil
		}
		now := time.Now()
		run := &running{r: r, c: c, call: &call, env: env, dir: cl.dir, stage: c.staging, queued: now.Sub(began), from: now, marked: began}
		run.stdout.blocks, run.stderr.blocks = &r.blocks, &r.blocks
		if call.Live {
			run.stdout.live, run.stderr.live = call.Limits.OutputBytes, call.Limits.OutputBytes
		}
		run.step("claim", now)
		failpoint.At(failpoint.SandboxClaimed)
		if err = c.staging.err; err == nil {
			err = run.bound()
			run.step("limits", time.Now())
			failpoint.At(failpoint.SandboxLimits)
		}
		if err != nil {
			r.pool.doubt(c)
			r.pool.release(c, false)
		} else if res, rerr := run.do(ctx); !errors.Is(rerr, errUnfit) {
			if rerr == nil {
				run.step("collect", time.Now())
				res.Steps = run.steps
			}
			return res, rerr
		} else {
			err = rerr
		}
		r.log.Warn("cell unfit", "cell_id", c.id, "error", err)
		if try == claimTries || c.calls == 0 && errdefs.IsFailedPrecondition(err) {
			return sandbox.Result{}, classify(fmt.Errorf("no cell is fit, the last one: %w", err))
		}
	}
}

// step notes what took the time since the last one.
func (u *running) step(name string, now time.Time) {
	u.steps = append(u.steps, sandbox.Step{Name: name, Took: now.Sub(u.marked)})
	u.marked = now
}

// check refuses what cannot be done at all, before anything is claimed.
func (r *Runtime) check(call *sandbox.Call) error {
	if err := call.Validate(); err != nil {
		return err
	}
	// Too large for one message to init; what an environment gets added is small.
	total := 0
	for _, s := range slices.Concat(call.Argv, call.Env) {
		total += len(s) + 8
	}
	if total > cell.MaxFrameBytes-(64<<10) {
		return fmt.Errorf("argv and env are %d bytes: at most %d: %w", total, cell.MaxFrameBytes-(64<<10), errdefs.ErrInvalidArgument)
	}
	if call.Limits.OutputBytes > cell.MaxOutputBytes {
		return fmt.Errorf("limit output_bytes is %d: at most %d can be kept: %w",
			call.Limits.OutputBytes, cell.MaxOutputBytes, errdefs.ErrInvalidArgument)
	}
	if call.Image == "" {
		call.Image = sandbox.HostImage
	}
	if call.Isolation == "" {
		call.Isolation = sandbox.IsolationRunc
	}
	if err := checkVeiled(call); err != nil {
		return err
	}
	return r.required()
}

// running is one call in its cell. It is used by one goroutine, but for the
// methods named in cell.Handlers, which the cell's connection calls.
type running struct {
	r     *Runtime
	c     *aCell
	call  *sandbox.Call
	env   []string
	stage *staging
	dir   workspace // of the call, if its cell must have that for life; zero otherwise

	queued  time.Duration
	from    time.Time // when it got the cell
	workdir string    // what the receipt says of the workspace
	kind    cell.WorkspaceKind
	// arranged: its stage has mounts for parts of this call's workspace, perhaps some
	// only. mounts are those that the kernel shows.
	arranged bool
	mounts   []sandbox.MountState
	// diskBytes is what the file system of the workspace holds, as the kernel shows it;
	// 0: nothing bounds it.
	diskBytes int64
	overlay   *overlay // of a transactional call; nil: none, or handed over
	keep      bool     // the cell may serve another call

	steps    []sandbox.Step
	marked   time.Time     // end of the last step
	execTime time.Duration // from the request to init's answer

	enforced map[string]int64
	killed   atomic.Bool // by the host's backstop
	// Set by the handlers; read after Exec has returned.
	started        bool
	startTime      time.Duration
	receipt        sandbox.Receipt
	stdout, stderr collector
	early          []chunk // bounded by what the call may keep
}

// do runs the call and gives the cell back. An error says that nothing has run;
// one that wraps errUnfit, that it was the cell's fault.
func (u *running) do(ctx context.Context) (sandbox.Result, error) {
	defer u.dropOverlay()
	err := u.mountWorkspace()
	u.step("workspace", time.Now())
	failpoint.At(failpoint.SandboxWorkspace)
	if err == nil {
		err = u.stageLives()
	}
	if err != nil {
		if errors.Is(err, errUnfit) || u.kind == cell.WorkspaceMoved || u.arranged {
			u.r.pool.release(u.c, false) // its stage has this call's workspace, or a part of it
		} else {
			u.r.pool.unclaim(u.c) // nothing has run, and its stage waits on
		}
		if errors.Is(err, errUnfit) {
			return sandbox.Result{}, err
		}
		return sandbox.Result{}, classify(err)
	}
	fit := false
	u.keep = u.call.Reuse != sandbox.ReuseNever && u.call.Reuse != "" && u.c.calls+1 < u.r.cfg.MaxCalls
	defer func() {
		if !fit {
			u.r.pool.doubt(u.c)
		}
		u.giveBack(fit && u.keep)
	}()
	exit, err := u.exec(ctx)
	failpoint.At(failpoint.SandboxExited)
	u.ran(exit, time.Now())
	switch {
	case errors.Is(err, cell.ErrNotReady) && ctx.Err() != nil:
		fit = u.sound(exit)
		return interrupted(ctx, u.queued), nil
	case errors.Is(err, cell.ErrNotReady):
		fit = u.sound(exit)
		return sandbox.Result{}, fmt.Errorf("not run: %w", err)
	case errors.Is(err, cell.ErrNotSent) && u.c.conn.Ended():
		return sandbox.Result{}, fmt.Errorf("run in cell %s: %w: %w", u.c.id, err, errUnfit)
	case errors.Is(err, cell.ErrNotSent): // the request itself cannot be sent
		return sandbox.Result{}, classify(fmt.Errorf("run in cell %s: %w", u.c.id, err))
	case err != nil:
		return u.lost(ctx, err), nil
	}
	fit = exit.Poisoned == ""
	return u.result(ctx, exit), nil
}

// ran notes the steps of a call of whose end the host knew then: what init says of its
// parts, so far as it can be. The answer's way to the host is a part of "collect", but for
// gVisor, whose clock is not this machine's, of "start".
func (u *running) ran(exit cell.Exit, now time.Time) {
	u.execTime = now.Sub(u.marked)
	left := u.execTime
	part := func(wanted time.Duration) time.Duration {
		took := min(max(wanted, 0), left)
		left -= took
		return took
	}
	own, reap, back := part(exit.OwnTime), part(exit.ReapTime), time.Duration(0)
	if !u.c.class.veiled() && exit.Answered > 0 {
		back = part(u.r.clock.Kernel(now) - exit.Answered)
	}
	u.steps = append(
		u.steps, sandbox.Step{Name: "start", Took: left}, sandbox.Step{Name: "run", Took: own}, sandbox.Step{Name: "reap", Took: reap},
	)
	u.marked = now.Add(-back)
}

// sound reports whether a cell whose call was not released can serve another.
func (u *running) sound(exit cell.Exit) bool {
	return exit.Poisoned == "" && !u.c.conn.Ended()
}

// ready waits for what must be true before the program runs, once for a call,
// while init gets the rest ready.
func (u *running) ready(ctx context.Context) error {
	if u.call.Ready != nil {
		ask := u.call.Ready
		if err := ask(ctx); err != nil {
			return err
		}
		u.call.Ready = nil // a further cell need not ask again
	}
	if ctx.Err() != nil { // cancelled meanwhile: what did not begin need not be ended
		return context.Cause(ctx)
	}
	u.c.alarm.set(0, startGrace+u.call.Limits.WallTime+killGrace)
	u.step("ready", time.Now())
	failpoint.At(failpoint.SandboxReady)
	return nil
}

// stageLives looks for the process that is to run the call. Init may have ended a
// moment ago, and nobody has told yet: a request would then be lost on its way,
// and nobody could say that it has not run.
func (u *running) stageLives() error {
	if err := unix.Kill(u.stage.stage, 0); err != nil {
		return fmt.Errorf("stage of cell %s: %w: %w", u.c.id, err, errUnfit)
	}
	return nil
}

// bound writes the limits of the cell and of the call and keeps what the kernel
// made of them.
func (u *running) bound() error {
	l := u.call.Limits
	u.c.disk = l.DiskBytes
	if u.c.class.veiled() {
		if err := u.boundVeiled(); err != nil {
			return err
		}
		u.stage.group.Begin()
		return nil
	}
	outer := cgroup.Limits{MemoryBytes: l.MemoryBytes + overheadBytes, Pids: l.Pids + overheadPids}
	if outer != u.c.outer {
		if _, err := u.r.groups.SetLimits(u.c.path, outer); err != nil {
			return fmt.Errorf("bound cell %s: %w", u.c.id, err)
		}
		u.c.outer = outer
	}
	inner := cgroup.Limits{MemoryBytes: l.MemoryBytes, Pids: l.Pids, CPUMillis: l.CPUMillis}
	got, err := u.stage.group.SetLimits(inner)
	if err != nil {
		return fmt.Errorf("bound call %s: %w", u.call.ID, err)
	}
	u.enforced = got
	if now := (limits{inner: inner, disk: l.DiskBytes}); now != u.r.last() {
		u.r.lastLimits.Store(&now)
	}
	u.stage.group.Begin()
	return nil
}

// exec hands the program to init and waits for the end of its tree. Behind init's
// own deadline stands the host's.
func (u *running) exec(ctx context.Context) (cell.Exit, error) {
	l := u.call.Limits
	if u.call.Live {
		u.r.metered.Store(u.call.ID, u.stage.group.Meter())
		defer u.r.metered.Delete(u.call.ID)
	}
	u.r.heavies.enter(u, u.marked)
	defer u.r.heavies.leave(u)
	if u.c.alarm == nil {
		u.c.alarm = &alarm{}
	}
	u.c.alarm.begin(u.loosen, u.kill)
	defer u.c.alarm.end()
	u.c.alarm.set(0, readyGrace+startGrace+l.WallTime+killGrace)
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		u.loosen()
		u.c.alarm.set(0, killGrace)
	})
	defer func() {
		if !stop() {
			<-ended // else it could set the alarm of the cell's next call, and lift its limit
		}
	}()
	inputs := ctx
	if u.call.Control != nil {
		var noMore context.CancelCauseFunc
		inputs, noMore = context.WithCancelCause(ctx)
		defer noMore(nil)
	}
	var next *cell.Stage
	if u.ahead() {
		if spec, ready := u.r.nextSpec(u.c, u.otherSlot()); ready {
			next = &spec
		}
	}
	pids := int64(0)
	if u.c.class.veiled() {
		pids = l.Pids
	}
	return u.c.conn.Exec(ctx, cell.Exec{
		Argv: u.call.Argv, Env: u.env, Cwd: u.call.Cwd,
		WallTime: l.WallTime, OutputBytes: l.OutputBytes, Live: u.call.Live, OutputTotalBytes: l.OutputTotalBytes,
		DiskBytes: l.DiskBytes, FileBytes: l.FileBytes, OpenFiles: l.OpenFiles, Pids: pids,
		Workspace: u.kind, Next: next, Stdin: u.call.Stdin, Terminal: terminalOf(u.call), Control: u.control(inputs),
		Ready: func() error { return u.ready(ctx) },
	}, cell.Handlers{Started: u.onStarted, Output: u.onOutput})
}

// ahead reports whether the next stage is made while the program runs. In gVisor
// the two get in each other's way: with two processors a short program takes half
// as long again, and the call after it comes no sooner.
func (u *running) ahead() bool { return u.keep && !u.c.class.veiled() }

// otherSlot is where the stage after this call's is made.
func (u *running) otherSlot() int { return (u.stage.slot + 1) % cell.Slots }

// kill ends a cell whose init did not end the call in time.
func (u *running) kill() {
	u.killed.Store(true)
	u.r.log.Error("call outlived its deadline, cell is killed", "cell_id", u.c.id, "call_id", u.call.ID)
	if err := u.r.killCell(u.c); err != nil {
		u.r.log.Error("cell not killed", "cell_id", u.c.id, "error", err)
	}
}

// loosen is for a call that is to end: killed processes must not wait for cpu time.
func (u *running) loosen() {
	u.stage.group.Unthrottle()
	u.r.heavies.leave(u)
}

func (u *running) onStarted(s cell.Started) {
	u.started = true
	failpoint.At(failpoint.SandboxStarted)
	u.startTime = time.Since(u.from)
	u.receipt = u.makeReceipt(s)
	// From here on init's deadline runs.
	wall := u.call.Limits.WallTime
	u.c.alarm.set(wall, wall+killGrace)
	if u.ahead() {
		u.r.prepareNext(u.c, u.otherSlot())
	}
	if u.call.Observer == nil {
		return
	}
	u.call.Observer.Started(u.receipt)
	for _, e := range u.early {
		u.call.Observer.Output(e.stream, e.offset, e.data)
	}
	u.early = nil
}

func (u *running) onOutput(stream cell.Stream, offset int64, data []byte) {
	to, as := &u.stdout, sandbox.Stdout
	if stream == cell.Stderr {
		to, as = &u.stderr, sandbox.Stderr
	}
	to.add(offset, data)
	switch {
	case u.call.Observer == nil:
	case !u.started: // a quick program's first words may overtake the news of its start
		u.early = append(u.early, chunk{as, offset, bytes.Clone(data)})
	default:
		u.call.Observer.Output(as, offset, data)
	}
}

// chunk is output that waits for its observer to be told of the start.
type chunk struct {
	stream sandbox.Stream
	offset int64
	data   []byte
}

// lost is the end of a call whose cell broke under it. Whatever of it may still
// run is killed before this returns. Init had the request, so the program may
// have run even if the news of its start did not come: that is never an error.
func (u *running) lost(caller context.Context, cause error) sandbox.Result {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(caller), destroyBudget, errors.New("processes do not end"))
	defer cancel()
	usage := u.stage.group.Usage()
	if u.c.class.veiled() {
		usage = u.usageVeiled(usage)
	}
	if err := u.r.groups.RemoveTree(ctx, u.c.path); err != nil {
		u.r.log.Error("cell not killed", "cell_id", u.c.id, "error", err)
	}
	res := u.base(usage, 0, 0)
	res.Outcome, res.ExitCode = sandbox.OutcomeUnknown, -1
	if !u.started {
		res.Message = fmt.Sprintf("the cell ended under the call (%v): it may have run", cause)
		return res
	}
	res.Message = fmt.Sprintf("the cell ended under the call (%v): it ran, how far is not known", cause)
	switch {
	case u.killed.Load() && caller.Err() != nil:
		res.Outcome, res.Message = interrupted(caller, 0).Outcome, ""
	case u.killed.Load():
		res.Outcome, res.Message = sandbox.OutcomeTimedOut, ""
	case usage.OOMKills > 0:
		res.Outcome, res.Message = sandbox.OutcomeOutOfMemory, ""
	}
	return res
}

// giveBack releases the cell, with the next stage under way if it is kept.
func (u *running) giveBack(keep bool) {
	failpoint.At(failpoint.SandboxCollected)
	u.c.calls++
	if keep && u.c.staging == u.stage { // the program was not started, or nothing is made beside it
		u.r.prepareNext(u.c, u.otherSlot())
	}
	u.r.pool.release(u.c, keep)
	failpoint.At(failpoint.SandboxGivenBack)
}

// removeGroup removes the control group of a call that has ended. What cannot be
// removed now goes with its cell.
func (r *Runtime) removeGroup(group string) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), destroyBudget, errors.New("group stays busy"))
	defer cancel()
	if err := r.groups.Remove(ctx, group); err != nil {
		r.log.Warn("control group not removed", "group", group, "error", err)
	}
}
