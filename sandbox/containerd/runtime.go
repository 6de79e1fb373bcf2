package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cgroup"
	"github.com/sandgate/sandgate/sandbox/failpoint"
	"github.com/sandgate/sandgate/sandbox/oci"
)

// Runtime is the sandbox on containerd. It is safe for concurrent use.
type Runtime struct {
	cfg      Config
	log      *slog.Logger
	instance string

	initPath   string // of sandgate-init
	hostRootfs string
	hostBinds  []oci.Bind
	cgroupRoot string // parent of the cells' groups: "/sandgate-<instance>"
	openFiles  uint64 // hard limit that cells may have

	clock         cell.Clock // of this machine
	groups        *cgroup.Manager
	ownNamespaces map[string]string
	supervisor    *supervisor // nil with an external containerd
	conn          *ctd.Client
	lock          *os.File
	maps          idmaps
	shifting      sync.Mutex // held while a root is made from an image
	shims         *shims
	shimLook      sync.Mutex
	shimBytes     int64                  // of all shims, guarded by shimLook
	shimSeen      time.Time              // when they were looked at; guarded by shimLook
	deleter       string                 // program that stands in for a shim's delete; may be empty
	lastLimits    atomic.Pointer[limits] // of the last call
	blocks        blocks                 // for the output of calls
	heavies       heavies                // calls that run for long
	metered       sync.Map               // *cgroup.Meter of the live calls that run, by id

	pool       *pool
	ctx        context.Context // ends when Close begins; for background work only
	cancel     context.CancelCauseFunc
	background sync.WaitGroup
	closing    sync.Mutex // held by teardown
	torn       bool       // guarded by closing

	mu          sync.Mutex
	probed      error             // why the readiness probe failed; errNotProbed before it ended
	probeResult sandbox.Result    // of the last probe
	unveiled    error             // why a probe in gVisor failed; errNotProbed before it ended
	versions    map[string]string // of OCI runtimes, by path
	shown       map[sandbox.Isolation]string
	controls    []sandbox.Control // found at start
	places      places            // of cells in gVisor
}

var (
	_ sandbox.Runtime    = (*Runtime)(nil)
	_ sandbox.ImageStore = (*Runtime)(nil)
)

var (
	errNotProbed = errors.New("no cell has run a process yet")
	errNoAnswer  = errors.New("it does not answer")
)

const (
	sweepEvery  = 2 * time.Second
	probeBudget = time.Minute
)

// New starts the sandbox: it takes the data directory, removes everything that an
// earlier daemon with it left, starts or connects containerd and begins to make
// cells. The readiness probe, a real process in a real cell, runs behind it:
// see Ready. An error leaves nothing running.
func New(ctx context.Context, cfg Config) (_ *Runtime, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Runtime{
		cfg: cfg, log: cfg.Logger, instance: InstanceOf(cfg.DataDir),
		probed: errNotProbed, unveiled: errNotProbed, versions: map[string]string{}, shown: map[sandbox.Isolation]string{},
	}
	if r.clock, err = cell.NewClock(); err != nil {
		return nil, err
	}
	r.cgroupRoot = filepath.Join(cfg.CgroupParent, "sandgate-"+r.instance)
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	r.pool = newPool(r.poolConfig())
	defer func() {
		if err != nil {
			err = errors.Join(err, r.teardown(context.WithoutCancel(ctx)))
		}
	}()
	if err := r.takeMachine(ctx); err != nil {
		return nil, err
	}
	failpoint.At(failpoint.StartReaped)
	if err := r.prepareMachine(); err != nil {
		return nil, err
	}
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	failpoint.At(failpoint.StartContainerd)
	if err := r.reapContainers(ctx); err != nil {
		return nil, err
	}
	failpoint.At(failpoint.StartContainers)
	if err := r.prepareShims(ctx); err != nil {
		return nil, err
	}
	r.heavies = heavies{groups: r.groups, start: r.background.Go, done: r.ctx.Done(), pulse: newPulse(r.cfg, r.log)}
	r.controls = append(r.probeControls(), r.protect()...)
	if err := r.required(); err != nil {
		r.log.Error("limits do not bind here", "error", err)
	} else {
		r.background.Go(r.probe)
	}
	r.background.Go(r.sweep)
	return r, nil
}

