package spool

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// StoreConfig bounds a Store.
type StoreConfig struct {
	// Dir holds the files. It is made, mode 0700. Required.
	Dir string
	// Bytes is what all files take together; the oldest go first. Required.
	Bytes int64
	// Keep is after how long what was stored may go. Required.
	Keep time.Duration
	// Now is the clock. Optional.
	Now func() time.Time
	// Problem is told of what could not be written or read; what it is about is then
	// not kept. It must be quick. Optional.
	Problem func(error)
}

// Store keeps the output of finished calls in files that are only appended to
// and go as a whole: what came together goes together. It is safe for concurrent
// use.
type Store struct {
	cfg     StoreConfig
	segment int64 // bytes after which a new file is begun

	wake   chan struct{} // capacity 1: queue or closing changed
	loaded chan struct{} // closed when what was there is known
	done   chan struct{} // closed by the writer

	mu      sync.Mutex
	queue   []item
	queued  int64 // bytes in queue
	closing bool
	index   map[Key]place
	files   []*segment // oldest first; the last is written to
	bytes   int64      // of files
}

// Key names what is stored. The gate makes it of a caller and a call.
type Key [16]byte

// item waits to be written.
type item struct {
	key  Key
	at   time.Time
	data Stored
	from func(io.Writer) error // instead of data
	size int64
	done func(error) // nil: nobody wants to know
}

// place is where something is.
type place struct {
	in     *segment
	offset int64 // of the data
	size   int64
}

// Bounds of what waits to be written and of a file.
const (
	maxQueuedBytes  = 64 << 20
	maxSegmentBytes = 16 << 20
	maxBufferBytes  = 1 << 20 // of small items that are written at once
)

// linger is how long what is to be written waits for more.
const linger = 10 * time.Millisecond

