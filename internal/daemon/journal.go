package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/audit"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/journal/merkle"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/internal/version"
)

// state is all that the daemon knows from before: what is folded from the journal.
type state struct {
	calls     *gate.Replay
	sessions  *session.Fold
	approvals *approval.Fold
	grants    *grant.Fold
	commits   *gate.Commits
}

// newState makes an empty one. The journal makes more of them, for its snapshots.
func (d *Daemon) newState() *state {
	return &state{
		calls: gate.NewReplay(d.memory()), sessions: session.NewFold(),
		approvals: approval.NewFold(), grants: grant.NewFold(), commits: gate.NewCommits(),
	}
}

// folds are the parts of the state. A new one is a new field.
func (s *state) folds() []journal.Fold {
	return []journal.Fold{s.calls, s.sessions, s.approvals, s.grants, s.commits}
}

// openJournal restores the state, and records that the daemon started and, at the
// end, that it stopped. The line tells it whether calls wait.
func (d *Daemon) openJournal(ctx context.Context, st *state, measure *telemetry.Recorder, line *admission.Line) (*journal.Journal, error) {
	c := d.cfg.Journal
	logger := d.root.Named("journal")
	key, err := merkle.LoadKey(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("journal.key_file: %w", err)
	}
	began := time.Now()
	record, err := journal.Open(c.Path, journal.Options{
		Observe: measure.Committed, Crowded: line.Crowded, Logger: logger,
		SegmentBytes: c.SegmentBytes.Int64(), SegmentAge: c.SegmentAge.Std(), ReserveBytes: c.Reserve.Int64(),
		Restore: st.folds(), Folds: func() []journal.Fold { return d.newState().folds() },
		KeepFor: time.Duration(c.KeepDays) * 24 * time.Hour, KeepBytes: c.KeepBytes.Int64(),
		Closed: func(s journal.Segment) {
			if err := audit.Index(s); err != nil {
				logger.Warn("a segment could not be indexed", zap.Error(err))
			}
		},
		Key: key, CheckpointRecords: c.CheckpointRecords, CheckpointEvery: c.CheckpointInterval.Std(),
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	started := false
	d.later("journal", func(ctx context.Context) error {
		if !started {
			return record.Close()
		}
		ctx, cancel := context.WithTimeoutCause(ctx, recordBudget, errBudget)
		defer cancel()
		_, err := record.Append(ctx, journal.Entry{Kind: journal.KindStop})
		return errors.Join(err, record.Close())
	})
	found := record.Recovery()
	logger.Info("journal is open", zap.Int64("records", found.LastSeq), zap.Int64("read", found.Records),
		zap.Int("segments", len(record.Segments())), zap.Duration("took", time.Since(began)), zap.String("public_key", key.Public()))
	if cut := found.TornBytes; cut > 0 {
		d.logger.Warn("journal had a torn tail, which was cut", zap.Int64("cut_bytes", cut))
	}
	start := journal.Entry{Kind: journal.KindStart, Data: map[string]any{"version": version.Get().String()}}
	if _, err := record.Append(ctx, start); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	started = true
	return record, nil
}
