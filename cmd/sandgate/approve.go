package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// approvals runs a function with a client of the daemon's ApprovalService.
func (c *client) approvals(run func(sandgatev1.ApprovalServiceClient) error) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	return run(sandgatev1.NewApprovalServiceClient(conn))
}

// approveOptions are the flags of approve.
type approveOptions struct {
	yes, grant      bool
	digest, comment string
	scope           string
	uses            int32
	ttl             time.Duration
}

func newApproveCommand(c *client) *cobra.Command {
	var o approveOptions
	cmd := &cobra.Command{
		Use:   "approve [ID]",
		Short: "Let a call run that policy asks about",
		Long: `Shows what would run and asks whether it may. Without an ID it lists what waits.

What runs is what you saw: the approval is bound to the call, to the files that it refers
to and to the policy. Scripts say yes with --yes and the --digest that "sandgate approvals
show ID --json" gives as binding_digest.

With --grant calls of the same kind are allowed, too, without asking: as often and as long
as --uses and --for say, in the same session or, with --scope caller, for all calls of the
caller. "sandgate grants" lists and revokes them.

Nobody approves his own calls, unless policy lets him: where the agent runs as you, answer
as root (sudo sandgate approve), or with a token that the agent does not have
(SANDGATE_APPROVER_TOKEN, approvals.tokens_file in the daemon's configuration).

Exit codes: 0 approved, 1 not approved.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.approvals(func(api sandgatev1.ApprovalServiceClient) error {
				if len(args) == 0 {
					return listApprovals(cmd, api, sandgatev1.ApprovalState_APPROVAL_STATE_PENDING, false)
				}
				return o.run(cmd, api, args[0])
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask; needs --digest")
	f.StringVar(&o.digest, "digest", "", "binding digest of what you have seen")
	f.StringVarP(&o.comment, "comment", "m", "", "why, for the journal")
	f.BoolVar(&o.grant, "grant", false, "give the grant that is offered as well")
	f.StringVar(&o.scope, "scope", "", "of the grant: session or caller (default the session, where there is one)")
	f.Int32Var(&o.uses, "uses", 0, "how often the grant can be used (default 20)")
	f.DurationVar(&o.ttl, "for", 0, "how long the grant lives (default 1h)")
	return cmd
}

func (o *approveOptions) run(cmd *cobra.Command, api sandgatev1.ApprovalServiceClient, id string) error {
	if o.yes && o.digest == "" {
		return errors.New("--yes needs --digest: say what you have seen (sandgate approvals show " + visible(id) + " --json gives it as binding_digest)")
	}
	req := &sandgatev1.ApproveRequest{ApprovalId: id, Digest: o.digest, Comment: o.comment}
	if o.grant || o.scope != "" || o.uses != 0 || o.ttl != 0 {
		req.Grant = &sandgatev1.GrantTerms{Scope: o.scope, Uses: o.uses}
		if o.ttl != 0 {
			req.Grant.Ttl = durationpb.New(o.ttl)
		}
	}
	if !o.yes {
		seen, err := o.confirmed(cmd, api, req)
		if err != nil {
			return err
		}
		if o.digest != "" && o.digest != seen {
			return fmt.Errorf("approval %s has the digest %s, not %s: look at what is shown here", visible(id), visible(seen), visible(o.digest))
		}
		req.Digest = seen
	}
	resp, err := api.Approve(cmd.Context(), req)
	if err != nil {
		return err
	}
	return approved(cmd, resp.GetApproval())
}

// confirmed shows the approval, and returns the digest of what was shown once the person
// has typed yes.
func (o *approveOptions) confirmed(cmd *cobra.Command, api sandgatev1.ApprovalServiceClient, req *sandgatev1.ApproveRequest) (string, error) {
	resp, err := api.GetApproval(cmd.Context(), &sandgatev1.GetApprovalRequest{ApprovalId: req.GetApprovalId()})
	if err != nil {
		return "", err
	}
	a, out := resp.GetApproval(), cmd.OutOrStdout()
	if err := writeApproval(out, a, time.Now()); err != nil {
		return "", err
	}
	if a.GetState() != sandgatev1.ApprovalState_APPROVAL_STATE_PENDING {
		return "", fmt.Errorf("approval %s is %s: it cannot be answered any more", visible(a.GetApprovalId()), stateText(a.GetState()))
	}
	question := "Let it run"
	if req.GetGrant() != nil {
		question = "Let it run, and others of the granted kind without asking"
	}
	if _, err := fmt.Fprintf(out, "%s? Type yes: ", question); err != nil {
		return "", err
	}
	answer, err := readLine(cmd.Context(), bufio.NewReader(cmd.InOrStdin()))
	if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "yes") {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "not approved: it still waits (sandgate deny refuses it)") // nothing is lost with it
		return "", exitCode(1)
	}
	return a.GetBindingDigest(), nil
}

// readLine reads a line, or gives up when ctx ends.
func readLine(ctx context.Context, from *bufio.Reader) (string, error) {
	type read struct {
		line string
		err  error
	}
	done := make(chan read, 1)
	go func() {
		line, err := from.ReadString('\n')
		done <- read{line, err}
	}()
	select {
	case r := <-done:
		if r.line != "" {
			return r.line, nil
		}
		return "", r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func approved(cmd *cobra.Command, a *sandgatev1.Approval) error {
	text := visible(a.GetApprovalId()) + ": "
	switch a.GetState() { //nolint:exhaustive // in no other state an answer is taken
	case sandgatev1.ApprovalState_APPROVAL_STATE_PENDING:
		text += fmt.Sprintf("your approval is noted; it needs %d more, by others", int(a.GetQuorum())-len(a.GetVotes()))
	case sandgatev1.ApprovalState_APPROVAL_STATE_USED: // approved twice, or by a call that waits
		text += "approved, and the call has run by it"
	default:
		text += "approved; the call runs when its host sends it again, unless it waits"
	}
	if a.GetGrantId() != "" {
		text += "\n" + visible(a.GetGrantId()) + ": granted (sandgate grants revoke ends it)"
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}

func newDenyCommand(c *client) *cobra.Command {
	var message string
	cmd := &cobra.Command{
		Use:   "deny ID",
		Short: "Refuse a call that policy asks about",
		Long: `Refuses a call that waits for an approval, or that has one and did not run yet. The
model is told --message.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.approvals(func(api sandgatev1.ApprovalServiceClient) error {
				resp, err := api.Deny(cmd.Context(), &sandgatev1.DenyRequest{ApprovalId: args[0], Message: message})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), visible(resp.GetApproval().GetApprovalId())+": denied")
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&message, "message", "m", "", "what the model is told")
	return cmd
}
