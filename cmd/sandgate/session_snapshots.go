package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func newSessionSnapshotCommand(c *client) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "snapshot ID [SNAPSHOT]",
		Short: "Keep the files of a session as they are",
		Long: `Keeps the files of a session's workspace as they are now, under the id SNAPSHOT or
one that the daemon makes. No call may run in the session meanwhile. "restore" puts
them back, "fork" makes another session of them.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &sandgatev1.CreateSnapshotRequest{SessionId: args[0]}
			if len(args) == 2 {
				req.SnapshotId = args[1]
			}
			return c.sessions(func(service sandgatev1.SessionServiceClient) error {
				resp, err := service.CreateSnapshot(cmd.Context(), req)
				if err != nil {
					return err
				}
				return printSnapshots(cmd.OutOrStdout(), []*sandgatev1.Snapshot{resp.GetSnapshot()}, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newSessionSnapshotsCommand(c *client) *cobra.Command {
	var asJSON bool
	var remove string
	cmd := &cobra.Command{
		Use: "snapshots ID", Short: "List the snapshots of a session, or remove one", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.sessions(func(service sandgatev1.SessionServiceClient) error {
				if remove != "" {
					if _, err := service.DeleteSnapshot(cmd.Context(), &sandgatev1.DeleteSnapshotRequest{SessionId: args[0], SnapshotId: remove}); err != nil {
						return err
					}
					_, err := fmt.Fprintln(cmd.OutOrStdout(), "removed", remove)
					return err
				}
				resp, err := service.ListSnapshots(cmd.Context(), &sandgatev1.ListSnapshotsRequest{SessionId: args[0]})
				if err != nil {
					return err
				}
				return printSnapshots(cmd.OutOrStdout(), resp.GetSnapshots(), asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&remove, "remove", "", "id of a snapshot to remove")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newSessionRestoreCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "restore ID SNAPSHOT", Short: "Put the files of a snapshot in place of those of its session", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.sessions(func(service sandgatev1.SessionServiceClient) error {
				resp, err := service.RestoreSnapshot(cmd.Context(), &sandgatev1.RestoreSnapshotRequest{SessionId: args[0], SnapshotId: args[1]})
				if err != nil {
					return err
				}
				s := resp.GetSnapshot()
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "restored %s: %d files, %d bytes\n", s.GetSnapshotId(), s.GetFiles(), s.GetSizeBytes())
				return err
			})
		},
	}
}

func newSessionForkCommand(c *client) *cobra.Command {
	var asJSON bool
	var snapshot string
	cmd := &cobra.Command{
		Use:   "fork ID [NEW]",
		Short: "Make a session with the files of another one",
		Long: `Makes a session NEW (or with an id that the daemon makes) with the files of another
of your sessions, as they are or as a snapshot has them. It has the same profile,
limits and labels, but no grants and no counters of its own yet.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &sandgatev1.ForkSessionRequest{SessionId: args[0], SnapshotId: snapshot}
			if len(args) == 2 {
				req.ForkId = args[1]
			}
			return c.sessions(func(service sandgatev1.SessionServiceClient) error {
				resp, err := service.ForkSession(cmd.Context(), req)
				if err != nil {
					return err
				}
				return printSession(cmd.OutOrStdout(), resp.GetSession(), asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&snapshot, "snapshot", "", "id of a snapshot to begin with (default: the files as they are)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printSnapshots(w io.Writer, list []*sandgatev1.Snapshot, asJSON bool) error {
	if asJSON {
		out := make([]any, len(list))
		for i, s := range list {
			out[i] = plainJSON(s)
		}
		return writeIndented(w, map[string]any{"snapshots": out})
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(table, "ID\tTAKEN\tFILES\tBYTES\tON DISK\tDIGEST"); err != nil {
		return err
	}
	for _, s := range list {
		if _, err := fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%s\n", s.GetSnapshotId(), sessionTime(s.GetCreateTime()), s.GetFiles(),
			s.GetSizeBytes(), s.GetStoredBytes(), s.GetDigest()); err != nil {
			return err
		}
	}
	return table.Flush()
}
