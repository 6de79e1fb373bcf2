package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRolesOfACaller(t *testing.T) {
	named := Approvals{Roles: map[string][]string{"oncall": {"token:ali*", "unix:uid:7"}, "operator": {"token:bob"}}}
	for _, tc := range []struct {
		name  string
		of    Approvals
		id    string
		admin bool
		want  []string
	}{
		{"administrators are operators", Approvals{}, "unix:uid:0", true, []string{"operator"}},
		{"nobody else is", Approvals{}, "unix:uid:1", false, nil},
		{"unless operators are named", named, "unix:uid:0", true, nil},
		{"by a pattern", named, "token:alice", false, []string{"oncall"}},
		{"by an id", named, "unix:uid:7", true, []string{"oncall"}},
		{"not by the beginning of an id", named, "unix:uid:70", false, nil},
		{"operators by name", named, "token:bob", false, []string{"operator"}},
	} {
		if diff := cmp.Diff(tc.want, tc.of.RolesOf(tc.id, tc.admin)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestApprovalsThatAreRefused(t *testing.T) {
	for want, a := range map[string]Approvals{
		"approvals.ttl":                 {TTL: 1},
		"approvals.max_open:":           {MaxOpen: -1},
		"approvals.max_open_per_caller": {MaxOpen: 5, MaxOpenPerCaller: 6},
		"approvals.roles: \"On Call\"":  {Roles: map[string][]string{"On Call": {"*"}}},
		"approvals.roles.a[1]: is empty": {
			Roles: map[string][]string{"a": {"*", ""}},
		},
		"approvals.tokens_file":                 {TokensFile: "tokens"},
		"approvals.identities: \"Alice\"":       {Identities: map[string][]string{"Alice": {"x"}}},
		"approvals.identities.bob: is empty":    {Identities: map[string][]string{"bob": nil}},
		"approvals.identities.bob[1]: is empty": {Identities: map[string][]string{"bob": {"x", ""}}},
	} {
		a = a.withDefaults()
		if got := strings.Join(a.problems(), "; "); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
	fine := Approvals{}.withDefaults()
	if got := fine.problems(); len(got) > 0 {
		t.Errorf("the defaults: got %q, want no problem", got)
	}
}

func TestPrincipalsOfACaller(t *testing.T) {
	a := Approvals{Identities: map[string][]string{
		"alice": {"unix:uid:1000", "token:alice*"}, "ops": {"token:*"}, "bob": {"spiffe://td/bob"},
	}}
	for id, want := range map[string][]string{
		"unix:uid:1000": {"alice"}, "token:alice-phone": {"alice", "ops"}, "spiffe://td/bob": {"bob"}, "unix:uid:10001": nil, "tcp:anonymous": nil,
	} {
		if diff := cmp.Diff(want, a.PrincipalsOf(id)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
}
