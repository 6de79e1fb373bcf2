// Package daemontest starts the real daemon, with its real private containerd,
// for the end-to-end tests, the abuse tests and the benchmark. It is test
// support: it must never be imported by the product.
package daemontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// readyWithin is generous: a cold start under emulation takes a minute.
const readyWithin = 3 * time.Minute

// MaxMessageBytes is how large a message the clients of this package take.
const MaxMessageBytes = 64 << 20

// Daemon is a running sandgated of this test.
type Daemon struct {
	// DataDir is its data directory, short enough for socket paths.
	DataDir string
	// Socket is its unix socket.
	Socket string
	// Bin is where its binaries are. Empty: see BinDir. Env is added to its
	// environment. Both hold from the next start on.
	Bin string
	Env []string
	// Tools, System, Policy and Health are clients of it.
	Tools  sandgatev1.ToolServiceClient
	System sandgatev1.SystemServiceClient
	Policy sandgatev1.PolicyServiceClient
	Health healthpb.HealthClient

	config string
	cmd    *exec.Cmd
	exited chan struct{}
	conn   *grpc.ClientConn
	log    lockedBuffer
}

// RequireRoot skips the test unless SANDGATE_ROOT_TESTS=1 asks for tests that
// need root, namespaces and containerd.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Getenv("SANDGATE_ROOT_TESTS") != "1" {
		t.Skip("needs root and containerd; set SANDGATE_ROOT_TESTS=1 to run it")
	}
}

// BinDir is where the binaries under test are: SANDGATE_BIN_DIR, or bin at the
// root of the repository.
func BinDir() (string, error) {
	if dir := os.Getenv("SANDGATE_BIN_DIR"); dir != "" {
		return dir, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "bin"), nil
		}
	}
	return "", errors.New("no go.mod above the working directory; set SANDGATE_BIN_DIR")
}

// Environ is the environment without sandgate's own variables, which would
// override the configuration under test.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "SANDGATE_") })
}

// Start starts a daemon, waits until it is ready and stops it when the test
// ends. config is YAML that is added to what the harness needs itself.
func Start(t testing.TB, config string) *Daemon {
	t.Helper()
	RequireRoot(t)
	d, err := Launch(context.Background(), config)
	if err != nil {
		t.Fatalf("start the daemon: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Errorf("stop the daemon: %v\n%s", err, d.LogTail(40))
		}
		if t.Failed() {
			t.Logf("end of the daemon's log:\n%s", d.LogTail(12))
		}
		if err := os.RemoveAll(d.DataDir); err != nil {
			t.Errorf("remove the data directory: %v", err)
		}
	})
	return d
}

// Launch starts a daemon in a directory of its own and waits until it is ready.
// The caller stops it and removes DataDir.
func Launch(ctx context.Context, config string) (*Daemon, error) {
	return LaunchIn(ctx, "/tmp", config)
}

// LaunchIn is Launch with its directory below parent, whose path is short and which
// anybody may search.
func LaunchIn(ctx context.Context, parent, config string) (*Daemon, error) {
	d, err := newBelow(parent, config)
	if err != nil {
		return nil, err
	}
	if err := d.Run(ctx); err != nil {
		return nil, errors.Join(err, d.Stop(), os.RemoveAll(d.DataDir))
	}
	return d, nil
}

// New makes a daemon's directory; Run starts it. The caller stops it and removes
// DataDir.
func New(config string) (*Daemon, error) { return newBelow("/tmp", config) }

func newBelow(parent, config string) (*Daemon, error) {
	dir, err := os.MkdirTemp(parent, "sg-")
	if err != nil {
		return nil, fmt.Errorf("make a data directory: %w", err)
	}
	return In(dir, config), nil
}

// In is a daemon with a directory that may have been another daemon's before.
func In(dir, config string) *Daemon {
	return &Daemon{DataDir: dir, Socket: filepath.Join(dir, "sandgate.sock"), config: config}
}

// Run starts the process (again) on the same data directory and waits until it
// is ready.
func (d *Daemon) Run(ctx context.Context) error {
	if err := d.Spawn(); err != nil {
		return err
	}
	return d.waitReady(ctx)
}

// Spawn starts the process (again) and does not wait for anything.
func (d *Daemon) Spawn() error {
	bin := d.Bin
	if bin == "" {
		var err error
		if bin, err = BinDir(); err != nil {
			return err
		}
	}
	path := filepath.Join(d.DataDir, "config.yaml")
	text := fmt.Sprintf("data_dir: %s\n%s", d.DataDir, d.config)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	cmd := exec.Command(filepath.Join(bin, "sandgated"), "--config", path, "--bin-dir", bin) //nolint:gosec // the binary under test
	cmd.Env = append(append(Environ(), "SANDGATE_CANARY=canary-of-the-daemon-environment"), d.Env...)
	cmd.Stdout, cmd.Stderr = &d.log, &d.log
	exited, err := tied(cmd)
	if err != nil {
		return fmt.Errorf("start sandgated: %w", err)
	}
	d.cmd, d.exited = cmd, exited
	return d.dial()
}

