package gate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/changeset"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// EffectsState is what became of the changes of a transactional call.
type EffectsState string

// States of effects.
const (
	EffectsNone      EffectsState = "NONE"      // the program changed nothing
	EffectsCommitted EffectsState = "COMMITTED" // all of them are in the workspace, on disk
	EffectsDropped   EffectsState = "DROPPED"   // none is; Reasons say why
	EffectsUnknown   EffectsState = "UNKNOWN"   // Paths may be in the workspace or not
)

// Effects are the changes of a transactional call, and what became of them.
type Effects struct {
	State    EffectsState     `json:"state"`
	Reasons  []policy.Reason  `json:"reasons,omitempty"`
	Revision string           `json:"revision,omitempty"` // of the policy that decided
	Digest   string           `json:"digest,omitempty"`   // of what was committed, "sha256:…"
	Totals   changeset.Totals `json:"totals"`
	// Paths are those that somebody else changed meanwhile, or of which it is not
	// known what is there.
	Paths []string `json:"paths,omitempty"`
}

// Rules by which sandgate itself drops changes.
const (
	ruleConflict    = "daemon:workspace-conflict" // somebody else changed the same paths meanwhile
	ruleUnfit       = "daemon:effects-unfit"      // there is what cannot be committed
	ruleUndecidable = "daemon:effects-undecided"  // the policy cannot be asked
	ruleNotApplied  = "daemon:effects-failed"     // committing them failed, and was undone
)

// maxEffectsPaths bounds the paths that a result names.
const maxEffectsPaths = 20

// effectsDecider is what the gate needs of policy.Engine for transactional calls.
type effectsDecider interface {
	// DecideEffects never fails: what goes wrong is a deny.
	DecideEffects(ctx context.Context, in policy.Input) policy.Effects
}

// commitData is the data of a record that a commit is about to be made. The outcome
// is what is recorded when it is done.
type commitData struct {
	changeset.Ref
	Outcome outcomeData `json:"outcome"`
}

// locks serialise what is done with one directory.
type locks struct {
	mu   sync.Mutex
	held map[string]*heldLock
}

type heldLock struct {
	sync.Mutex
	users int // guarded by locks.mu
}

func (l *locks) lock(name string) (unlock func()) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*heldLock{}
	}
	h := l.held[name]
	if h == nil {
		h = &heldLock{}
		l.held[name] = h
	}
	h.users++
	l.mu.Unlock()
	h.Lock()
	return func() {
		h.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(l.held, name)
		}
	}
}

// settle decides what becomes of what a transactional call has left, and does it.
// done is to be called when the outcome is on disk, or could not be put there.
func (w *way) settle(ctx context.Context, ran *sandbox.Result, res *Result) (done func(recorded bool)) {
	done = func(bool) {}
	o := ran.Overlay
	if o == nil {
		return done
	}
	defer func() {
		if err := o.Close(); err != nil {
			w.gate.log.Warn("overlay not closed", zap.String("call_id", w.call.ID), zap.Error(err))
		}
	}()
	ctx = context.WithoutCancel(ctx) // the program has ended: this is not given up half-way
	e := &Effects{}
	res.Effects = e
	set, err := changeset.Read(o, changeset.ReadOptions{Root: sandbox.WorkspacePath})
	failpoint.At(failpoint.CommitRead)
	if err != nil {
		e.drop(ruleUnfit, "what the call changed cannot be told: "+err.Error(), "")
		res.dropped()
		return done
	}
	e.Totals, res.Changes = set.Totals(), changesOf(set)
	if len(set.Changes) == 0 {
		e.State = EffectsNone
		return done
	}
	if w.decideEffects(ctx, set, res, e); e.State == EffectsDropped {
		res.dropped()
		return done
	}
	failpoint.At(failpoint.CommitMerged)
	defer w.gate.commits.lock(o.Dir)()
	done = w.commit(ctx, o, set, res, e)
	return done
}

// decideEffects drops what may not be committed.
func (w *way) decideEffects(ctx context.Context, set *changeset.Set, res *Result, e *Effects) {
	switch {
	case set.Unfit != "":
		e.drop(ruleUnfit, set.Unfit, "make it in /tmp, or remove it before the program ends")
		return
	case len(set.Conflicts) > 0:
		e.conflict(set.Conflicts)
		return
	}
	decider, ok := w.gate.cfg.Policy.(effectsDecider)
	if !ok {
		e.drop(ruleUndecidable, "this daemon's policy cannot decide on the changes of a call", "")
		return
	}
	in := w.ran()
	in.Ended = &policy.EndedInput{Outcome: string(res.Outcome), ExitCode: res.ExitCode}
	in.Totals = &policy.TotalsInput{Created: e.Totals.Created, Modified: e.Totals.Modified, Deleted: e.Totals.Deleted, Bytes: e.Totals.Bytes}
	in.Changes = make([]policy.ChangeInput, len(set.Changes))
	for i, c := range set.Changes {
		in.Changes[i] = policy.ChangeInput{
			Path: c.Path, Kind: string(c.Kind), Type: string(c.Type), Was: string(c.Was), Mode: int(c.Mode), OldMode: int(c.OldMode),
			Size: c.Size, Target: c.Target, Escapes: c.Escapes, Setid: c.Mode&0o6000 != 0, Links: c.Links, Xattrs: c.Xattrs,
		}
	}
	said := decider.DecideEffects(ctx, in)
	e.Revision, e.Reasons = said.Revision, said.Reasons
	if said.Outcome != policy.Allow {
		e.State = EffectsDropped
	}
}

