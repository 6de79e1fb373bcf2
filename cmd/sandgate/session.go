package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func newSessionCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "session",
		Short: "Make, list, look at and close sessions, move their files",
		Long: `A session is a workspace with labels, counters and grants that calls share. A call
that names a session which is not there makes one; "create" makes one with limits
and a workspace of your choice.

  sandgate session create work --directory ~/src/app --idle 2h
  sandgate call bash '{"command": "make test"}' --session work
  sandgate session download work report.txt
  sandgate session close work`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSessionCreateCommand(c), newSessionListCommand(c), newSessionGetCommand(c), newSessionCloseCommand(c),
		newSessionUploadCommand(c), newSessionDownloadCommand(c), newSessionChangesCommand(c),
		newSessionSnapshotCommand(c), newSessionSnapshotsCommand(c), newSessionRestoreCommand(c), newSessionForkCommand(c))
	return cmd
}

// sessions runs a function with a client of the daemon's SessionService.
func (c *client) sessions(run func(sandgatev1.SessionServiceClient) error) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	return run(sandgatev1.NewSessionServiceClient(conn))
}

// sessionWishes are the flags of create.
type sessionWishes struct {
	profile, directory, repository, branch, base string
	ephemeral, keepBranch                        bool
	labels                                       map[string]string
	ttl, idle, cpu                               time.Duration
	calls, disk, concurrent, background          int64
}

