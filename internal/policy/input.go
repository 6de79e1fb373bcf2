package policy

import (
	"encoding/json"
	"slices"

	"github.com/sandgate/sandgate/internal/facts"
)

// InputSchema is the version of the input document.
const InputSchema = "sandgate.input/v1"

// Input is the document that Rego sees as input. Everything that the host or
// the model sent stays under Call.Args, Call.Cwd and Call.Env; the rest is
// derived by sandgate. A fact that is not known is absent, never false.
type Input struct {
	Schema     string       `json:"schema"`
	DecisionID string       `json:"decision_id"`
	Time       string       `json:"time"` // RFC 3339, UTC
	Caller     CallerInput  `json:"caller"`
	Agent      AgentInput   `json:"agent,omitzero"`
	Session    SessionInput `json:"session"`
	Call       CallInput    `json:"call"`
	Tool       ToolInput    `json:"tool"`
	Tools      []ToolInput  `json:"tools,omitempty"` // to choose from; only for data.sandgate.visible
	Sandbox    SandboxInput `json:"sandbox"`
	Daemon     DaemonInput  `json:"daemon"`

	// What a transactional call did, and what of the call its host sent where policy rewrote
	// the arguments; only for data.sandgate.effects, whose call is the one that ran.
	Proposed *ProposedInput `json:"proposed,omitempty"`

	Ended   *EndedInput   `json:"ended,omitempty"`
	Changes []ChangeInput `json:"changes,omitempty"`
	Totals  *TotalsInput  `json:"totals,omitempty"`
}

// CallerInput is the authenticated host.
type CallerInput struct {
	ID        string `json:"id"`        // "unix:uid:1000", "tcp:local"
	Transport string `json:"transport"` // unix, tcp, cli (policy tools)
	UID       *int   `json:"uid,omitempty"`
	GID       *int   `json:"gid,omitempty"`
	PID       *int   `json:"pid,omitempty"`
	Exe       string `json:"exe,omitempty"`
	Tenant    string `json:"tenant,omitempty"` // as the daemon's configuration has it
}

// AgentInput is what the host says of itself: unauthenticated.
type AgentInput struct {
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	Model   string `json:"model,omitempty"`
}

// SessionInput is the session's memory, bounded.
type SessionInput struct {
	ID      string         `json:"id,omitempty"` // absent for a call without a session
	Profile string         `json:"profile"`
	Seq     int64          `json:"seq"`
	Counts  map[string]int `json:"counts"` // allow, ask, deny
	Labels  []string       `json:"labels"`
	Recent  []RecentCall   `json:"recent"`
	Grants  []string       `json:"grants"` // ids of those of Granted
	// Granted are the grants that live for this session and tool; absent when there are none.
	Granted []GrantInput `json:"granted,omitempty"`
	// What follows is absent for a call without a session, and before there is one.
	Kind    string `json:"kind,omitempty"`    // persistent, ephemeral, directory, git_worktree
	Created string `json:"created,omitempty"` // RFC 3339, UTC
	Expires string `json:"expires,omitempty"` // likewise, however it is used; absent: never
	// Quota is absent when nothing bounds the session.
	Quota *SessionQuotaInput `json:"quota,omitempty"`
	Usage *SessionUsageInput `json:"usage,omitempty"`
	// HostLabels are the host's own words: nobody has checked them.
	HostLabels map[string]string `json:"host_labels,omitempty"`
}

// RecentCall is one of the session's last calls.
type RecentCall struct {
	Seq     int64  `json:"seq"`
	Time    string `json:"time,omitempty"` // RFC 3339, UTC, of its decision
	Tool    string `json:"tool"`
	Outcome string `json:"outcome"`
	Digest  string `json:"digest"`
}

// CallInput is the proposed call with its facts.
type CallInput struct {
	ID         string            `json:"id"`
	Tool       string            `json:"tool"`
	Args       json.RawMessage   `json:"args"`
	Cwd        string            `json:"cwd"`
	Env        map[string]string `json:"env"`
	StdinBytes *int64            `json:"stdin_bytes,omitempty"` // absent when streamed
	// StdinDigest is "sha256:…"; absent when streamed or when there is no stdin.
	StdinDigest string `json:"stdin_digest,omitempty"`
	// Detached: it runs in the background; absent for other calls.
	Detached bool `json:"detached,omitempty"`
	// Terminal: its program has a terminal, to which a person or a program types; absent
	// for other calls.
	Terminal bool   `json:"terminal,omitempty"`
	Digest   string `json:"digest"`
	// TransformedFrom is the digest of the call that the host sent, where this one
	// is what a transform of the policy made of it.
	TransformedFrom string       `json:"transformed_from,omitempty"`
	Shell           *facts.Shell `json:"shell,omitempty"`
	Files           []facts.File `json:"files,omitempty"`
	// Python is there for a tool that runs a Python program; Kubectl and Git for one whose program they are.
	Python  *facts.Python  `json:"python,omitempty"`
	Kubectl *facts.Kubectl `json:"kubectl,omitempty"`
	Git     *facts.Git     `json:"git,omitempty"`
}

// ToolInput is the declaration of the tool.
type ToolInput struct {
	Name        string          `json:"name"`
	Source      string          `json:"source"` // builtin, operator
	Effects     []string        `json:"effects"`
	Risk        string          `json:"risk"`
	Annotations map[string]bool `json:"annotations"` // as in MCP: readOnlyHint, …
}

// SandboxInput tells what the daemon allows at most.
type SandboxInput struct {
	Ceiling SandboxObligations `json:"ceiling"`
}

// DaemonInput tells which daemon decides.
type DaemonInput struct {
	Version  string `json:"version"`
	Revision string `json:"policy_revision"`
	// Environment is where the daemon runs, as its configuration names it: "production".
	Environment string `json:"environment,omitempty"`
}

// normalise makes absent lists and maps empty, as the schema of the input has
// them: to a policy, null is neither.
func (in *Input) normalise() {
	if in.Session.Counts == nil {
		in.Session.Counts = map[string]int{}
	}
	if in.Session.Labels == nil {
		in.Session.Labels = []string{}
	}
	if in.Session.Recent == nil {
		in.Session.Recent = []RecentCall{}
	}
	if in.Session.Grants == nil {
		in.Session.Grants = []string{}
	}
	if in.Call.Env == nil {
		in.Call.Env = map[string]string{}
	}
	if len(in.Call.Args) == 0 {
		in.Call.Args = json.RawMessage("{}")
	}
	in.Call.Shell = complete(in.Call.Shell)
	in.Tool.normalise()
	if in.Tools != nil {
		in.Tools = slices.Clone(in.Tools)
		for i := range in.Tools {
			in.Tools[i].normalise()
		}
	}
}

// complete gives the facts of a script its programs, which guarded rules are
// found by, and whether it is bare, if they are not those of its commands.
func complete(shell *facts.Shell) *facts.Shell {
	if shell == nil {
		return nil
	}
	programs, bare := facts.Programs(shell.Commands), facts.Bare(shell.Commands)
	if slices.Equal(programs, shell.Programs) && shell.Programs != nil && bare == shell.Bare {
		return shell
	}
	own := *shell
	own.Programs, own.Bare = programs, bare
	return &own
}

func (t *ToolInput) normalise() {
	if t.Effects == nil {
		t.Effects = []string{}
	}
	if t.Annotations == nil {
		t.Annotations = map[string]bool{}
	}
}
