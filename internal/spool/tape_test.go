package spool

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// follow reads all that there is and returns the bytes of each stream, with what
// was skipped as a NUL for each byte, and the order of the streams.
func follow(t *testing.T, r *Reader, buf []byte) (got [streams][]byte, order []Stream, ended bool) {
	t.Helper()
	for {
		p, skipped, changed, err := r.Next(buf)
		if err != nil {
			t.Fatal(err)
		}
		if p.Stream == 0 {
			return got, order, changed == nil
		}
		i := p.Stream.index()
		got[i] = append(append(got[i], make([]byte, skipped)...), p.Data...)
		if int64(len(got[i])) != p.Offset+int64(len(p.Data)) {
			t.Fatalf("piece of %d bytes at %d after %d bytes and a gap of %d", len(p.Data), p.Offset, len(got[i]), skipped)
		}
		if len(order) == 0 || order[len(order)-1] != p.Stream {
			order = append(order, p.Stream)
		}
	}
}

func TestTapeGivesAllThatWasWrittenInItsOrder(t *testing.T) {
	for name, files := range map[string]*Files{"memory": nil, "file": NewFiles(t.TempDir(), 1<<20, 1<<20)} {
		t.Run(name, func(t *testing.T) {
			tape := &Tape{}
			tape.Keep(files, files != nil)
			early := tape.Read(0, 0)
			var want [streams][]byte
			var order []Stream
			for i := range 50 {
				s := Stream(1 + i%2)
				data := fmt.Appendf(nil, "line %d\n", i)
				tape.Append(s, int64(len(want[s.index()])), data)
				want[s.index()], order = append(want[s.index()], data...), append(order, s)
			}
			tape.End()
			tape.Append(Stdout, int64(len(want[0])), []byte("too late"))
			for reader, r := range map[string]*Reader{"early": early, "late": tape.Read(0, 0)} {
				got, gotOrder, ended := follow(t, r, make([]byte, 5))
				if !ended || !bytes.Equal(got[0], want[0]) || !bytes.Equal(got[1], want[1]) || !slices.Equal(gotOrder, order) {
					t.Errorf("%s: got %q in the order %v, ended %v", reader, got, gotOrder, ended)
				}
			}
			from := tape.Read(8, 10_000)
			if p, skipped, _, err := from.Next(make([]byte, 4)); err != nil || skipped != 0 || p.Offset != 8 || string(p.Data) != string(want[0][8:12]) {
				t.Errorf("from offset 8: %+v, skipped %d, %v", p, skipped, err)
			}
			if err := tape.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTapeAgainstAModel writes at random, with gaps and more than is kept, and
// compares what readers get with what was written: each byte is right or told as
// a gap, the head and the last bytes are there.
func TestTapeAgainstAModel(t *testing.T) {
	dir := t.TempDir()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test
		var files *Files
		if seed%2 == 0 {
			files = NewFiles(dir, 4096, 1<<20)
		}
		tape := &Tape{}
		tape.Keep(files, seed%4 == 0)
		slow := tape.Read(0, 0)
		var want [streams][]byte
		var known [streams][]bool
		var slowGot [streams]int64
		for range rng.IntN(400) {
			s := Stream(1 + rng.IntN(2)) //nolint:gosec // 1 or 2
			i := s.index()
			if rng.IntN(20) == 0 {
				gap := rng.IntN(3000)
				want[i], known[i] = append(want[i], make([]byte, gap)...), append(known[i], make([]bool, gap)...)
			}
			data := make([]byte, 1+rng.IntN(2000))
			for n := range data {
				data[n] = byte(1 + rng.IntN(255)) //nolint:gosec // below 256
			}
			tape.Append(s, int64(len(want[i])), data)
			want[i] = append(want[i], data...)
			for range data {
				known[i] = append(known[i], true)
			}
			for rng.IntN(3) == 0 {
				p, skipped, _, err := slow.Next(make([]byte, 1+rng.IntN(500)))
				if err != nil {
					t.Fatal(err)
				}
				if p.Stream == 0 {
					break
				}
				check(t, seed, p, skipped, &slowGot, want, known)
			}
		}
		tape.End()
		for _, r := range []*Reader{slow, tape.Read(0, 0)} {
			var pos [streams]int64
			if r == slow {
				pos = slowGot
			}
			for {
				p, skipped, changed, err := r.Next(make([]byte, 1000))
				if err != nil {
					t.Fatal(err)
				}
				if p.Stream == 0 {
					if changed != nil {
						t.Fatalf("seed %d: not ended", seed)
					}
					break
				}
				check(t, seed, p, skipped, &pos, want, known)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			for i := range pos {
				if pos[i] != int64(len(known[i])) && known[i] != nil && known[i][len(known[i])-1] {
					t.Fatalf("seed %d: stream %d ended at %d of %d", seed, i, pos[i], len(want[i]))
				}
			}
		}
		if err := tape.Close(); err != nil {
			t.Fatal(err)
		}
		if files != nil && files.used != 0 {
			t.Fatalf("seed %d: %d files in use", seed, files.used)
		}
	}
}

func check(t *testing.T, seed uint64, p Piece, skipped int64, pos *[streams]int64, want [streams][]byte, known [streams][]bool) {
	t.Helper()
	i := p.Stream.index()
	if pos[i]+skipped != p.Offset {
		t.Fatalf("seed %d: at %d with a gap of %d comes %d", seed, pos[i], skipped, p.Offset)
	}
	if !bytes.Equal(p.Data, want[i][p.Offset:p.Offset+int64(len(p.Data))]) {
		t.Fatalf("seed %d: wrong bytes at %d", seed, p.Offset)
	}
	for n := range p.Data {
		if !known[i][p.Offset+int64(n)] {
			t.Fatalf("seed %d: byte %d was never written", seed, p.Offset+int64(n))
		}
	}
	pos[i] = p.Offset + int64(len(p.Data))
}

func TestTapeKeepsBeginningAndEnd(t *testing.T) {
	tape := &Tape{}
	tape.Keep(NewFiles(t.TempDir(), 4000, 4000), true)
	var all []byte
	for i := range 1000 {
		line := fmt.Appendf(nil, "%06d\n", i)
		tape.Append(Stdout, int64(len(all)), line)
		all = append(all, line...)
	}
	tape.End()
	got, _, _ := follow(t, tape.Read(0, 0), make([]byte, 4096))
	if !bytes.Equal(got[0][:1000], all[:1000]) || !bytes.Equal(got[0][6000:], all[6000:]) || got[0][1000] != 0 || got[0][5999] != 0 {
		t.Errorf("of 7000 bytes with room for 2000: %q", got[0])
	}
	if tape.Kept() != 2000 {
		t.Errorf("kept %d", tape.Kept())
	}
	other := &Tape{}
	other.Keep(tape.files, true)
	other.Append(Stdout, 0, bytes.Repeat([]byte("x"), 2*memoryBytes)) // no file is left for it
	if n := other.Kept(); n != memoryBytes {
		t.Errorf("without a file %d bytes are kept, want %d", n, memoryBytes)
	}
}

// TestTapeKeepsMuchInMemory: without a file as long as few tapes do, all of it and for as
// long as it is read; what comes beyond goes to a file with what was there.
func TestTapeKeepsMuchInMemory(t *testing.T) {
	files := NewFiles(t.TempDir(), 4<<20, 64<<20)
	random := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // a test
	for round := range 3 {
		var all [streams][]byte
		tape := &Tape{}
		tape.Keep(files, false)
		grow := func(to int) {
			for len(all[0])+len(all[1]) < to {
				s := Stream(1 + random.IntN(2))                                                   //nolint:gosec // 1 or 2
				data := bytes.Repeat([]byte{byte('a' + random.IntN(26))}, 1+random.IntN(100<<10)) //nolint:gosec // a letter
				tape.Append(s, int64(len(all[s.index()])), data)
				all[s.index()] = append(all[s.index()], data...)
			}
		}
		check := func(when string) {
			t.Helper()
			r := tape.Read(0, 0)
			got, _, _ := follow(t, r, make([]byte, 50_000))
			if !bytes.Equal(got[0], all[0]) || !bytes.Equal(got[1], all[1]) || tape.Kept() != int64(len(all[0])+len(all[1])) {
				t.Errorf("round %d, %s: other bytes than were written, or not all", round, when)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		grow(largeBytes - 200<<10)
		if tape.file != nil || !tape.large || files.large != 1 {
			t.Errorf("%d bytes are in a file, or count as little", tape.Kept())
		}
		check("in memory")
		late := tape.Read(0, 0)
		if round > 0 {
			grow(2 * largeBytes)
			if tape.file == nil || files.large != 0 {
				t.Errorf("%d bytes are in no file, or count as memory", tape.Kept())
			}
			check("in a file")
		}
		tape.End()
		if err := tape.Close(); err != nil {
			t.Error(err)
		}
		check("closed, with a reader")
		if err := late.Close(); err != nil {
			t.Error(err)
		}
		if n := tape.Kept(); n != 0 || files.large != 0 || files.used != 0 {
			t.Errorf("closed: %d bytes are kept, %d tapes in memory and %d files are counted", n, files.large, files.used)
		}
	}
}

// TestGapsInMemoryStayGaps: output whose middle was not kept, as of a call that wrote
// more than its limit, lies in memory with its gap when the rest no longer fits there.
func TestGapsInMemoryStayGaps(t *testing.T) {
	const kib = 1 << 10
	for name, first := range map[string]int{"beside another stream": 64 * kib, "one stream": 0} {
		t.Run(name, func(t *testing.T) {
			tape := &Tape{}
			tape.Keep(NewFiles(t.TempDir(), 16<<20, 256<<20), false)
			pattern := func(at, n int) []byte {
				b := make([]byte, n)
				for i := range b {
					b[i] = byte(1 + (at+i)%251) //nolint:gosec // below 252
				}
				return b
			}
			if first > 0 {
				tape.Append(Stderr, 0, pattern(0, first))
			}
			const head, tail, end = 512 * kib, 9 << 20, 10 << 20
			tape.Append(Stdout, 0, pattern(0, head))
			for at := tail; at < end; at += 64 * kib {
				tape.Append(Stdout, int64(at), pattern(at, 64*kib))
			}
			tape.End()
			if got, want := tape.Kept(), int64(first+head+end-tail); got != want {
				t.Errorf("kept: got %d, want %d", got, want)
			}
			got, _, _ := follow(t, tape.Read(0, 0), make([]byte, 100_000))
			want := append(append(pattern(0, head), make([]byte, tail-head)...), pattern(tail, end-tail)...)
			if !bytes.Equal(got[0], want) || !bytes.Equal(got[1], pattern(0, first)) {
				t.Errorf("got %d and %d bytes, want %d and %d with the right content", len(got[0]), len(got[1]), len(want), first)
			}
			if skips := skipped(t, tape.Read(0, 0)); skips != tail-head {
				t.Errorf("told %d bytes of gaps, want %d", skips, tail-head)
			}
			if err := tape.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// skipped is how many bytes a reader is told are not kept.
func skipped(t *testing.T, r *Reader) (n int64) {
	t.Helper()
	for buf := make([]byte, 64<<10); ; {
		p, gap, _, err := r.Next(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n += gap; p.Stream == 0 {
			return n
		}
	}
}

// TestFewTapesKeepMuchInMemory: the others go to files, and without one keep little.
func TestFewTapesKeepMuchInMemory(t *testing.T) {
	files := NewFiles(t.TempDir(), 4<<20, 4<<20)
	data := bytes.Repeat([]byte("x"), 2*memoryBytes)
	var tapes [mostLarge + 2]Tape
	for i := range tapes {
		tapes[i].Keep(files, false)
		tapes[i].Append(Stdout, 0, data)
		want := int64(len(data))
		if i == mostLarge+1 {
			want = memoryBytes // nor is there another file
		}
		if n := tapes[i].Kept(); n != want || (tapes[i].file != nil) != (i == mostLarge) {
			t.Errorf("tape %d keeps %d bytes, want %d; in a file: %v", i, n, want, tapes[i].file != nil)
		}
	}
	tapes[0].Append(Stdout, int64(len(data)), bytes.Repeat([]byte("y"), largeBytes))
	if n := tapes[0].Kept(); n != memoryBytes || files.large != mostLarge-1 {
		t.Errorf("without a file %d bytes are kept, want %d; %d tapes count as large", n, memoryBytes, files.large)
	}
	for i := range tapes {
		if err := tapes[i].Close(); err != nil {
			t.Error(err)
		}
	}
	if files.large != 0 || files.used != 0 {
		t.Errorf("closed: %d tapes in memory and %d files are counted", files.large, files.used)
	}
}

// BenchmarkTape writes as much as a call may return by default.
func BenchmarkTape(b *testing.B) {
	files := NewFiles(b.TempDir(), 64<<20, 1<<30)
	chunk := make([]byte, 128<<10)
	for b.Loop() {
		var tape Tape
		tape.Keep(files, false)
		for at := range int64(8) {
			tape.Append(Stdout, at*int64(len(chunk)), chunk)
		}
		tape.End()
		if err := tape.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestTapeWakesWhoWaits(t *testing.T) {
	tape := &Tape{}
	r := tape.Read(0, 0)
	_, _, changed, _ := r.Next(nil)
	select {
	case <-changed:
		t.Error("woken without a change")
	default:
	}
	tape.Append(Stderr, 0, []byte("x"))
	<-changed
	if p, _, _, _ := r.Next(make([]byte, 9)); string(p.Data) != "x" || p.Stream != Stderr {
		t.Errorf("got %+v", p)
	}
	_, _, changed, _ = r.Next(nil)
	tape.Poke()
	<-changed
	_, _, changed, _ = r.Next(nil)
	tape.End()
	<-changed
	if _, _, changed, _ = r.Next(nil); changed != nil {
		t.Error("not ended")
	}
}

// TestBlurredOrderLosesNothing changes the stream more often than the order is kept.
func TestBlurredOrderLosesNothing(t *testing.T) {
	tape := &Tape{}
	early, partly := tape.Read(0, 0), tape.Read(0, 0)
	var n int64
	for i := range 3 * maxSpans {
		tape.Append(Stream(1+i%2), n, []byte("x"))
		if i%2 == 1 {
			n++
		}
		if i < 2*maxSpans/3 {
			if p, _, _, _ := partly.Next(make([]byte, 1)); p.Stream == 0 {
				t.Fatal("nothing to read")
			}
		}
	}
	tape.End()
	for name, r := range map[string]*Reader{"early": early, "late": tape.Read(0, 0), "partly": partly} {
		got := 0
		for {
			p, skipped, _, err := r.Next(make([]byte, 1000))
			if err != nil || skipped != 0 {
				t.Fatalf("%s: %v, skipped %d", name, err, skipped)
			}
			if p.Stream == 0 {
				break
			}
			got += len(p.Data)
		}
		if want := map[bool]int{true: 3 * maxSpans, false: 3*maxSpans - 2*maxSpans/3}[name != "partly"]; got != want {
			t.Errorf("%s: %d bytes, want %d", name, got, want)
		}
	}
}
