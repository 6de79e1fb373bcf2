package journal

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// keepEvery is how often the keeper looks for segments that are too old.
const keepEvery = time.Hour

// keeper does in the background what becomes due when a segment is closed: it cuts
// off the zeros, tells Options.Closed, makes a snapshot, and removes what need not be
// kept. One goroutine does all of it, with low priority.
type keeper struct {
	j       *Journal
	wake    chan struct{}
	quit    chan struct{}
	done    chan struct{}
	started bool // before Open returns

	mu    sync.Mutex
	queue []closedFile

	// Of the goroutine.
	snapshots []snapshot // verified ones, oldest first
	lulls     lulls
	failed    string // what was logged last
}

// closedFile is a segment that was closed, with the file that is still open.
type closedFile struct {
	file file // nil: at Open
	seg  Segment
}

func newKeeper(j *Journal, snapshots []snapshot) *keeper {
	k := &keeper{j: j, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), snapshots: snapshots}
	k.lulls = lulls{last: func() int64 { return j.State().LastSeq }, hurry: k.pressed, quit: k.quit}
	return k
}

func (k *keeper) start() {
	for _, s := range k.j.Segments() {
		if !s.Live {
			k.closed(nil, s)
		}
	}
	k.started = true
	go k.run()
}

// stop lets the step that is under way end, does no other, and closes what is open.
// It may be called before start.
func (k *keeper) stop() {
	close(k.quit)
	if k.started {
		<-k.done
	}
}

// closed hands a segment over.
func (k *keeper) closed(f file, s Segment) {
	k.mu.Lock()
	k.queue = append(k.queue, closedFile{f, s})
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) take() []closedFile {
	k.mu.Lock()
	defer k.mu.Unlock()
	q := k.queue
	k.queue = nil
	return q
}

func (k *keeper) run() {
	defer close(k.done)
	runtime.LockOSThread() // never unlocked: the thread ends with its priority
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 15)
	timer := time.NewTicker(keepEvery)
	defer timer.Stop()
	for {
		select {
		case <-k.quit:
			k.finish()
			return
		case <-k.wake:
		case <-timer.C:
		}
		k.step()
	}
}

// step does what is due. What fails is logged, and done with the next segment.
func (k *keeper) step() {
	for _, c := range k.take() {
		if err := k.shut(c); err != nil {
			k.told("cut segment", err)
			continue
		}
		if k.stopped() {
			continue
		}
		if k.j.opts.Closed != nil {
			k.j.opts.Closed(c.seg)
		}
	}
	if k.stopped() {
		return
	}
	k.lulls.due()
	k.told("snapshot", k.snapshot())
	if !k.stopped() {
		k.told("remove segments", k.retain())
	}
}

// pressed says that another segment was closed, or that the disk is nearly full.
func (k *keeper) pressed() bool {
	k.mu.Lock()
	more := len(k.queue) > 0
	k.mu.Unlock()
	return more || k.j.State().Full != nil
}

func (k *keeper) stopped() bool {
	select {
	case <-k.quit:
		return true
	default:
		return false
	}
}

// finish closes what is still open.
func (k *keeper) finish() {
	for _, c := range k.take() {
		k.told("cut segment", k.shut(c))
	}
}

// told logs an error once.
func (k *keeper) told(what string, err error) {
	if err == nil {
		return
	}
	if text := what + err.Error(); text != k.failed {
		k.failed = text
		k.j.opts.Logger.Warn("the journal could not be kept in order: it is tried again", zap.String("step", what), zap.Error(err))
	}
}

// shut cuts the zeros off a closed segment.
func (*keeper) shut(c closedFile) error {
	if c.file == nil {
		return nil
	}
	return errors.Join(c.file.Truncate(c.seg.Bytes), c.file.Sync(), c.file.Close())
}

// keptSnapshots is how many are kept: when the newest is damaged there is another.
const keptSnapshots = 2

// snapshot makes one of all closed segments, unless there is.
func (k *keeper) snapshot() error {
	if err := k.newSnapshot(); !errors.Is(err, errStopped) {
		return err
	}
	return nil
}

