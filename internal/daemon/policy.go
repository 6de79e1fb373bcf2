package daemon

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/config"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/logging"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/bundle"
	"github.com/sandgate/sandgate/internal/policy/source"
	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/internal/version"
	"github.com/sandgate/sandgate/sandbox"
)

// maxKeyBytes bounds a file with a key.
const maxKeyBytes = 64 << 10

// recordedPolicy is the policy engine with its source; each revision that comes
// into force or is refused is also told to the journal and the log, and each
// decision to OPA's decision log if there is one.
type recordedPolicy struct {
	*policy.Engine
	source  *source.Source
	journal *journal.Journal
	logger  *zap.Logger
	logs    bool // OPA's decision log wants the decisions

	mu   sync.Mutex
	told policyData // what was recorded last
	err  error      // why the last one could not be recorded
}

// policyData is the data of a policy record.
type policyData struct {
	Revision string `json:"revision,omitempty"` // in force; empty: none
	Source   string `json:"source"`
	Error    string `json:"error,omitempty"` // why the newest one was refused
}

// openPolicy loads the policy. A bad one does not stop the daemon, which then
// says why it is not ready and denies everything.
func (d *Daemon) openPolicy(ctx context.Context, record *journal.Journal) (*recordedPolicy, error) {
	isolations := []string{string(sandbox.IsolationRunc)}
	for class := range d.cfg.Containerd.Runtimes {
		if class != isolations[0] {
			isolations = append(isolations, class)
		}
	}
	engine, err := policy.New(ctx, policy.Config{
		NoPolicy: true, Ceiling: limits(d.cfg.Ceiling), Isolations: isolations, Version: version.Get().Version,
		Environment: d.cfg.Environment,
	})
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	p := d.cfg.Policy
	keys, err := verification(p.Verification)
	if err != nil {
		return nil, err
	}
	rules := &recordedPolicy{
		Engine: engine, journal: record, logger: d.root.Named("policy"), logs: p.OPA.DecisionLogs != nil,
	}
	bundles := make(map[string]map[string]any, len(p.Bundles))
	for name, b := range p.Bundles {
		bundles[name] = b.Bundle()
	}
	id, err := os.Hostname()
	if err != nil {
		id = "sandgate"
	}
	rules.source, err = source.Open(ctx, source.Config{
		Dir: p.Dir, File: p.BundleFile, Bundles: bundles, Keys: keys, Engine: engine, Logger: rules.logger, Changed: rules.changed,
		Opa: source.OPA{
			Services: p.Services, DecisionLogs: p.OPA.DecisionLogs, Status: p.OPA.Status, Labels: p.OPA.Labels,
			DataDir: d.cfg.PolicyCache(), ID: "sandgate-" + id,
		},
	})
	if err != nil {
		return nil, err
	}
	d.later("policy", func(ctx context.Context) error {
		rules.source.Close(ctx)
		return nil
	})
	if err := rules.recorded(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.reload = rules.Reload
	d.mu.Unlock()
	return rules, nil
}

// verification reads the keys that signatures are verified with; nil where there
// are none.
func verification(c config.Verification) (*bundle.Verification, error) {
	if len(c.Keys) == 0 {
		return nil, nil //nolint:nilnil // no keys is a way to be configured
	}
	v := &bundle.Verification{Keys: map[string]bundle.Key{}, KeyID: c.KeyID, Scope: c.Scope}
	for id, key := range c.Keys {
		info, err := os.Stat(key.File)
		if err != nil {
			return nil, fmt.Errorf("policy.verification.keys.%s: %w", id, err)
		}
		if !info.Mode().IsRegular() || info.Size() > maxKeyBytes {
			return nil, fmt.Errorf("policy.verification.keys.%s: %s: want a file with a key", id, key.File)
		}
		text, err := os.ReadFile(key.File)
		if err != nil {
			return nil, fmt.Errorf("policy.verification.keys.%s: %w", id, err)
		}
		v.Keys[id] = bundle.Key{PEM: string(text), Algorithm: key.Algorithm}
	}
	if err := v.Check(); err != nil {
		return nil, fmt.Errorf("policy.verification: %w", err)
	}
	return v, nil
}

// Decide decides a call, and tells OPA's decision log if there is one.
func (p *recordedPolicy) Decide(ctx context.Context, in policy.Input) policy.Decision {
	if !p.logs {
		return p.Engine.Decide(ctx, in)
	}
	in = p.Complete(in)
	began := time.Now()
	d := p.Engine.Decide(ctx, in)
	p.source.Decided(in, d, time.Since(began))
	return d
}

// Reload loads the policy again. A good one is in force also when the journal
// could not be told, which is then the error.
func (p *recordedPolicy) Reload(ctx context.Context) error {
	if err := p.source.Reload(ctx); err != nil {
		return err
	}
	return p.recorded()
}

// SourceState tells how the source of the policy is doing.
func (p *recordedPolicy) SourceState() source.State { return p.source.State() }

// figures are what the metrics show of the policy.
func (p *recordedPolicy) figures() telemetry.Policy {
	s := p.source.State()
	return telemetry.Policy{
		Ready: p.Ready() == nil, Activations: s.Activations, Refusals: s.Refusals, Failing: s.LastError != "",
		Rules: s.Rules, LogDropped: s.LogDropped, LastSuccess: s.LastSuccess,
	}
}

// recorded is why the last change could not be recorded.
func (p *recordedPolicy) recorded() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// changed tells journal and log of the status as it is now, unless they know.
func (p *recordedPolicy) changed(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.Status()
	data := policyData{Revision: s.Revision, Source: s.Source, Error: s.Error}
	if data == p.told && p.err == nil {
		return
	}
	if s.Error != "" {
		p.logger.Error("policy was refused", zap.String(logging.KeyPath, s.Source), zap.String("error", s.Error), zap.String(logging.KeyRevision, s.Revision))
	} else {
		p.logger.Info("policy is in force", zap.String(logging.KeyPath, s.Source), zap.String(logging.KeyRevision, s.Revision), zap.Strings("profiles", s.Profiles))
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), recordBudget, errBudget)
	defer cancel()
	p.told, p.err = data, nil
	if _, err := p.journal.Append(ctx, journal.Entry{Kind: journal.KindPolicy, Data: data}); err != nil {
		p.err = fmt.Errorf("record the policy in the journal: %w", err)
		p.logger.Error("the policy could not be recorded", zap.Error(err))
	}
}
