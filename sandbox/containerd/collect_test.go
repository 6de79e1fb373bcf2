package containerd

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/sandbox"
)

func TestCollectorKeepsHeadAndTail(t *testing.T) {
	var shared blocks
	c := collector{blocks: &shared}
	for _, chunk := range []struct {
		offset int64
		data   string
	}{{0, "ab"}, {2, "cd"}, {90, "yx"}, {92, "z"}} {
		c.add(chunk.offset, []byte(chunk.data))
	}
	want := sandbox.Output{Head: []byte("abcd"), Tail: []byte("yxz"), TotalBytes: 95}
	if diff := cmp.Diff(want, c.output(95)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCollectorsShareNoMemory: what a call is given stays what it was when the
// blocks serve other calls, and nothing of those is in it.
func TestCollectorsShareNoMemory(t *testing.T) {
	var shared blocks
	outputs := make(map[byte]sandbox.Output)
	sizes := []int{1, blockBytes - 1, blockBytes, blockBytes + 1, 3*blockBytes + 5}
	for i, size := range sizes {
		fill := byte('a' + i)
		c := collector{blocks: &shared}
		c.add(0, bytes.Repeat([]byte{fill}, size))
		c.add(int64(10*size), bytes.Repeat([]byte{'-'}, size)) // of no more use with the next
		c.add(int64(100*size), bytes.Repeat([]byte{fill}, size))
		outputs[fill] = c.output(0)
	}
	for i, size := range sizes {
		fill := byte('a' + i)
		whole, got := bytes.Repeat([]byte{fill}, size), outputs[fill]
		if !bytes.Equal(got.Head, whole) || !bytes.Equal(got.Tail, whole) || got.TotalBytes != int64(101*size) {
			t.Errorf("%d bytes of %q: head of %d, tail of %d, total %d, or other bytes", size, fill, len(got.Head), len(got.Tail), got.TotalBytes)
		}
	}
	chunk := make([]byte, blockBytes)
	if n := testing.AllocsPerRun(20, func() {
		c := collector{blocks: &shared}
		for at := range int64(8) {
			c.add(at*blockBytes, chunk)
		}
		_ = c.output(0)
	}); n > 12 {
		t.Errorf("%v allocations for 8 blocks of output, want little more than the result", n)
	}
}
