package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/redact"
	"github.com/sandgate/sandgate/internal/seen"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/internal/spool"
	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// Execute takes one call the whole way: validate, facts, decide, record, run,
// record. A denied call, one that asks for approval and one whose program
// failed are Results; an error means that the call did not run: it is invalid,
// the caller may not, or sandgate could not do its job. obs may be nil.
//
// A call that is sent again under its id does not run again: it waits for the
// running one, the observer being told of that from its beginning, or gets its
// stored result, with Replayed set.
//
// When ctx ends the call is cancelled, unless it is to be detached then: it goes on,
// Execute returns an error, and Attach or the same call again take it up. Such a
// call's observer is not told more slowly than it takes, as others are, but may
// miss output.
func (g *Gate) Execute(ctx context.Context, call Call, obs Observer) (Result, error) {
	if call.Detach {
		return Result{}, &FieldError{"detach", "is set for a call whose result is waited for", "Start"}
	}
	w := g.newWay(obs)
	if err := w.check(ctx, call); err != nil {
		return Result{}, err
	}
	from := ctx
	if call.DetachOnDisconnect {
		from, w.live.host = context.WithoutCancel(ctx), nil
	}
	runCtx, cancel := context.WithCancelCause(from)
	e, mine, err := g.ledger.claim(w.prepared, &w.live, cancel)
	if err != nil {
		cancel(nil)
		return Result{}, err
	}
	if !mine {
		cancel(nil)
		return g.attach(ctx, e, obs)
	}
	failpoint.At(failpoint.GateClaimed)
	if call.DetachOnDisconnect {
		if err := g.aside(runCtx, e, w, cancel); err != nil {
			return Result{}, err
		}
		return g.join(ctx, e, obs)
	}
	defer cancel(nil)
	return g.conduct(runCtx, e, w)
}

func (g *Gate) newWay(obs Observer) *way {
	w := &way{gate: g, host: obs}
	w.live.host, w.live.now = obs, g.now
	w.obs = &w.live
	w.trace.Begin(g.now())
	return w
}

// check prepares a call and tells of one that is not valid.
func (w *way) check(ctx context.Context, call Call) (err error) {
	w.prepared, err = w.gate.prepare(call)
	w.mark(telemetry.Validate)
	if err != nil {
		w.gate.cfg.Telemetry.Ended(ctx, &w.trace, telemetry.Call{Class: telemetry.Error})
		return err
	}
	if call.Detach || call.DetachOnDisconnect {
		w.live.tape.KeepNamed(w.gate.cfg.Files, callKey{w.call.Caller.ID, w.call.ID}.log())
	} else {
		w.live.tape.Keep(w.gate.cfg.Files, false)
	}
	failpoint.At(failpoint.GateValidated)
	return nil
}

// conduct takes a call the whole way that is the claimant's to run.
func (g *Gate) conduct(ctx context.Context, e *entry, w *way) (Result, error) {
	defer g.abandoned(e, w)
	res, err := w.take(ctx)
	w.live.tape.End()
	res.Duration.Total = g.now().Sub(w.trace.Began())
	g.event(w, res, err)
	known := err == nil || res.Outcome == Outcome(unknownOutcome)
	if known {
		g.ledger.finish(e, res, w.stored)
		w.keep(e)
		failpoint.At(failpoint.GateKept)
	} else {
		res = Result{}
		g.ledger.giveUp(e, err)
		w.letGo()
	}
	w.mark(telemetry.Finish)
	g.measured(ctx, w, res, err)
	return res, err
}

// measured tells of a call that was not a replay.
func (g *Gate) measured(ctx context.Context, w *way, res Result, err error) {
	if t, ok := w.live.host.(Tracer); ok {
		t.Traced(w.trace)
	}
	g.cfg.Telemetry.Ended(ctx, &w.trace, telemetry.Call{
		Class: telemetry.ClassOf(string(res.Outcome), res.IsError, err), Outcome: string(res.Outcome), Tool: w.tool.Name,
		CallID: w.call.ID, SessionID: w.call.SessionID, Decision: string(w.decision.Outcome), DecisionID: w.decision.ID,
	})
}

