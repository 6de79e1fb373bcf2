package gate

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// Rules of the gate's own about approvals.
const (
	// ruleApprovalVoid: what would run is not what was approved. Beside an ask it tells
	// why an earlier approval does not count; with a deny it was found when the call was
	// about to run.
	ruleApprovalVoid    = "daemon:approval-void"
	ruleApprovalDenied  = "daemon:approval-denied"  // an approver said no
	ruleApprovalExpired = "daemon:approval-expired" // nobody answered in time, or it was not used in time
)

// Asker is an Observer of a host that waits while a call is asked about. Asked is
// called after Decided, and again when another question takes the place of one that is
// void.
type Asker interface {
	Observer
	Asked(a approval.Approval)
}

// errPermitGone is of a call whose grant or approval was used up or taken back while it
// was on its way: it is decided anew.
var errPermitGone = fmt.Errorf("what let the call run was used up or taken back meanwhile: %w", errdefs.ErrAborted)

// mayRun reports whether the call may run: policy allows it, or asks and approvers have
// said yes to this very thing.
func (w *way) mayRun() bool {
	switch w.decision.Outcome { //nolint:exhaustive // whatever else it is, it is a refusal
	case policy.Allow:
		return true
	case policy.Ask:
		if w.approval == nil {
			return false
		}
		bound := w.bound(w.approval.Bound.Files)
		sum, err := bound.Sum()
		return err == nil && sum == w.approval.Binding
	}
	return false
}

// ask finds out whether approvers let a call run that policy asks about. Unless
// w.mayRun then, it returns the result that tells so, or an error.
func (w *way) ask(ctx context.Context) (Result, error) {
	asker, waits := w.host.(Asker)
	for told := false; ; told = true {
		a, fresh, err := w.question(ctx)
		if err != nil {
			return Result{}, err
		}
		switch a.State {
		case approval.Approved:
			w.approval = &a
			return Result{}, nil
		case approval.Denied, approval.Expired:
			return w.turnedDown(ctx, &a)
		}
		if !waits {
			return w.unanswered(ctx, &a, fresh)
		}
		if fresh {
			if err := w.asked(ctx); err != nil {
				return Result{}, err
			}
		}
		if !told {
			w.obs.Decided(w.call.ID, w.decision)
			w.told = true
		}
		asker.Asked(a)
		since := w.gate.now()
		a, err = w.gate.cfg.Approvals.Wait(ctx, a.ID)
		w.paused += w.gate.now().Sub(since)
		w.mark(telemetry.Approve)
		switch {
		case ctx.Err() != nil:
			return Result{}, cancelled(ctx)
		case err != nil:
			return Result{}, err
		}
		// Policy is asked again, and what would run is looked at again.
		if err := w.decide(ctx); err != nil {
			return Result{}, err
		}
		if w.decision.Outcome != policy.Ask {
			return Result{}, nil
		}
	}
}

// question returns the question about this call: the one that was asked before, if it
// is still about the same, or else a new one (fresh).
func (w *way) question(ctx context.Context) (_ approval.Approval, fresh bool, _ error) {
	m := w.gate.cfg.Approvals
	dir, err := w.gate.workspaceOf(w.prepared)
	if err != nil {
		return approval.Approval{}, false, err
	}
	runs := w.ran() // what runs is what policy made of it
	files, unfrozen, err := approval.Freeze(&runs, dir)
	if err != nil {
		return approval.Approval{}, false, fmt.Errorf("look at the files of call %q: %w: %w", w.call.ID, err, errdefs.ErrUnavailable)
	}
	failpoint.At(failpoint.ApprovalFrozen)
	bound := w.bound(files)
	old, known, err := m.Of(ctx, w.call.Caller.ID, w.call.ID)
	if err != nil {
		return approval.Approval{}, false, err
	}
	why := ""
	switch {
	case !known || old.State == approval.Used:
	case old.State == approval.Void:
		why = old.Message
	case !old.State.Live():
		return old, false, nil
	default:
		differs := bound.Differs(&old.Bound)
		if len(differs) == 0 {
			return old, false, nil
		}
		why = strings.Join(differs, "; ")
		if old, err = m.Void(ctx, old.ID, why); err != nil {
			return approval.Approval{}, false, err
		}
		if old.State != approval.Void { // answered this very moment
			return old, false, nil
		}
	}
	a := approval.Approval{
		CallID: w.call.ID, Caller: w.call.Caller.ID, Session: w.call.SessionID, Call: w.askedCall(), Bound: bound,
		Decision: w.decision, Unfrozen: unfrozen,
	}
	if why != "" {
		a.Decision.Warnings = append([]policy.Reason{voidReason(why)}, a.Decision.Warnings...)
		w.decision.Warnings = a.Decision.Warnings
	}
	w.offer(&a)
	a, err = m.Ask(ctx, a, w.kept)
	return a, true, err
}

// offer is the grant that can be given with the approval.
func (w *way) offer(a *approval.Approval) {
	switch {
	case a.Bound.Terms.NoGrant:
		a.NoOffer = "policy lets it be approved only by itself"
	case w.decision.Transform != nil:
		a.NoOffer = "policy rewrites its arguments"
	default:
		class, err := grant.Suggest(&w.input, w.decision.Reasons)
		if left := approval.LeftOut(a.Unfrozen); err != nil && left != "" {
			a.NoOffer = err.Error() + ", and of its files not all can be looked at: " + left
			return
		}
		if err != nil {
			var none error
			if class, none = grant.SuggestExact(&w.input, w.decision.Reasons, w.call.WorkspaceDir, a.Bound.Files, a.Unfrozen); none != nil {
				a.NoOffer = err.Error()
				return
			}
		}
		class.ToolDigest = w.tool.Digest
		a.Offer = &class
	}
}

