package approval

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// Defaults of Config.
const (
	DefaultTTL              = 10 * time.Minute
	DefaultMaxLive          = 1000
	DefaultMaxLivePerCaller = 100
)

// recordTimeout bounds a write to the journal.
const recordTimeout = 30 * time.Second

var errRecordTimeout = errors.New("the journal took too long")

// recorder is what the manager needs of journal.Journal.
type recorder interface {
	Append(ctx context.Context, e journal.Entry) (int64, error)
}

// Config of a Manager.
type Config struct {
	Journal recorder       // Required.
	Grants  *grant.Manager // Required.
	// Fold is what the journal told at start. Optional.
	Fold *Fold
	// TTL is how long an approval is waited for where policy does not say. Default 10 minutes.
	TTL time.Duration
	// MaxLive and MaxLivePerCaller bound the approvals that are pending or not used yet.
	MaxLive, MaxLivePerCaller int
	Logger                    *zap.Logger      // Optional.
	Now                       func() time.Time // Optional.
}

// Manager holds the approvals of all calls. It is safe for concurrent use.
type Manager struct {
	cfg Config
	log *zap.Logger
	now func() time.Time

	mu      sync.Mutex
	entries map[string]*entry
	calls   map[callKey]*entry // the last of each call
	settled []string           // ids of those that are over, oldest first
	live    map[string]int     // live ones by caller; "" is the sum
	version int64              // of the last change
	changed chan struct{}      // closed at the next change
}

type callKey struct{ caller, id string }

// entry is one approval. Whoever changes it holds turn, from the look at it until the
// change is on disk, and the manager's mutex while it is put.
type entry struct {
	turn    sync.Mutex
	now     Approval // guarded by the manager's mutex
	version int64    // of its last change; guarded likewise
}

// New makes a manager with what the fold tells.
func New(cfg Config) *Manager {
	cfg.TTL = cmp.Or(cfg.TTL, DefaultTTL)
	cfg.MaxLive, cfg.MaxLivePerCaller = cmp.Or(cfg.MaxLive, DefaultMaxLive), cmp.Or(cfg.MaxLivePerCaller, DefaultMaxLivePerCaller)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	m := &Manager{
		cfg: cfg, log: cfg.Logger.Named("approval"), now: cfg.Now,
		entries: map[string]*entry{}, calls: map[callKey]*entry{}, live: map[string]int{}, changed: make(chan struct{}),
	}
	if cfg.Fold == nil {
		return m
	}
	var all []Approval
	for _, a := range cfg.Fold.approvals {
		all = append(all, a)
	}
	slices.SortFunc(all, byAge)
	for _, a := range all {
		m.add(a)
	}
	return m
}

func byAge(a, b Approval) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}

// add puts a new entry. m.mu is held, or m is new.
func (m *Manager) add(a Approval) *entry {
	e := &entry{}
	m.entries[a.ID], m.calls[callKey{a.Caller, a.CallID}] = e, e
	m.put(e, a)
	return e
}

