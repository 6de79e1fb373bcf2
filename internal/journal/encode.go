package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/containerd/errdefs"
)

// Appender is data of an entry that encodes itself.
type Appender interface {
	// AppendJSON appends a JSON document without line breaks to b. It is called once,
	// before Begin or Append returns.
	AppendJSON(b []byte) ([]byte, error)
}

// encodings is memory for what records are about, from its encoding until the writer
// has put it into a line.
type encodings struct{ pool sync.Pool }

// maxKept bounds what is kept for another record.
const maxKept = 64 << 10

// get returns empty memory.
func (e *encodings) get() *[]byte {
	if b, ok := e.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, 4<<10)
	return &b
}

// put takes memory back that get returned.
func (e *encodings) put(b *[]byte) {
	if b != nil && cap(*b) <= maxKept {
		*b = (*b)[:0]
		e.pool.Put(b)
	}
}

// encode encodes and masks what a record is about, into b as far as possible.
func encode(b *[]byte, data any) (json.RawMessage, error) {
	if data == nil {
		return nil, nil
	}
	if err := appendData(b, data); err != nil {
		return nil, fmt.Errorf("encode journal data: %w: %w", errdefs.ErrInvalidArgument, err)
	}
	raw := MaskJSON(*b)
	if len(raw) > maxRecordBytes-4096 {
		return nil, fmt.Errorf("journal data is %d bytes, at most %d: %w", len(raw), maxRecordBytes-4096, errdefs.ErrInvalidArgument)
	}
	return raw, nil
}

func appendData(b *[]byte, data any) (err error) {
	if own, ok := data.(Appender); ok {
		*b, err = own.AppendJSON(*b)
		return err
	}
	buf := bytes.NewBuffer(*b)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		return err
	}
	*b = buf.Bytes()[:buf.Len()-1] // without its newline
	return nil
}
