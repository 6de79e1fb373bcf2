package journal

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// The journal is written into blocks that already hold zeros on the disk: then
// a commit changes nothing but the content of blocks, and fdatasync need not
// wait for the file system's own journal. On ext4 that is a quarter to a third
// less than appending; blocks that are only allocated gain nothing, since the
// first write of each has to be noted as well.
//
// So a journal that is open, or was not closed in order, ends in zeros, which no
// record begins with. A reader takes them for its end; Close cuts them off.
//
// They are the reserve as well: when the disk is full, what is written ahead still
// takes the outcomes of calls that run.
const (
	aheadBytes = 1 << 20                // how much is written at a time
	aheadLow   = 512 << 10              // how little there may be before more is written
	aheadPiece = 64 << 10               // between two syncs, so that a commit never waits long
	aheadRetry = 250 * time.Millisecond // after a full disk
)

// ahead is what the writer knows of the zeros in front of it. All but mu and
// what it guards belongs to the writer's goroutine.
type ahead struct {
	reserve int64      // how many there should be at least
	end     int64      // up to here the file is on disk
	busy    chan reach // gets the new end from the goroutine of extend; nil: there is none
	full    error      // why no more could be written; nil: they could
	tried   time.Time  // when that was

	// mu is held while the file is synced. The kernel tells an error of writing
	// back once for each open file, so a sync of zeros can get the one that belongs
	// to records: it is kept for them.
	mu     sync.Mutex
	failed error
}

// reach is how far zeros were written, and why no further.
type reach struct {
	end int64
	err error
}

// extend begins to write more zeros if there are few left behind offset. When
// they cannot be written, records are appended as they come.
func (a *ahead) extend(f file, offset int64) {
	a.settle(false)
	if a.busy != nil || a.end-offset >= aheadLow+a.reserve || a.full != nil && time.Since(a.tried) < aheadRetry {
		return
	}
	busy := make(chan reach, 1)
	a.busy = busy
	from := blocksUp(max(a.end, offset))
	to := max(from, blocksUp(offset)+a.reserve) + aheadBytes
	go func() { busy <- a.writeZeros(f, from, to) }()
}

// settle takes note of what extend has reached, and waits for it if told to.
// After waiting nobody but the writer writes to the file.
func (a *ahead) settle(wait bool) {
	if a.busy == nil || !wait && len(a.busy) == 0 {
		return
	}
	got := <-a.busy
	a.end, a.full, a.tried = max(a.end, got.end), nil, time.Now()
	if isFull(got.err) {
		a.full = got.err
	}
	a.busy = nil
}

// low reports whether no more than the reserve is left behind offset and why.
func (a *ahead) low(offset int64) error {
	if a.full == nil || a.reserve == 0 || a.end-offset > a.reserve {
		return nil
	}
	return a.full
}

// writeZeros writes zeros and tells up to where they are on disk.
func (a *ahead) writeZeros(f file, from, to int64) reach {
	zeros := alignedBytes(aheadPiece)
	at := from
	for at < to {
		piece := zeros[:aheadPiece-at%aheadPiece]
		failpoint.At(failpoint.JournalAhead)
		n, err := f.WriteAt(piece, at)
		if err == nil && n < len(piece) {
			err = unix.ENOSPC // a short write without an error is one
		}
		if err != nil {
			return reach{at, err}
		}
		a.mu.Lock()
		err = f.Sync()
		if err != nil {
			a.failed = err
		}
		a.mu.Unlock()
		if err != nil {
			return reach{at, err}
		}
		at += int64(len(piece))
	}
	return reach{at, nil}
}

// sync brings records to the disk. It also returns the error of a sync of zeros
// since the last one.
func (a *ahead) sync(f file) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := f.Sync()
	if err == nil {
		err = a.failed
	}
	a.failed = nil
	return err
}

// isFull reports whether an error says that there is no room.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}
