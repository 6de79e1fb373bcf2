// Package session keeps the trust domains of callers: for each named session its
// workspace directory, pinned profile, counters, labels and last calls. The gate
// uses it for every call that names a session and rebuilds it from the journal
// at start. It must never give one caller anything of another's session: the
// caller's id is part of every key.
package session

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
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

// Recent is one of the last calls of a session.
type Recent struct {
	Seq     int64  `json:"seq"`
	Tool    string `json:"tool"`
	Outcome string `json:"outcome"`
	Digest  string `json:"digest"`
	// At is when it was decided; of a call of the journal, when that was recorded.
	At time.Time `json:"at,omitzero"`
}

// State is a copy of what is known of a session at one moment.
type State struct {
	Caller  string         `json:"caller"`
	ID      string         `json:"id"`
	Profile string         `json:"profile"`
	Seq     int64          `json:"seq"`    // calls decided so far
	Counts  map[string]int `json:"counts"` // by decision: allow, ask, deny
	Labels  []string       `json:"labels"` // sorted
	Recent  []Recent       `json:"recent"` // oldest first
	// LastUsed is when the last call was decided.
	LastUsed time.Time `json:"last_used"`
}

func (s State) clone() State {
	counts := make(map[string]int, len(s.Counts))
	maps.Copy(counts, s.Counts)
	s.Counts, s.Labels, s.Recent = counts, slices.Clone(s.Labels), slices.Clone(s.Recent)
	return s
}

// Session is one session in use. It is safe for concurrent use.
type Session struct {
	name    name
	dir     string // holds workspace/ and, while evicted, state.json
	prepare func(dir string) error
	users   int // calls that use it now; guarded by the manager's mutex

	mu    sync.Mutex
	state State
	ended bool
}

// Snapshot returns a copy of the state.
func (s *Session) Snapshot() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.clone()
}

// Labelled reports whether the session's labels are still those of a snapshot.
func (s *Session) Labelled(labels []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Equal(s.state.Labels, labels)
}

// WorkspaceDir is the session's workspace on this machine. It need not exist
// before EnsureWorkspace.
func (s *Session) WorkspaceDir() string { return filepath.Join(s.dir, "workspace") }

// EnsureWorkspace makes the workspace directory if there is none. It fails with
// errdefs.ErrFailedPrecondition once the session has ended.
func (s *Session) EnsureWorkspace() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return fmt.Errorf("session %q has ended: %w", s.state.ID, errdefs.ErrFailedPrecondition)
	}
	dir := s.WorkspaceDir()
	if info, err := os.Lstat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make session directory: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make workspace: %w", err)
	}
	if s.prepare == nil {
		return nil
	}
	if err := s.prepare(dir); err != nil {
		return errors.Join(fmt.Errorf("prepare workspace: %w", err), os.Remove(dir))
	}
	return nil
}

// Decided counts a decision ("allow", "ask", "deny"), puts its labels on the
// session and returns the call's number in the session. Labels over the bound
// are an error: a label that is lost would loosen the policy.
func (s *Session) Decided(decision string, labels []string, at time.Time) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	merged := s.state.Labels
	for _, l := range labels {
		if i, ok := slices.BinarySearch(merged, l); !ok {
			merged = slices.Insert(slices.Clone(merged), i, l)
		}
	}
	if len(merged) > maxLabels {
		return 0, fmt.Errorf("session %q would have %d labels, at most %d: %w", s.state.ID, len(merged), maxLabels, errdefs.ErrResourceExhausted)
	}
	s.state.Labels = merged
	s.state.Counts[decision]++
	s.state.Seq++
	s.state.LastUsed = at
	return s.state.Seq, nil
}

// CanLabel reports whether Decided would take these labels.
func (s *Session) CanLabel(labels []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.state.Labels)
	if len(labels) == 0 {
		return nil
	}
	for _, l := range slices.Compact(slices.Sorted(slices.Values(labels))) {
		if _, ok := slices.BinarySearch(s.state.Labels, l); !ok {
			n++
		}
	}
	if n > maxLabels {
		return fmt.Errorf("session %q would have %d labels, at most %d: %w", s.state.ID, n, maxLabels, errdefs.ErrResourceExhausted)
	}
	return nil
}

// Finished remembers a call among the last ones.
func (s *Session) Finished(r Recent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Recent = append(s.state.Recent, r)
	if extra := len(s.state.Recent) - maxRecent; extra > 0 {
		s.state.Recent = slices.Delete(s.state.Recent, 0, extra)
	}
}
