//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// TestRingKeepsTheLastBytes compares the ring with keeping everything.
func TestRingKeepsTheLastBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test's choice of sizes
	for range 500 {
		r := ring{size: random.IntN(40)}
		var all []byte
		for range random.IntN(10) {
			p := pattern(random.IntN(60))
			all = append(all, p...)
			r.add(p)
			if len(r.buf) > r.size {
				t.Fatalf("a ring of %d holds %d bytes", r.size, len(r.buf))
			}
		}
		a, b := r.parts()
		want := all[max(0, len(all)-r.size):]
		if got := append(bytes.Clone(a), b...); !bytes.Equal(got, want) {
			t.Fatalf("ring of %d after %d bytes: got %x, want %x", r.size, len(all), got, want)
		}
		r.letGo()
	}
}

func osPipe(t *testing.T) (*os.File, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range []*os.File{r, w} {
			if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
				t.Error(err)
			}
		}
	})
	return r, w
}

// TestPumpSendsHeadAndTail: nothing is lost of what fits, and of more the middle.
func TestPumpSendsHeadAndTail(t *testing.T) {
	for _, tc := range []struct{ size, keep, want int }{
		{0, 10, 0},
		{1, 1, 1},
		{10, 10, 10},
		{11, 10, 10},
		{5, 100, 5},
		{300 << 10, 300 << 10, 300 << 10},
		{300 << 10, 1001, 1001},
		{300 << 10, 1, 1},
		{2<<20 + 5, 600 << 10, 600 << 10},
		{3<<20 + 7, 5 << 20, 3<<20 + 7},
		{7<<20 + 1, 4<<20 + 3, 4<<20 + 3},
	} {
		data := pattern(tc.size)
		r, w := osPipe(t)
		room := bytes.Repeat([]byte("what a call before had "), tc.size/100)
		p := newPump(cell.Stdout, int64(tc.keep), room)
		var writer sync.WaitGroup
		writer.Go(func() {
			if _, err := w.Write(data); err != nil {
				t.Error(err)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
		var sent bytes.Buffer
		srv, c := &server{}, &call{}
		deliver := func() { // not all of it at once, as a slow host's socket does
			now := srv.pending[srv.written:]
			now = now[:min(100<<10, len(now))]
			sent.Write(now)
			srv.written += len(now)
		}
		total := int64(0)
		for ended := false; !ended; deliver() {
			var n int64
			n, ended = p.run(c, srv, int(r.Fd()))
			total += n
		}
		for !p.flush(srv) {
			deliver()
		}
		for srv.waiting() > 0 {
			deliver()
		}
		writer.Wait()
		p.tail.letGo()
		got := 0
		frames := cell.NewFrameReader(&sent)
		for {
			_, body, err := frames.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			o, err := cell.DecodeOutput(body)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(o.Data, data[o.Offset:o.Offset+int64(len(o.Data))]) {
				t.Errorf("%d of %d: wrong bytes at offset %d", tc.keep, tc.size, o.Offset)
			}
			got += len(o.Data)
		}
		if got != tc.want || p.total != int64(tc.size) || total != int64(tc.size) {
			t.Errorf("%d of %d: got %d bytes of a total of %d, want %d", tc.keep, tc.size, got, p.total, tc.want)
		}
	}
}

// TestHeadIsReadBehindWhatWaits: whatever room there is behind the frames that wait for the
// host, those stay as they are, and what a program wrote before is never taken for one.
func TestHeadIsReadBehindWhatWaits(t *testing.T) {
	for left := 1; left <= 5; left++ {
		for room := range 2*maxOutputHead + 8 {
			for _, written := range []int{0, 1000} {
				r, w := osPipe(t)
				fd := int(r.Fd())
				if err := unix.SetNonblock(fd, true); err != nil {
					t.Fatal(err)
				}
				srv := &server{pending: append(make([]byte, 0, 2000+room), pattern(2000)...), written: written}
				waits := bytes.Clone(srv.pending[written:])
				p := pump{stream: cell.Stdout, head: 1 << 21, total: 1<<21 - int64(left)}
				if _, err := p.readHead(srv, fd, left); !errors.Is(err, unix.EAGAIN) || !bytes.Equal(srv.pending[srv.written:], waits) {
					t.Fatalf("nothing read, %d bytes left, room for %d: %v, %d bytes wait, want the same %d", left, room, err, srv.waiting(), len(waits))
				}
				if _, err := w.WriteString("z"); err != nil {
					t.Fatal(err)
				}
				if _, err := p.readHead(srv, fd, left); err != nil || !bytes.HasPrefix(srv.pending[srv.written:], waits) {
					t.Fatalf("%d bytes left, room for %d: %v", left, room, err)
				}
				_, body, err := cell.NewFrameReader(bytes.NewReader(srv.pending[srv.written+len(waits):])).Next()
				if err != nil {
					t.Fatal(err)
				}
				o, err := cell.DecodeOutput(body)
				if err != nil || o.Offset != 1<<21-int64(left) || string(o.Data) != "z" {
					t.Fatalf("got %+v, %v", o, err)
				}
			}
		}
	}
}

func TestStdinIsBounded(t *testing.T) {
	var f stdin
	if err := f.add(make([]byte, cell.StdinWindowBytes)); err != nil {
		t.Fatal(err)
	}
	if err := f.add([]byte("x")); !errors.Is(err, cell.ErrProtocol) {
		t.Errorf("a byte beyond the window: got %v, want a protocol error", err)
	}
	f.ended = true
	if err := f.add(nil); !errors.Is(err, cell.ErrProtocol) {
		t.Errorf("stdin after its end: got %v, want a protocol error", err)
	}
}

func TestMountinfoIsRead(t *testing.T) {
	if got, want := unescapeMount(`/a\040b\134c`), `/a b\c`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := mountFlags("rw,nosuid,nodev,noexec,relatime"); got&0xf != 0xe {
		t.Errorf("got flags %#x, want nosuid, nodev and noexec, not read-only", got)
	}
}
