package gate

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/telemetry"
)

// An approved call runs with the files that its approvers saw. They are looked at when
// nothing is left to do but to start the program, and from before that look until the
// program has ended no other call works in the same directory, or one above or below
// it. So nothing in a sandbox can change a file or swap a link in between, which a mount
// over the file could not keep it from: a rename in another mount namespace takes the
// mount away with the name. Programs of the machine beside sandgate are not held up by
// this; they need no approval either.

// aloneWithin is how long an approved call waits for the others in its workspace to end.
const aloneWithin = 30 * time.Second

// turns say who works in which directory. It is safe for concurrent use.
type turns struct {
	mu      sync.Mutex
	shared  map[string]int // calls beside others, by directory; no entry at 0
	alone   map[string]int // calls that are alone, or wait to be
	inside  map[string]bool
	changed chan struct{} // closed and made anew when somebody leaves; nil: nobody waits
}

// related reports whether one directory is the other, or holds it.
func related(a, b string) bool {
	return a == b || strings.HasPrefix(a, strings.TrimSuffix(b, "/")+"/") || strings.HasPrefix(b, strings.TrimSuffix(a, "/")+"/")
}

func anyRelated[V any](dirs map[string]V, dir string) bool {
	if _, ok := dirs[dir]; ok {
		return true
	}
	for other := range dirs {
		if related(other, dir) {
			return true
		}
	}
	return false
}

// enter waits until the caller may work in the directory, beside others or alone. Those
// that wait to be alone go before those that come later. When ctx ends first, its cause
// is returned.
func (t *turns) enter(ctx context.Context, dir string, alone bool) (leave func(), err error) {
	dir = filepath.Clean(dir)
	t.mu.Lock()
	if alone {
		count(&t.alone, dir, 1)
	}
	for !t.free(dir, alone) {
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
			if alone {
				count(&t.alone, dir, -1)
				t.wake()
			}
			t.mu.Unlock()
			return nil, context.Cause(ctx)
		}
	}
	defer t.mu.Unlock()
	if alone {
		if t.inside == nil {
			t.inside = map[string]bool{}
		}
		t.inside[dir] = true
	} else {
		count(&t.shared, dir, 1)
	}
	return func() { t.leave(dir, alone) }, nil
}

// free reports whether one more may work in the directory. t.mu is held.
func (t *turns) free(dir string, alone bool) bool {
	if alone {
		return !anyRelated(t.shared, dir) && !anyRelated(t.inside, dir)
	}
	return len(t.alone) == 0 || !anyRelated(t.alone, dir)
}

func (t *turns) leave(dir string, alone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if alone {
		delete(t.inside, dir)
		count(&t.alone, dir, -1)
	} else {
		count(&t.shared, dir, -1)
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

func count(m *map[string]int, dir string, n int) {
	if *m == nil {
		*m = map[string]int{}
	}
	if (*m)[dir] += n; (*m)[dir] == 0 {
		delete(*m, dir)
	}
}

// enterWorkspace waits for the call's turn in its workspace: alone, if it runs by an
// approval that is bound to files there, else beside others.
func (w *way) enterWorkspace(ctx context.Context) (leave func(), err error) {
	dir := w.call.WorkspaceDir
	if dir == "" && w.call.SessionID != "" {
		dir = w.gate.cfg.Sessions.WorkspaceDir(w.call.Caller.ID, w.call.SessionID)
	}
	alone := w.approval != nil && bindsContent(w.approval)
	if dir == "" || !alone && w.onlyReads() {
		return func() {}, nil
	}
	if !alone {
		leave, err = w.gate.turns.enter(ctx, dir, false)
		w.mark(telemetry.Queue)
		if err != nil {
			return nil, cancelled(ctx)
		}
		return leave, nil
	}
	tooLong := &BusyError{fmt.Sprintf("call %q was not run: other calls work in the same workspace and could change what was approved; send it again when they have ended, those in the background too",
		w.call.ID)}
	waiting, cancel := context.WithTimeoutCause(ctx, aloneWithin, tooLong)
	defer cancel()
	leave, err = w.gate.turns.enter(waiting, dir, true)
	w.mark(telemetry.Queue)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, cancelled(ctx)
	case err != nil:
		return nil, err
	}
	return leave, nil
}

// bindsContent reports whether an approval is bound to the content of files.
func bindsContent(a *approval.Approval) bool {
	for i := range a.Bound.Files {
		if f := &a.Bound.Files[i]; f.Op != approval.OpWrite {
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
