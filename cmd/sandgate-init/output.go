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

	much bool      // the last read got much
	over bool      // nothing is left to be read
	rest [2][]byte // of the tail, once it is being sent
	sent bool      // rest was cut
}

// newPump may use room, whatever is in it.
func newPump(stream cell.Stream, keep int64, room []byte) pump {
	tail := keep / 2
	return pump{stream: stream, head: keep - tail, tail: ring{size: int(tail), room: room}}
}

// roomBytes is the most that is kept from one call to the next for each stream's tail.
const roomBytes = 1 << 20

// room is what the pump of a later call may use: memory that is new each time has to be
// got from the kernel page by page, which took as long as all else that is done for a
// mebibyte of output.
func (p *pump) room() []byte {
	if len(p.tail.room) > roomBytes {
		p.tail.letGo()
	}
	return p.tail.room
}

// rounds bounds how much is read before the host is looked at again.
const rounds = 8

// run reads what there is. ended says that it was all and that no process of the call is
// left; whether one has the stream open cannot be seen, since init has.
func (p *pump) run(c *call, s *server, fd int) (read int64, ended bool) {
	for range rounds {
		if s.waiting() >= outRoom {
			return read, false
		}
		n, err := p.read(c, s, fd)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return read, c.phase == draining
		case err != nil || n == 0:
			return read, true
		}
		read += int64(n)
		all := n < 4096 && !p.much // most likely; the end of the head or of the ring's memory may have cut it
		p.much = n >= muchBytes
		if all && c.phase != draining {
			break
		}
	}
	return read, false
}

// muchBytes in one read are worth it to read the next to where they are to go.
const muchBytes = 16 << 10

// read reads once, to the frame that takes it to the host or to the tail.
func (p *pump) read(c *call, s *server, fd int) (int, error) {
	left := p.head - p.total
	switch {
	case p.much && left > 0 && c.started == nil:
		return p.readHead(s, fd, int(min(left, cell.OutputChunkBytes)))
	case p.much && left <= 0 && p.tail.size >= cell.OutputChunkBytes:
		n, err := unix.Read(fd, p.tail.next(cell.OutputChunkBytes))
		if n > 0 {
			p.tail.added(n)
			p.total += int64(n)
		}
		return n, err
	}
	if s.buffer == nil {
		s.buffer = make([]byte, cell.OutputChunkBytes)
	}
	n, err := unix.Read(fd, s.buffer)
	if n <= 0 {
		return n, err
	}
	data := s.buffer[:n]
	if left > 0 {
		now := min(int64(n), left)
		c.tellStarted(s)
		p.send(s, p.total, data[:now])
		data = data[now:]
	}
	p.tail.add(data)
	p.total += int64(n)
	return n, err
}

// readHead reads at most n bytes to the end of what waits for the host, as a frame.
func (p *pump) readHead(s *server, fd, n int) (int, error) {
	// Room for all of it, so that send moves nothing: what it moved would be taken for
	// frames from before on.
	s.makeRoom(2*maxOutputHead + n)
	before := len(s.pending)
	s.send(cell.KindOutput, cell.AppendOutputHeader(make([]byte, 0, 16), p.stream, p.total))
	data := s.pending[len(s.pending) : len(s.pending)+n]
	got, err := unix.Read(fd, data)
	if got <= 0 {
		s.pending = s.pending[:before]
		return got, err
	}
	s.pending = cell.LengthenFrame(s.pending, before, got)
	p.total += int64(got)
	return got, err
}

// maxOutputHead is more than what a frame of output has before its data.
const maxOutputHead = 32

// flush sends the tail as far as there is room; done says that all of it went.
func (p *pump) flush(s *server) (done bool) {
	if !p.sent {
		p.rest[0], p.rest[1] = p.tail.parts()
		p.sent = true
	}
	for i := range p.rest {
		for len(p.rest[i]) > 0 {
			if s.waiting() >= outRoom {
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

// ring keeps the last size bytes that were added; the kernel gives it memory only as far
// as needed.
type ring struct {
	size  int
	room  []byte // its memory, or what it may be
	buf   []byte // what is kept, in room
	start int    // index of the oldest byte, once buf is full
}

// next is where up to n of the next bytes may be put; added says how many were. A ring
// that keeps nothing has no such place.
func (r *ring) next(n int) []byte {
	r.open()
	if have := len(r.buf); have < r.size {
		return r.buf[have:min(have+n, r.size)]
	}
	return r.buf[r.start:min(r.start+n, r.size)]
}

func (r *ring) added(n int) {
	if have := len(r.buf); have < r.size {
		r.buf = r.buf[:have+n]
		return
	}
	r.start = (r.start + n) % r.size
}

func (r *ring) add(p []byte) {
	if over := len(p) - r.size; over > 0 {
		p = p[over:]
	}
	for len(p) > 0 {
		n := copy(r.next(len(p)), p)
		r.added(n)
		p = p[n:]
	}
}

// open gets the ring its memory. It is none of Go's: to let that grow by megabytes for one
// call would take collections, each of which waits for init's loop to come out of its
// wait, and copies.
func (r *ring) open() {
	if r.buf != nil {
		return
	}
	if len(r.room) < r.size {
		r.letGo()
		var err error
		if r.room, err = unix.Mmap(-1, 0, r.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON); err != nil {
			r.room = make([]byte, r.size)
		} else if r.size >= hugeBytes {
			_ = unix.Madvise(r.room, unix.MADV_HUGEPAGE) // only quicker
		}
	}
	r.buf = r.room[:0:r.size]
}

// hugeBytes is the size of a large page.
const hugeBytes = 2 << 20

// letGo gives the memory back.
func (r *ring) letGo() {
	if len(r.room) > 0 {
		_ = unix.Munmap(r.room) // refuses what is Go's
	}
	r.room, r.buf = nil, nil
}

// parts returns what is kept, oldest bytes first.
func (r *ring) parts() ([]byte, []byte) { return r.buf[r.start:], r.buf[:r.start] }