// tied starts a process that ends with this one. The kernel counts the thread that has
// started it for its parent (prctl(2), PR_SET_PDEATHSIG), so that is kept until it has ended.
func tied(cmd *exec.Cmd) (exited chan struct{}, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	exited = make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	return exited, <-started
}

func (d *Daemon) dial() error {
	if d.conn != nil {
		_ = d.conn.Close()
	}
	conn, err := Dial("unix://" + d.Socket)
	if err != nil {
		return err
	}
	d.conn = conn
	d.Tools = sandgatev1.NewToolServiceClient(conn)
	d.System = sandgatev1.NewSystemServiceClient(conn)
	d.Policy = sandgatev1.NewPolicyServiceClient(conn)
	d.Health = healthpb.NewHealthClient(conn)
	return nil
}

// Dial connects to a daemon's address, and again as soon as it is there: gRPC's own
// patience of a second would be most of a daemon's start.
func Dial(target string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.3, MaxDelay: 100 * time.Millisecond}, MinConnectTimeout: time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageBytes), grpc.MaxCallSendMsgSize(MaxMessageBytes)))
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return conn, nil
}

func (d *Daemon) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, errors.New("daemon not ready in time"))
	defer cancel()
	for {
		resp, err := d.Health.Check(ctx, &healthpb.HealthCheckRequest{Service: "sandgate.v1.ToolService"})
		if err == nil && resp.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			return nil
		}
		select {
		case <-d.exited:
			return fmt.Errorf("sandgated exited before it was ready:\n%s", d.LogTail(40))
		case <-ctx.Done():
			return fmt.Errorf("%w:\n%s", context.Cause(ctx), d.LogTail(40))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Kill ends the daemon with SIGKILL, as a crash does. One that has ended is no error.
func (d *Daemon) Kill() error {
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill sandgated: %w", err)
	}
	<-d.exited
	return nil
}

// Stop ends the daemon with SIGTERM and waits for it. A daemon that does not
// end in time is killed, which is an error.
func (d *Daemon) Stop() error {
	if d.conn != nil {
		_ = d.conn.Close()
		d.conn = nil
	}
	if d.cmd == nil {
		return nil
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
		return nil
	case <-time.After(time.Minute):
		return errors.Join(errors.New("sandgated did not end on SIGTERM"), d.Kill())
	}
}

// Exited is closed when the process that was started last has ended.
func (d *Daemon) Exited() <-chan struct{} { return d.exited }

// Terminate sends SIGTERM and does not wait.
func (d *Daemon) Terminate() error { return d.cmd.Process.Signal(syscall.SIGTERM) }

// PID is the daemon's process id.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Log is all that the daemon has logged.
func (d *Daemon) Log() string { return d.log.String() }

// LogTail returns the last n lines that the daemon logged.
func (d *Daemon) LogTail(n int) string {
	lines := strings.Split(strings.TrimRight(d.log.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Sandgate runs the CLI against this daemon and returns its streams and exit code.
func (d *Daemon) Sandgate(t testing.TB, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	bin, err := BinDir()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "sandgate"), args...) //nolint:gosec // the binary under test
	cmd.Env = append(Environ(), "SANDGATE_ADDR=unix://"+d.Socket)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run sandgate %v: %v", args, err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// lockedBuffer is a buffer that the process writes while the test reads.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// ResidentBytes is the daemon's resident memory now.
func (d *Daemon) ResidentBytes(t testing.TB) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", d.PID()))
	if err != nil {
		t.Fatalf("read the daemon's memory: %v", err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		t.Fatalf("read the daemon's memory: %v", err)
	}
	return resident * int64(os.Getpagesize())
}

// ContainerdSocket is the socket of the daemon's private containerd.
func (d *Daemon) ContainerdSocket() string {
	_, cmdline := d.containerd()
	if cmdline == "" {
		return ""
	}
	config := strings.Fields(strings.SplitAfter(cmdline, "--config ")[1])[0]
	return filepath.Join(filepath.Dir(config), "containerd.sock")
}

// ContainerdPID is the process id of the daemon's private containerd.
func (d *Daemon) ContainerdPID(t testing.TB) int {
	t.Helper()
	pid, _ := d.containerd()
	if pid == 0 {
		t.Fatal("the daemon has no containerd")
	}
	return pid
}

func (d *Daemon) containerd() (pid int, cmdline string) {
	eachProcess(func(p int, exe, line string) {
		if filepath.Base(exe) == "containerd" && strings.Contains(line, "--config ") && parentOf(p) == d.PID() {
			pid, cmdline = p, line
		}
	})
	return pid, cmdline
}

func parentOf(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return -1
	}
	var ppid int
	var state string
	_, rest, _ := strings.Cut(string(data), ") ")
	if _, err := fmt.Sscan(rest, &state, &ppid); err != nil {
		return -1
	}
	return ppid
}
