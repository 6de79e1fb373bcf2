package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// Config of a Manager.
type Config struct {
	// Dir holds the sessions' directories. It is made, mode 0700. Required.
	Dir string
	// Fold is what the journal told at start; the manager takes it over. Optional.
	Fold *Fold
	// Prepare makes a new workspace directory fit for the sandbox (its owner).
	// Optional.
	Prepare func(dir string) error
	// Disk bounds the directories of sessions that have a disk quota. nil: such sessions
	// cannot be used.
	Disk Disk
	// MaxSessions bounds the sessions that there are. Default 20,000. A new one is
	// refused then: an existing one is somebody's work.
	MaxSessions int
	// MaxPerCaller bounds one caller's sessions in the same way. Default half of
	// MaxSessions, at least 1.
	MaxPerCaller int
	// Bounds are how long sessions live and what they may use.
	Bounds Bounds
	// Now is the clock. Optional.
	Now func() time.Time
}

// Manager holds the sessions of all callers. It is safe for concurrent use.
type Manager struct {
	cfg   Config
	disks disks

	mu       sync.Mutex
	sessions map[name]*Session
	each     map[string]int // sessions by caller; no entry at 0
	ends     []End          // of sessions that are no more, oldest first
}

// NewManager makes the directory and the sessions that the journal tells of, and
// removes what is left of those that have ended.
func NewManager(cfg Config) (*Manager, error) {
	if cfg.Dir == "" {
		return nil, errors.New("sessions: directory is missing")
	}
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = 20_000
	}
	if cfg.MaxPerCaller == 0 {
		cfg.MaxPerCaller = max(cfg.MaxSessions/2, 1)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make sessions directory: %w", err)
	}
	m := &Manager{cfg: cfg, sessions: make(map[name]*Session), each: make(map[string]int)}
	if fold := cfg.Fold; fold != nil {
		m.cfg.Fold = nil
		fold.restarted(cfg.Now())
		for n, state := range fold.open {
			m.add(&Session{name: n, manager: m, state: *state, stage: alive})
		}
		m.ends = fold.ends
		*fold = *NewFold()
	}
	return m, m.sweep()
}

// Use returns the caller's session of that id, making it with the profile if
// there is none. It lives until the caller of Use gives it to Release.
// A profile other than the session's is errdefs.ErrFailedPrecondition: the
// profile is pinned at first use. So is the id of a session that has ended: a
// call must not find itself among other files and labels than it believes.
func (m *Manager) Use(caller, id, profile string) (*Session, error) {
	if err := ValidateID(id); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := name{caller, id}
	s, err := m.find(n)
	if err != nil {
		return nil, err
	}
	if s == nil {
		if err := m.room(caller); err != nil {
			return nil, err
		}
		s = &Session{name: n, manager: m, state: newState(caller, id, profile, nil, m.cfg.Now()), stage: alive}
		m.add(s)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if pinned := s.state.Profile; pinned != profile {
		return nil, fmt.Errorf("session %q has the profile %q, not %q: use another session id or leave the profile out: %w",
			id, pinned, profile, errdefs.ErrFailedPrecondition)
	}
	s.state.used(m.cfg.Now())
	s.users++
	return s, nil
}

// find returns the session if calls may use it, nil if there is none. m.mu is held.
func (m *Manager) find(n name) (*Session, error) {
	s := m.sessions[n]
	if s == nil {
		if end := m.endOf(n); end != nil {
			return nil, fmt.Errorf("%s: %w", end.Text(), errdefs.ErrFailedPrecondition)
		}
		return nil, nil //nolint:nilnil // there is none, and nothing is wrong
	}
	switch s.stage {
	case being:
		return nil, fmt.Errorf("session %q is being made: try again: %w", n.id, errdefs.ErrAborted)
	case closing, gone:
		return nil, fmt.Errorf("session %q is being closed: %w", n.id, errdefs.ErrFailedPrecondition)
	case alive:
	}
	if end := s.due(m.cfg.Now()); end != nil {
		return nil, fmt.Errorf("%s: %w", end.Text(), errdefs.ErrFailedPrecondition)
	}
	return s, nil
}

// due returns the end of a session whose time is over, though nobody has cleaned up
// after it yet; nil if it is not. The manager's mutex is held.
func (s *Session) due(now time.Time) *End {
	s.mu.Lock()
	defer s.mu.Unlock()
	terms := s.manager.cfg.Bounds.of(&s.state)
	reason, since := terms.over(&s.state, s.users > 0, now)
	if reason == "" {
		return nil
	}
	return &End{Caller: s.name.caller, ID: s.name.id, Reason: reason, At: since, Kind: s.state.Kind()}
}

// Release ends one Use. A session that its first call made and in which no call
// was ever decided is forgotten with its last user.
func (m *Manager) Release(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	s.mu.Lock()
	unused := s.state.Seq == 0 && s.state.Terms == nil
	s.state.used(m.cfg.Now())
	s.mu.Unlock()
	if unused && m.sessions[s.name] == s && s.stage == alive { // else it was ended and made anew
		m.remove(s)
	}
}

// Peek returns the state of a session without making it; false if there is none.
// One that has ended is errdefs.ErrFailedPrecondition.
func (m *Manager) Peek(caller, id string) (State, bool, error) {
	if err := ValidateID(id); err != nil {
		return State{}, false, err
	}
	m.mu.Lock()
	s, err := m.find(name{caller, id})
	m.mu.Unlock()
	if s == nil || err != nil {
		return State{}, false, err
	}
	return s.Snapshot(), true, nil
}

// Profile returns the profile of a session without making it; false if there is
// none.
func (m *Manager) Profile(caller, id string) (string, bool, error) {
	if err := ValidateID(id); err != nil {
		return "", false, err
	}
	m.mu.Lock()
	s := m.sessions[name{caller, id}]
	m.mu.Unlock()
	if s == nil {
		return "", false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Profile, true, nil
}

// Count is how many sessions there are.
func (m *Manager) Count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sessions)
}

