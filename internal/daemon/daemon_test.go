package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/sandgate/sandgate/internal/config"
	"github.com/sandgate/sandgate/internal/daemon"
	"github.com/sandgate/sandgate/internal/daemon/daemontest"
	"github.com/sandgate/sandgate/internal/journal"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// patience bounds waiting for what is due at once.
const patience = 20 * time.Second

// settings returns the configuration of a daemon in a short directory of its own.
func settings(t testing.TB) config.Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "sgd") //nolint:usetesting // must be short: the kernel bounds a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg, err := config.Load("", config.Overrides{DataDir: filepath.Join(dir, "d")})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func fakeOpen(fake *sandboxtest.Fake) daemon.OpenSandbox {
	return func(context.Context, config.Config, *zap.Logger) (daemon.Sandbox, error) {
		return daemontest.Sandbox{Fake: fake}, nil
	}
}

// running is a started daemon.
type running struct {
	conn *grpc.ClientConn
	stop func() error // stops it and returns what Run returned
	d    *daemon.Daemon
}

// start runs a daemon until the test ends. It returns once its socket answers.
func start(t testing.TB, cfg config.Config, open daemon.OpenSandbox) *running {
	t.Helper()
	d, err := daemon.New(cfg, daemon.Options{Logger: zap.NewNop(), OpenSandbox: open})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	conn, err := grpc.NewClient("unix://"+cfg.SocketPath(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, MaxDelay: time.Second}}))
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	r := &running{conn: conn, d: d, stop: func() error {
		if stopped {
			return nil
		}
		stopped = true
		_ = conn.Close()
		cancel()
		return <-ended
	}}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	live, done := context.WithTimeout(t.Context(), patience)
	defer done()
	if _, err := healthpb.NewHealthClient(conn).Check(live, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatalf("liveness: %v", err)
	}
	return r
}

// waitFor waits until readiness is told to be want.
func (r *running) waitFor(t testing.TB, want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watch, err := healthpb.NewHealthClient(r.conn).Watch(ctx, &healthpb.HealthCheckRequest{Service: "sandgate.v1.ToolService"})
	if err != nil {
		t.Fatal(err)
	}
	for {
		got, err := watch.Recv()
		if err != nil {
			t.Fatalf("readiness: %v", err)
		}
		if got.GetStatus() == want {
			return
		}
	}
}

func (r *running) bash(ctx context.Context, id, script string) (*sandgatev1.Result, error) {
	resp, err := sandgatev1.NewToolServiceClient(r.conn).Execute(ctx, &sandgatev1.ExecuteRequest{Call: &sandgatev1.Call{
		CallId: id, Tool: "bash", Profile: "open", ArgsJson: `{"command":"` + script + `"}`,
	}})
	return resp.GetResult(), err
}

