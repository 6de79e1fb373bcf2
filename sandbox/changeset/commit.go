package changeset

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// ErrConflict is wrapped when something else was found than what a commit replaces:
// somebody changed it meanwhile.
var ErrConflict = errors.New("somebody else changed it meanwhile")

// StuckError says that a commit could neither be ended nor be undone.
type StuckError struct {
	// Paths are those of which it is not known what is there.
	Paths []string
	Err   error
}

// Error implements error.
func (e *StuckError) Error() string {
	return fmt.Sprintf("the change of %d paths could neither be ended nor undone (%q first): %v", len(e.Paths), e.Paths[0], e.Err)
}

// Unwrap returns the cause.
func (e *StuckError) Unwrap() error { return e.Err }

// Commit moves what was staged into the directory, and puts that on disk. It may be
// done again after it was interrupted at any place, also by another process. After
// an error the directory is as it was before, except after a *StuckError.
//
// Those who look at the directory meanwhile see some paths changed and others not
// yet; of each path they see the whole old or the whole new content.
func (s *Staged) Commit() error {
	at := newParents(s.dir)
	defer at.close()
	touched := map[string]struct{}{}
	for i := range s.doc.Steps {
		failpoint.At(failpoint.CommitStep)
		err := s.do(at, &s.doc.Steps[i])
		if err == nil {
			touched[dirOf(s.doc.Steps[i].Path)] = struct{}{}
			continue
		}
		err = fmt.Errorf("commit %q: %w", s.doc.Steps[i].Path, err)
		// Steps behind this one may have been done before an interruption.
		if uerr := s.undo(at, len(s.doc.Steps)-1, err); uerr != nil {
			return uerr
		}
		return errors.Join(err, unix.Syncfs(s.dir))
	}
	if err := s.sync(touched); err != nil {
		return &StuckError{Paths: s.paths(len(s.doc.Steps)), Err: fmt.Errorf("put it on disk: %w", err)}
	}
	failpoint.At(failpoint.CommitDone)
	return nil
}

// Undo makes the directory what it was before Commit, whether that was ended or
// not, as long as the stage is there.
func (s *Staged) Undo() error {
	at := newParents(s.dir)
	defer at.close()
	if err := s.undo(at, len(s.doc.Steps)-1, errors.New("undone")); err != nil {
		return err
	}
	return unix.Syncfs(s.dir)
}

func (s *Staged) paths(n int) []string {
	var out []string
	for i := range s.doc.Steps[:n] {
		out = append(out, s.doc.Steps[i].Path)
	}
	return out
}

// undo takes back the steps up to last.
func (s *Staged) undo(at *parents, last int, cause error) error {
	var stuck []string
	for i := last; i >= 0; i-- {
		if err := s.back(at, &s.doc.Steps[i]); err != nil {
			stuck = append(stuck, s.doc.Steps[i].Path)
			cause = errors.Join(cause, fmt.Errorf("undo %q: %w", s.doc.Steps[i].Path, err))
		}
	}
	if len(stuck) > 0 {
		return &StuckError{Paths: stuck, Err: cause}
	}
	return nil
}

// inode looks up a name; 0 is nothing.
func inode(dir int, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return unix.Stat_t{}, nil
	}
	return st, err
}

// do does a step, unless it was done before.
func (s *Staged) do(at *parents, st *step) error {
	dir, name, err := at.of(st.Path)
	if err != nil {
		return err
	}
	there, err := inode(dir, name)
	if err != nil {
		return err
	}
	switch st.Op {
	case opMode:
		return chmod(dir, name, st.OldIno, st.Mode)
	case opTake:
		if there.Ino == 0 {
			if held, err := inode(s.stage, st.Name); err == nil && held.Ino == st.OldIno {
				return nil
			}
		}
		if !st.was(&there) {
			return ErrConflict
		}
		if err := unix.Renameat2(dir, name, s.stage, st.Name, unix.RENAME_NOREPLACE); err != nil {
			return err
		}
		return s.took(st)
	case opPut:
		switch there.Ino {
		case st.NewIno:
			return nil
		case 0:
		default:
			return ErrConflict
		}
		return unix.Renameat2(s.stage, st.Name, dir, name, unix.RENAME_NOREPLACE)
	case opSwap:
		if there.Ino == st.NewIno {
			return nil
		}
		if !st.was(&there) {
			return ErrConflict
		}
		if err := unix.Renameat2(s.stage, st.Name, dir, name, unix.RENAME_EXCHANGE); err != nil {
			return err
		}
		return s.took(st)
	}
	return fmt.Errorf("unknown step %q", st.Op)
}

// took reports whether what was moved to the stage is what was meant: another could
// have come there since it was looked at.
func (s *Staged) took(st *step) error {
	if old, err := inode(s.stage, st.Name); err != nil || !st.was(&old) {
		return errors.Join(ErrConflict, err)
	}
	return nil
}

// was reports whether something is what the step replaces.
func (st *step) was(there *unix.Stat_t) bool {
	if there.Ino == 0 || there.Ino != st.OldIno {
		return false
	}
	return typeOf(there) == Dir || there.Size == st.OldSize && there.Mtim.Nano() == st.OldMtime
}

// back takes a step back, if it was done.
func (s *Staged) back(at *parents, st *step) error {
	dir, name, err := at.of(st.Path)
	if err != nil {
		return err
	}
	there, err := inode(dir, name)
	if err != nil {
		return err
	}
	switch st.Op {
	case opMode:
		return chmod(dir, name, st.OldIno, st.OldMode)
	case opTake:
		if held, err := inode(s.stage, st.Name); err != nil || held.Ino == 0 {
			return err // it was not taken
		}
		return unix.Renameat2(s.stage, st.Name, dir, name, unix.RENAME_NOREPLACE)
	case opPut:
		if there.Ino != st.NewIno {
			if held, err := inode(s.stage, st.Name); err != nil || held.Ino == st.NewIno {
				return err // it was not put there
			}
			return ErrConflict
		}
		return unix.Renameat2(dir, name, s.stage, st.Name, unix.RENAME_NOREPLACE)
	case opSwap:
		held, err := inode(s.stage, st.Name)
		if err != nil || held.Ino == st.NewIno {
			return err // it was not exchanged
		}
		if there.Ino != st.NewIno {
			return ErrConflict
		}
		return unix.Renameat2(s.stage, st.Name, dir, name, unix.RENAME_EXCHANGE)
	}
	return fmt.Errorf("unknown step %q", st.Op)
}

// chmod sets the mode of a directory, if it is the one that is meant.
func chmod(dir int, name string, ino uint64, mode uint32) error {
	fd, err := openDir(dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written through it
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Ino != ino {
		return ErrConflict
	}
	return unix.Fchmod(fd, mode)
}

// maxSynced is up to how many directories are put on disk each by itself.
const maxSynced = 64

// sync puts on disk what a commit has moved.
func (s *Staged) sync(touched map[string]struct{}) error {
	if len(touched) > maxSynced {
		return unix.Syncfs(s.dir)
	}
	if err := unix.Fsync(s.stage); err != nil {
		return err
	}
	for name := range touched {
		fd, err := openDir(s.dir, name)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return unix.Syncfs(s.dir) // somebody moved it
		}
		if err != nil {
			return err
		}
		if err := errors.Join(unix.Fsync(fd), unix.Close(fd)); err != nil {
			return err
		}
	}
	return nil
}

func dirOf(at string) string {
	for i := len(at) - 1; i > 0; i-- {
		if at[i] == '/' {
			return at[:i]
		}
	}
	return "."
}
