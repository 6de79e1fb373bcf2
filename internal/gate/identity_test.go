package gate_test

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/gate"
)

// TestTheCallerDoesNotApproveByAnotherDoor: alice is her user on the unix socket and her
// token; only bob may approve what she proposes.
func TestTheCallerDoesNotApproveByAnotherDoor(t *testing.T) {
	principals := map[string][]string{alice.ID: {"alice"}, "token:alice": {"alice"}, bob.ID: {"bob"}}
	b := newAskingWith(t, func(c *gate.Config) {
		c.Roles = func(gate.Caller) gate.Roles { return gate.Roles{Admin: true} }
		c.Identities = approval.Identities{Of: func(id string) []string { return principals[id] }}
	})
	a := b.ask(t, b.call("c1"))
	hers := gate.Caller{ID: "token:alice", Transport: "tcp"}
	seen, err := b.GetApproval(t.Context(), hers, a.ID)
	if err != nil || !strings.Contains(seen.Refusal, "the same principal") || seen.Principal != "alice" {
		t.Errorf("she sees the refusal %q and the principal %q, %v", seen.Refusal, seen.Principal, err)
	}
	if _, err := b.Approve(t.Context(), hers, a.ID, a.Binding, "", nil); !errdefs.IsPermissionDenied(err) {
		t.Errorf("approved with her token: got %v, want PermissionDenied", err)
	}
	if _, err := b.Approve(t.Context(), gate.Caller{ID: "token:carol"}, a.ID, a.Binding, "", nil); !errdefs.IsPermissionDenied(err) {
		t.Errorf("approved by somebody of whom nothing is said: got %v, want PermissionDenied", err)
	}
	b.want(t, b.call("c1"), askedAgain, "unsure", 0)
	b.approve(t, a)
	b.want(t, b.call("c1"), exited, "unsure", 1)
	if seen, err = b.GetApproval(t.Context(), alice, a.ID); err != nil || len(seen.Principals) != 1 || seen.Principals[0] != "bob" {
		t.Errorf("approved by the principals %q, %v", seen.Principals, err)
	}
}
