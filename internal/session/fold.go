package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sandgate/sandgate/internal/journal"
)

// Events of session records.
const (
	eventCreated = "created"
	eventMade    = "made" // its workspace, where it was created without
	eventEnded   = "ended"
)

// Events of session records that tell what a host did with the files. They change
// nothing that a session is.
const (
	EventUploaded        = "uploaded"         // one file
	EventUnpacked        = "unpacked"         // a tar stream
	EventSnapshot        = "snapshot"         // was taken
	EventRestored        = "restored"         // is about to be put back
	EventSnapshotRemoved = "snapshot_removed" // is about to be removed
)

// EventData is the data of a record of the kind journal.KindSession: a session
// was made by CreateSession, or has ended. A session that its first call made has
// no record of its making: that call's intent or decision is it.
type EventData struct {
	Event   string `json:"event"`
	Profile string `json:"profile,omitempty"` // of created
	Terms   *Terms `json:"terms,omitempty"`   // of created
	Making  bool   `json:"making,omitempty"`  // of created: it is none before it is made as well
	Reason  string `json:"reason,omitempty"`  // of ended
	By      string `json:"by,omitempty"`      // of ended: who closed it, where that is not its caller

	// Labels and From are of a fork's creation: what it inherits, and from which session
	// of the same caller, Snapshot from which of its snapshots.
	Labels []string `json:"labels,omitempty"`
	From   string   `json:"from,omitempty"`

	// What was done with files.
	Snapshot string `json:"snapshot,omitempty"`
	Path     string `json:"path,omitempty"`
	Digest   string `json:"digest,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"`
	Files    int64  `json:"files,omitempty"`
}

// Created is the data of the record that a session was made.
func Created(profile string, terms *Terms) EventData {
	return EventData{Event: eventCreated, Profile: profile, Terms: terms}
}

// WithFiles is Created for a session whose workspace has something in it from the
// beginning. There is no such session unless it is Made as well: one of which the daemon
// died in between has ended.
func WithFiles(profile string, terms *Terms) EventData {
	data := Created(profile, terms)
	data.Making = true
	return data
}

// Made is the data of the record that such a session has its workspace.
func Made() EventData { return EventData{Event: eventMade} }

// HasEnded is the data of the record that a session has ended.
func HasEnded(reason, by string) EventData {
	return EventData{Event: eventEnded, Reason: reason, By: by}
}

// maxEnds bounds how many ended sessions are remembered; the oldest are forgotten
// first, and their ids are then as new.
const maxEnds = 4096

// foldVersion is that of Save's form.
const foldVersion = 1

// Fold is what the journal tells of all sessions. It implements journal.Fold;
// NewManager takes it over.
type Fold struct {
	open map[name]*State
	ends []End // oldest first
}

var _ journal.Fold = (*Fold)(nil)

// NewFold returns an empty Fold.
func NewFold() *Fold { return &Fold{open: make(map[name]*State)} }

// Name implements journal.Fold.
func (f *Fold) Name() string { return "sessions" }

// callRecord is what of the gate's records bears on a session.
type callRecord struct {
	Outcome  string `json:"outcome"`
	Digest   string `json:"digest"`
	Tool     string `json:"tool"`
	Profile  string `json:"profile"`
	Decision struct {
		Labels []string `json:"labels"`
	} `json:"decision"`
	Usage struct {
		User   float64 `json:"cpu_user_ms"`
		System float64 `json:"cpu_system_ms"`
	} `json:"usage"`
}

const (
	outcomeUnknown  = "UNKNOWN" // of a call whose end is not known yet
	outcomeApproval = "APPROVAL_REQUIRED"
)

// Apply implements journal.Fold.
func (f *Fold) Apply(rec journal.Record) error {
	switch rec.Kind {
	case journal.KindStart:
		f.restarted(rec.Time)
	case journal.KindSession:
		return f.event(rec)
	case journal.KindIntent, journal.KindDecision, journal.KindOutcome:
		if rec.Session != "" {
			return f.call(rec)
		}
	}
	return nil
}

func (f *Fold) event(rec journal.Record) error {
	var data EventData
	if err := json.Unmarshal(rec.Data, &data); err != nil {
		return fmt.Errorf("session record: %w", err)
	}
	n := name{rec.Caller, rec.Session}
	switch data.Event {
	case eventCreated:
		f.forgetEnd(n)
		s := newState(rec.Caller, rec.Session, data.Profile, data.Terms, rec.Time)
		s.Labels, s.Making = data.Labels, data.Making
		f.open[n] = &s
	case eventMade:
		if s := f.open[n]; s != nil {
			s.Making = false
		}
	case eventEnded:
		f.end(n, data.Reason, rec.Time)
	}
	return nil
}

