package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// maxPage is the most calls that one request asks for.
const maxPage = 1000

func newCallsCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "calls",
		Short: "List your calls and look at one",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCallsListCommand(c), newCallsShowCommand(c))
	return cmd
}

func newCallsListCommand(c *client) *cobra.Command {
	var session string
	var running, asJSON bool
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List your calls that the daemon knows, the latest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return fmt.Errorf("--limit is %d: want 1 or more", limit)
			}
			req := &sandgatev1.ListCallsRequest{SessionId: session}
			if running {
				req.State = sandgatev1.CallState_CALL_STATE_RUNNING
			}
			return c.tools(func(api sandgatev1.ToolServiceClient) error {
				var all []*sandgatev1.CallSummary
				for len(all) < limit {
					req.PageSize = int32(min(limit-len(all), maxPage)) //nolint:gosec // bounded
					resp, err := api.ListCalls(cmd.Context(), req)
					if err != nil {
						return err
					}
					all = append(all, resp.GetCalls()...)
					if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
						break
					}
				}
				return printCalls(cmd.OutOrStdout(), all, asJSON)
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&session, "session", "s", "", "only calls of this session")
	fl.BoolVarP(&running, "running", "r", false, "only calls that are on their way")
	fl.IntVarP(&limit, "limit", "n", 50, "most calls to list")
	fl.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printCalls(w io.Writer, calls []*sandgatev1.CallSummary, asJSON bool) error {
	if asJSON {
		list := make([]any, len(calls))
		for i, call := range calls {
			list[i] = plainJSON(call)
		}
		return writeIndented(w, map[string]any{"calls": list})
	}
	if len(calls) == 0 {
		_, err := fmt.Fprintln(w, "no calls")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(table, "ID\tTOOL\tSESSION\tSTATE\tACCEPTED\tTOOK\tOUTPUT"); err != nil {
		return err
	}
	for _, call := range calls {
		session := call.GetSessionId()
		if session == "" {
			session = "-"
		}
		took := "-"
		if call.GetEndTime() != nil {
			took = call.GetEndTime().AsTime().Sub(call.GetAcceptTime().AsTime()).Round(time.Millisecond).String()
		}
		if _, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", call.GetCallId(), call.GetTool(), session, stateOf(call),
			call.GetAcceptTime().AsTime().Local().Format(time.DateTime), took, call.GetOutputBytes()); err != nil {
			return err
		}
	}
	return table.Flush()
}

// stateOf says where a call is on its way, or how it ended.
func stateOf(call *sandgatev1.CallSummary) string {
	var words []string
	switch {
	case call.GetState() == sandgatev1.CallState_CALL_STATE_RUNNING:
		words = append(words, "running")
	case call.GetOutcome() == sandgatev1.Outcome_OUTCOME_EXITED:
		words = append(words, fmt.Sprintf("exited %d", call.GetExitCode()))
	default:
		name := enumName(call.GetOutcome().Descriptor(), call.GetOutcome().Number())
		words = append(words, strings.ToLower(strings.ReplaceAll(name, "_", " ")))
	}
	if call.GetDetached() {
		words = append(words, "(detached)")
	}
	return strings.Join(words, " ")
}

func newCallsShowCommand(c *client) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Tell the state of a call, what it has used so far and how it ended",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.tools(func(api sandgatev1.ToolServiceClient) error {
				st, err := api.GetCall(cmd.Context(), &sandgatev1.GetCallRequest{CallId: args[0]})
				if err != nil {
					return c.orAsked(cmd.Context(), args[0], err)
				}
				if asJSON {
					return writeIndented(cmd.OutOrStdout(), plainJSON(st))
				}
				return printCall(cmd.OutOrStdout(), st)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, the result with its output included")
	return cmd
}

