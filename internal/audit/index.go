package audit

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/journal/merkle"
)

// field is something of a record that can be asked for.
type field int

const (
	byKind field = iota
	byCaller
	bySession
	byCall
	byTool
	byOutcome
	fields
)

// table is the index of one segment in memory.
type table struct {
	first    int64 // number of its first record
	min, max int64 // times, nanoseconds of Unix; of no record: min is the larger
	ends     []uint32
	times    []int64
	columns  [fields]column
}

// column has for each record the number of its text.
type column struct {
	ids   []uint32
	texts []string
	ofID  map[string]uint32
}

func newTable(first int64) *table {
	return &table{first: first, min: math.MaxInt64, max: math.MinInt64}
}

func (t *table) rows() int { return len(t.ends) }

// end is where the last line ends, in bytes.
func (t *table) end() int64 {
	if len(t.ends) == 0 {
		return 0
	}
	return int64(t.ends[len(t.ends)-1])
}

// add takes a line with its newline, the next of its segment.
func (t *table) add(line []byte) error {
	rec, err := journal.Skim(line[:len(line)-1])
	if err != nil {
		return err
	}
	end := t.end() + int64(len(line))
	if end > math.MaxUint32 {
		return fmt.Errorf("segment of record %d has over 4 GiB: %w", t.first, errdefs.ErrOutOfRange)
	}
	at := rec.Time.UnixNano()
	t.min, t.max = min(t.min, at), max(t.max, at)
	t.ends, t.times = append(t.ends, uint32(end)), append(t.times, at) //nolint:gosec // looked at above
	tool, outcome := members(rec.Data)
	for f, text := range [fields]string{string(rec.Kind), rec.Caller, rec.Session, rec.CallID, tool, outcome} {
		t.columns[f].add(text)
	}
	return nil
}

func (c *column) add(text string) {
	id, ok := c.ofID[text]
	if !ok {
		if c.ofID == nil {
			c.ofID = make(map[string]uint32)
		}
		id = uint32(len(c.texts)) //nolint:gosec // no more than records
		c.texts = append(c.texts, text)
		c.ofID[text] = id
	}
	c.ids = append(c.ids, id)
}

// Names are the tool and the outcome that a record names; empty where it has none.
func Names(r journal.Record) (tool, outcome string) { return members(r.Data) }

// members finds the strings "tool" and "outcome" of a JSON object, as the gate's
// records have them, without decoding the rest.
func members(data []byte) (tool, outcome string) {
	s := skimmer{data}
	if !s.take('{') {
		return "", ""
	}
	for {
		key, ok := s.text()
		if !ok || !s.take(':') {
			return tool, outcome
		}
		switch string(key) {
		case "tool", "outcome":
			value, ok := s.text()
			if !ok {
				return tool, outcome
			}
			if key[0] == 't' {
				tool = string(value)
			} else {
				outcome = string(value)
			}
		default:
			s.skip()
		}
		if tool != "" && outcome != "" || !s.take(',') {
			return tool, outcome
		}
	}
}

// skimmer walks over compact JSON.
type skimmer struct{ rest []byte }