// OpenStore opens the store in a directory; what earlier processes have left there
// is found in the background. Close it.
func OpenStore(cfg StoreConfig) (*Store, error) {
	if cfg.Dir == "" || cfg.Bytes <= 0 || cfg.Keep <= 0 {
		return nil, errors.New("output store: directory, bytes and time to keep are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Problem == nil {
		cfg.Problem = func(error) {}
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("output store: %w", err)
	}
	s := &Store{
		cfg: cfg, segment: max(min(maxSegmentBytes, cfg.Bytes/8), 4096), wake: make(chan struct{}, 1),
		loaded: make(chan struct{}), done: make(chan struct{}), index: make(map[Key]place),
	}
	go s.run()
	return s, nil
}

// Dir is where the store's files are.
func (s *Store) Dir() string { return s.cfg.Dir }

// Put stores pieces in their stored form, which it keeps. It does not wait: what is
// not written before the process ends is lost, and so is what finds the disk
// slower than it comes.
func (s *Store) Put(key Key, pieces Stored) {
	s.put(item{key: key, data: pieces, size: pieces.Size()})
}

// PutFrom is Put for size bytes of pieces that are too many for the memory: write
// writes them when it is their turn, and done is told when they can be read, or why
// not. Both are called once, or done alone.
func (s *Store) PutFrom(key Key, size int64, write func(io.Writer) error, done func(error)) {
	s.put(item{key: key, from: write, size: size, done: done})
}

func (s *Store) put(it item) {
	it.at = s.cfg.Now()
	inMemory := it.data.Size()
	s.mu.Lock()
	full := s.closing || it.size > s.cfg.Bytes || s.queued+inMemory > maxQueuedBytes
	if !full {
		s.queue = append(s.queue, it)
		s.queued += inMemory
	}
	s.mu.Unlock()
	if full {
		err := fmt.Errorf("output of a call, %d bytes, is not stored: %w", it.size, errdefs.ErrResourceExhausted)
		s.cfg.Problem(err)
		it.tell(err)
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (it *item) tell(err error) {
	if it.done != nil {
		it.done(err)
	}
}

// Open returns what was stored under the key if it is what has the digest; else
// errdefs.ErrNotFound. The caller closes it.
func (s *Store) Open(key Key, want Digest) (io.ReadCloser, error) {
	<-s.loaded
	s.mu.Lock()
	for _, waiting := range s.queue {
		if waiting.key == key && waiting.from == nil && waiting.data.Digest() == want {
			s.mu.Unlock()
			return io.NopCloser(waiting.data.reader()), nil
		}
	}
	p, ok := s.index[key]
	var file *os.File
	err := error(errdefs.ErrNotFound)
	if ok {
		file, err = os.Open(p.in.path)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("stored output: %w: %w", errdefs.ErrNotFound, err)
	}
	data := io.NewSectionReader(file, p.offset, p.size)
	h := sha256.New()
	if _, err := io.Copy(h, data); err != nil || Digest(h.Sum(nil)) != want {
		return nil, errors.Join(fmt.Errorf("stored output is not what it was: %w", errdefs.ErrNotFound), err, file.Close())
	}
	if _, err := data.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(fmt.Errorf("stored output: %w: %w", errdefs.ErrNotFound, err), file.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{data, file}, nil
}

// Close writes what waits and closes the files.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closeLast()
}

// run finds what is there, then writes what comes until Close.
func (s *Store) run() {
	defer close(s.done)
	if err := s.load(); err != nil {
		s.cfg.Problem(fmt.Errorf("output store: %w", err))
	}
	close(s.loaded)
	sweep := time.NewTicker(max(s.cfg.Keep/16, time.Second))
	defer sweep.Stop()
	var more <-chan time.Time // nil: nothing waits
	for {
		select {
		case <-s.wake:
			s.mu.Lock()
			closing := s.closing
			s.mu.Unlock()
			if closing {
				s.flush()
				return
			}
			if more == nil { // what comes until then goes with it
				more = time.After(linger)
			}
		case <-more:
			more = nil
			s.flush()
		case <-sweep.C:
			s.mu.Lock()
			s.expire()
			s.mu.Unlock()
		}
	}
}

// flush writes all that waits. What it writes stays in the queue until it can be
// read from its file.
func (s *Store) flush() {
	s.mu.Lock()
	batch := s.queue
	s.mu.Unlock()
	var buf []byte
	for len(batch) > 0 {
		n := 1
		if batch[0].from == nil && batch[0].size < maxBufferBytes {
			buf = appendRecord(buf[:0], batch[0])
			for n < len(batch) && batch[n].from == nil && int64(len(buf))+batch[n].size < maxBufferBytes {
				buf = appendRecord(buf, batch[n])
				n++
			}
			s.commit(batch[:n], int64(len(buf)), func(at io.WriterAt, offset int64) error {
				_, err := at.WriteAt(buf, offset)
				return err
			})
		} else {
			s.commit(batch[:1], recordHead+batch[0].size, batch[0].copyTo)
		}
		batch = batch[n:]
	}
}

var errSize = errors.New("output has not the size that it was said to have")

// copyTo writes an item that is not in memory.
func (it *item) copyTo(at io.WriterAt, offset int64) error {
	head := appendHead(nil, it)
	if _, err := at.WriteAt(head, offset); err != nil {
		return err
	}
	to := io.NewOffsetWriter(at, offset+int64(len(head)))
	counted := &counter{to: to}
	write := it.from
	if write == nil {
		write = func(w io.Writer) error {
			_, err := it.data.reader().WriteTo(w)
			return err
		}
	}
	if err := write(counted); err != nil {
		return err
	}
	if counted.n != it.size {
		return errSize
	}
	return nil
}

type counter struct {
	to io.Writer
	n  int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

// commit appends records to the current file.
func (s *Store) commit(batch []item, bytes int64, write func(at io.WriterAt, offset int64) error) {
	s.mu.Lock()
	seg, err := s.current(bytes)
	s.mu.Unlock()
	if err == nil {
		failpoint.At(failpoint.SpoolStore)
		err = write(seg.file, seg.size)
		failpoint.At(failpoint.SpoolStored)
	}
	s.settle(batch, bytes, seg, err)
	for _, it := range batch {
		it.tell(err)
	}
}

// settle takes what was written, or could not be, out of the queue.
func (s *Store) settle(batch []item, bytes int64, seg *segment, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := int64(0)
	if seg != nil {
		at = seg.size
	}
	for _, it := range batch {
		if err == nil {
			s.index[it.key] = place{seg, at + recordHead, it.size}
			seg.keys = append(seg.keys, it.key)
			seg.last = it.at
		}
		at += recordHead + it.size
		s.queued -= it.data.Size()
	}
	s.queue = s.queue[len(batch):]
	if len(s.queue) == 0 {
		s.queue = nil
	}
	if err != nil {
		s.cfg.Problem(fmt.Errorf("output of %d calls is not stored: %w", len(batch), err))
		return
	}
	seg.size += bytes
	s.bytes += bytes
	s.expire()
}

// paths are those of the files of what is stored.
func (s *Store) paths() []string {
	found, _ := filepath.Glob(filepath.Join(s.cfg.Dir, segmentPattern)) // the pattern is good
	return found
}
