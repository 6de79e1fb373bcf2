package approval

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"
)

// List returns the approvals that the filter lets through (nil: all), oldest first.
func (m *Manager) List(ctx context.Context, filter func(*Approval) bool) ([]Approval, error) {
	m.mu.Lock()
	all := make([]*entry, 0, len(m.entries))
	for _, e := range m.entries {
		all = append(all, e)
	}
	m.mu.Unlock()
	var out []Approval
	for _, e := range all {
		a, err := m.settle(ctx, e)
		if err != nil {
			return nil, err
		}
		if filter == nil || filter(&a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, byAge)
	return out, nil
}

// Wait returns the approval once it is not pending any more. When ctx ends first, its
// cause is returned, and the approval stays as it is.
func (m *Manager) Wait(ctx context.Context, id string) (Approval, error) {
	e, err := m.find(id)
	if err != nil {
		return Approval{}, err
	}
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		a, err := m.settle(ctx, e)
		if err != nil || a.State != Pending {
			return a, err
		}
		timer := time.NewTimer(a.ExpiresAt.Sub(m.now()))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return a, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// Watch gives each approval that is pending, and then each that changes, to tell, until
// ctx ends or tell fails. Of changes that come faster than tell takes them the last is
// told.
func (m *Manager) Watch(ctx context.Context, tell func(Approval) error) error {
	var seen int64
	first := true
	for {
		m.mu.Lock()
		changed := m.changed
		var news []*entry
		for _, e := range m.entries {
			if first && e.now.State == Pending || !first && e.version > seen {
				news = append(news, e)
			}
		}
		slices.SortFunc(news, func(a, b *entry) int { return int(a.version - b.version) })
		told := make([]Approval, 0, len(news))
		for _, e := range news {
			told = append(told, e.now)
		}
		seen, first = m.version, false
		m.mu.Unlock()
		for _, a := range told {
			if err := tell(a); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// due are the live approvals whose time is over.
func (m *Manager) due() []*entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	var out []*entry
	for _, e := range m.entries {
		if e.now.State.Live() && !now.Before(e.now.ExpiresAt) {
			out = append(out, e)
		}
	}
	return out
}

// idlePoll is how often Run looks when nothing expires sooner.
const idlePoll = time.Hour

// Run ends approvals when their time is over, until ctx ends, so that those who watch
// are told in time.
func (m *Manager) Run(ctx context.Context) {
	for {
		m.mu.Lock()
		changed := m.changed
		next := m.now().Add(idlePoll)
		var due []*entry
		for _, e := range m.entries {
			if !e.now.State.Live() {
				continue
			}
			if !m.now().Before(e.now.ExpiresAt) {
				due = append(due, e)
			} else if e.now.ExpiresAt.Before(next) {
				next = e.now.ExpiresAt
			}
		}
		m.mu.Unlock()
		for _, e := range due {
			if _, err := m.settle(ctx, e); err != nil {
				m.log.Error("the end of an approval could not be recorded", zap.Error(err))
				next = m.now().Add(time.Second)
			}
		}
		timer := time.NewTimer(max(next.Sub(m.now()), time.Millisecond))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// LiveOf is the id of the live approval of a call; empty: there is none.
func (m *Manager) LiveOf(caller, callID string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.calls[callKey{caller, callID}]; e != nil && e.now.State.Live() {
		return e.now.ID
	}
	return ""
}
