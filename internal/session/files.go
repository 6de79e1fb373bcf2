package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

const snapshotsName = "snapshots"

// Enter returns the caller's session without making one; errdefs.ErrNotFound if
// there is none. It counts as used until the caller of Enter gives it to Release.
func (m *Manager) Enter(caller, id string) (*Session, error) {
	if err := ValidateID(id); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.find(name{caller, id})
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, fmt.Errorf("session %q: %w", id, errdefs.ErrNotFound)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.used(m.cfg.Now())
	s.users++
	return s, nil
}

// Share keeps the session's files from being taken Alone while its host reads or
// writes them. release may be called more than once.
func (s *Session) Share() (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alone {
		return nil, s.busy("are being saved or put back")
	}
	s.sharing++
	return s.once(func() { s.sharing-- }), nil
}

// Alone takes the session's files for somebody who wants nobody else to work on
// them: calls are refused with errdefs.ErrUnavailable meanwhile. It fails, with
// errdefs.ErrUnavailable as well, while calls run. release may be called more than
// once.
func (s *Session) Alone() (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.alone:
		return nil, s.busy("are being saved or put back")
	case s.running > 0:
		return nil, s.busy(fmt.Sprintf("are being worked on by %d calls", s.running))
	case s.sharing > 0:
		return nil, s.busy("are being uploaded or downloaded")
	}
	s.alone = true
	return s.once(func() { s.alone = false }), nil
}

// busy is the error of who has to come again; s.mu is held.
func (s *Session) busy(why string) error {
	return &BusyError{Session: s.state.ID, Why: why}
}

// BusyError says that the files of a session are in use, so that its host has to
// come again: an errdefs.ErrUnavailable whose text is for the host, too.
type BusyError struct {
	// Session is the session's id.
	Session string
	// Why completes "the files of the session …".
	Why string
}

// Error tells who has the files.
func (e *BusyError) Error() string {
	return fmt.Sprintf("the files of session %q %s: try again when that has ended", e.Session, e.Why)
}

// Unwrap returns errdefs.ErrUnavailable.
func (*BusyError) Unwrap() error { return errdefs.ErrUnavailable }

func (s *Session) once(undo func()) func() {
	done := false
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !done {
			done = true
			undo()
		}
	}
}

// Inherit gives a session that is being made the labels of the one that its files
// come from: what those saw counts for whoever has the files. Only the session's
// maker may use it.
func (s *Session) Inherit(labels []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Labels = slices.Clone(labels)
}

// SnapshotsDir is where the session's snapshots are. It need not exist.
func (s *Session) SnapshotsDir() string { return filepath.Join(s.dir(), snapshotsName) }

// ReplaceWorkspace makes what BeginWorkspace has begun the workspace in place of
// the one that there is, in one step, and removes that. Nobody may work in either:
// see Alone. A workspace that is a directory of the machine cannot be replaced.
func (s *Session) ReplaceWorkspace() error {
	if s.KeepOwner() {
		return fmt.Errorf("the workspace of session %q is a directory of the machine: %w", s.name.id, errdefs.ErrFailedPrecondition)
	}
	dir := s.WorkspaceDir()
	err := unix.Renameat2(unix.AT_FDCWD, dir+makingSuffix, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) {
		return s.FinishWorkspace() // there was none
	}
	if err != nil {
		return errors.Join(fmt.Errorf("replace workspace: %w", err), os.RemoveAll(dir+makingSuffix))
	}
	failpoint.At(failpoint.RestoreReplaced)
	if err := os.RemoveAll(dir + makingSuffix); err != nil {
		return fmt.Errorf("remove the workspace of before: %w", err)
	}
	return nil
}

// AbandonWorkspace removes what BeginWorkspace has begun.
func (s *Session) AbandonWorkspace() error {
	if err := os.RemoveAll(s.WorkspaceDir() + makingSuffix); err != nil {
		return fmt.Errorf("remove what was begun: %w", err)
	}
	return nil
}