// takeMachine takes the lock and removes what an earlier daemon left.
func (r *Runtime) takeMachine(ctx context.Context) (err error) {
	if os.Geteuid() != 0 {
		return fmt.Errorf("the containerd sandbox needs root to make user namespaces and control groups: %w", errdefs.ErrFailedPrecondition)
	}
	if err := os.MkdirAll(r.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if err := r.takeLock(); err != nil {
		return err
	}
	if r.groups, err = cgroup.Open(r.cfg.CgroupRoot); err != nil {
		return err
	}
	if err := r.reapProcesses(ctx); err != nil {
		return err
	}
	return r.removeRunDir()
}

// prepareMachine makes directories and looks at what is here.
func (r *Runtime) prepareMachine() (err error) {
	if err := makeDir(r.cfg.RunDir, 0o711); err != nil {
		return err
	}
	if r.initPath, err = r.cfg.findBinary("sandgate-init"); err != nil {
		return err
	}
	if r.initPath, err = filepath.EvalSymlinks(r.initPath); err != nil {
		return fmt.Errorf("find sandgate-init: %w", err)
	}
	r.hostRootfs = filepath.Join(r.cfg.RunDir, "host")
	if r.hostBinds, err = makeHostRootfs(r.hostRootfs, r.cfg.HostEtc); err != nil {
		return err
	}
	if err := reachable(r.hostRootfs); err != nil {
		return err
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	r.openFiles = min(limit.Max, 1<<20)
	r.ownNamespaces = map[string]string{}
	for _, name := range namespaceNames() {
		if r.ownNamespaces[name], err = os.Readlink("/proc/self/ns/" + name); err != nil {
			return fmt.Errorf("read own namespaces: %w", err)
		}
	}
	return nil
}

func (r *Runtime) takeLock() error {
	path := filepath.Join(r.cfg.DataDir, "sandbox.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // a path of the operator's choice
	if err != nil {
		return fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("data directory %s is in use by another daemon (%w): stop it or choose another directory: %w",
			r.cfg.DataDir, err, errdefs.ErrFailedPrecondition), f.Close())
	}
	r.lock = f
	return nil
}

// reachable looks that unprivileged ids can walk to a path.
func reachable(path string) error {
	for dir := path; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("look at run directory: %w", err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("directory %s is closed to other users: cells cannot reach their root; choose another run directory: %w",
				dir, errdefs.ErrFailedPrecondition)
		}
	}
	return nil
}

// connect starts the private containerd, or connects to the external one.
func (r *Runtime) connect(ctx context.Context) (err error) {
	address := r.cfg.Address
	if address == "" {
		s, err := newSupervisor(r.cfg)
		if err != nil {
			return err
		}
		s.started = r.shield
		if err := s.start(ctx); err != nil {
			return err
		}
		r.supervisor, address = s, s.socket
	}
	r.conn, err = ctd.New(address, ctd.WithDefaultNamespace(r.cfg.Namespace),
		ctd.WithDefaultRuntime(runcShim), ctd.WithTimeout(startBudget)) // else it asks for that before each step
	if err != nil {
		return fmt.Errorf("connect to containerd at %s: %w: %w", address, err, errdefs.ErrUnavailable)
	}
	callCtx, cancel := context.WithTimeoutCause(ctx, startBudget, errNoAnswer)
	defer cancel()
	if _, err := r.conn.Version(callCtx); err != nil {
		return fmt.Errorf("containerd at %s does not answer: %w: %w", address, err, errdefs.ErrUnavailable)
	}
	return nil
}

func (r *Runtime) client() *ctd.Client { return r.conn }

// standardClass is the one that fresh cells are kept of.
func (r *Runtime) standardClass() class {
	return class{image: sandbox.HostImage, isolation: sandbox.IsolationRunc}
}

// probe runs a process in a cell until that has worked, then keeps the pool warm.
func (r *Runtime) probe() {
	for wait := time.Second; ; wait = min(wait*2, failBackoffLast) {
		res, err := r.probeOnce(sandbox.IsolationRunc, 64<<20)
		r.mu.Lock()
		r.probed, r.probeResult = err, res
		r.mu.Unlock()
		if err == nil {
			r.pool.warmUp()
			if _, ok := r.cfg.Runtimes[sandbox.IsolationGVisor]; ok {
				r.background.Go(r.probeVeiled)
			}
			return
		}
		r.log.Error("readiness probe failed", "error", err)
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (r *Runtime) probeOnce(isolation sandbox.Isolation, memory int64) (sandbox.Result, error) {
	ctx, cancel := context.WithTimeoutCause(r.ctx, probeBudget, errors.New("probe took too long"))
	defer cancel()
	res, err := r.Run(ctx, sandbox.Call{
		ID: "readiness-probe", Isolation: isolation, Argv: []string{oci.InitPath, "probe"},
		Limits: sandbox.Limits{
			WallTime: 10 * time.Second, CPUMillis: 1000, MemoryBytes: memory, Pids: 64, OutputBytes: 4096, DiskBytes: 1 << 20,
		},
	})
	if err != nil {
		return res, err
	}
	if res.Outcome != sandbox.OutcomeExited { // with which code does not matter: it ran
		return res, fmt.Errorf("probe ended as %s: %s", res.Outcome, res.Message)
	}
	return res, nil
}

func (r *Runtime) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case now := <-tick.C:
			r.pool.sweep(now)
		}
	}
}

