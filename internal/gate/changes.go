package gate

import (
	"errors"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/changeset"
)

// ChangesUnknown says why it is not known what a call changed. Empty: it is, or there is
// nothing to know.
type ChangesUnknown string

// Why it is not known.
const (
	ChangesNotWanted ChangesUnknown = "NOT_WANTED" // the host asked not to look
	ChangesTooLarge  ChangesUnknown = "TOO_LARGE"  // to look at in passing, or at all
	ChangesFailed    ChangesUnknown = "FAILED"
	ChangesForgotten ChangesUnknown = "FORGOTTEN" // the result is no longer kept whole
)

// watch is the look at a call's workspace, from before it runs until it has ended.
type watch struct {
	span  *changeset.Span // nil: there is nothing to look at
	ended bool
}

// look looks at the workspace of a call, to tell what it changes. Of a transactional call
// that is known without, but others are told that it works there. nil: there is nothing.
func (w *way) look(call *sandbox.Call) *watch {
	dir := call.Workspace.HostDir
	if dir == "" || isReadOnly(call) {
		return nil
	}
	demand := changeset.Passing
	switch {
	case w.call.NoChanges, call.Workspace.Transaction:
		demand = changeset.Nothing
	case w.call.WantChanges:
		demand = changeset.Whole
	}
	return &watch{span: w.gate.watches.Begin(dir, demand)}
}

// isReadOnly reports whether a call cannot write to its workspace.
func isReadOnly(call *sandbox.Call) bool { return call.Workspace.ReadOnly && len(call.Mounts) == 0 }

// stop ends the look at a call that did not come to its end.
func (l *watch) stop() {
	if l != nil && !l.ended {
		l.ended = true
		_, _, _ = l.span.End(false) // nobody wants to know
	}
}

// compare sets what was changed since. What others did meanwhile in the same workspace
// is among it.
func (w *way) compare(call *sandbox.Call, before *watch, res *Result) {
	if before == nil {
		if call.Workspace.HostDir != "" && res.Changes == nil {
			res.Changes = &Changes{} // it could write to nothing that stays
		}
		return
	}
	before.ended = true
	diff, shared, err := before.span.End(call.Isolation == sandbox.IsolationGVisor)
	switch {
	case call.Workspace.Transaction:
		return
	case w.call.NoChanges:
		res.ChangesUnknown = ChangesNotWanted
		return
	case errors.Is(err, changeset.ErrTooLarge):
		res.ChangesUnknown = ChangesTooLarge
	case err != nil || res.Outcome == Outcome(unknownOutcome):
		w.gate.log.Debug("changes not told", zap.String("call_id", w.call.ID), zap.Error(err))
		res.ChangesUnknown = ChangesFailed
		return
	}
	c := &Changes{Created: diff.Created, Modified: diff.Modified, Deleted: diff.Deleted, Shared: shared}
	if err != nil && len(c.Created)+len(c.Modified)+len(c.Deleted) == 0 {
		return
	}
	c.bound()
	c.Truncated = c.Truncated || err != nil
	res.Changes = c
}

// bound cuts the lists to what a result tells.
func (c *Changes) bound() {
	left := maxChanges
	for _, list := range []*[]string{&c.Created, &c.Modified, &c.Deleted} {
		if len(*list) > left {
			*list, c.Truncated = (*list)[:left:left], true
		}
		left -= len(*list)
	}
}
