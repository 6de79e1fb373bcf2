package policy

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/sandgate/sandgate/internal/redact"
	"github.com/sandgate/sandgate/sandbox"
)

// auditShape is the level of audit that keeps the least.
const auditShape = "shape"

// Bounds of a decision, so that a policy cannot flood the journal or the model.
const (
	maxReasons     = 100
	maxLabels      = 32
	maxLabelBytes  = 128
	maxGrants      = 16 // that one decision relies on
	maxQuorum      = 100
	maxTTLMs       = 30 * 24 * 3600 * 1000
	maxAnswerBytes = 256 << 10
)

// validate turns what the policy said into a decision, or into the deny that
// tells what is wrong with it.
func validate(answers []ast.Value, cfg Config) Decision {
	if len(answers) == 0 {
		return refuse(RuleUndefined, "the policy gave no decision: data.sandgate.decision is undefined", askOperator)
	}
	if len(answers) > 1 {
		return refuse(RuleUndefined, "the policy gave several decisions", askOperator)
	}
	var a answer
	if p := a.read(answers[0]); p != nil {
		return refuse(p.rule, p.message, askOperator)
	}
	// What is demanded cannot be, and the call is denied; but its shape still counts.
	denied := func(p *problem, audit AuditObligations) Decision {
		d := refuse(p.rule, p.message, askOperator)
		d.Obligations.Audit = audit
		return d
	}
	audit := a.audit()
	if p := a.check(cfg); p != nil {
		return denied(p, audit)
	}
	var bounds SandboxObligations
	for i := range a.Tighten {
		if p := tighten(&a.Obligations, &bounds, &a.Tighten[i]); p != nil && a.Outcome != Deny {
			return denied(p, audit)
		}
	}
	if a.Outcome != Deny && cmp.Or(a.Obligations.Sandbox.Isolation, bounds.Isolation, cfg.Ceiling.Isolation) == string(sandbox.IsolationGVisor) {
		switch {
		case len(a.Obligations.Sandbox.Mounts) > 0:
			return denied(noMounts(), audit)
		case bounds.Workspace == WorkspaceTransaction || a.Obligations.Sandbox.Workspace == WorkspaceTransaction:
			return denied(noTransaction(), audit)
		}
	}
	d := Decision{
		Outcome: a.Outcome, Reasons: a.Reasons, Warnings: orNil(a.Warnings), Shadow: orNil(a.Shadow),
		Obligations: a.Obligations, Bounds: bounds, Labels: orNil(union(a.Labels, a.Obligations.Output.Labels)),
	}
	if len(a.Transform.Args) > 0 {
		d.Transform = &Transform{Args: a.Transform.Args}
	}
	switch a.Outcome {
	case Ask:
		d.Ask = a.Ask
	case Deny: // nothing runs, so there is nothing to oblige but the journal
		d.Obligations, d.Bounds, d.Labels, d.Transform = Obligations{Audit: audit}, SandboxObligations{}, nil, nil
	case Allow:
		d.Grants = orNil(a.Grants)
	}
	return d
}

// audit is how much of a denied call is recorded: its shape, where the profile or an
// operator's own part of the policy demands that of calls that run.
func (a answer) audit() AuditObligations {
	shape := a.Obligations.Audit.Level == auditShape
	for i := range a.Tighten {
		shape = shape || a.Tighten[i].Obligations.Audit.Level == auditShape && !strings.HasPrefix(a.Tighten[i].Source, tenantSource)
	}
	if !shape {
		return AuditObligations{}
	}
	return AuditObligations{Level: auditShape}
}

// orNil makes an empty list absent, as it is after a way through JSON.
func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