// abandoned settles a call that nothing else has settled, because of a panic on
// its way: its id must neither be running for ever nor run again after an intent.
func (g *Gate) abandoned(e *entry, w *way) {
	if e.hasEnded() {
		return
	}
	w.live.outlives = false
	defer w.letGo()
	if w.intent.written() != nil {
		g.ledger.giveUp(e, fmt.Errorf("call %q was given up: %w", w.call.ID, errdefs.ErrInternal))
		return
	}
	g.ledger.finish(e, Result{
		CallID: w.call.ID, Outcome: Outcome(unknownOutcome), ExitCode: -1, IsError: true, Message: unknownMessage,
		Decision: w.decision, Digest: w.digest,
	}, outputs{})
}

// Evaluate only decides the call. It records nothing, runs nothing and makes no
// session; the same call may be decided otherwise when it is executed later.
// With explain the answer has the input document.
func (g *Gate) Evaluate(ctx context.Context, call Call, explain bool) (Evaluation, error) {
	var t telemetry.Trace
	t.Begin(g.now())
	ev, err := g.evaluate(ctx, call, explain, &t)
	told := telemetry.Call{Class: telemetry.Error}
	if err == nil {
		told = telemetry.Call{
			Class: telemetry.OK, Tool: call.Tool, CallID: ev.CallID, SessionID: call.SessionID,
			Decision: string(ev.Decision.Outcome), DecisionID: ev.Decision.ID,
		}
		if ev.Decision.Outcome != policy.Allow {
			told.Class = telemetry.Refused
		}
	}
	g.cfg.Telemetry.Evaluated(ctx, t, told)
	return ev, err
}

// evaluate marks each stage at its end, also where it fails.
func (g *Gate) evaluate(ctx context.Context, call Call, explain bool, t *telemetry.Trace) (Evaluation, error) {
	p, err := g.prepare(call)
	t.Mark(telemetry.Validate, g.now())
	if err != nil {
		return Evaluation{}, err
	}
	var state *session.State
	if id := p.call.SessionID; id != "" {
		if s, ok, err := g.cfg.Sessions.Peek(p.call.Caller.ID, id); err != nil {
			return Evaluation{}, err
		} else if ok {
			if s.Profile != p.profile {
				return Evaluation{}, fmt.Errorf("session %q has the profile %q, not %q: %w", id, s.Profile, p.profile, errdefs.ErrFailedPrecondition)
			}
			state = &s
		}
	}
	turn, err := g.deciding.Enter(ctx, admission.Request{Caller: p.call.Caller.ID})
	t.Mark(telemetry.Queue, g.now())
	if err != nil {
		return Evaluation{}, notAdmitted(ctx, err)
	}
	defer turn.Leave()
	in, err := g.input(p, state)
	t.Mark(telemetry.Facts, g.now())
	if err != nil {
		return Evaluation{}, err
	}
	d, _, err := g.decision(ctx, p, state, in)
	if err == nil {
		d = g.withinQuota(d, state)
	}
	t.Mark(telemetry.Decide, g.now())
	if err != nil {
		return Evaluation{}, err
	}
	if ctx.Err() != nil {
		return Evaluation{}, cancelled(ctx)
	}
	ev := Evaluation{CallID: p.call.ID, Digest: p.digest, Decision: d}
	if explain {
		ev.Input, err = encodeInput(in)
		t.Mark(telemetry.Finish, g.now())
		if err != nil {
			return Evaluation{}, err
		}
	}
	return ev, nil
}

// way is one call on its way; it belongs to one goroutine.
type way struct {
	*prepared
	gate  *Gate
	host  Observer // of its own request; nil: none
	obs   Observer // live, which tells all
	live  live
	trace telemetry.Trace

	session  *session.Session // nil without one
	entered  bool             // it has a place among the session's running calls
	labels   []string         // of the session, as the decision saw them
	seq      int64            // of the call in its session, once it was counted there
	decision policy.Decision
	saw      *seen.Call    // by the policy
	decided  time.Duration // time that the decision took, facts included
	asking                 // what has to do with approvals and grants
	intent   *intent       // nil before it is being written

	transformed *prepared        // what runs instead; nil: the call as it is
	redact      *redact.Rules    // nil: nothing
	stream      *redactedStream  // nil: nothing
	redactions  map[string]int64 // what was taken out of the result

	stage    string       // where the changes of a transactional call are put; empty: it is none
	stored   outputs      // what of its output is to be stored
	pieces   spool.Stored // of the result's output; nil: none
	logBytes int64        // of what is stored beside
}

