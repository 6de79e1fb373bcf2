package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// unknownMessage tells a model what an UNKNOWN call means for it.
const unknownMessage = "sandgate stopped while this call was running: it may have had effects; look before you do it again, and use a new call id"

// Replay gathers what the journal tells of earlier calls. Give its Add to
// journal.Open and itself to New. It is used by one goroutine.
type Replay struct {
	limit int
	calls map[callKey]*past
	order []callKey // of calls, oldest first; may name forgotten ones
	whole []*past   // those with a whole result, oldest first
}

// past is one call of the journal.
type past struct {
	seq                   int64 // of its intent or decision
	digest, tool, session string
	at                    time.Time
	decision              policy.Decision
	ended                 bool
	result                *Result  // nil before the end, and when only brief is kept
	brief                 *summary // nil while result is there
}

// maxWhole is how many results of the journal are held whole until the gate
// takes them over: a long journal must not fill the memory.
const maxWhole = 4096

// NewReplay returns an empty Replay. limit is how many calls are remembered; 0 is
// the default of Memory.Calls.
func NewReplay(limit int) *Replay {
	if limit == 0 {
		limit = Memory{}.withDefaults().Calls
	}
	return &Replay{limit: limit, calls: make(map[callKey]*past)}
}

// Add takes one record. Its error means that the record cannot be understood:
// the daemon must not go on as if it had not been.
func (r *Replay) Add(rec journal.Record) error {
	key := callKey{rec.Caller, rec.CallID}
	switch rec.Kind {
	case journal.KindIntent, journal.KindDecision:
		return r.begun(key, rec)
	case journal.KindOutcome:
		return r.ended(key, rec)
	}
	return nil
}

func (r *Replay) begun(key callKey, rec journal.Record) error {
	var data callData
	if err := json.Unmarshal(rec.Data, &data); err != nil {
		return fmt.Errorf("%s record: %w", rec.Kind, err)
	}
	p := &past{seq: rec.Seq, digest: data.Digest, tool: data.Tool, session: rec.Session, at: rec.Time, decision: boundedDecision(data.Decision)}
	if rec.Kind == journal.KindDecision {
		r.settle(p, Result{
			CallID: key.id, Outcome: data.Outcome, ExitCode: -1, IsError: true, Digest: data.Digest, Decision: p.decision,
			Message: "not run: " + reasonsText(data.Decision.Reasons),
		})
	}
	r.calls[key] = p
	r.order = append(r.order, key)
	r.forget()
	return nil
}

func (r *Replay) ended(key callKey, rec journal.Record) error {
	var data outcomeData
	if err := json.Unmarshal(rec.Data, &data); err != nil {
		return fmt.Errorf("outcome record: %w", err)
	}
	p, ok := r.calls[key]
	if !ok || p.ended {
		return nil // older than what is remembered
	}
	if data.Outcome == outcomeNotRun {
		delete(r.calls, key)
		return nil
	}
	res := Result{
		CallID: key.id, Outcome: data.Outcome, ExitCode: data.ExitCode, Signal: data.Signal, Message: data.Message, IsError: data.IsError,
		Stdout: sandbox.Output{TotalBytes: data.StdoutBytes}, Stderr: sandbox.Output{TotalBytes: data.StderrBytes},
		Duration: Durations{Queue: fromMillis(data.QueueMs), Decide: fromMillis(data.DecideMs), Start: fromMillis(data.StartMs), Run: fromMillis(data.RunMs)},
		Decision: p.decision, Receipt: data.Receipt, Digest: data.Digest,
	}
	if res.Message == "" {
		res.Message = "the output of this call is no longer kept: sandgate was restarted since"
	}
	r.settle(p, res)
	return nil
}

// settle gives a call its result, and shortens that of an older one for it.
func (r *Replay) settle(p *past, res Result) {
	p.ended, p.result, p.decision = true, &res, policy.Decision{}
	r.whole = append(r.whole, p)
	if len(r.whole) < 2*maxWhole {
		return
	}
	for _, old := range r.whole[:maxWhole] {
		old.brief, old.result = summarize(old.result), nil
	}
	r.whole = append([]*past(nil), r.whole[maxWhole:]...)
}

// forget keeps the bound, but never forgets a call whose end is not known.
func (r *Replay) forget() {
	if len(r.order) <= 2*r.limit {
		return
	}
	keep := r.order[:0]
	extra := len(r.order) - r.limit
	for i, key := range r.order {
		p, ok := r.calls[key]
		switch {
		case !ok:
		case i < extra && p.ended:
			delete(r.calls, key)
		default:
			keep = append(keep, key)
		}
	}
	r.order = slices.Clip(keep)
}

// recover puts the replayed calls into the ledger; those without an outcome
// become UNKNOWN in the journal first.
func (g *Gate) recover(ctx context.Context, r *Replay) error {
	keys := make([]callKey, 0, len(r.calls))
	for key := range r.calls {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b callKey) int { return int(r.calls[a].seq - r.calls[b].seq) })
	unknown := 0
	for _, key := range keys {
		p := r.calls[key]
		if !p.ended {
			unknown++
			p.result = &Result{
				CallID: key.id, Outcome: Outcome(unknownOutcome), ExitCode: -1, IsError: true, Message: unknownMessage,
				Decision: p.decision, Digest: p.digest,
			}
			failpoint.At(failpoint.GateRecoverBefore)
			_, err := g.cfg.Journal.Append(ctx, journal.Entry{
				Kind: journal.KindOutcome, Caller: key.caller, Session: p.session, CallID: key.id, Data: outcomeOf(*p.result),
			})
			failpoint.At(failpoint.GateRecoverAfter)
			if err != nil {
				return fmt.Errorf("record that call %q is unknown: %w", key.id, err)
			}
		}
		g.ledger.restore(key, p)
	}
	if len(keys) > 0 {
		g.log.Info("journal replayed", zap.Int("calls", len(keys)), zap.Int("unknown", unknown))
	}
	r.calls, r.order, r.whole = nil, nil, nil
	return nil
}

// restore puts a call of an earlier life of the daemon among the finished ones.
func (l *ledger) restore(key callKey, p *past) {
	e := &entry{key: key, digest: p.digest, tool: p.tool, session: p.session, began: p.at, done: make(chan struct{})}
	l.mu.Lock()
	l.calls[key] = e
	if p.result == nil {
		e.brief, e.finished, e.ended = p.brief, true, l.now()
		e.order = l.known.PushBack(e)
		close(e.done)
		l.forget()
	}
	l.mu.Unlock()
	if p.result != nil {
		l.finish(e, *p.result)
	}
}

func fromMillis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
