package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/sandbox/changeset"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// Commits is what the journal tells of transactional calls that have not ended: a
// journal.Fold. Give it to journal.Open and then to New, which ends them. It is used
// by one goroutine.
type Commits struct {
	open map[callKey]*openCommit
	// ended are the stages of the last calls that have ended, oldest first: the daemon
	// may have died before it took them away.
	ended []string
}

// maxEndedStages is more than calls can be between their outcome and the removal of
// their stage at once.
const maxEndedStages = 1024

// openCommit is a transactional call without an outcome.
type openCommit struct {
	Caller  string      `json:"caller"`
	CallID  string      `json:"call_id"`
	Session string      `json:"session,omitempty"`
	Stage   string      `json:"stage"`            // where its changes are staged, if they are
	Commit  *commitData `json:"commit,omitempty"` // nil: it was not about to be made
}

// NewCommits returns an empty fold.
func NewCommits() *Commits { return &Commits{open: map[callKey]*openCommit{}} }

var _ journal.Fold = (*Commits)(nil)

// Name implements journal.Fold.
func (c *Commits) Name() string { return "commits" }

// stageMember is how the data of an intent tells that the call is transactional.
var stageMember = []byte(`"stage":`)

// Apply implements journal.Fold.
func (c *Commits) Apply(rec journal.Record) error {
	key := callKey{rec.Caller, rec.CallID}
	switch rec.Kind {
	case journal.KindIntent:
		if !bytes.Contains(rec.Data, stageMember) {
			return nil
		}
		var data struct {
			Cage struct {
				Stage string `json:"stage"`
			} `json:"cage"`
		}
		if err := json.Unmarshal(rec.Data, &data); err != nil {
			return fmt.Errorf("intent record: %w", err)
		}
		if data.Cage.Stage != "" {
			c.open[key] = &openCommit{Caller: rec.Caller, CallID: rec.CallID, Session: rec.Session, Stage: data.Cage.Stage}
		}
	case journal.KindCommit:
		var data commitData
		if err := json.Unmarshal(rec.Data, &data); err != nil {
			return fmt.Errorf("commit record: %w", err)
		}
		c.open[key] = &openCommit{Caller: rec.Caller, CallID: rec.CallID, Session: rec.Session, Stage: data.Stage, Commit: &data}
	case journal.KindOutcome:
		if o := c.open[key]; o != nil {
			delete(c.open, key)
			return c.end(o, rec.Data)
		}
	}
	return nil
}

// end remembers the stage of a call that has ended, unless it is all that is left of
// changes of which nobody knows what became of them.
func (c *Commits) end(o *openCommit, outcome json.RawMessage) error {
	var data struct {
		Effects *Effects `json:"effects"`
	}
	if len(outcome) > 0 {
		if err := json.Unmarshal(outcome, &data); err != nil {
			return fmt.Errorf("outcome record: %w", err)
		}
	}
	if data.Effects != nil && data.Effects.State == EffectsUnknown {
		return nil
	}
	c.ended = append(c.ended, o.Stage)
	if extra := len(c.ended) - maxEndedStages; extra > 0 {
		c.ended = slices.Delete(c.ended, 0, extra)
	}
	return nil
}

// commitsDocument is the saved form.
type commitsDocument struct {
	Version int           `json:"version"`
	Open    []*openCommit `json:"open"`
	Ended   []string      `json:"ended,omitempty"`
}

const commitsVersion = 1

// Save implements journal.Fold.
func (c *Commits) Save(w io.Writer) error {
	return json.NewEncoder(w).Encode(commitsDocument{commitsVersion, c.sorted(), c.ended})
}

// Load implements journal.Fold.
func (c *Commits) Load(r io.Reader) error {
	c.open, c.ended = map[callKey]*openCommit{}, nil
	raw, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("load commits: %w", err)
	}
	var doc commitsDocument
	if err := json.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("load commits: %w", err)
	}
	if doc.Version != commitsVersion {
		return fmt.Errorf("load commits: version %d, want %d", doc.Version, commitsVersion)
	}
	for _, o := range doc.Open {
		c.open[callKey{o.Caller, o.CallID}] = o
	}
	c.ended = doc.Ended
	return nil
}

