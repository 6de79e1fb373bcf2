package rpc

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/internal/workspace"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// fileGate is what SessionService needs of the gate for files and snapshots.
type fileGate interface {
	UploadFile(ctx context.Context, caller gate.Caller, id, path string, mode fs.FileMode, from io.Reader) (workspace.Written, error)
	DownloadFile(ctx context.Context, caller gate.Caller, id, path string, offset int64, to func(file io.Reader, size int64) error) error
	UploadTree(ctx context.Context, caller gate.Caller, id, under string, from io.Reader) (workspace.Totals, error)
	DownloadTree(ctx context.Context, caller gate.Caller, id, under string, to io.Writer) (workspace.Totals, error)
	ListChanges(ctx context.Context, caller gate.Caller, id, snapshot, callID string) (*workspace.Changes, error)
	TakeSnapshot(ctx context.Context, caller gate.Caller, id, snapshot string) (workspace.Snapshot, error)
	ListSnapshots(ctx context.Context, caller gate.Caller, id string) ([]workspace.Snapshot, error)
	RemoveSnapshot(ctx context.Context, caller gate.Caller, id, snapshot string) error
	RestoreSnapshot(ctx context.Context, caller gate.Caller, id, snapshot string) (workspace.Snapshot, error)
	ForkSession(ctx context.Context, caller gate.Caller, id, snapshot, fork string) (session.Info, error)
}

// defaultFileMode is that of an upload which names none.
const defaultFileMode = 0o644

// UploadFile implements SessionServiceServer.
func (s *sessionService) UploadFile(stream sandgatev1.SessionService_UploadFileServer) error {
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	h := first.GetHeader()
	if h == nil {
		return fieldError("header", "is missing: it is the first message")
	}
	var c checker
	c.id("header.session_id", h.GetSessionId(), true)
	if h.GetPath() == "" {
		c.bad("header.path", "is missing")
	}
	c.text("header.path", h.GetPath(), maxPathBytes)
	mode := fs.FileMode(h.GetMode())
	if mode == 0 {
		mode = defaultFileMode
	}
	if mode != mode.Perm() {
		c.bad("header.mode", "is 0%o: want permission bits, 0 to 0777", h.GetMode())
	}
	if err := c.err(); err != nil {
		return err
	}
	in := &chunkReader{recv: func() ([]byte, bool, error) {
		msg, err := stream.Recv()
		_, ok := msg.GetPart().(*sandgatev1.UploadFileRequest_Data)
		return msg.GetData(), ok, err
	}}
	ctx := stream.Context()
	w, err := s.gate.UploadFile(ctx, callerFrom(ctx), h.GetSessionId(), h.GetPath(), mode, in)
	if in.err != nil {
		return in.err // the gate knows only that its reader failed
	}
	if err != nil {
		return err
	}
	return stream.SendAndClose(&sandgatev1.UploadFileResponse{SizeBytes: w.Bytes, Digest: w.Digest})
}

// DownloadFile implements SessionServiceServer.
func (s *sessionService) DownloadFile(req *sandgatev1.DownloadFileRequest, stream sandgatev1.SessionService_DownloadFileServer) error {
	var c checker
	c.id("session_id", req.GetSessionId(), true)
	if req.GetPath() == "" {
		c.bad("path", "is missing")
	}
	c.text("path", req.GetPath(), maxPathBytes)
	at := c.natural("offset", req.GetOffset())
	if err := c.err(); err != nil {
		return err
	}
	ctx := stream.Context()
	return s.gate.DownloadFile(ctx, callerFrom(ctx), req.GetSessionId(), req.GetPath(), at, func(file io.Reader, size int64) error {
		// It ends where the file did when it was opened: it may grow for ever.
		_, err := io.Copy(chunkWriter{func(data []byte) error {
			err := stream.Send(&sandgatev1.DownloadFileResponse{Offset: at, Data: data})
			at += int64(len(data))
			return err
		}}, io.LimitReader(onlyReader{file}, size-at))
		return err
	})
}

// onlyReader hides that a reader can do more, so that its copy is in pieces.
type onlyReader struct{ io.Reader }

// UploadTree implements SessionServiceServer.
func (s *sessionService) UploadTree(stream sandgatev1.SessionService_UploadTreeServer) error {
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	h := first.GetHeader()
	if h == nil {
		return fieldError("header", "is missing: it is the first message")
	}
	under, err := treePath("header.", h.GetSessionId(), h.GetPath())
	if err != nil {
		return err
	}
	in := &chunkReader{recv: func() ([]byte, bool, error) {
		msg, err := stream.Recv()
		_, ok := msg.GetPart().(*sandgatev1.UploadTreeRequest_Data)
		return msg.GetData(), ok, err
	}}
	ctx := stream.Context()
	t, err := s.gate.UploadTree(ctx, callerFrom(ctx), h.GetSessionId(), under, in)
	if in.err != nil {
		return in.err
	}
	if err != nil {
		return err
	}
	return stream.SendAndClose(&sandgatev1.UploadTreeResponse{Files: t.Files, SizeBytes: t.Bytes})
}

// DownloadTree implements SessionServiceServer.
func (s *sessionService) DownloadTree(req *sandgatev1.DownloadTreeRequest, stream sandgatev1.SessionService_DownloadTreeServer) error {
	under, err := treePath("", req.GetSessionId(), req.GetPath())
	if err != nil {
		return err
	}
	ctx := stream.Context()
	out := bufio.NewWriterSize(chunkWriter{func(data []byte) error {
		return stream.Send(&sandgatev1.DownloadTreeResponse{Data: data})
	}}, downloadBytes)
	if _, err := s.gate.DownloadTree(ctx, callerFrom(ctx), req.GetSessionId(), under, out); err != nil {
		return err
	}
	return out.Flush()
}

