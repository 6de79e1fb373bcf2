package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/audit"
	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/config"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/logging"
	"github.com/sandgate/sandgate/internal/rpc"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/internal/version"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

const (
	// callGrace is how long running calls have to end by themselves at shutdown.
	callGrace = 5 * time.Second
	// sandboxBudget bounds the taking down of cells and containerd.
	sandboxBudget = 30 * time.Second
	// recordBudget bounds one write to the journal.
	recordBudget = 10 * time.Second
	// readyPoll and steadyPoll are how often readiness is looked at, before it was
	// there and after.
	readyPoll, steadyPoll = 100 * time.Millisecond, 2 * time.Second
)

// errBudget is the cause of a context that ended because a step took too long.
var errBudget = errors.New("the step took longer than its budget")

// Sandbox is what the daemon runs calls in.
type Sandbox interface {
	sandbox.Runtime
	sandbox.ImageStore
	// PrepareDir makes a session's workspace directory fit for the sandbox.
	PrepareDir(dir string) error
}

// OpenSandbox makes the sandbox of a configuration. It must undo what it did
// when it returns an error.
type OpenSandbox func(ctx context.Context, cfg config.Config, logger *zap.Logger) (Sandbox, error)

// Options are what a Daemon needs besides its configuration.
type Options struct {
	Logger *zap.Logger // Required.
	// OpenSandbox is OpenContainerd but for tests. Required.
	OpenSandbox OpenSandbox
}

// Daemon is one sandgate daemon. Run it once.
type Daemon struct {
	cfg    config.Config
	root   *zap.Logger // the parts name their own loggers from it
	logger *zap.Logger
	open   OpenSandbox

	undo []undoStep // what Run has built, newest last

	mu     sync.Mutex
	reload func(context.Context) error // nil before the policy is there
}

// undoStep takes one part down.
type undoStep struct {
	name string
	run  func(context.Context) error
}

// New returns a daemon for a configuration that config.Load has validated. It
// touches nothing.
func New(cfg config.Config, o Options) (*Daemon, error) {
	if o.Logger == nil || o.OpenSandbox == nil {
		return nil, errors.New("daemon: logger and sandbox are required")
	}
	return &Daemon{cfg: cfg, root: o.Logger, logger: o.Logger.Named("daemon"), open: o.OpenSandbox}, nil
}

// Run builds the parts, serves until ctx ends, and takes everything down again,
// also when building fails half-way. It returns nil after an orderly stop.
func (d *Daemon) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, d.takeDown(context.WithoutCancel(ctx))) }()
	if err := d.cfg.Preflight(); err != nil {
		return err
	}
	p, err := d.build(ctx)
	if err != nil {
		return err
	}
	return d.serve(ctx, p)
}

// Reload loads the policy again, as PolicyService.Reload does.
func (d *Daemon) Reload(ctx context.Context) error {
	d.mu.Lock()
	reload := d.reload
	d.mu.Unlock()
	if reload == nil {
		return errors.New("the daemon is still starting")
	}
	return reload(ctx)
}

// parts are what serving needs.
type parts struct {
	policy    *recordedPolicy
	sandbox   Sandbox
	server    *rpc.Server
	listeners []net.Listener
	metrics   *telemetry.Metrics // nil: not configured
	scrapes   net.Listener       // nil: not configured
	gate      *gate.Gate
	audit     *audit.Log
	approvals *approval.Manager
}