// left are the stages of calls that have ended, without those that another call uses
// under the same id.
func (c *Commits) left() []string {
	used := map[string]bool{}
	for _, o := range c.open {
		used[o.Stage] = true
	}
	return slices.DeleteFunc(slices.Clone(c.ended), func(stage string) bool { return used[stage] })
}

func (c *Commits) sorted() []*openCommit {
	out := make([]*openCommit, 0, len(c.open))
	for _, o := range c.open {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *openCommit) int {
		return strings.Compare(a.Caller+"\x00"+a.CallID, b.Caller+"\x00"+b.CallID)
	})
	return out
}

// endCommits ends the commits that were interrupted, and records what came of them;
// the replay then knows those calls. What was staged and not about to be committed
// is taken away, and those calls become UNKNOWN like all others.
func (g *Gate) endCommits(ctx context.Context, c *Commits, r *Replay) error {
	for _, stage := range c.left() {
		if err := changeset.Remove(stage); err != nil {
			g.log.Warn("staged changes not removed", zap.String("path", stage), zap.Error(err))
		}
	}
	for _, o := range c.sorted() {
		log := g.log.With(zap.String("call_id", o.CallID))
		if o.Commit == nil {
			if err := changeset.Remove(o.Stage); err != nil {
				log.Warn("staged changes not removed", zap.String("path", o.Stage), zap.Error(err))
			}
			continue
		}
		failpoint.At(failpoint.CommitRecover)
		data, stuck := endCommit(o.Commit)
		raw, err := json.Marshal(data)
		if err != nil {
			return fmt.Errorf("encode the outcome of call %q: %w", o.CallID, err)
		}
		entry := journal.Entry{Kind: journal.KindOutcome, Caller: o.Caller, Session: o.Session, CallID: o.CallID, Data: data}
		seq, err := g.cfg.Journal.Append(ctx, entry)
		if err != nil {
			return fmt.Errorf("record the commit of call %q: %w", o.CallID, err)
		}
		failpoint.At(failpoint.CommitRecovered)
		if r != nil {
			rec := journal.Record{Seq: seq, Time: g.now(), Kind: entry.Kind, Caller: o.Caller, Session: o.Session, CallID: o.CallID, Data: raw}
			if err := r.Apply(rec); err != nil {
				return err
			}
		}
		log.Info("interrupted commit ended", zap.String("state", string(data.Effects.State)))
		if stuck { // what was there is still in it
			continue
		}
		if err := changeset.Remove(o.Stage); err != nil {
			log.Warn("staged changes not removed", zap.String("path", o.Stage), zap.Error(err))
		}
	}
	c.open, c.ended = map[callKey]*openCommit{}, nil
	return nil
}

// endCommit makes the changes of a commit that was interrupted, or undoes those that
// were made, and says what the outcome of its call is.
func endCommit(c *commitData) (_ outcomeData, stuck bool) {
	data := c.Outcome
	e := data.Effects
	if e == nil {
		e = &Effects{Digest: c.Digest}
		data.Effects = e
	}
	unknown := func(paths []string, err error) {
		e.unknown(paths, err)
		data.Outcome, data.ExitCode, data.IsError, data.Message = Outcome(unknownOutcome), -1, true, e.Reasons[0].Message
	}
	staged, err := changeset.Open(c.Ref)
	if err != nil {
		unknown([]string{c.Dir}, fmt.Errorf("sandgate stopped while it made them, and they cannot be found again: %w", err))
		return data, true
	}
	err = staged.Commit()
	_ = staged.Close() // directories that were only read
	var half *changeset.StuckError
	switch {
	case err == nil:
		return data, false
	case errors.As(err, &half):
		unknown(half.Paths, err)
		return data, true
	}
	e.drop(ruleNotApplied, "sandgate stopped while it made the changes, and they cannot be made any more: "+err.Error(), conflictRemedy)
	res := Result{Effects: e, Message: data.Message}
	res.dropped()
	data.IsError, data.Message = true, res.Message
	return data, false
}
