package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/bundle"
)

// Kinds of sources.
const (
	KindEmbedded  = "embedded"
	KindDirectory = "directory"
	KindFile      = "bundle-file"
	KindBundles   = "bundles"
)

// Config of a Source. At most one of Dir, File and Bundles is given; without any
// the embedded library is the policy, which never changes.
type Config struct {
	Dir     string                    // of Rego and data files
	File    string                    // a bundle
	Bundles map[string]map[string]any // OPA's `bundles`, by name
	Opa     OPA                       // for Bundles and the logs
	Keys    *bundle.Verification      // nil: signatures are not demanded
	Poll    time.Duration             // how often Dir and File are looked at besides being watched; zero: 10 s
	Settle  time.Duration             // how long a change must have rested; zero: 200 ms
	Changed func(context.Context)     // called after each attempt that changed the engine's status. Required.
	Engine  *policy.Engine            // Required.
	Logger  *zap.Logger               // Required.
}

// OPA is what is passed on to OPA's plugins as it is.
type OPA struct {
	Services     map[string]map[string]any // OPA's `services`
	DecisionLogs map[string]any            // OPA's `decision_logs`; nil: none
	Status       map[string]any            // OPA's `status`; nil: none
	Labels       map[string]string         // of every log entry and status
	DataDir      string                    // for what is kept over restarts. Required with Bundles.
	ID           string                    // of this daemon, in the logs
}

// State tells how a source is doing.
type State struct {
	Kind        string
	Bundles     []Bundle  // sorted by name; none but for bundles
	Activations int64     // policies that came into force since the start
	Refusals    int64     // policies that were refused since the start
	LastSuccess time.Time // when the source last gave a good policy, or said that it has no newer one
	LastError   string    // of the newest attempt; empty: it was good
	LastErrorAt time.Time
	Rules       int   // rule ids of the policy in force
	LogDropped  int64 // decisions that OPA's decision log did not get
}

// Bundle is the state of one bundle.
type Bundle struct {
	Name           string
	Revision       string // that its author gave it
	ETag           string
	Type           string // snapshot, delta
	Size           int64  // bytes, packed
	LastRequest    time.Time
	LastDownload   time.Time
	LastActivation time.Time
	Error          string
}

// Source is where the policy comes from. It is safe for concurrent use.
type Source struct {
	cfg    Config
	kind   string
	logger *zap.Logger

	load sync.Mutex // serialises loading
	seen string     // the content that was last tried; guarded by load

	remote *remote  // nil: no plugin of OPA runs
	log    *logging // nil: no decision log

	mu    sync.Mutex
	state State
}

// Open makes a source and brings the first policy, which may be refused: the
// engine's Ready says so. The error is for a configuration that cannot work. Run
// must follow, and Close in any case.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	if cfg.Engine == nil || cfg.Logger == nil || cfg.Changed == nil {
		return nil, errors.New("policy source: engine, logger and Changed are required")
	}
	cfg.Poll = cmp.Or(cfg.Poll, 10*time.Second)
	cfg.Settle = cmp.Or(cfg.Settle, 200*time.Millisecond)
	s := &Source{cfg: cfg, logger: cfg.Logger, kind: KindEmbedded}
	switch {
	case cfg.Dir != "":
		s.kind = KindDirectory
	case cfg.File != "":
		s.kind = KindFile
	case len(cfg.Bundles) > 0:
		s.kind = KindBundles
	}
	s.state.Kind = s.kind
	if err := s.openPlugins(ctx); err != nil {
		return nil, err
	}
	if s.kind != KindBundles {
		_ = s.Reload(ctx) // kept in the status
	}
	return s, nil
}

// Run follows the source until ctx ends.
func (s *Source) Run(ctx context.Context) {
	switch s.kind {
	case KindDirectory, KindFile:
		s.watch(ctx)
	default:
		<-ctx.Done()
	}
}

// Close stops OPA's plugins, which send what they still have within ctx.
func (s *Source) Close(ctx context.Context) {
	if s.log != nil {
		s.log.close()
	}
	if s.remote != nil {
		s.remote.close(ctx)
	}
}

// Reload reads the policy anew. Bundles come by themselves: of them it tells
// whether the newest ones were good. It does not make OPA ask for them, since its
// downloader is not made for a trigger beside its own polling: both would write
// the etag and the client that the other reads.
func (s *Source) Reload(ctx context.Context) error {
	if s.kind == KindBundles {
		if e := s.cfg.Engine.Status().Error; e != "" {
			return errors.New(e)
		}
		return nil
	}
	s.load.Lock()
	defer s.load.Unlock()
	p, err := s.read()
	return s.activate(ctx, p, err)
}

// read reads what the configuration names, with its signature if one is demanded.
func (s *Source) read() (policy.Package, error) {
	if s.kind == KindFile {
		raw, err := readFile(s.cfg.File)
		if err != nil {
			return policy.Package{Name: s.cfg.File}, err
		}
		p, err := bundle.Read(s.cfg.File, raw, s.cfg.Keys)
		p.Name = s.cfg.File
		return p, err
	}
	p, err := policy.ReadDir(s.cfg.Dir)
	if err != nil {
		p.Name = cmp.Or(s.cfg.Dir, KindEmbedded)
		return p, err
	}
	if s.cfg.Keys != nil && s.kind == KindDirectory {
		err = bundle.VerifyDir(p, s.cfg.Keys)
	}
	return p, err
}

// activate lets a policy decide, unless err or the engine refuses it, and tells.
// The masks of the decision log change first: what a new policy wants kept out of
// the log must not get into it by the masks of the one before.
func (s *Source) activate(ctx context.Context, p policy.Package, err error) error {
	s.seen = fingerprint(p, err)
	var next *policy.Candidate
	if err == nil {
		next, err = s.cfg.Engine.Prepare(ctx, p)
	}
	if err == nil && s.remote != nil {
		if err = s.remote.setPolicy(ctx, p); err != nil {
			err = fmt.Errorf("OPA's plugins do not take the policy: %w", err)
		}
	}
	if err != nil {
		s.cfg.Engine.Refuse(p.Name, err)
	} else {
		next.Activate()
	}
	s.count(err)
	s.cfg.Changed(ctx)
	return err
}

// count keeps the result of an attempt.
func (s *Source) count(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.state.Refusals++
		s.state.LastError, s.state.LastErrorAt = err.Error(), time.Now().UTC()
		return
	}
	s.state.Activations++
	s.state.LastError, s.state.LastSuccess = "", time.Now().UTC()
}

// State tells how the source is doing.
func (s *Source) State() State {
	s.mu.Lock()
	state := s.state
	state.Bundles = slices.Clone(state.Bundles)
	s.mu.Unlock()
	state.Rules = s.cfg.Engine.Rules()
	if s.log != nil {
		state.LogDropped = s.log.dropped.Load()
	}
	return state
}
