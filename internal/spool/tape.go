package spool

import (
	"errors"
	"os"
	"sync"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// memoryBytes is how much of a call's output is kept in memory before it goes to
// a file: most calls never get there. A tape that has files keeps largeBytes, as long as
// few do at once: making a file, writing to it and taking it away takes three times as long.
const (
	memoryBytes = 128 << 10
	largeBytes  = 1 << 20
)

// maxSpans bounds the memory of the order in which the streams were written.
const maxSpans = 4096

// Tape keeps what a running call has written, in the order in which it came: of
// each stream its beginning, and of the rest the last bytes. It is safe for
// concurrent use; Append is for one goroutine at a time. The zero value keeps
// memoryBytes and nothing in files.
type Tape struct {
	files *Files // nil: memory only
	early bool   // into a file from the first byte on
	named bool   // which can be read when the process was killed
	key   Key    // of its name

	mu      sync.Mutex
	tracks  [streams]track
	memory  int  // bytes in memory
	large   bool // as many as largeBytes may be
	file    *os.File
	failed  bool   // the file cannot be used: what is in memory is all there is
	spans   []span // what came, in order
	marked  int64  // spans that the file tells of
	dropped int    // spans that are no longer in spans
	blurred int    // spans before this number are merged ones
	ended   bool
	closing bool
	readers int
	changed chan struct{} // closed at the next change; nil while nobody waits
}

// span is a stretch of a stream that came without another stream in between.
type span struct {
	stream     Stream
	start, end int64
}

// Keep lets the tape use files, early from its first byte on. It is called
// before anything else, or not at all.
func (t *Tape) Keep(files *Files, early bool) { t.files, t.early = files, early }

// KeepNamed lets the tape use files from its first byte on, and a later process find
// it by the key when this one is killed. It is called before anything else, or not at
// all.
func (t *Tape) KeepNamed(files *Files, key Key) {
	t.files, t.early, t.named, t.key = files, true, true, key
}

// Append keeps what was written. What comes before the end of its stream was
// kept already; a gap is output that nobody has.
func (t *Tape) Append(stream Stream, offset int64, data []byte) {
	if !stream.valid() || len(data) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := &t.tracks[stream.index()]
	if offset < k.end || t.ended {
		return
	}
	if t.file == nil && !t.failed && t.files != nil && (t.early || !t.holds(len(data))) {
		t.toFile()
	}
	t.note(span{stream, offset, offset + int64(len(data))})
	k.advance(offset)
	if t.file != nil {
		t.write(stream, k, data)
	} else {
		var pages *pages
		if t.large {
			pages = &t.files.pages
		}
		t.memory += k.remember(data, pages)
		t.forget(k)
	}
	t.poke()
}

// holds reports whether n more bytes have room in memory.
func (t *Tape) holds(n int) bool {
	if t.memory+n <= memoryBytes {
		return true
	}
	if int64(t.memory+n) > min(largeBytes, t.files.region()) {
		return false
	}
	t.large = t.large || t.files.takeLarge()
	return t.large
}

// leaveMemory lets go of what is in memory.
func (t *Tape) leaveMemory() {
	for i := range t.tracks {
		t.tracks[i].empty(t.files)
	}
	if t.large {
		t.files.giveLarge()
	}
	t.memory, t.large = 0, false
}

// forget keeps the memory within its bound when there is no file to go to.
func (t *Tape) forget(k *track) {
	if t.memory > memoryBytes && !t.large {
		t.memory -= k.dropOldest(t.memory - memoryBytes)
	}
}

// note adds a span to the order.
func (t *Tape) note(s span) {
	if n := len(t.spans); n > 0 && t.spans[n-1].stream == s.stream {
		t.spans[n-1].end = s.end
		return
	}
	if len(t.spans) == maxSpans {
		t.blur()
	}
	t.spans = append(t.spans, s)
	t.markSpan(s)
}

// blur gives up the order of the older half of the spans: they become one of
// each stream.
func (t *Tape) blur() {
	half := len(t.spans) / 2
	var merged []span
	for _, stream := range []Stream{Stdout, Stderr} {
		all := span{stream: stream, start: -1}
		for _, s := range t.spans[:half] {
			if s.stream != stream {
				continue
			}
			if all.start < 0 {
				all.start = s.start
			}
			all.end = s.end
		}
		if all.start >= 0 {
			merged = append(merged, all)
		}
	}
	t.dropped += half - len(merged)
	t.blurred = t.dropped + len(merged)
	t.spans = append(merged, t.spans[half:]...)
}

// End says that nothing follows, and lets go of the file once nobody reads it.
func (t *Tape) End() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.poke()
}

// Poke wakes all who wait for a change.
func (t *Tape) Poke() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.poke()
}

func (t *Tape) poke() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// Close lets go of the file once the last reader has closed. Nothing of what was
// in it can be read after.
func (t *Tape) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended, t.closing = true, true
	t.poke()
	return t.closeFile()
}

// closeFile closes the file when nobody needs it any more. t.mu is held.
func (t *Tape) closeFile() error {
	if t.file == nil && !t.large || !t.closing || t.readers > 0 {
		return nil
	}
	file := t.file
	if file == nil {
		t.leaveMemory()
	} else {
		t.unname()
	}
	t.file, t.failed = nil, true
	for i := range t.tracks {
		t.tracks[i].clear()
	}
	if file == nil {
		return nil
	}
	t.files.release()
	return file.Close()
}

