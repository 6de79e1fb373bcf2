package policy

import (
	"bytes"
	"context"
	"slices"

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
	Title       string       `json:"title,omitempty"`
	Message     string       `json:"message,omitempty"`
	Remediation string       `json:"remediation,omitempty"`
	Command     *int         `json:"command,omitempty"`
	Sources     []RuleSource `json:"sources,omitempty"` // none for sandgate's own rules
	// Facts are what the rule looked at in the input when it fired, at most
	// maxFacts. What OPA took from its cache is missing.
	Facts []Fact `json:"facts,omitempty"`
}

// Fact is a part of the input that a rule read.
type Fact struct {
	Path  string `json:"path"`  // input.call.shell.commands[1].name
	Value any    `json:"value"` // a text, a number, a boolean; lists shortened to text
}

// Explain decides an input document as EvalRaw does and tells which rules fired,
// where they are written and which facts they read. With trace it adds OPA's
// trace of the evaluation. Tracing takes several times as long as a decision.
func (e *Engine) Explain(ctx context.Context, input []byte, trace bool) (Explanation, error) {
	value, err := parseInput(input)
	if err != nil {
		return Explanation{}, err
	}
	value = withPrograms(value)
	var index ruleIndex
	rev := e.current.Load()
	if rev != nil {
		index = rev.rules
	}
	facts := newFactTracer(value, index)
	tracers := []topdown.QueryTracer{facts}
	tracer := topdown.NewBufferTracer()
	if trace {
		tracers = append(tracers, tracer)
	}
	out := Explanation{Decision: e.decideValue(ctx, value, tracers...)}
	out.Rules = fired(out.Decision, index)
	for i := range out.Rules {
		facts.explain(&out.Rules[i])
	}
	if trace {
		var text bytes.Buffer
		topdown.PrettyTraceWithLocation(&text, *tracer)
		out.Trace = text.String()
	}
	return out, nil
}

func fired(d Decision, index ruleIndex) []RuleFired {
	fired := []RuleFired{}
	add := func(effect string, reasons []Reason) {
		for _, r := range reasons {
			fired = append(fired, RuleFired{
				Rule: r.Rule, Effect: effect, Message: r.Message, Remediation: r.Remediation,
				Command: r.Command, Sources: slices.Clone(index[r.Rule]),
			})
		}
	}
	add(string(d.Outcome), d.Reasons)
	add("warn", d.Warnings)
	for _, s := range d.Shadow {
		fired = append(fired, RuleFired{Rule: s.Rule, Effect: "shadow", Message: s.Message, Sources: slices.Clone(index[s.Rule])})
	}
	return fired
}
