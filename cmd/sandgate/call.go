package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sandgate/sandgate/internal/version"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// stdinChunk is how much of stdin goes into one message.
const stdinChunk = 256 << 10

// maxDetachedStdin is the most stdin of a call that is not streamed.
const maxDetachedStdin = 1 << 20

// callOptions are the flags of `sandgate call`.
type callOptions struct {
	args                                  []string
	session, profile, workspace, cwd, id  string
	env                                   []string
	timeout                               time.Duration
	stdin, asJSON, dryRun, quiet, explain bool
	wait                                  bool
	detach, detachOnDisconnect, tty       bool
}

func newCallCommand(c *client) *cobra.Command {
	var o callOptions
	cmd := &cobra.Command{
		Use:   "call TOOL [JSON|@FILE|-]",
		Short: "Send a tool call; its output and exit code become this command's",
		Long: `Sends a tool call to the daemon, which decides it and, if policy allows it, runs it
in a sandbox. The tool's output is streamed to stdout and stderr. The first Ctrl-C
goes to the running tool, the second one cancels the call; with --tty all of them are
typed.

The arguments are one JSON object: as text, in a file (@FILE) or on stdin (-).
--arg NAME=TEXT adds a text argument, --arg NAME:=JSON any other.

Exit codes:
  0-122   the tool's own
  123     the tool ran into its output or disk limit
  124     the deadline passed
  125     sandgate could not do it, or what came of the call is not known
  126     denied by policy, an approval is needed, or what a program changed that ended
          well was dropped; the reason is on stderr
  127     the program could not be started
  128+N   signal N ended the tool; 130 also: you cancelled, 137 also: out of memory
A tool may exit with any of these itself: --json tells them apart.`,
		Example: `  sandgate call bash '{"command": "ls -la"}'
  sandgate call bash --arg command='grep -rn error .' --workspace ~/src/project
  sandgate call read_file --arg path=README.md --arg limit:=20
  sandgate call -t bash --arg command='bash -i'
  echo hello | sandgate call bash --arg command=cat --stdin
  id=$(sandgate call -d bash --arg command='make test'); sandgate logs -f $id`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return runCall(cmd, c, o, args) },
	}
	fl := cmd.Flags()
	fl.StringArrayVarP(&o.args, "arg", "a", nil, "argument NAME=TEXT or NAME:=JSON; may be repeated")
	fl.StringVarP(&o.session, "session", "s", "", "session whose workspace is used; made on first use")
	fl.StringVarP(&o.profile, "profile", "p", "", "policy profile, one of those the daemon gave you")
	fl.StringVarP(&o.workspace, "workspace", "w", "", "directory of the machine to work on, where the daemon permits it")
	fl.StringVar(&o.cwd, "cwd", "", "working directory in the sandbox (default the workspace)")
	fl.StringArrayVarP(&o.env, "env", "e", nil, "variable NAME=VALUE of the call; may be repeated")
	fl.DurationVar(&o.timeout, "timeout", 0, "end the call after this long; policy may end it earlier")
	fl.BoolVar(&o.stdin, "stdin", false, "give this command's stdin to the tool; with --detach all of it is read first, at most 1 MiB")
	fl.BoolVarP(&o.tty, "tty", "t", false, "give the tool this terminal: what is typed, its size, its Ctrl-C")
	fl.BoolVar(&o.asJSON, "json", false, "print the whole result as JSON instead of streaming the output")
	fl.StringVar(&o.id, "call-id", "", "id of the call: the same call under the same id never runs twice")
	fl.BoolVarP(&o.dryRun, "dry-run", "n", false, "only decide: run nothing and print the decision")
	fl.BoolVar(&o.explain, "explain", false, "with --dry-run --json: also print the input that policy saw")
	fl.BoolVarP(&o.detach, "detach", "d", false, "run it in the background: print its id once it runs, and return")
	fl.BoolVar(&o.detachOnDisconnect, "detach-on-disconnect", false, "leaving with Ctrl-C, or losing the connection, does not end the call")
	fl.BoolVar(&o.wait, "wait", false, "wait while the call needs an approval, and go on once it is approved")
	fl.BoolVarP(&o.quiet, "quiet", "q", false, "do not say on stderr what sandgate has to say of the result")
	return cmd
}

func runCall(cmd *cobra.Command, c *client, o callOptions, args []string) error {
	if err := o.conflict(); err != nil {
		return err
	}
	call, err := o.call(cmd.InOrStdin(), args)
	if err != nil {
		return err
	}
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	api := sandgatev1.NewToolServiceClient(conn)
	switch {
	case o.dryRun:
		return o.evaluate(cmd, api, call)
	case o.detach:
		return o.start(cmd, api, call)
	}
	if o.detachOnDisconnect && call.GetCallId() == "" {
		call.CallId = uuid.NewString() // to say which call goes on
	}
	return o.execute(cmd, api, call)
}

// conflict says which flags exclude each other, and why.
func (o *callOptions) conflict() error {
	for _, c := range []struct {
		both       bool
		which, why string
	}{
		{o.detach && o.dryRun, "--detach and --dry-run", "a dry run runs nothing"},
		{o.detachOnDisconnect && o.dryRun, "--detach-on-disconnect and --dry-run", "a dry run runs nothing"},
		{o.detach && o.detachOnDisconnect, "--detach and --detach-on-disconnect", "a call in the background has no connection to lose"},
		{o.detach && o.wait, "--detach and --wait", "a call in the background is not waited for; once it is approved, send it again under its --call-id"},
		{o.wait && o.dryRun, "--wait and --dry-run", "a dry run asks nobody"},
		{o.stdin && o.dryRun, "--stdin and --dry-run", "a dry run reads nothing"},
		{o.tty && o.detach, "--tty and --detach", "a call in the background has no terminal"},
		{o.tty && o.dryRun, "--tty and --dry-run", "a dry run runs nothing"},
		{o.tty && o.asJSON, "--tty and --json", "the terminal shows the output as it comes"},
		{o.tty && o.stdin, "--tty and --stdin", "what is typed at the terminal is its stdin already"},
	} {
		if c.both {
			return fmt.Errorf("%s exclude each other: %s", c.which, c.why)
		}
	}
	if o.explain && (!o.dryRun || !o.asJSON) {
		return errors.New("--explain wants --dry-run and --json as well: what policy saw is a part of that output")
	}
	return nil
}

// call makes the call of the flags and arguments.
func (o *callOptions) call(stdin io.Reader, args []string) (*sandgatev1.Call, error) {
	source := ""
	if len(args) == 2 {
		source = args[1]
	}
	if source == "-" && o.stdin {
		return nil, errors.New("stdin cannot be both the arguments (-) and the tool's stdin (--stdin)")
	}
	text, err := callArguments(stdin, source, o.args)
	if err != nil {
		return nil, err
	}
	env, err := parseVariables(o.env)
	if err != nil {
		return nil, err
	}
	dir := o.workspace
	if dir != "" {
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, fmt.Errorf("--workspace %q: %w", o.workspace, err)
		}
	}
	call := &sandgatev1.Call{
		CallId: o.id, SessionId: o.session, Profile: o.profile, Tool: args[0], ArgsJson: text, Cwd: o.cwd, Env: env, WorkspaceDir: dir,
		Agent: &sandgatev1.Agent{Name: "sandgate-cli", Version: version.Get().Version},
	}
	if o.timeout != 0 {
		call.Timeout = durationpb.New(o.timeout)
	}
	return call, nil
}

func (o *callOptions) evaluate(cmd *cobra.Command, api sandgatev1.ToolServiceClient, call *sandgatev1.Call) error {
	resp, err := api.Evaluate(cmd.Context(), &sandgatev1.EvaluateRequest{Call: call, Explain: o.explain})
	if err != nil {
		return err
	}
	d := resp.GetDecision()
	if o.asJSON {
		err = writeIndented(cmd.OutOrStdout(), plainJSON(resp))
	} else {
		err = newReporter(cmd.OutOrStdout()).decision(d)
	}
	if err == nil && d.GetOutcome() != sandgatev1.DecisionOutcome_DECISION_OUTCOME_ALLOW {
		return exitCode(exitDenied)
	}
	return err
}