// stagePath is where the changes of a call are put before they are committed: beside
// a session's own workspace, in a directory of the machine within it, since it must
// be on the same mount. A call cannot look into it.
func (w *way) stagePath(dir string, keepOwner bool) string {
	name := changeset.StagePrefix + opaqueKey(w.call.Caller.ID, w.call.ID)[:24]
	if keepOwner {
		return filepath.Join(dir, name)
	}
	return filepath.Join(filepath.Dir(dir), name)
}

// commit stages the changes, records that they are about to be made, and makes them.
func (w *way) commit(ctx context.Context, o *changeset.Overlay, set *changeset.Set, res *Result, e *Effects) (done func(bool)) {
	log := w.gate.log.With(zap.String("call_id", w.call.ID))
	nothing := func(bool) {}
	staged, err := changeset.Stage(o, set, w.stage)
	if err != nil {
		e.drop(ruleNotApplied, "the changes cannot be put beside the workspace: "+err.Error(), "")
		res.dropped()
		return nothing
	}
	defer func() {
		if err := staged.Close(); err != nil {
			log.Warn("staged changes not closed", zap.Error(err))
		}
	}()
	remove := func(bool) {
		if err := changeset.Remove(w.stage); err != nil {
			log.Warn("staged changes not removed", zap.String("path", w.stage), zap.Error(err))
		}
	}
	e.State, e.Digest = EffectsCommitted, staged.Ref.Digest
	err = w.append(ctx, w.entry(journal.KindCommit, commitData{Ref: staged.Ref, Outcome: outcomeOf(*res)}))
	if err != nil {
		// It may have got to the disk. The stage is gone then, and a restart says so.
		e.drop(ruleNotApplied, "it cannot be recorded that the changes are about to be made", "")
		res.dropped()
		return remove
	}
	failpoint.At(failpoint.CommitRecorded)
	var stuck *changeset.StuckError
	switch err := staged.Commit(); {
	case err == nil:
	case errors.As(err, &stuck):
		log.Error("changes half committed", zap.String("path", w.stage), zap.Error(err))
		e.unknown(stuck.Paths, err)
		res.Outcome, res.ExitCode, res.IsError, res.Message = Outcome(unknownOutcome), -1, true, e.Reasons[0].Message
		return nothing
	case errors.Is(err, changeset.ErrConflict):
		e.drop(ruleConflict, err.Error(), conflictRemedy)
		res.dropped()
	default:
		e.drop(ruleNotApplied, "the changes cannot be made: "+err.Error(), "")
		res.dropped()
	}
	return func(recorded bool) {
		failpoint.At(failpoint.CommitEnded)
		if recorded { // else a restart ends it, and needs the stage
			remove(true)
			failpoint.At(failpoint.CommitRemoved)
		}
	}
}

const conflictRemedy = "look at what is there now, and do it again"

func (e *Effects) drop(rule, message, remedy string) {
	e.State = EffectsDropped
	e.Reasons = []policy.Reason{{Rule: rule, Message: message, Remediation: remedy, Severity: "medium"}}
}

func (e *Effects) conflict(paths []string) {
	e.Paths = paths[:min(len(paths), maxEffectsPaths)]
	e.drop(ruleConflict, "somebody else changed the same paths meanwhile: "+named(paths), conflictRemedy)
}

func (e *Effects) unknown(paths []string, cause error) {
	e.State, e.Paths = EffectsUnknown, paths[:min(len(paths), maxEffectsPaths)]
	e.Reasons = []policy.Reason{{
		Rule: ruleNotApplied, Severity: "critical",
		Message: fmt.Sprintf("the changes were made in part, and it is not known which of these are: %s (%v)", named(paths), cause),
	}}
}

func named(paths []string) string {
	var quoted []string
	for _, p := range paths[:min(len(paths), maxEffectsPaths)] {
		quoted = append(quoted, fmt.Sprintf("%q", p))
	}
	text := strings.Join(quoted, ", ")
	if more := len(paths) - maxEffectsPaths; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// dropped tells the model that what the program did is not there.
func (r *Result) dropped() {
	text := "the program ran, but its changes of the workspace were dropped: " + reasonsText(r.Effects.Reasons)
	if r.Message != "" {
		text = r.Message + "; " + text
	}
	r.IsError, r.Message = true, text
}

// changesOf lists the paths of a set as a result does.
func changesOf(set *changeset.Set) *Changes {
	c := &Changes{}
	for i := range set.Changes {
		change := &set.Changes[i]
		if i == maxChanges {
			c.Truncated = true
			break
		}
		switch change.Kind {
		case changeset.Created:
			c.Created = append(c.Created, change.Path)
		case changeset.Modified:
			c.Modified = append(c.Modified, change.Path)
		case changeset.Deleted:
			c.Deleted = append(c.Deleted, change.Path)
		}
	}
	return c
}

// Changes are the paths of the workspace that a call changed, sorted.
type Changes struct {
	Created, Modified, Deleted []string
	Truncated                  bool // there are more
	Shared                     bool // some may be those of other calls
}

// maxChanges is how many paths a result lists.
const maxChanges = 1000
