package approval

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// anonymous is the identity of all hosts that nothing is known of.
const anonymous = "tcp:anonymous"

// Identities say which authenticated identities are one principal: the same person or
// agent that comes over the unix socket, with a token or with a certificate. The zero
// value names nobody. It is safe for concurrent use if Of is.
type Identities struct {
	// Of returns the principals that an identity is of, none for one that is not named.
	// nil: the configuration names nobody, and each identity is a principal of its own.
	Of func(id string) []string
}

// Same reports whether two identities are the same principal, and whether that is known:
// of one that is not named where others are, and of an anonymous one, it is not.
func (i Identities) Same(a, b string) (same, known bool) {
	if a == b {
		return true, true
	}
	if i.Of == nil {
		return false, a != anonymous && b != anonymous
	}
	of, others := i.Of(a), i.Of(b)
	same = slices.ContainsFunc(of, func(p string) bool { return slices.Contains(others, p) })
	return same, same || len(of) > 0 && len(others) > 0
}

// Name is how the principal of an identity is shown; empty: it has none of its own.
func (i Identities) Name(id string) string {
	if i.Of == nil {
		return ""
	}
	return strings.Join(i.Of(id), ", ")
}

// other returns nil if the approver is another principal than the one that proposed the
// call. Its error is errdefs.ErrPermissionDenied.
func (a *Approval) other(by *Approver) error {
	same, known := by.Identities.Same(by.ID, a.Caller)
	switch {
	case by.ID == a.Caller:
		return fmt.Errorf("%s proposed this call and may not approve it itself: somebody else has to, by another user's socket connection (sudo) or an approver's token; or policy sets self in its ask terms: %w",
			by.ID, errdefs.ErrPermissionDenied)
	case same:
		return fmt.Errorf("%s and %s, which proposed this call, are the same principal (%s), which may not approve its own calls: somebody else has to, or policy sets self in its ask terms: %w",
			by.ID, a.Caller, by.Identities.Name(by.ID), errdefs.ErrPermissionDenied)
	case !known:
		return fmt.Errorf("it cannot be told whether %s and %s, which proposed this call, are the same principal: an operator can name both under approvals.identities: %w",
			by.ID, a.Caller, errdefs.ErrPermissionDenied)
	}
	return nil
}

// voted reports whether the approver has said yes already, under whatever identity. Where
// that cannot be told it is an errdefs.ErrPermissionDenied: one person could be counted
// twice.
func (a *Approval) voted(by *Approver) (bool, error) {
	for i := range a.Votes {
		same, known := by.Identities.Same(by.ID, a.Votes[i].By)
		if same {
			return true, nil
		}
		if !known && a.Votes[i].By != ByTimeout {
			return false, fmt.Errorf("it cannot be told whether %s and %s, who has approved this call, are the same principal: an operator can name both under approvals.identities: %w",
				by.ID, a.Votes[i].By, errdefs.ErrPermissionDenied)
		}
	}
	return false, nil
}
