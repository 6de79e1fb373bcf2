package session

import (
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox/diskimage"
)

// Bounds are what the daemon's configuration says of how long sessions live and
// what they may use.
type Bounds struct {
	// TTL, IdleTimeout and Quota are for a session whose host wishes nothing else; 0
	// is no bound.
	TTL, IdleTimeout time.Duration
	Quota            Quota
	// MaxTTL, MaxIdleTimeout and MaxQuota are the most that a host may wish for, each
	// by itself; 0 is no bound. They bind the defaults above as well.
	MaxTTL, MaxIdleTimeout time.Duration
	MaxQuota               Quota
}

// Bounds of what a host says of a session.
const (
	maxHostLabels     = 32
	maxHostLabelKey   = 64
	maxHostLabelValue = 256
)

// Within returns the terms with what the host left out filled in and what it may
// not have taken back to what it may have.
func (b *Bounds) Within(t Terms) Terms {
	if t.Kind == "" {
		t.Kind = Persistent
	}
	t.TTL = within(t.TTL, b.TTL, b.MaxTTL)
	t.IdleTimeout = within(t.IdleTimeout, b.IdleTimeout, b.MaxIdleTimeout)
	q, d, m := &t.Quota, b.Quota, b.MaxQuota
	q.Calls = within(q.Calls, d.Calls, m.Calls)
	q.CPUTime = within(q.CPUTime, d.CPUTime, m.CPUTime)
	q.DiskBytes = within(q.DiskBytes, d.DiskBytes, m.DiskBytes)
	q.ConcurrentCalls = within(q.ConcurrentCalls, d.ConcurrentCalls, m.ConcurrentCalls)
	q.BackgroundCalls = within(q.BackgroundCalls, d.BackgroundCalls, m.BackgroundCalls)
	return t
}

// within is a wish, or else the default, but no more than the bound; 0 is none.
func within[N ~int64](wish, byDefault, most N) N {
	if wish == 0 {
		wish = byDefault
	}
	if most > 0 && (wish == 0 || wish > most) {
		return most
	}
	return wish
}

// of are the terms that a session lives by.
func (b *Bounds) of(s *State) Terms {
	if s.Terms != nil {
		return *s.Terms
	}
	return b.Within(Terms{})
}

// over returns why a session has to end now and since when, empty if it has not. A
// session that calls use is not idle.
func (t *Terms) over(s *State, inUse bool, now time.Time) (reason string, since time.Time) {
	if since = s.LastUsed.Add(t.IdleTimeout); t.IdleTimeout > 0 && !inUse && !now.Before(since) {
		return EndedIdle, since
	}
	if since = s.Created.Add(t.TTL); t.TTL > 0 && !now.Before(since) {
		return EndedTTL, since
	}
	return "", time.Time{}
}

// QuotaError tells which quota of a session is used up. It is
// errdefs.ErrResourceExhausted.
type QuotaError struct {
	ID    string // of the session
	Of    string // "calls", "cpu time", "calls at once", "background calls"
	Limit string
	// Lasting: nothing in the session will run any more. Otherwise there is room
	// again when one of its calls has ended.
	Lasting bool
}

// Error implements error.
func (e *QuotaError) Error() string {
	if e.Lasting {
		return fmt.Sprintf("session %q has used up its quota of %s (%s)", e.ID, e.Of, e.Limit)
	}
	return fmt.Sprintf("session %q has as many %s as it may (%s): try again when one of them has ended", e.ID, e.Of, e.Limit)
}

// Unwrap makes it an errdefs.ErrResourceExhausted.
func (e *QuotaError) Unwrap() error { return errdefs.ErrResourceExhausted }

// usedUp returns which lasting quota leaves no room for one more call, beside the
// calls that were let through and are not counted yet; nil: none.
func (q *Quota) usedUp(s *State, waiting int64) *QuotaError {
	switch {
	case q.Calls > 0 && int64(s.Counts["allow"])+waiting >= q.Calls:
		return &QuotaError{ID: s.ID, Of: "calls", Limit: fmt.Sprint(q.Calls), Lasting: true}
	case q.CPUTime > 0 && s.CPU >= q.CPUTime:
		return &QuotaError{ID: s.ID, Of: "cpu time", Limit: q.CPUTime.String(), Lasting: true}
	}
	return nil
}

// Validate reports what is wrong with terms as a host wishes for them, wrapping
// errdefs.ErrInvalidArgument.
func (t *Terms) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
	}
	switch t.Kind {
	case "", Persistent, Ephemeral:
		if t.Dir != "" || t.Tree != nil {
			return bad("a session of the kind %q has a workspace of its own: leave out directory and worktree", t.Kind)
		}
	case Directory:
		if t.Dir == "" || t.Tree != nil {
			return bad("a session that is bound to a directory needs the directory and no worktree")
		}
		if t.Quota.DiskBytes > 0 {
			return bad("a disk quota cannot bound a directory of the machine: leave it out, or use another kind of workspace")
		}
	case Worktree:
		if t.Tree == nil || t.Dir != "" {
			return bad("a session on a git worktree needs its repository and no directory")
		}
	default:
		return bad("the kind %q of a workspace is not known: want persistent, ephemeral, directory or git_worktree", t.Kind)
	}
	q := &t.Quota
	if min(int64(t.TTL), int64(t.IdleTimeout), q.Calls, int64(q.CPUTime), q.DiskBytes, q.ConcurrentCalls, q.BackgroundCalls) < 0 {
		return bad("a limit of the session is below 0: want 0 for the default, or more")
	}
	if q.DiskBytes > 0 && q.DiskBytes < diskimage.MinBytes {
		return bad("a disk quota of %d bytes is too small for a file system: want 0 for the default, or at least %d", q.DiskBytes, diskimage.MinBytes)
	}
	return validateHostLabels(t.HostLabels)
}

func validateHostLabels(labels map[string]string) error {
	if len(labels) > maxHostLabels {
		return fmt.Errorf("host labels: %d, at most %d: %w", len(labels), maxHostLabels, errdefs.ErrInvalidArgument)
	}
	for key, value := range labels {
		if !plainLabel(key, 1, maxHostLabelKey) {
			return fmt.Errorf("host label %.80q: want a name of 1 to %d bytes without control characters: %w", key, maxHostLabelKey, errdefs.ErrInvalidArgument)
		}
		if !plainLabel(value, 0, maxHostLabelValue) {
			return fmt.Errorf("host label %q: want a value of at most %d bytes without control characters: %w", key, maxHostLabelValue, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

func plainLabel(text string, least, most int) bool {
	if len(text) < least || len(text) > most || !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}
