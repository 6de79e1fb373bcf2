package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/containerd/errdefs"
	"github.com/google/uuid"

	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/internal/workspace"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// FileBounds bound what a host does with the files of its sessions.
type FileBounds struct {
	// UploadBytes is the largest file that is uploaded. Default 1 GiB.
	UploadBytes int64
	// TreeBytes and TreeFiles bound what is packed or unpacked at once: uploads and
	// downloads of trees, snapshots. Default 8 GiB and 500,000 entries.
	TreeBytes, TreeFiles int64
	// Snapshots is how many of them a session has. Default 16.
	Snapshots int
}

func (b FileBounds) withDefaults() FileBounds {
	b.UploadBytes = cmp.Or(b.UploadBytes, 1<<30)
	b.TreeBytes = cmp.Or(b.TreeBytes, 8<<30)
	b.TreeFiles = cmp.Or(b.TreeFiles, 500_000)
	b.Snapshots = cmp.Or(b.Snapshots, 16)
	return b
}

// maxChangedPaths bounds the paths of one list of changes.
const maxChangedPaths = 10_000

// UploadFile writes one file into the workspace of the caller's session, which must
// be there. See workspace.Dir.Write.
func (g *Gate) UploadFile(ctx context.Context, caller Caller, id, path string, mode fs.FileMode, from io.Reader) (workspace.Written, error) {
	var w workspace.Written
	err := g.withFiles(caller, id, func(s *session.Session, d *workspace.Dir) (err error) {
		leave, err := g.beginUpload(ctx, caller, s.WorkspaceDir())
		if err != nil {
			return err
		}
		defer leave()
		w, err = d.Write(ctx, path, mode, from, g.within(s, g.cfg.FileBounds.UploadBytes))
		if err != nil {
			return err
		}
		return g.recordSession(ctx, caller.ID, id, session.EventData{Event: session.EventUploaded, Path: path, Digest: w.Digest, Bytes: w.Bytes})
	})
	return w, err
}

// DownloadFile reads one file of the workspace of the caller's session from an
// offset; size is its size. See workspace.Dir.Read.
func (g *Gate) DownloadFile(_ context.Context, caller Caller, id, path string, offset int64, to func(file io.Reader, size int64) error) error {
	return g.withFiles(caller, id, func(_ *session.Session, d *workspace.Dir) error {
		f, size, err := d.Read(path, offset)
		if err != nil {
			return err
		}
		return errors.Join(to(f, size), f.Close())
	})
}

// UploadTree unpacks a tar stream in a directory of the workspace of the caller's
// session. See workspace.Dir.Unpack: what was unpacked before an error stays, and is
// in the journal.
func (g *Gate) UploadTree(ctx context.Context, caller Caller, id, under string, from io.Reader) (workspace.Totals, error) {
	var t workspace.Totals
	err := g.withFiles(caller, id, func(s *session.Session, d *workspace.Dir) (err error) {
		leave, err := g.beginUpload(ctx, caller, s.WorkspaceDir())
		if err != nil {
			return err
		}
		defer leave()
		t, err = d.Unpack(ctx, under, from, g.treeLimits(s))
		return errors.Join(err, g.recordSession(ctx, caller.ID, id, session.EventData{Event: session.EventUnpacked, Path: under, Bytes: t.Bytes, Files: t.Files}))
	})
	return t, err
}

// DownloadTree packs a directory of the workspace of the caller's session as a tar
// stream. See workspace.Dir.Pack.
func (g *Gate) DownloadTree(ctx context.Context, caller Caller, id, under string, to io.Writer) (workspace.Totals, error) {
	var t workspace.Totals
	err := g.withFiles(caller, id, func(_ *session.Session, d *workspace.Dir) (err error) {
		t, err = d.Pack(ctx, under, to, workspace.Limits{Bytes: g.cfg.FileBounds.TreeBytes, Files: g.cfg.FileBounds.TreeFiles})
		return err
	})
	return t, err
}

