package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/internal/workspace"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// fakeFiles keeps what was uploaded and gives it back.
type fakeFiles struct {
	content []byte
	asked   string
}

func (f *fakeFiles) UploadFile(_ context.Context, caller gate.Caller, id, path string, mode fs.FileMode, from io.Reader) (workspace.Written, error) {
	raw, err := io.ReadAll(from)
	f.content, f.asked = raw, fmt.Sprint(caller.ID, " ", id, " ", path, " ", mode)
	return workspace.Written{Bytes: int64(len(raw)), Digest: "sha256:d"}, err
}

func (f *fakeFiles) DownloadFile(_ context.Context, _ gate.Caller, id, path string, offset int64, to func(io.Reader, int64) error) error {
	if path == "missing" {
		return fmt.Errorf("no %s in %s: %w", path, id, errdefs.ErrNotFound)
	}
	return to(bytes.NewReader(append(bytes.Clone(f.content[offset:]), "grown since"...)), int64(len(f.content)))
}

func (f *fakeFiles) UploadTree(_ context.Context, _ gate.Caller, _, under string, from io.Reader) (workspace.Totals, error) {
	raw, err := io.ReadAll(from)
	f.content, f.asked = raw, under
	return workspace.Totals{Files: 3, Bytes: int64(len(raw))}, err
}

func (f *fakeFiles) DownloadTree(_ context.Context, _ gate.Caller, _, under string, to io.Writer) (workspace.Totals, error) {
	f.asked = under
	for part := range bytes.SplitSeq(f.content, []byte("\n")) { // writes of any size
		if _, err := to.Write(part); err != nil {
			return workspace.Totals{}, err
		}
	}
	return workspace.Totals{}, nil
}

func (f *fakeFiles) ListChanges(_ context.Context, _ gate.Caller, _, snapshot, call string) (*workspace.Changes, error) {
	f.asked = snapshot + "|" + call
	return &workspace.Changes{Created: []string{"a\xff"}, Deleted: []string{"b"}, Truncated: true, Blind: snapshot == ""}, nil
}

func (f *fakeFiles) TakeSnapshot(_ context.Context, _ gate.Caller, _, snapshot string) (workspace.Snapshot, error) {
	return workspace.Snapshot{ID: snapshot, Files: 1}, nil
}

func (f *fakeFiles) ListSnapshots(context.Context, gate.Caller, string) ([]workspace.Snapshot, error) {
	return []workspace.Snapshot{{ID: "one"}, {ID: "two"}}, nil
}

func (f *fakeFiles) RemoveSnapshot(_ context.Context, _ gate.Caller, _, snapshot string) error {
	f.asked = snapshot
	return nil
}

func (f *fakeFiles) RestoreSnapshot(_ context.Context, _ gate.Caller, _, snapshot string) (workspace.Snapshot, error) {
	return workspace.Snapshot{}, fmt.Errorf("snapshot %q is damaged: %w", snapshot, errdefs.ErrFailedPrecondition)
}

func (f *fakeFiles) ForkSession(_ context.Context, caller gate.Caller, id, snapshot, fork string) (session.Info, error) {
	f.asked = id + "@" + snapshot
	return session.Info{State: session.State{Caller: caller.ID, ID: fork}}, nil
}

func serveFiles(t *testing.T) (*fakeFiles, sandgatev1.SessionServiceClient) {
	t.Helper()
	sessions, client := serveSessions(t, false)
	files := &fakeFiles{}
	sessions.fileGate = files
	return files, client
}

func uploadFile(t *testing.T, client sandgatev1.SessionServiceClient, messages ...*sandgatev1.UploadFileRequest) (*sandgatev1.UploadFileResponse, error) {
	t.Helper()
	stream, err := client.UploadFile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if err := stream.Send(m); err != nil {
			break // the answer tells why
		}
	}
	return stream.CloseAndRecv()
}

func fileHeader(path string, mode uint32) *sandgatev1.UploadFileRequest {
	return &sandgatev1.UploadFileRequest{Part: &sandgatev1.UploadFileRequest_Header{Header: &sandgatev1.FileHeader{SessionId: "s", Path: path, Mode: mode}}}
}

func fileData(data string) *sandgatev1.UploadFileRequest {
	return &sandgatev1.UploadFileRequest{Part: &sandgatev1.UploadFileRequest_Data{Data: []byte(data)}}
}

func TestFilesAreStreamed(t *testing.T) {
	files, client := serveFiles(t)
	large := strings.Repeat("0123456789", 30_000)
	resp, err := uploadFile(t, client, fileHeader("d/f", 0o750), fileData(large), fileData(""), fileData("end"))
	if err != nil || resp.GetSizeBytes() != int64(len(large))+3 || string(files.content) != large+"end" || !strings.HasSuffix(files.asked, "s d/f -rwxr-x---") {
		t.Fatalf("%v, %v, asked %q", resp, err, files.asked)
	}
	stream, err := client.DownloadFile(t.Context(), &sandgatev1.DownloadFileRequest{SessionId: "s", Path: "d/f", Offset: 10})
	if err != nil {
		t.Fatal(err)
	}
	got, at := []byte{}, int64(10)
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || m.GetOffset() != at || len(m.GetData()) > downloadBytes {
			t.Fatalf("%d bytes at %d, want them at %d: %v", len(m.GetData()), m.GetOffset(), at, err)
		}
		got, at = append(got, m.GetData()...), at+int64(len(m.GetData()))
	}
	if string(got) != large[10:]+"end" {
		t.Errorf("%d bytes came, and other ones", len(got))
	}
}

