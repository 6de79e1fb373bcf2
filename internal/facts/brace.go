package facts

import (
	"fmt"
	"strconv"
	"strings"
)

// Brace expansion, done as bash does it: on the text of a word before any other expansion, with its very rules for
// what is no brace expression at all (`{},}`, `{a`, `{x}`). The parser's own splitting differs from them.

// atom is one unquoted byte of a word, or a piece of it that brace expansion passes through.
type atom struct {
	char  byte // 0 for a piece
	piece frag
}

func (t atom) is(c byte) bool { return t.char == c }

// atoms takes the pieces of a word apart.
func atoms(fs []frag) []atom {
	var out []atom
	for _, f := range fs {
		if f.quoted || f.dynamic {
			out = append(out, atom{piece: f})
			continue
		}
		for i := range len(f.text) {
			out = append(out, atom{char: f.text[i]})
		}
	}
	return out
}

// joinAtoms is the way back.
func joinAtoms(in []atom) []frag {
	var out []frag
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			out = append(out, frag{text: plain.String()})
			plain.Reset()
		}
	}
	for _, t := range in {
		if t.char != 0 {
			plain.WriteByte(t.char)
			continue
		}
		flush()
		out = append(out, t.piece)
	}
	flush()
	return out
}

// bracer counts what it makes: an expansion may be exponentially larger than its text.
type bracer struct {
	left     int // atoms that may still be made
	steps    int // atoms that may still be looked at
	overflow bool
}

// expand expands all brace expressions of text. It always returns at least one field.
func (b *bracer) expand(text []atom) [][]atom {
	open, start, end := b.find(text)
	if open < 0 {
		return [][]atom{text}
	}
	fields := [][]atom{text[:open]}
	amble := text[start:end]
	if hasComma(amble) {
		fields = b.cross(fields, b.list(amble))
	} else {
		seq := b.sequence(amble)
		switch {
		case seq != nil:
			fields = b.cross(fields, seq)
		case end+1 < len(text):
			fields = b.cross(fields, [][]atom{text[start-1 : end+1]})
		default:
			return [][]atom{text}
		}
	}
	if rest := text[end+1:]; len(rest) > 0 {
		fields = b.cross(fields, b.expand(rest))
	}
	return fields
}

// find returns where the first brace expression opens, where its inside starts, and where it closes; open is -1 if
// there is none.
func (b *bracer) find(text []atom) (open, start, end int) {
	for i := 0; ; i++ {
		at, ok := b.gobble(text, i, '{')
		if !ok {
			return -1, 0, 0
		}
		if closing, ok := b.gobble(text, at+1, '}'); ok {
			return at, at + 1, closing
		}
		i = at
	}
}

// gobble looks from i on for the byte want at the level of i. A closing brace only counts after a comma or a range.
func (b *bracer) gobble(text []atom, i int, want byte) (at int, ok bool) {
	level, separators := 0, 1
	if want == '}' {
		separators = 0
	}
	for ; i < len(text); i++ {
		if b.steps--; b.steps < 0 {
			b.overflow = true
			return 0, false
		}
		t := text[i]
		if t.is(want) && level == 0 && separators > 0 {
			if want == '{' && i == 0 && (len(text) == 1 || text[1].is('}')) {
				continue // a lone brace, or {} at the start of a word
			}
			return i, true
		}
		switch {
		case t.is('{'):
			level++
		case t.is('}') && level > 0:
			level--
		case want == '}' && t.is(',') && level == 0:
			separators++
		case want == '}' && level == 0 && t.is('.') && i+1 < len(text) && text[i+1].is('.') &&
			(i+2 >= len(text) || !text[i+2].is('}')):
			separators++
		}
	}
	return 0, false
}

func hasComma(amble []atom) bool {
	for _, t := range amble {
		if t.is(',') {
			return true
		}
	}
	return false
}

// list expands the alternatives between the commas of amble.
func (b *bracer) list(amble []atom) [][]atom {
	var out [][]atom
	for start := 0; ; {
		at, ok := b.gobble(amble, start, ',')
		if !ok {
			at = len(amble)
		}
		out = append(out, b.expand(amble[start:at])...)
		if !ok || b.overflow {
			return out
		}
		start = at + 1
	}
}

// cross appends every one of tails to every one of heads.
func (b *bracer) cross(heads, tails [][]atom) [][]atom {
	var out [][]atom
	for _, h := range heads {
		for _, t := range tails {
			if b.left -= len(h) + len(t) + 1; b.left < 0 {
				b.overflow = true
				return append(out, h)
			}
			out = append(out, append(append([]atom(nil), h...), t...))
		}
	}
	return out
}

// unknownField stands for fields of which nothing is known.
var unknownField = [][]atom{{{piece: frag{dynamic: true, many: true}}}}

// sequence expands {1..9}, {01..10..2} and {a..e}; nil if amble is none of them.
func (b *bracer) sequence(amble []atom) [][]atom {
	var text strings.Builder
	for _, t := range amble {
		if t.char == 0 {
			return nil
		}
		text.WriteByte(t.char)
	}
	from, rest, ok := strings.Cut(text.String(), "..")
	if !ok || from == "" || rest == "" {
		return nil
	}
	if strings.ContainsAny(text.String(), " \t\n\v\f\r") {
		return unknownField // bash reads numbers by strtoimax(3), which skips white space
	}
	to, step, hasStep := strings.Cut(rest, "..")
	by := int64(1)
	if hasStep {
		n, err := strconv.ParseInt(step, 10, 64)
		if err != nil {
			return nil
		}
		by = n
	}
	if by < 0 {
		by = -by
	}
	by = max(by, 1)
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	switch {
	case err1 == nil && err2 == nil:
		return b.count(first, last, by, func(v int64) string { return fmt.Sprintf("%0*d", padding(from, to), v) })
	case isLetter(from) && isLetter(to):
		if (from[0] < 'a') != (to[0] < 'a') {
			return unknownField // what lies between the cases is quoted in odd ways
		}
		return b.count(int64(from[0]), int64(to[0]), by, func(v int64) string { return string([]byte{byte(v & 0xff)}) })
	}
	return nil
}

func (b *bracer) count(first, last, by int64, text func(int64) string) [][]atom {
	const far = 1 << 40
	if max(first, -first, last, -last, by) > far || min(first, last) < -far {
		return unknownField
	}
	if first > last {
		by = -by
	}
	var out [][]atom
	for v := first; by > 0 && v <= last || by < 0 && v >= last; v += by {
		s := text(v)
		if b.left -= len(s) + 1; b.left < 0 {
			b.overflow = true
			return out
		}
		out = append(out, atoms([]frag{{text: s}}))
	}
	return out
}

func isLetter(s string) bool {
	return len(s) == 1 && (s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z')
}

// padding is the width to which the numbers of a range are filled with zeros.
func padding(from, to string) int {
	padded := func(s string) bool {
		s = strings.TrimPrefix(s, "-")
		return len(s) > 1 && s[0] == '0'
	}
	if padded(from) || padded(to) {
		return max(len(from), len(to))
	}
	return 0
}
