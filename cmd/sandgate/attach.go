package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func newAttachCommand(c *client) *cobra.Command {
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "attach ID",
		Short: "Follow a running call, or replay a finished one; its output and exit code become this command's",
		Long: `Streams what is kept of a call's output and what follows, until it ends. Leaving
with Ctrl-C does nothing to the call: ` + "`sandgate kill`" + ` ends it.

Exit codes are those of ` + "`sandgate call`" + `; 130 also: you left and the call goes on.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.tools(func(api sandgatev1.ToolServiceClient) error {
				out, errOut := cmd.OutOrStdout(), cmd.ErrOrStderr()
				if asJSON {
					out, errOut = io.Discard, io.Discard
				}
				res, err := follow(cmd.Context(), api, &sandgatev1.AttachRequest{CallId: args[0]}, newOutputs(out, errOut), nil)
				if cmd.Context().Err() != nil {
					return left(cmd, args[0])
				}
				if err != nil {
					return err
				}
				return conclude(cmd, res, asJSON, quiet)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the whole result as JSON instead of streaming the output")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "do not say on stderr what sandgate has to say of the result")
	return cmd
}

func newLogsCommand(c *client) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "logs ID",
		Short: "Print what is kept of a call's output",
		Long: `Prints what is kept of a call's output so far, stdout and stderr each to its own.
With --follow it goes on until the call ends. The exit code is 0 whatever the
call's is: ` + "`sandgate attach`" + ` takes that over.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.tools(func(api sandgatev1.ToolServiceClient) error {
				return logs(cmd, api, args[0], wait)
			})
		},
	}
	cmd.Flags().BoolVarP(&wait, "follow", "f", false, "go on until the call ends")
	return cmd
}

func logs(cmd *cobra.Command, api sandgatev1.ToolServiceClient, id string, wait bool) error {
	out := newOutputs(cmd.OutOrStdout(), cmd.ErrOrStderr())
	var enough func() bool
	if !wait {
		st, err := api.GetCall(cmd.Context(), &sandgatev1.GetCallRequest{CallId: id})
		if err != nil {
			return err
		}
		if st.GetState() == sandgatev1.CallState_CALL_STATE_RUNNING {
			enough = func() bool { return out.stdout.next >= st.GetStdoutBytes() && out.stderr.next >= st.GetStderrBytes() }
		}
	}
	_, err := follow(cmd.Context(), api, &sandgatev1.AttachRequest{CallId: id}, out, enough)
	if cmd.Context().Err() != nil {
		return left(cmd, id)
	}
	return err
}

// follow attaches to a call and writes its output until its result has come, or
// until there is enough; the result is then nil.
func follow(ctx context.Context, api sandgatev1.ToolServiceClient, req *sandgatev1.AttachRequest, out *outputs, enough func() bool) (*sandgatev1.Result, error) {
	if enough != nil && enough() {
		return nil, nil //nolint:nilnil // there is nothing to wait for
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := api.Attach(ctx, req)
	if err != nil {
		return nil, err
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil, errors.New("the daemon ended the stream without a result: see its log")
			}
			return nil, err
		}
		switch event := msg.GetEvent().(type) {
		case *sandgatev1.AttachResponse_Output:
			err = out.event(event.Output)
		case *sandgatev1.AttachResponse_Gap:
			err = out.gap(event.Gap)
		case *sandgatev1.AttachResponse_Result:
			return event.Result, nil // what was missing was told as a gap
		}
		if err != nil {
			return nil, fmt.Errorf("write output: %w", err)
		}
		if enough != nil && enough() {
			return nil, nil //nolint:nilnil // the result is not waited for
		}
	}
}

// left tells that the call goes on without this command.
func left(cmd *cobra.Command, id string) error {
	if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "sandgate: call %s goes on: `sandgate attach %s` follows it, `sandgate kill %s` ends it\n", id, id, id); err != nil {
		return err
	}
	return exitCode(exitCancelled)
}

// conclude prints what is to be said of a result and makes its exit code this
// command's.
func conclude(cmd *cobra.Command, res *sandgatev1.Result, asJSON, quiet bool) error {
	var err error
	switch {
	case asJSON:
		err = writeIndented(cmd.OutOrStdout(), plainJSON(res))
	case !quiet:
		r := newReporter(cmd.ErrOrStderr())
		err = errors.Join(r.changes(res), r.result(res))
	}
	if err != nil {
		return err
	}
	if code := codeOf(res); code != 0 {
		return exitCode(code)
	}
	return nil
}

// tools dials the daemon for do.
func (c *client) tools(do func(sandgatev1.ToolServiceClient) error) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	return do(sandgatev1.NewToolServiceClient(conn))
}
