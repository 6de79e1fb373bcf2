package rpc

import (
	"github.com/sandgate/sandgate/internal/policy"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func decisionProto(d policy.Decision) *sandgatev1.Decision {
	out := &sandgatev1.Decision{
		DecisionId: d.ID, Outcome: decisionOutcome(d.Outcome), Reasons: reasonsProto(d.Reasons), Warnings: reasonsProto(d.Warnings),
		Labels: d.Labels, Grants: d.Grants, Profile: d.Profile, PolicyRevision: d.Revision, Obligations: obligationsProto(d.Obligations),
	}
	if !d.Bounds.IsZero() {
		out.Bounds = sandboxProto(d.Bounds)
	}
	if t := d.Transform; t != nil {
		out.Transform = &sandgatev1.Transform{ArgsJson: string(t.Args), FromDigest: t.From, ToDigest: t.To}
	}
	for _, s := range d.Shadow {
		out.Shadow = append(out.Shadow, &sandgatev1.ShadowReason{
			Rule: validText(s.Rule), Would: decisionOutcome(s.Would), Message: validText(s.Message),
		})
	}
	if d.Ask != nil {
		out.Ask = &sandgatev1.AskTerms{Approvers: d.Ask.Approvers, Quorum: int32of(d.Ask.Quorum), TtlMillis: d.Ask.TTLMs, Self: d.Ask.Self, NoGrant: d.Ask.NoGrant}
		if d.Ask.OnTimeout != "" {
			out.Ask.OnTimeout = decisionOutcome(d.Ask.OnTimeout)
		}
	}
	return out
}

// decisionOutcome maps to the wire; whatever is not allow or ask is deny.
func decisionOutcome(o policy.Outcome) sandgatev1.DecisionOutcome {
	switch o {
	case policy.Allow:
		return sandgatev1.DecisionOutcome_DECISION_OUTCOME_ALLOW
	case policy.Ask:
		return sandgatev1.DecisionOutcome_DECISION_OUTCOME_ASK
	case policy.Deny:
	}
	return sandgatev1.DecisionOutcome_DECISION_OUTCOME_DENY
}

func reasonsProto(reasons []policy.Reason) []*sandgatev1.Reason {
	var out []*sandgatev1.Reason
	for _, r := range reasons {
		p := &sandgatev1.Reason{Rule: validText(r.Rule), Message: validText(r.Message), Remediation: validText(r.Remediation), Severity: validText(r.Severity)}
		if r.Command != nil {
			index := int32of(*r.Command)
			p.CommandIndex = &index
		}
		out = append(out, p)
	}
	return out
}

func obligationsProto(o policy.Obligations) *sandgatev1.Obligations {
	out := &sandgatev1.Obligations{
		Sandbox: sandboxProto(o.Sandbox),
		Exec:    &sandgatev1.ExecObligations{EnvSet: o.Exec.EnvSet, EnvDrop: o.Exec.EnvDrop},
		Audit:   &sandgatev1.AuditObligations{Level: o.Audit.Level},
	}
	if p := o.Output; len(p.Redact)+len(p.Patterns)+len(p.Labels) > 0 {
		out.Output = &sandgatev1.OutputObligations{Redact: p.Redact, Patterns: p.Patterns, Labels: p.Labels}
	}
	return out
}

func sandboxProto(s policy.SandboxObligations) *sandgatev1.SandboxObligations {
	return &sandgatev1.SandboxObligations{
		Isolation: s.Isolation, Reuse: s.Reuse, Network: s.Network, Workspace: s.Workspace, CpuMillis: s.CPUMillis,
		MemoryBytes: s.MemoryBytes, Pids: s.Pids, WallTimeMillis: s.WallTimeMs, OutputBytes: s.OutputBytes,
		OutputTotalBytes: s.OutputTotalBytes, DiskBytes: s.DiskBytes, FileBytes: s.FileBytes, OpenFiles: s.OpenFiles,
		Mounts: mountsProto(s.Mounts),
	}
}

func mountsProto(mounts []policy.Mount) []*sandgatev1.Mount {
	var out []*sandgatev1.Mount
	for _, m := range mounts {
		out = append(out, &sandgatev1.Mount{Path: validText(m.Path), Mode: m.Mode, IfExists: m.IfExists})
	}
	return out
}
