package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/version"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func newVersionCommand(c *client) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of this command and of the daemon, if one answers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			own := version.Get()
			out := map[string]any{"client": own}
			daemon := "no daemon answers"
			if v, err := daemonVersion(cmd, c); err == nil {
				info := version.Info{Version: v.GetVersion(), Commit: v.GetCommit(), GoVersion: v.GetGoVersion()}
				out["daemon"], daemon = info, info.String()
			}
			if asJSON {
				return writeIndented(cmd.OutOrStdout(), out)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "client: %s\ndaemon: %s\n", own, daemon)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func daemonVersion(cmd *cobra.Command, c *client) (*sandgatev1.GetVersionResponse, error) {
	conn, err := c.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	return sandgatev1.NewSystemServiceClient(conn).GetVersion(cmd.Context(), &sandgatev1.GetVersionRequest{})
}
