package audit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/journal"
)

// Bounds of a page.
const (
	DefaultPage  = 100
	MaxPage      = 1000
	maxPageBytes = 3 << 20
)

// Query says which records are wanted. Empty conditions hold for all; the others are
// joined by and.
type Query struct {
	Kind    journal.Kind
	Caller  string
	Session string
	CallID  string
	Tool    string // of calls: records that name their tool
	Outcome string // of calls: what came of them
	// Start and End bound the time: at or after Start, before End.
	Start, End time.Time
	// NewestFirst turns the order round.
	NewestFirst bool
	// Size is how many records are returned at most, 1 to MaxPage. 0: DefaultPage. A page
	// of large records has fewer.
	Size int
	// Token is the Next of the page before, of the same query.
	Token string
}

// Kinds are the kinds of records that there are, as Query.Kind has them.
func Kinds() []string {
	var out []string
	for _, k := range []journal.Kind{
		journal.KindIntent, journal.KindDecision, journal.KindOutcome, journal.KindCommit, journal.KindSession, journal.KindApproval, journal.KindGrant,
		journal.KindPolicy, journal.KindStart, journal.KindStop, journal.KindRecovery, journal.KindCheckpoint, journal.KindSnapshot, journal.KindRetention,
	} {
		out = append(out, string(k))
	}
	return out
}

// Outcomes are what records of calls have as their outcome, as Query.Outcome has them:
// those of results, and NOT_RUN of an intent that came to nothing.
func Outcomes() []string {
	return []string{
		"EXITED", "SIGNALED", "TIMED_OUT", "OUT_OF_MEMORY", "OUTPUT_LIMIT", "DISK_LIMIT", "DENIED", "APPROVAL_REQUIRED", "CANCELLED",
		"START_FAILED", "UNKNOWN", "NOT_RUN",
	}
}

// Page is a part of an answer.
type Page struct {
	Lines []Line
	Next  string // empty: there is no more
}

// conditions are the fields that a query asks for.
func (q *Query) conditions() ([]field, []string) {
	var fs []field
	var texts []string
	for f, text := range [fields]string{string(q.Kind), q.Caller, q.Session, q.CallID, q.Tool, q.Outcome} {
		if text != "" {
			fs, texts = append(fs, field(f)), append(texts, text)
		}
	}
	return fs, texts
}

// digest stands for the query in its tokens, so that one of another is noticed.
func (q *Query) digest() uint32 {
	parts := []string{
		string(q.Kind), q.Caller, q.Session, q.CallID, q.Tool, q.Outcome, strconv.FormatBool(q.NewestFirst),
		strconv.FormatInt(q.Start.UnixNano(), 10), strconv.FormatInt(q.End.UnixNano(), 10),
	}
	return crc32.ChecksumIEEE([]byte(strings.Join(parts, "\x00")))
}

// token names the record with which the next page begins: records do not change, and
// so neither does what a token means.
func (q *Query) token(seq int64) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "1.%d.%08x", seq, q.digest()))
}

