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
	"github.com/sandgate/sandgate/sandbox"
)

// CallStatus is what is known of a call.
type CallStatus struct {
	CallID    string
	Tool      string
	SessionID string
	Digest    string
	Detached  bool
	Began     time.Time
	// Result is nil while the call is on its way. It has no receipt when it is no
	// longer kept whole, and no output when that is not; the totals stay true.
	Result *Result

	// What follows is of a call on its way alone.

	// Decision is nil before it is there.
	Decision *policy.Decision
	// Receipt is nil before the program was started; Started is when that was.
	Receipt *sandbox.Receipt
	Started time.Time
	// StdoutBytes and StderrBytes are what it has written so far, as far as was told.
	StdoutBytes, StderrBytes int64
	// Usage so far; nil where the runtime cannot tell.
	Usage *sandbox.Usage
}

// meter is a sandbox.Runtime that can tell what a running call has used so far.
type meter interface {
	// UsageOf returns false for a call that does not run.
	UsageOf(callID string) (sandbox.Usage, bool)
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
	st := CallStatus{CallID: id, Tool: e.tool, SessionID: e.session, Digest: e.digest, Detached: e.detached, Began: e.began}
	if !e.hasEnded() {
		if view, _ := g.ledger.viewOf(e); view != nil {
			now := view.progress()
			st.Decision, st.Receipt, st.Started = now.decision, now.receipt, now.started
			st.StdoutBytes, st.StderrBytes = view.tape.Ends()
			st.Usage = g.usageSoFar(e.key)
		}
		return st, nil
	}
	res, err := g.resultOf(e)
	if err != nil { // given up this very moment
		return CallStatus{}, fmt.Errorf("call %q: %w", id, errdefs.ErrNotFound)
	}
	st.Result = &res
	return st, nil
}

func (g *Gate) usageSoFar(key callKey) *sandbox.Usage {
	m, ok := g.cfg.Runtime.(meter)
	if !ok {
		return nil
	}
	if u, ok := m.UsageOf(sandboxID(key)); ok {
		return &u
	}
	return nil
}

// CallFilter says which calls are listed.
type CallFilter struct {
	SessionID string // empty: of all sessions and of none
	// Running, Finished: only those; both false or both true: all.
	Running, Finished bool
}

// CallEntry is a call in a list.
type CallEntry struct {
	CallID, Tool, SessionID string
	Detached                bool
	Began                   time.Time
	Ended                   time.Time // zero: it is on its way
	Outcome                 Outcome   // empty: it is on its way
	ExitCode                int
	OutputBytes             int64
}

const (
	maxListed     = 1000
	defaultListed = 100
)

// ListCalls returns the caller's calls that are known, the latest first, at most
// limit of them (0: 100, at most 1000), and where the next page begins; empty:
// there is none. page is that of an earlier answer; one that is none is
// errdefs.ErrInvalidArgument.
func (g *Gate) ListCalls(_ context.Context, caller Caller, want CallFilter, limit int, page string) ([]CallEntry, string, error) {
	if caller.ID == "" {
		return nil, "", fmt.Errorf("the caller is not known: %w", errdefs.ErrUnauthenticated)
	}
	if limit == 0 {
		limit = defaultListed
	}
	if limit < 0 || limit > maxListed {
		return nil, "", &FieldError{"page_size", fmt.Sprintf("is %d", limit), fmt.Sprintf("1 to %d", maxListed)}
	}
	after, err := parsePage(page)
	if err != nil {
		return nil, "", err
	}
	all := want.Running == want.Finished
	found := g.ledger.history(caller.ID, func(e *entry) bool {
		return (want.SessionID == "" || e.session == want.SessionID) && (all || e.finished.Load() == want.Finished)
	}, after, limit)
	next := ""
	if len(found) > limit {
		found = found[:limit]
		last := found[limit-1]
		next = pageMark{last.began.UnixNano(), last.key.id}.String()
	}
	out := make([]CallEntry, 0, len(found))
	for _, e := range found {
		out = append(out, g.ledger.describe(e))
	}
	return out, next, nil
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
