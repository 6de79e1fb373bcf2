package journal

import (
	"sync"

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
const (
	aheadBytes = 1 << 20   // how much is written at a time
	aheadLow   = 512 << 10 // how little there may be before more is written
	aheadPiece = 64 << 10  // between two syncs, so that a commit never waits long
)

// ahead is what the writer knows of the zeros in front of it. All but mu and
// what it guards belongs to the writer's goroutine.
type ahead struct {
	end  int64      // up to here the file is on disk
	busy chan int64 // gets the new end from the goroutine of extend; nil: there is none

	// mu is held while the file is synced. The kernel tells an error of writing
	// back once for each open file, so a sync of zeros can get the one that belongs
	// to records: it is kept for them.
	mu     sync.Mutex
	failed error
}

// extend begins to write more zeros if there are few left behind offset. When
// they cannot be written, records are appended as they come.
func (a *ahead) extend(f file, offset int64) {
	a.settle(false)
	if a.busy != nil || a.end-offset >= aheadLow {
		return
	}
	busy := make(chan int64, 1)
	a.busy = busy
	from := blocksUp(max(a.end, offset))
	go func() { busy <- a.writeZeros(f, from) }()
}

// settle takes note of what extend has reached, and waits for it if told to.
// After waiting nobody but the writer writes to the file.
func (a *ahead) settle(wait bool) {
	if a.busy == nil || !wait && len(a.busy) == 0 {
		return
	}
	a.end = max(a.end, <-a.busy)
	a.busy = nil
}

// writeZeros writes about aheadBytes of zeros and returns up to where they are
// on disk.
func (a *ahead) writeZeros(f file, from int64) int64 {
	zeros := alignedBytes(aheadPiece)
	at := from
	for at < from+aheadBytes {
		piece := zeros[:aheadPiece-at%aheadPiece]
		failpoint.At(failpoint.JournalAhead)
		if n, err := f.WriteAt(piece, at); err != nil || n < len(piece) {
			return at
		}
		a.mu.Lock()
		err := f.Sync()
		if err != nil {
			a.failed = err
		}
		a.mu.Unlock()
		if err != nil {
			return at
		}
		at += int64(len(piece))
	}
	return at
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