// mark gives the time since the last mark to a stage.
func (w *way) mark(s telemetry.Stage) { w.trace.Mark(s, w.gate.now()) }

// take decides the call and goes on as decided.
func (w *way) take(ctx context.Context) (Result, error) {
	defer w.leaveSession()
	for n := 1; ; n++ {
		res, err := w.attempt(ctx)
		if !errors.Is(err, errPermitGone) || n == maxDecided {
			return res, err
		}
	}
}

func (w *way) attempt(ctx context.Context) (Result, error) {
	w.approval, w.permit = nil, nil
	if err := w.decide(ctx); err != nil {
		return Result{}, err
	}
	if w.decision.Outcome == policy.Ask && w.gate.cfg.Approvals != nil {
		if res, err := w.ask(ctx); err != nil || res.Outcome != "" {
			return res, err
		}
	}
	if err := w.enterSession(); err != nil {
		return Result{}, err
	}
	// Only a positive decision runs; whatever else it is, it is a refusal.
	if !w.mayRun() {
		return w.refuse(ctx)
	}
	if w.call.Detach && w.session != nil {
		leave, err := w.session.Background()
		if err != nil {
			return Result{}, err
		}
		defer leave()
	}
	place, leave, err := w.enter(ctx)
	if err != nil {
		return Result{}, err
	}
	defer leave()
	defer place.Leave()
	failpoint.At(failpoint.GateAdmitted)
	switch {
	case w.mayRun():
	case w.decision.Outcome == policy.Ask && w.gate.cfg.Approvals != nil: // it was decided anew
		return Result{}, errPermitGone
	default:
		place.Leave()
		return w.refuse(ctx)
	}
	if err := w.takePermit(ctx); err != nil {
		return Result{}, err
	}
	defer w.givePermitBack()
	if w.obs != nil && !w.told {
		w.obs.Decided(w.call.ID, w.decision)
	}
	return w.run(ctx, place)
}

func (w *way) decide(ctx context.Context) error {
	g := w.gate
	var state *session.State
	if id := w.call.SessionID; id != "" {
		if w.session == nil {
			s, err := g.cfg.Sessions.Use(w.call.Caller.ID, id, w.profile)
			if err != nil {
				return err
			}
			w.session = s
		}
		if err := w.session.BoundDisk(); err != nil { // before the facts look into it
			return err
		}
		snapshot := w.session.Snapshot()
		w.labels, state = snapshot.Labels, &snapshot
	}
	turn, err := g.deciding.Enter(ctx, admission.Request{Caller: w.call.Caller.ID, Deadline: w.deadline(ctx)})
	w.mark(telemetry.Queue)
	if err != nil {
		return notAdmitted(ctx, err)
	}
	defer turn.Leave()
	start := g.now()
	in, err := g.input(w.prepared, state)
	if err != nil {
		return err
	}
	w.mark(telemetry.Facts)
	failpoint.At(failpoint.GateFacts)
	w.saw, w.input = seen.Of(&in, w.looked), in
	w.decision, w.transformed, err = g.decision(ctx, w.prepared, state, in)
	if err != nil {
		return err
	}
	w.decisions++
	w.mark(telemetry.Decide)
	failpoint.At(failpoint.GateDecided)
	w.decided += g.now().Sub(start)
	if ctx.Err() != nil {
		return cancelled(ctx)
	}
	return nil
}

// maxDecided bounds how often a call is decided whose session gets new labels
// time and again.
const maxDecided = 4

