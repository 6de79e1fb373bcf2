// Package journal is the append-only, hash-chained record of what the daemon
// intended, decided and did: its only durable state. The gate appends to it and
// replays it at start; auditors verify it. Append returns when the record is on
// disk. It must never lose an acknowledged record, never write a known token in
// the clear, and never pass over damage silently.
//
// The file holds one JSON object a line; the format is documented at Record.
// While it is open, and after a crash, up to some 2 MiB of zeros follow the last
// line. It is one growing file so far: rotating it is the operator's, with the
// daemon stopped.
package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// maxRecordBytes bounds one line. Whoever appends cuts large fields with Bound.
const maxRecordBytes = 1 << 20

// Options of Open.
type Options struct {
	// Now is the clock. Optional.
	Now func() time.Time
	// Observe is told of each commit: how many records it brought to the disk, or
	// failed to, and how long that took. It is called from one goroutine, after the
	// records were acknowledged, and must be quick. Optional.
	Observe func(records int, took time.Duration)
}

// State is how the journal is doing.
type State struct {
	LastSeq int64 // of the last record on disk
	Bytes   int64 // of all records
	Waiting int   // records that wait to be written

	// Counters since the journal was opened.
	Records, Commits, FailedCommits int64

	Err error // the last commit's; nil when it went well
}

// Entry is what a record is made from.
type Entry struct {
	Kind                    Kind
	Caller, Session, CallID string
	// Data is encoded as JSON and masked (see Mask). nil: none.
	Data any
}

// Journal is an open journal. It is safe for concurrent use.
type Journal struct {
	path     string
	now      func() time.Time
	observe  func(records int, took time.Duration)
	recovery Report

	requests chan *request
	closing  chan struct{} // closed by Close
	done     chan struct{} // closed by the writer
	once     sync.Once

	// What follows down to line belongs to the writer's goroutine, and to Close after it.

	file   file
	zeros  file  // for what is written ahead: file, or the same for whole blocks
	offset int64 // end of the last acknowledged record
	seq    int64
	head   string
	dirty  bool // bytes after offset may be on disk: cut them before the next write
	ahead  ahead
	line   bytes.Buffer // of the batch that is written; kept for its memory

	mu     sync.Mutex
	failed error // the last batch's failure; nil when it was written
	state  State // without Waiting and Err
}

// file is what the writer needs of *os.File; tests make it fail.
type file interface {
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// Open opens or creates the journal at path (mode 0600, in an existing
// directory), takes it for this process alone, checks the whole chain and gives
// every record to replay in order. A torn tail is cut, and a recovery record
// tells so. A damaged journal is a *CorruptError; one that another process
// holds is errdefs.ErrFailedPrecondition. replay's Record is only valid during
// the call. The caller must Close the journal.
func Open(path string, opts Options, replay func(Record) error) (*Journal, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if replay == nil {
		replay = func(Record) error { return nil }
	}
	f, err := openLocked(path)
	if err != nil {
		return nil, err
	}
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // what is on disk counts, not what a page still holds
	rep, err := scan(f, path, replay)
	if err == nil && rep.FileBytes > rep.Bytes {
		err = errors.Join(f.Truncate(rep.Bytes), f.Sync())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	failpoint.At(failpoint.JournalOpened)
	j := &Journal{
		path: path, now: opts.Now, observe: opts.Observe, recovery: rep,
		requests: make(chan *request, 128), closing: make(chan struct{}), done: make(chan struct{}),
		file: dataSyncFile{f}, offset: rep.Bytes, seq: rep.LastSeq, head: rep.LastHash,
		state: State{LastSeq: rep.LastSeq, Bytes: rep.Bytes},
	}
	j.ahead.end = rep.Bytes
	j.zeros = j.file
	if records, zeros, err := openDirect(f, j.offset); err == nil {
		j.file, j.zeros = records, zeros
		j.ahead.end = blocksUp(rep.Bytes)
	}
	j.ahead.extend(j.zeros, j.offset)
	go j.write()
	if rep.TornBytes > 0 {
		_, err := j.Append(context.Background(), Entry{Kind: KindRecovery, Data: map[string]any{
			"cut_bytes": rep.TornBytes, "cut_sha256": rep.TornSHA256, "after_seq": rep.LastSeq,
		}})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("record the cut tail: %w", err), j.Close())
		}
	}
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

// Append writes the entry and returns its sequence number once it is on disk.
// On an error nothing of it counts: the caller must act as if it had not been
// recorded. A full disk is errdefs.ErrResourceExhausted, another failure and a
// closed journal are errdefs.ErrUnavailable. When ctx ends while the record waits
// or is being written, Append returns at once, also from a disk that hangs: the
// record stays the writer's, and it is not known whether it gets there. That is an
// error too.
func (j *Journal) Append(ctx context.Context, e Entry) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, context.Cause(ctx)
	}
	data, err := encodeData(e.Data)
	if err != nil {
		return 0, err
	}
	req := &request{
		rec:  Record{Kind: e.Kind, Caller: e.Caller, Session: e.Session, CallID: e.CallID, Data: data},
		done: make(chan struct{}),
	}
	failpoint.At(failpoint.JournalQueued)
	select {
	case <-j.closing:
		return 0, fmt.Errorf("journal is closed: %w", errdefs.ErrUnavailable)
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case j.requests <- req:
	}
	select {
	case <-req.done:
		return req.seq, req.err
	case <-j.done:
		select {
		case <-req.done:
			return req.seq, req.err
		default:
			return 0, fmt.Errorf("journal is closed: %w", errdefs.ErrUnavailable)
		}
	case <-ctx.Done():
		return 0, fmt.Errorf("write journal: %w", context.Cause(ctx))
	}
}

// Close writes what waits, cuts off what was written ahead, closes the file and
// releases the lock. Append fails from then on. A second Close does nothing.
func (j *Journal) Close() error {
	var err error
	j.once.Do(func() {
		close(j.closing)
		<-j.done
		err = j.cutBack()
		if err != nil {
			err = classify("close journal", err)
		}
		err = errors.Join(err, j.file.Close())
	})
	return err
}

// encodeData encodes and masks what a record is about.
func encodeData(data any) (json.RawMessage, error) {
	if data == nil {
		return nil, nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		return nil, fmt.Errorf("encode journal data: %w: %w", errdefs.ErrInvalidArgument, err)
	}
	raw := MaskJSON(buf.Bytes()[:buf.Len()-1]) // without its newline
	if len(raw) > maxRecordBytes-4096 {
		return nil, fmt.Errorf("journal data is %d bytes, at most %d: %w", len(raw), maxRecordBytes-4096, errdefs.ErrInvalidArgument)
	}
	return raw, nil
}

func openLocked(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600) // #nosec G304 -- configured
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	err = func() error {
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("open journal: %w", err)
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("open journal %s: not a regular file: %w", path, errdefs.ErrFailedPrecondition)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			if errors.Is(err, unix.EWOULDBLOCK) {
				return fmt.Errorf("journal %s is in use by another process: want one daemon per data directory: %w",
					path, errdefs.ErrFailedPrecondition)
			}
			return fmt.Errorf("lock journal: %w", err)
		}
		if err := f.Chmod(0o600); err != nil {
			return fmt.Errorf("open journal: %w", err)
		}
		return syncDir(filepath.Dir(path))
	}()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- the journal's own directory
	if err != nil {
		return fmt.Errorf("sync journal directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync journal directory: %w", err)
	}
	return nil
}