func TestDaemonServesACallAndStopsInOrder(t *testing.T) {
	cfg := settings(t)
	r := start(t, cfg, daemontest.Open)
	r.waitFor(t, healthpb.HealthCheckResponse_SERVING)
	res, err := r.bash(t.Context(), "c-1", "echo hello")
	if err != nil || string(res.GetStdout().GetHead()) != "hello\n" {
		t.Errorf("got %v %v, want hello", res, err)
	}
	st, err := os.Stat(cfg.SocketPath())
	if err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("socket: got %v %v, want mode 0660", st.Mode(), err)
	}
	if st, err = os.Stat(cfg.DataDir); err != nil || st.Mode().Perm()&0o007 != 0 {
		t.Errorf("data directory: got %v %v, want it closed to others", st.Mode(), err)
	}
	if err := r.stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := os.Stat(cfg.SocketPath()); !os.IsNotExist(err) {
		t.Errorf("socket after the stop: got %v, want it gone", err)
	}
	var kinds []string
	j, err := journal.Open(cfg.Journal.Path, journal.Options{}, func(r journal.Record) error {
		kinds = append(kinds, string(r.Kind))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(kinds, " "); got != "start policy intent outcome stop checkpoint" {
		t.Errorf("journal: got %q, want start policy intent outcome stop checkpoint", got)
	}
}

func TestRestartKnowsFinishedCalls(t *testing.T) {
	cfg := settings(t)
	for i, want := range []bool{false, true} {
		r := start(t, cfg, daemontest.Open)
		r.waitFor(t, healthpb.HealthCheckResponse_SERVING)
		res, err := r.bash(t.Context(), "same-id", "exit 7")
		if err != nil || res.GetReplayed() != want || res.GetExitCode() != 7 {
			t.Errorf("run %d: got %v %v, want replayed %v and exit code 7", i, res, err, want)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNotReadyUntilTheSandboxIs(t *testing.T) {
	fake := sandboxtest.NewFake(nil)
	fake.SetReady(errors.New("no cell has run a process"))
	r := start(t, settings(t), fakeOpen(fake))
	r.waitFor(t, healthpb.HealthCheckResponse_NOT_SERVING)
	if _, err := r.bash(t.Context(), "", "true"); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want UNAVAILABLE", err)
	}
	fake.SetReady(nil)
	r.waitFor(t, healthpb.HealthCheckResponse_SERVING)
	if _, err := r.bash(t.Context(), "", "true"); err != nil {
		t.Errorf("got %v, want the call to run", err)
	}
}

func TestBadPolicyKeepsTheDaemonFromBecomingReadyAndReloadMendsIt(t *testing.T) {
	cfg := settings(t)
	cfg.Policy.Dir = t.TempDir()
	file := filepath.Join(cfg.Policy.Dir, "main.rego")
	if err := os.WriteFile(file, []byte("package sandgate\n\ndecision := {"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, cfg, daemontest.Open)
	r.waitFor(t, healthpb.HealthCheckResponse_NOT_SERVING)
	client := sandgatev1.NewPolicyServiceClient(r.conn)
	st, err := client.GetStatus(t.Context(), &sandgatev1.GetStatusRequest{})
	if err != nil || st.GetStatus().GetRevision() != "" || !strings.Contains(st.GetStatus().GetErrors()[0], "main.rego:3") {
		t.Errorf("status: got %v %v, want the place of the error", st, err)
	}
	if _, err := client.Reload(t.Context(), &sandgatev1.ReloadRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("reload: got %v, want FAILED_PRECONDITION", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(cfg.Policy.Dir, os.DirFS("../../policies")); err != nil {
		t.Fatal(err)
	}
	if err := r.d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.waitFor(t, healthpb.HealthCheckResponse_SERVING)
}

func TestStopCancelsRunningCalls(t *testing.T) {
	began := make(chan struct{})
	fake := sandboxtest.NewFake(func(ctx context.Context, _ sandbox.Call) (sandbox.Result, error) {
		close(began)
		<-ctx.Done()
		return sandbox.Result{Outcome: sandbox.OutcomeCancelled, ExitCode: -1}, nil
	})
	cfg := settings(t)
	r := start(t, cfg, fakeOpen(fake))
	r.waitFor(t, healthpb.HealthCheckResponse_SERVING)
	stream, err := sandgatev1.NewToolServiceClient(r.conn).ExecuteStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Start{Start: &sandgatev1.ExecuteStart{
		Call: &sandgatev1.Call{Tool: "bash", Profile: "open", ArgsJson: `{"command":"sleep 600"}`},
	}}}); err != nil {
		t.Fatal(err)
	}
	<-began
	if err := r.stop(); err != nil {
		t.Errorf("run: %v", err)
	}
}

// What keeps a daemon from starting is told, and nothing is left of the attempt.
func TestRunTellsWhatIsWrongAndLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	tests := []struct {
		name   string
		change func(*testing.T, *config.Config) daemon.OpenSandbox
		want   string
	}{
		{"containerd does not start", func(*testing.T, *config.Config) daemon.OpenSandbox {
			return func(context.Context, config.Config, *zap.Logger) (daemon.Sandbox, error) {
				return nil, errors.New("containerd ended: exit status 1")
			}
		}, "sandbox: containerd ended"},
		{"missing policy directory", func(_ *testing.T, c *config.Config) daemon.OpenSandbox {
			c.Policy.Dir = "/does/not/exist"
			return daemontest.Open
		}, "policy.dir"},
		{"used port", func(t *testing.T, c *config.Config) daemon.OpenSandbox {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			c.Listen.TCP = config.TCP{Address: l.Addr().String(), AllowAnonymous: true}
			return daemontest.Open
		}, "address already in use"},
		{"tokens that others can read", func(t *testing.T, c *config.Config) daemon.OpenSandbox {
			path := filepath.Join(t.TempDir(), "tokens")
			if err := os.WriteFile(path, []byte("a 0123456789abcdef"), 0o644); err != nil {
				t.Fatal(err)
			}
			c.Listen.TCP = config.TCP{Address: "127.0.0.1:0", TokensFile: path}
			return daemontest.Open
		}, "listen.tcp.tokens_file"},
		{"broken tool declaration", func(t *testing.T, c *config.Config) daemon.OpenSandbox {
			c.Tools.Dir = t.TempDir()
			if err := os.WriteFile(filepath.Join(c.Tools.Dir, "x.yaml"), []byte("name: ["), 0o600); err != nil {
				t.Fatal(err)
			}
			return daemontest.Open
		}, "x.yaml"},
		{"unwritable data directory", func(_ *testing.T, c *config.Config) daemon.OpenSandbox {
			c.DataDir = "/proc/sandgate"
			return daemontest.Open
		}, "data_dir"},
		{"damaged journal", func(t *testing.T, c *config.Config) daemon.OpenSandbox {
			r := start(t, *c, daemontest.Open)
			r.waitFor(t, healthpb.HealthCheckResponse_SERVING)
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(c.Journal.Path)
			if err != nil {
				t.Fatal(err)
			}
			raw = bytes.Replace(raw, []byte(`"kind":"start"`), []byte(`"kind":"stars"`), 1)
			if err := os.WriteFile(c.Journal.Path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			return daemontest.Open
		}, "journal"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := settings(t)
			open := tt.change(t, &cfg)
			d, err := daemon.New(cfg, daemon.Options{Logger: zap.NewNop(), OpenSandbox: open})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err = d.Run(ctx)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
			if _, err := os.Lstat(cfg.SocketPath()); !os.IsNotExist(err) {
				t.Errorf("socket: got %v, want none", err)
			}
		})
	}
}

func TestOneDaemonPerDataDirectory(t *testing.T) {
	cfg := settings(t)
	start(t, cfg, daemontest.Open)
	second := cfg
	second.Listen.Unix.Path = filepath.Join(filepath.Dir(cfg.DataDir), "other")
	d, err := daemon.New(second, daemon.Options{Logger: zap.NewNop(), OpenSandbox: daemontest.Open})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = d.Run(ctx)
	if err == nil || !strings.Contains(err.Error(), "used by a running daemon") {
		t.Errorf("got %v, want it refused", err)
	}
}

func TestWorkspaceDirectoriesOnlyWhereGiven(t *testing.T) {
	cfg := settings(t)
	base := t.TempDir()
	given := filepath.Join(base, "given")
	for _, dir := range []string{filepath.Join(given, "sub"), filepath.Join(base, "given-not")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(base, filepath.Join(given, "out")); err != nil {
		t.Fatal(err)
	}
	uid := os.Getuid()
	cfg.Callers = []config.Caller{{
		Match: config.Match{UID: &uid}, Profiles: []string{"open"}, DefaultProfile: "open", WorkspaceDirs: []string{given, filepath.Dir(cfg.DataDir)},
	}}
	project := filepath.Join(cfg.DataDir, "project")
	if err := os.MkdirAll(project, 0o700); err != nil {
		t.Fatal(err)
	}
	r := start(t, cfg, daemontest.Open)
	r.waitFor(t, healthpb.HealthCheckResponse_SERVING)
	for dir, want := range map[string]codes.Code{
		given: codes.OK, given + "/sub": codes.OK, base: codes.PermissionDenied, base + "/given-not": codes.PermissionDenied,
		given + "/out": codes.PermissionDenied, "/etc": codes.PermissionDenied,
		// The daemon's own files are nobody's workspace, whatever was given.
		project: codes.OK, cfg.DataDir: codes.PermissionDenied, filepath.Dir(cfg.DataDir): codes.PermissionDenied,
		filepath.Join(cfg.DataDir, "sessions"): codes.PermissionDenied, filepath.Join(cfg.DataDir, "journal"): codes.PermissionDenied,
	} {
		_, err := sandgatev1.NewToolServiceClient(r.conn).Execute(t.Context(), &sandgatev1.ExecuteRequest{Call: &sandgatev1.Call{
			Tool: "bash", ArgsJson: `{"command":"true"}`, WorkspaceDir: dir,
		}})
		if status.Code(err) != want {
			t.Errorf("%s: got %v, want %v", dir, err, want)
		}
	}
}
