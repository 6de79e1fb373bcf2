package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	opabundle "github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/plugins"
	"github.com/open-policy-agent/opa/v1/plugins/bundle"
	"github.com/open-policy-agent/opa/v1/plugins/logs"
	"github.com/open-policy-agent/opa/v1/plugins/status"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tracing"

	"github.com/sandgate/sandgate/internal/policy"
)

// maxBundleBytes bounds each file of a bundle that is fetched.
const maxBundleBytes = 16 << 20

// stopWithin is how long OPA's plugins have to send what they still have.
const stopWithin = 5 * time.Second

// errStop is the cause of a context that ended because the plugins did not stop.
var errStop = errors.New("OPA's plugins took too long to stop")

// remote is OPA's plugin manager with the plugins that are configured.
type remote struct {
	manager *plugins.Manager
	store   *gatedStore
	logs    *logs.Plugin // nil: no decision log
}

// openPlugins starts OPA's plugins where there is work for one.
func (s *Source) openPlugins(ctx context.Context) error {
	o := s.cfg.Opa
	if s.kind != KindBundles && o.DecisionLogs == nil && o.Status == nil {
		return nil
	}
	raw, err := s.opaConfig()
	if err != nil {
		return err
	}
	registerBounds()
	store := &gatedStore{Store: inmem.New(), writing: map[uint64]bool{}}
	manager, err := plugins.New(raw, o.ID, store,
		plugins.Logger(newOPALogger(s.logger)), plugins.ConsoleLogger(newOPALogger(s.logger.Named("opa"))),
		plugins.WithDistributedTracingOpts(tracing.NewOptions(bounded{})),
		plugins.GracefulShutdownPeriod(int(stopWithin.Seconds())),
		plugins.WithParserOptions(ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true}))
	if err != nil {
		return fmt.Errorf("policy services: %w", err)
	}
	s.remote = &remote{manager: manager, store: store}
	if err := errors.Join(s.addBundles(), s.addLogs(), s.addStatus()); err != nil {
		manager.Stop(ctx)
		s.remote = nil
		return err
	}
	if err := manager.Start(ctx); err != nil {
		manager.Stop(ctx)
		s.remote = nil
		return fmt.Errorf("start OPA's plugins: %w", err)
	}
	return nil
}

// opaConfig is the configuration in OPA's words. Environment variables are not
// put in: a secret is named by the file that it is in.
func (s *Source) opaConfig() ([]byte, error) {
	o := s.cfg.Opa
	cfg := map[string]any{"services": o.Services, "labels": o.Labels}
	if len(o.Services) == 0 {
		delete(cfg, "services")
	}
	if o.DataDir != "" {
		cfg["persistence_directory"] = o.DataDir
	}
	if s.cfg.Keys != nil {
		keys := map[string]any{}
		for id, key := range s.cfg.Keys.Keys {
			keys[id] = map[string]any{"key": key.PEM, "algorithm": key.Algorithm, "scope": s.cfg.Keys.Scope}
		}
		cfg["keys"] = keys
	}
	return json.Marshal(cfg)
}

