// Package replay decides recorded calls once more, by another policy, and tells
// what would change: which calls it would let through that were stopped, and the
// other way round. `sandgate policy replay` and `sandgate policy diff` are its
// fronts. It must never run a call, and never guess: what a record does not hold
// any more makes the call not replayable, with the reason.
package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/sandgate/sandgate/internal/policy"
)

// Class says how a decision changes.
type Class string

// The classes.
const (
	Same          Class = "same"
	Widened       Class = "widened"   // the candidate is less strict
	Tightened     Class = "tightened" // the candidate is stricter
	Altered       Class = "altered"   // as strict, but with other rules or demands
	NotReplayable Class = "not_replayable"
)

// Call is one recorded call.
type Call struct {
	Place   string // file:line
	Tool    string
	Caller  string
	Session string
	Text    string // for people: the command, or the arguments
	// Input builds the document that is decided. An error that is an Unreplayable
	// says why there is none.
	Input func() (Document, error)
	// Before is the recorded decision; nil where there is none.
	Before *policy.Decision
}

// Document is an input in one of two forms.
type Document struct {
	Input *policy.Input   // built anew
	Raw   json.RawMessage // as it was stored
	// Approximate says what is guessed of a document that was built anew. Empty: nothing.
	Approximate string
}

// Unreplayable says why a call cannot be decided again: "masked", "truncated".
type Unreplayable struct{ Reason string }

// Error implements error.
func (u *Unreplayable) Error() string { return "not replayable: " + u.Reason }

// Options of Run.
type Options struct {
	// Candidate is the policy that is tried.
	Candidate *policy.Engine
	// Baseline is what it is compared with; nil: the recorded decisions.
	Baseline *policy.Engine
	// Examples is how many calls are kept of each group; zero means three.
	Examples int
	// Workers is how many calls are decided at a time; zero means one per processor.
	Workers int
}

// Example is one call of a group.
type Example struct {
	Place  string   `json:"place"`
	Text   string   `json:"text"`
	Before string   `json:"before"`
	After  string   `json:"after"`
	Rules  []string `json:"rules"` // of the candidate
}

// Group counts calls that change in the same way.
type Group struct {
	Class    Class     `json:"class"`
	Change   string    `json:"change"` // "deny destructive-command -> allow read-only-commands"
	Tool     string    `json:"tool"`
	Caller   string    `json:"caller"`
	Count    int       `json:"count"`
	Examples []Example `json:"examples"`
}

// Report is what would change.
type Report struct {
	Candidate     string         `json:"candidate"`
	Baseline      string         `json:"baseline"`
	Calls         int            `json:"calls"`
	Same          int            `json:"same"`
	Widened       int            `json:"widened"`
	Tightened     int            `json:"tightened"`
	Altered       int            `json:"altered"`
	NotReplayable int            `json:"not_replayable"`
	Reasons       map[string]int `json:"not_replayable_reasons"`
	// Approximate counts calls of which a part of the input is a guess, with what it is.
	Approximate map[string]int `json:"approximate"`
	Groups      []Group        `json:"groups"`
	// Dropped counts calls of groups beyond the most that are kept.
	Dropped  int           `json:"dropped,omitempty"`
	Duration time.Duration `json:"duration_ns"`
}

// Changed counts the calls that are not decided the same.
func (r *Report) Changed() int { return r.Widened + r.Tightened + r.Altered }

// maxGroups bounds the memory of a report.
const maxGroups = 2_000

// Run decides every call that source yields and classifies the change. Memory
// does not grow with the number of calls. source is called once and must stop
// when yield returns false; its error ends the run.
func Run(ctx context.Context, source func(yield func(Call) bool) error, opts Options) (Report, error) {
	begin := time.Now()
	if opts.Workers <= 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	if opts.Examples <= 0 {
		opts.Examples = 3
	}
	if opts.Candidate == nil {
		return Report{}, errors.New("replay: no candidate policy")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	calls := make(chan Call, 4*opts.Workers)
	tallies := make([]*tally, opts.Workers)
	var wg sync.WaitGroup
	for i := range tallies {
		tallies[i] = newTally(opts.Examples)
		wg.Go(func() {
			for c := range calls {
				if err := tallies[i].decide(ctx, c, opts); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	err := source(func(c Call) bool {
		select {
		case calls <- c:
			return true
		case <-ctx.Done():
			return false
		}
	})
	close(calls)
	wg.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return Report{}, err
	}
	report := merge(tallies, opts)
	report.Duration = time.Since(begin)
	return report, nil
}

// decide classifies one call. The error ends the run.
func (t *tally) decide(ctx context.Context, c Call, opts Options) error {
	doc, err := c.Input()
	var why *Unreplayable
	switch {
	case errors.As(err, &why):
		t.skip(c, why.Reason)
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", c.Place, err)
	}
	before := c.Before
	if opts.Baseline != nil {
		if before, err = decideBy(ctx, opts.Baseline, doc); err != nil {
			t.skip(c, "input is no document")
			return nil
		}
	}
	if before == nil {
		t.skip(c, "no recorded decision: use --baseline")
		return nil
	}
	if doc.Approximate != "" {
		t.report.Approximate[doc.Approximate]++
	}
	after, err := decideBy(ctx, opts.Candidate, doc)
	if err != nil {
		t.skip(c, "input is no document")
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t.add(c, classify(before, after, opts.Baseline != nil), before, after)
	return nil
}

func decideBy(ctx context.Context, e *policy.Engine, doc Document) (*policy.Decision, error) {
	if doc.Input != nil {
		d := e.Decide(ctx, *doc.Input)
		return &d, nil
	}
	value, err := policy.ParseInput(doc.Raw)
	if err != nil {
		return nil, err
	}
	d := e.DecideTraced(ctx, value)
	return &d, nil
}
