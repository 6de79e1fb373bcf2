//go:build linux

package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// stdin takes stdin from the host to the program. It holds at most a window of
// it: the host sends only what was acknowledged.
type stdin struct {
	pending []byte
	ended   bool // no more will come from the host
	deaf    bool // the program does not want it any more
}

// add takes a chunk from the host.
func (f *stdin) add(p []byte) error {
	if f.ended {
		return fmt.Errorf("stdin after its end: %w", cell.ErrProtocol)
	}
	if len(f.pending)+len(p) > cell.StdinWindowBytes {
		return fmt.Errorf("stdin beyond the window of %d bytes: %w", cell.StdinWindowBytes, cell.ErrProtocol)
	}
	f.pending = append(f.pending, p...)
	return nil
}

// pump writes to the program what it takes now. A program that does not want its
// stdin any more gets rid of the rest without being told.
func (f *stdin) pump(c *call, s *server) {
	done := 0
	for done < len(f.pending) && !f.deaf {
		n, err := unix.Write(c.stage.stdin, f.pending[done:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			if !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.EIO) { // EIO: a terminal that was hung up
				logf("write stdin: %v", err)
			}
			f.deaf = true
			break
		}
		done += n
	}
	if f.deaf {
		done = len(f.pending)
	}
	if done > 0 {
		if c.terminal != nil {
			c.terminal.last = f.pending[done-1]
		}
		f.pending = f.pending[:copy(f.pending, f.pending[done:])]
		if !f.ended { // else the host does not wait for more credit
			s.send(cell.KindStdinAck, cell.AppendCredit(nil, c.request.Seq, int64(done)))
		}
	}
	if f.ended && len(f.pending) == 0 && c.terminal != nil && c.stage.stdin >= 0 {
		f.pending = append(f.pending, c.terminal.ending(c.stage.stdin)...)
	}
	if f.ended && len(f.pending) == 0 {
		closeFD(&c.stage.stdin)
	}
}
