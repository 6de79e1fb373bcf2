package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/containerd/errdefs"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandgate/sandgate/internal/journal/merkle"
)

// VerifyOptions say what else than the chain is looked at.
type VerifyOptions struct {
	// PublicKey is the key that checkpoints must be signed with, as `sandgate audit key`
	// prints it. Empty: signatures are not looked at.
	PublicKey string
	// Checkpoint is a signed one from elsewhere, that the journal must hold. Optional.
	Checkpoint []byte
}

// Verified is what was found besides the records.
type Verified struct {
	Report
	// Checkpoints is how many of the journal's checkpoints are those of its records,
	// CheckpointSize how many records the newest one counts. Records behind it are
	// missed by nobody if they are cut off the end.
	Checkpoints    int64
	CheckpointSize int64
	// Signed says that their signatures were checked.
	Signed bool
	// Snapshots is how many snapshots are what the journal says of them.
	Snapshots int
	// Closed says that the journal was closed in order.
	Closed bool
	// Newest is the newest checkpoint, signed; nil: there is none.
	Newest []byte
}

// Verify reads the whole journal at path, a live segment or the directory of one, and
// checks every hash and the chain. It takes no lock: of a journal that is being
// written it verifies what is there, and the last lines may then count as torn. The
// error is a *CorruptError, which names the place, if the chain is broken.
func Verify(path string) (Report, error) {
	v, err := VerifyAll(path, VerifyOptions{})
	return v.Report, err
}

// VerifyAll does what Verify does, and checks the journal's checkpoints, its records
// of removed segments and its snapshots against the records.
func VerifyAll(path string, opts VerifyOptions) (Verified, error) {
	path, err := Find(path)
	if err != nil {
		return Verified{}, err
	}
	v := &verifier{files: filesOf(path), opts: opts}
	for range 3 { // a segment may be closed or removed meanwhile
		// What is behind the newest checkpoint may be written while the records are read.
		if v.newest, err = os.ReadFile(v.files.checkpoint()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Verified{}, fmt.Errorf("verify journal: %w", err)
		}
		if err = v.segments(); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err == nil {
		err = v.heads()
	}
	if err == nil {
		err = v.states()
	}
	return v.out, err
}

// Read gives all good records of the journal at path, a live segment or the directory
// of one, to fn with their lines, in order, and checks them as Verify does. It takes
// no lock. The record and its line are only valid during the call.
func Read(path string, fn func(rec Record, line []byte) error) error {
	path, err := Find(path)
	if err != nil {
		return err
	}
	list, err := filesOf(path).segments()
	if err != nil {
		return err
	}
	s := newScanner(nil)
	s.lines = fn
	if len(list) > 0 && list[0].First > 1 {
		s.rep.LastSeq, s.rep.LastHash, s.known = list[0].First-1, "", false
	}
	v := &verifier{}
	for i, seg := range list {
		if err := v.segment(s, seg, i == len(list)-1); err != nil {
			return err
		}
	}
	return nil
}

type verifier struct {
	files files
	opts  VerifyOptions
	out   Verified

	newest    []byte // checkpoint; nil: there is none
	tree      hashes
	oldest    int64  // first record that is kept
	prev      string // what the first record must follow, where those before it were removed
	snapshots map[int64]snapshotData
}

// hashes is the storage of a tree in memory.
type hashes struct {
	size  int64
	begun bool                // its beginning is known
	front map[int64]tlog.Hash // of what was removed
	base  int64               // index of the first of rest
	rest  []tlog.Hash
}

// ReadHashes implements tlog.HashReader.
func (h *hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		hash, ok := h.front[at]
		if n := at - h.base; n >= 0 && n < int64(len(h.rest)) {
			hash, ok = h.rest[n], true
		}
		if !ok {
			return nil, fmt.Errorf("hash %d of the tree: %w", at, errdefs.ErrNotFound)
		}
		out[i] = hash
	}
	return out, nil
}

func (v *verifier) segments() error {
	v.out = Verified{Signed: v.opts.PublicKey != ""}
	v.snapshots, v.prev = make(map[int64]snapshotData), ""
	list, err := v.files.segments()
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("journal %s: %w", v.files.live(), fs.ErrNotExist)
	}
	s := newScanner(v.record)
	v.oldest = max(list[0].First, 1)
	if first := list[0].First; first > 1 {
		s.rep.LastSeq, s.rep.LastHash, s.known = first-1, "", false
		if err := v.anchor(list, first); err != nil {
			return err
		}
	} else {
		v.tree = hashes{begun: true}
	}
	for i, seg := range list {
		if !seg.Live && seg.First != s.rep.LastSeq+1 {
			err = &CorruptError{
				Place:   Place{Path: seg.Path, Line: 1, Seq: s.rep.LastSeq + 1},
				Problem: fmt.Sprintf("is missing: the segment begins with %d", seg.First),
			}
		} else {
			err = v.segment(s, seg, i == len(list)-1)
		}
		v.out.Report = s.rep
		if err != nil {
			return err
		}
	}
	v.out.Closed, v.out.Newest = v.out.FileBytes == v.out.Bytes, v.newest
	return nil
}

func (v *verifier) segment(s *scanner, seg Segment, last bool) error {
	f, err := os.Open(seg.Path)
	if err != nil {
		return fmt.Errorf("verify journal: %w", err)
	}
	err = s.segment(f, seg.Path, last)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("verify journal: %w", cerr)
	}
	return err
}

