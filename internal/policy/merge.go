package policy

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/sandgate/sandgate/sandbox"
)

// tenantSource is how the source of a tenant's own policy begins.
const tenantSource = "tenants."

// tighten merges what t says into what is demanded so far, and into the bounds
// that hold also where nothing is demanded: of numbers the least, of words the
// tightest, of lists the union, of mounts the intersection. What cannot both be is a problem.
func tighten(o *Obligations, bounds *SandboxObligations, t *Tightening) *problem {
	tenant := strings.HasPrefix(t.Source, tenantSource)
	workspace := o.Sandbox.Workspace
	if workspace == "" && bounds.Workspace == modeRO {
		workspace = modeRO
	}
	o.Sandbox.Mounts = intersect(o.Sandbox.Mounts, workspace, t.Obligations.Sandbox.Mounts, t.Obligations.Sandbox.Workspace)
	if len(o.Sandbox.Mounts) > sandbox.MaxMounts {
		return conflict("%s and the rest of the policy have %d mounts together, the most is %d", t.Source, len(o.Sandbox.Mounts), sandbox.MaxMounts)
	}
	for _, a := range amounts {
		if more := *a.of(&t.Obligations.Sandbox); more > 0 {
			lower(a.of(bounds), more)
			if demanded := a.of(&o.Sandbox); *demanded > 0 {
				lower(demanded, more)
			}
		}
	}
	for _, w := range words {
		if p := w.tighten(o, bounds, t, tenant); p != nil {
			return p
		}
	}
	if tenant && len(t.Obligations.Exec.EnvSet) > 0 {
		return conflict("%s sets variables; a tenant's policy can only tighten", t.Source)
	}
	var p *problem
	if o.Exec.EnvSet, p = agreed(o.Exec.EnvSet, t.Obligations.Exec.EnvSet, t.Source, "exec.env_set"); p != nil {
		return p
	}
	if o.Output.Patterns, p = agreed(o.Output.Patterns, t.Obligations.Output.Patterns, t.Source, "output.patterns"); p != nil {
		return p
	}
	o.Exec.EnvDrop = union(o.Exec.EnvDrop, t.Obligations.Exec.EnvDrop)
	o.Output.Redact = union(o.Output.Redact, t.Obligations.Output.Redact)
	o.Output.Labels = union(o.Output.Labels, t.Obligations.Output.Labels)
	level := t.Obligations.Audit.Level
	switch {
	case level == "" || level == o.Audit.Level:
	case tenant && level == auditShape:
		return conflict("%s wants less of the call recorded; a tenant's policy can only tighten", t.Source)
	case o.Audit.Level != "":
		return conflict("%s demands audit.level %q where %q is demanded", t.Source, level, o.Audit.Level)
	default:
		o.Audit.Level = level
	}
	return nil
}

func (w word) tighten(o *Obligations, bounds *SandboxObligations, t *Tightening, tenant bool) *problem {
	more, demanded, bound := *w.of(&t.Obligations.Sandbox), w.of(&o.Sandbox), w.of(bounds)
	if more == "" {
		return nil
	}
	if w.ranked {
		*bound = w.tightest(*bound, more)
		if *demanded != "" {
			*demanded = w.tightest(*demanded, more)
		}
		return nil
	}
	if have := cmp.Or(*demanded, *bound); have != "" && have != more {
		return conflict("%s demands the %s %q where %q is demanded", t.Source, w.name, more, have)
	}
	if tenant && *demanded == "" && more == w.values[0] {
		// The daemon or the tool may have more by default.
		return conflict("%s demands the %s %q, which could be less than the default; a tenant's policy can only tighten", t.Source, w.name, more)
	}
	*bound = more
	return nil
}

// tightest of two values, of which the first may be empty.
func (w word) tightest(a, b string) string {
	if a == "" || slices.Index(w.values, b) < slices.Index(w.values, a) {
		return b
	}
	return a
}

func lower(value *int64, limit int64) {
	if *value == 0 || *value > limit {
		*value = limit
	}
}

