package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// Bounds of one group commit.
const (
	maxBatchRecords = 256
	maxBatchBytes   = 2 << 20
	// linger is how long a commit waits for the records of others in a crowd. Whoever
	// waits for his turn to run loses nothing by that, and a commit takes 0.1 ms of
	// processor time, the disk's driver's most of it.
	linger = time.Millisecond
)

// request is one record on its way to the disk. seq and err are set before done
// is closed.
type request struct {
	j      *Journal
	rec    Record
	memory *[]byte // of rec.Data, until that is in a line
	seq    int64
	err    error
	done   chan struct{}
}

// write takes what waits, writes it in one piece, syncs once and answers all. Nobody
// else writes: a caller who did it for himself could not leave a disk that hangs,
// and would overtake those who wait.
func (j *Journal) write() {
	defer close(j.done)
	for {
		select {
		case first := <-j.requests:
			j.commit(j.gather(first))
		case <-j.closing:
			for {
				select {
				case first := <-j.requests:
					j.commit(j.gather(first))
				default:
					return
				}
			}
		}
	}
}

// gather takes what waits with the first.
func (j *Journal) gather(first *request) []*request {
	if j.opts.Crowded != nil && j.opts.Crowded() {
		j.nap(linger)
	}
	batch := []*request{first}
	size := len(first.rec.Data)
	for len(batch) < maxBatchRecords && size < maxBatchBytes {
		select {
		case r := <-j.requests:
			batch = append(batch, r)
			size += len(r.rec.Data)
		default:
			return batch
		}
	}
	return batch
}

// nap sleeps in the kernel: a timer of the runtime would wake a thread that polls to wake
// this one. Whether it ends early does not matter.
func nap(d time.Duration) {
	pause := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&pause, nil)
}

// commit writes a batch: all of it counts, or nothing, but for new calls that are
// refused because the disk is full.
func (j *Journal) commit(batch []*request) {
	j.turn()
	batch = j.refuse(batch)
	buf := &j.line
	buf.Reset()
	seq, head := j.seq, j.head
	good := batch[:0]
	for _, r := range batch {
		r.rec.Seq, r.rec.Prev, r.rec.Synced = seq+1, head, j.seq
		r.rec.Time = j.now().UTC()
		r.err = appendLine(buf, &r.rec)
		r.rec.Data = nil
		j.encodings.put(r.memory)
		if r.err != nil {
			close(r.done)
			continue
		}
		seq, head = r.rec.Seq, r.rec.Hash
		good = append(good, r)
	}
	if len(good) == 0 {
		return
	}
	failpoint.At(failpoint.JournalBatch)
	began := time.Now()
	err := j.put(buf.Bytes())
	took := time.Since(began)
	if err == nil {
		j.offset += int64(buf.Len())
		j.seq, j.head = seq, head
		if j.began.IsZero() {
			j.began = good[0].rec.Time
		}
		j.ahead.extend(j.zeros, j.offset)
		j.signing.add(good)
	}
	j.told(err, len(good), buf.Len())
	for _, r := range good {
		if r.err = err; err == nil {
			r.seq = r.rec.Seq
		}
		close(r.done)
	}
	failpoint.At(failpoint.JournalAnswered)
	if j.opts.Observe != nil {
		j.opts.Observe(len(good), took)
	}
	if buf.Cap() > maxBatchBytes {
		j.line = bytes.Buffer{}
	}
}

// refuse answers those of a batch that begin something while no more than the
// reserve is left, and returns the others: what ends something is written.
func (j *Journal) refuse(batch []*request) []*request {
	var cause error
	if j.ahead.reserve > 0 {
		j.ahead.extend(j.zeros, j.offset) // there may be room again
		j.ahead.settle(j.ahead.full != nil)
		size := int64(0)
		for _, r := range batch {
			size += int64(len(r.rec.Data)) + 512
		}
		if cause = j.ahead.low(j.offset + size); cause == nil && j.refused != nil {
			cause = j.ahead.full // until there is room, also for what would just fit
		}
	}
	if cause == nil && j.refused == nil {
		return batch
	}
	if cause == nil {
		j.opts.Logger.Info("the journal has room again: calls are taken")
		j.tellRefused(nil)
		return batch
	}
	rest := batch[:0]
	for _, r := range batch {
		if mayUseReserve(r.rec.Kind) {
			rest = append(rest, r)
			continue
		}
		if j.refused == nil {
			j.opts.Logger.Error("the disk of the journal is full: calls are refused until there is room", zap.Error(cause))
			j.tellRefused(classify("the disk of the journal is full: nothing new is begun until there is room", cause))
		}
		r.err = j.refused
		close(r.done) // State says why by now
	}
	return rest
}

// tellRefused notes, also for State, why nothing new is taken; nil: it is.
func (j *Journal) tellRefused(err error) {
	j.refused = err
	j.mu.Lock()
	j.state.Full = err
	j.mu.Unlock()
}

// mayUseReserve reports whether a record ends something that is under way, makes
// room, or tells of the daemon itself: a full disk is no reason not to start and say so.
func mayUseReserve(k Kind) bool {
	switch k { //nolint:exhaustive // the others begin a call, a session and the like
	case KindOutcome, KindStart, KindStop, KindRecovery, KindRetention, KindPolicy:
		return true
	}
	return false
}

// told notes what came of a batch, for Err and State, and wakes those who wait for
// records.
func (j *Journal) told(err error, records, bytes int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.state.LastSeq = j.seq
	if j.failed = err; err != nil {
		j.state.FailedCommits++
		return
	}
	j.state.Bytes += int64(bytes)
	j.state.Commits++
	j.state.Records += int64(records)
	live := &j.segments[len(j.segments)-1]
	live.Last, live.Bytes = j.seq, j.offset
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// put brings b to the disk behind the last acknowledged record. After a failure
// the file is cut back, now or before the next write.
func (j *Journal) put(b []byte) error {
	if j.dirty {
		if err := j.cutBack(); err != nil {
			return classify("cut back journal", err)
		}
	}
	if j.unnamed {
		if err := syncDir(j.files.dir); err != nil {
			return classify("sync journal", err)
		}
		j.unnamed = false
	}
	end := blocksUp(j.offset + int64(len(b))) // as far as a direct write goes
	j.ahead.settle(end > j.ahead.end)
	failpoint.Torn(failpoint.JournalTorn, len(b), func(n int) { _, _ = j.file.WriteAt(b[:n], j.offset) })
	n, err := j.file.WriteAt(b, j.offset)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = failpoint.Err(failpoint.JournalWritten)
	}
	if err == nil {
		err = j.ahead.sync(j.file)
	}
	failpoint.At(failpoint.JournalDurable)
	if err == nil {
		j.ahead.end = max(j.ahead.end, end)
		return nil
	}
	j.dirty = true
	_ = j.cutBack() // if it fails now it is done before the next write
	return classify("write journal", err)
}

// cutBack ends the file behind the last acknowledged record.
func (j *Journal) cutBack() error {
	j.ahead.settle(true)
	if err := j.file.Truncate(j.offset); err != nil {
		return err
	}
	j.dirty, j.ahead.end = false, j.offset
	return nil
}

func classify(op string, err error) error {
	var class error = errdefs.ErrUnavailable
	if isFull(err) {
		class = errdefs.ErrResourceExhausted
	}
	return fmt.Errorf("%s: %w: %w", op, class, err)
}

// dataSyncFile syncs with fdatasync: the file's times are not worth a second
// write.
type dataSyncFile struct{ *os.File }

// Sync brings data and size to the disk.
func (f dataSyncFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
