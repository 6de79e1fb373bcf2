package grant

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/uuid"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// maxLive bounds the grants of one caller that live at once, and what a policy is
// shown of them.
const maxLive = 64

// ErrGone is of a grant that cannot be used any more, or never could: the call has
// to be decided anew, without it.
var ErrGone = errors.New("the grant cannot be used any more")

// recorder is what the manager needs of journal.Journal.
type recorder interface {
	Append(ctx context.Context, e journal.Entry) (int64, error)
}

// Config of a Manager.
type Config struct {
	Journal recorder // Required.
	// Fold is what the journal told at start. Optional.
	Fold *Fold
	Now  func() time.Time // Optional.
}

// Manager holds the grants of all callers. It is safe for concurrent use.
type Manager struct {
	journal recorder
	now     func() time.Time

	mu      sync.Mutex
	grants  map[string]*Grant
	callers map[string][]string // ids of grants by caller
}

// New makes a manager.
func New(cfg Config) *Manager {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m := &Manager{journal: cfg.Journal, now: cfg.Now, grants: map[string]*Grant{}, callers: map[string][]string{}}
	if cfg.Fold != nil {
		for _, g := range cfg.Fold.grants {
			own := g.clone()
			m.put(&own)
		}
	}
	return m
}

// put adds a grant. m.mu is held, or m is new.
func (m *Manager) put(g *Grant) {
	m.grants[g.ID] = g
	m.callers[g.Caller] = append(m.callers[g.Caller], g.ID)
}

// Give makes a grant, which is on disk when Give returns. Of g it takes the class,
// terms, caller, session, approval and approvers, and when it ends if that is before its
// terms say. A caller that has too many is
// errdefs.ErrResourceExhausted.
func (m *Manager) Give(ctx context.Context, g Grant) (Grant, error) {
	if err := g.Class.CheckTerms(g.Terms, g.Session); err != nil {
		return Grant{}, err
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return Grant{}, fmt.Errorf("make grant id: %w", err)
	}
	now := m.now().Round(0) // by the clock on the wall: the other one stands still while the machine sleeps
	if end := now.Add(g.Terms.TTL).UTC(); g.ExpiresAt.IsZero() || end.Before(g.ExpiresAt) {
		g.ExpiresAt = end
	}
	g.ID, g.CreatedAt = "g-"+id.String(), now.UTC()
	g.Used, g.LastUsed, g.RevokedBy = 0, time.Time{}, ""
	if g.Terms.Scope == ScopeCaller {
		g.Session = ""
	}
	m.mu.Lock()
	m.sweep(now)
	full := len(m.callers[g.Caller]) >= maxLive
	m.mu.Unlock()
	if full {
		return Grant{}, fmt.Errorf("caller %s has %d grants, the most it may have: revoke one: %w", g.Caller, maxLive, errdefs.ErrResourceExhausted)
	}
	if err := m.record(ctx, &g, eventData{Event: eventGiven, Grant: &g}); err != nil {
		return Grant{}, err
	}
	own := g.clone()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(&own)
	return g, nil
}

func (m *Manager) record(ctx context.Context, g *Grant, data eventData) error {
	failpoint.At(failpoint.GrantBefore)
	defer failpoint.At(failpoint.GrantAfter)
	_, err := m.journal.Append(ctx, journal.Entry{Kind: RecordKind, Caller: g.Caller, Session: g.Session, Data: data})
	if err != nil {
		return fmt.Errorf("record grant %s: %w", g.ID, err)
	}
	return nil
}

// For returns the grants that live for calls of this kind, oldest first.
func (m *Manager) For(k Kind) []Grant {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := m.callers[k.Caller]
	if len(ids) == 0 {
		return nil
	}
	now := m.now()
	var out []Grant
	for _, id := range ids {
		if g := m.grants[id]; g.covers(k) && g.Live(now) {
			out = append(out, g.clone())
		}
	}
	return out
}

// Take uses each of the grants once, all or none, for one call of this kind. The
// use is durable by the record of the call's intent, which has to name the grants;
// where none was written, or it came to nothing, give must be called, once. An error
// wraps ErrGone.
func (m *Manager) Take(k Kind, ids []string) (give func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	taken := make([]*Grant, 0, len(ids))
	for _, id := range ids {
		g, ok := m.grants[id]
		if !ok || !g.covers(k) || !g.Live(now) {
			return nil, fmt.Errorf("grant %q: %w", id, ErrGone)
		}
		taken = append(taken, g)
	}
	for _, g := range taken {
		g.Used++
		g.LastUsed = now.UTC()
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, g := range taken {
			g.Used--
		}
	}, nil
}

// Revoke ends a grant, durably; calls that run go on. One that is not live is
// errdefs.ErrNotFound.
func (m *Manager) Revoke(ctx context.Context, id, by string) (Grant, error) {
	m.mu.Lock()
	g, ok := m.grants[id]
	if !ok || !g.Live(m.now()) {
		m.mu.Unlock()
		return Grant{}, fmt.Errorf("no grant %q lives: %w", id, errdefs.ErrNotFound)
	}
	g.RevokedBy = by // before it is on disk: from now on it is not used
	out := g.clone()
	m.mu.Unlock()
	failpoint.At(failpoint.GrantRevoking)
	if err := m.record(ctx, &out, eventData{Event: eventRevoked, ID: id, By: by}); err != nil {
		return out, fmt.Errorf("%w: until the daemon is restarted it is revoked all the same", err)
	}
	return out, nil
}

// EndSession drops what was granted to a session. The session's own record says so
// in the journal.
func (m *Manager) EndSession(caller, session string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(func(g *Grant) bool { return g.Caller == caller && g.Session == session && session != "" })
}

// List returns all live grants that the filter lets through (nil: all), oldest first.
func (m *Manager) List(filter func(*Grant) bool) []Grant {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.sweep(now)
	var out []Grant
	for _, g := range m.grants {
		if g.Live(now) && (filter == nil || filter(g)) {
			out = append(out, g.clone())
		}
	}
	slices.SortFunc(out, func(a, b Grant) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) })
	return out
}

// sweep forgets the grants whose time is over and those that were revoked. One that is
// used up stays: its last call may yet come to nothing.
func (m *Manager) sweep(now time.Time) {
	m.drop(func(g *Grant) bool { return g.RevokedBy != "" || !now.Before(g.ExpiresAt) })
}

func (m *Manager) drop(gone func(*Grant) bool) {
	for id, g := range m.grants {
		if !gone(g) {
			continue
		}
		delete(m.grants, id)
		left := slices.DeleteFunc(m.callers[g.Caller], func(other string) bool { return other == id })
		if m.callers[g.Caller] = left; len(left) == 0 {
			delete(m.callers, g.Caller)
		}
	}
}

// without are arguments but for some members.
func without(args []byte, names []string) (json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(args, &members); err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	for _, name := range names {
		delete(members, name)
	}
	out, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	return out, nil
}

func memberNames(args []byte) ([]string, error) {
	var members map[string]json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(args)).Decode(&members); err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	return slices.Sorted(maps.Keys(members)), nil
}
