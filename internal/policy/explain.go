package policy

import (
	"bytes"
	"context"

	"github.com/open-policy-agent/opa/v1/topdown"
)

// Explanation is a decision with the places of the policy that made it.
type Explanation struct {
	Decision Decision    `json:"decision"`
	Rules    []RuleFired `json:"rules"`
	Trace    string      `json:"trace,omitempty"`
}

// RuleFired is one rule that said something, whether it counted or not.
type RuleFired struct {
	Rule        string       `json:"rule"`
	Effect      string       `json:"effect"` // allow, ask, deny; warn; shadow
	Message     string       `json:"message,omitempty"`
	Remediation string       `json:"remediation,omitempty"`
	Command     *int         `json:"command,omitempty"`
	Sources     []RuleSource `json:"sources,omitempty"` // none for sandgate's own rules
}

// Explain decides an input document as EvalRaw does and tells which rules fired
// and where they are written. With trace it adds OPA's trace of the evaluation.
func (e *Engine) Explain(ctx context.Context, input []byte, trace bool) (Explanation, error) {
	value, err := parseInput(input)
	if err != nil {
		return Explanation{}, err
	}
	var tracers []topdown.QueryTracer
	tracer := topdown.NewBufferTracer()
	if trace {
		tracers = append(tracers, tracer)
	}
	out := Explanation{Decision: e.decideValue(ctx, value, tracers...)}
	out.Rules = e.fired(out.Decision)
	if trace {
		var text bytes.Buffer
		topdown.PrettyTraceWithLocation(&text, *tracer)
		out.Trace = text.String()
	}
	return out, nil
}

func (e *Engine) fired(d Decision) []RuleFired {
	var index ruleIndex
	if rev := e.current.Load(); rev != nil {
		index = rev.rules
	}
	fired := []RuleFired{}
	add := func(effect string, reasons []Reason) {
		for _, r := range reasons {
			fired = append(fired, RuleFired{
				Rule: r.Rule, Effect: effect, Message: r.Message, Remediation: r.Remediation,
				Command: r.Command, Sources: index[r.Rule],
			})
		}
	}
	add(string(d.Outcome), d.Reasons)
	add("warn", d.Warnings)
	for _, s := range d.Shadow {
		fired = append(fired, RuleFired{Rule: s.Rule, Effect: "shadow", Message: s.Message, Sources: index[s.Rule]})
	}
	return fired
}
