package gate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/proposal"
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
