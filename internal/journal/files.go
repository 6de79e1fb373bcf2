package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// A journal at DIR/NAME.EXT has these files, all in DIR:
//
//	NAME.EXT                the live segment, which is written
//	NAME.<first>.EXT        closed segments; first is their first number, 20 digits
//	NAME.<first>.index      what is in a closed segment, see internal/audit
//	NAME.<last>.snapshot    the folded state of all records up to last
//	NAME.tree               the hashes of the tree over the records
//	NAME.checkpoint         the newest signed head of that tree
//	NAME.next               the live segment to be
//
// A journal of an older sandgate is a live segment without closed ones: nothing
// needs to be done to it.
type files struct{ dir, stem, ext string }

// Digits of a number in a file's name, so that they sort.
const nameDigits = 20

func filesOf(path string) files {
	ext := filepath.Ext(path)
	return files{dir: filepath.Dir(path), stem: strings.TrimSuffix(filepath.Base(path), ext), ext: ext}
}

func (f files) named(suffix string) string { return filepath.Join(f.dir, f.stem+suffix) }

func (f files) numbered(n int64, ext string) string {
	return f.named(fmt.Sprintf(".%0*d%s", nameDigits, n, ext))
}

func (f files) live() string                  { return f.named(f.ext) }
func (f files) closed(first int64) string     { return f.numbered(first, f.ext) }
func (f files) snapshot(last int64) string    { return f.numbered(last, snapshotExt) }
func (f files) tree() string                  { return f.named(".tree") }
func (f files) checkpoint() string            { return f.named(".checkpoint") }
func (f files) next() string                  { return f.named(".next") }
func (f files) index(first int64) string      { return f.numbered(first, IndexExt) }
func (f files) closedSegment(n int64) Segment { return Segment{First: n, Path: f.closed(n)} }

// IndexExt and snapshotExt end the names of those files.
const (
	IndexExt    = ".index"
	snapshotExt = ".snapshot"
)

// numbers lists the numbers of the files that end in ext, lowest first.
func (f files) numbers(ext string) ([]int64, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	var out []int64
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), f.stem+".")
		if digits, ok = cutSuffix(digits, ext, ok); !ok || len(digits) != nameDigits {
			continue
		}
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n >= 0 {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

func cutSuffix(s, suffix string, ok bool) (string, bool) {
	cut, found := strings.CutSuffix(s, suffix)
	return cut, ok && found
}

// Segment is one file of the journal.
type Segment struct {
	// First is the number of its first record. Of a live segment that Segments found
	// on the disk it is not known: 0.
	First int64
	// Last is the number of its last record, and Bytes the length of its records.
	// Both are 0 where only the file's name is known.
	Last, Bytes int64
	Path        string
	Live        bool
}

// IndexPath is where the index of a closed segment is.
func (s Segment) IndexPath() string {
	return strings.TrimSuffix(s.Path, filepath.Ext(s.Path)) + IndexExt
}

// segments lists the files of the segments, oldest first, the live one last if it
// is there.
func (f files) segments() ([]Segment, error) {
	firsts, err := f.numbers(f.ext)
	if err != nil {
		return nil, err
	}
	out := make([]Segment, 0, len(firsts)+1)
	for i, n := range firsts {
		s := f.closedSegment(n)
		if i+1 < len(firsts) {
			s.Last = firsts[i+1] - 1
		}
		out = append(out, s)
	}
	if _, err := os.Lstat(f.live()); err == nil {
		out = append(out, Segment{Path: f.live(), Live: true})
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	return out, nil
}

// Find returns the path of the journal that is meant by path: its live segment, or
// the directory of it.
func Find(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			if firsts, lerr := filesOf(path).numbers(filepath.Ext(path)); lerr == nil && len(firsts) > 0 {
				return path, nil // only closed segments
			}
		}
		return "", fmt.Errorf("journal: %w", err)
	}
	if !info.IsDir() {
		return path, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", fmt.Errorf("journal: %w", err)
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || !strings.HasSuffix(name, ".jsonl") {
			continue
		}
		stem := strings.TrimSuffix(name, ".jsonl")
		if i := len(stem) - nameDigits - 1; i > 0 && stem[i] == '.' {
			if _, err := strconv.ParseUint(stem[i+1:], 10, 64); err == nil {
				stem = stem[:i]
			}
		}
		if !slices.Contains(found, stem) {
			found = append(found, stem)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("journal: %s holds %d journals, want one: name its file NAME.jsonl: %w", path, len(found), errdefs.ErrInvalidArgument)
	}
	return filepath.Join(path, found[0]+".jsonl"), nil
}

// lockDir takes the journal's directory for this process alone. The lock goes with
// the process.
func lockDir(dir string) (*os.File, error) {
	d, err := os.Open(dir) // #nosec G304 -- configured
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("journal in %s is in use by another process: want one daemon per data directory: %w", dir, errdefs.ErrFailedPrecondition)
		} else {
			err = fmt.Errorf("lock journal: %w", err)
		}
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// openLive opens or makes the live segment, mode 0600, and sees to it that the file
// is in its directory on the disk.
func openLive(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600) // #nosec G304 -- configured
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	err = func() error {
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("open journal: %w", err)
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("open journal %s: not a regular file: %w", path, errdefs.ErrFailedPrecondition)
		}
		if err := f.Chmod(0o600); err != nil {
			return fmt.Errorf("open journal: %w", err)
		}
		return syncDir(filepath.Dir(path))
	}()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- the journal's own directory
	if err != nil {
		return fmt.Errorf("sync journal directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync journal directory: %w", err)
	}
	return nil
}
