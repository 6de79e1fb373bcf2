package session

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// Create makes the caller's session with terms that are within the bounds.
// record writes it down durably; then finish makes its workspace. Nobody can use
// the session before both have returned nil; after an error there is none, and
// where that was finish's the caller of Create has to record its end. An id that
// is in use is errdefs.ErrAlreadyExists; that of a session that has ended may be
// taken again.
func (m *Manager) Create(caller, id, profile string, terms Terms, record func() error, finish func(*Session) error) (Info, error) {
	if err := ValidateID(id); err != nil {
		return Info{}, err
	}
	n := name{caller, id}
	m.mu.Lock()
	if m.sessions[n] != nil {
		m.mu.Unlock()
		return Info{}, fmt.Errorf("session %q is there already: use it, or choose another id: %w", id, errdefs.ErrAlreadyExists)
	}
	if err := m.room(caller); err != nil {
		m.mu.Unlock()
		return Info{}, err
	}
	s := &Session{name: n, manager: m, state: newState(caller, id, profile, &terms, m.cfg.Now()), stage: being}
	m.add(s)
	m.mu.Unlock()

	err := m.removeFiles(n) // of a session that had the id before
	if err == nil {
		err = record()
	}
	if err == nil {
		err = finish(s)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.remove(s)
		return Info{}, errors.Join(err, m.removeFiles(n))
	}
	m.forgetEnd(n)
	s.stage = alive
	return s.info(), nil
}

// Close takes a session out of use: from then on no call may begin in it. The
// caller of Close ends its calls and its cells, records its end and calls Closed,
// or Reopen where it could not. A session that does not exist, or has ended, is
// errdefs.ErrNotFound.
func (m *Manager) Close(caller, id string) (*Session, error) {
	if err := ValidateID(id); err != nil {
		return nil, err
	}
	n := name{caller, id}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[n]
	if s == nil {
		if end := m.endOf(n); end != nil {
			return nil, fmt.Errorf("%s: %w", end.Text(), errdefs.ErrNotFound)
		}
		return nil, fmt.Errorf("session %q: %w", id, errdefs.ErrNotFound)
	}
	switch s.stage {
	case being:
		return nil, fmt.Errorf("session %q is being made: try again: %w", id, errdefs.ErrAborted)
	case closing, gone:
		return nil, fmt.Errorf("session %q is being closed: %w", id, errdefs.ErrAborted)
	case alive:
		s.stage = closing
	}
	return s, nil
}

// closeAgain is how long after a failed Close an expired session is left alone.
const closeAgain = time.Minute

// Reopen undoes Close.
func (m *Manager) Reopen(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.stage == closing {
		s.stage, s.rests = alive, m.cfg.Now().Add(closeAgain)
	}
}

// Closed ends a session that was taken out of use and whose end is recorded, and
// removes its files. An error means that files are left; a restart removes them.
func (m *Manager) Closed(s *Session, reason string) error {
	s.mu.Lock()
	s.ended = true
	kind := s.state.Kind()
	s.mu.Unlock()
	m.mu.Lock()
	m.forgetEnd(s.name)
	m.ends = append(m.ends, End{Caller: s.name.caller, ID: s.name.id, At: m.cfg.Now(), Reason: reason, Kind: kind})
	if extra := len(m.ends) - maxEnds; extra > 0 {
		m.ends = slices.Delete(m.ends, 0, extra)
	}
	trash, err := m.moveAway(s.name) // before somebody may take the id again
	failpoint.At(failpoint.SessionTrash)
	m.remove(s)
	m.mu.Unlock()
	if err != nil || trash == "" {
		return err
	}
	return removeAll(trash, s.name.id)
}

// Due is a session whose time is over.
type Due struct{ Caller, ID, Reason string }

// Expired returns the sessions that have to end now, at most limit of them. It
// looks at all: that takes some 50 ns each.
func (m *Manager) Expired(limit int) []Due {
	now := m.cfg.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Due
	for n, s := range m.sessions {
		if s.stage != alive || now.Before(s.rests) {
			continue
		}
		if end := s.due(now); end != nil {
			if out = append(out, Due{n.caller, n.id, end.Reason}); len(out) == limit {
				break
			}
		}
	}
	return out
}

// Over is why a session that is there has to end now; empty: it has not, or there is
// none.
func (m *Manager) Over(caller, id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[name{caller, id}]
	if s == nil || s.stage != alive {
		return ""
	}
	if end := s.due(m.cfg.Now()); end != nil {
		return end.Reason
	}
	return ""
}

// Info is what a host is told of a session.
type Info struct {
	State
	// Terms it lives by, the configuration's where it has none of its own.
	Terms Terms
	// Expires is when it ends for good, IdleUntil when it ends unless it is used; zero:
	// never.
	Expires, IdleUntil time.Time
	// Running is how many of its calls run or wait to, Background how many of them
	// have no host.
	Running, Background int64
}

func (s *Session) info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := Info{State: s.state.clone(), Terms: s.manager.cfg.Bounds.of(&s.state), Running: s.running, Background: s.behind}
	if i.Terms.TTL > 0 {
		i.Expires = i.Created.Add(i.Terms.TTL)
	}
	if i.Terms.IdleTimeout > 0 {
		i.IdleUntil = i.LastUsed.Add(i.Terms.IdleTimeout)
	}
	return i
}

// Get returns what is known of a session; errdefs.ErrNotFound if there is none, or its
// time is over, with what became of it if that is known.
func (m *Manager) Get(caller, id string) (Info, error) {
	if err := ValidateID(id); err != nil {
		return Info{}, err
	}
	n := name{caller, id}
	m.mu.Lock()
	s := m.sessions[n]
	var end *End
	if s != nil {
		end = s.due(m.cfg.Now())
	} else {
		end = m.endOf(n)
	}
	m.mu.Unlock()
	switch {
	case end != nil:
		return Info{}, fmt.Errorf("%s: %w", end.Text(), errdefs.ErrNotFound)
	case s != nil:
		return s.info(), nil
	}
	return Info{}, fmt.Errorf("session %q: %w", id, errdefs.ErrNotFound)
}

// Page is where a list goes on: behind the session of that caller and id.
type Page struct{ Caller, ID string }

// List returns sessions sorted by caller and id: the caller's, or everybody's if
// it is empty; those behind after, at most limit, without those whose time is over.
// more tells whether there are more.
func (m *Manager) List(caller string, after Page, limit int) (list []Info, more bool) {
	from := name{after.Caller, after.ID}
	now := m.cfg.Now()
	m.mu.Lock()
	var found []*Session
	for n, s := range m.sessions {
		if (caller == "" || n.caller == caller) && n.compare(from) > 0 && s.stage != being && s.due(now) == nil {
			found = append(found, s)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(found, func(a, b *Session) int { return a.name.compare(b.name) })
	if more = len(found) > limit; more {
		found = found[:limit]
	}
	list = make([]Info, len(found))
	for i, s := range found {
		list[i] = s.info()
	}
	return list, more
}
