package cell

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
)

// hostCall is the host's view of one running call.
type hostCall struct {
	handlers Handlers
	keep     int64     // bytes per stream that the cell may send
	door     io.Writer // that of its slot, by which it is let run; nil: there is none

	// Only touched by the reader of the connection.
	started bool
	next    [3]int64 // lowest offset that may come, by stream
	sent    [3]int64 // bytes received, by stream

	exit chan Exit     // one element
	done chan struct{} // closed when Exec returns

	held   atomic.Bool // the program was not released yet
	untold atomic.Bool // it was, and init was not told

	mu     sync.Mutex
	room   *sync.Cond // signals credit and over
	credit int64      // guarded by mu
	over   bool       // guarded by mu
}

func newHostCall(x Exec, h Handlers) *hostCall {
	keep := x.OutputBytes
	if x.Live {
		keep = math.MaxInt64
	}
	c := &hostCall{handlers: h, keep: keep, exit: make(chan Exit, 1), done: make(chan struct{}), credit: StdinWindowBytes}
	c.room = sync.NewCond(&c.mu)
	c.held.Store(x.Ready != nil)
	return c
}

// letPass opens the call's door for it: past init, which is not woken for it.
func (c *hostCall) letPass(seq uint64) error {
	n, err := c.door.Write(binary.NativeEndian.AppendUint64(nil, seq))
	if err != nil && n == 0 {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	return err
}

// end lets those go that feed the call.
func (c *hostCall) end() {
	close(c.done)
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.room.Broadcast()
}

// take waits for credit and returns how much of n may be sent, 0 when the call is over.
func (c *hostCall) take(n int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.credit == 0 && !c.over {
		c.room.Wait()
	}
	if c.over {
		return 0
	}
	n = min(n, c.credit)
	c.credit -= n
	return n
}

func (c *hostCall) give(n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.credit+n > StdinWindowBytes {
		return fmt.Errorf("stdin credit beyond the window of %d bytes: %w", StdinWindowBytes, ErrProtocol)
	}
	c.credit += n
	c.room.Broadcast()
	return nil
}

// dispatch handles one frame of the running call. It holds the cell to what was
// asked for: chunks in order, and never more bytes than the call may keep.
func (c *hostCall) dispatch(kind Kind, seq uint64, body []byte) error {
	if c.held.Load() && kind != KindStdinAck {
		return fmt.Errorf("frame kind %d of a program that was not released: %w", kind, ErrProtocol)
	}
	switch kind {
	case KindStarted:
		s, err := DecodeStarted(body)
		if err != nil {
			return err
		}
		if c.started {
			return fmt.Errorf("started came twice: %w", ErrProtocol)
		}
		c.started = true
		if c.handlers.Started != nil {
			c.handlers.Started(s)
		}
		return nil
	case KindOutput:
		o, err := DecodeOutput(body)
		if err != nil {
			return err
		}
		return c.output(o)
	case KindStdinAck:
		of, n, err := DecodeCredit(body)
		if err != nil {
			return err
		}
		if of != seq {
			return fmt.Errorf("stdin credit for call %d in call %d: %w", of, seq, ErrProtocol)
		}
		return c.give(n)
	}
	return fmt.Errorf("unknown frame kind %d: %w", kind, ErrProtocol)
}

func (c *hostCall) output(o Output) error {
	n := int64(len(o.Data))
	if o.Offset < c.next[o.Stream] {
		return fmt.Errorf("output at offset %d after %d: %w", o.Offset, c.next[o.Stream], ErrProtocol)
	}
	c.next[o.Stream] = o.Offset + n
	c.sent[o.Stream] += n
	if c.sent[o.Stream] > c.keep {
		return fmt.Errorf("more than %d bytes of output kept: %w", c.keep, ErrProtocol)
	}
	if c.handlers.Output != nil && n > 0 {
		c.handlers.Output(o.Stream, o.Offset, o.Data)
	}
	return nil
}

// feed sends stdin within the credit, then its end. It returns when stdin has
// ended, the call is over or the connection is dead.
func (c *Conn) feed(call *hostCall, seq uint64, stdin io.Reader) {
	head := AppendSeq(nil, seq)
	buf := make([]byte, StdinChunkBytes)
	for {
		n, err := stdin.Read(buf)
		if !c.send(call, head, buf[:n]) {
			return
		}
		if err != nil {
			break // its end; a broken reader is an end too, as with a real pipe
		}
	}
	_ = c.out.Write(KindStdinClose, head) // a dead connection is the reader's to report
}

func (c *Conn) send(call *hostCall, head, data []byte) bool {
	for len(data) > 0 {
		n := call.take(int64(len(data)))
		if n == 0 {
			return false
		}
		if c.out.Write(KindStdin, head, data[:n]) != nil {
			return false
		}
		data = data[n:]
	}
	call.mu.Lock()
	defer call.mu.Unlock()
	return !call.over
}
