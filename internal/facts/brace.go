package facts

import (
	"fmt"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// braces expands the brace expressions of parts into fields. left is how many fields may still be made; ok is false
// when they were not enough.
func (a *analyzer) braces(parts []syntax.WordPart, left *int) (fields [][]frag, ok bool) {
	fields, ok = [][]frag{nil}, true
	for _, part := range parts {
		alts := [][]frag{nil}
		if exp, isBrace := part.(*syntax.BraceExp); isBrace {
			var fine bool
			alts, fine = a.braceAlternatives(exp, left)
			ok = ok && fine
		} else {
			alts[0] = a.frag(part)
		}
		if len(alts) == 1 {
			for i := range fields {
				fields[i] = append(fields[i], alts[0]...)
			}
			continue
		}
		var next [][]frag
		for _, f := range fields {
			for _, alt := range alts {
				if *left--; *left < 0 {
					return append(next, fields...)[:1], false
				}
				next = append(next, append(append([]frag(nil), f...), alt...))
			}
		}
		fields = next
	}
	return fields, ok
}

func (a *analyzer) braceAlternatives(exp *syntax.BraceExp, left *int) (alts [][]frag, ok bool) {
	if exp.Sequence {
		return sequence(exp, left)
	}
	ok = true
	for _, elem := range exp.Elems {
		sub, fine := a.braces(elem.Parts, left)
		alts = append(alts, sub...)
		if ok = ok && fine; !ok {
			break
		}
	}
	return alts, ok
}

// sequence expands {1..9}, {01..10..2} and {a..e}.
func sequence(exp *syntax.BraceExp, left *int) (alts [][]frag, ok bool) {
	from, to := exp.Elems[0].Lit(), exp.Elems[1].Lit()
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	letters := err1 != nil || err2 != nil
	if letters {
		if len(from) != 1 || len(to) != 1 || isUpper(from[0]) != isUpper(to[0]) {
			return [][]frag{{{dynamic: true, many: true}}}, true
		}
		first, last = int64(from[0]), int64(to[0])
	}
	step := int64(1)
	if len(exp.Elems) > 2 {
		n, err := strconv.ParseInt(exp.Elems[2].Lit(), 10, 64)
		if err != nil || n == -n && n != 0 {
			return [][]frag{{{dynamic: true, many: true}}}, true
		}
		step = max(n, -n, 1)
	}
	const far = 1 << 40
	if max(first, -first, last, -last, step) > far || min(first, last) < -far {
		return [][]frag{{{dynamic: true, many: true}}}, true
	}
	width := 0
	if !letters && (padded(from) || padded(to)) {
		width = max(len(from), len(to))
	}
	if first > last {
		step = -step
	}
	for v := first; step > 0 && v <= last || step < 0 && v >= last; v += step {
		if *left--; *left < 0 {
			return alts, false
		}
		text := string(rune(v))
		if !letters {
			text = fmt.Sprintf("%0*d", width, v)
		}
		alts = append(alts, []frag{{text: text}})
	}
	return alts, true
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }

func padded(s string) bool {
	s = strings.TrimPrefix(s, "-")
	return len(s) > 1 && s[0] == '0'
}
