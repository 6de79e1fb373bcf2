package gate

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/grant"
)

// Roles are what the configuration lets somebody approve.
type Roles struct {
	Names []string // as policies name them: "oncall" for "role:oncall"
	Admin bool     // may see all, and approve where policy names nobody
}

// AskedCall is an approval as somebody may see it.
type AskedCall struct {
	approval.Approval
	// Changed says what of the frozen files is not any more as it was; only for one that
	// is live.
	Changed []string
	// WaitsFor is what the call waits for that was approved; empty: it does not.
	WaitsFor string
	// Refusal is why who looks may not approve it; empty: he may.
	Refusal string
	// Principal is that of the caller, Principals those of the votes; empty: none is named.
	Principal  string
	Principals []string
}

var errNoApprovals = fmt.Errorf("this daemon takes no approvals: %w", errdefs.ErrNotImplemented)

func (g *Gate) approver(c Caller) approval.Approver {
	by := approval.Approver{ID: c.ID, UID: c.UID, Identities: g.cfg.Identities}
	if g.cfg.Roles != nil {
		roles := g.cfg.Roles(c)
		by.Roles, by.Admin = roles.Names, roles.Admin
	}
	return by
}

// sees reports whether somebody may see an approval: his own calls', those that he may
// approve, and all as an administrator.
func sees(by approval.Approver, a *approval.Approval) bool {
	return by.Admin || a.Caller == by.ID || a.May(by) == nil
}

// maxLook is how many bytes of files are read for one list of approvals, or for one that
// is watched, beside those of which the content is known.
const maxLook = 128 << 20

func (g *Gate) look() *approval.Look { return &approval.Look{Hashes: &g.hashes, Left: maxLook} }

// shown is an approval as somebody may see it. With look its files are read as far as
// that goes; without, all of them.
func (g *Gate) shown(by approval.Approver, a approval.Approval, look *approval.Look) AskedCall {
	out := AskedCall{Approval: a, Principal: g.cfg.Identities.Name(a.Caller)}
	for i := range a.Votes {
		out.Principals = append(out.Principals, g.cfg.Identities.Name(a.Votes[i].By))
	}
	if a.State == approval.Approved {
		out.WaitsFor = g.turns.waitsFor(callKey{a.Caller, a.CallID})
	}
	if err := a.May(by); err != nil {
		out.Refusal = err.Error()
	}
	if !a.State.Live() || len(a.Bound.Files) == 0 {
		return out
	}
	dir := a.Call.WorkspaceDir
	if dir == "" && a.Session != "" {
		dir = g.cfg.Sessions.WorkspaceDir(a.Caller, a.Session)
	}
	changed, err := approval.Shown(a.Bound.Files, dir, look)
	if err != nil {
		changed = []string{"its files cannot be looked at"}
	}
	out.Changed = changed
	return out
}

// ListApprovals returns what the caller may see of the approvals in a state (empty:
// any), oldest first.
func (g *Gate) ListApprovals(ctx context.Context, caller Caller, state approval.State) ([]AskedCall, error) {
	if g.cfg.Approvals == nil {
		return nil, errNoApprovals
	}
	by := g.approver(caller)
	list, err := g.cfg.Approvals.List(ctx, func(a *approval.Approval) bool { return (state == "" || a.State == state) && sees(by, a) })
	if err != nil {
		return nil, err
	}
	out, look := make([]AskedCall, 0, len(list)), g.look()
	for i := range list {
		out = append(out, g.shown(by, list[i], look))
	}
	return out, nil
}

// WatchApprovals tells of each pending approval that the caller may see, and then of
// each that changes, until ctx ends or tell fails.
func (g *Gate) WatchApprovals(ctx context.Context, caller Caller, tell func(AskedCall) error) error {
	if g.cfg.Approvals == nil {
		return errNoApprovals
	}
	by := g.approver(caller)
	return g.cfg.Approvals.Watch(ctx, func(a approval.Approval) error {
		if !sees(by, &a) {
			return nil
		}
		return tell(g.shown(by, a, g.look()))
	})
}

