//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// stdinFeed takes stdin from the host to the program. It holds at most a window
// of it: the host sends only what was acknowledged.
type stdinFeed struct {
	server *server
	to     *os.File
	seq    uint64

	mu      sync.Mutex
	changed *sync.Cond
	pending []byte // guarded by mu
	ended   bool   // guarded by mu; no more will come
	stopped bool   // guarded by mu; the call is over
	closed  bool   // guarded by mu; the program has its end of file
	unacked int    // guarded by mu; bytes taken from the host and not acknowledged
}

func newStdinFeed(s *server, to *os.File, seq uint64, given bool) *stdinFeed {
	f := &stdinFeed{server: s, to: to, seq: seq, ended: !given}
	f.changed = sync.NewCond(&f.mu)
	return f
}

// add takes a chunk from the host. It never blocks.
func (f *stdinFeed) add(p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return fmt.Errorf("stdin after its end: %w", cell.ErrProtocol)
	}
	if f.unacked+len(p) > cell.StdinWindowBytes {
		return fmt.Errorf("stdin beyond the window of %d bytes: %w", cell.StdinWindowBytes, cell.ErrProtocol)
	}
	f.unacked += len(p)
	f.pending = append(f.pending, p...)
	f.changed.Signal()
	return nil
}

// finish says that no more will come.
func (f *stdinFeed) finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.changed.Signal()
}

// stop ends run; what was not read by the program is dropped.
func (f *stdinFeed) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	f.changed.Signal()
	if f.closed {
		return
	}
	if err := f.to.SetWriteDeadline(time.Now()); err != nil {
		logf("stop stdin: %v", err)
	}
}

// run writes to the program until stdin or the call has ended. A program that
// does not want its stdin any more gets rid of the rest without being told.
func (f *stdinFeed) run() {
	deaf := false
	var chunk []byte
	for {
		chunk = f.next(chunk[:0])
		if len(chunk) == 0 {
			break
		}
		if !deaf {
			if _, err := f.to.Write(chunk); err != nil {
				if !errors.Is(err, unix.EPIPE) && !errors.Is(err, os.ErrDeadlineExceeded) {
					logf("write stdin: %v", err)
				}
				deaf = true
			}
		}
		f.acknowledge(len(chunk))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	_ = f.to.Close() // the program sees the end; the call's own close comes again
}

// next waits for bytes and moves them to buf, which stays empty at the end.
func (f *stdinFeed) next(buf []byte) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.pending) == 0 && !f.ended && !f.stopped {
		f.changed.Wait()
	}
	if f.stopped {
		return buf
	}
	buf = append(buf, f.pending...)
	f.pending = f.pending[:0]
	return buf
}

// acknowledge gives the host credit for n bytes. It holds no lock while it waits
// for the host, so that frames from there are always taken.
func (f *stdinFeed) acknowledge(n int) {
	f.mu.Lock()
	f.unacked -= n
	silent := f.stopped || f.ended // the host does not wait for more credit
	f.mu.Unlock()
	if !silent {
		f.server.send(cell.KindStdinAck, cell.AppendCredit(nil, f.seq, int64(n)))
	}
}
