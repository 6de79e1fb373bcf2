package gate

import (
	"errors"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/changeset"
)

// look looks at the workspace of a call whose host wants to know what it changes. Of a
// transactional call that is known without; a call that cannot write changes nothing.
// nil: it is not looked for, or not known.
func (w *way) look(call *sandbox.Call) *changeset.Shot {
	dir := call.Workspace.HostDir
	if !w.call.WantChanges || dir == "" || call.Workspace.Transaction {
		return nil
	}
	shot, err := changeset.Look(dir, 0)
	if err != nil {
		w.notLooked(err)
		return nil
	}
	return shot
}

// compare sets what was changed since. What others did meanwhile in the same workspace
// is among it.
func (w *way) compare(call *sandbox.Call, before *changeset.Shot, res *Result) {
	if before == nil || res.Outcome == Outcome(unknownOutcome) {
		return
	}
	after, err := changeset.Look(call.Workspace.HostDir, 0)
	if err != nil {
		w.notLooked(err)
		return
	}
	c := &Changes{}
	c.Created, c.Modified, c.Deleted = after.Since(before)
	c.bound()
	res.Changes = c
}

func (w *way) notLooked(err error) {
	if errors.Is(err, changeset.ErrTooLarge) {
		w.gate.log.Debug("changes not told", zap.String("call_id", w.call.ID), zap.Error(err))
		return
	}
	w.gate.log.Warn("changes not told", zap.String("call_id", w.call.ID), zap.Error(err))
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
