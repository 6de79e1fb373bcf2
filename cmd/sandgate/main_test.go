package main

import (
	"context"
	"fmt"
	"os"
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
	testscript.Main(m, map[string]func(){"sandgate": main, "testdaemon": testOnlyDaemon})
}

// TestScripts runs the real main against a daemon whose sandbox is a fake.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SANDGATE_DATA_DIR", filepath.Join(e.WorkDir, "d"))
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"ready": waitReady},
	})
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
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
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
