package grant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/sandgate/sandgate/internal/journal"
)

// RecordKind is the kind of the records of grants.
const RecordKind journal.Kind = "grant"

const (
	eventGiven   = "given"
	eventRevoked = "revoked"
)

// eventData is the data of a grant record.
type eventData struct {
	Event string `json:"event"`
	Grant *Grant `json:"grant,omitempty"` // given
	ID    string `json:"id,omitempty"`    // revoked
	By    string `json:"by,omitempty"`
}

// Permit is what the record of an intent says, under "permit", of why a call runs
// that policy asked about. Calls that no grant and no approval let run have none.
type Permit struct {
	ApprovalID string   `json:"approval_id,omitempty"`
	Approvers  []string `json:"approvers,omitempty"`
	Grants     []string `json:"grants,omitempty"`
}

var permitMember = []byte(`"permit":{`)

// PermitOf reads the permit of an intent's data; nil where there is none.
func PermitOf(data []byte) (*Permit, error) {
	if !bytes.Contains(data, permitMember) {
		return nil, nil //nolint:nilnil // most calls need none
	}
	var d struct {
		Permit *Permit `json:"permit"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("intent record: %w", err)
	}
	return d.Permit, nil
}

// notRunOutcome is the outcome that a journal has of an intent that came to nothing.
const notRunOutcome = "NOT_RUN"

// CameToNothing reports whether the data of an outcome say that the call did not run.
func CameToNothing(data []byte) (bool, error) {
	if !bytes.Contains(data, []byte(notRunOutcome)) {
		return false, nil
	}
	var d struct {
		Outcome string `json:"outcome"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return false, fmt.Errorf("outcome record: %w", err)
	}
	return d.Outcome == notRunOutcome, nil
}

// Fold is what the journal tells of grants. It is a journal.Fold.
type Fold struct {
	grants map[string]*Grant
	// open are the grants that calls use of which the end is not known yet, by caller and call id.
	open map[string][]string
}

var _ journal.Fold = (*Fold)(nil)

// NewFold returns an empty fold.
func NewFold() *Fold { return &Fold{grants: map[string]*Grant{}, open: map[string][]string{}} }

// Name implements journal.Fold.
func (f *Fold) Name() string { return "grants" }

// Apply implements journal.Fold.
func (f *Fold) Apply(rec journal.Record) error {
	switch rec.Kind {
	case RecordKind:
		return f.event(rec)
	case journal.KindIntent:
		permit, err := PermitOf(rec.Data)
		if err != nil || permit == nil || len(permit.Grants) == 0 {
			return err
		}
		for _, id := range permit.Grants {
			if g := f.grants[id]; g != nil {
				g.Used++
				g.LastUsed = rec.Time
			}
		}
		f.open[callOf(rec)] = permit.Grants
	case journal.KindOutcome:
		if len(f.open) == 0 { // nearly always
			return nil
		}
		used, ok := f.open[callOf(rec)]
		if !ok {
			return nil
		}
		delete(f.open, callOf(rec))
		nothing, err := CameToNothing(rec.Data)
		if err != nil || !nothing {
			return err
		}
		for _, id := range used {
			if g := f.grants[id]; g != nil {
				g.Used--
			}
		}
	case journal.KindSession:
		return f.session(rec)
	}
	return nil
}

func (f *Fold) event(rec journal.Record) error {
	var data eventData
	if err := json.Unmarshal(rec.Data, &data); err != nil {
		return fmt.Errorf("grant record: %w", err)
	}
	switch {
	case data.Event == eventGiven && data.Grant != nil && data.Grant.ID != "":
		f.forget(rec.Time)
		g := data.Grant.clone()
		f.grants[g.ID] = &g
	case data.Event == eventRevoked:
		delete(f.grants, data.ID)
	default:
		return fmt.Errorf("grant record: the event %q is not known", data.Event)
	}
	return nil
}

func (f *Fold) session(rec journal.Record) error {
	if len(f.grants) == 0 {
		return nil
	}
	ended, err := SessionEnded(rec.Data)
	if err != nil || !ended {
		return err
	}
	maps.DeleteFunc(f.grants, func(_ string, g *Grant) bool {
		return g.Caller == rec.Caller && g.Session == rec.Session && g.Session != ""
	})
	return nil
}

// SessionEnded reports whether the data of a session record say that it ended.
func SessionEnded(data []byte) (bool, error) {
	var d struct {
		Event string `json:"event"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return false, fmt.Errorf("session record: %w", err)
	}
	return d.Event == "ended", nil
}

// forget drops the grants that were over when a record was written.
func (f *Fold) forget(now time.Time) {
	maps.DeleteFunc(f.grants, func(_ string, g *Grant) bool { return !now.Before(g.ExpiresAt) })
}

func callOf(rec journal.Record) string { return rec.Caller + "\x00" + rec.CallID }

// foldVersion is that of what Save writes.
const foldVersion = 1

type savedFold struct {
	Version int                 `json:"version"`
	Grants  []*Grant            `json:"grants"`
	Open    map[string][]string `json:"open"`
}

// Save implements journal.Fold.
func (f *Fold) Save(w io.Writer) error {
	saved := savedFold{Version: foldVersion, Open: f.open}
	for _, id := range slices.Sorted(maps.Keys(f.grants)) {
		saved.Grants = append(saved.Grants, f.grants[id])
	}
	if err := json.NewEncoder(w).Encode(saved); err != nil {
		return fmt.Errorf("save grants: %w", err)
	}
	return nil
}

// Load implements journal.Fold.
func (f *Fold) Load(r io.Reader) error {
	*f = *NewFold()
	var saved savedFold
	if err := json.NewDecoder(r).Decode(&saved); err != nil {
		return fmt.Errorf("load grants: %w", err)
	}
	if saved.Version != foldVersion {
		return fmt.Errorf("load grants: version %d, want %d", saved.Version, foldVersion)
	}
	for _, g := range saved.Grants {
		f.grants[g.ID] = g
	}
	if saved.Open != nil {
		f.open = saved.Open
	}
	return nil
}
