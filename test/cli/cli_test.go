package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sandgate/sandgate/internal/config"
	"github.com/sandgate/sandgate/internal/daemon"
	"github.com/sandgate/sandgate/internal/daemon/daemontest"
	"github.com/sandgate/sandgate/internal/logging"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"testdaemon": testOnlyDaemon})
}

func TestScripts(t *testing.T) {
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "github.com/sandgate/sandgate/cmd/sandgate")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build sandgate: %v\n%s", err, out)
	}
	watchSources(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SANDGATE_DATA_DIR", filepath.Join(e.WorkDir, "d"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("PATH", bin+string(filepath.ListSeparator)+e.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"ready": waitReady},
	})
}

// watchSources reads the command's sources, so that go test does not take an old
// result for theirs. What they import the test's daemon imports as well.
func watchSources(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("../../cmd/sandgate/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d sources and %v", len(files), err)
	}
	for _, f := range files {
		if _, err := os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
}

// testOnlyDaemon is a daemon on daemontest's sandbox: `testdaemon [CONFIG]`.
func testOnlyDaemon() {
	if err := runTestDaemon(); err != nil {
		fmt.Fprintln(os.Stderr, "testdaemon:", err)
		os.Exit(1)
	}
}

func runTestDaemon() error {
	file := ""
	if len(os.Args) > 1 {
		file = os.Args[1]
	}
	cfg, err := config.Load(file, config.Overrides{DataDir: os.Getenv("SANDGATE_DATA_DIR")})
	if err != nil {
		return err
	}
	logger, err := logging.New(logging.Options{Level: "warn", Format: "console", Output: os.Stderr})
	if err != nil {
		return err
	}
	d, err := daemon.New(cfg, daemon.Options{Logger: logger, OpenSandbox: daemontest.Open})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT)
	defer stop()
	return d.Run(ctx)
}

// waitReady waits until the script's daemon is ready, `ready`, or answers at
// all, `ready alive`.
func waitReady(ts *testscript.TestScript, _ bool, args []string) {
	service := "sandgate.v1.ToolService"
	if len(args) == 1 && args[0] == "alive" {
		service = ""
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), 20*time.Second, errors.New("the daemon does not answer"))
	defer cancel()
	conn, err := grpc.NewClient("unix://"+filepath.Join(ts.Getenv("SANDGATE_DATA_DIR"), config.SocketName),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, MaxDelay: time.Second}}))
	ts.Check(err)
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
	ts.Check(err)
	for {
		got, err := watch.Recv()
		ts.Check(err)
		if got.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			return
		}
	}
}