// cursor reads Token: where the page begins; 0 without one.
func (q *Query) cursor() (int64, error) {
	if q.Token == "" {
		return 0, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(q.Token)
	parts := strings.Split(string(raw), ".")
	if err == nil && len(parts) == 3 && parts[0] == "1" && parts[2] == fmt.Sprintf("%08x", q.digest()) {
		if seq, err := strconv.ParseInt(parts[1], 10, 64); err == nil && seq > 0 {
			return seq, nil
		}
	}
	return 0, fmt.Errorf("page token: want the next_page_token of the page before, with the same conditions: %w", errdefs.ErrInvalidArgument)
}

// Query returns the records that the query asks for, in order. A token or size that
// cannot be is errdefs.ErrInvalidArgument.
func (l *Log) Query(ctx context.Context, q Query) (Page, error) {
	cursor, err := q.cursor()
	if err != nil {
		return Page{}, err
	}
	if q.Size == 0 {
		q.Size = DefaultPage
	}
	if q.Size < 1 || q.Size > MaxPage {
		return Page{}, fmt.Errorf("page size %d: want 1 to %d: %w", q.Size, MaxPage, errdefs.ErrInvalidArgument)
	}
	p := &pager{log: l, q: &q, cursor: cursor}
	p.fields, p.texts = q.conditions()
	segments := l.Segments()
	for i := range segments {
		seg := segments[i]
		if q.NewestFirst {
			seg = segments[len(segments)-1-i]
		}
		if err := ctx.Err(); err != nil {
			return Page{}, context.Cause(ctx)
		}
		if cursor > 0 && (!q.NewestFirst && seg.Last < cursor || q.NewestFirst && seg.First > cursor) {
			continue
		}
		done, err := p.segment(seg)
		if errdefs.IsNotFound(err) {
			continue // it was removed meanwhile
		}
		if err != nil || done {
			return p.page, err
		}
	}
	return p.page, nil
}

// pager puts a page together.
type pager struct {
	log    *Log
	q      *Query
	cursor int64
	fields []field
	texts  []string
	page   Page
	bytes  int
}

// segment takes what matches in one segment. done: the page is full.
func (p *pager) segment(seg journal.Segment) (done bool, err error) {
	t, unlock, err := p.table(seg)
	if err != nil || t == nil {
		return false, err
	}
	rows, starts := p.match(t)
	unlock()
	if len(rows) == 0 {
		return false, nil
	}
	f, _, err := p.log.OpenSegment(seg.First)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for i, row := range rows {
		seq := seg.First + int64(row)
		if len(p.page.Lines) == p.q.Size || len(p.page.Lines) > 0 && p.bytes+int(starts[i][1]-starts[i][0]) > maxPageBytes {
			p.page.Next = p.q.token(seq)
			return true, nil
		}
		line, err := readLine(f, starts[i][0], starts[i][1], seq)
		if err != nil {
			return false, err
		}
		p.bytes += len(line.JSON)
		p.page.Lines = append(p.page.Lines, line)
	}
	return false, nil
}

// table is the index of a segment with the columns that are asked for; nil where
// nothing in it can match. unlock is called when it was used.
func (p *pager) table(seg journal.Segment) (t *table, unlock func(), err error) {
	if seg.Live {
		p.log.mu.Lock()
		t, err := p.log.follow()
		if err == nil && t.first == seg.First {
			return t, p.log.mu.Unlock, nil
		}
		p.log.mu.Unlock()
		if err != nil {
			return nil, nil, err
		}
		for _, s := range p.log.Segments() { // it was closed meanwhile
			if s.First == seg.First {
				seg = s
			}
		}
	}
	x, err := p.log.index(seg)
	if err != nil {
		return nil, nil, err
	}
	if p.outside(x.Min, x.Max) {
		return nil, nil, x.f.Close()
	}
	t, err = x.load(p.fields)
	err = errors.Join(err, x.f.Close())
	if errdefs.IsDataLoss(err) {
		t, err = p.log.anew(seg, p.fields, err)
	}
	return t, func() {}, err
}

// outside reports whether no time between low and high is asked for.
func (p *pager) outside(low, high int64) bool {
	return !p.q.Start.IsZero() && high < p.q.Start.UnixNano() || !p.q.End.IsZero() && low >= p.q.End.UnixNano()
}

// match finds the rows that are asked for in their order, one more than the page takes
// at most, and where their lines are.
func (p *pager) match(t *table) (rows []int, places [][2]int64) {
	if p.outside(t.min, t.max) {
		return nil, nil
	}
	ids := make([]uint32, len(p.fields))
	for i, f := range p.fields {
		id, ok := t.columns[f].find(p.texts[i])
		if !ok {
			return nil, nil
		}
		ids[i] = id
	}
	low, high := p.times()
	want := p.q.Size - len(p.page.Lines) + 1
	n := t.rows()
next:
	for i := range n {
		row := i
		if p.q.NewestFirst {
			row = n - 1 - i
		}
		seq := t.first + int64(row)
		if p.cursor > 0 && (!p.q.NewestFirst && seq < p.cursor || p.q.NewestFirst && seq > p.cursor) {
			continue
		}
		if at := t.times[row]; at < low || at >= high {
			continue
		}
		for k, f := range p.fields {
			if t.columns[f].ids[row] != ids[k] {
				continue next
			}
		}
		from := int64(0)
		if row > 0 {
			from = int64(t.ends[row-1])
		}
		rows, places = append(rows, row), append(places, [2]int64{from, int64(t.ends[row])})
		if len(rows) == want {
			break
		}
	}
	return rows, places
}

func (p *pager) times() (low, high int64) {
	low, high = -1<<63, 1<<63-1
	if !p.q.Start.IsZero() {
		low = p.q.Start.UnixNano()
	}
	if !p.q.End.IsZero() {
		high = p.q.End.UnixNano()
	}
	return low, high
}

// Get returns one record. One that was removed is errdefs.ErrNotFound, one that is not
// written yet errdefs.ErrOutOfRange.
func (l *Log) Get(seq int64) (Line, error) {
	segments := l.Segments()
	last := segments[len(segments)-1].Last
	switch {
	case seq < 1 || seq > last:
		return Line{}, fmt.Errorf("record %d: the last one is %d: %w", seq, last, errdefs.ErrOutOfRange)
	case seq < segments[0].First:
		return Line{}, fmt.Errorf("record %d was removed: the oldest that is kept is %d: %w", seq, segments[0].First, errdefs.ErrNotFound)
	}
	var got Line
	err := l.Range(seq, seq, func(line Line) error {
		got = line
		return nil
	})
	return got, err
}

// Range gives the records from first to last to fn, in order.
func (l *Log) Range(first, last int64, fn func(Line) error) error {
	for _, seg := range l.Segments() {
		if seg.Last < first || seg.First > last {
			continue
		}
		p := &pager{log: l, q: &Query{}}
		t, unlock, err := p.table(seg)
		if err != nil {
			return err
		}
		var ends []uint32
		if t != nil {
			ends = slices.Clip(t.ends)
			unlock()
		}
		if err := l.rangeOf(seg, ends, first, last, fn); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) rangeOf(seg journal.Segment, ends []uint32, first, last int64, fn func(Line) error) (err error) {
	f, _, err := l.OpenSegment(seg.First)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for row := max(first-seg.First, 0); row < int64(len(ends)) && seg.First+row <= last; row++ {
		from := int64(0)
		if row > 0 {
			from = int64(ends[row-1])
		}
		line, err := readLine(f, from, int64(ends[row]), seg.First+row)
		if err != nil {
			return err
		}
		if err := fn(line); err != nil {
			return err
		}
	}
	return nil
}

// Tail gives the records from first on (0: those that are written from now on) to fn
// in order, and then each new one, until fn fails or ctx ends, whose cause it returns.
// A number that is not the next one yet is errdefs.ErrOutOfRange; one that was removed
// begins with the oldest.
func (l *Log) Tail(ctx context.Context, first int64, fn func(Line) error) error {
	segments := l.Segments()
	last := segments[len(segments)-1].Last
	switch {
	case first == 0:
		first = last + 1
	case first < 0 || first > last+1:
		return fmt.Errorf("record %d: the last one is %d: %w", first, last, errdefs.ErrOutOfRange)
	}
	for {
		changed := l.Changed()
		segments := l.Segments()
		if last := segments[len(segments)-1].Last; last >= first {
			err := l.Range(first, last, func(line Line) error {
				first = line.Record.Seq + 1
				return fn(line)
			})
			if err != nil && !errdefs.IsNotFound(err) {
				return err
			}
			if ctx.Err() == nil {
				continue
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}
