// Package journal is the append-only, hash-chained record of what the daemon
// intended, decided and did: its only durable state. The gate appends to it; what
// survives a restart is folded from it at start (see Fold); auditors verify it.
// Append returns when the record is on disk. It must never lose an acknowledged
// record, never write a known token in the clear, and never pass over damage
// silently.
//
// A segment holds one JSON object a line; the format is documented at Record. When
// it is large or old enough it is closed and the next one begun; the chain goes on
// over the border. While a segment is open, and after a crash, zeros follow the
// last line. The files of a journal are documented at files.
package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// State is how the journal is doing.
type State struct {
	LastSeq int64 // of the last record on disk
	Bytes   int64 // of all records that are kept
	Waiting int   // records that wait to be written

	// Counters since the journal was opened.
	Records, Commits, FailedCommits int64

	Err error // the last commit's; nil when it went well
	// Full is why new calls are refused: no more than the reserve is left on the disk.
	// nil: there is room.
	Full error
}

// Entry is what a record is made from.
type Entry struct {
	Kind                    Kind
	Caller, Session, CallID string
	// Data is encoded as JSON (see Appender) and masked (see Mask). nil: none.
	Data any
}

// Journal is an open journal. It is safe for concurrent use.
type Journal struct {
	files    files
	path     string // of the live segment
	opts     Options
	now      func() time.Time
	recovery Report
	lock     *os.File

	requests chan *request
	nap      func(time.Duration) // a test's may know when the others have come
	closing  chan struct{}       // closed by Close
	done     chan struct{}       // closed by the writer
	once     sync.Once

	// What follows down to line belongs to the writer's goroutine, and to Close after it.

	file    file
	zeros   file  // for what is written ahead: file, or the same for whole blocks
	offset  int64 // end of the last acknowledged record in the live segment
	seq     int64
	head    string
	dirty   bool // bytes after offset may be on disk: cut them before the next write
	unnamed bool // the live segment's name is not known to be on disk: nor may a record be
	ahead   ahead
	next    nextSegment
	line    bytes.Buffer // of the batch that is written; kept for its memory
	began   time.Time    // of the live segment's first record; zero: it has none
	refused error        // why the last calls were refused; nil: they were not

	encodings encodings
	keeper    *keeper  // closes, snapshots, removes
	signing   *signing // nil: without a tree

	// names is held while the live segment gets its name as a closed one, and by those
	// who open a segment by its name.
	names sync.RWMutex

	mu       sync.Mutex
	failed   error         // the last batch's failure; nil when it was written
	state    State         // without Waiting and Err
	segments []Segment     // closed ones and the live one, oldest first
	changed  chan struct{} // closed at the next commit; nil: nobody waits for it
}

// file is what the writer needs of *os.File; tests make it fail.
type file interface {
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// Open opens or creates the journal whose live segment is at path (mode 0600, in an
// existing directory that is its own), takes it for this process alone, checks the
// chain and gives every record to replay in order (nil: none). Without replay it
// restores opts.Restore from the newest good snapshot, and reads and checks only
// what is behind it. A torn tail is cut, and a recovery record tells so. A damaged
// journal is a *CorruptError; one that another process holds is
// errdefs.ErrFailedPrecondition. replay's Record is only valid during the call. The
// caller must Close the journal.
func Open(path string, opts Options, replay func(Record) error) (*Journal, error) {
	opts = opts.withDefaults()
	fs := filesOf(path)
	lock, err := lockDir(fs.dir)
	if err != nil {
		return nil, err
	}
	o := &opening{files: fs, opts: opts}
	if err := o.read(replay); err != nil {
		return nil, errors.Join(err, o.close(), lock.Close())
	}
	failpoint.At(failpoint.JournalOpened)
	j := &Journal{
		files: fs, path: path, opts: opts, now: opts.Now, recovery: o.report, lock: lock,
		requests: make(chan *request, 128), nap: nap, closing: make(chan struct{}), done: make(chan struct{}),
		file: dataSyncFile{o.live}, offset: o.offset, seq: o.report.LastSeq, head: o.report.LastHash, began: o.began,
		segments: o.segments, state: State{LastSeq: o.report.LastSeq},
	}
	for _, s := range j.segments {
		j.state.Bytes += s.Bytes
	}
	j.opts.Restore = nil // they are the caller's from now on
	j.ahead.reserve, j.ahead.end = opts.ReserveBytes, j.offset
	j.zeros = j.file
	if records, zeros, err := openDirect(o.live, j.offset); err == nil {
		j.file, j.zeros = records, zeros
		j.ahead.end = blocksUp(j.offset)
	}
	j.ahead.extend(j.zeros, j.offset)
	j.signing = newSigning(j, o.tree, o.signed)
	j.keeper = newKeeper(j, o.snapshots)
	go j.write()
	if err := j.recordCut(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	j.signing.start()
	j.keeper.start()
	return j, nil
}

// Recovery tells what was found at Open.
func (j *Journal) Recovery() Report { return j.recovery }

// Err is the failure of the last write, nil when it went well. The journal
// heals by itself as soon as it can be written again.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// State tells how the journal is doing. It does not block.
func (j *Journal) State() State {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.state
	s.Waiting, s.Err = len(j.requests), j.failed
	return s
}

// Path is the path of the live segment.
func (j *Journal) Path() string { return j.path }

// Changed returns a channel that is closed when a record has come to the disk since.
// Whoever waits for records looks after he has the channel.
func (j *Journal) Changed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return j.changed
}

// Segments lists what is kept, oldest first; the live one comes last, with what is
// acknowledged of it.
func (j *Journal) Segments() []Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Segment(nil), j.segments...)
}

// OpenSegment opens the file of the segment that begins with that record. One that
// was removed is errdefs.ErrNotFound. The caller closes it.
func (j *Journal) OpenSegment(first int64) (*os.File, Segment, error) {
	j.names.RLock()
	defer j.names.RUnlock()
	for _, s := range j.Segments() {
		if s.First != first {
			continue
		}
		f, err := os.Open(s.Path)
		if errors.Is(err, os.ErrNotExist) {
			break // it was removed this moment
		}
		if err != nil {
			return nil, s, fmt.Errorf("open segment: %w", err)
		}
		return f, s, nil
	}
	return nil, Segment{}, fmt.Errorf("segment of record %d: %w", first, errdefs.ErrNotFound)
}

// Close signs and writes what waits, cuts off what was written ahead, closes the
// file and releases the lock. Append fails from then on. A second Close does nothing.
func (j *Journal) Close() error {
	var err error
	j.once.Do(func() {
		j.keeper.stop()
		err = j.signing.stop()
		close(j.closing)
		<-j.done
		j.next.drop()
		cut := j.cutBack()
		if cut != nil {
			cut = classify("close journal", cut)
		}
		err = errors.Join(err, cut, j.file.Close(), j.lock.Close())
	})
	return err
}
