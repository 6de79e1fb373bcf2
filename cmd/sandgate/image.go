package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// imageChunk is how much of an archive goes into one message.
const imageChunk = 1 << 20

func newImageCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Manage the images that sandboxes can be made from",
		Long: `Manages the OCI images that a tool's sandbox can be made from. The image "host", a
read-only view of the machine's own programs, is always there.

You have to be an administrator in the daemon's configuration to change images.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newImageImportCommand(c), newImageListCommand(c), newImageRemoveCommand(c))
	return cmd
}

func newImageImportCommand(c *client) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "import ARCHIVE|LAYOUT|-",
		Short: "Import an OCI or docker archive, or a directory in OCI layout",
		Long: `Imports an image from a tar archive in OCI or docker format (as "docker save",
"podman save" or "skopeo copy … oci-archive:" write it), from a directory in OCI
image layout, or from an archive on stdin (-).`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := c.dial()
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // nothing is lost with it
			archive, err := openArchive(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			defer archive.Close() //nolint:errcheck // only read
			stream, err := sandgatev1.NewImageServiceClient(conn).ImportImage(cmd.Context())
			if err != nil {
				return err
			}
			if err := sendArchive(stream, name, archive); err != nil {
				return fmt.Errorf("read %s: %w", args[0], err)
			}
			resp, err := stream.CloseAndRecv()
			if err != nil {
				return err
			}
			return printImages(cmd.OutOrStdout(), resp.GetImages(), false)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "reference that the image gets (default: what the archive says)")
	return cmd
}

// openArchive opens what is to be imported as a tar stream.
func openArchive(stdin io.Reader, source string) (io.ReadCloser, error) {
	if source == "-" {
		return io.NopCloser(stdin), nil
	}
	st, err := os.Stat(source)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	if !st.IsDir() {
		return os.Open(source) //nolint:gosec // the user names his own file
	}
	if _, err := os.Stat(filepath.Join(source, "oci-layout")); err != nil {
		return nil, fmt.Errorf("image: directory %s has no oci-layout file: want an OCI image layout, or an archive", source)
	}
	return tarDirectory(source), nil
}

// sendArchive streams an archive. Its error is of reading alone: what the daemon
// has to say comes with CloseAndRecv.
func sendArchive(stream sandgatev1.ImageService_ImportImageClient, name string, archive io.Reader) error {
	if stream.Send(&sandgatev1.ImportImageRequest{Part: &sandgatev1.ImportImageRequest_Name{Name: name}}) != nil {
		return nil
	}
	for {
		buf := make([]byte, imageChunk)
		n, err := io.ReadFull(archive, buf)
		if n > 0 && stream.Send(&sandgatev1.ImportImageRequest{Part: &sandgatev1.ImportImageRequest_Data{Data: buf[:n]}}) != nil {
			return nil
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func newImageListCommand(c *client) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List the imported images", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conn, err := c.dial()
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // nothing is lost with it
			resp, err := sandgatev1.NewImageServiceClient(conn).ListImages(cmd.Context(), &sandgatev1.ListImagesRequest{})
			if err != nil {
				return err
			}
			return printImages(cmd.OutOrStdout(), resp.GetImages(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newImageRemoveCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME...", Aliases: []string{"remove"}, Short: "Remove imported images", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := c.dial()
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // nothing is lost with it
			for _, name := range args {
				if _, err := sandgatev1.NewImageServiceClient(conn).RemoveImage(cmd.Context(), &sandgatev1.RemoveImageRequest{Name: name}); err != nil {
					return err
				}
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), "removed", name); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func printImages(w io.Writer, images []*sandgatev1.Image, asJSON bool) error {
	if asJSON {
		list := make([]any, len(images))
		for i, img := range images {
			list[i] = plainJSON(img)
		}
		return writeIndented(w, map[string]any{"images": list})
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(table, "NAME\tDIGEST\tSIZE\tIMPORTED"); err != nil {
		return err
	}
	for _, img := range images {
		if _, err := fmt.Fprintf(table, "%s\t%s\t%.1f MiB\t%s\n", img.GetName(), img.GetDigest(),
			float64(img.GetSizeBytes())/(1<<20), img.GetCreateTime().AsTime().Format(time.DateTime)); err != nil {
			return err
		}
	}
	return table.Flush()
}
