package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/internal/journal/merkle"
)

// opening is what Open reads before it writes anything.
type opening struct {
	files files
	opts  Options

	live      *os.File
	offset    int64     // end of the records in the live segment
	began     time.Time // of its first record; zero: it has none
	segments  []Segment
	snapshots []snapshot // verified ones, oldest first
	tree      *merkle.Tree
	signed    []byte // newest checkpoint; nil: there is none
	report    Report
	readers   []reader
}

// reader gets the records behind a number.
type reader struct {
	from  int64
	apply func(Record) error
}

// read reads what is on the disk, restores the state, and cuts a torn tail.
func (o *opening) read(replay func(Record) error) error {
	segments, err := o.files.segments()
	if err != nil {
		return err
	}
	if len(segments) == 0 {
		segments = []Segment{{Path: o.files.live(), Live: true}}
	}
	if o.live, err = openLive(o.files.live()); err != nil {
		return err
	}
	_ = unix.Fadvise(int(o.live.Fd()), 0, 0, unix.FADV_DONTNEED) // what is on disk counts, not what a page still holds
	nameLive(segments, o.live)
	if o.snapshots, err = findSnapshots(o.files, segments, o.opts.Logger); err != nil {
		return err
	}
	from, err := o.restore(segments)
	if err != nil {
		return err
	}
	if replay != nil || len(o.opts.Restore) == 0 {
		from = 0
	}
	if replay != nil {
		o.readers = append(o.readers, reader{0, replay})
	}
	if o.opts.Key != nil {
		if from, err = o.openTree(segments, from); err != nil {
			return err
		}
	}
	if err := o.scan(segments, from); err != nil {
		return err
	}
	return o.check()
}

// nameLive looks up with which record the live segment begins, which its name does
// not tell. It stays 0 where there is none.
func nameLive(segments []Segment, f *os.File) {
	live := &segments[len(segments)-1]
	if !live.Live {
		return
	}
	live.First = firstOf(f)
	if n := len(segments); n > 1 && live.First > 0 {
		segments[n-2].Last = live.First - 1
	}
}

// firstOf is the number of the first record in a file; 0: there is none.
func firstOf(f *os.File) int64 {
	line, err := readLine(bufio.NewReader(io.NewSectionReader(f, 0, 3*maxRecordBytes)))
	if err != nil {
		return 0
	}
	rec, err := parseLine(line)
	if err != nil {
		return 0
	}
	return rec.Seq
}

// restore loads the newest snapshot that is good into the folds, and returns behind
// which record reading begins.
func (o *opening) restore(segments []Segment) (int64, error) {
	oldest := max(segments[0].First, 1)
	loaded := make(map[string]bool)
	from := int64(0)
	for i := len(o.snapshots) - 1; i >= 0 && len(o.opts.Restore) > 0; i-- {
		s := o.snapshots[i]
		names, err := s.load(o.opts.Restore, nil)
		if err == nil {
			loaded, from = names, s.seq
			break
		}
		o.opts.Logger.Error("a snapshot of the journal's state is not used: an older one or the records are", zap.String("path", s.path), zap.Error(err))
		o.snapshots = append(o.snapshots[:i:i], o.snapshots[i+1:]...)
	}
	start := from
	for _, f := range o.opts.Restore {
		if loaded[f.Name()] {
			o.readers = append(o.readers, reader{from, f.Apply})
			continue
		}
		if from == 0 && oldest > 1 {
			return 0, &CorruptError{
				Place:   Place{Path: segments[0].Path, Line: 1, Seq: oldest},
				Problem: "has no good snapshot before it, and the records before it were removed",
			}
		}
		o.readers = append(o.readers, reader{0, f.Apply}) // the snapshot is of an older sandgate
		start = 0
	}
	return start, nil
}

// scan reads the segments behind from, and finds the end.
func (o *opening) scan(segments []Segment, from int64) error {
	s := newScanner(o.give)
	begin := 0
	for i, seg := range segments {
		if seg.First > 0 && seg.First <= from+1 {
			begin = i
		}
	}
	if first := segments[begin].First; first > 1 {
		s.rep.LastSeq, s.rep.LastHash, s.known = first-1, "", false
		for _, snap := range o.snapshots {
			if snap.seq == first-1 {
				s.rep.LastHash, s.known = snap.head, true
			}
		}
	}
	for i := range segments {
		seg := &segments[i]
		if i < begin {
			info, err := os.Stat(seg.Path)
			if err != nil {
				return fmt.Errorf("open journal: %w", err)
			}
			seg.Bytes = info.Size()
			continue
		}
		if err := o.scanSegment(s, seg, i == len(segments)-1); err != nil {
			return err
		}
	}
	o.report, o.segments = s.rep, segments
	last := &segments[len(segments)-1]
	if !last.Live { // the crash came before the next live segment was there
		last.Last = s.rep.LastSeq
		o.offset = 0
		o.segments = append(o.segments, Segment{First: s.rep.LastSeq + 1, Last: s.rep.LastSeq, Path: o.files.live(), Live: true})
	}
	return nil
}

