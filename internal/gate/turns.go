package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/sandbox/changeset"
)

// An approved call runs with the files that its approvers saw. They are looked at when
// nothing is left to do but to start the program, and from before that look until the
// program has ended no other call works in the same directory, or one above or below
// it. So nothing in a sandbox can change a file or swap a link in between, which a mount
// over the file could not keep it from: a rename in another mount namespace takes the
// mount away with the name. Programs of the machine beside sandgate are not held up by
// this; they need no approval either.

// defaultTurnWait is how long an approved call waits for the others in its workspace to
// end where the configuration says nothing.
const defaultTurnWait = time.Minute

// turn is what a call wants of a directory.
type turn struct {
	dir   string // empty: nothing
	alone bool
}

// worker is a call that works in a directory, or waits to do so alone.
type worker struct {
	turn
	key        callKey // without an id: an upload
	background bool
	since      time.Time // it works there, or waits
}

// turns say who works in which directory. It is safe for concurrent use.
type turns struct {
	mu      sync.Mutex
	inside  map[*worker]struct{}
	waiting map[*worker]struct{} // to be alone
	alone   int                  // of those inside
	changed chan struct{}        // closed and made anew when somebody leaves; nil: nobody waits
}

// related reports whether one directory is the other, or holds it.
func related(a, b string) bool {
	return a == b || strings.HasPrefix(a, strings.TrimSuffix(b, "/")+"/") || strings.HasPrefix(b, strings.TrimSuffix(a, "/")+"/")
}

// enter waits until the call may work in the directory, beside others or alone. Those
// that wait to be alone go before those that come later. When ctx ends first, its cause
// is returned.
func (t *turns) enter(ctx context.Context, w *worker) (leave func(), err error) {
	t.mu.Lock()
	if t.inside == nil {
		t.inside, t.waiting = map[*worker]struct{}{}, map[*worker]struct{}{}
	}
	if w.alone {
		t.waiting[w] = struct{}{}
	}
	for t.holder(w) != nil {
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
			t.mu.Lock()
		case <-ctx.Done():
			t.mu.Lock()
			delete(t.waiting, w)
			t.wake()
			t.mu.Unlock()
			return nil, context.Cause(ctx)
		}
	}
	defer t.mu.Unlock()
	delete(t.waiting, w)
	t.inside[w] = struct{}{}
	if w.alone {
		t.alone++
	}
	return func() { t.leave(w) }, nil
}

// holder is a call for which another one has to wait, the one that came first; nil: it
// need not. t.mu is held.
func (t *turns) holder(w *worker) *worker {
	var first *worker
	look := func(others map[*worker]struct{}, all bool) {
		for other := range others {
			if other != w && (all || other.alone) && related(other.dir, w.dir) && (first == nil || other.since.Before(first.since)) {
				first = other
			}
		}
	}
	if w.alone || t.alone > 0 {
		look(t.inside, w.alone)
	}
	if first == nil && !w.alone {
		look(t.waiting, true)
	}
	return first
}

func (t *turns) leave(w *worker) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.inside, w)
	if w.alone {
		t.alone--
	}
	t.wake()
}

// wake lets those look again who wait. t.mu is held.
func (t *turns) wake() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// waitsFor tells which call the given one waits for, to be alone; empty: it does not.
func (t *turns) waitsFor(key callKey) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.waiting {
		if w.key == key {
			return t.blocker(w)
		}
	}
	return ""
}

// blocker names for whom a call waits, as far as its caller may know. t.mu is held.
func (t *turns) blocker(w *worker) string {
	other := t.holder(w)
	switch {
	case other == nil:
		return ""
	case other.key.caller != w.key.caller:
		return "a call of another caller that works in the same workspace"
	case other.key.id == "":
		return "an upload into the same workspace"
	case other.background:
		return fmt.Sprintf("call %q, which works in the same workspace in the background since %s", other.key.id, timeText(other.since.Truncate(time.Second)))
	}
	return fmt.Sprintf("call %q, which works in the same workspace since %s", other.key.id, timeText(other.since.Truncate(time.Second)))
}

