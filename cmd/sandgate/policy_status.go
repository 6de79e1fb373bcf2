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

// statusPause is how often `policy status --wait` asks, statusPatience after what
// time it tells what it still waits for: a daemon that starts is not worth a word.
const (
	statusPause    = 200 * time.Millisecond
	statusPatience = 2 * time.Second
)

// errWaited is the cause of a context that ended because --wait took too long.
var errWaited = errors.New("the time to wait is over")

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
its author calls it or by its whole revision, and calls are taken, also for a
daemon that only starts. What it waits for is on stderr; the exit code is 124 when
that has not come in time.`,
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
	s, err := f.status(cmd.Context(), c, cmd.ErrOrStderr())
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

// status asks the daemon, with --wait until calls are decided by the revision. Out
// of time it gives the last answer, if there was one, and an error.
func (f *statusFlags) status(ctx context.Context, c *client, progress io.Writer) (*sandgatev1.PolicyStatus, error) {
	if f.wait == "" {
		now, _, err := askStatus(ctx, c)
		return now, err
	}
	waiting, cancel := context.WithTimeoutCause(ctx, f.timeout, errWaited)
	defer cancel()
	began, told, why := time.Now(), "", "the daemon does not answer"
	var last *sandgatev1.PolicyStatus
	for {
		switch now, serves, err := askStatus(waiting, c); {
		case err == nil:
			if last, why = now, f.missing(now, serves); why == "" {
				return last, nil
			}
		case ctx.Err() != nil:
			return nil, err
		case waiting.Err() != nil: // the error only says that the time is up
		case errors.Is(err, errNoDaemon) || status.Code(err) == codes.Unavailable:
			why = oneLine(explain(err))
		default:
			return nil, err
		}
		if why != told && time.Since(began) >= statusPatience {
			if _, err := fmt.Fprintf(progress, "waiting for the revision %s: %s\n", f.wait, why); err != nil {
				return nil, err
			}
			told = why
		}
		select {
		case <-time.After(statusPause):
		case <-waiting.Done():
			return last, &lateError{revision: f.wait, after: f.timeout, why: why}
		}
	}
}

// missing is what keeps calls from being decided by the revision that is waited
// for; empty: nothing.
func (f *statusFlags) missing(s *sandgatev1.PolicyStatus, serves bool) string {
	if isRevision(s.GetRevision(), f.wait) {
		if serves {
			return ""
		}
		return "it is in force, but the daemon does not take calls: its log says why"
	}
	text := "no policy is in force"
	if s.GetRevision() != "" {
		text = s.GetRevision() + " is in force"
	}
	for _, e := range s.GetErrors() {
		text += "; the newest was refused: " + oneLine(e)
	}
	return text
}

// oneLine is a text of several lines in one, shortened.
func oneLine(text string) string {
	const most = 400
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// askStatus asks for the status of the policy, and whether calls are taken.
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

// lateError ends `policy status --wait` when calls are not decided by the revision
// in time.
type lateError struct {
	revision string
	after    time.Duration
	why      string
}

// Error implements error.
func (l *lateError) Error() string {
	return fmt.Sprintf("waited %s for the revision %s: %s", l.after, l.revision, l.why)
}

// ExitCode is that of a deadline that passed.
func (*lateError) ExitCode() int { return 124 }

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
