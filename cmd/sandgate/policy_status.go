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
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// statusPause is how often `policy status --wait` asks.
const statusPause = 200 * time.Millisecond

// statusFlags are those of `sandgate policy status`.
type statusFlags struct {
	output  string
	wait    string
	timeout time.Duration
}

// newPolicyStatusCommand asks a daemon, unlike the other policy tools.
func newPolicyStatusCommand(c *client) *cobra.Command {
	var flags statusFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show which policy a daemon decides by, and where it is from",
		Long: `Asks the daemon which policy is in force, where it is from and what became of the
newest attempt to get one. The exit code is 1 when no policy is in force or the
newest one was refused.

With --wait it waits until the policy in force is the one that is named, by what
its author calls it or by its whole revision, and calls are served, also for a
daemon that only starts; the exit code is 124 when that has not come in time.`,
		Example: `  sandgate policy status
  sandgate policy status --wait git:4f1c2ab --timeout 2m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.output != "table" && flags.output != "json" {
				return fmt.Errorf("--output %q: want table or json", flags.output)
			}
			return flags.run(cmd, c)
		},
	}
	cmd.Flags().StringVarP(&flags.output, "output", "o", "table", "table or json")
	cmd.Flags().StringVar(&flags.wait, "wait", "", "wait until the policy in force has this revision")
	cmd.Flags().DurationVar(&flags.timeout, "timeout", time.Minute, "how long --wait waits")
	return cmd
}

func (f *statusFlags) run(cmd *cobra.Command, c *client) error {
	s, err := f.status(cmd.Context(), c)
	if s == nil {
		return err
	}
	if f.output == "json" {
		err = errors.Join(err, writeIndented(cmd.OutOrStdout(), plainJSON(s)))
	} else {
		err = errors.Join(err, printPolicyStatus(cmd.OutOrStdout(), s))
	}
	if err == nil && (s.GetRevision() == "" || len(s.GetErrors()) > 0) {
		return exitCode(1)
	}
	return err
}

// status asks the daemon, with --wait until it has the revision. Out of time it
// gives the last answer, if there was one, and an error.
func (f *statusFlags) status(ctx context.Context, c *client) (*sandgatev1.PolicyStatus, error) {
	late := time.After(f.timeout)
	var last *sandgatev1.PolicyStatus
	for {
		now, serves, err := askStatus(ctx, c)
		if err == nil {
			last = now
		}
		switch {
		case f.wait == "":
			return last, err
		case err == nil && serves && isRevision(last.GetRevision(), f.wait):
			return last, nil
		case ctx.Err() != nil, err != nil && !errors.Is(err, errNoDaemon) && status.Code(err) != codes.Unavailable:
			return nil, err
		}
		select {
		case <-time.After(statusPause):
		case <-ctx.Done():
		case <-late:
			return last, errors.Join(err, lateRevision(f.wait))
		}
	}
}

// askStatus asks for the status of the policy, and whether calls are served.
func askStatus(ctx context.Context, c *client) (_ *sandgatev1.PolicyStatus, serves bool, _ error) {
	conn, err := c.dial()
	if err != nil {
		return nil, false, err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	resp, err := sandgatev1.NewPolicyServiceClient(conn).GetStatus(ctx, &sandgatev1.GetStatusRequest{})
	if err != nil {
		return nil, false, err
	}
	health, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: sandgatev1.ToolService_ServiceDesc.ServiceName})
	return resp.GetStatus(), err == nil && health.GetStatus() == healthpb.HealthCheckResponse_SERVING, nil
}

// lateRevision ends `policy status --wait` when the revision has not come.
type lateRevision string

// Error implements error.
func (l lateRevision) Error() string { return "the revision " + string(l) + " is not in force" }

// ExitCode is that of a deadline that passed.
func (lateRevision) ExitCode() int { return 124 }

// isRevision tells whether a revision, NAME@sha256:DIGEST, is the one that is
// meant by its name, its digest or as a whole.
func isRevision(revision, want string) bool {
	name, digest, _ := strings.Cut(revision, "@")
	return revision != "" && (want == revision || want == name || want == digest)
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