// agreed puts two maps together that must not differ where both have a name.
func agreed(have, more map[string]string, source, what string) (map[string]string, *problem) {
	if len(more) == 0 {
		return have, nil
	}
	out := make(map[string]string, len(have)+len(more))
	maps.Copy(out, have)
	for name, value := range more {
		if old, ok := have[name]; ok && old != value {
			return nil, conflict("%s and another part of the policy give obligations.%s.%s different values", source, what, name)
		}
		out[name] = value
	}
	return out, nil
}

// union keeps the order of have. It changes neither.
func union(have, more []string) []string {
	out := slices.Clip(have)
	for _, item := range more {
		if !slices.Contains(out, item) {
			out = append(out, item)
		}
	}
	return out
}

func conflict(format string, args ...any) *problem {
	return &problem{RuleObligationConflict, fmt.Sprintf(format, args...)}
}

// Cage is what a decided call is put into: what the policy demands, where it
// demands nothing the defaults, and never more than the ceiling or the bounds of
// the decision.
func (d *Decision) Cage(ceiling, defaults SandboxObligations) SandboxObligations {
	if d.Bounds.IsZero() {
		return Effective(d.Obligations, ceiling, defaults)
	}
	most := d.Bounds
	for _, a := range amounts {
		if limit := *a.of(&ceiling); limit > 0 {
			lower(a.of(&most), limit)
		}
	}
	for _, w := range words {
		if limit := *w.of(&ceiling); limit != "" && (w.ranked || *w.of(&most) == "") {
			*w.of(&most) = w.tightest(*w.of(&most), limit)
		}
	}
	out := Effective(d.Obligations, most, defaults)
	// What the bounds say of the workspace was merged into the mounts already.
	out.Mounts = mountsIn(d.Obligations.Sandbox.Mounts, out.Workspace, ceiling.Workspace)
	return out
}

// Both is the decision on a call that was transformed: first is about the call
// as it was sent, second about what was made of it, and both hold. The id is the
// first one's.
func Both(first, second Decision, t Transform) Decision {
	d := second
	d.ID, d.Transform = first.ID, &t
	d.Warnings = append(slices.Clip(first.Warnings), second.Warnings...)
	d.Shadow = append(slices.Clip(first.Shadow), second.Shadow...)
	switch {
	case second.Outcome != Allow && second.Outcome != Ask:
		if first.Obligations.Audit.Level == auditShape {
			d.Obligations.Audit.Level = auditShape
		}
		return d
	case first.Outcome == Ask && second.Outcome == Allow:
		d.Outcome, d.Reasons, d.Ask = Ask, first.Reasons, first.Ask
	case first.Outcome == Ask && !reflect.DeepEqual(first.Ask, second.Ask):
		return RefuseTransform(first, t, "the approvals of the call as it was sent and of what is made of it differ in their terms")
	}
	// A part of the policy of its own, but one that may do what the second may.
	also := Tightening{Source: "the decision on the call as it was sent", Obligations: first.Obligations}
	if p := tighten(&d.Obligations, &d.Bounds, &also); p != nil {
		return RefuseTransform(first, t, p.message)
	}
	also.Obligations = Obligations{Sandbox: first.Bounds}
	if p := tighten(&d.Obligations, &d.Bounds, &also); p != nil {
		return RefuseTransform(first, t, p.message)
	}
	d.Labels = union(first.Labels, second.Labels)
	if d.Grants = nil; d.Outcome == Allow {
		d.Grants = union(first.Grants, second.Grants)
	}
	if p := checkLabels(d.Labels); p != nil {
		return RefuseTransform(first, t, p.message)
	}
	return d
}

// RefuseTransform denies a call of which policy makes something that cannot run.
func RefuseTransform(first Decision, t Transform, why string) Decision {
	d := refuse(RuleTransform, "the policy rewrites the arguments of this call into what cannot run: "+why, askOperator)
	d.ID, d.Profile, d.Revision, d.Transform = first.ID, first.Profile, first.Revision, &t
	d.Obligations.Audit = first.Obligations.Audit
	return d
}