// Changed is closed at the next change; nil when none will come.
func (t *Tape) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nextChange()
}

func (t *Tape) nextChange() <-chan struct{} {
	if t.ended {
		return nil
	}
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.changed
}

// Kept is how many bytes of the output are kept now.
func (t *Tape) Kept() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var n int64
	for i := range t.tracks {
		n += t.tracks[i].kept()
	}
	return n
}

// Ends returns how much was written so far on each stream.
func (t *Tape) Ends() (stdout, stderr int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tracks[0].end, t.tracks[1].end
}

// toFile moves what is in memory to a file.
func (t *Tape) toFile() {
	file, err := t.openFile()
	if err != nil {
		t.failed = true // the memory goes on alone
		if t.large {
			t.large = false
			t.files.giveLarge()
		}
		t.trim()
		return
	}
	failpoint.At(failpoint.SpoolFile)
	t.file = file
	for i := range t.tracks {
		k := &t.tracks[i]
		parts, end := k.parts, k.end
		k.layOut(t.files.region())
		k.end = 0 // it goes there as it came, with its gaps
		for _, p := range parts {
			k.advance(p.start)
			t.write(Stream(i+1), k, p.data)
			p.giveBack(&t.files.pages)
		}
		k.advance(end)
	}
	t.leaveMemory()
}

// trim takes from what is in memory what is more than its bound, of the stream that has
// the most.
func (t *Tape) trim() {
	for t.memory > memoryBytes {
		most := &t.tracks[0]
		for i := range t.tracks {
			if t.tracks[i].kept() > most.kept() {
				most = &t.tracks[i]
			}
		}
		gone := most.dropOldest(t.memory - memoryBytes)
		if t.memory -= gone; gone == 0 {
			return
		}
	}
}

// openFile opens the file, without a name where it can have none.
func (t *Tape) openFile() (*os.File, error) {
	if t.named && bootID() != "" {
		file, err := t.files.openNamed(t.key)
		if err == nil || errors.Is(err, errFull) {
			return file, err
		}
	}
	t.named = false
	return t.files.open()
}

// write puts data at the end of a track in the file.
func (t *Tape) write(stream Stream, k *track, data []byte) {
	base := int64(stream.index()) * t.files.region()
	if end := k.end + int64(len(data)); end-k.ringSize > k.ringFrom {
		t.mark(k, end) // before the oldest is overwritten
	}
	defer t.mark(nil, 0)
	err := k.place(data, func(p []byte, at int64) error {
		_, err := t.file.WriteAt(p, base+at)
		return err
	})
	if err != nil {
		k.lose() // a full disk: what came so far and what comes is a gap
	}
}

// Reader reads a tape from given offsets on. It belongs to one goroutine; a tape
// has any number of them.
type Reader struct {
	t    *Tape
	pos  [streams]int64
	next int // number of the span to look at
}

// Read begins at the offsets of the streams. The reader must be closed.
func (t *Tape) Read(stdout, stderr int64) *Reader {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.readers++
	return &Reader{t: t, pos: [streams]int64{stdout, stderr}}
}

// Next returns the next bytes, in buf, and how many before them are not kept any
// more; it may return such a gap alone. When there is nothing yet the piece has no
// stream; changed is then closed when that may have changed, and nil when nothing
// follows. After an error the bytes that it is about count as a gap.
func (r *Reader) Next(buf []byte) (p Piece, skipped int64, changed <-chan struct{}, err error) {
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.next < t.blurred {
		r.next = t.dropped
	}
	for ; r.next-t.dropped < len(t.spans); r.next++ {
		s := t.spans[r.next-t.dropped]
		pos := &r.pos[s.stream.index()]
		if s.end <= *pos {
			if r.next-t.dropped == len(t.spans)-1 {
				break // it may grow
			}
			continue
		}
		p, skipped, err = t.read(s, max(*pos, s.start), buf)
		if s.start > *pos { // output that nobody has kept
			skipped += s.start - *pos
		}
		*pos = p.Offset + int64(len(p.Data))
		return p, skipped, nil, err
	}
	return Piece{}, 0, t.nextChange(), nil
}

// Close ends the reader.
func (r *Reader) Close() error {
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	r.t.readers--
	return r.t.closeFile()
}

// read returns kept bytes of a span from an offset on; without any, a piece
// without data at the end of the span.
func (t *Tape) read(s span, from int64, buf []byte) (Piece, int64, error) {
	k := &t.tracks[s.stream.index()]
	at, n := k.find(from, s.end)
	if n == 0 {
		return Piece{Stream: s.stream, Offset: s.end}, s.end - from, nil
	}
	buf = buf[:min(n, int64(len(buf)))]
	p := Piece{Stream: s.stream, Offset: at, Data: buf}
	if t.file == nil {
		k.recall(at, buf)
		return p, at - from, nil
	}
	base := int64(s.stream.index()) * t.files.region()
	err := k.fetch(at, buf, func(b []byte, where int64) error {
		_, err := t.file.ReadAt(b, base+where)
		return err
	})
	if err != nil {
		return Piece{Stream: s.stream, Offset: s.end}, s.end - from, errors.Join(errors.New("read the output of a call"), err)
	}
	return p, at - from, nil
}