func (o *callOptions) execute(cmd *cobra.Command, api sandgatev1.ToolServiceClient, call *sandgatev1.Call) error {
	local, err := o.terminal(cmd.InOrStdin())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	stream, err := api.ExecuteStream(ctx)
	if err != nil {
		return err
	}
	start := &sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Start{
		Start: &sandgatev1.ExecuteStart{
			Call: call, Stdin: o.stdin || o.tty, DetachOnDisconnect: o.detachOnDisconnect, Terminal: local.proto(),
		},
	}}
	up := &upstream{stream: stream}
	if err := up.send(start); err == nil && o.stdin {
		go up.sendStdin(cmd.InOrStdin(), cancel)
	}
	if !o.detachOnDisconnect {
		defer onInterrupt(cmd.Context(), up.interrupted)()
	}
	defer local.restore()
	begun := func() error {
		up.started()
		return local.join(ctx, up, cmd.InOrStdin(), cancel)
	}
	out, errOut := cmd.OutOrStdout(), cmd.ErrOrStderr()
	if o.asJSON {
		out, errOut = io.Discard, io.Discard
	}
	res, err := o.receive(stream, newOutputs(out, errOut), cmd.ErrOrStderr(), begun)
	local.restore()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && cmd.Context().Err() == nil {
			return cause // stdin could not be read
		}
		switch {
		case cmd.Context().Err() != nil && o.detachOnDisconnect:
			return left(cmd, call.GetCallId())
		case cmd.Context().Err() != nil:
			return exitCode(exitCancelled)
		}
		return err
	}
	return conclude(cmd, res, o.asJSON, o.quiet)
}

// start runs a call in the background and prints its id, or what came of it if it
// has ended before.
func (o *callOptions) start(cmd *cobra.Command, api sandgatev1.ToolServiceClient, call *sandgatev1.Call) error {
	req := &sandgatev1.ExecuteRequest{Call: call, Detach: true}
	if o.stdin {
		data, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxDetachedStdin+1))
		if err != nil {
			return fmt.Errorf("read stdin: %w", err)
		}
		if len(data) > maxDetachedStdin {
			return fmt.Errorf("stdin has more than %d bytes, which a call in the background cannot be given", maxDetachedStdin)
		}
		req.Stdin = data
	}
	resp, err := api.Execute(cmd.Context(), req)
	if err != nil {
		return err
	}
	if res := resp.GetResult(); res != nil {
		if !o.asJSON {
			if err := newOutputs(cmd.OutOrStdout(), cmd.ErrOrStderr()).rest(res); err != nil {
				return err
			}
		}
		return conclude(cmd, res, o.asJSON, o.quiet)
	}
	if o.asJSON {
		return writeIndented(cmd.OutOrStdout(), plainJSON(resp.GetRunning()))
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), resp.GetRunning().GetCallId())
	return err
}

// receive writes output as it comes and returns the result. A call that needs an
// approval ends here, unless it is to be waited for; it goes on when it is sent again.
func (o *callOptions) receive(stream sandgatev1.ToolService_ExecuteStreamClient, out *outputs, notes io.Writer, begun func() error) (*sandgatev1.Result, error) {
	var decided *sandgatev1.DecisionEvent
	for {
		msg, err := stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil, errors.New("the daemon ended the stream without a result: see its log")
			}
			return nil, err
		}
		switch event := msg.GetEvent().(type) {
		case *sandgatev1.ExecuteStreamResponse_Decision:
			decided = event.Decision
		case *sandgatev1.ExecuteStreamResponse_ApprovalPending:
			a := event.ApprovalPending.GetApproval()
			if !o.wait {
				return unanswered(decided, a), nil
			}
			if !o.quiet {
				_, err = fmt.Fprintf(notes, "sandgate: waits for an approval: sandgate approve %s\n", visible(a.GetApprovalId()))
			}
		case *sandgatev1.ExecuteStreamResponse_Started:
			err = begun()
		case *sandgatev1.ExecuteStreamResponse_Output:
			err = out.event(event.Output)
		case *sandgatev1.ExecuteStreamResponse_Result:
			return event.Result, out.rest(event.Result)
		}
		if err != nil {
			return nil, fmt.Errorf("follow the call: %w", err)
		}
	}
}

// unanswered is the result of a call that is not waited for.
func unanswered(decided *sandgatev1.DecisionEvent, a *sandgatev1.Approval) *sandgatev1.Result {
	return &sandgatev1.Result{
		CallId: decided.GetCallId(), Outcome: sandgatev1.Outcome_OUTCOME_APPROVAL_REQUIRED, ExitCode: -1, IsError: true,
		Decision: decided.GetDecision(), Digest: a.GetDigest(), ApprovalId: a.GetApprovalId(),
		Message: "once it is approved (sandgate approve " + a.GetApprovalId() + "), send it again with --call-id " + decided.GetCallId(),
	}
}
