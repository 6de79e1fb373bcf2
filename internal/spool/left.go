package spool

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// A tape whose call outlives its request has a file with a name, and in it, behind the
// two regions, what has to be known to read it: how far each stream has got, and in
// which order they came. So it can be read when its process was killed. It is written
// with each piece, by a process that may be killed between any two writes: what it says
// is there is there. After a restart of the machine it is worth nothing.

const (
	leftPrefix = "running-"
	leftSuffix = ".tape"

	markMagic   = 0x53475431 // "SGT1"
	markBytes   = 4 + bootBytes + 8 + 8 + streams*trackBytes + 4
	trackBytes  = 5 * 8
	bootBytes   = 36
	spansOffset = 512 // of the order, behind the mark
	spanBytes   = 16
	markAlign   = 4096
)

// bootID tells one run of the kernel from another.
var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(id) < bootBytes {
		return ""
	}
	return string(id[:bootBytes])
})

func (f *Files) leftPath(key Key) string {
	return filepath.Join(f.dir, leftPrefix+hex.EncodeToString(key[:])+leftSuffix)
}

// openNamed is open with a name that tells whose output it is.
func (f *Files) openNamed(key Key) (*os.File, error) {
	return f.take(func() (*os.File, error) {
		file, err := os.OpenFile(f.leftPath(key), os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("make an output file: %w", err)
		}
		return file, nil
	})
}

// markAt is where the mark begins.
func (f *Files) markAt() int64 {
	return (streams*f.region() + markAlign - 1) / markAlign * markAlign
}

// mark writes how far the tape has got; promised is where the stream that is being
// written will end. t.mu is held.
func (t *Tape) mark(of *track, promised int64) {
	if !t.named || t.file == nil {
		return
	}
	b := make([]byte, 0, markBytes)
	b = binary.BigEndian.AppendUint32(b, markMagic)
	b = append(b, bootID()...)
	b = appendInt(b, t.files.region())
	b = appendInt(b, t.marked)
	for i := range t.tracks {
		k := &t.tracks[i]
		end := k.end
		if k == of {
			end = max(end, promised)
		}
		for _, n := range []int64{k.end, k.headSize, k.headEnd, k.ringFrom, end} {
			b = appendInt(b, n)
		}
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	if _, err := t.file.WriteAt(b, t.files.markAt()); err != nil {
		t.unname()
	}
}

func appendInt(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(n)) //nolint:gosec // not negative
}

// markSpan writes that another stream goes on. t.mu is held.
func (t *Tape) markSpan(s span) {
	if !t.named || t.file == nil {
		return
	}
	b := append(appendInt(nil, s.start), byte(s.stream))
	if _, err := t.file.WriteAt(b, t.files.markAt()+spansOffset+t.marked%maxSpans*spanBytes); err != nil {
		t.unname()
		return
	}
	t.marked++
}

// unname gives up that the file can be read by another process: it would tell what is
// not so. t.mu is held.
func (t *Tape) unname() {
	if t.named {
		t.named = false
		_ = os.Remove(t.file.Name()) // OpenLeft removes what it cannot read
	}
}

// Left is the tape of a call whose process ended before it. It has ended; closing it
// removes it for good.
type Left struct {
	Key  Key
	Tape *Tape
}

// Left returns what an earlier process has left, and removes what cannot be read. It
// must be called before the first tape is kept in these files.
func (f *Files) Left() ([]Left, error) {
	paths, err := filepath.Glob(filepath.Join(f.dir, leftPrefix+"*"+leftSuffix))
	if err != nil {
		return nil, err
	}
	var out []Left
	var errs []error
	for _, path := range paths {
		var key Key
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), leftPrefix), leftSuffix)
		n, err := hex.Decode(key[:], []byte(name[:min(len(name), 2*len(key))]))
		if err == nil && n == len(key) && len(name) == 2*n {
			var t *Tape
			if t, err = f.openLeft(path); err == nil {
				out = append(out, Left{key, t})
				continue
			}
		}
		errs = append(errs, os.Remove(path))
	}
	failpoint.At(failpoint.SpoolLeft)
	return out, errors.Join(errs...)
}

var errNoMark = errors.New("the output of a call that was cut off cannot be read")

// openLeft reads one file.
func (f *Files) openLeft(path string) (_ *Tape, err error) {
	file, err := f.take(func() (*os.File, error) { return os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0) }) // #nosec G304 -- of our own directory
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.release()
			err = errors.Join(err, file.Close())
		}
	}()
	b := make([]byte, markBytes)
	if _, err := file.ReadAt(b, f.markAt()); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoMark, err)
	}
	sum := binary.BigEndian.Uint32(b[markBytes-4:])
	if binary.BigEndian.Uint32(b) != markMagic || crc32.ChecksumIEEE(b[:markBytes-4]) != sum || string(b[4:4+bootBytes]) != bootID() {
		return nil, errNoMark
	}
	ints := b[4+bootBytes : markBytes-4]
	next := func() int64 {
		n := int64(binary.BigEndian.Uint64(ints)) //nolint:gosec // checked with what it is compared with
		ints = ints[8:]
		return n
	}
	if next() != f.region() { // the configuration is another one
		return nil, errNoMark
	}
	t := &Tape{files: f, file: file, named: true, ended: true, marked: next()}
	for i := range t.tracks {
		k := &t.tracks[i]
		k.layOut(f.region())
		whole := k.headSize
		k.end, k.headSize, k.headEnd, k.ringFrom = next(), next(), next(), next()
		k.ringFrom = max(k.ringFrom, next()-k.ringSize) // what was being written there may be in the place of the oldest
		if k.headEnd < 0 || k.headEnd > k.headSize || k.headSize > whole || k.headEnd > k.end || k.ringFrom < 0 {
			return nil, errNoMark
		}
		k.ringFrom = min(k.ringFrom, k.end)
	}
	return t, t.readSpans()
}

// readSpans reads in which order the streams came, as far as that is kept.
func (t *Tape) readSpans() error {
	if t.marked < 0 {
		return errNoMark
	}
	n := min(t.marked, maxSpans)
	raw := make([]byte, maxSpans*spanBytes)
	if _, err := t.file.ReadAt(raw, t.files.markAt()+spansOffset); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", errNoMark, err)
	}
	ends := [streams]int64{t.tracks[0].end, t.tracks[1].end}
	var back []span // the last one first
	for i := range n {
		b := raw[(t.marked-1-i)%maxSpans*spanBytes:]
		s := span{stream: Stream(b[8]), start: int64(binary.BigEndian.Uint64(b))} //nolint:gosec // compared below
		if !s.stream.valid() || s.start < 0 {
			return errNoMark
		}
		end := &ends[s.stream.index()]
		if s.start >= *end { // it was about to be written
			continue
		}
		s.end, *end = *end, s.start
		back = append(back, s)
	}
	for i, end := range ends { // what came before those
		if end > 0 {
			t.spans = append(t.spans, span{Stream(i + 1), 0, end})
		}
	}
	slices.Reverse(back)
	t.spans = append(t.spans, back...)
	return nil
}
