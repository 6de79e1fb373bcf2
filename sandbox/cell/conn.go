package cell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Errors of the host end, beside ErrProtocol and ErrTooLarge.
var (
	// ErrPoisoned says that init itself wants the cell to be destroyed.
	ErrPoisoned = errors.New("cell is poisoned")
	// ErrClosed says that the connection has ended: init is gone, or Close was called.
	ErrClosed = errors.New("cell connection closed")
	// ErrUnresponsive says that init did not answer in time; destroy the cell.
	ErrUnresponsive = errors.New("cell does not respond")
	// ErrNotReady is wrapped by an error of Exec whose Ready has failed: the program
	// has surely not run. The cell is sound unless the Exit beside it says otherwise.
	ErrNotReady = errors.New("not ready")
	// ErrNotSent is wrapped by an error of Exec when init got nothing of the request, or
	// was not told that a held program may run: it has surely not run, and nothing was
	// read of its stdin. Without it the program may have run.
	ErrNotSent = errors.New("nothing was sent to the cell")
)

// unresponsiveAfter is how long after the deadline of a call, or after its
// cancellation, init may take to report its end. It kills at once and gives the
// kernel two seconds, so this is not reached by a cell that works.
const unresponsiveAfter = 10 * time.Second

// Handlers are told of a running call, from one goroutine at a time. They MUST
// NOT block for long: nothing else is read from the cell meanwhile. Both are
// optional.
type Handlers struct {
	Started func(Started)
	// Output gets the chunks that are kept, in order per stream; the data is only
	// valid during the call.
	Output func(Stream, int64, []byte)
}

// Conn is the host's end of a cell, safe for concurrent use. One call runs at a
// time, and one goroutine at a time waits for a stage.
//
// After any error other than the caller's own (a cancelled context in Hello or
// Prepare, an Exec that is not valid) the cell must be destroyed.
type Conn struct {
	r   io.ReadCloser
	w   io.WriteCloser
	out *FrameWriter

	hello    chan Hello    // one element
	prepared chan Prepared // one element
	gone     chan struct{} // closed when the reader has ended

	mu    sync.Mutex
	asked bool // guarded by mu; a Prepared is to come or unread
	ready bool // guarded by mu; a Prepared was handed out and not yet used
	slot  int  // guarded by mu; of that, or of the running call

	doors [Slots]io.WriteCloser // guarded by mu; nil: there are none
	seq   uint64                // guarded by mu
	call  *hostCall             // guarded by mu; the running call
	err   error                 // guarded by mu; why the reader has ended
}

// NewConn starts to read frames from r, which is init's stdout; w is its stdin.
// Close closes both; closing r MUST end a Read that is under way.
func NewConn(r io.ReadCloser, w io.WriteCloser) *Conn {
	c := &Conn{
		r: r, w: w, out: NewFrameWriter(w),
		hello: make(chan Hello, 1), prepared: make(chan Prepared, 1), gone: make(chan struct{}),
	}
	go c.read()
	return c
}

// Hello waits for init's first frame. It is to be called once.
func (c *Conn) Hello(ctx context.Context) (Hello, error) {
	select {
	case h := <-c.hello:
		if h.Protocol != ProtocolVersion {
			return h, fmt.Errorf("init speaks protocol %d, this host %d: %w", h.Protocol, ProtocolVersion, ErrProtocol)
		}
		return h, nil
	case <-c.gone:
		return Hello{}, c.reason()
	case <-ctx.Done():
		return Hello{}, context.Cause(ctx)
	}
}

// UseDoors hands over the writing ends of the pipes that init was given with a Doors
// frame. A held program is let run by the one of its slot from now on: it waits there
// itself, and no other process has to be woken for it. It is to be called before the
// first Prepare. Close closes them.
func (c *Conn) UseDoors(doors [Slots]io.WriteCloser) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doors = doors
	if c.err != nil {
		c.closeDoors()
	}
}

// closeDoors lets nobody pass any more. c.mu is held.
func (c *Conn) closeDoors() {
	for _, d := range c.doors {
		if d != nil {
			_ = d.Close() // who waits there has ended, or will
		}
	}
}

// Prepare waits for a stage, asking for one as given unless Exec.Next has done so.
// It may be called while an Exec is running, for the other slot, and again after
// ctx has ended. Each Exec needs a Prepare before it.
func (c *Conn) Prepare(ctx context.Context, s Stage) (Prepared, error) {
	c.mu.Lock()
	ask := !c.asked
	c.asked = true
	c.mu.Unlock()
	if ask {
		if err := c.out.Write(KindPrepare, AppendStage(nil, s)); err != nil {
			return Prepared{}, c.writeError(err)
		}
	}
	select {
	case p := <-c.prepared:
		c.mu.Lock()
		c.asked, c.ready, c.slot = false, true, p.Slot
		c.mu.Unlock()
		return p, nil
	case <-c.gone:
		return Prepared{}, c.reason()
	case <-ctx.Done():
		return Prepared{}, context.Cause(ctx)
	}
}

