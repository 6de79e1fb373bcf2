package gate

import (
	"strings"

	"go.uber.org/zap"
)

// shelf is what is kept of the calls of one caller: entries, texts and results lie side
// by side, in the order in which the calls came, and go together. The ledger's mutex
// guards it.
type shelf struct {
	caller string
	calls  int // that are known
	slab   []entry
	text   strings.Builder
	whole  packer
	wholes int // results in it
	brief  packer
	// session is that of the latest call, which the next one most likely has as well.
	session string
	latest  *entry // by began; see history
	ended   chain  // finished entries, in the order in which they ended
}

const (
	leastSlab = 4
	mostSlab  = 64
	textBytes = 8 << 10
)

// shelf returns a caller's.
func (l *ledger) shelf(caller string) *shelf {
	s := l.shelves[caller]
	if s == nil {
		caller = strings.Clone(caller)
		s = &shelf{caller: caller, ended: chain{of: func(e *entry) *links { return &e.order }}}
		l.shelves[caller] = s
	}
	return s
}

// entry makes an entry of a call of the caller.
func (s *shelf) entry(key callKey, digest, session string) *entry {
	if len(s.slab) == 0 {
		s.slab = make([]entry, min(max(s.calls, leastSlab), mostSlab))
	}
	e := &s.slab[0]
	s.slab = s.slab[1:]
	if session != s.session {
		s.session = s.keep(session)
	}
	e.key, e.digest, e.session, e.shelf = callKey{s.caller, s.keep(key.id)}, s.keep(digest), s.session, s
	return e
}

// keep is a copy of a text beside those that were kept before.
func (s *shelf) keep(text string) string {
	if len(text) > textBytes/8 {
		return strings.Clone(text)
	}
	if s.text.Cap()-s.text.Len() < len(text) {
		size := min(max(2*s.text.Cap(), 256), textBytes)
		s.text = strings.Builder{}
		s.text.Grow(max(size, len(text)))
	}
	at := s.text.Len()
	_, _ = s.text.WriteString(text) // there is room, and it never fails
	return s.text.String()[at:]
}

// keepWhole packs the result of an entry.
func (l *ledger) keepWhole(e *entry, r Result) {
	e.outcome, e.exit, e.printed = r.Outcome, r.ExitCode, r.Stdout.TotalBytes+r.Stderr.TotalBytes
	r.CallID, r.Digest = "", "" // the entry has them
	l.scratch = r
	var err error
	e.kept, err = e.shelf.whole.pack(&l.scratch)
	l.scratch = Result{}
	if err != nil {
		l.lost(e, err)
		return
	}
	e.whole = true
	e.shelf.wholes++
	l.bytes += e.kept.bytes()
	l.whole.push(e)
}

// keepBrief packs no more than the summary of its result.
func (l *ledger) keepBrief(e *entry, s *summary) {
	e.outcome, e.exit, e.printed = s.outcome, s.exitCode, s.stdout+s.stderr
	l.scratch = s.result()
	var err error
	e.kept, err = e.shelf.brief.pack(&l.scratch)
	l.scratch = Result{}
	if err != nil {
		l.lost(e, err)
	}
}

// lost keeps the outcome alone, of a result that cannot be packed.
func (l *ledger) lost(e *entry, err error) {
	e.kept = packed{}
	l.log.Error("result of a call not kept", zap.String("call_id", e.key.id), zap.Error(err))
}

// takeFromWhole takes an entry from those with their whole result, which it returns
// packed.
func (l *ledger) takeFromWhole(e *entry) packed {
	out := e.kept
	l.whole.remove(e)
	l.bytes -= out.bytes()
	e.whole, e.kept = false, packed{}
	if s := e.shelf; s.wholes == 1 { // a caller who comes seldom keeps no block and no texts for later
		s.whole, s.brief = packer{}, packer{}
	}
	e.shelf.wholes--
	return out
}

// unpack reads the result of a finished entry as it is kept.
func (e *entry) unpack() (Result, error) {
	r := Result{Outcome: e.outcome, ExitCode: -1, IsError: true, Message: forgottenMessage, ChangesUnknown: ChangesForgotten}
	if e.kept.in != nil {
		var err error
		if r, err = e.kept.unpack(); err != nil {
			return Result{}, err
		}
	}
	r.CallID, r.Digest = e.key.id, e.digest
	return r, nil
}

// links are an entry's places in a chain.
type links struct{ before, after *entry }

// chain is a list of entries, each of which has its links in itself.
type chain struct {
	of          func(*entry) *links
	first, last *entry
	n           int
}

func (c *chain) push(e *entry) {
	c.of(e).before = c.last
	if c.last != nil {
		c.of(c.last).after = e
	} else {
		c.first = e
	}
	c.last = e
	c.n++
}

func (c *chain) remove(e *entry) {
	at := c.of(e)
	if at.before != nil {
		c.of(at.before).after = at.after
	} else {
		c.first = at.after
	}
	if at.after != nil {
		c.of(at.after).before = at.before
	} else {
		c.last = at.before
	}
	*at = links{}
	c.n--
}
