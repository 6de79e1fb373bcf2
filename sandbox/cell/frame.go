package cell

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// MaxFrameBytes bounds one frame: its kind and its body. What does not fit (an
// argv and environment over a mebibyte) is refused by the sender.
const MaxFrameBytes = 1 << 20

// headerBytes is the length prefix: a big-endian count of kind and body.
const headerBytes = 4

// ErrProtocol is wrapped by every error that says the other end broke the
// protocol. After it the connection is of no use and the cell must be destroyed.
var ErrProtocol = errors.New("cell protocol broken")

// ErrTooLarge is wrapped when a message does not fit a frame.
var ErrTooLarge = errors.New("message exceeds the frame bound")

// Kind tells what a frame carries.
type Kind uint8

// Kinds of frames; the first group is sent by the host, the second by init.
const (
	KindPrepare    Kind = 1
	KindExec       Kind = 2
	KindStdin      Kind = 3
	KindStdinClose Kind = 4
	KindKill       Kind = 5
	KindRelease    Kind = 6
	KindSignal     Kind = 7
	KindResize     Kind = 8
	KindDoors      Kind = 9

	KindHello    Kind = 64
	KindPrepared Kind = 65
	KindStarted  Kind = 66
	KindOutput   Kind = 67
	KindStdinAck Kind = 68
	KindExit     Kind = 69
	KindPoisoned Kind = 70
)

// FrameWriter writes frames, each with one Write. It is safe for concurrent use.
type FrameWriter struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte // guarded by mu
}

// NewFrameWriter writes frames to w.
func NewFrameWriter(w io.Writer) *FrameWriter { return &FrameWriter{w: w} }

// Write sends one frame whose body is the parts one after another. It returns
// ErrTooLarge, and writes nothing, when they do not fit. Its error wraps
// ErrNotSent unless a part of the frame may be out.
func (f *FrameWriter) Write(kind Kind, parts ...[]byte) error {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	if n > MaxFrameBytes {
		return fmt.Errorf("frame kind %d of %d bytes, at most %d: %w: %w", kind, n, MaxFrameBytes, ErrTooLarge, ErrNotSent)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buf = binary.BigEndian.AppendUint32(f.buf[:0], uint32(n))
	f.buf = append(f.buf, byte(kind))
	for _, p := range parts {
		f.buf = append(f.buf, p...)
	}
	if out, err := f.w.Write(f.buf); err != nil && out == 0 {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	} else if err != nil {
		return err
	}
	return nil
}

// What a FrameReader reads at once: little while little comes, since whoever has
// many of them mostly waits for all; while there is more, a whole frame of output.
const (
	littleBytes = 4 << 10
	muchBytes   = OutputChunkBytes + littleBytes
)

// FrameReader reads frames, and as much ahead as there is. While it waits for one after
// others than output it holds littleBytes. It is not safe for concurrent use.
type FrameReader struct {
	r        io.Reader
	little   []byte // made once
	buf      []byte // little, or a larger one while much comes
	from, to int    // of what is in buf and was not given yet
	much     bool   // output comes, and filled buf
}

// NewFrameReader reads frames from r, which need not be buffered.
func NewFrameReader(r io.Reader) *FrameReader {
	little := make([]byte, littleBytes)
	return &FrameReader{r: r, little: little, buf: little}
}

// Next returns the next frame. The body is valid until the following call. At
// the end of the stream between two frames it returns io.EOF, within a frame
// io.ErrUnexpectedEOF; a length outside the bound is an ErrProtocol.
func (f *FrameReader) Next() (Kind, []byte, error) {
	if err := f.fill(headerBytes); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(f.buf[f.from:])
	if n < 1 || n > MaxFrameBytes {
		return 0, nil, fmt.Errorf("frame of %d bytes, want 1 to %d: %w", n, MaxFrameBytes, ErrProtocol)
	}
	whole := headerBytes + int(n)
	if err := f.fill(whole); err != nil {
		return 0, nil, err
	}
	frame := f.buf[f.from+headerBytes : f.from+whole]
	f.from += whole
	kind := Kind(frame[0])
	f.much = f.much && (kind == KindOutput || f.from < f.to)
	return kind, frame[1:], nil
}

// fill reads until n bytes are there that were not given yet.
func (f *FrameReader) fill(n int) error {
	have := f.to - f.from
	if have >= n {
		return nil
	}
	f.room(n)
	got, err := io.ReadAtLeast(f.r, f.buf[f.to:], n-have)
	f.to += got
	f.much = f.much || n > littleBytes || f.to == len(f.buf)
	if have > 0 && errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// room makes room for n bytes, of which those that are there come first.
func (f *FrameReader) room(n int) {
	to := f.buf
	switch {
	case !f.much && n <= littleBytes:
		to = f.little
	case len(f.buf) < n || len(f.buf) > muchBytes || f.to == len(f.buf) && len(f.buf) < muchBytes:
		// It is too small, or was for one large frame, or could take more at once.
		to = make([]byte, max(n, min(4*len(f.buf), muchBytes)))
	}
	f.to = copy(to, f.buf[f.from:f.to])
	f.buf, f.from = to, 0
}

// FrameBuffer takes bytes as they come and gives frames as they are whole, for a
// reader that must not block. It is not safe for concurrent use.
type FrameBuffer struct {
	buf  []byte
	read int // start of what was not given yet
}

// Space returns room for at least n more bytes; Advance says how many of them
// were filled.
func (f *FrameBuffer) Space(n int) []byte {
	if f.read > 0 {
		f.buf = f.buf[:copy(f.buf, f.buf[f.read:])]
		f.read = 0
	}
	if cap(f.buf)-len(f.buf) < n {
		f.buf = append(make([]byte, 0, 2*cap(f.buf)+n), f.buf...)
	}
	return f.buf[len(f.buf):cap(f.buf)]
}

// Advance takes n bytes that were written to Space.
func (f *FrameBuffer) Advance(n int) { f.buf = f.buf[:len(f.buf)+n] }

// Next returns the next whole frame; ok is false when there is none yet. The body
// is valid until the following call of any method.
func (f *FrameBuffer) Next() (kind Kind, body []byte, ok bool, err error) {
	rest := f.buf[f.read:]
	if len(rest) < headerBytes {
		return 0, nil, false, nil
	}
	n := binary.BigEndian.Uint32(rest)
	if n < 1 || n > MaxFrameBytes {
		return 0, nil, false, fmt.Errorf("frame of %d bytes, want 1 to %d: %w", n, MaxFrameBytes, ErrProtocol)
	}
	if len(rest) < headerBytes+int(n) {
		return 0, nil, false, nil
	}
	f.read += headerBytes + int(n)
	frame := rest[headerBytes : headerBytes+int(n)]
	return Kind(frame[0]), frame[1:], true, nil
}

// AppendFrame appends a frame to b whose body is the parts one after another. A
// frame beyond MaxFrameBytes is a mistake of the caller.
func AppendFrame(b []byte, kind Kind, parts ...[]byte) []byte {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = append(b, byte(kind))
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// LengthenFrame makes the n bytes that are behind b, in its capacity, the end of the frame
// that begins at an index of b and reaches to its end.
func LengthenFrame(b []byte, at, n int) []byte {
	b = b[:len(b)+n]
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-headerBytes)) //nolint:gosec // at most MaxFrameBytes, as for AppendFrame
	return b
}