// Exec runs one program in the stage that was prepared and returns when its whole
// tree is gone and all its output was handed over. When ctx ends, init kills the
// call and Exec still returns its Exit, with Cancelled. A program that cannot be
// started is an Exit with StartError. An error that wraps ErrNotSent or ErrNotReady
// says that the program has surely not run; after any other it may have.
//
// Exec does not wait for a Read of x.Stdin that is under way when the call ends;
// such a Read's bytes are lost.
func (c *Conn) Exec(ctx context.Context, x Exec, h Handlers) (Exit, error) {
	if err := x.Validate(); err != nil {
		return Exit{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	call := newHostCall(x, h)
	seq, err := c.begin(call, x.Next != nil)
	if err != nil {
		return Exit{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	defer call.end()
	if err := c.out.Write(KindExec, AppendExec(nil, seq, x, call.door != nil)); err != nil {
		if errors.Is(err, ErrTooLarge) {
			c.undo(x.Next != nil) // the stage is still there
			return Exit{}, err
		}
		err = c.writeError(err)
		_ = c.fail(err) // half a frame may be out; that is the error
		<-c.gone        // the handlers are told nothing after Exec has returned
		if x.Ready != nil && !errors.Is(err, ErrNotSent) {
			err = fmt.Errorf("%w: %w", ErrNotSent, err) // without a release nothing runs
		}
		return Exit{}, err
	}
	var refused error
	if x.Ready != nil {
		if refused, err = c.release(call, seq, &x); err != nil {
			return Exit{}, err
		}
	}
	if x.Stdin != nil && refused == nil { // before, another cell may yet need it
		go c.feed(call, seq, x.Stdin)
	}
	if x.Control != nil && refused == nil {
		go c.control(call, seq, x.Control)
	}
	exit, err := c.await(ctx, call, x.WallTime)
	if refused != nil {
		err = errors.Join(fmt.Errorf("%w: %w", ErrNotReady, refused), err)
	}
	return exit, err
}

// release asks whether the program may run, and lets it. A refusal is never an
// error of the connection: what comes of the cell, await will tell.
func (c *Conn) release(call *hostCall, seq uint64, x *Exec) (refused, err error) {
	if refused = x.Ready(); refused != nil {
		if err := c.out.Write(KindKill, AppendSeq(nil, seq), []byte("not ready")); err != nil {
			_ = c.fail(c.writeError(err)) // await reports it
		}
		return refused, nil
	}
	if why := c.reason(); why != nil { // it broke meanwhile
		<-c.gone
		return nil, fmt.Errorf("%w: %w", ErrNotSent, why)
	}
	call.held.Store(false)
	call.untold.Store(true)
	if call.door == nil {
		err = c.tellReleased(call, seq)
	} else {
		err = call.letPass(seq)
	}
	if err != nil {
		err = c.writeError(err)
		_ = c.fail(err) // that is the error
		<-c.gone        // the handlers are told nothing after Exec has returned
		return nil, err
	}
	// Init finds out by itself that a program was let pass, soon, or with its end. It is told
	// where somebody may have something for it.
	if x.Live || x.Stdin != nil || x.Terminal != nil || x.Control != nil {
		if err := c.tellReleased(call, seq); err != nil {
			_ = c.fail(fmt.Errorf("tell init of a program that runs: %v", err)) // which may have run, whatever was not sent; await reports it
		}
	}
	return nil, nil
}

// tellReleased tells init that the program was let run, once.
func (c *Conn) tellReleased(call *hostCall, seq uint64) error {
	if !call.untold.CompareAndSwap(true, false) {
		return nil
	}
	return c.out.Write(KindRelease, AppendSeq(nil, seq))
}

// await waits for the end of the call.
func (c *Conn) await(ctx context.Context, call *hostCall, wall time.Duration) (Exit, error) {
	timer := time.NewTimer(wall + unresponsiveAfter)
	defer timer.Stop()
	done := ctx.Done()
	for {
		select {
		case exit := <-call.exit:
			return exit, nil
		case <-c.gone:
			select { // an Exit that came just before the end counts
			case exit := <-call.exit:
				return exit, nil
			default:
				return Exit{}, c.reason()
			}
		case <-done:
			done = nil
			timer.Reset(unresponsiveAfter)
			go func() { _ = c.Kill(context.Cause(ctx).Error()) }() // a failed write ends the reader too
		case <-timer.C:
			_ = c.fail(fmt.Errorf("no end of the call %v after its deadline or cancellation: %w", unresponsiveAfter, ErrUnresponsive)) // that is the error
			<-c.gone
			return Exit{}, c.reason()
		}
	}
}

// Kill ends the running call, if there is one; reason is for init's log.
func (c *Conn) Kill(reason string) error {
	c.mu.Lock()
	seq, call := c.seq, c.call
	c.mu.Unlock()
	if call == nil {
		return nil
	}
	if err := c.tellReleased(call, seq); err != nil { // or init would take it for one that never ran
		return c.writeError(err)
	}
	if len(reason) > 256 {
		reason = reason[:256]
	}
	if err := c.out.Write(KindKill, AppendSeq(nil, seq), []byte(reason)); err != nil {
		return c.writeError(err)
	}
	return nil
}

// Close ends the connection and waits for the reader. The end of its stdin makes
// init exit, and with it everything in the cell. A running Exec returns ErrClosed.
func (c *Conn) Close() error {
	err := c.fail(ErrClosed)
	<-c.gone
	return err
}

// fail records why the connection is of no use any more and closes it.
func (c *Conn) fail(why error) error {
	c.mu.Lock()
	if c.err == nil {
		c.err = why
	}
	c.closeDoors()
	c.mu.Unlock()
	return errors.Join(c.w.Close(), c.r.Close())
}

// Ended reports whether the connection is of no use any more, for whatever reason.
func (c *Conn) Ended() bool { return c.reason() != nil }

func (c *Conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// writeError prefers what the reader knows to "broken pipe", and keeps ErrNotSent.
func (c *Conn) writeError(err error) error {
	select {
	case <-c.gone:
		if errors.Is(err, ErrNotSent) {
			return fmt.Errorf("%w: %w", ErrNotSent, c.reason())
		}
		return c.reason()
	default:
		return fmt.Errorf("write to the cell: %w", err)
	}
}

func (c *Conn) begin(call *hostCall, next bool) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return 0, c.err
	case c.call != nil:
		return 0, errors.New("a call is already running in this cell")
	case !c.ready:
		return 0, errors.New("exec without a prepared stage: call Prepare before")
	}
	c.seq++
	c.call, c.ready, c.asked = call, false, c.asked || next
	if call.held.Load() {
		call.door = c.doors[c.slot]
	}
	return c.seq, nil
}

// undo takes back begin.
func (c *Conn) undo(next bool) {
	c.mu.Lock()
	c.call, c.ready, c.asked = nil, true, c.asked && !next
	c.mu.Unlock()
}

func (c *Conn) finish() {
	c.mu.Lock()
	c.call = nil
	c.mu.Unlock()
}

// read is the only reader of the cell; it owns gone.
func (c *Conn) read() {
	defer close(c.gone)
	frames := NewFrameReader(c.r)
	for {
		kind, body, err := frames.Next()
		if err == nil {
			err = c.dispatch(kind, body)
		} else {
			err = fmt.Errorf("read from the cell: %w: %w", err, ErrClosed)
		}
		if err != nil {
			_ = c.fail(err) // the first reason stays, closing twice is harmless
			return
		}
	}
}

func (c *Conn) dispatch(kind Kind, body []byte) error {
	switch kind {
	case KindHello:
		h, err := DecodeHello(body)
		if err != nil {
			return err
		}
		return offer(c.hello, h, "hello")
	case KindPrepared:
		p, err := DecodePrepared(body)
		if err != nil {
			return err
		}
		return offer(c.prepared, p, "prepared")
	case KindPoisoned:
		return fmt.Errorf("%q: %w", truncate(body, 256), ErrPoisoned)
	}
	c.mu.Lock()
	call, seq := c.call, c.seq
	c.mu.Unlock()
	if call == nil {
		return fmt.Errorf("frame kind %d without a call: %w", kind, ErrProtocol)
	}
	if kind != KindExit {
		return call.dispatch(kind, seq, body)
	}
	exit, err := DecodeExit(body)
	if err != nil {
		return err
	}
	c.finish()
	call.exit <- exit // has room for the one Exit of a call
	return nil
}

func offer[T any](ch chan T, v T, what string) error {
	select {
	case ch <- v:
		return nil
	default:
		return fmt.Errorf("%s came twice: %w", what, ErrProtocol)
	}
}

func truncate(b []byte, n int) []byte { return b[:min(len(b), n)] }