// WorkspaceDir is where a session's workspace is, whether it exists or not.
func (m *Manager) WorkspaceDir(caller, id string) string {
	m.mu.Lock()
	s := m.sessions[name{caller, id}]
	m.mu.Unlock()
	if s != nil {
		return s.WorkspaceDir()
	}
	return filepath.Join(m.cfg.Dir, Key(caller, id), workspaceName)
}

// TermsOf are what a session of that state lives by.
func (m *Manager) TermsOf(s *State) Terms { return m.cfg.Bounds.of(s) }

// Within returns the terms of a host's wish as the configuration allows them.
func (m *Manager) Within(t Terms) Terms { return m.cfg.Bounds.Within(t) }

// UsedUp returns which lasting quota of a session leaves no room for another
// call; nil: none.
func (m *Manager) UsedUp(s *State) error {
	terms := m.cfg.Bounds.of(s)
	if err := terms.Quota.usedUp(s, 0); err != nil {
		return err
	}
	return nil
}

// room refuses one more session of the caller. m.mu is held.
func (m *Manager) room(caller string) error {
	const instead = "close one that is not needed any more, or wait for one to expire"
	if own := m.each[caller]; own >= m.cfg.MaxPerCaller {
		return fmt.Errorf("this caller has %d sessions, the most it may have: %s: %w", own, instead, errdefs.ErrResourceExhausted)
	}
	if n := len(m.sessions); n >= m.cfg.MaxSessions {
		return fmt.Errorf("there are %d sessions, the most that this daemon takes: %s: %w", n, instead, errdefs.ErrResourceExhausted)
	}
	return nil
}

// add takes a session in. m.mu is held, or nobody else has the manager yet.
func (m *Manager) add(s *Session) {
	m.sessions[s.name] = s
	m.each[s.name.caller]++
}

// remove takes a session out. m.mu is held.
func (m *Manager) remove(s *Session) {
	s.stage = gone
	if m.sessions[s.name] != s {
		return
	}
	delete(m.sessions, s.name)
	if m.each[s.name.caller]--; m.each[s.name.caller] == 0 {
		delete(m.each, s.name.caller)
	}
}

// endOf returns how a session ended, nil if that is not known. m.mu is held.
func (m *Manager) endOf(n name) *End {
	for i := len(m.ends) - 1; i >= 0; i-- {
		if e := &m.ends[i]; e.ID == n.id && e.Caller == n.caller {
			return e
		}
	}
	return nil
}

func (m *Manager) forgetEnd(n name) {
	m.ends = slices.DeleteFunc(m.ends, func(e End) bool { return e.Caller == n.caller && e.ID == n.id })
}
