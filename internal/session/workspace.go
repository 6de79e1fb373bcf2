package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

const (
	workspaceName = "workspace"
	makingSuffix  = ".making" // of a workspace on its way
)

// EnsureWorkspace makes the workspace directory if there is none. It fails with
// errdefs.ErrFailedPrecondition once the session has ended, and where a directory
// of the machine is there no more. Whether the caller may still have that
// directory, the gate asks.
func (s *Session) EnsureWorkspace() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return fmt.Errorf("session %q has ended: %w", s.state.ID, errdefs.ErrFailedPrecondition)
	}
	if err := s.boundDisk(); err != nil {
		return err
	}
	dir := s.WorkspaceDir()
	if info, err := os.Lstat(dir); err == nil && info.IsDir() {
		return nil
	}
	switch s.state.Kind() {
	case Directory:
		return fmt.Errorf("the directory %s of session %q is no directory of this machine any more: %w", dir, s.state.ID, errdefs.ErrFailedPrecondition)
	case Worktree:
		return fmt.Errorf("sandgate stopped while the working tree of session %q was being made: close it and make another: %w", s.state.ID, errdefs.ErrFailedPrecondition)
	case Persistent, Ephemeral:
	}
	if _, err := s.beginWorkspace(); err != nil {
		return err
	}
	failpoint.At(failpoint.SessionWorkspace)
	return s.FinishWorkspace()
}

// BeginWorkspace makes an empty directory that is to become the workspace. It has
// a name of its own until it is what it is to be: after a crash there is either no
// workspace or one that calls can use. Only the session's maker may use it, and
// EnsureWorkspace.
func (s *Session) BeginWorkspace() (dir string, err error) {
	if err := s.BoundDisk(); err != nil {
		return "", err
	}
	return s.beginWorkspace()
}

func (s *Session) beginWorkspace() (dir string, err error) {
	if err := os.MkdirAll(s.dir(), 0o700); err != nil {
		return "", fmt.Errorf("make session directory: %w", err)
	}
	making := s.WorkspaceDir() + makingSuffix
	if err := errors.Join(os.RemoveAll(making), os.Mkdir(making, 0o700)); err != nil {
		return "", fmt.Errorf("make workspace: %w", err)
	}
	if s.manager.cfg.Prepare != nil {
		if err := s.manager.cfg.Prepare(making); err != nil {
			return "", errors.Join(fmt.Errorf("prepare workspace: %w", err), os.RemoveAll(making))
		}
	}
	return making, nil
}

// FinishWorkspace makes what BeginWorkspace has begun the workspace.
func (s *Session) FinishWorkspace() error {
	dir := s.WorkspaceDir()
	if err := os.Rename(dir+makingSuffix, dir); err != nil {
		return errors.Join(fmt.Errorf("make workspace: %w", err), os.RemoveAll(dir+makingSuffix))
	}
	return nil
}

// trashPrefix marks directories of ended sessions; NewManager removes what a
// crash has left of them.
const trashPrefix = ".ended-"

// moveAway takes a session's directory out of the way. It returns the directory's
// new name, empty if there is none.
func (m *Manager) moveAway(n name) (string, error) {
	key := Key(n.caller, n.id)
	dir := filepath.Join(m.cfg.Dir, key)
	if err := m.unbound(dir); err != nil {
		return "", fmt.Errorf("end session %q: %w", n.id, err)
	}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	trash, err := os.MkdirTemp(m.cfg.Dir, trashPrefix)
	if err != nil {
		return "", fmt.Errorf("end session %q: %w", n.id, err)
	}
	if err := os.Rename(dir, filepath.Join(trash, key)); err != nil {
		return "", fmt.Errorf("end session %q: %w", n.id, errors.Join(err, os.Remove(trash)))
	}
	return trash, nil
}

// removeFiles removes what the daemon keeps of a session on disk; a directory of
// the machine that it was bound to stays. RemoveAll does not follow symlinks that
// a tool left behind.
func (m *Manager) removeFiles(n name) error {
	trash, err := m.moveAway(n)
	if err != nil || trash == "" {
		return err
	}
	return removeAll(trash, n.id)
}

func removeAll(trash, id string) error {
	if err := os.RemoveAll(trash); err != nil {
		return fmt.Errorf("remove the files of session %q: %w", id, err)
	}
	return nil
}

// sweep removes what is left of sessions that have ended, where a crash came between
// the record of their end and the removal of their files, and workspaces that were on
// their way. Those on disks that are not attached yet go when they are.
func (m *Manager) sweep() error {
	making, err := filepath.Glob(filepath.Join(m.cfg.Dir, "*", workspaceName+makingSuffix))
	if err != nil {
		return fmt.Errorf("look for workspaces on their way: %w", err)
	}
	for _, dir := range making {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove a workspace on its way: %w", err)
		}
	}
	left, err := filepath.Glob(filepath.Join(m.cfg.Dir, trashPrefix+"*"))
	if err != nil {
		return fmt.Errorf("look for ended sessions: %w", err)
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove ended session: %w", err)
		}
	}
	for _, e := range m.ends {
		if err := m.removeFiles(name{e.Caller, e.ID}); err != nil {
			return err
		}
	}
	return nil
}
