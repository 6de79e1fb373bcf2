// Package grant keeps what approvers have allowed beforehand: classes of calls
// over facts, with a scope, a number of uses and an end. It computes the
// narrowest sensible class of a call (Suggest), counts the uses, and tells the
// gate which grants live. Policies decide by them. It must never make a class
// wider than what was shown to an approver, and never let a grant live that is
// used up, revoked or over.
package grant

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/policy"
)

// Scopes of a grant: one session of the caller, or all its calls.
const (
	ScopeSession = "session"
	ScopeCaller  = "caller"
)

// Bounds of what an approver may give.
const (
	MaxUses = 1000
	MaxTTL  = 7 * 24 * time.Hour

	DefaultUses = 20
	DefaultTTL  = time.Hour
)

// Class is what a grant allows: calls of one tool, under one profile, that policy
// asks about by certain rules and that fit a pattern over their facts.
type Class struct {
	Tool string `json:"tool"`
	// ToolDigest is of the tool's declaration: of another one nothing is granted.
	ToolDigest string `json:"tool_digest,omitempty"`

	Cwd     string   `json:"cwd"`
	Profile string   `json:"profile"`
	Rules   []string `json:"rules"` // whose questions it answers, sorted
	// Summary is the class in words, with nothing in it that a terminal acts on.
	Summary string `json:"summary"`
	// Commands, or Args, Free and Under: as in policy.GrantInput.
	Commands []policy.GrantCommand `json:"commands,omitempty"`
	Args     json.RawMessage       `json:"args,omitempty"`
	Free     []string              `json:"free,omitempty"`
	Under    []string              `json:"under,omitempty"`
	// Exact is of a call whose code is not known beforehand; nil: it is another.
	Exact *Exact `json:"exact,omitempty"`
}

// Terms are how far a grant goes.
type Terms struct {
	Scope string        `json:"scope"`
	Uses  int           `json:"uses"`
	TTL   time.Duration `json:"ttl_ns"`
}

// WithDefaults fills in what is left out; the scope is the session where there is one.
func (t Terms) WithDefaults(session string) Terms {
	if t.Scope == "" {
		if t.Scope = ScopeSession; session == "" {
			t.Scope = ScopeCaller
		}
	}
	if t.Uses == 0 {
		t.Uses = DefaultUses
	}
	if t.TTL == 0 {
		t.TTL = DefaultTTL
	}
	return t
}

// Check says what is wrong with the terms; its error is errdefs.ErrInvalidArgument.
func (t Terms) Check(session string) error {
	var err error
	switch {
	case t.Scope != ScopeSession && t.Scope != ScopeCaller:
		err = fmt.Errorf("grant scope %q: want %s or %s", t.Scope, ScopeSession, ScopeCaller)
	case t.Scope == ScopeSession && session == "":
		err = errors.New("grant scope session: the call has no session: want caller")
	case t.Uses < 1 || t.Uses > MaxUses:
		err = fmt.Errorf("grant uses %d: want 1 to %d", t.Uses, MaxUses)
	case t.TTL < time.Second || t.TTL > MaxTTL:
		err = fmt.Errorf("grant duration %s: want 1s to %s", t.TTL, MaxTTL)
	default:
		return nil
	}
	return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
}

// Narrowest is what two approvers both gave.
func (t Terms) Narrowest(o Terms) Terms {
	if o.Scope == ScopeSession {
		t.Scope = ScopeSession
	}
	t.Uses, t.TTL = min(t.Uses, o.Uses), min(t.TTL, o.TTL)
	return t
}

// Grant is one grant.
type Grant struct {
	ID    string `json:"id"`
	Class Class  `json:"class"`
	Terms Terms  `json:"terms"`
	// Caller is whose calls it is for; Session as well, where that is its scope.
	Caller  string `json:"caller"`
	Session string `json:"session,omitempty"`

	ApprovalID string    `json:"approval_id"` // by which it was given
	Approvers  []string  `json:"approvers"`
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at"`

	Used      int       `json:"used"`
	LastUsed  time.Time `json:"last_used,omitzero"`
	RevokedBy string    `json:"revoked_by,omitempty"` // empty: it is not
}

// Live reports whether it can be used.
func (g *Grant) Live(now time.Time) bool {
	return g.RevokedBy == "" && g.Used < g.Terms.Uses && now.Before(g.ExpiresAt)
}

// covers reports whether the grant is for calls of this kind at all; whether it is for this
// very call, the policy says.
func (g *Grant) covers(k Kind) bool {
	return (g.Class.Exact == nil || g.Class.Exact.WorkspaceDir == k.WorkspaceDir) && g.Caller == k.Caller && g.Class.Tool == k.Tool && g.Class.ToolDigest == k.ToolDigest && g.Class.Profile == k.Profile &&
		(g.Terms.Scope == ScopeCaller || g.Terms.Scope == ScopeSession && g.Session == k.Session && k.Session != "")
}

// Input is the grant as a policy sees it.
func (g *Grant) Input() policy.GrantInput {
	return policy.GrantInput{
		ID: g.ID, Scope: g.Terms.Scope, Tool: g.Class.Tool, Cwd: g.Class.Cwd, Rules: g.Class.Rules, Summary: g.Class.Summary,
		Exact:    g.Class.Exact != nil,
		Commands: g.Class.Commands, Args: g.Class.Args, Free: g.Class.Free, Under: g.Class.Under,
	}
}

// Kind is what of a call says which grants can be for it.
type Kind struct {
	Caller, Session, Profile, Tool, ToolDigest string
	// WorkspaceDir is the directory of the machine that the call names; empty: its session's
	// own, or none.
	WorkspaceDir string
}

func (g *Grant) clone() Grant {
	own := *g
	own.Approvers = slices.Clone(g.Approvers)
	return own // nobody writes to the rest
}
