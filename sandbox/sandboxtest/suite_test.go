package sandboxtest_test

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"testing"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// onTheMachine stands for a sandbox with programs of the machine itself: the
// suite's own scripts only, none of them hostile.
func onTheMachine(ctx context.Context, call sandbox.Call) (sandbox.Result, error) {
	cmd := exec.CommandContext(ctx, call.Argv[0], call.Argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = call.Env, call.Stdin, &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return sandbox.Result{}, err
	}
	return sandbox.Result{
		Outcome: sandbox.OutcomeExited, ExitCode: cmd.ProcessState.ExitCode(),
		Stdout: sandbox.Output{Head: stdout.Bytes()}, Stderr: sandbox.Output{Head: stderr.Bytes()},
	}, nil
}

func TestFakeKeepsTheContract(t *testing.T) {
	sandboxtest.Run(t, func(*testing.T) sandbox.Runtime { return sandboxtest.NewFake(onTheMachine) })
}
