package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sandgate/sandgate/internal/workspace"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// fileChunk is how much of a file goes into one message.
const fileChunk = 256 << 10

func newSessionUploadCommand(c *client) *cobra.Command {
	var asTar bool
	cmd := &cobra.Command{
		Use:   "upload ID FILE|DIRECTORY|- [PATH]",
		Short: "Put a file or a directory into the workspace of a session",
		Long: `Puts a file of this machine, or what is in a directory of it, into the workspace of
a session, at PATH. A file goes by default under its own name, the content of a
directory right into the workspace. With - the content of the file PATH is read from
stdin or, with --tar, a tar stream that is unpacked at PATH.

A file that is there is replaced. Symbolic links are kept as they are and followed
nowhere; owners are not taken over.`,
		Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.sessions(func(service sandgatev1.SessionServiceClient) error {
				up := upload{service: service, session: args[0], out: cmd.OutOrStdout()}
				if len(args) == 3 {
					up.path = args[2]
				}
				return up.run(cmd.Context(), args[1], asTar, cmd.InOrStdin())
			})
		},
	}
	cmd.Flags().BoolVar(&asTar, "tar", false, "what comes is a tar stream without compression: unpack it")
	return cmd
}

type upload struct {
	service       sandgatev1.SessionServiceClient
	session, path string
	out           io.Writer
}

func (u *upload) run(ctx context.Context, from string, asTar bool, stdin io.Reader) error {
	if from == "-" {
		if asTar {
			return u.tree(ctx, stdin)
		}
		if u.path == "" {
			return errors.New("stdin has no name: want the path that it gets as third argument, or --tar")
		}
		return u.file(ctx, stdin, 0)
	}
	info, err := os.Stat(from)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if info.IsDir() {
		return u.directory(ctx, from)
	}
	f, err := os.Open(from) // #nosec G304 -- whoever runs the command named it
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	if asTar {
		return u.tree(ctx, f)
	}
	if u.path == "" {
		u.path = filepath.Base(from)
	}
	return u.file(ctx, f, uint32(info.Mode().Perm()))
}

func (u *upload) file(ctx context.Context, from io.Reader, mode uint32) error {
	stream, err := u.service.UploadFile(ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&sandgatev1.UploadFileRequest{Part: &sandgatev1.UploadFileRequest_Header{
		Header: &sandgatev1.FileHeader{SessionId: u.session, Path: u.path, Mode: mode},
	}})
	if err == nil {
		err = sendAll(from, func(data []byte) error {
			return stream.Send(&sandgatev1.UploadFileRequest{Part: &sandgatev1.UploadFileRequest_Data{Data: data}})
		})
	}
	if err != nil && !errors.Is(err, io.EOF) { // else the answer tells why
		return err
	}
	resp, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(u.out, "%s  %d bytes  %s\n", u.path, resp.GetSizeBytes(), resp.GetDigest())
	return err
}

func (u *upload) tree(ctx context.Context, from io.Reader) error {
	stream, err := u.service.UploadTree(ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&sandgatev1.UploadTreeRequest{Part: &sandgatev1.UploadTreeRequest_Header{
		Header: &sandgatev1.TreeHeader{SessionId: u.session, Path: u.path},
	}})
	if err == nil {
		err = sendAll(from, func(data []byte) error {
			return stream.Send(&sandgatev1.UploadTreeRequest{Part: &sandgatev1.UploadTreeRequest_Data{Data: data}})
		})
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	resp, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(u.out, "%s  %d files, %d bytes\n", path.Join("/workspace", u.path), resp.GetFiles(), resp.GetSizeBytes())
	return err
}

// directory packs a directory of this machine while it is sent.
func (u *upload) directory(ctx context.Context, dir string) error {
	d, err := workspace.Open(dir)
	if err != nil {
		return err
	}
	out, in := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		_, err := d.Pack(ctx, ".", in, workspace.Limits{})
		_ = in.CloseWithError(err) // never fails
		packed <- err
	}()
	err = u.tree(ctx, out)
	_ = out.Close() // never fails; ends Pack if it still writes
	if perr := <-packed; err == nil || perr != nil && !errors.Is(perr, io.ErrClosedPipe) {
		err = perr
	}
	if cerr := d.Close(); err == nil {
		err = cerr // else the status stays as it is, for explain
	}
	return err
}