// EndSession implements sandbox.Runtime. The key is Call.ReuseKey.
func (r *Runtime) EndSession(_ context.Context, reuseKey string) error {
	for _, reuse := range []sandbox.Reuse{sandbox.ReuseSession, sandbox.ReuseCaller} {
		r.pool.endKey(string(reuse) + "\x00" + reuseKey)
	}
	return nil
}

// Ready implements sandbox.Runtime.
func (r *Runtime) Ready(ctx context.Context) error {
	if r.ctx.Err() != nil {
		return fmt.Errorf("sandbox is closed: %w", errdefs.ErrUnavailable)
	}
	if err := r.required(); err != nil {
		return err
	}
	r.mu.Lock()
	probed := r.probed
	r.mu.Unlock()
	if probed != nil {
		return fmt.Errorf("%w: %w", probed, errdefs.ErrUnavailable)
	}
	if fresh, kept, busy, lastFail := r.pool.state(); lastFail != nil && fresh+kept+busy == 0 {
		return fmt.Errorf("no cell can be made: %w: %w", lastFail, errdefs.ErrUnavailable)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Close implements sandbox.Runtime. Repeated calls are harmless.
func (r *Runtime) Close(ctx context.Context) error {
	return r.teardown(ctx)
}

// teardown undoes New, as far as it came.
func (r *Runtime) teardown(ctx context.Context) error {
	var errs []error
	r.closing.Lock()
	defer r.closing.Unlock()
	r.cancel(errors.New("sandbox is closing")) // running calls end as CANCELLED
	errs = append(errs, r.pool.close(ctx))
	r.background.Wait()
	r.maps.close()
	if r.torn {
		return errors.Join(errs...)
	}
	r.torn = true
	if r.conn != nil {
		errs = append(errs, r.reapContainers(ctx), r.forgetShims(ctx), r.conn.Close())
	}
	if r.supervisor != nil {
		r.supervisor.stop()
	}
	if r.lock != nil {
		if r.groups != nil {
			errs = append(errs, r.reapProcesses(ctx))
		}
		errs = append(errs, r.removeRunDir(), r.lock.Close())
	}
	return errors.Join(errs...)
}
