//go:build linux

package main

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// pump takes one output stream to the host: its first bytes at once, of the rest
// the last ones when the stream has ended. It holds no more than keep/2 bytes. Of a
// live call all bytes are the first ones, and the program waits for a slow host.
type pump struct {
	stream cell.Stream

	head  int64 // bytes to be sent at once
	total int64 // bytes read
	tail  ring

	rest [2][]byte // of the tail, once it is being sent
	sent bool      // rest was cut
}

// newPump may use room, whatever is in it.
func newPump(stream cell.Stream, keep int64, room []byte) pump {
	tail := keep / 2
	return pump{stream: stream, head: keep - tail, tail: ring{size: int(tail), buf: room[:0]}}
}

// roomBytes is the most that is kept from one call to the next for each stream's tail.
const roomBytes = 1 << 20

// room is what the pump of a later call may use: memory that is new each time has to be
// got from the kernel page by page, which took as long as all else that is done for a
// mebibyte of output.
func (p *pump) room() []byte {
	if cap(p.tail.buf) > roomBytes {
		return nil
	}
	return p.tail.buf[:0]
}

// rounds bounds how much is read before the host is looked at again.
const rounds = 8

// run reads what there is. ended says that it was all and that no process of the call is
// left; whether one has the stream open cannot be seen, since init has.
func (p *pump) run(c *call, s *server, fd int) (read int64, ended bool) {
	if s.buffer == nil {
		s.buffer = make([]byte, cell.OutputChunkBytes)
	}
	for range rounds {
		if len(s.pending) >= outRoom {
			return read, false
		}
		n, err := unix.Read(fd, s.buffer)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return read, c.phase == draining
		case err != nil || n == 0:
			return read, true
		}
		data := s.buffer[:n]
		if p.total < p.head {
			now := min(int64(n), p.head-p.total)
			c.tellStarted(s)
			p.send(s, p.total, data[:now])
			data = data[now:]
		}
		p.tail.add(data)
		p.total += int64(n)
		read += int64(n)
		if n < len(s.buffer) && n < 4096 && c.phase != draining { // most likely all there is
			break
		}
	}
	return read, false
}

// flush sends the tail as far as there is room; done says that all of it went.
func (p *pump) flush(s *server) (done bool) {
	if !p.sent {
		p.rest[0], p.rest[1] = p.tail.parts()
		p.sent = true
	}
	for i := range p.rest {
		for len(p.rest[i]) > 0 {
			if len(s.pending) >= outRoom {
				return false
			}
			n := min(len(p.rest[i]), cell.OutputChunkBytes)
			p.send(s, p.total-int64(len(p.rest[0])+len(p.rest[1])), p.rest[i][:n])
			p.rest[i] = p.rest[i][n:]
		}
	}
	return true
}

func (p *pump) send(s *server, offset int64, data []byte) {
	s.send(cell.KindOutput, cell.AppendOutputHeader(make([]byte, 0, 16), p.stream, offset), data)
}

// ring keeps the last size bytes that were added; it grows only as far as needed.
type ring struct {
	size  int
	buf   []byte
	start int // index of the oldest byte, once buf is full
}

func (r *ring) add(p []byte) {
	if len(p) >= r.size {
		r.buf = append(r.buf[:0], p[len(p)-r.size:]...)
		r.start = 0
		return
	}
	if room := r.size - len(r.buf); room > 0 {
		n := min(room, len(p))
		r.buf = append(r.buf, p[:n]...)
		p = p[n:]
	}
	for len(p) > 0 {
		n := copy(r.buf[r.start:], p)
		p = p[n:]
		r.start = (r.start + n) % r.size
	}
}

// parts returns what is kept, oldest bytes first.
func (r *ring) parts() ([]byte, []byte) { return r.buf[r.start:], r.buf[:r.start] }
