package workspace

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/zstd"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// Names of a snapshot's two files; the second is there once the first is whole.
const (
	packSuffix = ".tar.zst"
	infoSuffix = ".json"
	tempSuffix = ".making"
)

// Snapshot is what a workspace was at one moment.
type Snapshot struct {
	ID          string    `json:"id"`
	Created     time.Time `json:"created"`
	Bytes       int64     `json:"bytes"` // of the contents of files
	Files       int64     `json:"files"` // entries of any kind
	Skipped     int64     `json:"skipped,omitempty"`
	StoredBytes int64     `json:"stored_bytes"` // on disk
	Digest      string    `json:"digest"`       // "sha256:…" of the tree as a tar stream
}

// Snapshots are those of one session, in a directory of its own that only the
// daemon can reach. Nobody else may use it at the same time.
type Snapshots struct{ dir string }

// NewSnapshots returns those in a directory, which need not exist yet.
func NewSnapshots(dir string) Snapshots { return Snapshots{dir} }

// Take makes a snapshot of the workspace, durable when Take returns. Nothing may
// work in the workspace meanwhile. An id that is taken is errdefs.ErrAlreadyExists.
func (s Snapshots) Take(ctx context.Context, d *Dir, id string, limits Limits, now time.Time) (_ Snapshot, err error) {
	if _, err := os.Lstat(s.path(id, infoSuffix)); err == nil {
		return Snapshot{}, fmt.Errorf("snapshot %q is there already: choose another id: %w", id, errdefs.ErrAlreadyExists)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return Snapshot{}, fmt.Errorf("make directory of snapshots: %w", err)
	}
	if err := s.tidy(); err != nil {
		return Snapshot{}, err
	}
	made := Snapshot{ID: id, Created: now}
	err = s.write(id, packSuffix, func(f *os.File) error {
		totals, sum, err := pack(ctx, d, f, limits)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("look at it: %w", err)
		}
		made.Bytes, made.Files, made.Skipped, made.StoredBytes, made.Digest = totals.Bytes, totals.Files, totals.Skipped, info.Size(), sum
		return nil
	})
	if err != nil {
		return Snapshot{}, err
	}
	failpoint.At(failpoint.SnapshotPacked)
	return made, s.write(id, infoSuffix, func(f *os.File) error {
		return json.NewEncoder(f).Encode(made)
	})
}

// tidy removes what is no snapshot: a crash has left it.
func (s Snapshots) tidy() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	for _, e := range entries {
		id, isPack := strings.CutSuffix(e.Name(), packSuffix)
		half := strings.HasSuffix(e.Name(), tempSuffix)
		if isPack {
			_, err := os.Lstat(s.path(id, infoSuffix))
			half = errors.Is(err, fs.ErrNotExist)
		}
		if !half {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil {
			return fmt.Errorf("remove what is left of a snapshot: %w", err)
		}
	}
	return nil
}

func pack(ctx context.Context, d *Dir, to io.Writer, limits Limits) (Totals, string, error) {
	small, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return Totals{}, "", fmt.Errorf("compress: %w", err)
	}
	sum := sha256.New()
	totals, err := d.Pack(ctx, ".", io.MultiWriter(small, sum), limits)
	if closed := small.Close(); err == nil { // else it fails for the same reason
		err = closed
	}
	if err != nil {
		return Totals{}, "", err
	}
	return totals, digest(sum), nil
}

// write makes one file, whole or not at all, and durable.
func (s Snapshots) write(id, suffix string, content func(*os.File) error) (err error) {
	temp := s.path(id, suffix+tempSuffix)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // #nosec G304 -- the id was checked
	if err != nil {
		return fmt.Errorf("write snapshot %q: %w", id, mapped(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp))
		}
	}()
	err = content(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, s.path(id, suffix))
	}
	if err != nil {
		return fmt.Errorf("write snapshot %q: %w", id, mapped(err))
	}
	return syncDir(s.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- the daemon's own
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

func (s Snapshots) path(id, suffix string) string { return filepath.Join(s.dir, id+suffix) }

// List returns the snapshots, oldest first. One that a crash left half made is
// none; the next of its id replaces it.
func (s Snapshots) List() ([]Snapshot, error) {
	files, err := filepath.Glob(filepath.Join(globEscape(s.dir), "*"+infoSuffix))
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	out := make([]Snapshot, 0, len(files))
	for _, f := range files {
		one, err := s.Get(strings.TrimSuffix(filepath.Base(f), infoSuffix))
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Snapshot) int { return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID)) })
	return out, nil
}

// globEscape takes the meaning from a name's special characters.
func globEscape(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// Get returns what is known of a snapshot; errdefs.ErrNotFound if there is none.
func (s Snapshots) Get(id string) (Snapshot, error) {
	raw, err := os.ReadFile(s.path(id, infoSuffix)) // #nosec G304 -- the id was checked
	if errors.Is(err, fs.ErrNotExist) {
		return Snapshot{}, fmt.Errorf("snapshot %q: %w", id, errdefs.ErrNotFound)
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("read snapshot %q: %w", id, err)
	}
	var out Snapshot
	if err := json.Unmarshal(raw, &out); err != nil || out.ID != id {
		return Snapshot{}, damaged(id)
	}
	return out, nil
}

func damaged(id string) error {
	return fmt.Errorf("snapshot %q is damaged on disk: remove it: %w", id, errdefs.ErrFailedPrecondition)
}

// Remove deletes a snapshot; errdefs.ErrNotFound if there is none.
func (s Snapshots) Remove(id string) error {
	err := os.Remove(s.path(id, infoSuffix)) // from here on there is none
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("snapshot %q: %w", id, errdefs.ErrNotFound)
	}
	if err == nil {
		failpoint.At(failpoint.SnapshotRemoving)
		err = os.Remove(s.path(id, packSuffix))
	}
	if err != nil {
		return fmt.Errorf("remove snapshot %q: %w", id, err)
	}
	return syncDir(s.dir)
}

// Open reads a snapshot as a tar stream, in whose place an error comes at its end
// if it is not what was taken: errdefs.ErrFailedPrecondition. Nothing of it may be used
// before. The caller closes it.
func (s Snapshots) Open(id string) (Snapshot, io.ReadCloser, error) {
	info, err := s.Get(id)
	if err != nil {
		return Snapshot{}, nil, err
	}
	f, err := os.Open(s.path(id, packSuffix))
	if err != nil {
		return Snapshot{}, nil, fmt.Errorf("read snapshot %q: %w", id, err)
	}
	in, err := zstd.NewReader(bufio.NewReaderSize(f, 1<<20), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return Snapshot{}, nil, errors.Join(fmt.Errorf("read snapshot %q: %w", id, err), f.Close())
	}
	return info, &packReader{file: f, in: in, info: info, sum: sha256.New()}, nil
}

type packReader struct {
	file *os.File
	in   *zstd.Decoder
	info Snapshot
	sum  hash.Hash
}

// Read implements io.Reader.
func (r *packReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	r.sum.Write(p[:n])
	switch {
	case errors.Is(err, io.EOF) && digest(r.sum) == r.info.Digest:
		return n, io.EOF
	case err != nil:
		return n, damaged(r.info.ID)
	}
	return n, nil
}

// Close implements io.Closer.
func (r *packReader) Close() error {
	r.in.Close()
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("close snapshot: %w", err)
	}
	return nil
}

// Verified reads what a consumer left of a snapshot and reports whether it is what
// was taken.
func Verified(snapshot io.Reader) error {
	_, err := io.Copy(io.Discard, snapshot)
	return err //nolint:wrapcheck // it says everything
}