func printCall(w io.Writer, st *sandgatev1.GetCallResponse) error {
	res, usage := st.GetResult(), st.GetUsage()
	state := &sandgatev1.CallSummary{State: st.GetState(), Outcome: res.GetOutcome(), ExitCode: res.GetExitCode(), Detached: st.GetDetached()}
	if res != nil {
		usage = res.GetUsage()
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows := []struct {
		name, value string
		show        bool
	}{
		{"call", st.GetCallId(), true},
		{"tool", st.GetTool(), st.GetTool() != ""},
		{"session", st.GetSessionId(), st.GetSessionId() != ""},
		{"state", stateOf(state), true},
		{"message", res.GetMessage(), res.GetMessage() != ""},
		{"accepted", st.GetAcceptTime().AsTime().Local().Format(time.DateTime), st.GetAcceptTime() != nil},
		{"started", st.GetStartTime().AsTime().Local().Format(time.DateTime), st.GetStartTime() != nil},
		{"output", fmt.Sprintf("%d bytes of stdout, %d of stderr", st.GetStdoutBytes(), st.GetStderrBytes()), true},
		{"ran", res.GetDuration().GetRun().AsDuration().Round(time.Millisecond).String(), res.GetDuration().GetRun().AsDuration() > 0}, // else it did not, or for how long is not known
		{"cpu", (usage.GetCpuUser().AsDuration() + usage.GetCpuSystem().AsDuration()).Round(time.Millisecond).String(), usage != nil},
		{"memory", fmt.Sprintf("%d bytes at its peak", usage.GetMemoryPeakBytes()), usage.GetMemoryPeakBytes() > 0},
		{"digest", st.GetDigest(), true},
	}
	for _, row := range rows {
		if !row.show {
			continue
		}
		if _, err := fmt.Fprintf(table, "%s\t%s\n", row.name, row.value); err != nil {
			return err
		}
	}
	return table.Flush()
}

func newKillCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "kill ID...",
		Short: "End running calls",
		Long: `Ends calls with their whole process trees; they end as cancelled. A call that has
ended already is left alone. What became of each is printed.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.tools(func(api sandgatev1.ToolServiceClient) error {
				var errs []error
				for _, id := range args {
					text, err := kill(cmd.Context(), api, id)
					if err = c.orAsked(cmd.Context(), id, err); err == nil {
						_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", id, text)
					}
					if err != nil {
						errs = append(errs, fmt.Errorf("%s", explain(err)))
					}
				}
				return errors.Join(errs...)
			})
		},
	}
}

// orAsked is the error about a call that is not there, unless it waits for an approval:
// then it says that.
func (c *client) orAsked(ctx context.Context, id string, missing error) error {
	if status.Code(missing) != codes.NotFound {
		return missing
	}
	found := missing
	err := c.approvals(func(api sandgatev1.ApprovalServiceClient) error {
		list, err := api.ListApprovals(ctx, &sandgatev1.ListApprovalsRequest{State: sandgatev1.ApprovalState_APPROVAL_STATE_PENDING, PageSize: maxPage})
		for _, a := range list.GetApprovals() {
			if a.GetCall().GetCallId() == id {
				found = fmt.Errorf("call %q of %s did not run yet, it needs the approval %s: `sandgate approvals show %s` shows it, `sandgate deny %s` ends it",
					id, a.GetCallerId(), a.GetApprovalId(), a.GetApprovalId(), a.GetApprovalId())
			}
		}
		return err
	})
	if err != nil {
		return missing
	}
	return found
}

// errStillEnding ends the waiting for the end of a call.
var errStillEnding = errors.New("the call takes long to end")

// killWait is how long the end of a call is waited for.
const killWait = 10 * time.Second

// kill ends a call and says what became of it.
func kill(ctx context.Context, api sandgatev1.ToolServiceClient, id string) (string, error) {
	was, err := api.GetCall(ctx, &sandgatev1.GetCallRequest{CallId: id})
	if err != nil {
		return "", err
	}
	if was.GetState() == sandgatev1.CallState_CALL_STATE_FINISHED {
		return "it had ended before: " + ended(was.GetResult()), nil
	}
	if _, err := api.Cancel(ctx, &sandgatev1.CancelRequest{CallId: id}); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, killWait, errStillEnding)
	defer cancel()
	// From where its output ends now: it is not wanted.
	req := &sandgatev1.AttachRequest{CallId: id, StdoutOffset: was.GetStdoutBytes(), StderrOffset: was.GetStderrBytes()}
	res, err := follow(ctx, api, req, newOutputs(io.Discard, io.Discard), nil)
	if err != nil {
		return "it is being ended", nil //nolint:nilerr // that it has ended is not known yet
	}
	return ended(res), nil
}

// ended says how a call ended, as the list of calls does.
func ended(res *sandgatev1.Result) string {
	return stateOf(&sandgatev1.CallSummary{State: sandgatev1.CallState_CALL_STATE_FINISHED, Outcome: res.GetOutcome(), ExitCode: res.GetExitCode()})
}