// beginUpload waits until a host may write into a workspace, which is not while an approved
// call runs there. Calls that run meanwhile are told that not all changes are theirs.
func (g *Gate) beginUpload(ctx context.Context, caller Caller, dir string) (end func(), err error) {
	leave, err := g.turns.enter(ctx, &worker{turn: turn{dir: filepath.Clean(dir)}, key: callKey{caller: caller.ID}, since: g.now()})
	if err != nil {
		return nil, err
	}
	span := g.watches.Begin(dir, changeset.Nothing)
	return func() {
		_, _, _ = span.End(false) // nobody wants to know
		leave()
	}, nil
}

// turn is what the call wants of its workspace: to be alone there, if it runs by an
// approval that is bound to files in it; else to be beside others, if it can write.
func (w *way) turn() turn {
	dir := w.call.WorkspaceDir
	if dir == "" && w.call.SessionID != "" {
		dir = w.gate.cfg.Sessions.WorkspaceDir(w.call.Caller.ID, w.call.SessionID)
	}
	alone := bindsContent(w.held())
	if dir == "" || !alone && w.onlyReads() {
		return turn{}
	}
	return turn{filepath.Clean(dir), alone}
}

// enterWorkspace waits for a turn in the call's workspace. To be alone it waits as long as
// the call is of use, and as others wait in line.
func (w *way) enterWorkspace(ctx context.Context, want turn) (leave func(), err error) {
	if want.dir == "" {
		return func() {}, nil
	}
	t := &w.gate.turns
	me := &worker{turn: want, key: w.key(), background: w.call.Detach, since: w.gate.now()}
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if want.alone {
		until := me.since.Add(cmp.Or(w.gate.cfg.TurnWait, defaultTurnWait))
		if own := w.deadline(ctx); !own.IsZero() && own.Before(until) {
			until = own
		}
		waiting, cancel = context.WithTimeoutCause(ctx, until.Sub(me.since), errTurn)
	}
	defer cancel()
	leave, err = t.enter(waiting, me)
	w.mark(telemetry.Queue)
	switch {
	case err == nil:
		return leave, nil
	case ctx.Err() == nil:
		t.mu.Lock()
		blocker := t.blocker(me)
		t.mu.Unlock()
		return nil, &BusyError{fmt.Sprintf("call %q was not run: it is held to files as they were, and waited for %s, which could change them; send it again when that has ended",
			w.call.ID, cmp.Or(blocker, "other calls in the same workspace"))}
	}
	return nil, cancelled(ctx)
}

// errTurn is the cause by which a call does not wait any longer for its turn.
var errTurn = errors.New("other calls work in the same workspace")

// enter waits for the call's turn in its workspace and for its place among those that
// run. A call that was decided anew meanwhile and wants something else now, because
// policy or its session's labels have changed, gives both back and waits for that.
func (w *way) enter(ctx context.Context) (place *admission.Ticket, leave func(), err error) {
	for n := 1; ; n++ {
		decisions, want := w.decisions, w.turn()
		if leave, err = w.enterWorkspace(ctx, want); err != nil {
			return nil, nil, err
		}
		cost := w.cage()
		if place, err = w.admit(ctx, &cost); err != nil {
			leave()
			return nil, nil, err
		}
		if w.decisions == decisions || !w.mayRun() {
			return place, leave, nil
		}
		now := w.cage()
		if w.turn() == want && now.CPUMillis == cost.CPUMillis && now.MemoryBytes == cost.MemoryBytes {
			return place, leave, nil
		}
		place.Leave()
		leave()
		if n == maxDecided {
			return nil, nil, fmt.Errorf("what call %q needs changes faster than it can get it: %w", w.call.ID, errdefs.ErrAborted)
		}
	}
}

// stale reports whether the call would have to be decided anew: its session has got
// labels since, or another policy is in force.
func (w *way) stale() bool {
	return w.session != nil && !w.session.Labelled(w.labels) || w.gate.superseded(w.decision.Revision)
}

// superseded reports whether another revision of the policy is in force.
func (g *Gate) superseded(revision string) bool {
	p, ok := g.cfg.Policy.(interface{ Revision() string })
	if !ok {
		return false
	}
	now := p.Revision()
	return now != "" && now != revision
}

// bindsContent reports whether a call is bound to the content of files.
func bindsContent(files []approval.File) bool {
	for i := range files {
		if f := &files[i]; f.Op != approval.OpWrite {
			return true
		}
	}
	return false
}

// onlyReads reports whether the call cannot write to its workspace.
func (w *way) onlyReads() bool {
	cage := w.cage()
	return cage.Workspace == "ro" && len(cage.Mounts) == 0
}