// put changes an entry and tells everybody. m.mu is held, or m is new.
func (m *Manager) put(e *entry, a Approval) {
	was := e.now.State.Live()
	e.now = a
	m.version++
	e.version = m.version
	if is := a.State.Live(); is != was {
		n := -1
		if is {
			n = 1
		}
		m.count(a.Caller, n)
	}
	if !a.State.Live() {
		m.forget(a.ID)
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

// count counts live approvals of a caller. m.mu is held.
func (m *Manager) count(caller string, n int) {
	m.live[""] += n
	if m.live[caller] += n; m.live[caller] == 0 {
		delete(m.live, caller)
	}
}

// forget keeps the bound of approvals that are over.
func (m *Manager) forget(id string) {
	m.settled = append(m.settled, id)
	for len(m.settled) > maxSettled {
		old := m.entries[m.settled[0]]
		m.settled = m.settled[1:]
		if old == nil || old.now.State.Live() || slices.Contains(m.settled, old.now.ID) {
			continue
		}
		delete(m.entries, old.now.ID)
		if key := (callKey{old.now.Caller, old.now.CallID}); m.calls[key] == old {
			delete(m.calls, key)
		}
	}
}

// wall is the time by the clock on the wall alone: the other one stands still while the
// machine sleeps, and what was to expire then would not.
func (m *Manager) wall() time.Time { return m.now().UTC().Round(0) }

// record writes an event of an approval, also when who caused it has gone away.
func (m *Manager) record(ctx context.Context, a *Approval, data eventData) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), recordTimeout, errRecordTimeout)
	defer cancel()
	data.ID = a.ID
	failpoint.At(failpoint.ApprovalBefore)
	defer failpoint.At(failpoint.ApprovalAfter)
	_, err := m.cfg.Journal.Append(ctx, journal.Entry{Kind: RecordKind, Caller: a.Caller, Session: a.Session, CallID: a.CallID, Data: data})
	if err != nil {
		return fmt.Errorf("record approval %s: %w", a.ID, err)
	}
	return nil
}

// Ask makes a question, which is on disk when Ask returns. Of a it takes what is
// asked; id, state and times are set here. kept is what of it goes to the journal. Too
// many open questions are errdefs.ErrResourceExhausted.
func (m *Manager) Ask(ctx context.Context, a Approval, kept func(*Approval)) (Approval, error) {
	var err error
	if a.Binding, err = a.Bound.Sum(); err != nil {
		return Approval{}, err
	}
	if a.ID, err = newID(); err != nil {
		return Approval{}, err
	}
	a.TTL = cmp.Or(time.Duration(a.Bound.Terms.TTLMs)*time.Millisecond, m.cfg.TTL)
	now := m.wall()
	a.State, a.CreatedAt, a.ExpiresAt, a.Votes = Pending, now, now.Add(a.TTL), nil
	if err := m.room(ctx, a.Caller); err != nil {
		return Approval{}, err
	}
	recorded := a
	if kept != nil {
		kept(&recorded)
	}
	err = m.record(ctx, &a, eventData{Event: eventAsked, Approval: &recorded})
	failpoint.At(failpoint.ApprovalAsked)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count(a.Caller, -1) // the place that was kept for it
	if err != nil {
		return Approval{}, err
	}
	m.add(a)
	return a, nil
}

// room keeps a place for a question, and refuses one that would be one too many when those
// are left out that are over.
func (m *Manager) room(ctx context.Context, caller string) error {
	for swept := false; ; swept = true {
		m.mu.Lock()
		all, own := m.live[""], m.live[caller]
		free := all < m.cfg.MaxLive && own < m.cfg.MaxLivePerCaller
		if free {
			m.count(caller, 1)
		}
		m.mu.Unlock()
		if free {
			return nil
		}
		if swept {
			return fmt.Errorf("%d approvals are open, %d of this caller, the most is %d and %d: try again when some are answered: %w",
				all, own, m.cfg.MaxLive, m.cfg.MaxLivePerCaller, errdefs.ErrResourceExhausted)
		}
		for _, e := range m.due() {
			if _, err := m.settle(ctx, e); err != nil {
				return err
			}
		}
	}
}

func newID() (string, error) {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", fmt.Errorf("make approval id: %w", err)
	}
	return "ap-" + hex.EncodeToString(raw[:]), nil
}

// Of returns the last approval of a call; false if there is none. Its time is looked at.
func (m *Manager) Of(ctx context.Context, caller, callID string) (Approval, bool, error) {
	m.mu.Lock()
	e := m.calls[callKey{caller, callID}]
	m.mu.Unlock()
	if e == nil {
		return Approval{}, false, nil
	}
	a, err := m.settle(ctx, e)
	return a, true, err
}

