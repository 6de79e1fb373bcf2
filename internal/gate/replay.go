package gate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/spool"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// unknownMessage tells a model what an UNKNOWN call means for it.
const unknownMessage = "sandgate stopped while this call was running: it may have had effects; look before you do it again, and use a new call id"

// Replay is what the journal tells of earlier calls: a journal.Fold. Give it to
// journal.Open and then to New, which takes it over. It is used by one goroutine.
type Replay struct {
	mem   Memory
	calls map[callKey]*past
	order []placed // of calls, oldest first; may name forgotten ones
	whole []*past  // those with a whole result, oldest first
	ran   forgottenIDs
}

// placed is a call in the order in which they began.
type placed struct {
	key callKey
	seq int64 // of the past that is meant
}

// past is one call of the journal.
type past struct {
	seq                   int64 // of its intent or decision
	digest, tool, session string
	detached              bool
	at                    time.Time // when it began, or was refused
	endedAt               time.Time
	decision              policy.Decision // until it has ended
	ended                 bool
	result                *Result  // nil before the end, and when only brief is kept
	brief                 *summary // nil while result is there
	stored                outputs
}

// maxWhole is how many results of the journal are held whole until the gate
// takes them over: a long journal must not fill the memory.
const maxWhole = 4096

// NewReplay returns an empty Replay, which remembers as many calls and ids as mem says.
func NewReplay(mem Memory) *Replay {
	mem = mem.withDefaults()
	return &Replay{mem: mem, calls: make(map[callKey]*past), ran: newForgotten(mem.Forgotten)}
}

var _ journal.Fold = (*Replay)(nil)

// Name implements journal.Fold.
func (r *Replay) Name() string { return "calls" }

// Apply implements journal.Fold.
func (r *Replay) Apply(rec journal.Record) error {
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
	p := &past{
		seq: rec.Seq, digest: data.Digest, tool: data.Tool, session: rec.Session, detached: data.Detached, at: rec.Time,
		decision: boundedDecision(data.Decision),
	}
	if rec.Kind == journal.KindDecision {
		r.settle(p, Result{
			CallID: key.id, Outcome: data.Outcome, ExitCode: -1, IsError: true, Digest: data.Digest, Decision: p.decision,
			Message: "not run: " + reasonsText(data.Decision.Reasons),
		}, rec.Time)
	}
	r.calls[key] = p
	r.order = append(r.order, placed{key, p.seq})
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
	var err error
	if p.stored.result, err = spool.ParseDigest(data.OutputDigest); err != nil {
		return fmt.Errorf("outcome record: %w", err)
	}
	if p.stored.log, err = spool.ParseDigest(data.LogDigest); err != nil {
		return fmt.Errorf("outcome record: %w", err)
	}
	r.settle(p, data.result(key.id, p.decision), rec.Time)
	return nil
}

// result is what the record of an outcome tells of it.
func (d *outcomeData) result(id string, decision policy.Decision) Result {
	r := Result{
		CallID: id, Outcome: d.Outcome, ExitCode: d.ExitCode, Signal: d.Signal, Message: d.Message, IsError: d.IsError,
		Stdout: sandbox.Output{TotalBytes: d.StdoutBytes}, Stderr: sandbox.Output{TotalBytes: d.StderrBytes},
		Duration: Durations{Queue: fromMillis(d.QueueMs), Decide: fromMillis(d.DecideMs), Start: fromMillis(d.StartMs), Run: fromMillis(d.RunMs)},
		Decision: decision, Receipt: d.Receipt, Digest: d.Digest, Redactions: d.Redactions, Effects: d.Effects,
	}
	if u := d.Usage; u != nil {
		r.Usage = sandbox.Usage{
			CPUUser: fromMillis(u.CPUUserMs), CPUSystem: fromMillis(u.CPUSystemMs),
			MemoryPeakBytes: u.MemoryPeakBytes, PidsPeak: u.PidsPeak, OOMKills: u.OOMKills,
			PidsLimitHits: -1, IOReadBytes: -1, IOWriteBytes: -1, BackgroundKilled: -1, // not recorded
		}
	}
	return r
}

// settle gives a call its result, and shortens that of an older one for it.
func (r *Replay) settle(p *past, res Result, at time.Time) {
	p.ended, p.endedAt, p.result, p.decision = true, at, &res, policy.Decision{}
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
	if len(r.order) <= 2*r.mem.Calls {
		return
	}
	keep := r.order[:0]
	have := map[string]int{}
	for key := range r.calls {
		have[key.caller]++
	}
	share := fairShare(have, r.mem.Calls)
	for _, o := range r.order {
		p, ok := r.calls[o.key]
		switch {
		case !ok || p.seq != o.seq: // gone, or begun anew since
		case have[o.key.caller] > share && p.ended:
			if mayHaveRun(p.outcome()) {
				r.ran.add(o.key)
			}
			delete(r.calls, o.key)
			have[o.key.caller]--
		default:
			keep = append(keep, o)
		}
	}
	r.order = slices.Clip(keep)
}

// outcome is that of a call that has ended.
func (p *past) outcome() Outcome {
	if p.result != nil {
		return p.result.Outcome
	}
	return p.brief.outcome
}

// sorted are the calls in the order in which they began.
func (r *Replay) sorted() []placed {
	out := make([]placed, 0, len(r.calls))
	for key, p := range r.calls {
		out = append(out, placed{key, p.seq})
	}
	slices.SortFunc(out, func(a, b placed) int { return cmp.Compare(a.seq, b.seq) })
	return out
}

// recover puts the replayed calls into the ledger; those without an outcome
// become UNKNOWN in the journal first.
func (g *Gate) recover(ctx context.Context, r *Replay) error {
	all := r.sorted()
	g.ledger.ran = r.ran
	left := g.findCuts()
	defer left.close(g)
	unknown := 0
	for _, o := range all {
		p := r.calls[o.key]
		if !p.ended {
			unknown++
			p.result, p.endedAt = &Result{
				CallID: o.key.id, Outcome: Outcome(unknownOutcome), ExitCode: -1, IsError: true, Message: unknownMessage,
				Decision: p.decision, Digest: p.digest,
			}, g.now()
			store := g.cut(left, o.key, p)
			failpoint.At(failpoint.GateRecoverBefore)
			_, err := g.cfg.Journal.Append(ctx, journal.Entry{
				Kind: journal.KindOutcome, Caller: o.key.caller, Session: p.session, CallID: o.key.id, Data: p.stored.in(outcomeOf(*p.result)),
			})
			failpoint.At(failpoint.GateRecoverAfter)
			if err != nil {
				return fmt.Errorf("record that call %q is unknown: %w", o.key.id, err)
			}
			store(ctx)
		} else if p.stored.log != (spool.Digest{}) {
			g.cut(left, o.key, p)(ctx)
		}
		g.ledger.restore(o.key, p)
	}
	if len(all) > 0 {
		g.log.Info("journal replayed", zap.Int("calls", len(all)), zap.Int("unknown", unknown))
	}
	*r = *NewReplay(r.mem)
	return nil
}

// restore puts a call of an earlier life of the daemon among the finished ones.
func (l *ledger) restore(key callKey, p *past) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.shelf(key.caller).entry(key, p.digest, p.session)
	e.tool, e.detached, e.began, e.ended, e.stored = p.tool, p.detached, p.at, p.endedAt, p.stored
	l.add(e)
	l.remember(e)
	if p.result != nil {
		l.keepWhole(e, *p.result)
	} else {
		l.keepBrief(e, p.brief)
	}
	e.finished.Store(true)
	l.forget()
	l.bound(key.caller)
}

func fromMillis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