// sendAll sends a stream in pieces. io.EOF says that the other side has ended it.
func sendAll(from io.Reader, send func([]byte) error) error {
	buf := make([]byte, fileChunk)
	for {
		n, err := io.ReadFull(from, buf)
		if n > 0 {
			if err := send(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read what is to be sent: %w", err)
		}
	}
}

func newSessionDownloadCommand(c *client) *cobra.Command {
	var asTar bool
	cmd := &cobra.Command{
		Use:   "download ID PATH [FILE|DIRECTORY|-]",
		Short: "Get a file or a directory out of the workspace of a session",
		Long: `Gets the file PATH of a session's workspace and writes it to FILE, or to stdout. With
--tar PATH may be a directory, "." is the whole workspace: it is unpacked in
DIRECTORY, which has to be there or is made, or written to stdout as a tar stream.`,
		Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := "-"
			if len(args) == 3 {
				to = args[2]
			}
			return c.sessions(func(service sandgatev1.SessionServiceClient) error {
				if asTar {
					return downloadTree(cmd.Context(), service, args[0], args[1], to, cmd.OutOrStdout())
				}
				err := downloadFile(cmd.Context(), service, args[0], args[1], to, cmd.OutOrStdout())
				if status.Code(err) == codes.FailedPrecondition && strings.Contains(err.Error(), "no regular file") {
					return fmt.Errorf("%s: --tar gets a directory", explain(err))
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asTar, "tar", false, "get a directory, or a file, as a tar stream")
	return cmd
}

func downloadFile(ctx context.Context, service sandgatev1.SessionServiceClient, id, from, to string, stdout io.Writer) (err error) {
	stream, err := service.DownloadFile(ctx, &sandgatev1.DownloadFileRequest{SessionId: id, Path: from})
	if err != nil {
		return err
	}
	next := func() ([]byte, error) {
		m, err := stream.Recv()
		return m.GetData(), err
	}
	first, err := next() // before anything is made of a file that is not there
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if to != "-" {
		f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // #nosec G304 -- whoever runs the command named it
		if err != nil {
			return fmt.Errorf("download: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		stdout = f
	}
	for err == nil {
		if _, werr := stdout.Write(first); werr != nil {
			return fmt.Errorf("download: %w", werr)
		}
		first, err = next()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func downloadTree(ctx context.Context, service sandgatev1.SessionServiceClient, id, from, to string, stdout io.Writer) error {
	stream, err := service.DownloadTree(ctx, &sandgatev1.DownloadTreeRequest{SessionId: id, Path: from})
	if err != nil {
		return err
	}
	in := &received{next: func() ([]byte, error) {
		m, err := stream.Recv()
		return m.GetData(), err
	}}
	if to == "-" {
		out := bufio.NewWriter(stdout)
		_, err := io.Copy(out, in)
		return errors.Join(err, out.Flush())
	}
	first := bufio.NewReaderSize(in, fileChunk)
	if _, err := first.Peek(1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil { // #nosec G301 -- the user's own directory
		return fmt.Errorf("download: %w", err)
	}
	open := workspace.OpenOwn
	if os.Geteuid() == 0 { // with sudo, into somebody's directory: theirs
		open = workspace.Open
	}
	d, err := open(to)
	if err != nil {
		return err
	}
	_, err = d.Unpack(ctx, ".", first, workspace.Limits{})
	if in.err != nil && !errors.Is(in.err, io.EOF) {
		err = in.err // why the stream broke off
	}
	return errors.Join(err, d.Close())
}

// received reads the bytes of a download.
type received struct {
	next func() ([]byte, error)
	rest []byte
	err  error
}

// Read implements io.Reader.
func (r *received) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.rest, r.err = r.next()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func newSessionChangesCommand(c *client) *cobra.Command {
	var asJSON bool
	var call, snapshot string
	cmd := &cobra.Command{
		Use:   "changes ID",
		Short: "List the files of a session that have changed",
		Long: `Lists the files of a session's workspace that were made or changed since the session
was made, since a call of it began, or since a snapshot of it was taken. Files that
were deleted are known only against a snapshot.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.sessions(func(service sandgatev1.SessionServiceClient) error {
				resp, err := service.ListChanges(cmd.Context(), &sandgatev1.ListChangesRequest{SessionId: args[0], SinceCallId: call, SinceSnapshotId: snapshot})
				if err != nil {
					return err
				}
				return printChanges(cmd.OutOrStdout(), resp, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&call, "since-call", "", "id of a call of the session")
	cmd.Flags().StringVar(&snapshot, "since-snapshot", "", "id of a snapshot of the session")
	cmd.MarkFlagsMutuallyExclusive("since-call", "since-snapshot")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printChanges(w io.Writer, resp *sandgatev1.ListChangesResponse, asJSON bool) error {
	if asJSON {
		return writeIndented(w, plainJSON(resp))
	}
	out := bufio.NewWriter(w)
	ch := resp.GetChanges()
	for _, one := range shownChanges(ch) {
		mark := [...]string{made: "A", modified: "M", deleted: "D"}[one.kind]
		if _, err := fmt.Fprintln(out, mark+" "+plainName(one.path)+one.note); err != nil {
			return err
		}
	}
	if ch.GetTruncated() {
		if _, err := fmt.Fprintln(out, "… and more"); err != nil {
			return err
		}
	}
	return out.Flush()
}

// plainName is a file's name that does nothing to a terminal.
func plainName(name string) string {
	quoted := fmt.Sprintf("%q", name)
	if quoted == `"`+name+`"` {
		return name
	}
	return quoted
}
