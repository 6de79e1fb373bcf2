package approval

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/journal"
)

// RecordKind is the kind of the records of approvals.
const RecordKind journal.Kind = "approval"

// Events of an approval.
const (
	eventAsked   = "asked"
	eventVoted   = "voted"   // an approver said yes
	eventDenied  = "denied"  // an approver said no
	eventExpired = "expired" // the time was over
	eventSilence = "silence" // the time was over, and policy takes that for a yes
	eventVoid    = "void"    // what would run is another thing
)

// eventData is the data of an approval record.
type eventData struct {
	Event    string    `json:"event"`
	ID       string    `json:"id"`
	Approval *Approval `json:"approval,omitempty"` // asked
	Vote     *Vote     `json:"vote,omitempty"`     // voted, silence
	By       string    `json:"by,omitempty"`       // denied
	Message  string    `json:"message,omitempty"`  // denied, void
	// ExpiresAt is until when it can be used, once this vote has made it approved.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// after is the approval as it is after the event. It changes neither.
func (a Approval) after(e *eventData) (Approval, error) {
	switch {
	case a.State == Void && slices.Contains([]string{eventVoted, eventSilence, eventDenied, eventExpired}, e.Event):
		// Its session ended while this was on its way: void it stays.
	case (e.Event == eventVoted || e.Event == eventSilence) && e.Vote != nil:
		a.Votes = append(slices.Clip(a.Votes), *e.Vote)
		if len(a.Votes) >= a.Quorum() || e.Event == eventSilence {
			a.State = Approved
		}
		if !e.ExpiresAt.IsZero() {
			a.ExpiresAt = e.ExpiresAt
		}
	case e.Event == eventDenied:
		a.State, a.By, a.Message = Denied, e.By, e.Message
	case e.Event == eventExpired:
		a.State = Expired
	case e.Event == eventVoid:
		a.State, a.Message = Void, e.Message
	default:
		return a, fmt.Errorf("approval record: the event %q is not known", e.Event)
	}
	return a, nil
}

// maxSettled is how many approvals that are over are remembered, oldest forgotten first.
const maxSettled = 1000

// Fold is what the journal tells of approvals. It is a journal.Fold.
type Fold struct {
	approvals map[string]Approval
	settled   []string // ids of those that are not live, oldest first; may name others
	// open are the approvals by which calls run of which the end is not known yet, by caller
	// and call id.
	open map[string]string
}

var _ journal.Fold = (*Fold)(nil)

// NewFold returns an empty fold.
func NewFold() *Fold { return &Fold{approvals: map[string]Approval{}, open: map[string]string{}} }

// Name implements journal.Fold.
func (f *Fold) Name() string { return "approvals" }

// Apply implements journal.Fold.
func (f *Fold) Apply(rec journal.Record) error {
	switch rec.Kind {
	case RecordKind:
		var data eventData
		if err := json.Unmarshal(rec.Data, &data); err != nil {
			return fmt.Errorf("approval record: %w", err)
		}
		return f.event(&data)
	case grant.RecordKind:
		return f.granted(rec.Data)
	case journal.KindIntent:
		permit, err := grant.PermitOf(rec.Data)
		if err != nil || permit == nil || permit.ApprovalID == "" {
			return err
		}
		if a, ok := f.approvals[permit.ApprovalID]; ok {
			a.State = Used
			f.put(a)
			f.open[callOf(rec)] = a.ID
		}
	case journal.KindOutcome:
		if len(f.open) == 0 { // nearly always
			return nil
		}
		id, ok := f.open[callOf(rec)]
		if !ok {
			return nil
		}
		delete(f.open, callOf(rec))
		nothing, err := grant.CameToNothing(rec.Data)
		if a, known := f.approvals[id]; known && nothing {
			if a.State = Approved; a.Lapsed {
				a.State, a.Message = Void, sessionOver
			}
			f.put(a)
		}
		return err
	case journal.KindSession:
		return f.session(rec)
	}
	return nil
}

func callOf(rec journal.Record) string { return rec.Caller + "\x00" + rec.CallID }

func (f *Fold) event(data *eventData) error {
	if data.Event == eventAsked && data.Approval != nil && data.Approval.ID != "" {
		f.put(*data.Approval)
		return nil
	}
	a, ok := f.approvals[data.ID]
	if !ok {
		return nil // older than what is remembered
	}
	after, err := a.after(data)
	if err != nil {
		return err
	}
	f.put(after)
	return nil
}

// granted notes which grant came of an approval.
func (f *Fold) granted(raw []byte) error {
	var data struct {
		Grant *grant.Grant `json:"grant"`
	}
	if err := json.Unmarshal(raw, &data); err != nil {
		return fmt.Errorf("grant record: %w", err)
	}
	if data.Grant == nil {
		return nil
	}
	if a, ok := f.approvals[data.Grant.ApprovalID]; ok {
		a.GrantID = data.Grant.ID
		f.put(a)
	}
	return nil
}

// sessionOver is why an approval is void whose session has ended.
const sessionOver = "its session has ended"

func (f *Fold) session(rec journal.Record) error {
	if len(f.approvals) == 0 {
		return nil
	}
	ended, err := grant.SessionEnded(rec.Data)
	if err != nil || !ended {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(f.approvals)) {
		a := f.approvals[id]
		if a.Caller != rec.Caller || a.Session != rec.Session || a.Session == "" {
			continue
		}
		if a.State.Live() {
			a.State, a.Message = Void, sessionOver
			f.put(a)
		} else if a.State == Used {
			a.Lapsed = true
			f.approvals[a.ID] = a
		}
	}
	return nil
}

// put keeps an approval, and of those that are over the last ones.
func (f *Fold) put(a Approval) {
	f.approvals[a.ID] = a
	if a.State.Live() {
		return
	}
	if f.settled = append(f.settled, a.ID); len(f.settled) < 2*maxSettled {
		return
	}
	keep := map[string]bool{}
	for _, id := range f.settled[len(f.settled)-maxSettled:] {
		keep[id] = true
	}
	for _, id := range f.settled[:len(f.settled)-maxSettled] {
		if a, ok := f.approvals[id]; ok && !a.State.Live() && !keep[id] {
			delete(f.approvals, id)
		}
	}
	f.settled = slices.Clone(f.settled[len(f.settled)-maxSettled:])
}

// foldVersion is that of what Save writes.
const foldVersion = 1

type savedFold struct {
	Version   int               `json:"version"`
	Approvals []Approval        `json:"approvals"`
	Settled   []string          `json:"settled"`
	Open      map[string]string `json:"open"`
}

// Save implements journal.Fold.
func (f *Fold) Save(w io.Writer) error {
	saved := savedFold{Version: foldVersion, Settled: f.settled, Open: f.open}
	for _, id := range slices.Sorted(maps.Keys(f.approvals)) {
		saved.Approvals = append(saved.Approvals, f.approvals[id])
	}
	if err := json.NewEncoder(w).Encode(saved); err != nil {
		return fmt.Errorf("save approvals: %w", err)
	}
	return nil
}

// Load implements journal.Fold.
func (f *Fold) Load(r io.Reader) error {
	*f = *NewFold()
	var saved savedFold
	if err := json.NewDecoder(r).Decode(&saved); err != nil {
		return fmt.Errorf("load approvals: %w", err)
	}
	if saved.Version != foldVersion {
		return fmt.Errorf("load approvals: version %d, want %d", saved.Version, foldVersion)
	}
	for _, a := range saved.Approvals {
		f.approvals[a.ID] = a
	}
	f.settled = saved.Settled
	if saved.Open != nil {
		f.open = saved.Open
	}
	return nil
}
