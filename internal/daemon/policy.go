package daemon

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/logging"
	"github.com/sandgate/sandgate/internal/policy"
)

// recordedPolicy is the policy engine; each revision that is loaded or refused
// is also told to the journal and the log.
type recordedPolicy struct {
	*policy.Engine
	journal *journal.Journal
	logger  *zap.Logger
}

// policyData is the data of a policy record.
type policyData struct {
	Revision string `json:"revision,omitempty"` // in force; empty: none
	Source   string `json:"source"`
	Error    string `json:"error,omitempty"` // why the newest one was refused
}

// Reload loads the policy again. A good one is in force also when the journal
// could not be told, which is then the error.
func (p *recordedPolicy) Reload(ctx context.Context) error {
	loadErr := p.Engine.Reload(ctx)
	if err := p.record(ctx); err != nil && loadErr == nil {
		return err
	}
	return loadErr
}

// record tells journal and log of the status as it is now.
func (p *recordedPolicy) record(ctx context.Context) error {
	s := p.Status()
	if s.Error != "" {
		p.logger.Error("policy was refused", zap.String(logging.KeyPath, s.Source), zap.String("error", s.Error), zap.String(logging.KeyRevision, s.Revision))
	} else {
		p.logger.Info("policy is in force", zap.String(logging.KeyPath, s.Source), zap.String(logging.KeyRevision, s.Revision), zap.Strings("profiles", s.Profiles))
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), recordBudget, errBudget)
	defer cancel()
	entry := journal.Entry{Kind: journal.KindPolicy, Data: policyData{Revision: s.Revision, Source: s.Source, Error: s.Error}}
	if _, err := p.journal.Append(ctx, entry); err != nil {
		return fmt.Errorf("record the policy in the journal: %w", err)
	}
	return nil
}
