package journal

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/containerd/errdefs"
)

// Report is what was found in a journal.
type Report struct {
	Records  int64
	LastSeq  int64
	LastHash string // hash of the last record: the head of the chain
	Bytes    int64  // length of the good part
	// TornBytes is the length of an unfinished write at the end: records that
	// were never acknowledged. TornSHA256 is their hash, for the report. Zeros at
	// the end of the file do not count: they were written ahead (see ahead).
	TornBytes  int64
	TornSHA256 string
	// FileBytes is the length of the file, all of it.
	FileBytes int64
}

// CorruptError says which record broke the chain. It is errdefs.ErrDataLoss.
type CorruptError struct {
	Path    string
	Seq     int64 // that was expected there
	Offset  int64 // of its line, in bytes
	Problem string
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal %s: record %d at byte %d %s: the journal was damaged or changed; "+
		"keep it for inspection and start with a new one", e.Path, e.Seq, e.Offset, e.Problem)
}

// Unwrap makes it an errdefs.ErrDataLoss.
func (e *CorruptError) Unwrap() error { return errdefs.ErrDataLoss }

// Verify reads the whole journal and checks every hash and the chain. It takes
// no lock: of a journal that is being written it verifies what is there, and
// the last lines may then count as torn. The error is a *CorruptError if the
// chain is broken. Records cut off the end cannot be noticed from the file
// alone: compare LastSeq and LastHash with what is known from elsewhere.
func Verify(path string) (Report, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names the journal
	if err != nil {
		return Report{}, fmt.Errorf("verify journal: %w", err)
	}
	rep, err := scan(f, path, func(Record) error { return nil })
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("verify journal: %w", cerr)
	}
	return rep, err
}

// scan reads all records from r and gives each good one to fn. It stops at the
// first line that is not the next record and decides whether the rest is a torn
// tail.
func scan(r io.Reader, path string, fn func(Record) error) (Report, error) {
	rep := Report{LastHash: genesis}
	br := bufio.NewReaderSize(r, 256<<10)
	for {
		line, err := readLine(br)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			rep.FileBytes = rep.Bytes
			return rep, nil
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLineTooLong) {
			return rep, fmt.Errorf("read journal: %w", err)
		}
		whole := err == nil
		rec, perr := Record{}, errNotRecord
		if whole {
			rec, perr = parseLine(line)
		}
		problem := ""
		switch {
		case perr != nil:
			problem = perr.Error()
		case rec.Seq != rep.LastSeq+1:
			problem = fmt.Sprintf("has the number %d", rec.Seq)
		case rec.Prev != rep.LastHash:
			problem = "does not follow from the record before it"
		}
		if problem != "" {
			// A whole record that does not fit was not torn by a crash.
			torn := errors.Is(perr, errNotRecord)
			return tail(br, rep, path, line, whole, torn, problem)
		}
		if err := fn(rec); err != nil {
			return rep, fmt.Errorf("replay record %d: %w", rec.Seq, err)
		}
		rep.Records++
		rep.LastSeq, rep.LastHash = rec.Seq, rec.Hash
		rep.Bytes += int64(len(line)) + 1
	}
}

// tail looks at what comes after the last good record. Nothing but zeros is the
// end of a journal that was not closed. Anything else is a torn write only if
// nothing after it was written in the knowledge that the missing record was on
// disk.
func tail(br *bufio.Reader, rep Report, path string, first []byte, whole, torn bool, problem string) (Report, error) {
	corrupt := &CorruptError{Path: path, Seq: rep.LastSeq + 1, Offset: rep.Bytes, Problem: problem}
	if !torn {
		return rep, corrupt
	}
	rest := remains{sum: sha256.New()}
	rest.add(first, whole)
	for {
		line, err := readLine(br)
		if len(line) == 0 && errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLineTooLong) {
			return rep, fmt.Errorf("read journal: %w", err)
		}
		rest.add(line, err == nil)
		if rec, perr := parseLine(line); perr == nil && rec.Synced > rep.LastSeq {
			return rep, corrupt
		}
	}
	rep.FileBytes = rep.Bytes + rest.bytes + rest.zeros
	if rest.bytes > 0 {
		rep.TornBytes, rep.TornSHA256 = rest.bytes, hex.EncodeToString(rest.sum.Sum(nil))
	}
	return rep, nil
}

// remains measures what is left behind the good records, zeros at its end apart.
type remains struct {
	sum   hash.Hash
	bytes int64 // hashed, up to the last one that is not zero
	zeros int64 // seen since
}

func (r *remains) add(line []byte, newline bool) {
	text := bytes.TrimRight(line, "\x00")
	if newline {
		text = line
	}
	if len(text) > 0 || newline {
		zero := make([]byte, 4096)
		for ; r.zeros > 0; r.zeros -= min(r.zeros, int64(len(zero))) {
			r.hash(zero[:min(r.zeros, int64(len(zero)))])
		}
		r.hash(text)
	}
	if newline {
		r.hash([]byte{'\n'})
	}
	r.zeros += int64(len(line) - len(text))
}

func (r *remains) hash(b []byte) {
	r.sum.Write(b) // a hash never fails
	r.bytes += int64(len(b))
}

var errLineTooLong = errors.New("line is too long")

// readLine returns the next line without its newline; io.EOF means that there
// was none. A line over the bound is returned in pieces with errLineTooLong.
func readLine(br *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
			if len(line) > 2*maxRecordBytes {
				return line, errLineTooLong
			}
		default:
			return line, err
		}
	}
}
