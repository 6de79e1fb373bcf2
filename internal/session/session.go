// Package session keeps the trust domains of callers: for each session its
// workspace, pinned profile, terms, counters, labels and last calls. The gate
// uses it for every call that names a session; what it knows is a fold of the
// journal. It must never give one caller anything of another's session: the
// caller's id is part of every key.
package session

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
)

// Bounds of what is remembered of a session.
const (
	maxRecent = 20
	maxLabels = 64
	maxIDLen  = 128
)

// ValidateID reports what is wrong with a session id, wrapping
// errdefs.ErrInvalidArgument.
func ValidateID(id string) error {
	if id == "" || len(id) > maxIDLen {
		return fmt.Errorf("session id has %d characters: want 1 to %d: %w", len(id), maxIDLen, errdefs.ErrInvalidArgument)
	}
	for i := range len(id) {
		c := id[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return fmt.Errorf("session id %q: want only [A-Za-z0-9._-]: %w", id, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// Key names a session of a caller without telling either: it is used for the
// directory and as part of the sandbox's reuse key.
func Key(caller, id string) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d:%s/%s", len(caller), caller, id) // a hash never fails
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// stage is how far a session is in its life.
type stage int

const (
	being   stage = iota // it is being made: nobody but its maker may use it
	alive                // calls may use it
	closing              // it is being closed: no new call
	gone
)

// Session is one session in use. It is safe for concurrent use.
type Session struct {
	name    name
	manager *Manager
	// Guarded by the manager's mutex.
	users int // calls that use it now
	stage stage
	rests time.Time // expiry leaves it alone until then

	place atomic.Pointer[string] // what dir has said

	mu      sync.Mutex
	state   State
	ended   bool  // its files are going or gone
	waiting int64 // calls that were let through and are not counted yet
	running int64 // calls that were let through and have not ended
	behind  int64 // of running, those without a host
	sharing int64 // uploads and downloads
	alone   bool  // somebody saves or replaces its files: no call may begin
}

// Snapshot returns a copy of the state.
func (s *Session) Snapshot() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.clone()
}

// Terms are what the session lives by: its own, or the configuration's.
func (s *Session) Terms() Terms {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.manager.cfg.Bounds.of(&s.state)
}

// Labelled reports whether the session's labels are still those of a snapshot.
func (s *Session) Labelled(labels []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Equal(s.state.Labels, labels)
}

// Decided counts a decision ("allow", "ask", "deny"), puts its labels on the
// session and returns the call's number in the session. Labels over the bound
// are an error: a label that is lost would loosen the policy.
func (s *Session) Decided(decision string, labels []string, at time.Time) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.state.decided(decision, labels, at); err != nil {
		return 0, err
	}
	if decision == "allow" && s.waiting > 0 {
		s.waiting--
	}
	return s.state.Seq, nil
}

// CanLabel reports whether Decided would take these labels.
func (s *Session) CanLabel(labels []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.state.with(labels)); n > maxLabels {
		return tooManyLabels(s.state.ID, n)
	}
	return nil
}

// Finished remembers a call among the last ones.
func (s *Session) Finished(r Recent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.finished(r)
}

// Spent adds the processor time that a call has used.
func (s *Session) Spent(cpu time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.CPU += max(cpu, 0)
	s.state.used(s.manager.cfg.Now())
}

// Begin lets one allowed call through, or returns the *QuotaError of the quota
// that leaves no room for it, or errdefs.ErrUnavailable while somebody has the
// files Alone. Each call that got nil is given back with Leave.
func (s *Session) Begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alone {
		return s.busy("are being saved or put back")
	}
	terms := s.manager.cfg.Bounds.of(&s.state)
	q := &terms.Quota
	if err := q.usedUp(&s.state, s.waiting); err != nil {
		return err
	}
	if q.ConcurrentCalls > 0 && s.running >= q.ConcurrentCalls {
		return &QuotaError{ID: s.state.ID, Of: "calls at once", Limit: fmt.Sprint(q.ConcurrentCalls)}
	}
	s.waiting++
	s.running++
	return nil
}

// Leave ends what Begin began; counted tells whether Decided has counted the call.
func (s *Session) Leave(counted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = max(s.running-1, 0)
	if !counted {
		s.waiting = max(s.waiting-1, 0)
	}
}

// Background takes a place among the session's calls that go on without a host.
// release gives it back; it may be called more than once.
func (s *Session) Background() (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	terms := s.manager.cfg.Bounds.of(&s.state)
	if most := terms.Quota.BackgroundCalls; most > 0 && s.behind >= most {
		return nil, &QuotaError{ID: s.state.ID, Of: "background calls", Limit: fmt.Sprint(most)}
	}
	s.behind++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.behind--
	}), nil
}

// WorkspaceDir is the session's workspace on this machine. It need not exist
// before EnsureWorkspace.
func (s *Session) WorkspaceDir() string {
	if t := s.state.Terms; t != nil && t.Kind == Directory { // neither is ever written to
		return t.Dir
	}
	return s.dir() + "/" + workspaceName
}

// KeepOwner tells whether the files of the workspace belong to somebody of the
// machine and have to go on so.
func (s *Session) KeepOwner() bool { return s.state.Terms != nil && s.state.Terms.Kind == Directory }

// dir holds what the daemon itself keeps of the session on disk.
func (s *Session) dir() string {
	if dir := s.place.Load(); dir != nil {
		return *dir
	}
	dir := filepath.Join(s.manager.cfg.Dir, Key(s.name.caller, s.name.id))
	s.place.Store(&dir)
	return dir
}