func (k *keeper) newSnapshot() error {
	if k.j.opts.Folds == nil {
		return nil
	}
	segments := k.j.Segments()
	if len(segments) < 2 {
		return nil
	}
	last := segments[len(segments)-2].Last
	if n := len(k.snapshots); n > 0 && k.snapshots[n-1].seq >= last {
		return nil
	}
	folds := k.j.opts.Folds()
	from, head, err := k.base(folds, segments[0].First)
	if err != nil {
		return err
	}
	for _, s := range segments[:len(segments)-1] {
		if s.Last <= from {
			continue
		}
		if head, err = k.apply(s, folds, head); err != nil {
			return err
		}
	}
	data, err := saveSnapshot(k.j.files, last, head, folds, k.lulls.writer)
	if err != nil {
		return err
	}
	failpoint.At(failpoint.JournalSnapshotBefore)
	if _, err := k.append(KindSnapshot, data); err != nil {
		return errors.Join(err, os.Remove(k.j.files.snapshot(last)))
	}
	failpoint.At(failpoint.JournalSnapshotAfter)
	k.snapshots = append(k.snapshots, snapshot{seq: last, path: k.j.files.snapshot(last), head: head})
	k.snapshots = k.snapshots[max(0, len(k.snapshots)-keptSnapshots):]
	return k.sweep()
}

// base loads the newest snapshot into the folds. Without one it is the beginning.
func (k *keeper) base(folds []Fold, oldest int64) (from int64, head string, err error) {
	for _, s := range slices.Backward(k.snapshots) {
		names, err := s.load(folds, k.lulls.reader)
		if errors.Is(err, errStopped) {
			return 0, "", err
		}
		if err == nil && len(names) == len(folds) || err == nil && oldest > 1 {
			return s.seq, s.head, nil
		}
		if err != nil {
			k.told("load snapshot", err)
		}
		reset(folds) // the snapshot is of an older sandgate: from the beginning
	}
	if oldest > 1 {
		return 0, "", fmt.Errorf("no snapshot can be read, and the records before %d were removed: %w", oldest, errdefs.ErrDataLoss)
	}
	return 0, genesis, nil
}

// apply gives the records of a segment to the folds and returns the chain's new head.
func (k *keeper) apply(seg Segment, folds []Fold, head string) (string, error) {
	f, err := os.Open(seg.Path)
	if err != nil {
		return "", fmt.Errorf("read segment: %w", err)
	}
	defer func() { _ = f.Close() }() // was only read
	n := 0
	s := newScanner(func(r Record, _ Place) error {
		if n++; n%pieceRecords == 1 && !k.lulls.rest() {
			return errStopped
		}
		for _, fold := range folds {
			if err := fold.Apply(r); err != nil {
				return fmt.Errorf("%s: %w", fold.Name(), err)
			}
		}
		return nil
	})
	s.rep.LastSeq, s.rep.LastHash = seg.First-1, head
	if err := s.segment(f, seg.Path, false); err != nil {
		return "", err
	}
	if s.rep.LastSeq != seg.Last {
		return "", &CorruptError{Place: s.at, Problem: fmt.Sprintf("is missing: the segment went to %d", seg.Last)}
	}
	return s.rep.LastHash, nil
}

// sweep removes snapshots that are not kept.
func (k *keeper) sweep() error {
	seqs, err := k.j.files.numbers(snapshotExt)
	if err != nil {
		return err
	}
	for _, seq := range seqs {
		kept := false
		for _, s := range k.snapshots {
			kept = kept || s.seq == seq
		}
		if !kept {
			if err := os.Remove(k.j.files.snapshot(seq)); err != nil {
				return fmt.Errorf("remove snapshot: %w", err)
			}
		}
	}
	return nil
}

// removedData is the data of a retention record: a segment that is about to be
// removed. With it the records behind the segment are still a chain and a tree.
type removedData struct {
	First  int64  `json:"first"`
	Last   int64  `json:"last"`
	Bytes  int64  `json:"bytes"`
	Oldest int64  `json:"oldest"` // record that is the first then
	Prev   string `json:"prev"`   // hash of record Last
	// Tree is the frontier of the tree over the records up to Last; none without a tree.
	Tree []string `json:"tree,omitempty"`
}

