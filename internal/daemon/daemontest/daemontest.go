// Package daemontest has a sandbox for tests of the daemon and of the commands:
// it runs programs on the machine itself, without root and without any
// isolation. Tests import it; it must never be part of a command.
package daemontest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/config"
	"github.com/sandgate/sandgate/internal/daemon"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// Sandbox is sandboxtest.Fake with what the daemon wants besides.
type Sandbox struct{ *sandboxtest.Fake }

var _ daemon.Sandbox = Sandbox{}

// PrepareDir implements daemon.Sandbox.
func (Sandbox) PrepareDir(dir string) error { return os.MkdirAll(dir, 0o700) }

// Open is a daemon.OpenSandbox whose calls are programs of this machine, run in
// an empty directory of the data directory.
func Open(_ context.Context, cfg config.Config, _ *zap.Logger) (daemon.Sandbox, error) {
	dir := filepath.Join(cfg.DataDir, "fake-workspace")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return Sandbox{sandboxtest.NewFake(func(ctx context.Context, call sandbox.Call) (sandbox.Result, error) {
		return runHere(ctx, dir, call)
	})}, nil
}

func runHere(ctx context.Context, dir string, call sandbox.Call) (sandbox.Result, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, call.Argv[0], call.Argv[1:]...) //nolint:gosec // this is what the fake is for
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, call.Stdin, &stdout, &stderr
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, call.Env...)
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return sandbox.Result{Outcome: sandbox.OutcomeStartFailed, Message: err.Error()}, nil
	}
	res := sandboxtest.Exit(cmd.ProcessState.ExitCode(), stdout.String())
	res.Stderr = sandbox.Output{Head: stderr.Bytes(), TotalBytes: int64(stderr.Len())}
	return res, nil
}