// treePath checks where a tree is; empty is the workspace.
func treePath(field, id, path string) (string, error) {
	var c checker
	c.id(field+"session_id", id, true)
	c.text(field+"path", path, maxPathBytes)
	if path == "" {
		path = "."
	}
	return path, c.err()
}

// ListChanges implements SessionServiceServer.
func (s *sessionService) ListChanges(ctx context.Context, req *sandgatev1.ListChangesRequest) (*sandgatev1.ListChangesResponse, error) {
	var c checker
	c.id("session_id", req.GetSessionId(), true)
	c.id("since_call_id", req.GetSinceCallId(), false)
	c.id("since_snapshot_id", req.GetSinceSnapshotId(), false)
	if req.GetSinceCallId() != "" && req.GetSinceSnapshotId() != "" {
		c.bad("since_snapshot_id", "stands beside since_call_id: want one of them")
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	changes, err := s.gate.ListChanges(ctx, callerFrom(ctx), req.GetSessionId(), req.GetSinceSnapshotId(), req.GetSinceCallId())
	if err != nil {
		return nil, err
	}
	return &sandgatev1.ListChangesResponse{
		Changes: &sandgatev1.Changes{
			Created: validPaths(changes.Created), Modified: validPaths(changes.Modified), Deleted: validPaths(changes.Deleted), Truncated: changes.Truncated,
		},
		DeletedUnknown: changes.Blind,
	}, nil
}

// validPaths makes text of names, which can be any bytes.
func validPaths(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = validText(name)
	}
	return out
}

// CreateSnapshot implements SessionServiceServer.
func (s *sessionService) CreateSnapshot(ctx context.Context, req *sandgatev1.CreateSnapshotRequest) (*sandgatev1.CreateSnapshotResponse, error) {
	if err := checkSnapshot(req.GetSessionId(), req.GetSnapshotId(), false); err != nil {
		return nil, err
	}
	made, err := s.gate.TakeSnapshot(ctx, callerFrom(ctx), req.GetSessionId(), req.GetSnapshotId())
	if err != nil {
		return nil, err
	}
	return &sandgatev1.CreateSnapshotResponse{Snapshot: snapshotProto(&made)}, nil
}

// ListSnapshots implements SessionServiceServer.
func (s *sessionService) ListSnapshots(ctx context.Context, req *sandgatev1.ListSnapshotsRequest) (*sandgatev1.ListSnapshotsResponse, error) {
	if err := checkSnapshot(req.GetSessionId(), "", false); err != nil {
		return nil, err
	}
	list, err := s.gate.ListSnapshots(ctx, callerFrom(ctx), req.GetSessionId())
	if err != nil {
		return nil, err
	}
	out := &sandgatev1.ListSnapshotsResponse{}
	for i := range list {
		out.Snapshots = append(out.Snapshots, snapshotProto(&list[i]))
	}
	return out, nil
}

// DeleteSnapshot implements SessionServiceServer.
func (s *sessionService) DeleteSnapshot(ctx context.Context, req *sandgatev1.DeleteSnapshotRequest) (*sandgatev1.DeleteSnapshotResponse, error) {
	if err := checkSnapshot(req.GetSessionId(), req.GetSnapshotId(), true); err != nil {
		return nil, err
	}
	if err := s.gate.RemoveSnapshot(ctx, callerFrom(ctx), req.GetSessionId(), req.GetSnapshotId()); err != nil {
		return nil, err
	}
	return &sandgatev1.DeleteSnapshotResponse{}, nil
}

// RestoreSnapshot implements SessionServiceServer.
func (s *sessionService) RestoreSnapshot(ctx context.Context, req *sandgatev1.RestoreSnapshotRequest) (*sandgatev1.RestoreSnapshotResponse, error) {
	if err := checkSnapshot(req.GetSessionId(), req.GetSnapshotId(), true); err != nil {
		return nil, err
	}
	restored, err := s.gate.RestoreSnapshot(ctx, callerFrom(ctx), req.GetSessionId(), req.GetSnapshotId())
	if err != nil {
		return nil, err
	}
	return &sandgatev1.RestoreSnapshotResponse{Snapshot: snapshotProto(&restored)}, nil
}

// ForkSession implements SessionServiceServer.
func (s *sessionService) ForkSession(ctx context.Context, req *sandgatev1.ForkSessionRequest) (*sandgatev1.ForkSessionResponse, error) {
	var c checker
	c.id("session_id", req.GetSessionId(), true)
	c.id("snapshot_id", req.GetSnapshotId(), false)
	c.id("fork_id", req.GetForkId(), false)
	if err := c.err(); err != nil {
		return nil, err
	}
	info, err := s.gate.ForkSession(ctx, callerFrom(ctx), req.GetSessionId(), req.GetSnapshotId(), req.GetForkId())
	if err != nil {
		return nil, err
	}
	return &sandgatev1.ForkSessionResponse{Session: sessionProto(&info, false)}, nil
}

func checkSnapshot(id, snapshot string, required bool) error {
	var c checker
	c.id("session_id", id, true)
	c.id("snapshot_id", snapshot, required)
	return c.err()
}

func snapshotProto(s *workspace.Snapshot) *sandgatev1.Snapshot {
	return &sandgatev1.Snapshot{
		SnapshotId: s.ID, CreateTime: timeProto(s.Created), Files: s.Files, SizeBytes: s.Bytes, StoredBytes: s.StoredBytes, Digest: s.Digest, Skipped: s.Skipped,
	}
}
