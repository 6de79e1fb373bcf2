package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/journal"
)

// Line is a record and its line as it lies in the journal, without its newline.
type Line struct {
	Record journal.Record
	JSON   []byte
}

// Log reads a journal that is being written. It is safe for concurrent use.
type Log struct {
	*journal.Journal // also for checkpoints and proofs
	logger           *zap.Logger

	building sync.Mutex // one index at a time is made

	mu   sync.Mutex
	live *table // of the live segment as far as it was read; nil: not begun
}

// New reads the journal.
func New(j *journal.Journal, logger *zap.Logger) *Log { return &Log{Journal: j, logger: logger} }

// followEvery is how often the live segment is indexed while nobody asks.
const followEvery = time.Second

// Run keeps the index of the live segment up until ctx ends, so that the next question
// need not wait for it.
func (l *Log) Run(ctx context.Context) {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		changed := l.Changed()
		l.mu.Lock()
		_, err := l.follow()
		l.mu.Unlock()
		if err != nil {
			l.logger.Warn("the live segment could not be indexed", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// follow reads what is new in the live segment. l.mu is held.
func (l *Log) follow() (*table, error) {
	segments := l.Segments()
	seg := segments[len(segments)-1]
	if l.live == nil || l.live.first != seg.First {
		l.live = newTable(seg.First)
	}
	if l.live.end() == seg.Bytes {
		return l.live, nil
	}
	f, _, err := l.OpenSegment(seg.First)
	if err != nil {
		return nil, err
	}
	err = fill(l.live, f, seg.Bytes)
	return l.live, errors.Join(err, f.Close())
}

// fill indexes the lines of the file up to end.
func fill(t *table, f *os.File, end int64) error {
	from := t.end()
	br := bufio.NewReaderSize(io.NewSectionReader(f, from, end-from), int(min(end-from, 1<<20))) // often there is little
	var long []byte
	for {
		part, err := br.ReadSlice('\n')
		switch {
		case err == nil:
			line := part
			if len(long) > 0 {
				line = append(long, part...)
			}
			if err := t.add(line); err != nil {
				return err
			}
			long = long[:0]
		case errors.Is(err, bufio.ErrBufferFull):
			long = append(long, part...)
		case errors.Is(err, io.EOF):
			return nil
		default:
			return fmt.Errorf("read segment: %w", err)
		}
	}
}

// Index makes the index of a closed segment unless there is a good one.
func (l *Log) Index(seg journal.Segment) error {
	x, err := l.index(seg)
	if err != nil {
		return err
	}
	return x.f.Close()
}

// Index makes the index of a closed segment unless there is a good one. It is for
// journal.Options.Closed, when there is no Log yet.
func Index(seg journal.Segment) error {
	if x, err := openIndex(seg.IndexPath(), seg); err == nil {
		return x.f.Close()
	}
	f, err := os.Open(seg.Path)
	if errors.Is(err, os.ErrNotExist) { // it was removed this moment
		return fmt.Errorf("index segment: %w: %w", errdefs.ErrNotFound, err)
	}
	if err != nil {
		return fmt.Errorf("index segment: %w", err)
	}
	t := newTable(seg.First)
	if err := errors.Join(fill(t, f, seg.Bytes), f.Close()); err != nil {
		return fmt.Errorf("index segment: %w", err)
	}
	return t.save(seg.IndexPath())
}

// index opens the index of a closed segment, making it if there is no good one.
func (l *Log) index(seg journal.Segment) (*indexFile, error) {
	x, err := openIndex(seg.IndexPath(), seg)
	if err == nil {
		return x, nil
	}
	l.building.Lock()
	defer l.building.Unlock()
	if errdefs.IsDataLoss(err) {
		l.logger.Warn("an index of the journal is made anew", zap.Error(err))
	}
	if err := Index(seg); err != nil {
		return nil, err
	}
	return openIndex(seg.IndexPath(), seg)
}

// anew makes the index of a segment once more, since a part of it is damaged, and
// loads it.
func (l *Log) anew(seg journal.Segment, wanted []field, why error) (*table, error) {
	l.building.Lock()
	defer l.building.Unlock()
	l.logger.Warn("an index of the journal is made anew", zap.Error(why))
	if err := os.Remove(seg.IndexPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("index segment: %w", err)
	}
	if err := Index(seg); err != nil {
		return nil, err
	}
	x, err := openIndex(seg.IndexPath(), seg)
	if err != nil {
		return nil, err
	}
	t, err := x.load(wanted)
	return t, errors.Join(err, x.f.Close())
}

// readLine returns a record of a segment, whose hash it checks.
func readLine(f *os.File, from, to int64, seq int64) (Line, error) {
	raw := make([]byte, to-from)
	if _, err := f.ReadAt(raw, from); err != nil || len(raw) == 0 {
		return Line{}, fmt.Errorf("read record %d: %w", seq, errors.Join(err, errdefs.ErrDataLoss))
	}
	raw = raw[:len(raw)-1]
	rec, err := journal.Parse(raw)
	if err != nil {
		return Line{}, fmt.Errorf("record %d: %w", seq, err)
	}
	if rec.Seq != seq {
		return Line{}, fmt.Errorf("record %d is where %d should be: %w", rec.Seq, seq, errdefs.ErrDataLoss)
	}
	return Line{rec, raw}, nil
}