// Get returns an approval; errdefs.ErrNotFound if there is none.
func (m *Manager) Get(ctx context.Context, id string) (Approval, error) {
	e, err := m.find(id)
	if err != nil {
		return Approval{}, err
	}
	return m.settle(ctx, e)
}

func (m *Manager) find(id string) (*entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[id]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("approval %q: %w", id, errdefs.ErrNotFound)
}

func (m *Manager) look(e *entry) Approval {
	m.mu.Lock()
	defer m.mu.Unlock()
	return e.now
}

// settle ends an approval whose time is over, and returns it as it then is.
func (m *Manager) settle(ctx context.Context, e *entry) (Approval, error) {
	a := m.look(e)
	if !a.State.Live() || m.now().Before(a.ExpiresAt) {
		return a, nil
	}
	e.turn.Lock()
	defer e.turn.Unlock()
	return m.overdue(ctx, e)
}

// overdue is settle with the turn.
func (m *Manager) overdue(ctx context.Context, e *entry) (Approval, error) {
	a, now := m.look(e), m.wall()
	switch {
	case !a.State.Live() || now.Before(a.ExpiresAt):
		return a, nil
	case a.State == Pending && a.Bound.Terms.OnTimeout == "allow":
		return m.change(ctx, e, eventData{Event: eventSilence, Vote: &Vote{By: ByTimeout, At: now}, ExpiresAt: now.Add(a.TTL)})
	}
	return m.change(ctx, e, eventData{Event: eventExpired})
}

// change records an event and then makes it so. The turn is held.
func (m *Manager) change(ctx context.Context, e *entry, data eventData) (Approval, error) {
	a := m.look(e)
	if _, err := a.after(&data); err != nil {
		return a, err
	}
	if err := m.record(ctx, &a, data); err != nil {
		return a, err
	}
	failpoint.At(failpoint.ApprovalDecided)
	m.mu.Lock()
	defer m.mu.Unlock()
	after, err := e.now.after(&data)
	if err != nil { // its session may have ended meanwhile
		return a, err
	}
	m.put(e, after)
	return after, nil
}

// Void ends a live approval because it does not hold for what would run. Of one that is
// over it changes nothing.
func (m *Manager) Void(ctx context.Context, id, why string) (Approval, error) {
	e, err := m.find(id)
	if err != nil {
		return Approval{}, err
	}
	e.turn.Lock()
	defer e.turn.Unlock()
	if a := m.look(e); !a.State.Live() {
		return a, nil
	}
	return m.change(ctx, e, eventData{Event: eventVoid, Message: why})
}

// Use takes an approved approval for the one run of its call. It is durable by the
// record of the call's intent, which has to name it; where none was written, or it came
// to nothing, back must be called, once. One that is not approved any more is
// errdefs.ErrFailedPrecondition.
func (m *Manager) Use(ctx context.Context, id string) (back func(), err error) {
	e, err := m.find(id)
	if err != nil {
		return nil, err
	}
	e.turn.Lock()
	defer e.turn.Unlock()
	a, err := m.overdue(ctx, e)
	if err != nil {
		return nil, err
	}
	if a.State != Approved {
		return nil, fmt.Errorf("approval %s is %s: %w", id, a.State, errdefs.ErrFailedPrecondition)
	}
	set := func(from, to State) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if now := e.now; now.State == from {
			if now.State = to; to == Approved && now.Lapsed {
				now.State, now.Message = Void, sessionOver
			}
			m.put(e, now)
		}
	}
	set(Approved, Used)
	return func() { set(Used, Approved) }, nil
}

// EndSession makes void what a session asked. The session's own record says so in the
// journal.
func (m *Manager) EndSession(caller, session string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		a := e.now
		if a.Caller != caller || a.Session != session || session == "" {
			continue
		}
		if a.State.Live() {
			a.State, a.Message = Void, sessionOver
			m.put(e, a)
		} else if a.State == Used {
			a.Lapsed = true
			e.now = a
		}
	}
}
