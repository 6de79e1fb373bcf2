package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// nextSegment is the live segment to be. It is made in the background, with zeros in
// it, so that beginning it costs two renames. It belongs to the writer's goroutine.
type nextSegment struct {
	busy chan *openSegment // gets it from the goroutine that makes it; nil: there is none
	err  error             // why the last one could not be made or begun
}

// openSegment is a file that is ready to be written.
type openSegment struct {
	records, zeros file
	end            int64 // up to here it holds zeros
	err            error
}

// prepare begins to make the next segment if there is none.
func (j *Journal) prepare() {
	if j.next.busy != nil {
		return
	}
	busy := make(chan *openSegment, 1)
	j.next.busy = busy
	path, reserve := j.files.next(), j.ahead.reserve
	go func() { busy <- makeSegment(path, reserve) }()
}

func makeSegment(path string, reserve int64) *openSegment {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &openSegment{err: err}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600) // #nosec G304 -- beside the journal
	if err != nil {
		return &openSegment{err: err}
	}
	s := &openSegment{records: dataSyncFile{f}}
	s.zeros = s.records
	if records, zeros, err := openDirect(f, 0); err == nil {
		s.records, s.zeros = records, zeros
	}
	var a ahead
	got := a.writeZeros(s.zeros, 0, reserve+aheadBytes)
	s.end = got.end
	if got.err == nil {
		got.err = f.Sync() // also its length
	}
	if got.err != nil {
		s.err = errors.Join(got.err, s.records.Close(), os.Remove(path))
	}
	return s
}

// drop gives up a segment that was made.
func (n *nextSegment) drop() {
	if n.busy == nil {
		return
	}
	if s := <-n.busy; s.err == nil {
		_ = s.records.Close() // it holds nothing
	}
	n.busy = nil
}

// turn begins the next segment when the live one is large or old enough and the next
// one is ready. Until it is, the live one goes on. A failure is none of a record: it
// is tried again later.
func (j *Journal) turn() {
	large := j.offset >= j.opts.SegmentBytes
	old := j.opts.SegmentAge > 0 && !j.began.IsZero() && j.now().Sub(j.began) >= j.opts.SegmentAge
	if j.began.IsZero() || !large && !old && j.offset < j.opts.SegmentBytes/4*3 {
		return
	}
	j.prepare()
	if !large && !old || j.dirty || len(j.next.busy) == 0 {
		return
	}
	s := <-j.next.busy
	j.next.busy = nil
	err := s.err
	if err == nil {
		err = j.begin(s)
	}
	if err != nil && j.next.err == nil { // once
		j.opts.Logger.Warn("the journal's next segment could not be begun: the present one goes on", zap.Error(err))
	}
	j.next.err = err
}

// begin closes the live segment and makes s the live one. After an error the live
// one stays what it was.
func (j *Journal) begin(s *openSegment) error {
	j.ahead.settle(true)
	j.names.Lock()
	defer j.names.Unlock()
	live := j.Segments()
	before := live[len(live)-1]
	closed := Segment{First: before.First, Last: j.seq, Bytes: j.offset, Path: j.files.closed(before.First)}
	failpoint.At(failpoint.JournalTurnBefore)
	err := os.Rename(j.path, closed.Path)
	failpoint.At(failpoint.JournalTurnBetween)
	if err == nil {
		// In this order on the disk: a live segment that is missing is made anew, but
		// none may be lost.
		if err = syncDir(j.files.dir); err == nil {
			err = os.Rename(j.files.next(), j.path)
		}
		if err != nil {
			err = errors.Join(err, os.Rename(closed.Path, j.path))
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("begin segment: %w", err), s.records.Close())
	}
	err = syncDir(j.files.dir)
	failpoint.At(failpoint.JournalTurnAfter)
	old := j.file
	j.file, j.zeros, j.offset = s.records, s.zeros, 0
	j.ahead.end, j.ahead.failed, j.ahead.full = s.end, nil, nil
	j.began = j.now()
	j.mu.Lock()
	j.segments[len(j.segments)-1] = closed // the keeper removes at the other end
	j.segments = append(j.segments, Segment{First: j.seq + 1, Last: j.seq, Path: j.path, Live: true})
	j.mu.Unlock()
	j.keeper.closed(old, closed)
	j.unnamed = err != nil
	return err
}