// GetApproval returns an approval that the caller may see; any other is
// errdefs.ErrNotFound.
func (g *Gate) GetApproval(ctx context.Context, caller Caller, id string) (AskedCall, error) {
	if g.cfg.Approvals == nil {
		return AskedCall{}, errNoApprovals
	}
	by := g.approver(caller)
	a, err := g.cfg.Approvals.Get(ctx, id)
	if err != nil {
		return AskedCall{}, err
	}
	if !sees(by, &a) {
		return AskedCall{}, fmt.Errorf("approval %q: %w", id, errdefs.ErrNotFound)
	}
	return g.shown(by, a, nil), nil
}

// Approve is the caller's yes to what the binding names; with terms the offered class of
// calls is granted as well. Beside the errors of approval.Manager.Approve, what has
// changed since it was asked makes it void, which is errdefs.ErrFailedPrecondition.
func (g *Gate) Approve(ctx context.Context, caller Caller, id, binding, comment string, terms *grant.Terms) (AskedCall, error) {
	seen, err := g.GetApproval(ctx, caller, id)
	if err != nil {
		return AskedCall{}, err
	}
	by := g.approver(caller)
	if err := seen.May(by); err != nil {
		return seen, err
	}
	if why := g.outdated(&seen); why != "" && seen.State.Live() {
		if _, err := g.cfg.Approvals.Void(ctx, id, why); err != nil {
			return seen, err
		}
		return seen, fmt.Errorf("approval %s is void: %s; the call asks anew when it is sent again: %w", id, why, errdefs.ErrFailedPrecondition)
	}
	a, err := g.cfg.Approvals.Approve(ctx, id, by, binding, comment, terms)
	return g.shown(by, a, g.look()), err
}

// outdated says why an approval does not hold any more for what would run; empty: it may.
func (g *Gate) outdated(a *AskedCall) string {
	if len(a.Changed) > 0 {
		return a.Changed[0]
	}
	if tool, err := g.cfg.Catalog.Lookup(a.Call.Tool); err != nil || tool.Digest != a.Bound.Tool {
		return "the declaration of its tool is another one"
	}
	if g.superseded(a.Bound.Revision) {
		return "another policy is in force than the one that asked (" + a.Bound.Revision + ")"
	}
	return ""
}

// Deny is the caller's no.
func (g *Gate) Deny(ctx context.Context, caller Caller, id, message string) (AskedCall, error) {
	if _, err := g.GetApproval(ctx, caller, id); err != nil {
		return AskedCall{}, err
	}
	by := g.approver(caller)
	a, err := g.cfg.Approvals.Deny(ctx, id, by, message)
	return g.shown(by, a, g.look()), err
}

// ListGrants returns the live grants that the caller may see: its own, those that it
// gave, and all as an administrator.
func (g *Gate) ListGrants(_ context.Context, caller Caller) ([]grant.Grant, error) {
	if g.cfg.Grants == nil {
		return nil, errNoApprovals
	}
	by := g.approver(caller)
	return g.cfg.Grants.List(func(gr *grant.Grant) bool { return seesGrant(by, gr) }), nil
}

func seesGrant(by approval.Approver, g *grant.Grant) bool {
	return by.Admin || g.Caller == by.ID || slices.Contains(g.Approvers, by.ID)
}

// RevokeGrant ends a grant that the caller may see. Calls that run go on.
func (g *Gate) RevokeGrant(ctx context.Context, caller Caller, id string) (grant.Grant, error) {
	list, err := g.ListGrants(ctx, caller)
	if err != nil {
		return grant.Grant{}, err
	}
	for i := range list {
		if list[i].ID == id {
			return g.cfg.Grants.Revoke(ctx, id, caller.ID)
		}
	}
	return grant.Grant{}, fmt.Errorf("no grant %q lives: %w", id, errdefs.ErrNotFound)
}