// bound is what an approval of the call holds for, as it was decided last.
func (w *way) bound(files []approval.File) approval.Bound {
	b := approval.BoundBy(w.digest, &w.decision, files)
	b.Tool = w.tool.Digest
	b.Run = approval.Run{
		Cage: w.cage(), Terminal: w.call.Terminal != nil, Detached: w.call.Detach, Image: cmp.Or(w.tool.Image, w.gate.cfg.DefaultImage, sandbox.HostImage),
	}
	return b
}

func voidReason(why string) policy.Reason {
	return policy.Reason{
		Rule: ruleApprovalVoid, Severity: "medium", Message: "what was asked before is not what would run now: " + why,
		Remediation: "have it approved anew, and leave files and arguments as they are until the call has run",
	}
}

// askedCall is the call as approvers are shown it.
func (w *way) askedCall() approval.Call {
	c := &w.call
	args := c.Args
	if w.transformed != nil {
		args = w.transformed.call.Args
	}
	return approval.Call{
		Tool: w.tool.Name, Args: args, Cwd: c.Cwd, EnvNames: sortedKeys(c.Env), StdinDigest: c.StdinDigest, StdinBytes: c.StdinBytes,
		WorkspaceDir: c.WorkspaceDir, Profile: w.profile,
		Agent: policy.AgentInput{Name: c.Agent.Name, Version: c.Agent.Version, Model: c.Agent.Model},
	}
}

// kept makes of a question what the journal keeps of it.
func (w *way) kept(a *approval.Approval) {
	a.Decision.Obligations.Exec.EnvSet = journal.MaskEnv(a.Decision.Obligations.Exec.EnvSet)
	whole := len(a.Call.Args)
	if w.decision.Obligations.Audit.Level == auditLevelShape {
		a.Call.Args, a.Call.Cut = nil, true
		if t := a.Decision.Transform; t != nil {
			a.Decision.Transform = &policy.Transform{From: t.From, To: t.To}
		}
		return
	}
	a.Call.Args = journal.Bound(a.Call.Args, maxRecordedArgs)
	a.Call.Cut = len(a.Call.Args) != whole
	if t := a.Decision.Transform; t != nil {
		a.Decision.Transform = &policy.Transform{From: t.From, To: t.To, Args: journal.Bound(t.Args, maxRecordedArgs)}
	}
}

// asked records that the call does not run yet, and counts it in its session.
func (w *way) asked(ctx context.Context) error {
	err := w.recordDecision(ctx, OutcomeApprovalRequired)
	w.mark(telemetry.RecordOutcome)
	if err != nil || w.session == nil {
		return err
	}
	seq, err := w.session.Decided(string(policy.Ask), nil, w.gate.now())
	if err != nil {
		return err
	}
	w.session.Finished(session.Recent{Seq: seq, Tool: w.tool.Name, Outcome: string(OutcomeApprovalRequired), Digest: w.digest, At: w.trace.Began()})
	return nil
}

// unanswered is the result of a call that nobody has answered yet. It is not final: the
// same call goes on when it is sent again.
func (w *way) unanswered(ctx context.Context, a *approval.Approval, fresh bool) (Result, error) {
	if w.obs != nil {
		w.obs.Decided(w.call.ID, w.decision)
	}
	if fresh {
		if err := w.asked(ctx); err != nil {
			return Result{}, err
		}
	}
	return Result{
		CallID: w.call.ID, Outcome: OutcomeApprovalRequired, ExitCode: -1, IsError: true, Decision: w.decision, Digest: w.digest,
		ApprovalID: a.ID, Duration: Durations{Decide: w.decided},
		Message: "not run yet: it needs an approval, which was asked for (" + a.ID + "): " + reasonsText(w.decision.Reasons) +
			"; send the same call with the same call id again once it is approved, or do it in a way that is allowed" + w.uselessly(),
	}, nil
}

// uselessly tells who asks for an approval what the call cannot do even with one.
func (w *way) uselessly() string {
	if w.cage().Workspace != "ro" {
		return ""
	}
	return "; the workspace is read-only under the profile " + w.profile + ": approved or not, the call cannot change anything in it"
}

// turnedDown is the result of a call that approvers did not let run.
func (w *way) turnedDown(ctx context.Context, a *approval.Approval) (Result, error) {
	reason := policy.Reason{
		Rule: ruleApprovalExpired, Message: "nobody approved the call in time, or it was not sent again in time",
		Remediation: "ask the user, then send the call under a new call id", Severity: "medium",
	}
	if a.State == approval.Denied {
		reason.Rule, reason.Message = ruleApprovalDenied, a.By+" denied it"
		reason.Remediation = "do not try the same again: ask the user what to do instead"
		if a.Message != "" {
			reason.Message += ": " + a.Message
		}
	}
	w.deny(reason)
	res, err := w.refuse(ctx)
	res.ApprovalID = a.ID
	return res, err
}

// deny makes of the decision the gate's own denial.
func (w *way) deny(reason policy.Reason) {
	w.decision = policy.Decision{
		ID: w.decision.ID, Outcome: policy.Deny, Profile: w.decision.Profile, Revision: w.decision.Revision,
		Reasons:     append([]policy.Reason{reason}, w.decision.Reasons...),
		Warnings:    w.decision.Warnings,
		Obligations: policy.Obligations{Audit: w.decision.Obligations.Audit},
	}
	w.approval, w.transformed = nil, nil
}
