package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// Config of a Manager.
type Config struct {
	// Dir holds the sessions' directories. It is made, mode 0700. Required.
	Dir string
	// Prepare makes a new workspace directory fit for the sandbox (its owner).
	// Optional.
	Prepare func(dir string) error
	// MaxSessions bounds the sessions in memory. Default 4096. When it is reached
	// the session that has been unused longest is put aside: its state goes to a
	// file beside its workspace and comes back with its next call. A session that
	// a call uses stays; when all are in use a new one is refused.
	MaxSessions int
	// MaxPerCaller bounds one caller's sessions in memory in the same way: only
	// its own sessions are put aside for it. Default half of MaxSessions, at least 1.
	MaxPerCaller int
	// Now is the clock. Optional.
	Now func() time.Time
}

// Manager holds the sessions of all callers. It is safe for concurrent use.
type Manager struct {
	cfg Config

	mu       sync.Mutex
	sessions map[name]*Session
	each     map[string]int // sessions by caller; no entry at 0
}

// name is what a session is found by.
type name struct{ caller, id string }

// NewManager makes the directory and an empty manager.
func NewManager(cfg Config) (*Manager, error) {
	if cfg.Dir == "" {
		return nil, errors.New("sessions: directory is missing")
	}
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = 4096
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
	left, err := filepath.Glob(filepath.Join(cfg.Dir, trashPrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("look for ended sessions: %w", err)
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("remove ended session: %w", err)
		}
	}
	return &Manager{cfg: cfg, sessions: make(map[name]*Session), each: make(map[string]int)}, nil
}

// Use returns the caller's session of that id, making it with the profile if
// there is none. It stays in memory until the caller of Use gives it to Release.
// A profile other than the session's is errdefs.ErrFailedPrecondition: the
// profile is pinned at first use.
func (m *Manager) Use(caller, id, profile string) (*Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.get(caller, id, profile)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if pinned := s.state.Profile; pinned != profile {
		return nil, fmt.Errorf("session %q has the profile %q, not %q: use another session id or leave the profile out: %w",
			id, pinned, profile, errdefs.ErrFailedPrecondition)
	}
	s.state.LastUsed = m.cfg.Now()
	s.users++
	return s, nil
}

// Release ends one Use. A session in which no call was ever decided is forgotten
// with its last user; any other can be put aside from then on.
func (m *Manager) Release(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.users--
	if s.users > 0 {
		return
	}
	s.mu.Lock()
	unused := s.state.Seq == 0
	s.mu.Unlock()
	if unused && m.sessions[s.name] == s { // else it was ended and made anew
		m.remove(s.name)
	}
}

// Peek returns the state of a session without making it; false if there is none.
func (m *Manager) Peek(caller, id string) (State, bool, error) {
	if err := ValidateID(id); err != nil {
		return State{}, false, err
	}
	m.mu.Lock()
	s := m.sessions[name{caller, id}]
	m.mu.Unlock()
	if s != nil {
		return s.Snapshot(), true, nil
	}
	return m.load(caller, id)
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
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.state.Profile, true, nil
	}
	state, ok, err := m.load(caller, id)
	return state.Profile, ok, err
}

// Count is how many sessions are in memory.
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
		return s.WorkspaceDir() // its name need not be made again
	}
	return filepath.Join(m.cfg.Dir, Key(caller, id), "workspace")
}

// Restore puts back what the journal tells of a session, oldest first: one
// decided call. It makes the session if there is none.
func (m *Manager) Restore(caller, id, profile, decision string, labels []string, r Recent, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.get(caller, id, profile)
	if err != nil {
		return err
	}
	if _, err := s.Decided(decision, labels, at); err != nil {
		return err
	}
	s.mu.Lock()
	r.Seq = s.state.Seq
	s.mu.Unlock()
	s.Finished(r)
	return nil
}

// Forget drops what is in memory of all sessions and their put-aside state, so
// that a replay of the journal starts from nothing.
func (m *Manager) Forget() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions, m.each = make(map[name]*Session), make(map[string]int)
	files, err := filepath.Glob(filepath.Join(m.cfg.Dir, "*", stateFile))
	if err != nil {
		return fmt.Errorf("forget sessions: %w", err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget sessions: %w", err)
		}
	}
	return nil
}

