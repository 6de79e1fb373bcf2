package spool

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// segment is one file of a Store.
type segment struct {
	path string
	file *os.File // nil once it is full
	size int64
	last time.Time // when its latest record was stored
	keys []Key
}

const segmentPattern = "output-*.seg"

// Records in a segment have a head: a mark, the key, the time in seconds and the
// size of what follows, big-endian.
const (
	recordMark = 0x53474f31 // "SGO1"
	recordHead = 4 + 16 + 8 + 8
)

func appendRecord(b []byte, it item) []byte {
	b = appendHead(b, &it)
	for _, part := range it.data {
		b = append(b, part...)
	}
	return b
}

func appendHead(b []byte, it *item) []byte {
	b = binary.BigEndian.AppendUint32(b, recordMark)
	b = append(b, it.key[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(it.at.Unix())) //nolint:gosec // a time of ours
	return binary.BigEndian.AppendUint64(b, uint64(it.size))   //nolint:gosec // not negative
}

// current returns the file that takes n more bytes. s.mu is held.
func (s *Store) current(n int64) (*segment, error) {
	if len(s.files) > 0 {
		last := s.files[len(s.files)-1]
		if last.file != nil && (last.size == 0 || last.size+n <= s.segment) {
			return last, nil
		}
	}
	if err := s.closeLast(); err != nil {
		s.cfg.Problem(err) // its records are there, or their digests will tell
	}
	number := int64(1)
	if len(s.files) > 0 {
		var before int64
		if _, err := fmt.Sscanf(filepath.Base(s.files[len(s.files)-1].path), "output-%d.seg", &before); err == nil {
			number = before + 1
		}
	}
	path := filepath.Join(s.cfg.Dir, fmt.Sprintf("output-%012d.seg", number))
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- of our own directory
	if err != nil {
		return nil, fmt.Errorf("output store: %w", err)
	}
	seg := &segment{path: path, file: file, last: s.cfg.Now()}
	s.files = append(s.files, seg)
	return seg, nil
}

func (s *Store) closeLast() error {
	if len(s.files) == 0 {
		return nil
	}
	last := s.files[len(s.files)-1]
	if last.file == nil {
		return nil
	}
	err := last.file.Close()
	last.file = nil
	if err != nil {
		return fmt.Errorf("output store: %w", err)
	}
	return nil
}

// expire removes files over the bounds, oldest first. s.mu is held.
func (s *Store) expire() {
	for len(s.files) > 0 {
		first := s.files[0]
		old := s.cfg.Now().Sub(first.last) > s.cfg.Keep
		if !old && (s.bytes <= s.cfg.Bytes || len(s.files) == 1) {
			return
		}
		if first.file != nil {
			if err := s.closeLast(); err != nil {
				s.cfg.Problem(err)
			}
		}
		if err := os.Remove(first.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.cfg.Problem(fmt.Errorf("output store: %w", err))
		}
		for _, key := range first.keys {
			if s.index[key].in == first {
				delete(s.index, key)
			}
		}
		s.bytes -= first.size
		s.files = s.files[1:]
	}
}

// load finds what earlier processes have stored, and removes what tapes have left.
func (s *Store) load() error {
	left, err := filepath.Glob(filepath.Join(s.cfg.Dir, tapePrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range left {
		errs = append(errs, os.Remove(path))
	}
	paths := s.paths()
	slices.Sort(paths)
	for _, path := range paths {
		seg, found, err := readSegment(path)
		if err != nil {
			errs = append(errs, err)
		}
		s.mu.Lock()
		s.files = append(s.files, seg)
		s.bytes += seg.size
		for i, key := range seg.keys {
			s.index[key] = found[i]
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.expire()
	s.mu.Unlock()
	return errors.Join(errs...)
}

// readSegment reads the heads of a file's records, as far as they are whole.
func readSegment(path string) (*segment, []place, error) {
	seg := &segment{path: path}
	file, err := os.Open(path) // #nosec G304 -- of our own directory
	if err != nil {
		return seg, nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	info, err := file.Stat()
	if err != nil {
		return seg, nil, err
	}
	seg.last = info.ModTime()
	in := bufio.NewReaderSize(file, 256<<10)
	var found []place
	var head [recordHead]byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			break // its end, or a torn record
		}
		size := int64(binary.BigEndian.Uint64(head[28:])) //nolint:gosec // checked below
		if binary.BigEndian.Uint32(head[:]) != recordMark || size < 0 || seg.size+recordHead+size > info.Size() {
			break
		}
		seg.keys = append(seg.keys, Key(head[4:20]))
		found = append(found, place{seg, seg.size + recordHead, size})
		seg.last = time.Unix(int64(binary.BigEndian.Uint64(head[20:])), 0) //nolint:gosec // only compared
		seg.size += recordHead + size
		if _, err := in.Discard(int(size)); err != nil {
			break
		}
	}
	seg.size = info.Size()
	return seg, found, nil
}