func (s *skimmer) take(c byte) bool {
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// text takes a string without escapes.
func (s *skimmer) text() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	end := bytes.IndexAny(s.rest, `"\`)
	if end < 0 || s.rest[end] == '\\' {
		return nil, false
	}
	text := s.rest[:end]
	s.rest = s.rest[end+1:]
	return text, true
}

// skip goes over a value.
func (s *skimmer) skip() {
	depth := 0
	for i := 0; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '"':
			for i++; i < len(s.rest) && s.rest[i] != '"'; i++ {
				if s.rest[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']', ',':
			if s.rest[i] != ',' {
				depth--
			}
			if depth < 0 || depth == 0 && s.rest[i] == ',' {
				s.rest = s.rest[i:]
				return
			}
		}
	}
	s.rest = nil
}

// The file of an index: magic, a line of JSON (layout), and the parts that it names.
const (
	indexMagic   = "sandgate index 1\n"
	maxHeadBytes = 64 << 10
)

// layout says what is where in an index.
type layout struct {
	First int64        `json:"first"`
	Rows  int          `json:"rows"`
	Min   int64        `json:"min"`
	Max   int64        `json:"max"`
	Bytes int64        `json:"bytes"` // of the segment
	Ends  part         `json:"ends"`
	Times part         `json:"times"`
	IDs   [fields]part `json:"ids"`
	Texts [fields]part `json:"texts"` // JSON
}

// part is a piece of the file, from the end of the head.
type part struct {
	At  int64  `json:"at"`
	Len int64  `json:"len"`
	CRC uint32 `json:"crc"`
}

// save writes the index to its file, whole or not at all.
func (t *table) save(path string) error {
	l := layout{First: t.first, Rows: t.rows(), Min: t.min, Max: t.max, Bytes: t.end()}
	var body []byte
	put := func(raw []byte) part {
		p := part{int64(len(body)), int64(len(raw)), crc32.ChecksumIEEE(raw)}
		body = append(body, raw...)
		return p
	}
	l.Ends = put(numbers32(t.ends))
	times := make([]byte, 0, 8*len(t.times))
	for _, at := range t.times {
		times = binary.LittleEndian.AppendUint64(times, uint64(at)) //nolint:gosec // and back
	}
	l.Times = put(times)
	for f := range t.columns {
		c := &t.columns[f]
		l.IDs[f] = put(numbers32(c.ids))
		texts, err := json.Marshal(c.texts)
		if err != nil {
			return fmt.Errorf("write index: %w", err)
		}
		l.Texts[f] = put(texts)
	}
	head, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return merkle.WriteFile(path, bytes.Join([][]byte{[]byte(indexMagic), head, {'\n'}, body}, nil))
}

func numbers32(n []uint32) []byte {
	out := make([]byte, 0, 4*len(n))
	for _, v := range n {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	return out
}

// indexFile is an index on the disk. Its parts are read when they are asked for.
type indexFile struct {
	layout
	f    *os.File
	base int64
}

// openIndex opens the index of a segment. One that is not whole is errdefs.ErrDataLoss.
func openIndex(path string, seg journal.Segment) (*indexFile, error) {
	f, err := os.Open(path) // #nosec G304 -- beside the journal
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	x := &indexFile{f: f}
	buf := make([]byte, maxHeadBytes)
	n, err := f.ReadAt(buf, 0)
	if err != nil && n == 0 {
		return nil, x.broken(err)
	}
	raw, found := bytes.CutPrefix(buf[:n], []byte(indexMagic))
	end := bytes.IndexByte(raw, '\n')
	if !found || end < 0 {
		return nil, x.broken(io.ErrUnexpectedEOF)
	}
	if err := json.Unmarshal(raw[:end], &x.layout); err != nil {
		return nil, x.broken(err)
	}
	if x.First != seg.First || x.Bytes != seg.Bytes || x.Ends.Len != int64(4*x.Rows) || x.Times.Len != int64(8*x.Rows) {
		return nil, x.broken(fmt.Errorf("it is of another segment: %w", errdefs.ErrDataLoss))
	}
	x.base = int64(len(indexMagic) + end + 1)
	return x, nil
}

// broken closes the index and says why.
func (x *indexFile) broken(err error) error {
	_ = x.f.Close() // it was only read
	return fmt.Errorf("index %s: %w: %w", x.f.Name(), err, errdefs.ErrDataLoss)
}

func (x *indexFile) read(p part) ([]byte, error) {
	raw := make([]byte, p.Len)
	if _, err := x.f.ReadAt(raw, x.base+p.At); err != nil || crc32.ChecksumIEEE(raw) != p.CRC {
		return nil, fmt.Errorf("index %s is damaged: %w", x.f.Name(), errdefs.ErrDataLoss)
	}
	return raw, nil
}

// load reads what a question needs: the times, and the columns of the fields. The
// others stay empty.
func (x *indexFile) load(wanted []field) (*table, error) {
	t := &table{first: x.First, min: x.Min, max: x.Max}
	raw, err := x.read(x.Ends)
	if err != nil {
		return nil, err
	}
	t.ends = read32(raw)
	if raw, err = x.read(x.Times); err != nil {
		return nil, err
	}
	t.times = make([]int64, x.Rows)
	for i := range t.times {
		t.times[i] = int64(binary.LittleEndian.Uint64(raw[8*i:])) //nolint:gosec // and back
	}
	for _, f := range wanted {
		c := &t.columns[f]
		if raw, err = x.read(x.Texts[f]); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(raw, &c.texts); err != nil {
			return nil, fmt.Errorf("index %s is damaged: %w", x.f.Name(), errdefs.ErrDataLoss)
		}
		if raw, err = x.read(x.IDs[f]); err != nil {
			return nil, err
		}
		if c.ids = read32(raw); len(c.ids) != x.Rows {
			return nil, fmt.Errorf("index %s is damaged: %w", x.f.Name(), errdefs.ErrDataLoss)
		}
	}
	return t, nil
}

func read32(raw []byte) []uint32 {
	out := make([]uint32, len(raw)/4)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	return out
}

// find is the number of a text; false: no record has it.
func (c *column) find(text string) (uint32, bool) {
	if c.ofID != nil {
		id, ok := c.ofID[text]
		return id, ok
	}
	for i, t := range c.texts {
		if t == text {
			return uint32(i), true
		}
	}
	return 0, false
}
