package rpc

import (
	"bytes"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

// What goes over the wire by hand is what the contract's own type would send.
func TestOutputIsEncodedAsTheContractSays(t *testing.T) {
	var pool chunkPool
	for _, n := range []int{1, 127, 128, 4096, maxEventBytes/2 + 1, maxEventBytes} {
		for _, offset := range []int64{0, 1, 1 << 40} {
			for _, stream := range []sandbox.Stream{sandbox.Stdout, sandbox.Stderr} {
				t.Run(fmt.Sprint(n, offset, stream), func(t *testing.T) {
					data := bytes.Repeat([]byte{'a'}, n)
					m := newOutput(&pool, stream, offset, data)
					clear(data) // the observer's: it may be used again
					wire, err := newCodec().Marshal(m)
					if err != nil {
						t.Fatal(err)
					}
					var got sandgatev1.ExecuteStreamResponse
					raw := wire.Materialize()
					wire.Free()
					if err := proto.Unmarshal(raw, &got); err != nil {
						t.Fatal(err)
					}
					want := &sandgatev1.ExecuteStreamResponse{Event: &sandgatev1.ExecuteStreamResponse_Output{Output: &sandgatev1.OutputEvent{
						Stream: streamProto(stream), Offset: offset, Data: bytes.Repeat([]byte{'a'}, n),
					}}}
					if !proto.Equal(&got, want) || len(raw) != proto.Size(want) {
						t.Errorf("got %d bytes, which are no event of %d bytes at %d", len(raw), n, offset)
					}
				})
			}
		}
	}
}
