package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
)

// Budgets of the supervised containerd.
const (
	startBudget    = 20 * time.Second // from its start to answering
	stopBudget     = 5 * time.Second  // from SIGTERM to SIGKILL
	restartFirst   = 200 * time.Millisecond
	restartLast    = 10 * time.Second
	stableAfter    = 30 * time.Second // a run that long resets the backoff
	logExcerptSize = 400

	// maxSocketDirBytes is what containerd takes; with a longer run directory the
	// shims' sockets are in its default place, /run/containerd/s.
	maxSocketDirBytes = 38
)

// supervisor runs a private containerd and starts it again when it dies.
type supervisor struct {
	binary, config, socket, logFile string
	path                            string // PATH of it, with the directory of shim and runc first
	log                             *slog.Logger
	started                         func(pid int) // told of each start

	cancel context.CancelCauseFunc
	done   chan struct{}

	mu  sync.Mutex
	pid int // 0 while it is not running
}

// disabledPlugins are not needed for cells: Kubernetes, NRI, metrics, tracing,
// restart monitor and further snapshotters.
const disabledPlugins = `[
  "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri",
  "io.containerd.podsandbox.controller.v1.podsandbox", "io.containerd.nri.v1.nri",
  "io.containerd.monitor.task.v1.cgroups", "io.containerd.monitor.container.v1.restart",
  "io.containerd.image-verifier.v1.bindir", "io.containerd.internal.v1.tracing", "io.containerd.http.v1.pprof",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.erofs", "io.containerd.differ.v1.erofs",
  "io.containerd.mount-manager.v1.bolt", "io.containerd.snapshotter.v1.native", "io.containerd.transfer.v1.local",
]`

// newSupervisor writes the configuration; nothing runs yet.
func newSupervisor(cfg Config) (*supervisor, error) {
	binary, err := cfg.findBinary("containerd")
	if err != nil {
		return nil, err
	}
	shim, err := cfg.findBinary("containerd-shim-runc-v2")
	if err != nil {
		return nil, err
	}
	root := filepath.Join(cfg.DataDir, "containerd")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("make containerd's directory: %w", err)
	}
	// Cells' unprivileged ids walk through it to the root file systems of images.
	state := filepath.Join(cfg.RunDir, "containerd")
	if err := makeDir(state, 0o711); err != nil {
		return nil, err
	}
	s := &supervisor{
		binary: binary, socket: filepath.Join(cfg.RunDir, "containerd.sock"),
		config:  filepath.Join(cfg.RunDir, "containerd.toml"),
		logFile: filepath.Join(root, "containerd.log"),
		path:    filepath.Dir(shim) + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		log:     cfg.Logger, done: make(chan struct{}),
	}
	text := fmt.Sprintf("version = 3\nroot = %q\nstate = %q\ndisabled_plugins = %s\n\n[grpc]\n  address = %q\n",
		root, state, disabledPlugins, s.socket)
	if sockets := filepath.Join(cfg.RunDir, "s"); len(sockets) <= maxSocketDirBytes {
		text += fmt.Sprintf("\n[plugins.'io.containerd.shim.v1.manager']\n  socket_dir = %q\n", sockets)
	}
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write containerd's configuration: %w", err)
	}
	return s, nil
}

// start runs containerd and waits until it answers. An error has the end of its
// log in it, and nothing is left running.
func (s *supervisor) start(ctx context.Context) error {
	runCtx, cancel := context.WithCancelCause(context.Background())
	s.cancel = cancel
	first := make(chan error, 1)
	go s.loop(runCtx, first)
	deadline, stop := context.WithTimeoutCause(ctx, startBudget, errNoAnswer)
	defer stop()
	for {
		if err := s.ping(deadline); err == nil {
			return nil
		}
		select {
		case err := <-first:
			s.stop()
			return fmt.Errorf("start containerd %s (%w): %s: %w", s.binary, err, s.lastLog(), errdefs.ErrUnavailable)
		case <-deadline.Done():
			s.stop()
			return fmt.Errorf("start containerd %s (%w): %s: %w", s.binary, context.Cause(deadline), s.lastLog(), errdefs.ErrUnavailable)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *supervisor) ping(ctx context.Context) error {
	if _, err := os.Stat(s.socket); err != nil {
		return err
	}
	client, err := ctd.New(s.socket, ctd.WithTimeout(time.Second))
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // only asked
	callCtx, cancel := context.WithTimeoutCause(ctx, time.Second, errNoAnswer)
	defer cancel()
	_, err = client.Version(callCtx)
	return err
}

// loop owns the process. The first end before containerd ever answered goes to first.
func (s *supervisor) loop(ctx context.Context, first chan<- error) {
	defer close(s.done)
	backoff := restartFirst
	for {
		began := time.Now()
		err := s.runOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		select {
		case first <- err:
		default:
		}
		if time.Since(began) > stableAfter {
			backoff = restartFirst
		}
		s.log.Error("containerd ended", "error", err, "log", s.lastLog(), "restart_in", backoff)
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
		backoff = min(backoff*2, restartLast)
	}
}

// runOnce runs it once. The kernel kills it when this thread ends, and so when
// the daemon is killed: hence the lock.
func (s *supervisor) runOnce(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	logFile, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("open containerd's log: %w", err)
	}
	defer logFile.Close()                                                                  //nolint:errcheck // containerd writes it, not this process
	cmd := exec.CommandContext(ctx, s.binary, "--config", s.config, "--log-level", "warn") //nolint:gosec // the operator's own binary
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.Env = []string{"PATH=" + s.path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopBudget
	if err := cmd.Start(); err != nil {
		return err
	}
	s.started(cmd.Process.Pid)
	s.setPID(cmd.Process.Pid)
	defer s.setPID(0)
	return cmd.Wait()
}

func (s *supervisor) setPID(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid = pid
}

// runningPID is 0 while it is not running.
func (s *supervisor) runningPID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

// stop ends containerd and waits for it.
func (s *supervisor) stop() {
	s.cancel(errors.New("sandbox is closing"))
	<-s.done
}

// lastLog is the end of containerd's log in one line, for an error.
func (s *supervisor) lastLog() string {
	text, err := os.ReadFile(s.logFile)
	if err != nil || len(text) == 0 {
		return "its log is empty"
	}
	text = text[max(0, len(text)-logExcerptSize):]
	return "its log ends with " + strings.Join(strings.Fields(string(text)), " ")
}

// makeDir makes a directory with exactly these permissions.
func makeDir(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return nil
}
