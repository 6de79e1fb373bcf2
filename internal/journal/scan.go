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

	"github.com/containerd/errdefs"
)

// Report is what was found in a journal.
type Report struct {
	Segments int
	// FirstSeq is the first record that was read, 1 unless older segments were removed
	// or, at Open, a snapshot stood for them. FirstPrev is the hash that it follows.
	FirstSeq  int64
	FirstPrev string
	Records   int64
	LastSeq   int64
	LastHash  string // hash of the last record: the head of the chain
	Bytes     int64  // length of the good part
	// TornBytes is the length of an unfinished write at the end: records that
	// were never acknowledged. TornSHA256 is their hash, for the report. Zeros at
	// the end of the file do not count: they were written ahead (see ahead).
	TornBytes  int64
	TornSHA256 string
	TornAt     Place // of its first byte
	// FileBytes is the length of the files, all of them.
	FileBytes int64
}

// Place is where something is in a journal.
type Place struct {
	Path   string `json:"path"`   // of the segment
	Line   int64  `json:"line"`   // from 1
	Offset int64  `json:"offset"` // of the beginning of the line, in bytes
	Seq    int64  `json:"seq"`    // number that the record there has or should have
}

// CorruptError says which record broke the chain. It is errdefs.ErrDataLoss.
type CorruptError struct {
	Place
	Problem string
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal %s, line %d: record %d at byte %d %s: the journal was damaged or changed; "+
		"keep it for inspection and start with a new one", e.Path, e.Line, e.Seq, e.Offset, e.Problem)
}

// Unwrap makes it an errdefs.ErrDataLoss.
func (*CorruptError) Unwrap() error { return errdefs.ErrDataLoss }

// scanner reads segments in order and checks hashes and chain.
type scanner struct {
	rep Report
	fn  func(Record, Place) error
	// lines gets the line as well; nil: fn gets the records.
	lines func(Record, []byte) error
	// known says that the chain before the first record is known: rep.LastSeq and
	// LastHash are its end. Otherwise the first record's Prev is taken for it.
	known bool

	at     Place // of the line that is read
	good   int64 // bytes of good records in the segment
	length int64 // of the segment's file, after segment
}

// newScanner begins at the very first record.
func newScanner(fn func(Record, Place) error) *scanner {
	return &scanner{rep: Report{LastHash: genesis}, fn: fn, known: true}
}

// scan reads a journal of one segment.
func scan(r io.Reader, path string, fn func(Record) error) (Report, error) {
	s := newScanner(func(rec Record, _ Place) error { return fn(rec) })
	err := s.segment(r, path, true)
	return s.rep, err
}

// segment reads all records of a segment and gives each good one to fn. It stops at
// the first line that is not the next record. In the last segment the rest may be a
// torn tail; the others end in nothing but zeros, which a crash can leave.
func (s *scanner) segment(r io.Reader, path string, last bool) error {
	br := bufio.NewReaderSize(r, 256<<10)
	s.at, s.good = Place{Path: path}, 0
	s.rep.Segments++
	for {
		line, err := readLine(br)
		s.at.Line++
		s.at.Offset, s.at.Seq = s.good, s.rep.LastSeq+1
		if errors.Is(err, io.EOF) && len(line) == 0 {
			s.length = s.good
			s.rep.FileBytes += s.good
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLineTooLong) {
			return fmt.Errorf("read journal: %w", err)
		}
		whole := err == nil
		rec, perr := Record{}, errNotRecord
		if whole {
			rec, perr = parseLine(line)
		}
		if problem := s.problem(rec, perr); problem != "" {
			// A whole record that does not fit was not torn by a crash.
			torn := errors.Is(perr, errNotRecord) && tornLine(line, whole, s.good)
			return s.tail(br, line, whole, torn, last, problem)
		}
		if s.lines != nil {
			err = s.lines(rec, line)
		} else {
			err = s.fn(rec, s.at)
		}
		if err != nil {
			return fmt.Errorf("replay record %d: %w", rec.Seq, err)
		}
		s.accept(rec, int64(len(line))+1)
	}
}

// problem is what keeps a line from being the next record.
func (s *scanner) problem(rec Record, perr error) string {
	switch {
	case perr != nil:
		return perr.Error()
	case rec.Seq != s.rep.LastSeq+1:
		return fmt.Sprintf("has the number %d", rec.Seq)
	case s.known && rec.Prev != s.rep.LastHash:
		return "does not follow from the record before it"
	}
	return ""
}

func (s *scanner) accept(rec Record, bytes int64) {
	if s.rep.Records == 0 {
		s.rep.FirstSeq, s.rep.FirstPrev = rec.Seq, rec.Prev
	}
	s.known = true
	s.rep.Records++
	s.rep.LastSeq, s.rep.LastHash = rec.Seq, rec.Hash
	s.rep.Bytes += bytes
	s.good += bytes
}

// tail looks at what comes after the last good record. Nothing but zeros is the
// end of a segment that was not closed. Anything else is a torn write only if
// nothing after it was written in the knowledge that the missing record was on
// disk.
func (s *scanner) tail(br *bufio.Reader, first []byte, whole, torn, last bool, problem string) error {
	corrupt := &CorruptError{Place: s.at, Problem: problem}
	zeros := !whole && len(bytes.Trim(first, "\x00")) == 0
	if !torn && !zeros {
		return corrupt
	}
	rest := remains{sum: sha256.New()}
	rest.add(first, whole)
	for {
		line, err := readLine(br)
		if len(line) == 0 && errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLineTooLong) {
			return fmt.Errorf("read journal: %w", err)
		}
		rest.add(line, err == nil)
		if rec, perr := parseLine(line); perr == nil && rec.Synced > s.rep.LastSeq {
			return corrupt
		}
	}
	if rest.bytes > 0 && !last {
		return corrupt
	}
	s.length = s.good + rest.bytes + rest.zeros
	s.rep.FileBytes += s.length
	if rest.bytes > 0 {
		s.rep.TornBytes, s.rep.TornSHA256, s.rep.TornAt = rest.bytes, hex.EncodeToString(rest.sum.Sum(nil)), s.at
	}
	return nil
}

// sectorBytes is what a disk writes whole or not at all.
const sectorBytes = 512

// tornLine reports whether a line that is no record, at that offset of its file, can
// be what a crash has left of a write: the file ends in it, or sectors of it still
// hold zeros. A changed byte makes neither.
func tornLine(line []byte, whole bool, offset int64) bool {
	if !whole {
		text := bytes.TrimRight(line, "\x00")
		if len(text) == 0 {
			return true
		}
		// A whole record behind which something else is than its newline was whole.
		if _, err := parseLine(text[:len(text)-1]); err == nil {
			return false
		}
		if len(text) < len(line) || bytes.IndexByte(line, 0) < 0 {
			return true
		}
	}
	lost := false
	for i := 0; i < len(line); {
		zero := bytes.IndexByte(line[i:], 0)
		if zero < 0 {
			break
		}
		from := i + zero
		to := from
		for to < len(line) && line[to] == 0 {
			to++
		}
		begins := from == 0 || (offset+int64(from))%sectorBytes == 0
		if !begins || (offset+int64(to))%sectorBytes != 0 {
			return false
		}
		lost, i = true, to
	}
	return lost
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
