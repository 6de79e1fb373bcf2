// Command sandgate is the command line of sandgate: it sends calls to a daemon,
// shows tools and what a machine can enforce, manages images, and holds the
// tools of policy authors. People and scripts call it. It must never decide or
// run a call itself: that is the daemon's.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/version"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments. It returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	cmd := newRootCommand()
	cmd.SetArgs(args)
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	_, _ = fmt.Fprintln(stderr, newPalette(stderr).red("sandgate: ")+explain(err)) // there is nowhere else to say it
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	if called, _, findErr := cmd.Find(args); findErr == nil && (called.Name() == "call" || called.Name() == "attach") {
		return exitFault
	}
	return 1
}

// exitCode ends the command with a code and no message: everything is said.
type exitCode int

// Error implements error.
func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func newRootCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "sandgate",
		Short: "Decide tool calls against policy and run the allowed ones in sandboxes",
		Long: `sandgate sends proposed tool calls to a sandgate daemon, which decides them
against Rego policies and runs the allowed ones in sandboxes.

  sandgate call bash '{"command": "ls -la"}'     run a tool
  sandgate tools                                 what you may call
  sandgate approve                               what waits for your approval
  sandgate doctor                                what this machine can enforce
  sandgate policy test FILE                      try a policy, no daemon needed

The daemon is found by --addr, else SANDGATE_ADDR, else the socket in the default
data directory. Over TCP the token is taken from SANDGATE_TOKEN.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true, Version: version.Get().String(),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&c.addr, "addr", os.Getenv("SANDGATE_ADDR"),
		"address of the daemon, unix:///path or tcp://host:port (env SANDGATE_ADDR)")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if strings.Contains(err.Error(), "in duration") || strings.Contains(err.Error(), "invalid duration") {
			return fmt.Errorf("%w: want a number with a unit, such as 90s, 10m or 24h", err)
		}
		return fmt.Errorf("%w: see `%s --help`", err, cmd.CommandPath())
	})
	authoring := newPolicyCommand()
	authoring.AddCommand(newPolicyStatusCommand(c))
	cmd.AddCommand(
		newCallCommand(c), newCallsCommand(c), newAttachCommand(c), newLogsCommand(c), newKillCommand(c), newToolsCommand(c), newDoctorCommand(c), newImageCommand(c), newSessionCommand(c), newApproveCommand(c), newDenyCommand(c),
		newApprovalsCommand(c), newGrantsCommand(c), authoring, newAuditCommand(c), newVersionCommand(c),
	)
	sayUsage(cmd)
	return cmd
}

// sayUsage lets commands that got too few or too many arguments say which they want.
func sayUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil && cmd.HasParent() {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fmt.Errorf("%w: want `%s`, see `%s --help`", err, cmd.UseLine(), cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		sayUsage(sub)
	}
}