// ListChanges tells what has changed in the workspace of the caller's session since
// a snapshot of it was taken, or since a call of it began; with neither, since it
// was made. Only against a snapshot is a deleted file known.
func (g *Gate) ListChanges(ctx context.Context, caller Caller, id, snapshot, callID string) (*workspace.Changes, error) {
	var out *workspace.Changes
	err := g.withFiles(caller, id, func(s *session.Session, d *workspace.Dir) (err error) {
		if snapshot != "" {
			_, in, err := workspace.NewSnapshots(s.SnapshotsDir()).Open(snapshot)
			if err != nil {
				return err
			}
			out, err = d.ChangedFrom(ctx, in, maxChangedPaths)
			return errors.Join(err, in.Close())
		}
		since := s.Snapshot().Created
		if callID != "" {
			if err := checkCallID(callID); err != nil {
				return err
			}
			e, err := g.ledger.get(callKey{caller.ID, callID})
			if err != nil {
				return err
			}
			if e.session != id {
				return fmt.Errorf("call %q is none of session %q: %w", callID, id, errdefs.ErrInvalidArgument)
			}
			since = e.began
		}
		out, err = d.ChangedSince(ctx, since, maxChangedPaths)
		return err
	})
	return out, err
}

// TakeSnapshot keeps the files of the caller's session as they are now. No call may
// run in it; while it is taken calls are refused with errdefs.ErrUnavailable.
func (g *Gate) TakeSnapshot(ctx context.Context, caller Caller, id, snapshot string) (workspace.Snapshot, error) {
	snapshot, err := snapshotID(snapshot)
	if err != nil {
		return workspace.Snapshot{}, err
	}
	var out workspace.Snapshot
	err = g.alone(caller, id, func(s *session.Session, d *workspace.Dir) error {
		snaps := workspace.NewSnapshots(s.SnapshotsDir())
		have, err := snaps.List()
		if err != nil {
			return err
		}
		if len(have) >= g.cfg.FileBounds.Snapshots {
			return fmt.Errorf("session %q has %d snapshots, the most it may have: remove one: %w", id, len(have), errdefs.ErrResourceExhausted)
		}
		if out, err = snaps.Take(ctx, d, snapshot, g.treeLimits(nil), g.now()); err != nil {
			return err
		}
		failpoint.At(failpoint.SnapshotTaken)
		return g.recordSession(ctx, caller.ID, id, session.EventData{
			Event: session.EventSnapshot, Snapshot: snapshot, Digest: out.Digest, Bytes: out.Bytes, Files: out.Files,
		})
	})
	return out, err
}

// snapshotID checks the id of a snapshot, or makes one.
func snapshotID(id string) (string, error) {
	if id == "" {
		made, err := uuid.NewV7()
		if err != nil {
			return "", fmt.Errorf("make snapshot id: %w", err)
		}
		return made.String(), nil
	}
	if err := checkCallID(id); err != nil { // of the same form
		return "", &FieldError{"snapshot_id", "is not valid", fmt.Sprintf("1 to %d characters of [A-Za-z0-9._-]", maxCallIDBytes)}
	}
	return id, nil
}

// ListSnapshots returns the snapshots of the caller's session, oldest first.
func (g *Gate) ListSnapshots(_ context.Context, caller Caller, id string) ([]workspace.Snapshot, error) {
	s, err := g.cfg.Sessions.Enter(caller.ID, id)
	if err != nil {
		return nil, err
	}
	defer g.cfg.Sessions.Release(s)
	if err := s.BoundDisk(); err != nil { // they lie on it
		return nil, err
	}
	return workspace.NewSnapshots(s.SnapshotsDir()).List()
}

// RemoveSnapshot removes a snapshot of the caller's session.
func (g *Gate) RemoveSnapshot(ctx context.Context, caller Caller, id, snapshot string) error {
	if _, err := snapshotID(snapshot); err != nil || snapshot == "" {
		return cmp.Or(err, error(&FieldError{"snapshot_id", "is missing", "the id of a snapshot"}))
	}
	return g.alone(caller, id, func(s *session.Session, _ *workspace.Dir) error {
		snaps := workspace.NewSnapshots(s.SnapshotsDir())
		if _, err := snaps.Get(snapshot); errdefs.IsNotFound(err) {
			return err
		}
		if err := g.recordSession(ctx, caller.ID, id, session.EventData{Event: session.EventSnapshotRemoved, Snapshot: snapshot}); err != nil {
			return err
		}
		return snaps.Remove(snapshot)
	})
}

