//go:build linux

package main

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// volume counts the output of both streams together.
type volume struct {
	total    atomic.Int64
	limit    int64 // 0 = none
	exceeded func()
}

func (v *volume) add(n int64) {
	if total := v.total.Add(n); v.limit > 0 && total > v.limit {
		v.exceeded()
	}
}

// pump takes one output stream to the host: its first bytes at once, of the rest
// the last ones when the stream has ended. It holds no more than keep/2 bytes.
type pump struct {
	server *server
	stream cell.Stream
	from   *os.File
	volume *volume

	head  int64 // bytes to be sent at once
	total int64 // bytes read; of others after run has returned
	tail  ring
}

func newPump(s *server, stream cell.Stream, from *os.File, keep int64, v *volume) *pump {
	tail := keep / 2
	return &pump{server: s, stream: stream, from: from, volume: v, head: keep - tail, tail: ring{size: int(tail)}}
}

// run reads to the end of the stream, which comes when no process has it open.
func (p *pump) run() {
	buf := make([]byte, cell.OutputChunkBytes)
	for {
		n, err := p.from.Read(buf)
		data := buf[:n]
		if p.total < p.head {
			now := min(int64(n), p.head-p.total)
			p.send(p.total, data[:now])
			data = data[now:]
		}
		p.tail.add(data)
		p.total += int64(n)
		if n > 0 {
			p.volume.add(int64(n))
		}
		if err != nil {
			return // the end, or given up
		}
	}
}

// giveUp ends run although somebody still has the stream open.
func (p *pump) giveUp() {
	if err := p.from.SetReadDeadline(time.Now()); err != nil {
		logf("give up stream %d: %v", p.stream, err)
	}
}

// flush sends the tail.
func (p *pump) flush() {
	a, b := p.tail.parts()
	offset := p.total - int64(len(a)+len(b))
	for _, part := range [][]byte{a, b} {
		for len(part) > 0 {
			n := min(len(part), cell.OutputChunkBytes)
			p.send(offset, part[:n])
			offset += int64(n)
			part = part[n:]
		}
	}
}

func (p *pump) send(offset int64, data []byte) {
	p.server.send(cell.KindOutput, cell.AppendOutputHeader(make([]byte, 0, 16), p.stream, offset), data)
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
