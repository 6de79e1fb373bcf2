package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// newPolicyStatusCommand asks a daemon, unlike the other policy tools.
func newPolicyStatusCommand(c *client) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show which policy a daemon decides by, and where it is from",
		Long: `Asks the daemon which policy is in force, where it is from and what became of the
newest attempt to get one. The exit code is 1 when no policy is in force or the
newest one was refused.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("--output %q: want table or json", output)
			}
			conn, err := c.dial()
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // nothing is lost with it
			resp, err := sandgatev1.NewPolicyServiceClient(conn).GetStatus(cmd.Context(), &sandgatev1.GetStatusRequest{})
			if err != nil {
				return err
			}
			s := resp.GetStatus()
			if output == "json" {
				err = writeIndented(cmd.OutOrStdout(), plainJSON(s))
			} else {
				err = printPolicyStatus(cmd.OutOrStdout(), s)
			}
			if err == nil && (s.GetRevision() == "" || len(s.GetErrors()) > 0) {
				return exitCode(1)
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func printPolicyStatus(w io.Writer, s *sandgatev1.PolicyStatus) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	revision := s.GetRevision()
	if revision == "" {
		revision = "none: nothing is allowed"
	}
	rows := [][2]string{
		{"revision", revision},
		{"source", strings.TrimSpace(s.GetSourceKind() + " " + strings.TrimSpace(strings.TrimPrefix(s.GetSource(), s.GetSourceKind())))},
		{"loaded", moment(s.GetLoadTime())},
		{"last success", moment(s.GetLastSuccessTime())},
		{"profiles", strings.Join(s.GetProfiles(), ", ")},
		{"rules", fmt.Sprint(s.GetRules())},
		{"since the start", fmt.Sprintf("%d activated, %d refused", s.GetActivations(), s.GetRefusals())},
	}
	if n := s.GetDroppedLogEvents(); n > 0 {
		rows = append(rows, [2]string{"not in OPA's log", fmt.Sprint(n)})
	}
	for _, e := range s.GetErrors() {
		rows = append(rows, [2]string{"refused", moment(s.GetErrorTime()) + ": " + strings.ReplaceAll(e, "\n", "\n\t")})
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(table, "%s\t%s\n", row[0], row[1]); err != nil {
			return err
		}
	}
	if len(s.GetBundles()) > 0 {
		if _, err := fmt.Fprintf(table, "\nBUNDLE\tREVISION\tETAG\tTYPE\tBYTES\tASKED\tCAME\tIN FORCE\n"); err != nil {
			return err
		}
	}
	for _, b := range s.GetBundles() {
		_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", b.GetName(), orDash(b.GetRevision()), orDash(b.GetEtag()),
			orDash(b.GetType()), b.GetSizeBytes(), moment(b.GetRequestTime()), moment(b.GetDownloadTime()), moment(b.GetActivationTime()))
		if err == nil && b.GetError() != "" {
			_, err = fmt.Fprintf(table, "  error: %s\n", b.GetError())
		}
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// moment is a time as people read it.
func moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return "never"
	}
	return t.AsTime().Local().Format(time.DateTime)
}
