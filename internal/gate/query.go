package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/proposal"
	"github.com/sandgate/sandgate/internal/session"
)

// CallStatus is what is known of a call.
type CallStatus struct {
	CallID    string
	Tool      string
	SessionID string
	Digest    string
	Began     time.Time
	// Result is nil while the call is on its way. Its outputs are empty and it has
	// no receipt when it is no longer kept whole; the totals stay true.
	Result *Result
}

// GetCall tells what is known of the caller's call. An unknown id, and one of
// another caller, is errdefs.ErrNotFound.
func (g *Gate) GetCall(_ context.Context, caller Caller, id string) (CallStatus, error) {
	if err := checkCallID(id); err != nil {
		return CallStatus{}, err
	}
	e, err := g.ledger.get(callKey{caller.ID, id})
	if err != nil {
		return CallStatus{}, err
	}
	st := CallStatus{CallID: id, Tool: e.tool, SessionID: e.session, Digest: e.digest, Began: e.began}
	select {
	case <-e.done:
	default:
		return st, nil
	}
	res, err := g.ledger.resultOf(e)
	if err != nil { // given up this very moment
		return CallStatus{}, fmt.Errorf("call %q: %w", id, errdefs.ErrNotFound)
	}
	st.Result = &res
	return st, nil
}

// Cancel ends the caller's running call: its Execute returns CANCELLED, or an
// error if the program had not begun. Cancelling a call that has ended does
// nothing. An unknown id is errdefs.ErrNotFound.
func (g *Gate) Cancel(_ context.Context, caller Caller, id string) error {
	if err := checkCallID(id); err != nil {
		return err
	}
	e, err := g.ledger.get(callKey{caller.ID, id})
	if err != nil {
		return err
	}
	g.ledger.stop(e, ErrCancelRequested)
	return nil
}

// ListTools returns the tools that policy lets the caller see under the profile
// (empty: the caller's default), sorted by name.
func (g *Gate) ListTools(ctx context.Context, caller Caller, profile string) ([]catalog.Tool, error) {
	if caller.ID == "" {
		return nil, fmt.Errorf("the caller is not known: %w", errdefs.ErrUnauthenticated)
	}
	given := g.cfg.Profiles(caller)
	if profile == "" {
		profile = given.Default
	}
	if err := given.permit(profile); err != nil {
		return nil, err
	}
	all := g.cfg.Catalog.Tools()
	inputs := make([]policy.ToolInput, 0, len(all))
	for _, t := range all {
		inputs = append(inputs, proposal.Tool(t))
	}
	p := &prepared{call: Call{Caller: caller}, profile: profile}
	in := policy.Input{Caller: callerInput(caller), Session: sessionInput(p, nil)}
	names, err := g.cfg.Policy.Visible(ctx, in, inputs)
	if err != nil {
		return nil, fmt.Errorf("list tools: %v: %w", err, errdefs.ErrUnavailable)
	}
	return slices.DeleteFunc(all, func(t catalog.Tool) bool { return !slices.Contains(names, t.Name) }), nil
}

// EndSession cancels the session's running calls, destroys its cells and removes
// its workspace. A session that does not exist is errdefs.ErrNotFound.
func (g *Gate) EndSession(ctx context.Context, caller Caller, id string) error {
	if caller.ID == "" {
		return fmt.Errorf("the caller is not known: %w", errdefs.ErrUnauthenticated)
	}
	if err := session.ValidateID(id); err != nil {
		return err
	}
	running := g.ledger.ofSession(caller.ID, id)
	for _, e := range running {
		g.ledger.stop(e, errSessionEnded)
	}
	for _, e := range running {
		select {
		case <-e.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err := g.cfg.Runtime.EndSession(ctx, sessionReuseKey(caller.ID, id)); err != nil {
		return fmt.Errorf("end session %q: %w", id, err)
	}
	if err := g.cfg.Sessions.End(caller.ID, id); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), recordTimeout, errRecordTimeout)
	defer cancel()
	_, err := g.cfg.Journal.Append(ctx, journal.Entry{Kind: journal.KindSession, Caller: caller.ID, Session: id, Data: sessionData{Event: sessionEnded}})
	if err != nil {
		return errors.Join(fmt.Errorf("record the end of session %q", id), err)
	}
	return nil
}