func (r *removedData) frontier() ([]tlog.Hash, error) {
	out := make([]tlog.Hash, 0, len(r.Tree))
	for _, text := range r.Tree {
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != tlog.HashSize {
			return nil, fmt.Errorf("retention record of segment %d: hash %q: %w", r.First, text, errdefs.ErrDataLoss)
		}
		out = append(out, tlog.Hash(raw))
	}
	return out, nil
}

// findRemoved looks for the retention record after which oldest was the first record.
func findRemoved(segments []Segment, oldest int64) (*removedData, error) {
	var out *removedData
	for _, s := range segments {
		err := findRecords(s.Path, KindRetention, func(rec Record) error {
			var data removedData
			if err := json.Unmarshal(rec.Data, &data); err != nil {
				return fmt.Errorf("retention record %d: %w", rec.Seq, err)
			}
			if data.Oldest == oldest {
				out = &data
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// retain removes the oldest segments while they are too old or too many, and in a
// snapshot that is not the newest: when that one is damaged, there is another.
func (k *keeper) retain() error {
	o := &k.j.opts
	if len(k.snapshots) < keptSnapshots || o.KeepFor <= 0 && o.KeepBytes <= 0 {
		return nil
	}
	covered := k.snapshots[0].seq
	segments := k.j.Segments()
	total := int64(0)
	for _, s := range segments {
		total += s.Bytes
	}
	for _, s := range segments[:len(segments)-1] {
		last, err := lastRecord(s)
		if err != nil {
			return err
		}
		old := o.KeepFor > 0 && k.j.now().Sub(last.Time) > o.KeepFor
		much := o.KeepBytes > 0 && total > o.KeepBytes
		if s.Last > covered || !old && !much || k.stopped() {
			return nil
		}
		if err := k.remove(s, last); err != nil {
			return err
		}
		total -= s.Bytes
	}
	return nil
}

func (k *keeper) remove(s Segment, last Record) error {
	data := removedData{First: s.First, Last: s.Last, Bytes: s.Bytes, Oldest: s.Last + 1, Prev: last.Hash}
	hashes, err := k.j.signing.frontier(s.Last)
	if err != nil {
		return err
	}
	for _, h := range hashes {
		data.Tree = append(data.Tree, hex.EncodeToString(h[:]))
	}
	if _, err := k.append(KindRetention, data); err != nil {
		return err
	}
	failpoint.At(failpoint.JournalRemove)
	j := k.j
	j.mu.Lock()
	if len(j.segments) > 1 && j.segments[0].First == s.First {
		j.segments = j.segments[1:]
		j.state.Bytes -= s.Bytes
	}
	j.mu.Unlock()
	if err := os.Remove(j.files.index(s.First)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove index: %w", err)
	}
	if err := os.Remove(s.Path); err != nil {
		return fmt.Errorf("remove segment: %w", err)
	}
	j.opts.Logger.Info("an old segment of the journal was removed", zap.String("path", s.Path), zap.Int64("last", s.Last))
	return nil
}

// lastRecord reads the last record of a closed segment.
func lastRecord(s Segment) (Record, error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return Record{}, fmt.Errorf("read segment: %w", err)
	}
	defer func() { _ = f.Close() }() // was only read
	buf := make([]byte, min(s.Bytes, maxRecordBytes+1))
	if _, err := f.ReadAt(buf, s.Bytes-int64(len(buf))); err != nil {
		return Record{}, fmt.Errorf("read segment: %w", err)
	}
	end := len(buf) - 1
	begin := end
	for begin > 0 && buf[begin-1] != '\n' {
		begin--
	}
	rec, err := parseLine(buf[begin:max(begin, end)])
	if err != nil || rec.Seq != s.Last {
		return Record{}, &CorruptError{Place: Place{Path: s.Path, Offset: s.Bytes - int64(len(buf)-begin), Seq: s.Last}, Problem: "is not the last of its segment"}
	}
	return rec, nil
}

// append writes a record of the keeper's own. It is given up when the journal closes.
func (k *keeper) append(kind Kind, data any) (int64, error) {
	seq, err := k.j.Append(context.Background(), Entry{Kind: kind, Data: data})
	if err != nil {
		return 0, fmt.Errorf("record %s: %w", kind, err)
	}
	return seq, nil
}
