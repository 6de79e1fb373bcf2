package journal

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// snapshot is the folded state of all records up to one, in a file: a line of JSON
// (snapshotHead), and for each fold a line of JSON (foldHead) and its bytes. The
// journal has a record of it with the hash of the file.
type snapshot struct {
	seq  int64
	path string
	head string // hash of record seq
}

// snapshotVersion is of the file's layout.
const snapshotVersion = 1

type snapshotHead struct {
	Version int    `json:"version"`
	Seq     int64  `json:"seq"`
	Head    string `json:"head"`
	Folds   int    `json:"folds"`
}

type foldHead struct {
	Fold  string `json:"fold"`
	Bytes int64  `json:"bytes"`
}

// foldHeadBytes is the length of a foldHead's line, filled up with spaces: the number
// of bytes is only known when they are written.
const foldHeadBytes = 128

// snapshotData is the data of a snapshot record.
type snapshotData struct {
	Seq    int64    `json:"seq"` // of the last record in it
	Head   string   `json:"head"`
	SHA256 string   `json:"sha256"` // of the file
	Bytes  int64    `json:"bytes"`
	Folds  []string `json:"folds"`
}

// findSnapshots lists the snapshots whose file is what the journal recorded, oldest
// first. Of others it logs what is wrong with them.
func findSnapshots(fs files, segments []Segment, log *zap.Logger) ([]snapshot, error) {
	seqs, err := fs.numbers(snapshotExt)
	if err != nil || len(seqs) == 0 {
		return nil, err
	}
	recorded := make(map[int64]snapshotData)
	for _, seg := range segments {
		if seg.Last > 0 && seg.Last <= seqs[0] {
			continue // the record comes after what it is about
		}
		err := findRecords(seg.Path, KindSnapshot, func(rec Record) error {
			var data snapshotData
			if err := json.Unmarshal(rec.Data, &data); err != nil {
				return fmt.Errorf("snapshot record %d: %w", rec.Seq, err)
			}
			recorded[data.Seq] = data
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	var out []snapshot
	for _, seq := range seqs {
		s := snapshot{seq: seq, path: fs.snapshot(seq)}
		data, ok := recorded[seq]
		if !ok {
			log.Warn("a snapshot of the journal's state is not used: the journal has no record of it", zap.String("path", s.path))
			continue
		}
		sum, err := hashFile(s.path)
		if err != nil {
			return nil, err
		}
		if sum != data.SHA256 {
			log.Error("a snapshot of the journal's state is damaged: an older one or the records are used", zap.String("path", s.path))
			continue
		}
		s.head = data.Head
		out = append(out, s)
	}
	return out, nil
}

// findRecords gives the good records of a kind in a segment to fn. What else is in
// the segment it does not look at.
func findRecords(path string, kind Kind, fn func(Record) error) error {
	f, err := os.Open(path) // #nosec G304 -- a segment
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	defer func() { _ = f.Close() }() // was only read
	mark := []byte(`,"kind":"` + string(kind) + `"`)
	br := bufio.NewReaderSize(f, 256<<10)
	for {
		line, err := readLine(br)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, errLineTooLong) {
			return fmt.Errorf("read journal: %w", err)
		}
		if !bytes.Contains(line[:min(len(line), 120)], mark) {
			continue
		}
		if rec, err := parseLine(line); err == nil && rec.Kind == kind {
			if err := fn(rec); err != nil {
				return err
			}
		}
	}
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path) // #nosec G304 -- beside the journal
	if err != nil {
		return "", fmt.Errorf("read snapshot: %w", err)
	}
	defer func() { _ = f.Close() }() // was only read
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("read snapshot: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// load gives the folds what the snapshot has of them, and returns which those were. It
// is read through by, unless that is nil. After an error all folds are empty.
func (s snapshot) load(folds []Fold, by func(io.Reader) io.Reader) (map[string]bool, error) {
	names, err := s.loadFolds(folds, by)
	if err == nil {
		return names, nil
	}
	reset(folds)
	return nil, err
}

// reset makes folds empty: a Load of nothing fails, and leaves them so.
func reset(folds []Fold) {
	for _, f := range folds {
		_ = f.Load(bytes.NewReader(nil)) // it must fail
	}
}

func (s snapshot) loadFolds(folds []Fold, by func(io.Reader) io.Reader) (map[string]bool, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	defer func() { _ = f.Close() }() // was only read
	var in io.Reader = f
	if by != nil {
		in = by(f)
	}
	br := bufio.NewReaderSize(in, 256<<10)
	var head snapshotHead
	if err := readHead(br, &head); err != nil {
		return nil, err
	}
	if head.Version != snapshotVersion || head.Seq != s.seq || head.Head != s.head {
		return nil, fmt.Errorf("snapshot of record %d, layout %d: want record %d, layout %d: %w", head.Seq, head.Version, s.seq, snapshotVersion, errdefs.ErrDataLoss)
	}
	byName := make(map[string]Fold, len(folds))
	for _, f := range folds {
		byName[f.Name()] = f
	}
	loaded := make(map[string]bool)
	for range head.Folds {
		var part foldHead
		if err := readHead(br, &part); err != nil {
			return nil, err
		}
		body := &io.LimitedReader{R: br, N: part.Bytes}
		if f := byName[part.Fold]; f != nil {
			if err := f.Load(body); err != nil {
				return nil, fmt.Errorf("load %s: %w", part.Fold, err)
			}
			loaded[part.Fold] = true
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return nil, fmt.Errorf("read snapshot: %w", err)
		}
	}
	return loaded, nil
}

func readHead(br *bufio.Reader, v any) error {
	line, err := readLine(br)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", errors.Join(err, errdefs.ErrDataLoss))
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("read snapshot: %w", errors.Join(err, errdefs.ErrDataLoss))
	}
	return nil
}

// saveSnapshot writes the folds to a file, whole or not at all, and returns what to
// record of it. What they write goes through by.
func saveSnapshot(fs files, seq int64, head string, folds []Fold, by func(io.Writer) io.Writer) (data snapshotData, err error) {
	data = snapshotData{Seq: seq, Head: head}
	path := fs.snapshot(seq)
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600) // #nosec G304 -- beside the journal
	if err != nil {
		return data, fmt.Errorf("save snapshot: %w", err)
	}
	err = writeSnapshot(f, snapshotHead{snapshotVersion, seq, head, len(folds)}, folds, by)
	if err == nil {
		err = f.Sync()
	}
	info, serr := f.Stat()
	err = errors.Join(err, serr, f.Close())
	if err == nil {
		data.Bytes = info.Size()
		if data.SHA256, err = hashFile(tmp); err == nil {
			err = os.Rename(tmp, path)
		}
	}
	if err == nil {
		err = syncDir(fs.dir)
	}
	for _, f := range folds {
		data.Folds = append(data.Folds, f.Name())
	}
	if err != nil {
		_ = os.Remove(tmp) // the error before counts
		return data, fmt.Errorf("save snapshot: %w", err)
	}
	return data, nil
}

func writeSnapshot(f *os.File, head snapshotHead, folds []Fold, by func(io.Writer) io.Writer) error {
	line, err := json.Marshal(head)
	if err != nil {
		return err
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return err
	}
	for _, fold := range folds {
		at, err := f.Seek(foldHeadBytes, io.SeekCurrent)
		if err != nil {
			return err
		}
		w := bufio.NewWriterSize(by(f), 256<<10)
		if err := errors.Join(fold.Save(w), w.Flush()); err != nil {
			return fmt.Errorf("%s: %w", fold.Name(), err)
		}
		end, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if line, err = json.Marshal(foldHead{fold.Name(), end - at}); err != nil {
			return err
		}
		if len(line) >= foldHeadBytes {
			return fmt.Errorf("%s: its name is too long: %w", fold.Name(), errdefs.ErrInvalidArgument)
		}
		padded := append(line, bytes.Repeat([]byte{' '}, foldHeadBytes-1-len(line))...)
		if _, err := f.WriteAt(append(padded, '\n'), at-foldHeadBytes); err != nil {
			return err
		}
	}
	return nil
}
