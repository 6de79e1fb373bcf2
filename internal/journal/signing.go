package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandgate/sandgate/internal/journal/merkle"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// signing keeps the tree over the records and signs its heads, in a goroutine of its
// own: the writer only leaves the hashes of what it has written. A nil signing is a
// journal without a tree.
type signing struct {
	j       *Journal
	key     *merkle.Key
	wake    chan struct{} // the first record since a checkpoint was written, or enough for one
	quit    chan struct{}
	done    chan struct{}
	started bool // before Open returns

	mu     sync.Mutex
	hashes []string // of records that are not in the tree yet
	count  int      // of records since the last checkpoint that are none themselves

	grow   sync.Mutex // one at a time adds to the tree
	tree   *merkle.Tree
	failed error // why the tree is not that of the records; nil: it is

	signed struct {
		sync.Mutex
		note []byte
		size int64
	}
}

// checkpointData is the data of a checkpoint record.
type checkpointData struct {
	Size int64  `json:"size"`
	Root string `json:"root"` // base64
	Note string `json:"note"` // signed
}

func newSigning(j *Journal, tree *merkle.Tree, note []byte) *signing {
	if tree == nil {
		return nil
	}
	s := &signing{j: j, key: j.opts.Key, tree: tree, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	if c, err := merkle.OpenCheckpoint(note, s.key.Public()); err == nil {
		s.signed.note, s.signed.size = note, c.Size
	} else if note != nil {
		j.opts.Logger.Warn("the journal's checkpoint is not signed by its key: is the key new?", zap.Error(err))
	}
	return s
}

func (s *signing) start() {
	if s != nil {
		s.started = true
		go s.run()
	}
}

// add notes records that are on disk. It is the writer's.
func (s *signing) add(batch []*request) {
	if s == nil {
		return
	}
	s.mu.Lock()
	before := s.count
	for _, r := range batch {
		s.hashes = append(s.hashes, r.rec.Hash)
		if r.rec.Kind != KindCheckpoint {
			s.count++
		}
	}
	n := s.count
	s.mu.Unlock()
	// Between the first one, which sets the time of the next checkpoint, and the one that
	// makes it due, nobody need be woken.
	if n == before || before > 0 && n < s.j.opts.CheckpointRecords {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// waiting is how many records are not under a checkpoint, checkpoints not counted.
func (s *signing) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

func (s *signing) run() {
	defer close(s.done)
	timer := time.NewTimer(0)
	if !timer.Stop() {
		<-timer.C
	}
	armed := false
	for {
		due := false
		select {
		case <-s.quit:
			return
		case <-timer.C:
			armed, due = false, true
		case <-s.wake:
		}
		n := s.waiting()
		if n >= s.j.opts.CheckpointRecords {
			due = true
		}
		if due && n > 0 {
			if err := s.checkpoint(); err != nil {
				s.j.opts.Logger.Warn("the journal could not be signed: it is tried again", zap.Error(err))
			}
			timer.Stop()
			armed = false
			if s.waiting() == 0 {
				continue
			}
		}
		if !armed && n > 0 {
			timer.Reset(s.j.opts.CheckpointEvery)
			armed = true
		}
	}
}

// stop signs what is not signed yet and closes the tree. It may be called before start.
func (s *signing) stop() error {
	if s == nil {
		return nil
	}
	close(s.quit)
	if s.started {
		<-s.done
	}
	var err error
	if s.waiting() > 0 {
		err = s.checkpoint()
	}
	return errors.Join(err, s.tree.Close())
}

// catchUp brings all records that are on disk into the tree.
func (s *signing) catchUp() error {
	s.grow.Lock()
	defer s.grow.Unlock()
	if s.failed != nil {
		return s.failed
	}
	s.mu.Lock()
	hashes := s.hashes
	s.hashes = nil
	s.mu.Unlock()
	for _, h := range hashes {
		leaf, err := merkle.Leaf(h)
		if err == nil {
			err = s.tree.Add(leaf)
		}
		if err != nil {
			s.failed = fmt.Errorf("the tree is not complete until the daemon is started again: %w: %w", errdefs.ErrUnavailable, err)
			return s.failed
		}
	}
	return nil
}

// checkpoint signs the tree of all records that are on disk, and records that.
func (s *signing) checkpoint() error {
	s.mu.Lock()
	s.count = 0
	s.mu.Unlock()
	if err := s.catchUp(); err != nil {
		return err
	}
	size := s.tree.Size()
	root, err := s.tree.Root(size)
	if err == nil {
		err = s.tree.Sync()
	}
	if err != nil {
		return err
	}
	signed, err := s.key.Sign(size, root)
	if err != nil {
		return err
	}
	data := checkpointData{Size: size, Root: root.String(), Note: string(signed)}
	if _, err := s.j.Append(context.Background(), Entry{Kind: KindCheckpoint, Data: data}); err != nil {
		return fmt.Errorf("record checkpoint: %w", err)
	}
	failpoint.At(failpoint.JournalCheckpoint)
	if err := merkle.WriteFile(s.j.files.checkpoint(), signed); err != nil {
		return err
	}
	s.signed.Lock()
	s.signed.note, s.signed.size = signed, size
	s.signed.Unlock()
	return nil
}

// frontier is that of the tree of so many records; none without a tree.
func (s *signing) frontier(size int64) ([]tlog.Hash, error) {
	if s == nil {
		return nil, nil
	}
	if err := s.catchUp(); err != nil {
		return nil, err
	}
	return s.tree.Frontier(size)
}

// errNoTree is of a journal that signs nothing.
func errNoTree() error {
	return fmt.Errorf("the journal signs no checkpoints: %w", errdefs.ErrNotFound)
}

// Checkpoint is the newest signed head of the tree, how many records are in it, and
// the public key. Before the first it is errdefs.ErrNotFound.
func (j *Journal) Checkpoint() (note []byte, size int64, publicKey string, err error) {
	if j.signing == nil {
		return nil, 0, "", errNoTree()
	}
	s := j.signing
	s.signed.Lock()
	defer s.signed.Unlock()
	if s.signed.note == nil {
		return nil, 0, s.key.Public(), fmt.Errorf("no checkpoint was signed yet: %w", errdefs.ErrNotFound)
	}
	return s.signed.note, s.signed.size, s.key.Public(), nil
}

// ProveRecord proves that a record is in the tree of that size (0: of the newest
// checkpoint), which it returns. Numbers that are not there are errdefs.ErrOutOfRange.
func (j *Journal) ProveRecord(size, seq int64) ([]tlog.Hash, int64, error) {
	size, err := j.treeSize(size)
	if err != nil {
		return nil, 0, err
	}
	proof, err := j.signing.tree.ProveRecord(size, seq)
	return proof, size, err
}

// ProveTree proves that the tree of the old size is the beginning of that of size (0:
// of the newest checkpoint), which it returns.
func (j *Journal) ProveTree(size, old int64) ([]tlog.Hash, int64, error) {
	size, err := j.treeSize(size)
	if err != nil {
		return nil, 0, err
	}
	proof, err := j.signing.tree.ProveTree(size, old)
	return proof, size, err
}

func (j *Journal) treeSize(size int64) (int64, error) {
	if j.signing == nil {
		return 0, errNoTree()
	}
	if size == 0 {
		_, newest, _, err := j.Checkpoint()
		return newest, err
	}
	return size, j.signing.catchUp()
}
