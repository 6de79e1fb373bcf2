package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/sandgate/sandgate/sandbox"
)

// effectsQuery is the entry point for what transactional calls did. A policy need
// not have it; without it nothing is ever committed.
const effectsQuery = "data.sandgate.effects.decision"

// WorkspaceTransaction is the value of obligations.sandbox.workspace by which the
// call works on an overlay of its workspace: what it changed is decided afterwards.
const WorkspaceTransaction = "transaction"

// ProposedInput is what a host sent where policy rewrote the arguments.
type ProposedInput struct {
	Args   json.RawMessage `json:"args"`
	Digest string          `json:"digest"`
}

// EndedInput is how a transactional call ended.
type EndedInput struct {
	Outcome  string `json:"outcome"`   // as in the result: EXITED, SIGNALED, TIMED_OUT, …
	ExitCode int    `json:"exit_code"` // -1 when it did not exit by itself
}

// ChangeInput is one path of the workspace that a transactional call changed. Below
// a directory that is gone or new each path is a change of its own.
type ChangeInput struct {
	Path string `json:"path"`          // relative to the workspace
	Kind string `json:"kind"`          // created, modified, deleted
	Type string `json:"type"`          // file, dir, symlink, special; of a deleted path what was there
	Was  string `json:"was,omitempty"` // what was there, where that was another type
	// Mode are the permission bits with set-user-id (2048), set-group-id (1024) and
	// sticky (512); OldMode those before.
	Mode    int    `json:"mode"`
	OldMode int    `json:"old_mode,omitempty"`
	Size    int64  `json:"size"`              // of a file, in bytes
	Target  string `json:"target,omitempty"`  // of a symbolic link
	Escapes bool   `json:"escapes,omitempty"` // the link leads out of the workspace, or might
	Setid   bool   `json:"setid,omitempty"`   // Mode has set-user-id or set-group-id
	Links   int    `json:"links,omitempty"`   // names of a file that has several
	// Xattrs are the names of extended attributes; only those of the user are kept.
	Xattrs []string `json:"xattrs,omitempty"`
}

// TotalsInput sums the changes up.
type TotalsInput struct {
	Created  int   `json:"created"`
	Modified int   `json:"modified"`
	Deleted  int   `json:"deleted"`
	Bytes    int64 `json:"bytes"` // of the files created and modified
}

// Effects is what policy says of the changes of a transactional call.
type Effects struct {
	Outcome  Outcome  `json:"outcome"` // allow: they are committed; deny: they are dropped
	Reasons  []Reason `json:"reasons,omitempty"`
	Revision string   `json:"revision,omitempty"` // of the policy that said it
}

// effectsAnswer is what a policy may say of effects.
type effectsAnswer struct {
	Outcome Outcome  `json:"outcome"`
	Reasons []Reason `json:"reasons"`
}

// DecideEffects decides what becomes of the changes of a call that has run: in is
// the input of its decision with Ended, Changes and Totals. It never fails: what goes
// wrong is a deny with one of the reserved rule ids.
func (e *Engine) DecideEffects(ctx context.Context, in Input) Effects {
	rev := e.current.Load()
	if rev == nil {
		return refuseEffects(e.noPolicy(), "")
	}
	in = e.complete(in, rev)
	if in.Changes == nil {
		in.Changes = []ChangeInput{}
	}
	value, err := in.valueOf(allNeeds, nil)
	if err != nil {
		return refuseEffects(refuse(RuleInvalidInput, "the policy input cannot be made: "+err.Error(), askOperator), rev.id)
	}
	return e.effectsOf(ctx, rev, value)
}

func (e *Engine) effectsOf(ctx context.Context, rev *revision, input ast.Value) Effects {
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.DecisionTimeout, errDecisionTimeout)
	defer cancel()
	answers, err := rev.effects.ask(ctx, input)
	if err != nil || ctx.Err() != nil {
		return refuseEffects(e.refuseEvaluation(ctx, err), rev.id)
	}
	out, p := readEffects(answers)
	if p != nil {
		return refuseEffects(refuse(p.rule, p.message, askOperator), rev.id)
	}
	out.Revision = rev.id
	return out
}

func readEffects(answers []ast.Value) (Effects, *problem) {
	if len(answers) != 1 {
		return Effects{}, &problem{RuleUndefined, "the policy says nothing of what the call changed: " + effectsQuery + " is undefined"}
	}
	var a effectsAnswer
	r := reader{left: maxAnswerBytes}
	if p := r.read(answers[0], reflect.ValueOf(&a).Elem(), nil); p != nil {
		return Effects{}, p
	}
	switch {
	case r.left < 0:
		return Effects{}, invalid("the decision on effects has more than %d bytes", maxAnswerBytes)
	case a.Outcome != Allow && a.Outcome != Deny:
		return Effects{}, invalid("the outcome of the decision on effects is %q, want allow or deny", a.Outcome)
	case len(a.Reasons) == 0:
		return Effects{}, invalid("the decision on effects is %s without a reason: a rule has to say so", a.Outcome)
	case len(a.Reasons) > maxReasons:
		return Effects{}, invalid("the decision on effects has more than %d reasons", maxReasons)
	}
	for _, reason := range a.Reasons {
		if p := checkReason(reason); p != nil {
			return Effects{}, p
		}
	}
	return Effects{Outcome: a.Outcome, Reasons: a.Reasons}, nil
}

