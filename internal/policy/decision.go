// Package policy decides calls: it embeds OPA, builds the input document that
// Rego sees, and turns what the policy says into a validated Decision. The gate
// and the policy tools of the CLI call it. It must never run anything, never
// let an undefined, ambiguous or malformed answer become an allow, and it is
// the only package that imports OPA.
package policy

import (
	"encoding/json"
	"slices"
)

// Outcome of a decision.
type Outcome string

// Outcomes. The order of precedence is deny, ask, allow.
const (
	Allow Outcome = "allow"
	Ask   Outcome = "ask"
	Deny  Outcome = "deny"
)

// Decision is what policy says of one call, after the daemon has validated it.
type Decision struct {
	ID          string      `json:"decision_id,omitempty"`
	Outcome     Outcome     `json:"outcome"`
	Reasons     []Reason    `json:"reasons,omitempty"`
	Warnings    []Reason    `json:"warnings,omitempty"` // would have counted if their rule were enforced
	Shadow      []Shadow    `json:"shadow,omitempty"`
	Ask         *AskTerms   `json:"ask,omitempty"`
	Obligations Obligations `json:"obligations"`
	// Bounds are what the cage may be at most, also where nothing is demanded of
	// it: the tightest of what the parts of the policy beside the profile say.
	Bounds SandboxObligations `json:"bounds,omitzero"`
	// Transform is what the policy makes of the arguments. Nil: nothing.
	Transform *Transform `json:"transform,omitempty"`
	Labels    []string   `json:"labels,omitempty"` // to be put on the session when the call is allowed
	// Grants are the ids of the grants that made an allow of an ask. Each is used once
	// by a call that runs.
	Grants   []string `json:"grants,omitempty"`
	Profile  string   `json:"profile,omitempty"`
	Revision string   `json:"revision,omitempty"` // of the policy that decided
}

// Reason names the rule that counted and tells the model what to do instead.
// Rule ids are stable; the prefix "daemon:" is reserved for sandgate itself.
type Reason struct {
	Rule        string `json:"rule"`
	Message     string `json:"message"`
	Remediation string `json:"remediation,omitempty"`
	Severity    string `json:"severity,omitempty"` // low, medium, high, critical
	Command     *int   `json:"command,omitempty"`  // index into call.shell.commands
}

// Shadow is what a rule in shadow mode would have said.
type Shadow struct {
	Rule    string  `json:"rule"`
	Would   Outcome `json:"would"`
	Message string  `json:"message,omitempty"`
}

// AskTerms are the terms of an approval.
type AskTerms struct {
	// Approvers are who may approve: "role:oncall", "caller:token:alice", "uid:1000".
	// Empty: whoever may approve at all.
	Approvers []string `json:"approvers,omitempty"`
	Quorum    int      `json:"quorum,omitempty"`     // 0: 1
	TTLMs     int64    `json:"ttl_ms,omitempty"`     // 0: the daemon's default
	OnTimeout Outcome  `json:"on_timeout,omitempty"` // deny or allow; empty: deny
	// Self lets the caller approve its own call. Without it somebody else has to.
	Self bool `json:"self,omitempty"`
	// NoGrant: an approval is for this one call, and none is given for others like it.
	NoGrant bool `json:"no_grant,omitempty"`
}

// Transform tells that other arguments run than those that the host sent. The
// call with the new ones was decided as a call of its own.
type Transform struct {
	// Args are the new arguments, a JSON object.
	Args json.RawMessage `json:"args,omitempty"`
	// From and To are the digests of the call as sent and as it runs; set by the gate.
	From string `json:"from_digest,omitempty"`
	To   string `json:"to_digest,omitempty"`
}

// Tightening is what a part of the policy beside the profile says of the cage.
// It can only tighten what the profile, the tool and the daemon say.
type Tightening struct {
	// Source names the part: "extra.NAME", or "tenants.NAME", which may not set
	// variables, name an isolation that the profile does not or have less recorded.
	Source      string      `json:"source"`
	Obligations Obligations `json:"obligations"`
}

// Obligations are what policy demands of an allowed call. Zero means: no
// demand, the daemon's default applies. Unknown keys are a deny.
type Obligations struct {
	Sandbox SandboxObligations `json:"sandbox,omitzero"`
	Exec    ExecObligations    `json:"exec,omitzero"`
	Output  OutputObligations  `json:"output,omitzero"`
	Audit   AuditObligations   `json:"audit,omitzero"`
}

// SandboxObligations set the cage of this very call.
type SandboxObligations struct {
	Isolation        string `json:"isolation,omitempty"` // runc, gvisor
	Reuse            string `json:"reuse,omitempty"`     // never, session, caller
	Network          string `json:"network,omitempty"`   // none
	Workspace        string `json:"workspace,omitempty"` // rw, transaction, ro
	CPUMillis        int64  `json:"cpu_millis,omitempty"`
	MemoryBytes      int64  `json:"memory_bytes,omitempty"`
	Pids             int64  `json:"pids,omitempty"`
	WallTimeMs       int64  `json:"wall_time_ms,omitempty"`
	OutputBytes      int64  `json:"output_bytes,omitempty"`
	OutputTotalBytes int64  `json:"output_total_bytes,omitempty"`
	DiskBytes        int64  `json:"disk_bytes,omitempty"`
	FileBytes        int64  `json:"file_bytes,omitempty"`
	OpenFiles        int64  `json:"open_files,omitempty"`
	// Mounts are of parts of the workspace. Ceilings, defaults and bounds have none.
	Mounts []Mount `json:"mounts,omitempty"`
}

// IsZero reports whether nothing is demanded.
func (o SandboxObligations) IsZero() bool { return o.equal(&SandboxObligations{}) }

func (o *SandboxObligations) equal(p *SandboxObligations) bool {
	for _, a := range amounts {
		if *a.of(o) != *a.of(p) {
			return false
		}
	}
	for _, w := range words {
		if *w.of(o) != *w.of(p) {
			return false
		}
	}
	return slices.Equal(o.Mounts, p.Mounts)
}

// ExecObligations change the environment of the call.
type ExecObligations struct {
	EnvSet  map[string]string `json:"env_set,omitempty"`
	EnvDrop []string          `json:"env_drop,omitempty"` // glob patterns of names: "*_TOKEN"
}

// OutputObligations change what of the output comes out.
type OutputObligations struct {
	// Redact names forms of secrets that are taken out of the output, see redact.Names.
	Redact []string `json:"redact,omitempty"`
	// Patterns are further ones, RE2 expressions by a name of their own. They are
	// matched line by line.
	Patterns map[string]string `json:"patterns,omitempty"`
	// Labels are put on the session with those of the decision.
	Labels []string `json:"labels,omitempty"`
}

// AuditObligations say how much of the call the journal keeps.
type AuditObligations struct {
	Level string `json:"level,omitempty"` // full, shape (argument names and sizes only)
}
