package rpc

import (
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

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
