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
	return bad
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