// build makes the parts in their order: data directory, journal, policy,
// sandbox, gate, front.
func (d *Daemon) build(ctx context.Context) (parts, error) {
	if err := d.takeDataDir(); err != nil {
		return parts{}, err
	}
	measure, err := d.openTelemetry(ctx)
	if err != nil {
		return parts{}, err
	}
	var box Sandbox // set below, before a session can be made
	known := d.newState()
	line, err := d.openLine()
	if err != nil {
		return parts{}, err
	}
	record, err := d.openJournal(ctx, known, measure.recorder, line)
	if err != nil {
		return parts{}, err
	}
	sessions, err := session.NewManager(session.Config{
		Dir: d.path(sessionsDir), Fold: known.sessions, Prepare: func(dir string) error { return box.PrepareDir(dir) }, Disk: sessionDisks{},
		MaxSessions: d.cfg.Sessions.Max, MaxPerCaller: d.cfg.Sessions.MaxPerCaller, Bounds: sessionBounds(d.cfg.Sessions),
	})
	if err != nil {
		return parts{}, err
	}
	d.later("disks of sessions", func(context.Context) error { return sessions.DetachDisks() })
	failpoint.At(failpoint.StartJournal)
	tools, err := catalog.New(catalog.Options{Dir: d.cfg.Tools.Dir, Disable: d.cfg.Tools.Disable})
	if err != nil {
		return parts{}, fmt.Errorf("tools: %w", err)
	}
	rules, err := d.openPolicy(ctx, record)
	if err != nil {
		return parts{}, err
	}
	failpoint.At(failpoint.StartPolicy)
	if box, err = d.openSandbox(ctx); err != nil {
		return parts{}, err
	}
	permits := d.openPermits(ctx, record, known.approvals, known.grants)
	outputs, files, err := d.openOutputs()
	if err != nil {
		return parts{}, err
	}
	path, err := gate.New(ctx, gate.Config{
		Catalog: tools, Policy: rules, Runtime: box, Journal: record, Sessions: sessions, Replay: known.calls, Commits: known.commits,
		Admission: line, Telemetry: measure.recorder,
		Profiles: d.profiles, WorkspaceDirs: d.workspaceDirs, Repositories: d.repositories, Approvals: permits.approvals, Grants: permits.grants, Roles: d.roles, Identities: d.identities(), TurnWait: d.cfg.Admission.MaxWait.Std(),
		Ceiling: limits(d.cfg.Ceiling), Defaults: defaults(d.cfg.Defaults), Logger: d.root,
		Memory:     d.memory(),
		FileBounds: fileBounds(d.cfg.Sessions.Files),
		Background: gate.Background{WallTime: d.cfg.Background.WallTime.Std(), MaxWallTime: d.cfg.Background.MaxWallTime.Std()},
		Output:     outputs, Files: files,
	})
	if err != nil {
		return parts{}, err
	}
	failpoint.At(failpoint.StartGate)
	d.later("calls in the background", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeoutCause(ctx, sandboxBudget, errBudget)
		defer cancel()
		return path.Close(ctx)
	})
	scrapes, err := d.openMetrics()
	if err != nil {
		return parts{}, err
	}
	load := telemetry.Sources{Pools: box.Pools, Admission: line.State, Journal: record.State, Sessions: sessions.Count}
	load.Policy = rules.figures
	if measure.metrics != nil {
		measure.metrics.Watch(load)
	}
	log := audit.New(record, d.root.Named("audit"))
	server, listeners, err := d.openFront(rpc.Config{
		Audit: log, Gate: path, Sessions: path, Approvals: path, Policy: rules, Sandbox: box, Images: box, Access: d.access, Telemetry: measure.recorder,
		MaxOpen: d.cfg.Listen.MaxRequests, MaxOpenPerCaller: d.cfg.Listen.MaxRequestsPerCaller,
		Load:    load,
		Version: version.Get(), Logger: d.root.Named("rpc"), AllowAnonymous: d.cfg.Listen.TCP.AllowAnonymous,
	})
	if err != nil {
		return parts{}, err
	}
	failpoint.At(failpoint.StartListening)
	return parts{audit: log, gate: path, approvals: permits.approvals, policy: rules, sandbox: box, server: server, listeners: listeners, metrics: measure.metrics, scrapes: scrapes}, nil
}

// serve runs the long parts until ctx ends or one of them fails, then stops the
// front in order: not serving, no new calls, running calls cancelled.
func (d *Daemon) serve(ctx context.Context, p parts) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range p.listeners {
		group.Go(func() error { return p.server.Serve(l) })
	}
	if p.scrapes != nil {
		group.Go(func() error { return serveMetrics(ctx, p.scrapes, p.metrics) })
	}
	group.Go(func() error {
		p.audit.Run(ctx)
		return nil
	})
	group.Go(func() error {
		d.watchReadiness(ctx, p)
		return nil
	})
	group.Go(func() error {
		p.policy.source.Run(ctx)
		return nil
	})
	group.Go(func() error {
		p.approvals.Run(ctx)
		return nil
	})
	group.Go(func() error {
		p.gate.KeepSessions(ctx)
		return nil
	})
	group.Go(func() error {
		<-ctx.Done() // those who follow calls in the background still get their results
		end, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), sandboxBudget, errBudget)
		defer cancel()
		return p.gate.Close(end)
	})
	group.Go(func() error {
		<-ctx.Done()
		p.server.Drain()
		failpoint.At(failpoint.StopDraining)
		d.logger.Info("stopping")
		grace, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), callGrace, errBudget)
		defer cancel()
		p.server.Close(grace)
		failpoint.At(failpoint.StopDrained)
		return nil
	})
	return group.Wait()
}

// watchReadiness tells the front whether calls can be taken: a policy is in
// force and a cell has really run a process.
func (d *Daemon) watchReadiness(ctx context.Context, p parts) {
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	last := "unknown"
	for {
		err := errors.Join(p.policy.Ready(), p.sandbox.Ready(ctx))
		if ctx.Err() != nil {
			return
		}
		state := ""
		if err != nil {
			state = err.Error()
		}
		if state != last {
			last = state
			p.server.SetReady(err)
			if err != nil {
				d.logger.Warn("not ready", zap.Error(err))
				ticker.Reset(readyPoll)
			} else {
				d.logger.Info("ready", zap.String(logging.KeyRevision, p.policy.Status().Revision))
				ticker.Reset(steadyPoll)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// takeDown undoes what build has made, newest first, and goes on after errors.
func (d *Daemon) takeDown(ctx context.Context) error {
	var errs []error
	for _, step := range slices.Backward(d.undo) {
		failpoint.At(failpoint.StopPart)
		if err := step.run(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", step.name, err))
		}
	}
	d.undo = nil
	return errors.Join(errs...)
}

func (d *Daemon) later(name string, run func(context.Context) error) {
	d.undo = append(d.undo, undoStep{name, run})
}

func (d *Daemon) openSandbox(ctx context.Context) (Sandbox, error) {
	box, err := d.open(ctx, d.cfg, d.root.Named("sandbox"))
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	d.later("sandbox", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeoutCause(ctx, sandboxBudget, errBudget)
		defer cancel()
		return box.Close(ctx)
	})
	return box, nil
}
