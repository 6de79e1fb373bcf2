package rpc

import (
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

// outputMessage is an ExecuteStreamResponse with an output event, of which codec
// sends the data from where it is. It is sent once.
type outputMessage struct {
	stream sandbox.Stream
	offset int64
	data   mem.Buffer
}

// newOutput copies the data, which its observer may not keep.
func newOutput(chunks *chunkPool, stream sandbox.Stream, offset int64, data []byte) *outputMessage {
	m := &outputMessage{stream: stream, offset: offset}
	if len(data) <= maxEventBytes/2 {
		m.data = mem.SliceBuffer(append([]byte(nil), data...)) // a buffer of the pool would hold much for little
		return m
	}
	m.data = mem.Copy(data, chunks)
	return m
}

// Fields of the messages; a test compares what comes of them with the contract.
const (
	fieldResponseOutput protowire.Number = 3
	fieldOutputStream   protowire.Number = 1
	fieldOutputOffset   protowire.Number = 2
	fieldOutputData     protowire.Number = 3
)

// encode returns the message on the wire. The data is gRPC's from then on.
func (m *outputMessage) encode() mem.BufferSlice {
	event := make([]byte, 0, 32)
	if v := streamProto(m.stream); v != sandgatev1.Stream_STREAM_UNSPECIFIED {
		event = protowire.AppendVarint(protowire.AppendTag(event, fieldOutputStream, protowire.VarintType), uint64(v)) //nolint:gosec // a small number
	}
	if m.offset > 0 {
		event = protowire.AppendVarint(protowire.AppendTag(event, fieldOutputOffset, protowire.VarintType), uint64(m.offset))
	}
	n := m.data.Len()
	event = protowire.AppendVarint(protowire.AppendTag(event, fieldOutputData, protowire.BytesType), uint64(n)) //nolint:gosec // positive
	head := protowire.AppendTag(make([]byte, 0, 48), fieldResponseOutput, protowire.BytesType)
	head = append(protowire.AppendVarint(head, uint64(len(event)+n)), event...) //nolint:gosec // positive
	return mem.BufferSlice{mem.SliceBuffer(head), m.data}
}

// largeResult is from how much output on a result is encoded without copying it: for
// less the copy takes no longer than what is spared.
const largeResult = 16 << 10

// Fields of the messages; a test compares what comes of them with the contract.
const (
	fieldExecuteResult protowire.Number = 1
	fieldStreamResult  protowire.Number = 4
	fieldAttachResult  protowire.Number = 2

	fieldResultStdout    protowire.Number = 7
	fieldResultStderr    protowire.Number = 8
	fieldOutputHead      protowire.Number = 1
	fieldOutputTail      protowire.Number = 2
	fieldOutputTotal     protowire.Number = 3
	fieldOutputTruncated protowire.Number = 4
)

// largeResultOf returns the result with much output that is all that a message has, and
// the number of its field; nil if there is none.
func largeResultOf(v any) (*sandgatev1.Result, protowire.Number) {
	var r *sandgatev1.Result
	var field protowire.Number
	switch m := v.(type) {
	case *sandgatev1.ExecuteResponse:
		if m.GetRunning() == nil {
			r, field = m.GetResult(), fieldExecuteResult
		}
	case *sandgatev1.ExecuteStreamResponse:
		r, field = m.GetResult(), fieldStreamResult
	case *sandgatev1.AttachResponse:
		r, field = m.GetResult(), fieldAttachResult
	}
	size := 0
	for _, o := range []*sandgatev1.Output{r.GetStdout(), r.GetStderr()} {
		size += len(o.GetHead()) + len(o.GetTail())
	}
	if size < largeResult {
		return nil, 0
	}
	return r, field
}

// encodeResult returns a message on the wire that has nothing but a result. The output in
// it is gRPC's to read from then on, and not copied. Nobody else may use the result
// meanwhile.
func encodeResult(r *sandgatev1.Result, field protowire.Number) (mem.BufferSlice, error) {
	stdout, stderr := r.Stdout, r.Stderr //nolint:protogetter // put back below
	r.Stdout, r.Stderr = nil, nil
	rest, err := protobuf.Marshal(r)
	r.Stdout, r.Stderr = stdout, stderr
	if err != nil {
		return nil, err
	}
	parts := encodeOutput(mem.BufferSlice{mem.SliceBuffer(rest)}, fieldResultStdout, stdout)
	parts = encodeOutput(parts, fieldResultStderr, stderr)
	head := protowire.AppendTag(make([]byte, 0, 16), field, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(parts.Len())) //nolint:gosec // positive
	return append(mem.BufferSlice{mem.SliceBuffer(head)}, parts...), nil
}

// encodeOutput adds a field to the parts.
func encodeOutput(parts mem.BufferSlice, field protowire.Number, o *sandgatev1.Output) mem.BufferSlice {
	if o == nil {
		return parts
	}
	var inner mem.BufferSlice
	for _, data := range []struct {
		field protowire.Number
		bytes []byte
	}{{fieldOutputHead, o.GetHead()}, {fieldOutputTail, o.GetTail()}} {
		if len(data.bytes) > 0 {
			head := protowire.AppendTag(make([]byte, 0, 16), data.field, protowire.BytesType)
			head = protowire.AppendVarint(head, uint64(len(data.bytes)))
			inner = append(inner, mem.SliceBuffer(head), mem.SliceBuffer(data.bytes))
		}
	}
	end := make([]byte, 0, 16)
	if v := o.GetTotalBytes(); v != 0 {
		end = protowire.AppendVarint(protowire.AppendTag(end, fieldOutputTotal, protowire.VarintType), uint64(v)) //nolint:gosec // as protobuf encodes it
	}
	if o.GetTruncated() {
		end = protowire.AppendVarint(protowire.AppendTag(end, fieldOutputTruncated, protowire.VarintType), 1)
	}
	inner = append(inner, mem.SliceBuffer(end))
	head := protowire.AppendTag(make([]byte, 0, 16), field, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(inner.Len())) //nolint:gosec // positive
	return append(append(parts, mem.SliceBuffer(head)), inner...)
}

// chunkPool keeps memory for chunks of output. gRPC's own pool would give a
// buffer of 1 MiB for 64 KiB, and clear all of it.
type chunkPool struct{ pool sync.Pool }

var _ mem.BufferPool = (*chunkPool)(nil)

// Get implements mem.BufferPool.
func (p *chunkPool) Get(n int) *[]byte {
	buf, ok := p.pool.Get().(*[]byte)
	if !ok || cap(*buf) < n {
		b := make([]byte, n, max(n, maxEventBytes))
		return &b
	}
	*buf = (*buf)[:n]
	return buf
}

// Put implements mem.BufferPool.
func (p *chunkPool) Put(buf *[]byte) { p.pool.Put(buf) }