// check sees that the answer means something, and that this daemon can do it.
func (a answer) check(cfg Config) *problem {
	if a.Outcome != Allow && a.Outcome != Ask && a.Outcome != Deny {
		return invalid("the decision's outcome is %q, want allow, ask or deny", a.Outcome)
	}
	if len(a.Reasons) == 0 {
		return invalid("the decision is %s without a reason: a rule has to say so", a.Outcome)
	}
	if len(a.Reasons)+len(a.Warnings)+len(a.Shadow) > maxReasons {
		return invalid("the decision has more than %d reasons, warnings and shadow entries", maxReasons)
	}
	for _, r := range slices.Concat(a.Reasons, a.Warnings) {
		if p := checkReason(r); p != nil {
			return p
		}
	}
	for _, s := range a.Shadow {
		if p := checkRule(s.Rule); p != nil {
			return p
		}
		if s.Would != Allow && s.Would != Ask && s.Would != Deny {
			return invalid("the shadow entry of rule %q would %q, want allow, ask or deny", s.Rule, s.Would)
		}
	}
	if p := checkLabels(a.Labels); p != nil {
		return p
	}
	if len(a.Grants) > maxGrants {
		return invalid("the decision relies on %d grants, the most is %d", len(a.Grants), maxGrants)
	}
	if p := a.Ask.check(); p != nil {
		return p
	}
	if a.Outcome == Deny {
		return nil
	}
	if p := a.Obligations.check(cfg); p != nil {
		return p
	}
	labels := union(a.Labels, a.Obligations.Output.Labels)
	unlimited := cfg
	unlimited.Ceiling = SandboxObligations{} // a bound above the ceiling is no demand
	for i := range a.Tighten {
		t := &a.Tighten[i]
		if t.Source == "" {
			return invalid("the decision has a tightening without a source")
		}
		if p := t.Obligations.check(unlimited); p != nil {
			p.message = t.Source + ": " + p.message
			return p
		}
		labels = union(labels, t.Obligations.Output.Labels)
	}
	return checkLabels(labels)
}

func invalid(format string, args ...any) *problem {
	return &problem{RuleInvalidDecision, fmt.Sprintf(format, args...)}
}

func checkRule(rule string) *problem {
	if rule == "" {
		return invalid("the decision has a reason without a rule id")
	}
	if strings.HasPrefix(rule, reservedPrefix) {
		return invalid("the decision uses the rule id %q; the prefix %q is reserved for sandgate itself", rule, reservedPrefix)
	}
	return nil
}

func checkReason(r Reason) *problem {
	if p := checkRule(r.Rule); p != nil {
		return p
	}
	if r.Message == "" {
		return invalid("the reason of rule %q has no message", r.Rule)
	}
	if !slices.Contains([]string{"", "low", "medium", "high", "critical"}, r.Severity) {
		return invalid("the severity of rule %q is %q, want low, medium, high or critical", r.Rule, r.Severity)
	}
	if r.Command != nil && *r.Command < 0 {
		return invalid("the command of rule %q is %d, want an index", r.Rule, *r.Command)
	}
	return nil
}

func checkLabels(labels []string) *problem {
	if len(labels) > maxLabels {
		return invalid("the decision has %d labels, the most is %d", len(labels), maxLabels)
	}
	for _, label := range labels {
		if label == "" || len(label) > maxLabelBytes {
			return invalid("the label %q has %d bytes, want 1 to %d", label, len(label), maxLabelBytes)
		}
	}
	return nil
}

func (t *AskTerms) check() *problem {
	if t == nil {
		return nil
	}
	if t.Quorum < 0 || t.TTLMs < 0 {
		return invalid("the terms of the approval have a negative quorum or ttl_ms")
	}
	if t.Quorum > maxQuorum || t.TTLMs > maxTTLMs {
		return invalid("the terms of the approval have the quorum %d and ttl_ms %d, the most is %d and %d", t.Quorum, t.TTLMs, maxQuorum, int64(maxTTLMs))
	}
	if t.OnTimeout != "" && t.OnTimeout != Deny && t.OnTimeout != Allow {
		return invalid("the terms of the approval say %q on time-out, want deny or allow", t.OnTimeout)
	}
	for _, approver := range t.Approvers {
		if !approverForm.MatchString(approver) {
			return invalid("the terms of the approval name the approver %q, want role:NAME, caller:ID or uid:NUMBER", approver)
		}
	}
	return nil
}

// approverForm is what an approver may be: see AskTerms.Approvers.
var approverForm = regexp.MustCompile(`^(role:[a-z0-9][a-z0-9_-]{0,63}|caller:[!-~]{1,256}|uid:[0-9]{1,10})$`)

func (o Obligations) check(cfg Config) *problem {
	for _, p := range checkSandbox(o.Sandbox, cfg.Ceiling, cfg.Isolations) {
		return &p
	}
	for name, value := range o.Exec.EnvSet {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
			return invalid("obligations.exec.env_set has %q, which cannot be an environment variable", name)
		}
	}
	for _, pattern := range o.Exec.EnvDrop {
		if _, err := path.Match(pattern, "X"); err != nil || pattern == "" {
			return invalid("obligations.exec.env_drop has %q, which is not a glob pattern", pattern)
		}
	}
	if err := redact.Check(o.Output.Redact, o.Output.Patterns); err != nil {
		return invalid("obligations.output: %v", err)
	}
	if !slices.Contains([]string{"", "full", auditShape}, o.Audit.Level) {
		return invalid("obligations.audit.level is %q, want full or shape", o.Audit.Level)
	}
	return nil
}