// anchor finds what tells of the removal of the records before the first.
func (v *verifier) anchor(list []Segment, first int64) error {
	removed, err := findRemoved(list, first)
	if err != nil {
		return err
	}
	if removed == nil {
		return &CorruptError{
			Place:   Place{Path: list[0].Path, Line: 1, Seq: first - 1},
			Problem: "and those before it are missing: no record tells of their removal",
		}
	}
	v.prev = removed.Prev
	v.tree = hashes{size: first - 1, front: make(map[int64]tlog.Hash), base: tlog.StoredHashCount(first - 1)}
	front, err := removed.frontier()
	if err != nil {
		return err
	}
	if at := merkle.FrontierIndexes(first - 1); len(at) == len(front) {
		for i, n := range at {
			v.tree.front[n] = front[i]
		}
		v.tree.begun = true
	}
	return nil
}

// record looks at one good record of the chain.
func (v *verifier) record(rec Record, at Place) error {
	if v.prev != "" {
		if rec.Prev != v.prev {
			return &CorruptError{Place: at, Problem: "does not follow from the record that was removed before it"}
		}
		v.prev = ""
	}
	switch rec.Kind { //nolint:exhaustive // the others are no business of the journal's
	case KindCheckpoint:
		var data checkpointData
		if err := json.Unmarshal(rec.Data, &data); err != nil {
			return &CorruptError{Place: at, Problem: "is no checkpoint: " + err.Error()}
		}
		if problem := v.checkpoint([]byte(data.Note), data.Size); problem != "" {
			return &CorruptError{Place: at, Problem: problem}
		}
	case KindSnapshot:
		var data snapshotData
		if err := json.Unmarshal(rec.Data, &data); err != nil {
			return &CorruptError{Place: at, Problem: "is no record of a snapshot: " + err.Error()}
		}
		v.snapshots[data.Seq] = data
	}
	return v.grow(rec, at)
}

// grow takes the record into the tree.
func (v *verifier) grow(rec Record, at Place) error {
	if !v.tree.begun {
		return nil
	}
	leaf, err := merkle.Leaf(rec.Hash)
	if err != nil {
		return &CorruptError{Place: at, Problem: err.Error()}
	}
	stored, err := tlog.StoredHashesForRecordHash(v.tree.size, leaf, &v.tree)
	if err != nil {
		return fmt.Errorf("verify tree: %w", err)
	}
	v.tree.rest = append(v.tree.rest, stored...)
	v.tree.size++
	return nil
}

// checkpoint says what is wrong with a checkpoint of so many records; empty: nothing.
func (v *verifier) checkpoint(note []byte, size int64) string {
	c, err := merkle.ReadCheckpoint(note)
	if v.opts.PublicKey != "" {
		c, err = merkle.OpenCheckpoint(note, v.opts.PublicKey)
	}
	switch {
	case err != nil:
		return "holds a checkpoint that is not good: " + err.Error()
	case size > 0 && c.Size != size:
		return fmt.Sprintf("holds a checkpoint of %d records, not of %d", c.Size, size)
	case !v.tree.begun || c.Size < v.oldest-1:
		return "" // what it counts was removed
	case c.Size > v.tree.size:
		return fmt.Sprintf("is missing: a checkpoint counts %d records", c.Size)
	}
	root, err := tlog.TreeHash(c.Size, &v.tree)
	if err != nil {
		return "holds a checkpoint whose tree cannot be made: " + err.Error()
	}
	if root != c.Root {
		return fmt.Sprintf("holds a checkpoint of %d records that are not these", c.Size)
	}
	v.out.Checkpoints++
	v.out.CheckpointSize = max(v.out.CheckpointSize, c.Size)
	return ""
}

// heads checks the newest checkpoint, which is in a file of its own, and the one from
// elsewhere: they count records that may have been cut off the end.
func (v *verifier) heads() error {
	end := Place{Path: v.files.live(), Offset: v.out.Bytes, Seq: v.out.LastSeq + 1}
	if v.newest == nil && v.out.Checkpoints > 0 {
		return fmt.Errorf("%s: the newest checkpoint is missing: %w", v.files.checkpoint(), errdefs.ErrDataLoss)
	}
	if v.newest != nil {
		before := v.out.Checkpoints
		if problem := v.checkpoint(v.newest, 0); problem != "" {
			return &CorruptError{Place: end, Problem: problem}
		}
		v.out.Checkpoints = before // it is one of those
		if c, err := merkle.ReadCheckpoint(v.newest); err == nil && c.Size == v.out.LastSeq {
			return &CorruptError{Place: end, Problem: "is missing: it holds the checkpoint of all records before it"}
		}
	}
	if len(v.opts.Checkpoint) > 0 {
		if problem := v.checkpoint(v.opts.Checkpoint, 0); problem != "" {
			return &CorruptError{Place: end, Problem: problem}
		}
	}
	return nil
}

// states checks the files of the snapshots.
func (v *verifier) states() error {
	seqs, err := v.files.numbers(snapshotExt)
	if err != nil {
		return err
	}
	for _, seq := range seqs {
		path := v.files.snapshot(seq)
		data, ok := v.snapshots[seq]
		if !ok {
			continue // the crash came before its record: it is not used
		}
		sum, err := hashFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a newer one has come
		}
		if err != nil {
			return err
		}
		if sum != data.SHA256 {
			return fmt.Errorf("%s is not the snapshot that the journal recorded: it was damaged or changed: %w", path, errdefs.ErrDataLoss)
		}
		v.out.Snapshots++
	}
	return nil
}