// admit waits for a place among the running calls. A call whose session got
// labels meanwhile is decided anew: it would not have been allowed with a label
// that it did not see. So is one that another revision of the policy decided.
func (w *way) admit(ctx context.Context, cost *policy.SandboxObligations) (*admission.Ticket, error) {
	warm := "" // whose cell it gets, where it matters which of its caller's calls come first
	if sandbox.Reuse(cost.Reuse) == sandbox.ReuseSession {
		warm = w.call.SessionID
	}
	place, err := w.gate.cfg.Admission.Enter(ctx, admission.Request{
		Caller: w.call.Caller.ID, Session: warm, Class: w.profile, CPUMillis: cost.CPUMillis, MemoryBytes: cost.MemoryBytes, Deadline: w.deadline(ctx),
	})
	w.mark(telemetry.Queue)
	if err != nil {
		return nil, notAdmitted(ctx, err)
	}
	for n := 1; w.stale(); n++ {
		err := w.decide(ctx)
		if err == nil && n == maxDecided {
			err = fmt.Errorf("the policy or the labels of session %q change faster than this call can be decided: %w", w.call.SessionID, errdefs.ErrAborted)
		}
		if err != nil {
			place.Leave()
			return nil, err
		}
		if !w.mayRun() {
			break
		}
	}
	return place, nil
}

// deadline is when the call is of no use any more; zero: never.
func (w *way) deadline(ctx context.Context) time.Time {
	deadline, _ := ctx.Deadline()
	if w.call.Timeout > 0 {
		if own := w.trace.Began().Add(w.call.Timeout + w.paused); deadline.IsZero() || own.Before(deadline) {
			return own
		}
	}
	return deadline
}

// refuse records a decision that is no allow and tells what to do next.
func (w *way) refuse(ctx context.Context) (Result, error) {
	if w.obs != nil && !w.told {
		w.obs.Decided(w.call.ID, w.decision)
	}
	res := Result{
		CallID: w.call.ID, Outcome: OutcomeDenied, ExitCode: -1, IsError: true,
		Decision: w.decision, Digest: w.digest, Duration: Durations{Decide: w.decided},
	}
	counted := string(policy.Deny)
	res.Message = "denied by policy: " + reasonsText(w.decision.Reasons)
	if w.decision.Outcome == policy.Ask {
		counted = string(policy.Ask)
		res.Outcome = OutcomeApprovalRequired
		res.Message = "not run: policy asks for an approval: " + reasonsText(w.decision.Reasons) +
			"; send the call again to have it asked for, or do it in a way that is allowed"
	}
	err := w.recordDecision(ctx, res.Outcome)
	w.mark(telemetry.RecordOutcome)
	if err != nil {
		return Result{}, err
	}
	if w.session != nil {
		seq, err := w.session.Decided(counted, nil, w.gate.now())
		if err != nil {
			return Result{}, err
		}
		w.session.Finished(session.Recent{Seq: seq, Tool: w.tool.Name, Outcome: string(res.Outcome), Digest: w.digest, At: w.trace.Began()})
	}
	return res, nil
}

// reasonsText is one line for the model: each rule with what it says and what
// to do instead.
func reasonsText(reasons []policy.Reason) string {
	if len(reasons) == 0 {
		return "no rule allows it"
	}
	var parts []string
	for _, r := range reasons[:min(len(reasons), 5)] {
		text := r.Message
		if r.Remediation != "" {
			text += " (" + r.Remediation + ")"
		}
		parts = append(parts, text+" ["+r.Rule+"]")
	}
	switch more := len(reasons) - 5; {
	case more > 0 && reasons[len(reasons)-1].Rule == ruleMore:
		parts = append(parts, fmt.Sprintf("and more than %d more", more))
	case more > 0:
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}

// notAdmitted is the error of a call that did not get its turn.
func notAdmitted(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errdefs.IsResourceExhausted(err) {
		return cancelled(ctx)
	}
	return err
}

// cancelled is the error of a call that was cancelled before it ran.
func cancelled(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("the call was cancelled before it ran: %w", cause)
	}
	return fmt.Errorf("the call was cancelled before it ran: %w: %w", context.Canceled, cause)
}
