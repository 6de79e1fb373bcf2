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

// maxCommentBytes bounds what an approver says.
const maxCommentBytes = 1024

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

// Approve is an approver's yes to what the binding names. A second one of the same
// principal changes nothing. With terms the offered class is granted as well, once all
// approvers grant it; the grant is made with the last of them, or when one of them
// says yes again if it could not be made then.
//
// Errors: errdefs.ErrNotFound; errdefs.ErrPermissionDenied; errdefs.ErrFailedPrecondition
// when it is not pending any more, or the approver saw something else.
func (m *Manager) Approve(ctx context.Context, id string, by Approver, binding, comment string, terms *grant.Terms) (Approval, error) {
	if len(comment) > maxCommentBytes {
		return Approval{}, fmt.Errorf("comment has %d bytes: want at most %d: %w", len(comment), maxCommentBytes, errdefs.ErrInvalidArgument)
	}
	e, err := m.find(id)
	if err != nil {
		return Approval{}, err
	}
	e.turn.Lock()
	defer e.turn.Unlock()
	a, err := m.overdue(ctx, e)
	if err != nil {
		return a, err
	}
	if err := a.May(by); err != nil {
		return a, err
	}
	if binding != a.Binding {
		return a, fmt.Errorf("approval %s is about something else than what you saw (%s, not %s): look at it again: %w", id, a.Binding, binding, errdefs.ErrFailedPrecondition)
	}
	if voted, err := a.voted(&by); err != nil || voted && (a.State.Live() || a.State == Used) {
		if err == nil {
			a = m.give(ctx, e, a)
		}
		return a, err
	}
	if a.State != Pending {
		return a, notPending(&a)
	}
	vote := Vote{By: by.ID, At: m.wall(), Comment: comment}
	if terms != nil {
		if vote.Grant, err = a.grantable(*terms); err != nil {
			return a, err
		}
	}
	data := eventData{Event: eventVoted, Vote: &vote}
	if len(a.Votes)+1 >= a.Quorum() {
		data.ExpiresAt = vote.At.Add(a.TTL)
	}
	after, err := m.change(ctx, e, data)
	if err != nil || after.State != Approved {
		return after, err
	}
	return m.give(ctx, e, after), nil
}

func notPending(a *Approval) error {
	why := ""
	if a.Message != "" {
		why = " (" + a.Message + ")"
	}
	return fmt.Errorf("approval %s is %s%s and cannot be answered any more: %w", a.ID, a.State, why, errdefs.ErrFailedPrecondition)
}

func (a *Approval) grantable(terms grant.Terms) (*grant.Terms, error) {
	switch {
	case a.Bound.Terms.NoGrant:
		return nil, fmt.Errorf("policy lets this call be approved only by itself, without a grant: %w", errdefs.ErrFailedPrecondition)
	case a.Offer == nil:
		return nil, fmt.Errorf("no grant can be given with approval %s: %s: %w", a.ID, a.NoOffer, errdefs.ErrFailedPrecondition)
	}
	terms = terms.WithDefaults(a.Session)
	if err := a.Offer.CheckTerms(terms, a.Session); err != nil {
		return nil, err
	}
	return &terms, nil
}

// give makes the grant that all approvers gave. Without it the call runs all the same:
// it was approved.
func (m *Manager) give(ctx context.Context, e *entry, a Approval) Approval {
	owed := a.owed()
	if owed == nil || !m.wall().Before(owed.ExpiresAt) {
		return a
	}
	failpoint.At(failpoint.GrantGiving)
	g, err := m.cfg.Grants.Give(context.WithoutCancel(ctx), *owed)
	if err != nil {
		m.log.Error("the call was approved, but the grant could not be made", zap.String("approval_id", a.ID), zap.Error(err))
		return a
	}
	m.mu.Lock()
	now := e.now // its session may have ended meanwhile
	over := now.State == Void || now.Lapsed
	now.GrantID = g.ID
	m.put(e, now)
	m.mu.Unlock()
	if over {
		if _, err := m.cfg.Grants.Revoke(context.WithoutCancel(ctx), g.ID, sessionOver); err != nil {
			m.log.Error("a grant outlives its session", zap.String("grant_id", g.ID), zap.Error(err))
		}
	}
	return now
}

// GiveOwed makes the grants that approvers gave to an earlier process, which was killed
// between the record of the last vote and that of the grant. It is called once, before
// calls come.
func (m *Manager) GiveOwed(ctx context.Context) {
	m.mu.Lock()
	var owed []*entry
	for _, e := range m.entries {
		if e.now.owed() != nil {
			owed = append(owed, e)
		}
	}
	m.mu.Unlock()
	for _, e := range owed {
		e.turn.Lock()
		m.give(ctx, e, m.look(e))
		e.turn.Unlock()
	}
}

// Deny is an approver's no, or the caller's own: it may take its question back. message
// is what the model is told. Errors as of Approve.
func (m *Manager) Deny(ctx context.Context, id string, by Approver, message string) (Approval, error) {
	if len(message) > maxCommentBytes {
		return Approval{}, fmt.Errorf("message has %d bytes: want at most %d: %w", len(message), maxCommentBytes, errdefs.ErrInvalidArgument)
	}
	e, err := m.find(id)
	if err != nil {
		return Approval{}, err
	}
	e.turn.Lock()
	defer e.turn.Unlock()
	a, err := m.overdue(ctx, e)
	if err != nil {
		return a, err
	}
	if by.ID != a.Caller {
		if err := a.May(by); err != nil {
			return a, err
		}
	}
	if a.State == Denied && a.By == by.ID {
		return a, nil
	}
	if !a.State.Live() { // one that is approved and not used yet can be taken back
		return a, notPending(&a)
	}
	return m.change(ctx, e, eventData{Event: eventDenied, By: by.ID, Message: message})
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