func (s *Source) addBundles() error {
	if s.kind != KindBundles {
		return nil
	}
	list := map[string]any{}
	for name, b := range s.cfg.Bundles {
		b = maps.Clone(b)
		if _, said := b["persist"]; !said {
			b["persist"] = true
		}
		b["size_limit_bytes"] = maxBundleBytes
		if s.cfg.Keys != nil {
			b["signing"] = map[string]any{"keyid": s.cfg.Keys.KeyID, "scope": s.cfg.Keys.Scope}
		}
		list[name] = b
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("policy.bundles: %w", err)
	}
	trigger := plugins.DefaultTriggerMode
	m := s.remote.manager
	cfg, err := bundle.NewConfigBuilder().WithBytes(raw).WithServices(m.Services()).
		WithKeyConfigs(m.PublicKeys()).WithTriggerMode(&trigger).Parse()
	if err != nil {
		return fmt.Errorf("policy.bundles: %w", err)
	}
	plugin := bundle.New(cfg, m)
	plugin.RegisterBulkListener("sandgate", s.bundlesChanged)
	m.Register(bundle.Name, plugin)
	s.remote.store.gate = s.prepare
	for name := range s.cfg.Bundles {
		s.state.Bundles = append(s.state.Bundles, Bundle{Name: name})
	}
	slices.SortFunc(s.state.Bundles, func(a, b Bundle) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func (s *Source) addLogs() error {
	if s.cfg.Opa.DecisionLogs == nil {
		return nil
	}
	raw, err := json.Marshal(s.cfg.Opa.DecisionLogs)
	if err != nil {
		return fmt.Errorf("policy.opa.decision_logs: %w", err)
	}
	m := s.remote.manager
	cfg, err := logs.NewConfigBuilder().WithBytes(raw).WithServices(m.Services()).WithLogger(m.Logger()).Parse()
	if err != nil || cfg == nil {
		return fmt.Errorf("policy.opa.decision_logs: %w", orNothing(err))
	}
	s.remote.logs = logs.New(cfg, m)
	m.Register(logs.Name, s.remote.logs)
	s.log = newLogging(s.remote, s.logger)
	return nil
}

func (s *Source) addStatus() error {
	if s.cfg.Opa.Status == nil {
		return nil
	}
	raw, err := json.Marshal(s.cfg.Opa.Status)
	if err != nil {
		return fmt.Errorf("policy.opa.status: %w", err)
	}
	m := s.remote.manager
	cfg, err := status.NewConfigBuilder().WithBytes(raw).WithServices(m.Services()).Parse()
	if err != nil || cfg == nil {
		return fmt.Errorf("policy.opa.status: %w", orNothing(err))
	}
	plugin := status.New(cfg, m)
	m.Register(status.Name, plugin)
	if b := bundle.Lookup(m); b != nil {
		b.RegisterBulkListener(status.Name, plugin.BulkUpdateBundleStatus)
	}
	return nil
}

func orNothing(err error) error {
	if err == nil {
		return errors.New("says neither a service nor console: true")
	}
	return err
}

func (r *remote) close(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, stopWithin, errStop)
	defer cancel()
	r.manager.Stop(ctx)
}

// setPolicy gives OPA's plugins the policy of a directory or a file with its data,
// whose data.system.log masks and drops what is logged.
func (r *remote) setPolicy(ctx context.Context, p policy.Package) error {
	data, err := p.Data()
	if err != nil {
		return err
	}
	return storage.Txn(ctx, r.store, storage.WriteParams, func(txn storage.Transaction) error {
		if err := r.store.Write(ctx, txn, storage.AddOp, storage.RootPath, data); err != nil {
			return err
		}
		old, err := r.store.ListPolicies(ctx, txn)
		if err != nil {
			return err
		}
		for _, name := range old {
			if err := r.store.DeletePolicy(ctx, txn, name); err != nil {
				return err
			}
		}
		for name, body := range p.Files {
			if strings.HasSuffix(name, ".rego") && !strings.HasSuffix(name, "_test.rego") {
				if err := r.store.UpsertPolicy(ctx, txn, name, body); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// prepare is the gate before OPA's store: what the bundles hold together becomes
// the policy or is refused, before OPA takes the new bundle for active. As long
// as not every bundle has come, nothing decides.
func (s *Source) prepare(ctx context.Context, store storage.Store, txn storage.Transaction) (func(), error) {
	names, err := opabundle.ReadBundleNamesFromStore(ctx, store, txn)
	if storage.IsNotFound(err) || (err == nil && len(names) < len(s.cfg.Bundles)) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	p, etags, err := snapshot(ctx, store, txn, names)
	if err != nil {
		return nil, err
	}
	keepTags := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := range s.state.Bundles {
			s.state.Bundles[i].ETag = etags[s.state.Bundles[i].Name]
		}
	}
	if id, err := p.ID(); err == nil && id == s.cfg.Engine.Status().Revision {
		return keepTags, nil // a server without etags sends the same again
	}
	candidate, err := s.cfg.Engine.Prepare(ctx, p)
	if err != nil {
		return nil, blamed(p, names, err)
	}
	return func() {
		candidate.Activate()
		keepTags()
		s.count(nil)
		s.cfg.Changed(ctx)
	}, nil
}

// blamed says of which bundles a policy is that is refused: OPA tells of the one
// that came last, and the mistake may be in another. OPA would leave out the words
// around an error of its own that is wrapped; so none is.
func blamed(p policy.Package, names []string, err error) error {
	if len(names) < 2 {
		return err
	}
	text := err.Error()
	at := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return !strings.Contains(text, p.Name+"/"+name+"/")
	})
	text = strings.ReplaceAll(text, p.Name+"/", "")
	if len(at) == 0 {
		return fmt.Errorf("the policy that the bundles %s make together: %s", strings.Join(names, ", "), text)
	}
	return fmt.Errorf("the mistake is in the bundle %s: %s", strings.Join(at, " or "), text)
}

// snapshot reads what the store holds: all modules and data of the bundles.
func snapshot(ctx context.Context, store storage.Store, txn storage.Transaction, names []string) (policy.Package, map[string]string, error) {
	slices.Sort(names)
	p := policy.Package{Name: "bundles " + strings.Join(names, ", "), Files: map[string][]byte{}}
	etags := map[string]string{}
	var revisions []string
	for _, name := range names {
		revision, err := opabundle.ReadBundleRevisionFromStore(ctx, store, txn, name)
		if err != nil && !storage.IsNotFound(err) {
			return p, nil, err
		}
		switch {
		case revision == "":
		case len(names) == 1:
			revisions = append(revisions, revision)
		default:
			revisions = append(revisions, name+"="+revision)
		}
		if etags[name], err = opabundle.ReadBundleEtagFromStore(ctx, store, txn, name); err != nil && !storage.IsNotFound(err) {
			return p, nil, err
		}
	}
	p.Revision = strings.Join(revisions, ",")
	modules, err := store.ListPolicies(ctx, txn)
	if err != nil {
		return p, nil, err
	}
	for _, name := range modules {
		body, err := store.GetPolicy(ctx, txn, name)
		if err != nil {
			return p, nil, err
		}
		p.Files[strings.TrimPrefix(name, "/")] = slices.Clone(body)
	}
	root, err := store.Read(ctx, txn, storage.RootPath)
	if err != nil {
		return p, nil, err
	}
	if data, ok := root.(map[string]any); ok {
		data = maps.Clone(data)
		delete(data, "system") // OPA's own: manifests of the bundles
		if p.Files["data.json"], err = json.Marshal(data); err != nil {
			return p, nil, err
		}
	}
	return p, etags, nil
}

// bundlesChanged keeps what OPA's bundle plugin tells after each request.
func (s *Source) bundlesChanged(list map[string]*bundle.Status) {
	s.mu.Lock()
	var refused, away error
	for i := range s.state.Bundles {
		b, now := &s.state.Bundles[i], list[s.state.Bundles[i].Name]
		if now == nil {
			continue
		}
		b.Revision, b.Type, b.Size = now.ActiveRevision, now.Type, int64(now.Size)
		b.LastRequest, b.LastDownload, b.LastActivation = now.LastRequest, now.LastSuccessfulDownload, now.LastSuccessfulActivation
		b.Error = errorText(now)
		switch {
		case b.Error == "":
		case unreachable(now):
			away = fmt.Errorf("bundle %s: %s", b.Name, b.Error)
		default:
			refused = fmt.Errorf("bundle %s: %s", b.Name, b.Error)
		}
	}
	former := s.state.LastError
	err := errors.Join(refused, away)
	if err == nil {
		s.state.LastError, s.state.LastSuccess = "", time.Now().UTC()
	} else {
		s.state.LastError, s.state.LastErrorAt = err.Error(), time.Now().UTC()
		if refused != nil && former != err.Error() {
			s.state.Refusals++
		}
	}
	s.mu.Unlock()
	s.tell(former, err, refused)
}

// tell passes a change on to the engine's status. A server that cannot be reached
// is no refusal: what decides goes on, and only without a policy is it said.
func (s *Source) tell(former string, err, refused error) {
	now := ""
	if err != nil {
		now = err.Error()
	}
	if now == former {
		return
	}
	engine := s.cfg.Engine
	switch {
	case refused != nil || (err != nil && engine.Ready() != nil):
		engine.Refuse("bundles", err)
	case err == nil && engine.Ready() == nil:
		engine.Recovered()
	}
	s.cfg.Changed(context.Background())
}

func errorText(b *bundle.Status) string {
	const most = 5
	texts := []string{b.Message}
	for _, e := range b.Errors[:min(len(b.Errors), most)] {
		texts = append(texts, e.Error())
	}
	if len(b.Errors) > most {
		texts = append(texts, "and others")
	}
	return strings.Join(texts, "; ")
}

// unreachable tells a server that gave no bundle from a bundle that is bad.
func unreachable(b *bundle.Status) bool {
	return b.HTTPCode != "" || strings.HasPrefix(b.Message, "request failed") || strings.HasPrefix(b.Message, "failed to pull")
}

// gatedStore is OPA's store with a gate before each commit of a bundle: what the
// gate refuses is rolled back, and OPA's bundle plugin reports it and keeps the
// bundle before.
type gatedStore struct {
	storage.Store
	gate func(context.Context, storage.Store, storage.Transaction) (func(), error) // nil: open

	mu      sync.Mutex
	writing map[uint64]bool // transactions that write
}

// NewTransaction implements storage.Store.
func (g *gatedStore) NewTransaction(ctx context.Context, params ...storage.TransactionParams) (storage.Transaction, error) {
	txn, err := g.Store.NewTransaction(ctx, params...)
	if err == nil && len(params) > 0 && params[0].Write {
		g.mu.Lock()
		g.writing[txn.ID()] = true
		g.mu.Unlock()
	}
	return txn, err
}

func (g *gatedStore) forget(txn storage.Transaction) (wrote bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	wrote = g.writing[txn.ID()]
	delete(g.writing, txn.ID())
	return wrote
}

// Commit implements storage.Store.
func (g *gatedStore) Commit(ctx context.Context, txn storage.Transaction) error {
	if !g.forget(txn) || g.gate == nil {
		return g.Store.Commit(ctx, txn)
	}
	activate, err := g.gate(ctx, g.Store, txn)
	if err != nil {
		g.Store.Abort(ctx, txn)
		return err
	}
	if err := g.Store.Commit(ctx, txn); err != nil {
		return err
	}
	activate()
	return nil
}

// Abort implements storage.Store.
func (g *gatedStore) Abort(ctx context.Context, txn storage.Transaction) {
	g.forget(txn)
	g.Store.Abort(ctx, txn)
}