func (f *Fold) call(rec journal.Record) error {
	var data callRecord
	if err := json.Unmarshal(rec.Data, &data); err != nil {
		return fmt.Errorf("%s record: %w", rec.Kind, err)
	}
	n := name{rec.Caller, rec.Session}
	s := f.open[n]
	if rec.Kind == journal.KindOutcome {
		if s != nil { // else it ended meanwhile
			s.corrected(data.Digest, data.Outcome)
			s.CPU += cpuOf(data.Usage.User, data.Usage.System)
			s.used(rec.Time)
		}
		return nil
	}
	if s == nil {
		f.forgetEnd(n)
		made := newState(rec.Caller, rec.Session, data.Profile, nil, rec.Time)
		s = &made
		f.open[n] = s
	}
	counted, outcome := "allow", outcomeUnknown
	if rec.Kind == journal.KindDecision {
		counted, outcome, data.Decision.Labels = "deny", data.Outcome, nil
		if data.Outcome == outcomeApproval {
			counted = "ask"
		}
	}
	if err := s.decided(counted, data.Decision.Labels, rec.Time); err != nil {
		return fmt.Errorf("%s record: %w", rec.Kind, err)
	}
	s.finished(Recent{Seq: s.Seq, Tool: data.Tool, Outcome: outcome, Digest: data.Digest, At: rec.Time})
	return nil
}

func cpuOf(userMs, systemMs float64) time.Duration {
	return time.Duration((userMs + systemMs) * float64(time.Millisecond))
}

// restarted ends what does not outlive the daemon.
func (f *Fold) restarted(at time.Time) {
	gone := map[name]string{}
	for n, s := range f.open {
		switch {
		case s.Making:
			gone[n] = EndedFailed
		case s.Kind() == Ephemeral:
			gone[n] = EndedRestart
		}
	}
	for _, n := range slices.SortedFunc(maps.Keys(gone), name.compare) {
		f.end(n, gone[n], at)
	}
}

func (f *Fold) end(n name, reason string, at time.Time) {
	kind := Persistent
	if s := f.open[n]; s != nil {
		kind = s.Kind()
	}
	if reason == "" {
		reason = EndedClosed // of a record without one, by an older sandgate
	}
	delete(f.open, n)
	f.forgetEnd(n)
	f.ends = append(f.ends, End{Caller: n.caller, ID: n.id, At: at, Reason: reason, Kind: kind})
	if extra := len(f.ends) - maxEnds; extra > 0 {
		f.ends = slices.Delete(f.ends, 0, extra)
	}
}

func (f *Fold) forgetEnd(n name) {
	f.ends = slices.DeleteFunc(f.ends, func(e End) bool { return e.Caller == n.caller && e.ID == n.id })
}

// saved is the form of a snapshot.
type saved struct {
	Version int      `json:"v"`
	Open    []*State `json:"open"` // by caller and id
	Ends    []End    `json:"ends"` // oldest first
}

// Save implements journal.Fold.
func (f *Fold) Save(w io.Writer) error {
	out := saved{Version: foldVersion, Open: make([]*State, 0, len(f.open)), Ends: f.ends}
	for _, s := range f.open {
		out.Open = append(out.Open, s)
	}
	slices.SortFunc(out.Open, func(a, b *State) int { return name{a.Caller, a.ID}.compare(name{b.Caller, b.ID}) })
	if err := json.NewEncoder(w).Encode(out); err != nil {
		return fmt.Errorf("save sessions: %w", err)
	}
	return nil
}

// Load implements journal.Fold.
func (f *Fold) Load(r io.Reader) error {
	*f = *NewFold()
	var in saved
	dec := json.NewDecoder(r)
	if err := dec.Decode(&in); err != nil {
		return fmt.Errorf("load sessions: %w", err)
	}
	if in.Version != foldVersion {
		return fmt.Errorf("load sessions: the form has the version %d: want %d", in.Version, foldVersion)
	}
	for _, s := range in.Open {
		if s == nil || s.Caller == "" || s.ID == "" {
			*f = *NewFold()
			return errors.New("load sessions: a session has no caller or id")
		}
		if s.Counts == nil {
			s.Counts = map[string]int{}
		}
		f.open[name{s.Caller, s.ID}] = s
	}
	f.ends = in.Ends
	return nil
}

// name is what a session is found by.
type name struct{ caller, id string }

func (n name) compare(o name) int {
	if c := strings.Compare(n.caller, o.caller); c != 0 {
		return c
	}
	return strings.Compare(n.id, o.id)
}