func TestTreesAreStreamed(t *testing.T) {
	files, client := serveFiles(t)
	up, err := client.UploadTree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*sandgatev1.UploadTreeRequest{
		{Part: &sandgatev1.UploadTreeRequest_Header{Header: &sandgatev1.TreeHeader{SessionId: "s"}}},
		{Part: &sandgatev1.UploadTreeRequest_Data{Data: []byte("one\ntwo\n")}},
		{Part: &sandgatev1.UploadTreeRequest_Data{Data: []byte("three")}},
	} {
		if err := up.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	if resp, err := up.CloseAndRecv(); err != nil || resp.GetFiles() != 3 || resp.GetSizeBytes() != 13 || files.asked != "." {
		t.Fatalf("%v, %v, asked %q", resp, err, files.asked)
	}
	down, err := client.DownloadTree(t.Context(), &sandgatev1.DownloadTreeRequest{SessionId: "s", Path: "d"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := down.Recv()
	if err != nil || string(m.GetData()) != "onetwothree" || files.asked != "d" {
		t.Errorf("%q, %v, asked %q", m.GetData(), err, files.asked)
	}
}

func TestSnapshotsAndForks(t *testing.T) {
	files, client := serveFiles(t)
	ctx := t.Context()
	changes, err := client.ListChanges(ctx, &sandgatev1.ListChangesRequest{SessionId: "s", SinceCallId: "c"})
	if err != nil || changes.GetChanges().GetCreated()[0] != "a\ufffd" || !changes.GetChanges().GetTruncated() || !changes.GetDeletedUnknown() || files.asked != "|c" {
		t.Errorf("%v, %v, asked %q", changes, err, files.asked)
	}
	if made, err := client.CreateSnapshot(ctx, &sandgatev1.CreateSnapshotRequest{SessionId: "s", SnapshotId: "one"}); err != nil || made.GetSnapshot().GetSnapshotId() != "one" {
		t.Errorf("%v, %v", made, err)
	}
	if list, err := client.ListSnapshots(ctx, &sandgatev1.ListSnapshotsRequest{SessionId: "s"}); err != nil || len(list.GetSnapshots()) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := client.DeleteSnapshot(ctx, &sandgatev1.DeleteSnapshotRequest{SessionId: "s", SnapshotId: "x"}); err != nil || files.asked != "x" {
		t.Errorf("%v, asked %q", err, files.asked)
	}
	if fork, err := client.ForkSession(ctx, &sandgatev1.ForkSessionRequest{SessionId: "s", SnapshotId: "one", ForkId: "f"}); err != nil || fork.GetSession().GetSessionId() != "f" || files.asked != "s@one" {
		t.Errorf("%v, %v, asked %q", fork, err, files.asked)
	}
	if _, err := client.RestoreSnapshot(ctx, &sandgatev1.RestoreSnapshotRequest{SessionId: "s", SnapshotId: "one"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a damaged one: %v", err)
	}
}

func TestMalformedFileRequests(t *testing.T) {
	_, client := serveFiles(t)
	ctx := t.Context()
	one := func(_ any, err error) error { return err }
	down := func(req *sandgatev1.DownloadFileRequest) error {
		stream, err := client.DownloadFile(ctx, req)
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	for name, err := range map[string]error{
		"nothing":           one(uploadFile(t, client)),
		"no header":         one(uploadFile(t, client, fileData("x"))),
		"two headers":       one(uploadFile(t, client, fileHeader("f", 0), fileHeader("f", 0))),
		"no path":           one(uploadFile(t, client, fileHeader("", 0))),
		"set-user-id":       one(uploadFile(t, client, fileHeader("f", 0o4755))),
		"large message":     one(uploadFile(t, client, fileHeader("f", 0), fileData(strings.Repeat("x", maxChunkBytes+1)))),
		"negative offset":   down(&sandgatev1.DownloadFileRequest{SessionId: "s", Path: "f", Offset: -1}),
		"bad session":       down(&sandgatev1.DownloadFileRequest{SessionId: "a/b", Path: "f"}),
		"since both":        one(client.ListChanges(ctx, &sandgatev1.ListChangesRequest{SessionId: "s", SinceCallId: "c", SinceSnapshotId: "s"})),
		"snapshot path":     one(client.CreateSnapshot(ctx, &sandgatev1.CreateSnapshotRequest{SessionId: "s", SnapshotId: ".."})),
		"restore nothing":   one(client.RestoreSnapshot(ctx, &sandgatev1.RestoreSnapshotRequest{SessionId: "s"})),
		"delete nothing":    one(client.DeleteSnapshot(ctx, &sandgatev1.DeleteSnapshotRequest{SessionId: "s"})),
		"fork of nothing":   one(client.ForkSession(ctx, &sandgatev1.ForkSessionRequest{})),
		"fork with a slash": one(client.ForkSession(ctx, &sandgatev1.ForkSessionRequest{SessionId: "s", ForkId: "a/b"})),
	} {
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := down(&sandgatev1.DownloadFileRequest{SessionId: "s", Path: "missing"}); status.Code(err) != codes.NotFound {
		t.Errorf("missing: %v", err)
	}
}
