package config

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// OperatorRole is the role that administrators have where Approvals.Roles does not
// name it: the approvers of the built-in policy library.
const OperatorRole = "operator"

// Approvals say who may answer when policy asks about a call, and how long that takes.
// A caller never approves its own calls, unless policy sets self in its ask terms: where
// the agent and the person have the same user id, the person answers as root (sudo
// sandgate approve), or with a token of TokensFile that the agent cannot read.
type Approvals struct {
	// TTL is how long an approval is waited for where policy does not say, 1s to 720h. Once
	// approved, the call has as long again to run. Default 10m.
	TTL Duration `json:"ttl"`
	// MaxOpen is how many approvals are pending or not used yet, 1 to 100000. Default 1000.
	// MaxOpenPerCaller is how many of them are one caller's, 1 to MaxOpen. Default 100. A call
	// beyond that is refused as the daemon having no room.
	MaxOpen          int `json:"max_open"`
	MaxOpenPerCaller int `json:"max_open_per_caller"`
	// Roles name approvers: each has a list of patterns of caller ids in which * stands for
	// any characters, such as oncall: ["token:alice", "unix:uid:1001"]. Policies say
	// "role:oncall". Default: operator, which all administrators have.
	Roles map[string][]string `json:"roles"`
	// TokensFile is an absolute path of a file with one "SUBJECT TOKEN" a line, readable by
	// its owner only. Whoever sends "authorization: Bearer TOKEN" over the unix socket is the
	// caller "token:SUBJECT" then, and not its user. Callers have to name it. Default: none.
	TokensFile string `json:"tokens_file"`
	// Identities name principals, a person or an agent each, by the patterns of caller ids
	// under which it can come: alice: ["unix:uid:1000", "token:alice"]. Where policy lets
	// nobody approve its own calls, and where it wants several approvers, principals are
	// compared and not caller ids. Once one is named, a caller or approver that is of none
	// cannot be told from the others, and does not approve: name all of them. The id
	// "tcp:anonymous" is nobody's that could be told, unless it is named. Default: none, and
	// each caller id is a principal of its own.
	Identities map[string][]string `json:"identities"`
}

func (a Approvals) withDefaults() Approvals {
	fill(&a.TTL, Duration(10*time.Minute))
	fill(&a.MaxOpen, 1000)
	fill(&a.MaxOpenPerCaller, min(100, a.MaxOpen))
	return a
}

func (a *Approvals) problems() []string {
	var bad []string
	bad = append(bad, outside("approvals.ttl", int64(a.TTL), int64(time.Second), int64(720*time.Hour), span)...)
	bad = append(bad, outside("approvals.max_open", int64(a.MaxOpen), 1, 100_000, count)...)
	bad = append(bad, outside("approvals.max_open_per_caller", int64(a.MaxOpenPerCaller), 1, int64(a.MaxOpen), count)...)
	if a.TokensFile != "" {
		bad = append(bad, pathProblems("approvals.tokens_file", a.TokensFile)...)
	}
	for _, role := range sortedKeys(a.Roles) {
		if !profileName.MatchString(role) {
			bad = append(bad, fmt.Sprintf("approvals.roles: %q: want 1 to 64 characters of [a-z0-9_-]", role))
		}
		for i, pattern := range a.Roles[role] {
			if pattern == "" {
				bad = append(bad, fmt.Sprintf("approvals.roles.%s[%d]: is empty: want a pattern of caller ids, such as \"token:alice\"", role, i))
			}
		}
	}
	for _, principal := range sortedKeys(a.Identities) {
		if !profileName.MatchString(principal) {
			bad = append(bad, fmt.Sprintf("approvals.identities: %q: want 1 to 64 characters of [a-z0-9_-]", principal))
		}
		if len(a.Identities[principal]) == 0 {
			bad = append(bad, fmt.Sprintf("approvals.identities.%s: is empty: want patterns of caller ids, such as \"unix:uid:1000\"", principal))
		}
		for i, pattern := range a.Identities[principal] {
			if pattern == "" {
				bad = append(bad, fmt.Sprintf("approvals.identities.%s[%d]: is empty: want a pattern of caller ids, such as \"unix:uid:1000\"", principal, i))
			}
		}
	}
	return bad
}

// PrincipalsOf returns the principals that a caller id is of, sorted. What matches the
// patterns of several is each of them.
func (a *Approvals) PrincipalsOf(id string) []string {
	var out []string
	for _, principal := range sortedKeys(a.Identities) {
		if slices.ContainsFunc(a.Identities[principal], func(pattern string) bool { return glob(pattern, id) }) {
			out = append(out, principal)
		}
	}
	return out
}

// RolesOf returns the roles of a caller, sorted. admin tells that it is an administrator.
func (a *Approvals) RolesOf(id string, admin bool) []string {
	roles := map[string]bool{}
	for role, patterns := range a.Roles {
		if slices.ContainsFunc(patterns, func(pattern string) bool { return glob(pattern, id) }) {
			roles[role] = true
		}
	}
	if _, named := a.Roles[OperatorRole]; !named && admin {
		roles[OperatorRole] = true
	}
	return slices.Sorted(maps.Keys(roles))
}
