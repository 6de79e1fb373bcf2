package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// tampered is a closed journal of several segments in memory.
type tampered struct {
	dir   string
	path  string
	key   string
	files [][]byte // segments, oldest first
	names []string
	lines [][]string // of each segment, with their newlines
	first []int64    // number of each segment's first record
}

func tamperable(t *testing.T) *tampered {
	t.Helper()
	dir := t.TempDir()
	x := &tampered{dir: dir, path: filepath.Join(dir, "j.jsonl")}
	opts, _ := segmented(t, dir)
	opts.Folds, opts.Restore = nil, nil
	opts.SegmentBytes = 2 << 10
	j := openWith(t, x.path, opts)
	for len(j.Segments()) < 3 {
		add(t, j, "call", map[string]any{"text": "a \"b\" \\ é @ JJJ", "n": 12.5})
		if live := j.Segments()[len(j.Segments())-1]; live.Bytes >= opts.SegmentBytes {
			eventually(t, "no next segment was made", func() bool {
				info, err := os.Stat(j.files.next())
				return err == nil && info.Size() >= aheadBytes
			})
		}
	}
	for range 3 {
		add(t, j, "call", nil)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	x.key = opts.Key.Public()
	for _, s := range j.Segments() {
		raw := read(t, s.Path)
		x.files, x.names, x.first = append(x.files, raw), append(x.names, s.Path), append(x.first, s.First)
		x.lines = append(x.lines, strings.SplitAfter(strings.TrimSuffix(string(raw), "\n"), "\n"))
		last := x.lines[len(x.lines)-1]
		last[len(last)-1] += "\n"
	}
	return x
}

// verify verifies the journal with one segment replaced, and puts it back.
func (x *tampered) verify(t *testing.T, seg int, content []byte) (Verified, error) {
	t.Helper()
	put(t, x.names[seg], content)
	v, err := VerifyAll(x.dir, VerifyOptions{PublicKey: x.key})
	put(t, x.names[seg], x.files[seg])
	return v, err
}

// named checks that an error, or the report of a torn tail, names the place.
func (x *tampered) named(t *testing.T, what string, v Verified, err error, seg, line int) {
	t.Helper()
	var ce *CorruptError
	if !errors.As(err, &ce) || !errdefs.IsDataLoss(err) {
		t.Errorf("%s: got %v (torn %d at %+v), want a *CorruptError", what, err, v.TornBytes, v.TornAt)
		return
	}
	want := Place{Path: x.names[seg], Line: int64(line + 1), Seq: x.first[seg] + int64(line)}
	for _, l := range x.lines[seg][:line] {
		want.Offset += int64(len(l))
	}
	if ce.Place != want {
		t.Errorf("%s: named %+v, want %+v", what, ce.Place, want)
	}
}

// One bit of a byte of a journal that was closed in order is changed, by chance: the place
// is named, by file, line, record and byte.
func TestEveryChangedByteIsNamed(t *testing.T) {
	x := tamperable(t)
	for seg, raw := range x.files {
		at, line := 0, 0
		for i := range raw {
			for i >= at+len(x.lines[seg][line]) {
				at += len(x.lines[seg][line])
				line++
			}
			if seg < len(x.files)-1 && i%9 != seg && i != at {
				continue // some of each line, and all of the last segment
			}
			changed := bytes.Clone(raw)
			bit := byte(1) << rand.IntN(8) //nolint:gosec // no secret
			changed[i] ^= bit
			v, err := x.verify(t, seg, changed)
			what := fmt.Sprintf("segment %d, byte %d (%q) with bit %#x changed", seg, i, raw[i], bit)
			if end := seg == len(x.files)-1 && line == len(x.lines[seg])-1; end && err != nil {
				// The last record: it may be missed by the checkpoint that counts it.
				if !errdefs.IsDataLoss(err) || !strings.Contains(err.Error(), fmt.Sprint("record ", x.first[seg]+int64(line))) {
					t.Errorf("%s: %v", what, err)
				}
				continue
			}
			x.named(t, what, v, err, seg, line)
		}
	}
}

func TestDroppedReorderedAndCutRecordsAreNamed(t *testing.T) {
	x := tamperable(t)
	for seg, lines := range x.lines {
		end := seg == len(x.lines)-1
		for i := range lines {
			last := i == len(lines)-1
			without := strings.Join(slices.Delete(slices.Clone(lines), i, i+1), "")
			v, err := x.verify(t, seg, []byte(without))
			switch what := fmt.Sprintf("segment %d without line %d", seg, i+1); {
			case last && end: // the checkpoint misses it
				missing(t, what, err, x.first[seg]+int64(i))
			case last: // the next segment does
				missing(t, what, err, x.first[seg]+int64(i))
			default:
				x.named(t, what, v, err, seg, i)
			}
			if i+1 < len(lines) {
				swapped := slices.Clone(lines)
				swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
				v, err := x.verify(t, seg, []byte(strings.Join(swapped, "")))
				x.named(t, fmt.Sprintf("segment %d with lines %d and %d swapped", seg, i+1, i+2), v, err, seg, i)
				doubled := slices.Insert(slices.Clone(lines), i, lines[i])
				v, err = x.verify(t, seg, []byte(strings.Join(doubled, "")))
				x.named(t, fmt.Sprintf("segment %d with line %d twice", seg, i+1), v, err, seg, i+1)
			}
		}
		at, line := 0, 0
		for cut := range len(x.files[seg]) {
			for cut >= at+len(lines[line]) {
				at += len(lines[line])
				line++
			}
			if cut%23 != 0 && cut != at {
				continue
			}
			v, err := x.verify(t, seg, x.files[seg][:cut])
			if err == nil || !errdefs.IsDataLoss(err) {
				t.Errorf("segment %d cut at byte %d: got %v (torn %d), want data loss", seg, cut, err, v.TornBytes)
				continue
			}
			missing(t, fmt.Sprintf("segment %d cut at byte %d", seg, cut), err, x.first[seg]+int64(line))
		}
	}
	for seg := range x.files {
		if err := os.Rename(x.names[seg], x.names[seg]+".away"); err != nil {
			t.Fatal(err)
		}
		_, err := VerifyAll(x.dir, VerifyOptions{PublicKey: x.key})
		missing(t, fmt.Sprintf("without segment %d", seg), err, -1)
		if err := os.Rename(x.names[seg]+".away", x.names[seg]); err != nil {
			t.Fatal(err)
		}
	}
}

// missing checks that an error says from which record on something is missing.
func missing(t *testing.T, what string, err error, seq int64) {
	t.Helper()
	var ce *CorruptError
	if !errors.As(err, &ce) || seq > 0 && ce.Seq != seq {
		t.Errorf("%s: got %v, want a *CorruptError about record %d", what, err, seq)
	}
}

// A changed byte in what a crash left is no torn write: it must not be cut off as one.
func TestChangedByteBeforeACrashIsNoTornWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.jsonl")
	j := open(t, path, nil)
	for range 3 {
		add(t, j, "call", map[string]any{"text": "a \"b\" @ JJJ *"})
	}
	settled(t, j)
	raw := read(t, path)
	end := bytes.IndexByte(raw, 0)
	begin := bytes.LastIndexByte(raw[:end-1], '\n') + 1
	for i := begin; i < end; i++ {
		for bit := range 8 {
			changed := bytes.Clone(raw)
			changed[i] ^= 1 << bit
			if changed[i] == 0 && (i%sectorBytes == sectorBytes-1 || i == end-1) {
				continue // as a crash leaves it
			}
			if _, err := scan(bytes.NewReader(changed), path, func(Record) error { return nil }); !errdefs.IsDataLoss(err) {
				t.Errorf("byte %d (%q) with bit %d changed: got %v", i-begin, raw[i], bit, err)
			}
		}
	}
}
