// Package approval keeps the questions to people that policy asks about calls:
// what exactly is asked, who may answer, who has answered, until when. The gate
// asks and looks for the answers, the front shows them to approvers. An approval is
// bound to what its approvers saw; it must never be used for anything else, never
// twice, and never count an approver whom the policy's terms leave out.
package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/policy"
)

// State says where an approval is on its way.
type State string

// The states. A call goes on while its approval is pending or approved.
const (
	Pending  State = "pending"
	Approved State = "approved" // enough approvers said yes; the call may run, once
	Denied   State = "denied"   // an approver said no
	Expired  State = "expired"  // nobody answered in time, or the call did not run in time
	Used     State = "used"     // the call ran
	Void     State = "void"     // what would run is not what was asked any more
)

// Live reports whether the call can still run by it.
func (s State) Live() bool { return s == Pending || s == Approved }

// ByTimeout is who approves where policy takes silence for a yes.
const ByTimeout = "daemon:timeout"

// Call is what is asked about, for people to read. Values of variables are not in it.
type Call struct {
	Tool         string            `json:"tool"`
	Args         json.RawMessage   `json:"args,omitempty"`
	Cwd          string            `json:"cwd"`
	EnvNames     []string          `json:"env_names,omitempty"`
	StdinDigest  string            `json:"stdin_digest,omitempty"`
	StdinBytes   *int64            `json:"stdin_bytes,omitempty"` // nil: streamed, and not covered
	WorkspaceDir string            `json:"workspace_dir,omitempty"`
	Profile      string            `json:"profile"`
	Agent        policy.AgentInput `json:"agent,omitzero"`
	// Cut: the arguments are not all here, since the journal keeps less of them. They
	// are still what the digest says.
	Cut bool `json:"cut,omitempty"`
}

// Bound is what an approval holds for. Whatever differs from it voids the approval.
type Bound struct {
	// Digest is of tool, arguments, working directory, variables, standard input,
	// workspace and session, as the host sent them; Runs of what policy made of it.
	Digest string `json:"digest"`
	Runs   string `json:"runs,omitempty"`
	// Tool is the digest of the tool's declaration: what makes a program of the arguments.
	Tool string `json:"tool,omitempty"`
	// Run is how it runs, as the approvers were shown.
	Run Run `json:"run,omitzero"`
	// Revision of the policy that asked, Rules that made it ask, sorted.
	Revision string   `json:"revision"`
	Rules    []string `json:"rules"`
	// Terms, Obligations and Bounds are what policy demanded; of variables that it sets
	// only a hash of each value.
	Terms       policy.AskTerms           `json:"terms"`
	Obligations policy.Obligations        `json:"obligations"`
	Bounds      policy.SandboxObligations `json:"bounds,omitzero"`
	// Files are the files of the workspace that the call refers to, as they were when
	// it was asked, sorted by path.
	Files []File `json:"files,omitempty"`
}

// Run is how a call runs once it is approved.
type Run struct {
	// Cage is what the call is put into: what policy demands, with all defaults and ceilings.
	Cage     policy.SandboxObligations `json:"cage,omitzero"`
	Terminal bool                      `json:"terminal,omitempty"`
	Detached bool                      `json:"detached,omitempty"`
	Image    string                    `json:"image,omitempty"`
}

// differs says what of r is not as in was, which is not the same. A host that sends its
// call in another way than before has to read that it is this, and not a file.
func (r *Run) differs(was *Run) string {
	switch {
	case r.Detached && !was.Detached: // with another deadline, too
		return "it was not asked as a detached call, and is sent as one now"
	case !r.Detached && was.Detached:
		return "it was asked as a detached call, and is not sent as one now"
	case r.Terminal && !was.Terminal:
		return "it was asked without a terminal, and is sent with one now"
	case !r.Terminal && was.Terminal:
		return "it was asked with a terminal, and is sent without one now"
	case r.Image != was.Image:
		return fmt.Sprintf("it would run in the image %s, not in %s", r.Image, was.Image)
	}
	return "it would run in another cage"
}

// BoundBy is what policy said of a call, as far as an approval is bound to it.
func BoundBy(digest string, d *policy.Decision, files []File) Bound {
	b := Bound{Digest: digest, Revision: d.Revision, Obligations: d.Obligations, Bounds: d.Bounds, Files: files}
	b.Obligations.Exec.EnvSet = sealed(digest, d.Obligations.Exec.EnvSet)
	if d.Transform != nil {
		b.Runs = d.Transform.To
	}
	if d.Ask != nil {
		b.Terms = *d.Ask
	}
	for _, r := range d.Reasons {
		b.Rules = append(b.Rules, r.Rule)
	}
	slices.Sort(b.Rules)
	b.Rules = slices.Compact(b.Rules)
	return b
}

// sealed are variables by whose values a decision is bound, without the values: they
// can be secret, and what an approval is bound to goes to the journal and to approvers.
func sealed(digest string, env map[string]string) map[string]string {
	if len(env) == 0 {
		return env
	}
	out := make(map[string]string, len(env))
	for name, value := range env {
		sum := sha256.Sum256([]byte(digest + "\x00" + name + "\x00" + value))
		out[name] = "sha256:" + hex.EncodeToString(sum[:])
	}
	return out
}

