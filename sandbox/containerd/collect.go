package containerd

import (
	"sync"

	"github.com/sandgate/sandgate/sandbox"
)

// blockBytes is what output is gathered in: the most that comes at once.
const blockBytes = 128 << 10

type block [blockBytes]byte

// blocks are those that no call uses at present. A buffer that grows with a call's
// output would leave several times as much for the garbage collector, which costs
// all calls more than the copying does.
type blocks struct{ pool sync.Pool }

func (b *blocks) get() *block {
	if x, ok := b.pool.Get().(*block); ok {
		return x
	}
	return new(block)
}

// collector keeps the chunks of one stream: those from offset 0 without a gap
// are the head, the rest the tail. The cell's connection bounds their sum.
type collector struct {
	blocks     *blocks
	head, tail gathered
	end        int64 // offset after the last chunk
	gap        bool

	live int64 // of a live call: what may be kept, half of it as head; 0: it is none
	last []byte
	next int // index of the oldest byte in last, once that is full
}

func (c *collector) add(offset int64, data []byte) {
	if c.live > 0 {
		c.end = offset + int64(len(data))
		c.addLive(offset, data)
		return
	}
	if offset != c.end {
		c.gap = true
		c.tail.drop(c.blocks) // only what follows the last gap is the tail
	}
	c.end = offset + int64(len(data))
	if c.gap {
		c.tail.add(c.blocks, data)
	} else {
		c.head.add(c.blocks, data)
	}
}

// addLive keeps the beginning and the end of what comes whole.
func (c *collector) addLive(offset int64, data []byte) {
	tail := int(c.live / 2)
	if left := c.live - int64(tail) - offset; left > 0 {
		n := min(int64(len(data)), left)
		c.head.add(c.blocks, data[:n])
		data = data[n:]
	}
	if len(data) > tail {
		data = data[len(data)-tail:]
	}
	if room := tail - len(c.last); room > 0 {
		n := min(room, len(data))
		c.last = append(c.last, data[:n]...)
		data = data[n:]
	}
	for len(data) > 0 {
		n := copy(c.last[c.next:], data)
		data, c.next = data[n:], (c.next+n)%tail
	}
}

// output is asked once, when no more is to come.
func (c *collector) output(total int64) sandbox.Output {
	if c.live > 0 {
		c.tail.add(c.blocks, c.last[c.next:])
		c.tail.add(c.blocks, c.last[:c.next])
	}
	return sandbox.Output{Head: c.head.take(c.blocks), Tail: c.tail.take(c.blocks), TotalBytes: max(total, c.end)}
}

// gathered is bytes in blocks.
type gathered struct {
	full []*block
	last *block // nil if there is none
	n    int    // bytes in last
}

func (g *gathered) add(from *blocks, data []byte) {
	for len(data) > 0 {
		if g.n == blockBytes {
			g.full, g.last = append(g.full, g.last), nil
		}
		if g.last == nil {
			g.last, g.n = from.get(), 0
		}
		n := copy(g.last[g.n:], data)
		g.n, data = g.n+n, data[n:]
	}
}

// take returns what was gathered, as memory of its own, and lets go of the blocks.
func (g *gathered) take(to *blocks) []byte {
	if g.last == nil {
		return nil
	}
	out := make([]byte, 0, len(g.full)*blockBytes+g.n)
	for _, b := range g.full {
		out = append(out, b[:]...)
	}
	out = append(out, g.last[:g.n]...)
	g.drop(to)
	return out
}

func (g *gathered) drop(to *blocks) {
	for _, b := range g.full {
		to.pool.Put(b)
	}
	if g.last != nil {
		to.pool.Put(g.last)
	}
	*g = gathered{}
}