func (o *opening) scanSegment(s *scanner, seg *Segment, last bool) error {
	f := o.live
	if !seg.Live {
		var err error
		if f, err = os.OpenFile(seg.Path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
			return fmt.Errorf("open journal: %w", err)
		}
		defer func() { _ = f.Close() }() // synced where it was changed
		if seg.First != s.rep.LastSeq+1 {
			return &CorruptError{
				Place:   Place{Path: seg.Path, Line: 1, Seq: s.rep.LastSeq + 1},
				Problem: fmt.Sprintf("is missing: the segment begins with %d", seg.First),
			}
		}
	}
	o.began = time.Time{}
	before := s.rep.LastSeq
	if err := s.segment(f, seg.Path, last); err != nil {
		return err
	}
	seg.First, seg.Last, seg.Bytes = before+1, s.rep.LastSeq, s.good
	if seg.Live {
		o.offset = s.good
	}
	if s.length > s.good {
		if err := errors.Join(f.Truncate(s.good), f.Sync()); err != nil {
			return fmt.Errorf("cut journal: %w", err)
		}
	}
	return nil
}

// give gives a record to those who have not had it.
func (o *opening) give(rec Record, _ Place) error {
	if o.began.IsZero() {
		o.began = rec.Time
	}
	for _, r := range o.readers {
		if rec.Seq > r.from {
			if err := r.apply(rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// check compares what was read with the newest checkpoint: records that were cut off
// the end are missed by nothing else.
func (o *opening) check() error {
	if o.signed == nil || o.tree == nil {
		return nil
	}
	c, err := merkle.ReadCheckpoint(o.signed)
	if err != nil {
		return fmt.Errorf("%s: %w", o.files.checkpoint(), err)
	}
	if c.Size >= o.report.LastSeq { // it is in a record itself
		return &CorruptError{
			Place:   Place{Path: o.files.live(), Offset: o.offset, Seq: o.report.LastSeq + 1},
			Problem: fmt.Sprintf("is missing: the checkpoint counts %d records", c.Size),
		}
	}
	root, err := o.tree.Root(c.Size)
	if err != nil {
		return err
	}
	if root != c.Root {
		return &CorruptError{
			Place:   Place{Path: o.segments[0].Path, Seq: o.report.FirstSeq},
			Problem: fmt.Sprintf("or one up to %d is not what the checkpoint counts", c.Size),
		}
	}
	return nil
}

func (o *opening) close() error {
	var err error
	if o.live != nil {
		err = o.live.Close()
	}
	if o.tree != nil {
		err = errors.Join(err, o.tree.Close())
	}
	return err
}

// openTree opens the tree as far as the newest checkpoint proves it, and has the rest
// made from the records. It returns behind which record reading begins then.
func (o *opening) openTree(segments []Segment, from int64) (int64, error) {
	var err error
	if o.tree, err = merkle.OpenTree(o.files.tree()); err != nil {
		return 0, err
	}
	if o.signed, err = os.ReadFile(o.files.checkpoint()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("read checkpoint: %w", err)
	}
	size := int64(0)
	if c, err := merkle.ReadCheckpoint(o.signed); err == nil {
		if root, err := o.tree.Root(c.Size); err == nil && root == c.Root {
			size = c.Size // what is behind it was not synced
		} else {
			o.opts.Logger.Warn("the tree of the journal is not that of its checkpoint: it is made anew from the records")
		}
	}
	if err := o.tree.Cut(size); err != nil {
		return 0, err
	}
	if oldest := max(segments[0].First, 1); size < oldest-1 {
		if err := o.restartTree(segments); err != nil {
			return 0, err
		}
		size = o.tree.Size()
	}
	o.readers = append(o.readers, reader{size, func(r Record) error {
		leaf, err := merkle.Leaf(r.Hash)
		if err != nil {
			return err
		}
		return o.tree.Add(leaf)
	}})
	return min(from, size), nil
}

// restartTree begins the tree where the kept records begin.
func (o *opening) restartTree(segments []Segment) error {
	oldest := segments[0].First
	removed, err := findRemoved(segments, oldest)
	if err != nil {
		return err
	}
	if removed == nil {
		return fmt.Errorf("journal %s: no record tells of the removal of what was before %d: %w", segments[0].Path, oldest, errdefs.ErrDataLoss)
	}
	hashes, err := removed.frontier()
	if err != nil {
		return err
	}
	return o.tree.Restart(oldest-1, hashes)
}

// recordCut records that a torn tail was cut.
func (j *Journal) recordCut() error {
	if j.recovery.TornBytes == 0 {
		return nil
	}
	_, err := j.Append(context.Background(), Entry{Kind: KindRecovery, Data: map[string]any{
		"cut_bytes": j.recovery.TornBytes, "cut_sha256": j.recovery.TornSHA256, "after_seq": j.recovery.LastSeq,
	}})
	if err != nil {
		return fmt.Errorf("record the cut tail: %w", err)
	}
	return nil
}