// RestoreSnapshot puts the files of a snapshot in place of those that the caller's
// session has, as a whole or not at all. No call may run in it, and a session whose
// workspace is a directory of the machine keeps it: errdefs.ErrFailedPrecondition.
func (g *Gate) RestoreSnapshot(ctx context.Context, caller Caller, id, snapshot string) (workspace.Snapshot, error) {
	var out workspace.Snapshot
	if _, err := snapshotID(snapshot); err != nil || snapshot == "" {
		return out, cmp.Or(err, error(&FieldError{"snapshot_id", "is missing", "the id of a snapshot"}))
	}
	err := g.alone(caller, id, func(s *session.Session, _ *workspace.Dir) (err error) {
		if s.KeepOwner() {
			return fmt.Errorf("the workspace of session %q is a directory of the machine, which is not replaced: download the snapshot, or fork the session: %w",
				id, errdefs.ErrFailedPrecondition)
		}
		if out, err = g.unpackSnapshot(ctx, s, s, snapshot); err != nil {
			return err
		}
		failpoint.At(failpoint.RestoreUnpacked)
		err = g.recordSession(ctx, caller.ID, id, session.EventData{
			Event: session.EventRestored, Snapshot: snapshot, Digest: out.Digest, Bytes: out.Bytes, Files: out.Files,
		})
		if err == nil { // cells that are kept have the files of before
			err = g.cfg.Runtime.EndSession(ctx, sessionReuseKey(caller.ID, id))
		}
		if err != nil {
			return errors.Join(err, s.AbandonWorkspace())
		}
		failpoint.At(failpoint.RestoreReplacing)
		return s.ReplaceWorkspace()
	})
	return out, err
}

// unpackSnapshot begins a workspace of one session with a snapshot of another, or
// of the same, and is sure of its content when it returns.
func (g *Gate) unpackSnapshot(ctx context.Context, to, from *session.Session, snapshot string) (workspace.Snapshot, error) {
	info, in, err := workspace.NewSnapshots(from.SnapshotsDir()).Open(snapshot)
	if err != nil {
		return info, err
	}
	at, err := to.BeginWorkspace()
	if err != nil {
		return info, errors.Join(err, in.Close())
	}
	d, err := workspace.Open(at)
	if err == nil {
		_, err = d.Unpack(ctx, ".", in, workspace.Limits{})
		if err == nil {
			err = workspace.Verified(in)
		}
		err = errors.Join(err, d.Close())
	}
	if err = errors.Join(err, in.Close()); err != nil {
		return info, errors.Join(err, to.AbandonWorkspace())
	}
	return info, nil
}

// ForkSession makes a session of the caller with the files of another one of its
// own, as they are now or as a snapshot has them, with the same profile, terms and
// labels: what those files saw counts for whoever has them. Grants, counters and
// snapshots stay behind. Its workspace is the daemon's own, whatever the other's is.
func (g *Gate) ForkSession(ctx context.Context, caller Caller, id, snapshot, fork string) (session.Info, error) {
	if snapshot != "" {
		if _, err := snapshotID(snapshot); err != nil {
			return session.Info{}, err
		}
	}
	fork, err := snapshotID(fork) // of the same form
	if err != nil {
		return session.Info{}, &FieldError{"fork_id", "is not valid", fmt.Sprintf("1 to %d characters of [A-Za-z0-9._-]", maxCallIDBytes)}
	}
	if err := g.endIfOver(ctx, caller.ID, fork); err != nil {
		return session.Info{}, err
	}
	var info session.Info
	err = g.alone(caller, id, func(s *session.Session, d *workspace.Dir) error {
		state, terms := s.Snapshot(), s.Terms()
		if terms.Kind != session.Ephemeral {
			terms.Kind = session.Persistent
		}
		terms.Dir, terms.Tree = "", nil
		recorded := false
		record := func() error {
			data := session.WithFiles(state.Profile, &terms)
			data.Labels, data.From, data.Snapshot = state.Labels, id, snapshot
			err := g.recordSession(ctx, caller.ID, fork, data)
			recorded = err == nil
			return err
		}
		finish := func(made *session.Session) error {
			made.Inherit(state.Labels)
			failpoint.At(failpoint.ForkRecorded)
			if snapshot != "" {
				if _, err := g.unpackSnapshot(ctx, made, s, snapshot); err != nil {
					return err
				}
			} else if err := g.copyWorkspace(ctx, made, d); err != nil {
				return err
			}
			failpoint.At(failpoint.ForkCopied)
			if err := made.FinishWorkspace(); err != nil {
				return err
			}
			failpoint.At(failpoint.ForkMade)
			return g.recordSession(ctx, caller.ID, fork, session.Made())
		}
		var err error
		info, err = g.cfg.Sessions.Create(caller.ID, fork, state.Profile, terms, record, finish)
		if err != nil && recorded {
			err = errors.Join(err, g.recordSession(ctx, caller.ID, fork, session.HasEnded(session.EndedFailed, "")))
		}
		return err
	})
	return info, err
}

