package gate_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/spool"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// byteAt is what the program of TestManyAttachers writes at an offset.
func byteAt(offset int64) byte { return byte(offset ^ offset>>8 ^ offset>>16) } //nolint:gosec // whatever it is

// checker is a follower that looks at each byte and keeps none.
type checker struct {
	pos  int64
	hold chan struct{} // nil: it is quick
	met  chan struct{} // closed when it holds for the first time
	err  error
}

func (c *checker) Decided(string, policy.Decision) {}
func (c *checker) Started(sandbox.Receipt)         {}

func (c *checker) Output(s sandbox.Stream, offset int64, data []byte) {
	if c.hold != nil {
		if c.met != nil {
			close(c.met)
			c.met = nil
		}
		<-c.hold
	}
	if s != sandbox.Stdout || offset != c.pos {
		c.err = errors.Join(c.err, fmt.Errorf("stream %d, offset %d, want the first and %d", s, offset, c.pos))
	}
	for i, b := range data {
		if want := byteAt(offset + int64(i)); b != want && c.err == nil {
			c.err = fmt.Errorf("byte %d is %d, want %d", offset+int64(i), b, want)
		}
	}
	c.pos = offset + int64(len(data))
}

func (c *checker) Gap(_ sandbox.Stream, offset, size int64) {
	c.err = errors.Join(c.err, fmt.Errorf("a gap of %d at %d", size, offset))
}

// TestManyAttachers: 64 follow one call with 8 MiB of output, from different offsets, a
// quarter of them stuck until it has ended. Each gets every byte, the call is held up by
// none, and memory does not grow with what they have not read.
func TestManyAttachers(t *testing.T) {
	const followers, size, piece = 64, 8 << 20, 32 << 10
	dir := t.TempDir()
	store, err := spool.OpenStore(spool.StoreConfig{
		Dir: filepath.Join(dir, "outputs"), Bytes: 64 << 20, Keep: time.Hour, Problem: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	b, programs := led(t, dir, func(c *gate.Config) { c.Output, c.Files = store, spool.NewFiles(store.Dir(), 16<<20, 64<<20) })
	if _, _, err := b.Start(t.Context(), bash("c1", "x")); err != nil {
		t.Fatal(err)
	}
	p := <-programs
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // what pools keep goes with the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc) //nolint:gosec // far below
	}
	before := heap()
	hold := make(chan struct{})
	all, ends, stuck := make([]*checker, followers), make([]chan error, followers), []chan struct{}{}
	for i := range all {
		from := int64(i) * 4099
		all[i] = &checker{pos: from}
		if i%4 == 0 {
			all[i].hold, all[i].met = hold, make(chan struct{})
			stuck = append(stuck, all[i].met)
		}
		ends[i] = b.attached(t.Context(), "c1", from, 0, all[i])
	}
	buf := make([]byte, piece)
	for at := int64(0); at < size; at += piece {
		for i := range buf {
			buf[i] = byteAt(at + int64(i))
		}
		p.call.Observer.Output(sandbox.Stdout, at, buf)
	}
	for _, met := range stuck {
		<-met
	}
	p.release <- sandboxtest.Exit(0, "")
	b.do(t, bash("c1", "x")) // it has ended, though some are stuck
	for i := range all {
		if i%4 != 0 {
			if err := <-ends[i]; err != nil {
				t.Errorf("follower %d: %v", i, err)
			}
		}
	}
	grown := heap() - before
	t.Logf("%d KiB more memory while %d of %d followers are stuck", grown>>10, len(stuck), followers)
	if most := int64(4 << 20); grown > most {
		t.Errorf("memory grew by %d bytes, want at most %d", grown, most)
	}
	close(hold)
	for i, c := range all {
		if i%4 == 0 {
			if err := <-ends[i]; err != nil {
				t.Errorf("follower %d: %v", i, err)
			}
		}
		if c.err != nil || c.pos != size {
			t.Errorf("follower %d got to %d of %d: %v", i, c.pos, size, c.err)
		}
	}
}
