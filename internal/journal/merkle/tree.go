package merkle

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/containerd/errdefs"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"
)

// LeafBytes is the length of what is hashed into a leaf.
const LeafBytes = tlog.HashSize

// Leaf returns the leaf of a record from its hash, hexadecimal as in its line.
func Leaf(recordHash string) (tlog.Hash, error) {
	raw, err := hex.DecodeString(recordHash)
	if err != nil || len(raw) != LeafBytes {
		return tlog.Hash{}, fmt.Errorf("hash of a record %q: want %d hexadecimal digits: %w", recordHash, 2*LeafBytes, errdefs.ErrInvalidArgument)
	}
	return tlog.RecordHash(raw), nil
}

// Tree is the tree in a file: the hashes of tlog's storage order, 32 bytes each.
// What is in it can be made again from the records, so that only Sync brings it to
// the disk. It is safe for concurrent use; one goroutine at a time adds.
type Tree struct {
	mu   sync.RWMutex
	file *os.File
	size int64  // leaves
	tail []byte // hashes that are not in the file yet, behind base
	base int64  // hashes in the file
}

// flushBytes is how much is kept before it goes to the file.
const flushBytes = 64 << 10

// OpenTree opens or makes the file (mode 0600). It has as many leaves as there are
// whole ones in it; whoever opened it compares its root with one that he knows.
func OpenTree(path string) (*Tree, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600) // #nosec G304 -- beside the journal
	if err != nil {
		return nil, fmt.Errorf("open tree: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open tree: %w", err), f.Close())
	}
	t := &Tree{file: f, size: leavesOf(info.Size() / tlog.HashSize)}
	t.base = tlog.StoredHashCount(t.size)
	return t, nil
}

// leavesOf is how many leaves have all their hashes among the first count.
func leavesOf(count int64) int64 {
	low, high := int64(0), count
	for low < high {
		mid := (low + high + 1) / 2
		if tlog.StoredHashCount(mid) <= count {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low
}

// Size is the number of leaves.
func (t *Tree) Size() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.size
}

// Add appends a leaf.
func (t *Tree) Add(leaf tlog.Hash) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	hashes, err := tlog.StoredHashesForRecordHash(t.size, leaf, tlog.HashReaderFunc(t.read))
	if err != nil {
		return fmt.Errorf("add to tree: %w", err)
	}
	for _, h := range hashes {
		t.tail = append(t.tail, h[:]...)
	}
	t.size++
	if len(t.tail) >= flushBytes {
		return t.flush()
	}
	return nil
}

func (t *Tree) flush() error {
	if len(t.tail) == 0 {
		return nil
	}
	if _, err := t.file.WriteAt(t.tail, t.base*tlog.HashSize); err != nil {
		return fmt.Errorf("write tree: %w", err)
	}
	t.base += int64(len(t.tail) / tlog.HashSize)
	t.tail = t.tail[:0]
	return nil
}

// Sync brings the tree to the disk.
func (t *Tree) Sync() error {
	t.mu.Lock()
	err := t.flush()
	t.mu.Unlock()
	if err == nil {
		err = unix.Fdatasync(int(t.file.Fd()))
	}
	if err != nil {
		return fmt.Errorf("sync tree: %w", err)
	}
	return nil
}

// Cut takes all leaves away from size on.
func (t *Tree) Cut(size int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if size >= t.size {
		return nil
	}
	if err := t.flush(); err != nil {
		return err
	}
	if err := t.file.Truncate(tlog.StoredHashCount(size) * tlog.HashSize); err != nil {
		return fmt.Errorf("cut tree: %w", err)
	}
	t.size, t.base = size, tlog.StoredHashCount(size)
	return nil
}

// Frontier are the hashes of the whole subtrees that the first size leaves are made
// of: all that is needed of them to go on with the tree and to prove later leaves.
func (t *Tree) Frontier(size int64) ([]tlog.Hash, error) {
	hashes, err := t.ReadHashes(frontier(size))
	if err != nil {
		return nil, err
	}
	return hashes, nil
}

// Restart makes the tree one of size leaves of which nothing is known but their
// frontier.
func (t *Tree) Restart(size int64, hashes []tlog.Hash) error {
	indexes := frontier(size)
	if len(indexes) != len(hashes) {
		return fmt.Errorf("begin tree at %d: %d hashes, want %d: %w", size, len(hashes), len(indexes), errdefs.ErrDataLoss)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tail = t.tail[:0]
	if err := t.file.Truncate(0); err != nil {
		return fmt.Errorf("begin tree: %w", err)
	}
	if err := t.file.Truncate(tlog.StoredHashCount(size) * tlog.HashSize); err != nil {
		return fmt.Errorf("begin tree: %w", err)
	}
	for i, at := range indexes {
		if _, err := t.file.WriteAt(hashes[i][:], at*tlog.HashSize); err != nil {
			return fmt.Errorf("begin tree: %w", err)
		}
	}
	t.size, t.base = size, tlog.StoredHashCount(size)
	return nil
}

// FrontierIndexes are the storage indexes of the hashes that Frontier returns.
func FrontierIndexes(size int64) []int64 { return frontier(size) }

// frontier are the storage indexes of the whole subtrees of the first size leaves,
// the largest first.
func frontier(size int64) []int64 {
	var out []int64
	done := int64(0)
	for level := 62; level >= 0; level-- {
		if width := int64(1) << level; size&width != 0 {
			out = append(out, tlog.StoredHashIndex(level, done>>level))
			done += width
		}
	}
	return out
}

// ReadHashes implements tlog.HashReader.
func (t *Tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.read(indexes)
}

func (t *Tree) read(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		if at >= t.base {
			from := (at - t.base) * tlog.HashSize
			if from+tlog.HashSize > int64(len(t.tail)) {
				return nil, fmt.Errorf("hash %d of the tree: %w", at, errdefs.ErrOutOfRange)
			}
			copy(out[i][:], t.tail[from:])
			continue
		}
		if _, err := t.file.ReadAt(out[i][:], at*tlog.HashSize); err != nil {
			if errors.Is(err, io.EOF) {
				err = errdefs.ErrDataLoss
			}
			return nil, fmt.Errorf("read hash %d of the tree: %w", at, err)
		}
	}
	return out, nil
}

// Root is the root of the first size leaves.
func (t *Tree) Root(size int64) (tlog.Hash, error) {
	if size == 0 {
		return tlog.TreeHash(0, t)
	}
	if have := t.Size(); size > have {
		return tlog.Hash{}, fmt.Errorf("tree of %d: there are %d leaves: %w", size, have, errdefs.ErrOutOfRange)
	}
	return tlog.TreeHash(size, t)
}

// ProveRecord proves that record seq (from 1) is in the tree of that size.
func (t *Tree) ProveRecord(size, seq int64) ([]tlog.Hash, error) {
	if seq < 1 || seq > size || size > t.Size() {
		return nil, fmt.Errorf("record %d in a tree of %d: the tree has %d: %w", seq, size, t.Size(), errdefs.ErrOutOfRange)
	}
	return tlog.ProveRecord(size, seq-1, t)
}

// ProveTree proves that the tree of the old size is the beginning of that of size.
func (t *Tree) ProveTree(size, old int64) ([]tlog.Hash, error) {
	if old < 1 || old > size || size > t.Size() {
		return nil, fmt.Errorf("tree of %d in one of %d: the tree has %d: %w", old, size, t.Size(), errdefs.ErrOutOfRange)
	}
	return tlog.ProveTree(size, old, t)
}

// Close writes what is left and closes the file.
func (t *Tree) Close() error { return errors.Join(t.Sync(), t.file.Close()) }
