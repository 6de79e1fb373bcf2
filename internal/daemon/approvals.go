package daemon

import (
	"context"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/journal"
)

// permits are the parts that say what runs though policy asks about it.
type permits struct {
	approvals *approval.Manager
	grants    *grant.Manager
}

// openPermits makes them of what the journal told.
func (d *Daemon) openPermits(ctx context.Context, record *journal.Journal, asked *approval.Fold, granted *grant.Fold) permits {
	a := d.cfg.Approvals
	grants := grant.New(grant.Config{Journal: record, Fold: granted})
	approvals := approval.New(approval.Config{
		Journal: record, Grants: grants, Fold: asked, TTL: a.TTL.Std(), MaxLive: a.MaxOpen, MaxLivePerCaller: a.MaxOpenPerCaller, Logger: d.root,
	})
	approvals.GiveOwed(ctx)
	return permits{grants: grants, approvals: approvals}
}

// roles is what the gate asks of approvers; none for an unknown caller.
func (d *Daemon) roles(c gate.Caller) gate.Roles {
	r, ok := d.rights(c)
	if !ok {
		return gate.Roles{}
	}
	return gate.Roles{Names: d.cfg.Approvals.RolesOf(c.ID, r.Admin), Admin: r.Admin}
}

// identities are the principals that the configuration names.
func (d *Daemon) identities() approval.Identities {
	if len(d.cfg.Approvals.Identities) == 0 {
		return approval.Identities{}
	}
	return approval.Identities{Of: d.cfg.Approvals.PrincipalsOf}
}
