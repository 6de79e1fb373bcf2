package session

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/containerd/errdefs"
)

// Kind says what files a session works on.
type Kind string

// Kinds of workspaces.
const (
	// Persistent is a directory of the daemon's own that lives as long as the session,
	// over restarts of the daemon. It is removed when the session ends.
	Persistent Kind = "persistent"
	// Ephemeral is a directory like it, but the whole session ends with the daemon:
	// after a restart, orderly or not, it has ended and its files are gone.
	Ephemeral Kind = "ephemeral"
	// Directory is a directory of the machine; its files stay when the session ends and
	// belong to its owner, whoever the program in the cell believes to be.
	Directory Kind = "directory"
	// Worktree is a working tree of a repository of the machine on a branch of its own.
	Worktree Kind = "git_worktree"
)

// Terms are what a session was made with. Durations and quotas of a session that
// CreateSession made are what its host wished for within the configuration then;
// one that its first call made has none of its own and lives by the configuration
// as it is (see [Bounds]).
type Terms struct {
	Kind Kind `json:"kind"`
	// Dir is the directory of the machine, absolute and without symlinks; of
	// Directory only.
	Dir string `json:"dir,omitempty"`
	// Tree is the working tree; of Worktree only.
	Tree *Tree `json:"worktree,omitempty"`
	// HostLabels are the host's own words for the session. Nobody has checked them.
	HostLabels map[string]string `json:"host_labels,omitempty"`
	// TTL is how long the session lives from when it was made, IdleTimeout how long
	// without a call. 0: for ever.
	TTL         time.Duration `json:"ttl_ns,omitempty"`
	IdleTimeout time.Duration `json:"idle_timeout_ns,omitempty"`
	Quota       Quota         `json:"quota,omitzero"`
}

// Tree says which working tree a session of the kind Worktree has.
type Tree struct {
	// Repository is its directory on the machine, absolute and without symlinks.
	Repository string `json:"repository"`
	// Branch is the new branch, Base the commit or branch it begins at.
	Branch string `json:"branch"`
	Base   string `json:"base"`
	// Keep puts the branch into the repository when the session ends.
	Keep bool `json:"keep,omitempty"`
}

// Quota bounds what a session uses in all its life, and at once. 0: no bound.
type Quota struct {
	// Calls is how many calls are let run.
	Calls int64 `json:"calls,omitempty"`
	// CPUTime is the processor time of all calls together. It is looked at before a
	// call, so that the last call may go over it by what its own limits allow.
	CPUTime time.Duration `json:"cpu_ns,omitempty"`
	// DiskBytes is how large the workspace may get.
	DiskBytes int64 `json:"disk_bytes,omitempty"`
	// ConcurrentCalls is how many calls of the session run or wait to run at once,
	// BackgroundCalls how many of them may be detached from their host.
	ConcurrentCalls int64 `json:"concurrent_calls,omitempty"`
	BackgroundCalls int64 `json:"background_calls,omitempty"`
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

// State is a copy of what is known of a session at one moment. What is in it is
// a function of the journal's records, by the methods of this file alone.
type State struct {
	Caller  string         `json:"caller"`
	ID      string         `json:"id"`
	Profile string         `json:"profile"`
	Terms   *Terms         `json:"terms,omitempty"` // nil: its first call made it; never written to
	Created time.Time      `json:"created,omitzero"`
	Seq     int64          `json:"seq"`    // calls decided so far
	Counts  map[string]int `json:"counts"` // by decision: allow, ask, deny
	Labels  []string       `json:"labels"` // sorted
	Recent  []Recent       `json:"recent"` // oldest first
	// CPU is the processor time that its calls have used.
	CPU time.Duration `json:"cpu_ns,omitempty"`
	// LastUsed is when the last call was decided or ended; of a session without one,
	// when it was made.
	LastUsed time.Time `json:"last_used"`
	// Making: its workspace is not there yet. If the daemon dies now it has never been.
	Making bool `json:"making,omitempty"`
}

func newState(caller, id, profile string, terms *Terms, at time.Time) State {
	return State{Caller: caller, ID: id, Profile: profile, Terms: terms, Created: at, Counts: map[string]int{}, LastUsed: at}
}

func (s State) clone() State {
	counts := make(map[string]int, len(s.Counts))
	maps.Copy(counts, s.Counts)
	s.Counts, s.Labels, s.Recent = counts, slices.Clone(s.Labels), slices.Clone(s.Recent)
	return s
}

// Kind is the kind of the workspace.
func (s *State) Kind() Kind {
	if s.Terms == nil || s.Terms.Kind == "" {
		return Persistent
	}
	return s.Terms.Kind
}

// HostLabels are the host's words for the session; not to be written to.
func (s *State) HostLabels() map[string]string {
	if s.Terms == nil {
		return nil
	}
	return s.Terms.HostLabels
}

// used notes that the session was used; the clock may have been set back.
func (s *State) used(at time.Time) {
	if at.After(s.LastUsed) {
		s.LastUsed = at
	}
}

// with returns the labels and others, sorted, each once.
func (s *State) with(labels []string) []string {
	merged := s.Labels
	for _, l := range labels {
		if i, ok := slices.BinarySearch(merged, l); !ok {
			merged = slices.Insert(slices.Clone(merged), i, l)
		}
	}
	return merged
}

// decided counts a decision and takes its labels.
func (s *State) decided(decision string, labels []string, at time.Time) error {
	merged := s.with(labels)
	if len(merged) > maxLabels {
		return tooManyLabels(s.ID, len(merged))
	}
	s.Labels = merged
	s.Counts[decision]++
	s.Seq++
	s.used(at)
	return nil
}

func tooManyLabels(id string, n int) error {
	return fmt.Errorf("session %q would have %d labels, at most %d: %w", id, n, maxLabels, errdefs.ErrResourceExhausted)
}

// finished remembers a call among the last ones.
func (s *State) finished(r Recent) {
	s.Recent = append(s.Recent, r)
	if extra := len(s.Recent) - maxRecent; extra > 0 {
		s.Recent = slices.Delete(s.Recent, 0, extra)
	}
}

// corrected sets the outcome of the last call of that digest: a replay learns of
// a call's end after its beginning.
func (s *State) corrected(digest, outcome string) {
	for i := len(s.Recent) - 1; i >= 0; i-- {
		if s.Recent[i].Digest == digest {
			s.Recent[i].Outcome = outcome
			return
		}
	}
}

// Reasons for which a session has ended.
const (
	EndedClosed  = "closed"  // somebody closed it
	EndedTTL     = "ttl"     // it had lived as long as it might
	EndedIdle    = "idle"    // it was not used for as long as it might
	EndedRestart = "restart" // it was ephemeral, and the daemon began anew
	EndedFailed  = "failed"  // its workspace could not be made
)

// End of a session that is no more.
type End struct {
	Caller string    `json:"caller"`
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Kind   Kind      `json:"kind"`
}

// Text says why the session is no more, as a host and a model are to read it.
func (e *End) Text() string {
	why := map[string]string{
		EndedClosed: "was closed", EndedTTL: "reached the end of its time to live", EndedIdle: "was not used for too long",
		EndedRestart: "was ephemeral and ended when sandgate was restarted", EndedFailed: "could not get its workspace",
	}[e.Reason]
	if why == "" {
		why = "ended"
	}
	return fmt.Sprintf("session %q %s at %s; its files and labels are gone: use another id, or make it anew with CreateSession",
		e.ID, why, e.At.UTC().Format(time.RFC3339))
}
