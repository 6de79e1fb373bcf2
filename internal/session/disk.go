package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/errdefs"
)

// Disk bounds what directories can hold. Its methods are called one at a time for
// each directory.
type Disk interface {
	// Attach makes a directory, which exists, hold at most so many bytes with all that
	// is in it; one that does already stays as it is.
	Attach(dir string, bytes int64) error
	// Detach lets go of what Attach made; Attach brings it back. One that is not
	// bounded is no error.
	Detach(dir string) error
	// Remove takes away for good what Attach made of a directory, with all that is in
	// it. The directory itself stays. One that is not bounded is no error.
	Remove(dir string) error
}

// disks knows which sessions' directories are bounded. A daemon that starts anew does
// not know it of any.
type disks struct {
	mu   sync.Mutex
	have map[string]bool // by directory
}

// DiskBytes is how much the session's files may take on disk, all together. 0: nothing
// bounds it.
func (s *Session) DiskBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.diskBytes()
}

func (s *Session) diskBytes() int64 {
	if s.state.Kind() == Directory {
		return 0
	}
	return s.manager.cfg.Bounds.of(&s.state).Quota.DiskBytes
}

// BoundDisk sees that the directory of a session with a disk quota is bounded, before
// anybody looks at what is in it or puts something there. It costs nothing the next
// time. What the machine cannot bound is errdefs.ErrFailedPrecondition: then the
// session cannot be used.
func (s *Session) BoundDisk() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil // whoever uses it is told so
	}
	return s.boundDisk()
}

// boundDisk is BoundDisk with s.mu held.
func (s *Session) boundDisk() error {
	terms := s.manager.cfg.Bounds.of(&s.state)
	bytes := terms.Quota.DiskBytes
	if bytes == 0 {
		return nil
	}
	if s.state.Kind() == Directory {
		return fmt.Errorf("session %q has a disk quota, which cannot bound a directory of the machine: make one without (disk_bytes 0), or another kind of session: %w",
			s.state.ID, errdefs.ErrFailedPrecondition)
	}
	d, dir := &s.manager.disks, s.dir()
	d.mu.Lock()
	have := d.have[dir]
	d.mu.Unlock()
	if have {
		return nil
	}
	if s.manager.cfg.Disk == nil {
		return fmt.Errorf("session %q has a disk quota, and this daemon has nothing to bound it with: %w", s.state.ID, errdefs.ErrFailedPrecondition)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make session directory: %w", err)
	}
	if err := s.manager.cfg.Disk.Attach(dir, bytes); err != nil {
		return fmt.Errorf("bound the disk of session %q: %w", s.state.ID, err)
	}
	if err := os.RemoveAll(filepath.Join(dir, workspaceName+makingSuffix)); err != nil { // of a daemon that was killed
		return fmt.Errorf("remove a workspace on its way: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.have == nil {
		d.have = map[string]bool{}
	}
	d.have[dir] = true
	return nil
}

// DetachDisks lets go of the disks of all sessions, when no cell has them any more. The
// manager must not be used afterwards.
func (m *Manager) DetachDisks() error {
	if m.cfg.Disk == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, s := range m.sessions {
		// Also those that an earlier daemon has attached and this one did not use.
		errs = append(errs, m.cfg.Disk.Detach(s.dir()))
	}
	return errors.Join(errs...)
}

// unbound takes the bound of a directory away that is going to be removed.
func (m *Manager) unbound(dir string) error {
	m.disks.mu.Lock()
	delete(m.disks.have, dir)
	m.disks.mu.Unlock()
	if m.cfg.Disk == nil {
		return nil
	}
	return m.cfg.Disk.Remove(dir)
}
