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

// A large result that goes over the wire by hand is what the contract's own type would send.
func TestLargeResultIsEncodedAsTheContractSays(t *testing.T) {
	if n := (&sandgatev1.Output{}).ProtoReflect().Descriptor().Fields().Len(); n != 4 {
		t.Errorf("Output has %d fields: encodeOutput knows 4", n)
	}
	if n := (&sandgatev1.ExecuteResponse{}).ProtoReflect().Descriptor().Fields().Len(); n != 2 {
		t.Errorf("ExecuteResponse has %d fields: largeResultOf knows 2", n)
	}
	large := &sandgatev1.Output{Head: bytes.Repeat([]byte{'h'}, 1<<20), Tail: bytes.Repeat([]byte{'t'}, 1<<19), TotalBytes: 1 << 33, Truncated: true}
	for name, r := range map[string]*sandgatev1.Result{
		"stdout":  {CallId: "c", Stdout: large, Stderr: &sandgatev1.Output{}, Redactions: map[string]int64{"a": 1}},
		"stderr":  {Stderr: large, ApprovalId: "a", Effects: &sandgatev1.Effects{}},
		"both":    {Stdout: large, Stderr: large, ExitCode: -1},
		"head":    {Stdout: &sandgatev1.Output{Head: large.GetHead(), TotalBytes: 1 << 20}},
		"nothing": {Stdout: &sandgatev1.Output{Head: []byte("x")}},
		"tail":    {Stdout: &sandgatev1.Output{Tail: large.GetTail()}},
	} {
		for _, m := range []proto.Message{
			&sandgatev1.ExecuteResponse{Result: r},
			&sandgatev1.ExecuteResponse{Result: r, Running: &sandgatev1.RunningCall{CallId: "c"}},
			&sandgatev1.ExecuteStreamResponse{Event: &sandgatev1.ExecuteStreamResponse_Result{Result: r}},
			&sandgatev1.AttachResponse{Event: &sandgatev1.AttachResponse_Result{Result: r}},
		} {
			before := proto.Clone(m)
			wire, err := newCodec().Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			raw := wire.Materialize()
			wire.Free()
			got := m.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(raw, got); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, before) || !proto.Equal(m, before) || len(raw) != proto.Size(before) {
				t.Errorf("%s in %T: %d bytes are another message than was to be sent, or that has changed", name, m, len(raw))
			}
		}
	}
}
