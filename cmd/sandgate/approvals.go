package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func newApprovalsCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "List, show and watch the calls that policy asks about",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newApprovalsListCommand(c), newApprovalsShowCommand(c), newApprovalsWatchCommand(c))
	return cmd
}

func newApprovalsListCommand(c *client) *cobra.Command {
	var asJSON bool
	state := "pending"
	cmd := &cobra.Command{
		Use: "list", Short: "List approvals, oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			wanted := sandgatev1.ApprovalState_APPROVAL_STATE_UNSPECIFIED
			if state != "any" {
				n, ok := sandgatev1.ApprovalState_value["APPROVAL_STATE_"+strings.ToUpper(state)]
				if !ok || n == 0 {
					return fmt.Errorf("--state %q: want pending, approved, denied, expired, used, void or any", state)
				}
				wanted = sandgatev1.ApprovalState(n)
			}
			return c.approvals(func(api sandgatev1.ApprovalServiceClient) error { return listApprovals(cmd, api, wanted, asJSON) })
		},
	}
	cmd.Flags().StringVar(&state, "state", state, "pending, approved, denied, expired, used, void or any")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func listApprovals(cmd *cobra.Command, api sandgatev1.ApprovalServiceClient, state sandgatev1.ApprovalState, asJSON bool) error {
	var list []*sandgatev1.Approval
	for token := ""; ; {
		resp, err := api.ListApprovals(cmd.Context(), &sandgatev1.ListApprovalsRequest{State: state, PageToken: token})
		if err != nil {
			return err
		}
		list = append(list, resp.GetApprovals()...)
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	if asJSON {
		out := make([]any, 0, len(list))
		for _, a := range list {
			out = append(out, plainJSON(a))
		}
		return writeIndented(cmd.OutOrStdout(), out)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "nothing waits for an approval")
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(w, "ID\tSTATE\tCALLER\tSESSION\tEXPIRES\tWHAT"); err != nil {
		return err
	}
	for _, a := range list {
		if _, err := fmt.Fprintln(w, approvalLine(a)); err != nil {
			return err
		}
	}
	return w.Flush()
}

// approvalLine is an approval in one line.
func approvalLine(a *sandgatev1.Approval) string {
	return strings.Join([]string{
		visible(a.GetApprovalId()), stateText(a.GetState()), visible(a.GetCallerId()), cellText(a.GetCall().GetSessionId()), a.GetExpireTime().AsTime().Local().Format(time.TimeOnly),
		visible(a.GetCall().GetTool()) + " " + brief(a.GetCall().GetArgsJson()),
	}, "\t")
}

// brief is the beginning of arguments: of a single text itself.
func brief(raw string) string {
	var texts map[string]string
	if json.Unmarshal([]byte(raw), &texts) == nil && len(texts) == 1 {
		for _, text := range texts {
			raw = text
		}
	}
	const most = 60
	if shown := []rune(visible(raw)); len(shown) > most {
		return string(shown[:most]) + "…"
	}
	return visible(raw)
}

func newApprovalsShowCommand(c *client) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show what an approval is about", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.approvals(func(api sandgatev1.ApprovalServiceClient) error {
				resp, err := api.GetApproval(cmd.Context(), &sandgatev1.GetApprovalRequest{ApprovalId: args[0]})
				switch {
				case err != nil:
					return err
				case asJSON:
					return writeIndented(cmd.OutOrStdout(), plainJSON(resp.GetApproval()))
				}
				return writeApproval(cmd.OutOrStdout(), resp.GetApproval(), time.Now())
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newApprovalsWatchCommand(c *client) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "watch", Short: "Print what waits, and then each change, until interrupted", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.approvals(func(api sandgatev1.ApprovalServiceClient) error {
				stream, err := api.WatchApprovals(cmd.Context(), &sandgatev1.WatchApprovalsRequest{})
				if err != nil {
					return err
				}
				for {
					resp, err := stream.Recv()
					switch {
					case errors.Is(err, io.EOF), err != nil && cmd.Context().Err() != nil:
						return nil
					case err != nil:
						return err
					}
					if err := printWatched(cmd.OutOrStdout(), resp.GetApproval(), asJSON); err != nil {
						return err
					}
				}
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object a line")
	return cmd
}

func printWatched(w io.Writer, a *sandgatev1.Approval, asJSON bool) error {
	line := strings.ReplaceAll(approvalLine(a), "\t", "  ")
	if asJSON {
		raw, err := json.Marshal(plainJSON(a))
		if err != nil {
			return fmt.Errorf("encode approval: %w", err)
		}
		line = string(raw)
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

func newGrantsCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "grants",
		Short: "List and revoke what approvers have allowed beforehand",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var asJSON bool
	list := &cobra.Command{
		Use: "list", Short: "List the grants that live", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.approvals(func(api sandgatev1.ApprovalServiceClient) error {
				resp, err := api.ListGrants(cmd.Context(), &sandgatev1.ListGrantsRequest{})
				if err != nil {
					return err
				}
				return printGrants(cmd.OutOrStdout(), resp.GetGrants(), asJSON)
			})
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	revoke := &cobra.Command{
		Use: "revoke ID...", Short: "End grants; calls that run go on", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.approvals(func(api sandgatev1.ApprovalServiceClient) error {
				for _, id := range args {
					if _, err := api.RevokeGrant(cmd.Context(), &sandgatev1.RevokeGrantRequest{GrantId: id}); err != nil {
						return err
					}
					if _, err := fmt.Fprintln(cmd.OutOrStdout(), visible(id)+": revoked"); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.AddCommand(list, revoke)
	return cmd
}

func printGrants(out io.Writer, grants []*sandgatev1.Grant, asJSON bool) error {
	if asJSON {
		list := make([]any, 0, len(grants))
		for _, g := range grants {
			list = append(list, plainJSON(g))
		}
		return writeIndented(out, list)
	}
	if len(grants) == 0 {
		_, err := fmt.Fprintln(out, "no grant lives")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(w, "ID\tCALLER\tSESSION\tUSED\tUNTIL\tBY\tWHAT"); err != nil {
		return err
	}
	for _, g := range grants {
		row := []string{
			g.GetGrantId(), g.GetCallerId(), g.GetSessionId(), fmt.Sprintf("%d of %d", g.GetUsed(), g.GetTerms().GetUses()), timeText(g.GetExpireTime()),
			strings.Join(g.GetApprovers(), ","), g.GetTool() + ": " + g.GetSummary(),
		}
		for i, text := range row {
			row[i] = visible(text)
		}
		if _, err := fmt.Fprintln(w, strings.Join(slices.Clip(row), "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}
