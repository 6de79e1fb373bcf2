package changeset

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// modeBits are those that are committed: never set-user-id, set-group-id, sticky.
const modeBits = 0o777

// op is how one step of a commit changes the directory. Each can be done again and
// be undone.
type op string

const (
	opPut  op = "put"  // move what was staged to where nothing is
	opSwap op = "swap" // exchange what was staged with what is there
	opTake op = "take" // move what is there to the stage
	opMode op = "mode" // of a directory
)

// step is one change of a commit. A directory that is new is one step with all that
// is in it.
type step struct {
	Op   op     `json:"op"`
	Path string `json:"path"`
	Name string `json:"name,omitempty"` // in the stage
	// NewIno is that of what was staged. The others are of what was at Path.
	NewIno   uint64 `json:"new_ino,omitempty"`
	OldIno   uint64 `json:"old_ino,omitempty"`
	OldSize  int64  `json:"old_size,omitempty"`
	OldMtime int64  `json:"old_mtime,omitempty"` // nanoseconds; of a directory 0
	Mode     uint32 `json:"mode,omitempty"`
	OldMode  uint32 `json:"old_mode,omitempty"`
}

// plan adds the step of a change, if it needs one. now is nil for a deleted path.
func (r *reader) plan(p pair, c *Change, now, was *unix.Stat_t) {
	if p.whole || c.Type == Special {
		return
	}
	s := step{Path: c.Path, Op: opPut, Name: fmt.Sprintf("new-%d", len(r.set.steps))}
	switch c.Kind {
	case Deleted:
		s.Op, s.Name = opTake, fmt.Sprintf("old-%d", len(r.set.steps))
	case Modified:
		s.Op = opSwap
	case Created:
	}
	if now != nil {
		s.NewIno = now.Ino // of the upper directory, until it is staged
	}
	if s.Op != opPut {
		s.OldIno, s.OldSize, s.OldMtime = was.Ino, was.Size, was.Mtim.Nano()
		if typeOf(was) == Dir {
			s.OldSize, s.OldMtime = 0, 0
		}
	}
	r.set.steps = append(r.set.steps, s)
}

// document is what of a commit is kept on disk, beside what was staged.
type document struct {
	Format   int               `json:"format"`
	Steps    []step            `json:"steps"`
	Contents map[string]string `json:"contents"` // SHA-256 of files by path
}

const (
	planFile   = "plan.json"
	planFormat = 1
	maxPlan    = 64 << 20
)

// Ref says where a staged set is. It is what a journal keeps, so that a commit that
// was interrupted can be ended.
type Ref struct {
	Dir    string `json:"dir"` // the directory that is changed
	DirIno uint64 `json:"dir_ino"`
	Stage  string `json:"stage"` // on the same mount
	Ino    uint64 `json:"stage_ino"`
	// Digest is "sha256:…" of the steps and of the content of every file.
	Digest string `json:"digest"`
	Steps  int    `json:"steps"`
}

// Staged is a set that is on disk beside the directory. One goroutine uses it.
type Staged struct {
	Ref        Ref
	dir, stage int // descriptors
	doc        document
}

// Close lets go of the descriptors. What was staged stays.
func (s *Staged) Close() error {
	return errors.Join(unix.Close(s.stage), unix.Close(s.dir))
}

// writePlan puts the document on disk and sets the digest.
func (s *Staged) writePlan() error {
	raw, err := json.Marshal(s.doc)
	if err != nil {
		return fmt.Errorf("encode the plan: %w", err)
	}
	fd, err := unix.Openat(s.stage, planFile, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("write the plan: %w", err)
	}
	f := os.NewFile(uintptr(fd), planFile)
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the plan: %w", err)
	}
	s.Ref.Digest, s.Ref.Steps = digest(raw), len(s.doc.Steps)
	return nil
}

func digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Open finds a staged set again. It fails when the directory, the stage or the plan
// is not what the reference says.
func Open(ref Ref) (_ *Staged, err error) {
	s := &Staged{Ref: ref, dir: -1, stage: -1}
	if s.dir, err = openNamed(ref.Dir, ref.DirIno); err != nil {
		return nil, err
	}
	if s.stage, err = openNamed(ref.Stage, ref.Ino); err != nil {
		return nil, errors.Join(err, unix.Close(s.dir))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	f, err := openFile(s.stage, planFile)
	if err != nil {
		return nil, fmt.Errorf("open the plan: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxPlan))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	if digest(raw) != ref.Digest {
		return nil, fmt.Errorf("the plan in %s is not the one that was recorded", ref.Stage)
	}
	if err := json.Unmarshal(raw, &s.doc); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	if s.doc.Format != planFormat {
		return nil, fmt.Errorf("the plan in %s has the format %d, want %d", ref.Stage, s.doc.Format, planFormat)
	}
	return s, nil
}

// openNamed opens a directory by its path, over no symbolic link. ino 0 is any.
func openNamed(name string, ino uint64) (int, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, errors.Join(&os.PathError{Op: "stat", Path: name, Err: err}, unix.Close(fd))
	}
	if ino != 0 && st.Ino != ino {
		return -1, errors.Join(fmt.Errorf("%s is another directory than before", name), unix.Close(fd))
	}
	return fd, nil
}

// Remove takes a stage away with all that is in it, what was replaced included. One
// that is not there is no error.
func Remove(stage string) error {
	parent, err := openNamed(filepath.Dir(stage), 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(parent) //nolint:errcheck // only read
	// The path is looked up anew, but only below what was opened, and RemoveAll
	// follows no link.
	return os.RemoveAll(fmt.Sprintf("/proc/self/fd/%d/%s", parent, filepath.Base(stage)))
}
