package gate

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sandgate/sandgate/internal/policy"
)

// replayVersion is that of the form in which Save writes. New fields go to the end
// of a call's: Load takes what is missing for empty, and passes over what it does
// not know.
const replayVersion = 2

// replayWithoutIDs is the version in which there were no forgotten ids.
const replayWithoutIDs = 1

// maxSavedCall bounds what Load takes for one call.
const maxSavedCall = 4 << 20

// Save implements journal.Fold: a version, the number of calls, and each with its
// length, in the order in which they began; then the forgotten ids.
func (r *Replay) Save(w io.Writer) error {
	all := r.sorted()
	head := binary.BigEndian.AppendUint32([]byte{replayVersion}, uint32(len(all))) //nolint:gosec // bounded by the configuration
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("save calls: %w", err)
	}
	var c codec
	for _, o := range all {
		c.b = append(c.b[:0], 0, 0, 0, 0)
		key := o.key
		c.call(&key, r.calls[o.key])
		if c.err != nil {
			return fmt.Errorf("save calls: %w", c.err)
		}
		binary.BigEndian.PutUint32(c.b, uint32(len(c.b)-4)) //nolint:gosec // far below
		if _, err := w.Write(c.b); err != nil {
			return fmt.Errorf("save calls: %w", err)
		}
	}
	return r.ran.save(w)
}

// Load implements journal.Fold.
func (r *Replay) Load(from io.Reader) error {
	*r = *NewReplay(r.mem)
	if err := r.load(from); err != nil {
		*r = *NewReplay(r.mem)
		return fmt.Errorf("load calls: %w", err)
	}
	return nil
}

func (r *Replay) load(from io.Reader) error {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return err
	}
	if head[0] != replayVersion && head[0] != replayWithoutIDs {
		return fmt.Errorf("the form has the version %d: want %d or %d", head[0], replayWithoutIDs, replayVersion)
	}
	var buf []byte
	for range binary.BigEndian.Uint32(head[1:]) {
		var size [4]byte
		if _, err := io.ReadFull(from, size[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > maxSavedCall {
			return errSaved
		}
		if int(n) > cap(buf) {
			buf = make([]byte, n)
		}
		if _, err := io.ReadFull(from, buf[:n]); err != nil {
			return err
		}
		c := codec{b: buf[:n], reading: true}
		key, p := callKey{}, &past{}
		c.call(&key, p)
		if c.err != nil {
			return c.err
		}
		r.calls[key] = p
		r.order = append(r.order, placed{key, p.seq})
		if p.result != nil {
			r.whole = append(r.whole, p)
		}
	}
	if head[0] == replayWithoutIDs {
		return nil
	}
	return r.ran.load(from)
}

var errSaved = errors.New("a saved call is damaged")

// codec writes the parts of a call one after another, or reads them in the same
// order, so that both are one text.
type codec struct {
	b       []byte
	reading bool
	err     error
}

func (c *codec) call(key *callKey, p *past) {
	c.text(&key.caller)
	c.text(&key.id)
	c.number(&p.seq)
	c.text(&p.digest)
	c.text(&p.tool)
	c.text(&p.session)
	c.flag(&p.detached)
	c.time(&p.at)
	c.flag(&p.ended)
	c.time(&p.endedAt)
	for _, d := range []*[32]byte{(*[32]byte)(&p.stored.result), (*[32]byte)(&p.stored.log)} {
		c.digest(d)
	}
	brief, whole := p.brief != nil, p.result != nil
	c.flag(&brief)
	c.flag(&whole)
	if c.reading && brief {
		p.brief = &summary{}
	}
	if c.reading && whole {
		p.result = &Result{}
	}
	switch {
	case brief:
		c.summary(p.brief)
	case whole:
		c.json(p.result)
		if r := p.result; c.reading && len(r.Decision.Reasons) > 0 { // as boundedDecision leaves it
			r.Decision = boundedDecision(r.Decision)
		}
	default:
		c.json(&p.decision)
	}
}

func (c *codec) summary(s *summary) {
	c.text((*string)(&s.outcome))
	exit := int64(s.exitCode)
	c.number(&exit)
	s.exitCode = int(exit)
	c.text(&s.signal)
	c.text(&s.message)
	c.flag(&s.isError)
	c.number(&s.stdout)
	c.number(&s.stderr)
	for _, d := range []*time.Duration{&s.duration.Queue, &s.duration.Decide, &s.duration.Start, &s.duration.Run, &s.duration.Total} {
		c.number((*int64)(d))
	}
	c.text(&s.decisionID)
	decided := string(s.decided)
	c.text(&decided)
	s.decided = policy.Outcome(decided)
	for _, t := range []*string{&s.profile, &s.revision, &s.rule, &s.reason, &s.remediation} {
		c.text(t)
	}
}

func (c *codec) number(n *int64) {
	if !c.reading {
		c.b = binary.AppendVarint(c.b, *n)
		return
	}
	if len(c.b) == 0 {
		return
	}
	v, size := binary.Varint(c.b)
	if size <= 0 {
		c.err, c.b = errSaved, nil
		return
	}
	*n, c.b = v, c.b[size:]
}

func (c *codec) text(s *string) {
	n := int64(len(*s))
	c.number(&n)
	if !c.reading {
		c.b = append(c.b, *s...)
		return
	}
	if n < 0 || n > int64(len(c.b)) {
		c.err, c.b = errSaved, nil
		return
	}
	*s, c.b = string(c.b[:n]), c.b[n:]
}

func (c *codec) flag(f *bool) {
	n := int64(0)
	if *f {
		n = 1
	}
	c.number(&n)
	*f = n == 1
}

// time keeps what a record's time has: nanoseconds, in UTC.
func (c *codec) time(t *time.Time) {
	n := int64(0)
	if !t.IsZero() {
		n = t.UnixNano()
	}
	c.number(&n)
	if c.reading && n != 0 {
		*t = time.Unix(0, n).UTC()
	}
}

func (c *codec) digest(d *[32]byte) {
	text := ""
	if *d != ([32]byte{}) {
		text = string(d[:])
	}
	c.text(&text)
	if c.reading {
		copy(d[:], text)
	}
}

func (c *codec) json(v any) {
	text := ""
	if !c.reading {
		raw, err := json.Marshal(v)
		if err != nil {
			c.err = err
			return
		}
		text = string(raw)
	}
	c.text(&text)
	if c.reading && c.err == nil {
		if err := json.Unmarshal([]byte(text), v); err != nil {
			c.err = fmt.Errorf("%w: %w", errSaved, err)
		}
	}
}