// copyWorkspace begins a workspace with all files of another.
func (g *Gate) copyWorkspace(ctx context.Context, to *session.Session, from *workspace.Dir) error {
	at, err := to.BeginWorkspace()
	if err != nil {
		return err
	}
	d, err := workspace.Open(at)
	if err != nil {
		return errors.Join(err, to.AbandonWorkspace())
	}
	out, in := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		_, err := from.Pack(ctx, ".", in, g.treeLimits(nil))
		_ = in.CloseWithError(err) // never fails
		packed <- err
	}()
	_, err = d.Unpack(ctx, ".", out, workspace.Limits{})
	_ = out.CloseWithError(errors.New("the copy has ended")) // never fails; ends Pack if it still writes
	if perr := <-packed; perr != nil {
		err = perr // why the stream broke off
	}
	if err = errors.Join(err, d.Close()); err != nil {
		return errors.Join(err, to.AbandonWorkspace())
	}
	return nil
}

// withFiles opens the workspace of the caller's session for its host, beside calls
// that may run in it.
func (g *Gate) withFiles(caller Caller, id string, do func(*session.Session, *workspace.Dir) error) error {
	return g.inWorkspace(caller, id, (*session.Session).Share, do)
}

// alone does so while nobody else uses it.
func (g *Gate) alone(caller Caller, id string, do func(*session.Session, *workspace.Dir) error) error {
	return g.inWorkspace(caller, id, (*session.Session).Alone, do)
}

func (g *Gate) inWorkspace(caller Caller, id string, take func(*session.Session) (func(), error), do func(*session.Session, *workspace.Dir) error) error {
	if caller.ID == "" {
		return fmt.Errorf("the caller is not known: %w", errdefs.ErrUnauthenticated)
	}
	s, err := g.cfg.Sessions.Enter(caller.ID, id)
	if err != nil {
		return err
	}
	defer g.cfg.Sessions.Release(s)
	if terms := s.Terms(); terms.Kind == session.Directory {
		if err := g.mayHave(caller, terms.Dir); err != nil {
			return err
		}
	}
	release, err := take(s)
	if err != nil {
		return err
	}
	defer release()
	if err := s.EnsureWorkspace(); err != nil {
		return err
	}
	d, err := workspace.Open(s.WorkspaceDir())
	if err != nil {
		return err
	}
	return errors.Join(do(s, d), d.Close())
}

func (g *Gate) treeLimits(s *session.Session) workspace.Limits {
	l := workspace.Limits{Bytes: g.cfg.FileBounds.TreeBytes, Files: g.cfg.FileBounds.TreeFiles}
	if s != nil {
		l.Bytes = g.within(s, l.Bytes)
	}
	return l
}

// within is a bound as the session's quota leaves it: nothing larger than the
// whole workspace may be is ever taken.
func (g *Gate) within(s *session.Session, most int64) int64 {
	if quota := s.Terms().Quota.DiskBytes; quota > 0 {
		return min(most, quota)
	}
	return most
}