// Drop forgets what is known of a session, in memory and put aside; its workspace
// stays. It is for a replay that meets the session's end.
func (m *Manager) Drop(caller, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(name{caller, id})
	err := os.Remove(filepath.Join(m.cfg.Dir, Key(caller, id), stateFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget session %q: %w", id, err)
	}
	return nil
}

// Corrected sets the outcome of the session's last call of that digest. It is
// for a replay, which learns of a call's end after its beginning.
func (m *Manager) Corrected(caller, id, digest, outcome string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[name{caller, id}]
	if s == nil {
		state, found, err := m.load(caller, id)
		if err != nil || !found {
			return err
		}
		if s, err = m.get(caller, id, state.Profile); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.state.Recent) - 1; i >= 0; i-- {
		if s.state.Recent[i].Digest == digest {
			s.state.Recent[i].Outcome = outcome
			return nil
		}
	}
	return nil
}

// End removes the session and its files. A session that does not exist is
// errdefs.ErrNotFound. Calls that still run keep their mounted workspace until
// they end; the caller of End must have ended their cells.
func (m *Manager) End(caller, id string) error {
	if err := ValidateID(id); err != nil {
		return err
	}
	trash, err := m.moveAway(caller, id)
	if err != nil || trash == "" {
		return err
	}
	// Not under the lock: it can take long. RemoveAll does not follow symlinks
	// that a tool left behind.
	if err := os.RemoveAll(trash); err != nil {
		return fmt.Errorf("remove session %q: %w", id, err)
	}
	return nil
}

// trashPrefix marks directories of ended sessions; NewManager removes what a
// crash has left of them.
const trashPrefix = ".ended-"

// moveAway takes the session out of memory and its directory out of the way. It
// returns the directory's new name, empty if there is none.
func (m *Manager) moveAway(caller, id string) (string, error) {
	key := Key(caller, id)
	dir := filepath.Join(m.cfg.Dir, key)
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[name{caller, id}]
	_, err := os.Lstat(dir)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case s == nil && missing:
		return "", fmt.Errorf("session %q: %w", id, errdefs.ErrNotFound)
	case err != nil && !missing:
		return "", fmt.Errorf("end session %q: %w", id, err)
	}
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = true
	}
	m.remove(name{caller, id})
	if missing {
		return "", nil
	}
	trash, err := os.MkdirTemp(m.cfg.Dir, trashPrefix)
	if err != nil {
		return "", fmt.Errorf("end session %q: %w", id, err)
	}
	if err := os.Rename(dir, filepath.Join(trash, key)); err != nil {
		return "", fmt.Errorf("end session %q: %w", id, err)
	}
	return trash, nil
}

// get returns the session, from memory, put aside or new. m.mu is held.
func (m *Manager) get(caller, id, profile string) (*Session, error) {
	if err := ValidateID(id); err != nil {
		return nil, err
	}
	if s, ok := m.sessions[name{caller, id}]; ok {
		return s, nil
	}
	state, found, err := m.load(caller, id)
	if err != nil {
		return nil, err
	}
	if !found {
		state = State{Caller: caller, ID: id, Profile: profile, Counts: map[string]int{}, LastUsed: m.cfg.Now()}
	}
	if err := m.makeRoom(caller); err != nil {
		return nil, err
	}
	s := &Session{name: name{caller, id}, dir: filepath.Join(m.cfg.Dir, Key(caller, id)), prepare: m.cfg.Prepare, state: state}
	m.sessions[s.name] = s
	m.each[caller]++
	return s, nil
}

// remove takes a session out of memory. m.mu is held.
func (m *Manager) remove(n name) {
	if _, ok := m.sessions[n]; !ok {
		return
	}
	delete(m.sessions, n)
	if m.each[n.caller]--; m.each[n.caller] == 0 {
		delete(m.each, n.caller)
	}
}

const stateFile = "state.json"

// makeRoom keeps the bounds when the caller is about to have one more session in
// memory. A caller at its own bound costs nobody else a session. m.mu is held.
func (m *Manager) makeRoom(caller string) error {
	if own := m.each[caller]; own >= m.cfg.MaxPerCaller {
		return m.putAside(caller, fmt.Sprintf("this caller has %d sessions in use, the most it may have", own))
	}
	if len(m.sessions) >= m.cfg.MaxSessions {
		return m.putAside("", fmt.Sprintf("%d sessions are in use, the most that this daemon takes", len(m.sessions)))
	}
	return nil
}

// putAside writes the longest unused session of the caller (empty: of all) to
// its file; full is what to say when calls use all of them. m.mu is held.
func (m *Manager) putAside(caller, full string) error {
	var oldest *Session
	var since time.Time
	for n, s := range m.sessions {
		if s.users > 0 || caller != "" && n.caller != caller {
			continue
		}
		s.mu.Lock()
		used := s.state.LastUsed
		s.mu.Unlock()
		if oldest == nil || used.Before(since) {
			oldest, since = s, used
		}
	}
	if oldest == nil {
		return fmt.Errorf("%s: try again when a call in one of them has ended: %w", full, errdefs.ErrResourceExhausted)
	}
	raw, err := json.Marshal(oldest.Snapshot())
	if err != nil {
		return fmt.Errorf("put session aside: %w", err)
	}
	if err := os.MkdirAll(oldest.dir, 0o700); err != nil {
		return fmt.Errorf("put session aside: %w", err)
	}
	tmp := filepath.Join(oldest.dir, stateFile+".tmp")
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return fmt.Errorf("put session aside: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(oldest.dir, stateFile)); err != nil {
		return fmt.Errorf("put session aside: %w", err)
	}
	m.remove(oldest.name)
	return nil
}

// load reads a put-aside state. A file that cannot be read is an error: its
// labels must not be lost.
func (m *Manager) load(caller, id string) (State, bool, error) {
	raw, err := os.ReadFile(filepath.Join(m.cfg.Dir, Key(caller, id), stateFile)) // #nosec G304 -- the name is a hash
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, false, nil
	}
	if err != nil {
		return State{}, false, fmt.Errorf("read session %q: %w", id, err)
	}
	var s State
	if err := json.Unmarshal(raw, &s); err != nil || s.Caller != caller || s.ID != id {
		return State{}, false, fmt.Errorf("read session %q: its state file is damaged: end the session: %w", id, errdefs.ErrDataLoss)
	}
	if s.Counts == nil {
		s.Counts = map[string]int{}
	}
	return s, true, nil
}