func refuseEffects(d Decision, revision string) Effects {
	return Effects{Outcome: Deny, Reasons: d.Reasons, Revision: revision}
}

// checkEffects sees that a policy that says anything of effects does not allow by
// omission.
func checkEffects(ctx context.Context, cfg Config, rev *revision) error {
	cfg.Ceiling = SandboxObligations{}
	e := &Engine{cfg: cfg}
	for _, input := range []string{`{}`, `{"schema": "sandgate.input/v1", "session": {"profile": "sandgate-no-such-profile"}, "changes": []}`} {
		value, err := parseInput([]byte(input))
		if err != nil {
			return err
		}
		d := e.effectsOf(ctx, rev, value)
		if d.Outcome == Allow {
			return fmt.Errorf("the policy commits the effects of %s", input)
		}
		if rule := d.Reasons[0].Rule; rule != RuleUndefined && rule[:min(len(rule), len(reservedPrefix))] == reservedPrefix {
			return errors.New("the policy gives no valid decision on effects: " + d.Reasons[0].Message)
		}
	}
	return nil
}

// noTransaction is the problem of an overlay where the machine cannot attach one.
func noTransaction() *problem {
	return &problem{
		RuleObligationUnsupported,
		"the policy demands a transactional workspace in a call with the isolation \"" + string(sandbox.IsolationGVisor) +
			"\", where it cannot be made; demand runc, or the workspace ro",
	}
}

// Names of members of effects.
var (
	keyChanges  = ast.StringTerm("changes")
	keyCreated  = ast.StringTerm("created")
	keyDeleted  = ast.StringTerm("deleted")
	keyEnded    = ast.StringTerm("ended")
	keyEscapes  = ast.StringTerm("escapes")
	keyExitCode = ast.StringTerm("exit_code")
	keyLinks    = ast.StringTerm("links")
	keyModified = ast.StringTerm("modified")
	keyProposed = ast.StringTerm("proposed")
	keyOldMode  = ast.StringTerm("old_mode")
	keySetid    = ast.StringTerm("setid")
	keySize     = ast.StringTerm("size")
	keyTotals   = ast.StringTerm("totals")
	keyWas      = ast.StringTerm("was")
	keyXattrs   = ast.StringTerm("xattrs")
)

// effects puts what a call did.
func (b *valueBuilder) effects(in *Input) {
	if in.Proposed != nil {
		mark := len(b.items)
		b.put(keyArgs, b.args(in.Proposed.Args))
		b.putText(keyDigest, in.Proposed.Digest)
		b.put(keyProposed, b.object(mark))
	}
	if in.Ended != nil {
		mark := len(b.items)
		b.putText(keyOutcome, in.Ended.Outcome)
		b.putInt(keyExitCode, int64(in.Ended.ExitCode))
		b.put(keyEnded, b.object(mark))
	}
	if len(in.Changes) > 0 {
		b.put(keyChanges, list(b, in.Changes, b.change))
	}
	if in.Totals != nil {
		mark := len(b.items)
		b.putInt(keyCreated, int64(in.Totals.Created))
		b.putInt(keyModified, int64(in.Totals.Modified))
		b.putInt(keyDeleted, int64(in.Totals.Deleted))
		b.putInt(keyBytes, in.Totals.Bytes)
		b.put(keyTotals, b.object(mark))
	}
}

func (b *valueBuilder) change(c *ChangeInput) *ast.Term {
	mark := len(b.items)
	b.putText(keyPath, c.Path)
	b.putText(keyKind, c.Kind)
	b.putText(keyType, c.Type)
	b.putTextIf(keyWas, c.Was)
	b.putInt(keyMode, int64(c.Mode))
	b.putIntIf(keyOldMode, int64(c.OldMode))
	b.putInt(keySize, c.Size)
	b.putTextIf(keyTarget, c.Target)
	if c.Escapes {
		b.putBool(keyEscapes, true)
	}
	if c.Setid {
		b.putBool(keySetid, true)
	}
	b.putIntIf(keyLinks, int64(c.Links))
	if len(c.Xattrs) > 0 {
		b.put(keyXattrs, b.texts(c.Xattrs))
	}
	return b.object(mark)
}
