package approval_test

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/policy"
)

// known are the principals of a configuration. The requester of the tests is
// "unix:uid:1000".
func known(named map[string][]string) approval.Identities {
	return approval.Identities{Of: func(id string) []string { return named[id] }}
}

// TestTheRequesterByAnotherDoor: whoever proposed the call may not approve it, however it
// comes, and where that cannot be told nobody approves.
func TestTheRequesterByAnotherDoor(t *testing.T) {
	named := known(map[string][]string{
		requester: {"agent"}, "token:agent": {"agent"}, "spiffe://td/agent": {"ops", "agent"}, "token:bob": {"bob"}, "unix:uid:0": {"bob"},
	})
	for _, tc := range []struct {
		name   string
		by     string
		who    approval.Identities
		caller string // empty: the requester
		self   bool
		want   string
	}{
		{name: "another identity where none are named", by: "token:agent"},
		{name: "its token", by: "token:agent", who: named, want: "are the same principal (agent)"},
		{name: "its certificate", by: "spiffe://td/agent", who: named, want: "are the same principal (ops, agent)"},
		{name: "itself", by: requester, who: named, want: "may not approve it itself"},
		{name: "somebody else", by: "token:bob", who: named},
		{name: "somebody of whom nothing is said", by: "token:carol", who: named, want: "cannot be told"},
		{name: "of a caller of whom nothing is said", by: "token:bob", who: named, caller: "token:ci", want: "cannot be told"},
		{name: "an anonymous approver", by: "tcp:anonymous", want: "cannot be told"},
		{name: "of an anonymous caller", by: "token:bob", caller: "tcp:anonymous", want: "cannot be told"},
		{name: "of an anonymous caller that is named", by: "token:bob", caller: "tcp:anonymous", who: known(map[string][]string{"tcp:anonymous": {"ci"}, "token:bob": {"bob"}})},
		{name: "where policy lets it", by: "token:agent", who: named, self: true},
	} {
		b := newBench(t, nil)
		asked := b.asking("c1", policy.AskTerms{Self: tc.self})
		if tc.caller != "" {
			asked.Caller = tc.caller
		}
		a, err := b.Ask(t.Context(), asked, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.yes(t, a, approval.Approver{ID: tc.by, Roles: []string{"operator"}, Admin: true, Identities: tc.who})
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v, want that it may", tc.name, err)
		case tc.want != "" && (!errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: got %v, want PermissionDenied with %q", tc.name, err, tc.want)
		}
	}
}

// TestAQuorumIsOfPrincipals: one person with two identities is one approver.
func TestAQuorumIsOfPrincipals(t *testing.T) {
	b := newBench(t, nil)
	named := known(map[string][]string{
		requester: {"agent"}, "token:bob": {"bob"}, "unix:uid:0": {"bob"}, "token:carol": {"carol"},
	})
	as := func(id string) approval.Approver {
		return approval.Approver{ID: id, Roles: []string{"oncall"}, Identities: named}
	}
	a := b.ask(t, "c1", policy.AskTerms{Quorum: 2, Self: true})
	b.mustYes(t, a, as("token:bob"))
	if got := b.mustYes(t, a, as("unix:uid:0")); got.State != approval.Pending || len(got.Votes) != 1 {
		t.Errorf("approved by the same person again it is %s with %d votes, want pending with 1", got.State, len(got.Votes))
	}
	if _, err := b.yes(t, a, as("token:dave")); !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "cannot be told") {
		t.Errorf("by somebody of whom nothing is said: got %v, want PermissionDenied", err)
	}
	if got := b.mustYes(t, a, as("token:carol")); got.State != approval.Approved {
		t.Errorf("approved by two it is %s", got.State)
	}
}
