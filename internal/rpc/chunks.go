package rpc

import (
	"errors"
	"fmt"
	"io"
)

// downloadBytes is how much of a file one message has.
const downloadBytes = 64 << 10

// chunkReader reads the bytes out of the messages of an upload. It holds one message
// at a time.
type chunkReader struct {
	// recv returns the next message's bytes; false for a message that has none.
	recv func() ([]byte, bool, error)
	rest []byte
	err  error // of the stream or of a wrong message; not io.EOF
}

// Read implements io.Reader.
func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		data, ok, err := r.recv()
		switch {
		case errors.Is(err, io.EOF):
			return 0, io.EOF
		case err != nil:
			r.err = err
		case !ok:
			r.err = fieldError("part", "is no data: after the first message only data may follow")
		case len(data) > maxChunkBytes:
			r.err = fieldError("data", "has %d bytes: want at most %d in one message", len(data), maxChunkBytes)
		default:
			r.rest = data
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// chunkWriter sends what is written in messages of at most downloadBytes.
type chunkWriter struct{ send func([]byte) error }

// Write implements io.Writer.
func (w chunkWriter) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		part := p[sent:min(sent+downloadBytes, len(p))]
		if err := w.send(part); err != nil {
			return sent, fmt.Errorf("send: %w", err)
		}
		sent += len(part)
	}
	return sent, nil
}
