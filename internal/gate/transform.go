package gate

import (
	"context"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/session"
)

// decision decides a call, and where policy rewrites its arguments, what they
// become: the tool has to accept them, their facts are derived anew and they are
// decided as a call of their own, once, with call.transformed_from. Both
// decisions hold. The call that is to run is returned; nil: p itself.
func (g *Gate) decision(ctx context.Context, p *prepared, state *session.State, in policy.Input) (policy.Decision, *prepared, error) {
	first := g.cfg.Policy.Decide(ctx, in)
	if first.Transform == nil || (first.Outcome != policy.Allow && first.Outcome != policy.Ask) {
		first.Transform = nil
		return boundedDecision(first), nil, nil
	}
	t := policy.Transform{Args: first.Transform.Args, From: p.digest}
	q := *p
	var err error
	if q.call.Args, q.command, err = p.tool.Accept(t.Args); err != nil {
		return policy.RefuseTransform(first, t, err.Error()), nil, nil
	}
	if q.digest, err = digestOf(&q.call); err != nil {
		return policy.RefuseTransform(first, t, err.Error()), nil, nil
	}
	if q.digest == p.digest { // they are what they were
		first.Transform = nil
		return boundedDecision(first), nil, nil
	}
	t.Args, t.To = q.call.Args, q.digest
	again, err := g.input(&q, state)
	if err != nil {
		return policy.Decision{}, nil, err
	}
	q.saw = &again
	again.Call.TransformedFrom, again.DecisionID, again.Time = p.digest, in.DecisionID, in.Time
	second := g.cfg.Policy.Decide(ctx, again)
	if second.Transform != nil && second.Outcome != policy.Deny {
		if args, _, err := p.tool.Accept(second.Transform.Args); err != nil || string(args) != string(q.call.Args) {
			return policy.RefuseTransform(first, t, "it would rewrite the new arguments again, and a transform has to be done at once"), nil, nil
		}
	}
	return boundedDecision(policy.Both(first, second, t)), &q, nil
}

// ran is what policy saw of the call that ran, for the decision on its effects: where
// arguments were rewritten the new ones with their facts, and those that were sent beside
// them.
func (w *way) ran() policy.Input {
	if w.transformed == nil || w.transformed.saw == nil {
		return w.input
	}
	in := *w.transformed.saw
	in.Proposed = &policy.ProposedInput{Args: w.call.Args, Digest: w.digest}
	return in
}

// runs is the command of the call as it runs.
func (w *way) runs() *catalog.Command {
	if w.transformed != nil {
		return &w.transformed.command
	}
	return &w.command
}
