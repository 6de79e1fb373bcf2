package approval

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// maxCommentBytes bounds what an approver says.
const maxCommentBytes = 1024

// Approve is an approver's yes to what the binding names. A second one of the same
// principal changes nothing. With terms the offered class is granted as well, once all
// approvers grant it; the grant is made with the last of them, or when one of them
// says yes again if it could not be made then.
//
// Errors: errdefs.ErrNotFound; errdefs.ErrPermissionDenied; errdefs.ErrFailedPrecondition
// when it is not pending any more, or the approver saw something else.
func (m *Manager) Approve(ctx context.Context, id string, by Approver, binding, comment string, terms *grant.Terms) (Approval, error) {
	if len(comment) > maxCommentBytes {
		return Approval{}, fmt.Errorf("comment has %d bytes: want at most %d: %w", len(comment), maxCommentBytes, errdefs.ErrInvalidArgument)
	}
	e, err := m.find(id)
	if err != nil {
		return Approval{}, err
	}
	e.turn.Lock()
	defer e.turn.Unlock()
	a, err := m.overdue(ctx, e)
	if err != nil {
		return a, err
	}
	if err := a.May(by); err != nil {
		return a, err
	}
	if binding != a.Binding {
		return a, fmt.Errorf("approval %s is about something else than what you saw (%s, not %s): look at it again: %w", id, a.Binding, binding, errdefs.ErrFailedPrecondition)
	}
	if voted, err := a.voted(&by); err != nil || voted && (a.State.Live() || a.State == Used) {
		if err == nil {
			a = m.give(ctx, e, a)
		}
		return a, err
	}
	if a.State != Pending {
		return a, notPending(&a)
	}
	vote := Vote{By: by.ID, At: m.wall(), Comment: comment}
	if terms != nil {
		if vote.Grant, err = a.grantable(*terms); err != nil {
			return a, err
		}
	}
	data := eventData{Event: eventVoted, Vote: &vote}
	if len(a.Votes)+1 >= a.Quorum() {
		data.ExpiresAt = vote.At.Add(a.TTL)
	}
	after, err := m.change(ctx, e, data)
	if err != nil || after.State != Approved {
		return after, err
	}
	return m.give(ctx, e, after), nil
}

func notPending(a *Approval) error {
	why := ""
	if a.Message != "" {
		why = " (" + a.Message + ")"
	}
	return fmt.Errorf("approval %s is %s%s and cannot be answered any more: %w", a.ID, a.State, why, errdefs.ErrFailedPrecondition)
}

func (a *Approval) grantable(terms grant.Terms) (*grant.Terms, error) {
	switch {
	case a.Bound.Terms.NoGrant:
		return nil, fmt.Errorf("policy lets this call be approved only by itself, without a grant: %w", errdefs.ErrFailedPrecondition)
	case a.Offer == nil:
		return nil, fmt.Errorf("no grant can be given with approval %s: %s: %w", a.ID, a.NoOffer, errdefs.ErrFailedPrecondition)
	}
	terms = terms.WithDefaults(a.Session)
	if err := a.Offer.CheckTerms(terms, a.Session); err != nil {
		return nil, err
	}
	return &terms, nil
}

// give makes the grant that all approvers gave. Without it the call runs all the same:
// it was approved.
func (m *Manager) give(ctx context.Context, e *entry, a Approval) Approval {
	owed := a.owed()
	if owed == nil || !m.wall().Before(owed.ExpiresAt) {
		return a
	}
	failpoint.At(failpoint.GrantGiving)
	g, err := m.cfg.Grants.Give(context.WithoutCancel(ctx), *owed)
	if err != nil {
		m.log.Error("the call was approved, but the grant could not be made", zap.String("approval_id", a.ID), zap.Error(err))
		return a
	}
	m.mu.Lock()
	now := e.now // its session may have ended meanwhile
	over := now.State == Void || now.Lapsed
	now.GrantID = g.ID
	m.put(e, now)
	m.mu.Unlock()
	if over {
		if _, err := m.cfg.Grants.Revoke(context.WithoutCancel(ctx), g.ID, sessionOver); err != nil {
			m.log.Error("a grant outlives its session", zap.String("grant_id", g.ID), zap.Error(err))
		}
	}
	return now
}

// GiveOwed makes the grants that approvers gave to an earlier process, which was killed
// between the record of the last vote and that of the grant. It is called once, before
// calls come.
func (m *Manager) GiveOwed(ctx context.Context) {
	m.mu.Lock()
	var owed []*entry
	for _, e := range m.entries {
		if e.now.owed() != nil {
			owed = append(owed, e)
		}
	}
	m.mu.Unlock()
	for _, e := range owed {
		e.turn.Lock()
		m.give(ctx, e, m.look(e))
		e.turn.Unlock()
	}
}

// Deny is an approver's no, or the caller's own: it may take its question back. message
// is what the model is told. Errors as of Approve.
func (m *Manager) Deny(ctx context.Context, id string, by Approver, message string) (Approval, error) {
	if len(message) > maxCommentBytes {
		return Approval{}, fmt.Errorf("message has %d bytes: want at most %d: %w", len(message), maxCommentBytes, errdefs.ErrInvalidArgument)
	}
	e, err := m.find(id)
	if err != nil {
		return Approval{}, err
	}
	e.turn.Lock()
	defer e.turn.Unlock()
	a, err := m.overdue(ctx, e)
	if err != nil {
		return a, err
	}
	if by.ID != a.Caller {
		if err := a.May(by); err != nil {
			return a, err
		}
	}
	if a.State == Denied && a.By == by.ID {
		return a, nil
	}
	if !a.State.Live() { // one that is approved and not used yet can be taken back
		return a, notPending(&a)
	}
	return m.change(ctx, e, eventData{Event: eventDenied, By: by.ID, Message: message})
}
