package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// voidError is of a call about to run that is not what was approved any more.
type voidError struct{ why string }

func (e *voidError) Error() string { return "it is not what was approved any more: " + e.why }

// asking is what of a call's way has to do with approvals and grants.
type asking struct {
	input policy.Input // what policy saw last
	// decisions is how many were made: what was made of an earlier one does not hold.
	decisions int

	approval *approval.Approval // that lets the call run; nil: none
	permit   *grant.Permit      // what was taken for the run; nil: nothing
	back     func()             // gives it back
	void     *voidError         // why the approval did not hold when the call was about to run
	nothing  bool               // the intent came to nothing
	told     bool               // the host was told of the decision
	paused   time.Duration      // waiting for approvers
}

// takePermit takes what lets the call run for it alone: its approval, or a use of each
// grant that policy relied on. The intent names them, which makes it durable. An error
// wraps errPermitGone where the call has to be decided anew.
func (w *way) takePermit(ctx context.Context) error {
	g := w.gate
	switch {
	case w.decision.Outcome == policy.Ask && w.approval != nil:
		back, err := g.cfg.Approvals.Use(ctx, w.approval.ID)
		if err != nil {
			return fmt.Errorf("%w: %w", errPermitGone, err)
		}
		failpoint.At(failpoint.ApprovalTaken)
		w.permit, w.back = &grant.Permit{ApprovalID: w.approval.ID, Approvers: w.approval.Approvers()}, back
	case len(w.decision.Grants) > 0:
		if g.cfg.Grants == nil {
			return errors.New("policy relies on grants, and this daemon has none")
		}
		back, err := g.cfg.Grants.Take(w.kind(), w.decision.Grants)
		if err != nil {
			return fmt.Errorf("%w: %w", errPermitGone, err)
		}
		failpoint.At(failpoint.GrantTaken)
		w.permit, w.back = &grant.Permit{Grants: w.decision.Grants}, back
		fallthrough
	default:
		w.withdraw(ctx)
	}
	return nil
}

// givePermitBack lets the permit be used again if the call did not run.
func (w *way) givePermitBack() {
	if w.back == nil {
		return
	}
	if w.intent.written() != nil || w.nothing {
		w.back()
	}
	w.back = nil
}

// withdraw ends the question about a call that runs without its answer.
func (w *way) withdraw(ctx context.Context) {
	m := w.gate.cfg.Approvals
	if m == nil {
		return
	}
	id := m.LiveOf(w.call.Caller.ID, w.call.ID)
	if id == "" {
		return
	}
	if _, err := m.Void(ctx, id, "the call was allowed without it"); err != nil {
		w.gate.log.Warn("an approval that is not needed stays open", zap.String("call_id", w.call.ID), zap.Error(err))
	}
}

// holds reports whether a grant can be for the call as far as sandgate sees to that itself:
// whether it is this call, where it is of one only, and the files that it is held to are as
// they were. It notes them: they are looked at once more when the call is about to run.
func (g *Gate) holds(p *prepared, gr *grant.Grant) bool {
	e := gr.Class.Exact
	if e == nil {
		return true
	}
	if !gr.Class.Fits(p.call.Args) { // its files need not be read for every call
		return false
	}
	dir, err := g.workspaceOf(p)
	if err != nil {
		return false
	}
	changed, err := approval.Changed(e.Files, dir)
	if err != nil || len(changed) > 0 {
		return false
	}
	if p.held == nil {
		p.held = map[string][]approval.File{}
	}
	p.held[gr.ID] = e.Files
	return true
}

// held are the files that have to be as they were when the call runs: those of its
// approval, or of the grants that it runs by.
func (w *way) held() []approval.File {
	if w.decision.Outcome == policy.Ask && w.approval != nil {
		return w.approval.Bound.Files
	}
	var out []approval.File
	for _, id := range w.decision.Grants {
		files := w.prepared.held[id]
		if files == nil && w.transformed != nil { // of the arguments that policy made
			files = w.transformed.held[id]
		}
		out = append(out, files...)
	}
	return out
}

// unchanged looks at those files once more, when nothing is left to do but to start the
// program.
func (w *way) unchanged() error {
	held := w.held()
	switch {
	case w.permit == nil, w.approval == nil && len(held) == 0:
		return nil
	case w.approval != nil && w.gate.superseded(w.approval.Bound.Revision):
		w.void = &voidError{"another policy is in force"}
		return w.void
	}
	dir, err := w.gate.workspaceOf(w.prepared)
	var changed []string
	if err == nil {
		changed, err = approval.Changed(held, dir)
	}
	switch {
	case err != nil:
		w.void = &voidError{"its files cannot be looked at: " + err.Error()}
	case len(changed) > 0:
		w.void = &voidError{strings.Join(changed, "; ")}
	default:
		return nil
	}
	return w.void
}

// voided is the result of a call that changed between its approval, or the decision that
// it is granted, and its run: the
// intent came to nothing, the approval is void and the call is denied for good.
func (w *way) voided(ctx context.Context, cause *voidError) (Result, error) {
	w.nothing = true
	id := w.permit.ApprovalID // empty: it would have run by grants
	if err := w.recordNotRun(ctx, cause); err != nil {
		return Result{}, err
	}
	w.givePermitBack()
	if id != "" {
		if _, err := w.gate.cfg.Approvals.Void(ctx, id, cause.why); err != nil {
			return Result{}, err
		}
	}
	reason := voidReason(cause.why)
	reason.Remediation = "leave the files as they are, and send the call under a new call id to have it approved"
	w.deny(reason)
	res, err := w.refuse(ctx)
	res.ApprovalID = id
	return res, err
}

// kind says which grants can be for the call.
func (w *way) kind() grant.Kind { return kindOf(w.prepared) }

func kindOf(p *prepared) grant.Kind {
	return grant.Kind{Caller: p.call.Caller.ID, Session: p.call.SessionID, Profile: p.profile, Tool: p.tool.Name, ToolDigest: p.tool.Digest, WorkspaceDir: p.call.WorkspaceDir}
}

// putGrants tells policy of the grants that live for the call. One that was given with
// the approval of this very call is not among them: the call runs by that.
func (g *Gate) putGrants(in *policy.SessionInput, p *prepared) {
	if g.cfg.Grants == nil {
		return
	}
	grants := g.cfg.Grants.For(kindOf(p))
	if len(grants) == 0 {
		return
	}
	own := ""
	if g.cfg.Approvals != nil {
		own = g.cfg.Approvals.LiveOf(p.call.Caller.ID, p.call.ID)
	}
	for i := range grants {
		if grants[i].ApprovalID == own && own != "" || !g.holds(p, &grants[i]) {
			continue
		}
		in.Grants = append(in.Grants, grants[i].ID)
		in.Granted = append(in.Granted, grants[i].Input())
	}
}

// forgetPermits drops what a session that has ended asked and was granted.
func (g *Gate) forgetPermits(caller, id string) {
	if g.cfg.Approvals != nil {
		g.cfg.Approvals.EndSession(caller, id)
	}
	if g.cfg.Grants != nil {
		g.cfg.Grants.EndSession(caller, id)
	}
}