func newSessionCreateCommand(c *client) *cobra.Command {
	var w sessionWishes
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create [ID]",
		Short: "Make a session and print it",
		Long: `Makes a session and prints it. Without an ID the daemon makes one. Limits beyond
those of the daemon's configuration are taken back to them: stderr tells which, the
output what it got.

Its workspace is a directory of the daemon's own that lives as long as the session,
or, with --ephemeral, not over a restart of the daemon; with --directory a directory
of the machine; with --repository a working tree of a git repository on a branch of
its own.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := w.request(args)
			if err != nil {
				return err
			}
			return c.sessions(func(service sandgatev1.SessionServiceClient) error {
				resp, err := service.CreateSession(cmd.Context(), req)
				if err != nil {
					return err
				}
				if err := tellCut(cmd.ErrOrStderr(), req, resp.GetSession()); err != nil {
					return err
				}
				return printSession(cmd.OutOrStdout(), resp.GetSession(), asJSON)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&w.profile, "profile", "", "policy profile (default: yours)")
	f.StringVar(&w.directory, "directory", "", "directory of the machine to work on")
	f.StringVar(&w.repository, "repository", "", "git repository of the machine to have a working tree of")
	f.StringVar(&w.branch, "branch", "", "new branch of the working tree (default: sandgate/ID)")
	f.StringVar(&w.base, "base", "", "where the branch begins (default: HEAD)")
	f.BoolVar(&w.keepBranch, "keep-branch", false, "put the branch into the repository when the session ends")
	f.BoolVar(&w.ephemeral, "ephemeral", false, "end with the daemon")
	f.StringToStringVar(&w.labels, "label", nil, "label for policies and people, as KEY=VALUE; may be repeated")
	f.DurationVar(&w.ttl, "ttl", 0, "how long it lives")
	f.DurationVar(&w.idle, "idle", 0, "how long it lives without a call")
	f.Int64Var(&w.calls, "calls", 0, "how many calls may run in all its life")
	f.DurationVar(&w.cpu, "cpu", 0, "processor time of all its calls")
	f.Var(sizeValue{&w.disk}, "disk-bytes", "size of its workspace, as 64MiB, 1GiB or a number of bytes")
	f.Int64Var(&w.concurrent, "concurrent", 0, "how many calls may run at once")
	f.Int64Var(&w.background, "background", 0, "how many of them may be detached")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// request is what the flags say.
func (w *sessionWishes) request(args []string) (*sandgatev1.CreateSessionRequest, error) {
	req := &sandgatev1.CreateSessionRequest{
		Profile: w.profile, HostLabels: w.labels, Ttl: wished(w.ttl), IdleTimeout: wished(w.idle),
		Quota: &sandgatev1.SessionQuota{
			Calls: w.calls, CpuTime: wished(w.cpu), DiskBytes: w.disk, ConcurrentCalls: w.concurrent, BackgroundCalls: w.background,
		},
		Workspace: &sandgatev1.WorkspaceSpec{Kind: sandgatev1.WorkspaceKind_WORKSPACE_KIND_PERSISTENT},
	}
	if len(args) > 0 {
		req.SessionId = args[0]
	}
	kinds := 0
	for _, chosen := range []bool{w.ephemeral, w.directory != "", w.repository != ""} {
		if chosen {
			kinds++
		}
	}
	if kinds > 1 {
		return nil, errors.New("--ephemeral, --directory and --repository exclude each other: want one of them, or none")
	}
	if w.repository == "" && (w.branch != "" || w.base != "" || w.keepBranch) {
		return nil, errors.New("--branch, --base and --keep-branch are of a working tree: want --repository, too")
	}
	switch {
	case w.ephemeral:
		req.Workspace.Kind = sandgatev1.WorkspaceKind_WORKSPACE_KIND_EPHEMERAL
	case w.directory != "":
		dir, err := filepath.Abs(w.directory)
		if err != nil {
			return nil, fmt.Errorf("--directory: %w", err)
		}
		req.Workspace.Kind, req.Workspace.Directory = sandgatev1.WorkspaceKind_WORKSPACE_KIND_DIRECTORY, dir
	case w.repository != "":
		dir, err := filepath.Abs(w.repository)
		if err != nil {
			return nil, fmt.Errorf("--repository: %w", err)
		}
		req.Workspace.Kind = sandgatev1.WorkspaceKind_WORKSPACE_KIND_GIT_WORKTREE
		req.Workspace.GitWorktree = &sandgatev1.GitWorktree{Repository: dir, Branch: w.branch, Base: w.base, KeepBranch: w.keepBranch}
	}
	return req, nil
}

// tellCut says which wishes were taken back to what the daemon's configuration allows.
func tellCut(w io.Writer, req *sandgatev1.CreateSessionRequest, got *sandgatev1.Session) error {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	span := func(n int64) string { return time.Duration(n).String() }
	wish, have := req.GetQuota(), got.GetQuota()
	for _, f := range []struct {
		flag      string
		wish, got int64
		text      func(int64) string
	}{
		{"ttl", int64(req.GetTtl().AsDuration()), int64(got.GetTtl().AsDuration()), span},
		{"idle", int64(req.GetIdleTimeout().AsDuration()), int64(got.GetIdleTimeout().AsDuration()), span},
		{"calls", wish.GetCalls(), have.GetCalls(), number},
		{"cpu", int64(wish.GetCpuTime().AsDuration()), int64(have.GetCpuTime().AsDuration()), span},
		{"disk-bytes", wish.GetDiskBytes(), have.GetDiskBytes(), sizeText},
		{"concurrent", wish.GetConcurrentCalls(), have.GetConcurrentCalls(), number},
		{"background", wish.GetBackgroundCalls(), have.GetBackgroundCalls(), number},
	} {
		if f.wish <= f.got {
			continue
		}
		if _, err := fmt.Fprintf(w, "sandgate: --%s %s is more than this daemon gives: it is %s\n", f.flag, f.text(f.wish), f.text(f.got)); err != nil {
			return err
		}
	}
	return nil
}

func wished(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

func newSessionListCommand(c *client) *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List your sessions", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.sessions(func(service sandgatev1.SessionServiceClient) error {
				list, err := allSessions(cmd.Context(), service, all)
				if err != nil {
					return err
				}
				return printSessions(cmd.OutOrStdout(), list, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "those of all callers, for administrators")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// allSessions reads all pages.
func allSessions(ctx context.Context, service sandgatev1.SessionServiceClient, all bool) ([]*sandgatev1.Session, error) {
	var list []*sandgatev1.Session
	req := &sandgatev1.ListSessionsRequest{PageSize: 1000, AllOwners: all}
	for {
		resp, err := service.ListSessions(ctx, req)
		if err != nil {
			return nil, err
		}
		list = append(list, resp.GetSessions()...)
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			return list, nil
		}
	}
}

func newSessionGetCommand(c *client) *cobra.Command {
	var asJSON bool
	var owner string
	cmd := &cobra.Command{
		Use: "get ID", Aliases: []string{"show"}, Short: "Show a session, what it has used and its last calls", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.sessions(func(service sandgatev1.SessionServiceClient) error {
				resp, err := service.GetSession(cmd.Context(), &sandgatev1.GetSessionRequest{SessionId: args[0], Owner: owner})
				if err != nil {
					return err
				}
				return printSession(cmd.OutOrStdout(), resp.GetSession(), asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&owner, "owner", "", "caller whose session it is, for administrators (default: you)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newSessionCloseCommand(c *client) *cobra.Command {
	var owner string
	var discard bool
	cmd := &cobra.Command{
		Use: "close ID...", Aliases: []string{"rm"}, Short: "End sessions with their running calls and their workspaces", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.sessions(func(service sandgatev1.SessionServiceClient) error {
				for _, id := range args {
					if _, err := service.CloseSession(cmd.Context(), &sandgatev1.CloseSessionRequest{SessionId: id, Owner: owner, DiscardBranch: discard}); err != nil {
						return err
					}
					if _, err := fmt.Fprintln(cmd.OutOrStdout(), "closed", id); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&discard, "discard-branch", false, "do not put the branch of a working tree into its repository, whatever was said at the beginning")
	cmd.Flags().StringVar(&owner, "owner", "", "caller whose sessions they are, for administrators (default: you)")
	return cmd
}

func printSessions(w io.Writer, sessions []*sandgatev1.Session, asJSON bool) error {
	if asJSON {
		list := make([]any, len(sessions))
		for i, s := range sessions {
			list[i] = plainJSON(s)
		}
		return writeIndented(w, map[string]any{"sessions": list})
	}
	if len(sessions) == 0 {
		_, err := fmt.Fprintln(w, "no sessions")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(table, "ID\tOWNER\tPROFILE\tWORKSPACE\tCALLS\tRUNNING\tLAST USED\tENDS"); err != nil {
		return err
	}
	for _, s := range sessions {
		if _, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", s.GetSessionId(), s.GetOwner(), s.GetProfile(), workspaceText(s.GetWorkspace()),
			s.GetCallCount(), s.GetUsage().GetRunningCalls(), sessionTime(s.GetLastUsedTime()), sessionTime(endOf(s))); err != nil {
			return err
		}
	}
	return table.Flush()
}

// endOf is when a session ends if nothing uses it.
func endOf(s *sandgatev1.Session) *timestamppb.Timestamp {
	at, idle := s.GetExpireTime(), s.GetIdleExpireTime()
	if at == nil || idle != nil && idle.AsTime().Before(at.AsTime()) {
		return idle
	}
	return at
}

// endText is when and why a session ends.
func endText(s *sandgatev1.Session) string {
	at := endOf(s)
	switch {
	case at == nil:
		return "never"
	case at == s.GetIdleExpireTime():
		text := fmt.Sprintf("%s, if it is not used for %s", sessionTime(at), s.GetIdleTimeout().AsDuration())
		if s.GetExpireTime() != nil {
			text += "; at the latest " + sessionTime(s.GetExpireTime())
		}
		return text
	}
	return sessionTime(at) + ", however it is used"
}

func workspaceText(w *sandgatev1.WorkspaceSpec) string {
	kind := strings.ToLower(strings.TrimPrefix(w.GetKind().String(), "WORKSPACE_KIND_"))
	switch {
	case w.GetDirectory() != "":
		return w.GetDirectory()
	case w.GetGitWorktree() != nil:
		return w.GetGitWorktree().GetRepository() + "@" + w.GetGitWorktree().GetBranch()
	}
	return kind
}

// kindText is a workspace with its kind.
func kindText(w *sandgatev1.WorkspaceSpec) string {
	switch {
	case w.GetDirectory() != "":
		return "directory " + w.GetDirectory()
	case w.GetGitWorktree() != nil:
		text := "git worktree of " + workspaceText(w)
		if w.GetGitWorktree().GetKeepBranch() {
			text += ", whose branch is kept"
		}
		return text
	}
	return workspaceText(w)
}

func sessionTime(t *timestamppb.Timestamp) string {
	if t == nil {
		return "never"
	}
	return t.AsTime().Local().Format(time.DateTime)
}

func printSession(w io.Writer, s *sandgatev1.Session, asJSON bool) error {
	if asJSON {
		return writeIndented(w, plainJSON(s))
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	u, q := s.GetUsage(), s.GetQuota()
	lines := [][2]string{
		{"id", s.GetSessionId()},
		{"owner", s.GetOwner()},
		{"profile", s.GetProfile()},
		{"workspace", kindText(s.GetWorkspace())},
		{"made", sessionTime(s.GetCreateTime())},
		{"last used", sessionTime(s.GetLastUsedTime())},
		{"ends", endText(s)},
		{"calls", fmt.Sprintf("%d allowed%s, %d asked, %d denied; %d running%s, %d in the background%s", u.GetAllowedCalls(), ofMost(q.GetCalls()), u.GetAskedCalls(),
			u.GetDeniedCalls(), u.GetRunningCalls(), ofMost(q.GetConcurrentCalls()), u.GetBackgroundCalls(), ofMost(q.GetBackgroundCalls()))},
		{"cpu time", u.GetCpuTime().AsDuration().Round(time.Millisecond).String() + ofMostTime(q.GetCpuTime())},
	}
	if q.GetDiskBytes() > 0 {
		lines = append(lines, [2]string{"disk", "at most " + sizeText(q.GetDiskBytes())})
	}
	if len(s.GetLabels()) > 0 {
		lines = append(lines, [2]string{"labels", strings.Join(s.GetLabels(), ", ")})
	}
	for _, key := range slices.Sorted(maps.Keys(s.GetHostLabels())) {
		lines = append(lines, [2]string{"label of the host", key + "=" + s.GetHostLabels()[key]})
	}
	for _, r := range s.GetRecentCalls() {
		lines = append(lines, [2]string{fmt.Sprintf("call %d", r.GetSeq()), fmt.Sprintf("%s  %s  %s", sessionTime(r.GetDecideTime()), r.GetTool(), r.GetOutcome())})
	}
	for _, line := range lines {
		if _, err := fmt.Fprintf(table, "%s\t%s\n", line[0], line[1]); err != nil {
			return err
		}
	}
	return table.Flush()
}

// ofMost tells a bound, if there is one.
func ofMost(most int64) string {
	if most == 0 {
		return ""
	}
	return fmt.Sprintf(" of %d", most)
}

func ofMostTime(most *durationpb.Duration) string {
	if most.AsDuration() == 0 {
		return ""
	}
	return " of " + most.AsDuration().String()
}