// Sum names what an approval holds for: it is what an approver has to have seen.
func (b *Bound) Sum() (string, error) {
	raw, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("digest of what is asked: %w", err)
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// Differs says in words what of b is not as in a; empty if nothing differs.
func (b *Bound) Differs(a *Bound) []string {
	var out []string
	if a.Digest != b.Digest || a.Runs != b.Runs {
		out = append(out, "the call is another one")
	}
	if a.Tool != b.Tool {
		out = append(out, "the declaration of its tool is another one")
	}
	if now, was := digestOf(&Bound{Run: b.Run}), digestOf(&Bound{Run: a.Run}); now != was {
		out = append(out, b.Run.differs(&a.Run))
	}
	if a.Revision != b.Revision {
		out = append(out, fmt.Sprintf("the policy is another one (%s, was %s)", b.Revision, a.Revision))
	}
	out = append(out, compareFiles(a.Files, b.Files)...)
	if len(out) == 0 && digestOf(a) != digestOf(b) {
		out = append(out, "policy asks for other reasons or on other terms")
	}
	return out
}

func digestOf(b *Bound) string {
	digest, err := b.Sum()
	if err != nil { // nothing in it that cannot be encoded
		return ""
	}
	return digest
}

// Vote is one approver's yes.
type Vote struct {
	By      string       `json:"by"`
	At      time.Time    `json:"at"`
	Comment string       `json:"comment,omitempty"`
	Grant   *grant.Terms `json:"grant,omitempty"` // the class is granted as well
}

// Approval is one question with its answers. Values are never changed: a change is
// another value.
type Approval struct {
	ID      string `json:"id"`
	CallID  string `json:"call_id"`
	Caller  string `json:"caller"` // that proposed the call
	Session string `json:"session,omitempty"`
	State   State  `json:"state"`

	Call     Call            `json:"call"`
	Bound    Bound           `json:"bound"`
	Binding  string          `json:"binding"` // digest of Bound
	Decision policy.Decision `json:"decision"`
	// Unfrozen tells, a sentence each, what the call may refer to that is not held to
	// what the approver saw.
	Unfrozen []string `json:"unfrozen,omitempty"`
	// Offer is the class of calls that can be granted with it; NoOffer is why there is none.
	Offer   *grant.Class `json:"offer,omitempty"`
	NoOffer string       `json:"no_offer,omitempty"`

	CreatedAt time.Time `json:"created_at"`
	// ExpiresAt is until when it can be answered and, once approved, be used.
	ExpiresAt time.Time     `json:"expires_at"`
	TTL       time.Duration `json:"ttl_ns"`

	Votes   []Vote `json:"votes,omitempty"`
	By      string `json:"by,omitempty"`      // who denied it
	Message string `json:"message,omitempty"` // why it was denied or is void
	GrantID string `json:"grant_id,omitempty"`
	// Lapsed: the session has ended since it was used. No grant is made any more, and if its
	// call did not run it is void.
	Lapsed bool `json:"lapsed,omitempty"`
}

// Quorum is how many approvers have to say yes.
func (a *Approval) Quorum() int { return max(a.Bound.Terms.Quorum, 1) }

// Approvers are those who said yes.
func (a *Approval) Approvers() []string {
	var out []string
	for i := range a.Votes {
		out = append(out, a.Votes[i].By)
	}
	return out
}

// granted are the terms on which all approvers granted the class; nil: not all did.
func (a *Approval) granted() *grant.Terms {
	var terms *grant.Terms
	for i := range a.Votes {
		given := a.Votes[i].Grant
		if given == nil {
			return nil
		}
		both := *given
		if terms != nil {
			both = terms.Narrowest(*given)
		}
		terms = &both
	}
	return terms
}

// owed is the grant that all approvers gave and that was not made, because the daemon
// was killed in between or the caller had too many; nil: none is. Its time runs from the
// vote.
func (a *Approval) owed() *grant.Grant {
	terms := a.granted()
	if terms == nil || a.Offer == nil || a.GrantID != "" || a.Lapsed || a.State != Approved && a.State != Used {
		return nil
	}
	return &grant.Grant{
		Class: *a.Offer, Terms: *terms, Caller: a.Caller, Session: a.Session, ApprovalID: a.ID, Approvers: a.Approvers(),
		ExpiresAt: a.Votes[len(a.Votes)-1].At.Add(terms.TTL),
	}
}

// Approver is who answers.
type Approver struct {
	ID    string   // of the caller
	UID   *int     // of a unix socket's peer
	Roles []string // as the configuration has them
	Admin bool     // administrators may approve where the terms name nobody
	// Identities tell which other identities are the same principal.
	Identities Identities
}

// May says why somebody may not approve the call; nil: he may. The error is
// errdefs.ErrPermissionDenied.
func (a *Approval) May(by Approver) error {
	if !a.Bound.Terms.Self {
		if err := a.other(&by); err != nil {
			return err
		}
	}
	named := a.Bound.Terms.Approvers
	if len(named) == 0 {
		if by.Admin || len(by.Roles) > 0 {
			return nil
		}
		return fmt.Errorf("%s is no approver: an operator can give it a role under approvals.roles: %w", by.ID, errdefs.ErrPermissionDenied)
	}
	if slices.ContainsFunc(named, by.is) {
		return nil
	}
	return fmt.Errorf("%s is none of the approvers that policy names (%s): an operator can give it a role under approvals.roles: %w",
		by.ID, strings.Join(named, ", "), errdefs.ErrPermissionDenied)
}

// is reports whether the approver is one that a policy names so.
func (by Approver) is(name string) bool {
	kind, value, _ := strings.Cut(name, ":")
	switch kind {
	case "role":
		return slices.Contains(by.Roles, value)
	case "caller":
		return by.ID == value
	case "uid":
		return by.UID != nil && strconv.Itoa(*by.UID) == value
	}
	return false
}
