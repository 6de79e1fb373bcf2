package redact

import (
	"bytes"
	"regexp"
)

// Bounds of what a stream holds back.
const (
	// maxLine is how much of a line is looked at as a whole.
	maxLine = 64 << 10
	// overlap is how much of a longer line is looked at again with what follows.
	overlap = 4 << 10
	// maxKey is how much is taken for a private key whose end does not come.
	maxKey = 64 << 10
)

// Stream takes the secrets out of output that comes in pieces. What may be a
// part of a secret is held back: the line that has no end yet, of a very long
// one its last 4 KiB. A private key is taken out over many lines. A Stream
// belongs to one goroutine.
type Stream struct {
	rules  *Rules
	held   []byte
	key    int  // bytes of a private key that were dropped; 0: none is being read
	gap    bool // since one all is held back, since what follows may be the rest of a secret
	counts map[string]int64
}

// Stream begins a stream whose secrets are counted in counts, by name.
func (r *Rules) Stream(counts map[string]int64) *Stream {
	return &Stream{rules: r, counts: counts}
}

// Write takes the next piece and returns what can be let out. It keeps nothing
// of p.
func (s *Stream) Write(p []byte) []byte {
	s.held = append(s.held, p...)
	if s.gap {
		return nil
	}
	end := bytes.LastIndexByte(s.held, '\n') + 1
	out := s.lines(s.held[:end])
	s.held = append(s.held[:0:0], s.held[end:]...)
	for len(s.held) > maxLine {
		out = append(out, s.part()...)
	}
	return out
}

// Gap tells that output is missing between what came and what comes. It returns
// what was held back, without what could be the beginning of a secret. What comes is
// held back up to the next gap or the end: only then can be told what of it is the
// end of a secret. So it comes out as All has it, and takes as much memory.
func (s *Stream) Gap() []byte {
	var out []byte
	if s.key == 0 {
		out = s.rules.All(s.held, s.gap, true, s.counts)
	}
	s.held, s.key, s.gap = nil, 0, true
	return out
}

// Flush returns what was held back, at the end of the output.
func (s *Stream) Flush() []byte {
	var out []byte
	if s.gap {
		out = s.rules.All(s.held, true, false, s.counts)
	} else {
		out = s.lines(s.held)
	}
	s.held, s.gap = nil, false
	return out
}

// part lets out what of a very long line cannot belong to a secret any more.
func (s *Stream) part() []byte {
	if s.key > 0 {
		out := s.line(s.held)
		s.held = nil
		return out
	}
	cut := len(s.held) - overlap
	found := s.rules.matches(s.held)
	for through := true; through && cut > 0; { // never through a secret, unless it is as long as the line
		through = false
		for _, m := range found {
			if m[0] < cut && cut < m[1] {
				cut, through = m[0], true // which may be within another one
			}
		}
	}
	if cut == 0 {
		cut = len(s.held) - overlap
		for _, m := range found {
			if m[0] < cut && cut < m[1] {
				cut = m[1]
			}
		}
	}
	out := s.line(s.held[:cut])
	s.held = append([]byte(nil), s.held[cut:]...)
	return out
}

// matches returns where secrets are in the text.
func (r *Rules) matches(text []byte) [][]int {
	var found [][]int
	bare, at := plain(text)
	in := func(re *regexp.Regexp) [][]int {
		matches := re.FindAllIndex(bare, -1)
		for _, m := range matches {
			m[0], m[1] = original(at, m[0], m[1])
		}
		return matches
	}
	for i, s := range shapes {
		if r.shapes&(1<<i) != 0 {
			found = append(found, in(s.re)...)
		}
	}
	for _, p := range r.patterns {
		found = append(found, in(p.re)...)
	}
	return found
}

func (s *Stream) lines(text []byte) []byte {
	var out []byte
	for len(text) > 0 {
		end := bytes.IndexByte(text, '\n') + 1
		if end == 0 {
			end = len(text)
		}
		out = append(out, s.line(text[:end])...)
		text = text[end:]
	}
	return out
}

var (
	keyBegin = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----`)
	keyEnd   = regexp.MustCompile(`-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----`)
)

// line takes the secrets out of one line with its end, or of a part of one.
func (s *Stream) line(text []byte) []byte {
	if s.key > 0 {
		at := keyEnd.FindIndex(text)
		if at == nil && s.key < maxKey {
			s.key += len(text)
			return nil
		}
		s.key = 0
		if at == nil {
			return s.line(text) // that was no key
		}
		return s.line(text[at[1]:])
	}
	if s.rules.shapes&1 != 0 { // the first shape is the private key
		if begin := lastIndex(keyBegin, text); begin != nil && keyEnd.FindIndex(text[begin[1]:]) == nil {
			s.counts[privateKey]++
			s.key = len(text) - begin[0]
			return append(s.rules.line(text[:begin[0]], s.counts), Masked...)
		}
	}
	return s.rules.line(text, s.counts)
}

func lastIndex(re *regexp.Regexp, text []byte) []int {
	if !bytes.Contains(text, []byte("PRIVATE KEY")) {
		return nil
	}
	all := re.FindAllIndex(text, -1)
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// All takes the secrets out of a whole text. cutBefore and cutAfter tell that
// text is missing there: what could be the rest of a secret at such an edge is
// taken out, too.
func (r *Rules) All(text []byte, cutBefore, cutAfter bool, counts map[string]int64) []byte {
	if len(text) == 0 {
		return text
	}
	begin, end := 0, len(text)
	if cutBefore {
		for begin < end && begin < overlap && !space(text[begin]) {
			begin++
		}
		if at := keyEnd.FindIndex(text); r.shapes&1 != 0 && at != nil && keyBegin.FindIndex(text[:at[0]]) == nil {
			begin = max(begin, at[1])
		}
	}
	if cutAfter {
		for end > begin && len(text)-end < overlap && !space(text[end-1]) {
			end--
		}
	}
	s := r.Stream(counts)
	out := s.Write(text[begin:end])
	out = append(out, s.Flush()...)
	if begin > 0 {
		out = append([]byte(Masked), out...)
	}
	if end < len(text) {
		out = append(out, Masked...)
	}
	return out
}

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }
