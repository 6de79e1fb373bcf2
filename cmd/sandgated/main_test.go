package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sandgate/sandgate/internal/config"
	"github.com/sandgate/sandgate/internal/daemon/daemontest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sandgated":      main,
		"sandgated-fake": func() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, daemontest.Open)) },
	})
}

// TestScripts runs the real main; sandgated-fake is it with a fake sandbox.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SANDGATE_DATA_DIR", filepath.Join(e.WorkDir, "d"))
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"alive": waitAlive},
	})
}

// waitAlive waits until the script's daemon answers: `alive [SOCKET]`.
func waitAlive(ts *testscript.TestScript, _ bool, args []string) {
	target := "unix://" + filepath.Join(ts.Getenv("SANDGATE_DATA_DIR"), config.SocketName)
	if len(args) == 1 {
		target = "unix://" + ts.MkAbs(args[0])
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, MaxDelay: time.Second}}))
	ts.Check(err)
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
	ts.Check(err)
}
