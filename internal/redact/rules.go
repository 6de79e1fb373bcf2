package redact

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// Bounds of what a policy may give.
const (
	maxPatterns     = 16
	maxPatternBytes = 256
	maxNameBytes    = 64
)

// Rules are the secrets that are taken out of one call's output. Immutable.
type Rules struct {
	shapes   uint32 // as bits
	patterns []pattern
}

type pattern struct {
	name string
	re   *regexp.Regexp
}

// Check says what is wrong with names of known secrets and with patterns: RE2
// expressions by name, at most 16 of 256 bytes each. It compiles no pattern that
// it can refuse beforehand.
func Check(names []string, patterns map[string]string) error {
	for _, name := range names {
		if !slices.ContainsFunc(shapes, func(s shape) bool { return s.name == name }) {
			return fmt.Errorf("redact has %q, want one of %s", name, strings.Join(Names(), ", "))
		}
	}
	if len(patterns) > maxPatterns {
		return fmt.Errorf("there are %d patterns, the most is %d", len(patterns), maxPatterns)
	}
	for name, expr := range patterns {
		if name == "" || len(name) > maxNameBytes || expr == "" || len(expr) > maxPatternBytes {
			return fmt.Errorf("the pattern %.64q has a name of %d and a text of %d bytes, want 1 to %d and 1 to %d",
				name, len(name), len(expr), maxNameBytes, maxPatternBytes)
		}
		if slices.ContainsFunc(shapes, func(s shape) bool { return s.name == name }) {
			return fmt.Errorf("the pattern %q has the name of a known secret: choose another", name)
		}
		re, err := syntax.Parse(expr, syntax.Perl)
		if err != nil {
			return fmt.Errorf("the pattern %q: %w", name, err)
		}
		if matchesNothing(re) {
			return fmt.Errorf("the pattern %q matches the empty text: it has to name something", name)
		}
	}
	return nil
}

// matchesNothing reports whether the expression matches the empty text.
func matchesNothing(re *syntax.Regexp) bool {
	compiled, err := regexp.Compile(re.String())
	return err != nil || compiled.MatchString("")
}

// New makes rules of what Check has found good; nil when there are none.
func New(names []string, patterns map[string]string) (*Rules, error) {
	if len(names) == 0 && len(patterns) == 0 {
		return nil, nil
	}
	if err := Check(names, patterns); err != nil {
		return nil, err
	}
	r := &Rules{}
	for i, s := range shapes {
		if slices.Contains(names, s.name) {
			r.shapes |= 1 << i
		}
	}
	for name, expr := range patterns {
		re, err := regexp.Compile(expr)
		if err != nil {
			return nil, fmt.Errorf("the pattern %q: %w", name, err)
		}
		r.patterns = append(r.patterns, pattern{name, re})
	}
	slices.SortFunc(r.patterns, func(a, b pattern) int { return strings.Compare(a.name, b.name) })
	return r, nil
}

// line takes the secrets out of one line and counts them. The end of the line is no
// part of what is matched, so that $ is where it is expected.
func (r *Rules) line(text []byte, counts map[string]int64) []byte {
	body := bytes.TrimRight(text, "\r\n")
	end := text[len(body):]
	out := r.within(body, counts)
	if len(end) == 0 {
		return out
	}
	return append(slices.Clip(out), end...)
}

// within masks all that any rule finds in the text as it came, so that no part of
// one secret is left because another one overlaps it.
func (r *Rules) within(text []byte, counts map[string]int64) []byte {
	bare, at := plain(text)
	var secrets [][2]int
	look := func(re *regexp.Regexp, with, name string) {
		for _, m := range re.FindAllSubmatchIndex(bare, -1) {
			begin, end := secretIn(m, with)
			if begin == end {
				continue // of an assertion only; nothing to take out
			}
			begin, end = original(at, begin, end)
			secrets = append(secrets, [2]int{begin, end})
			counts[name]++
		}
	}
	found := find(hinted, bare) & r.shapes
	for i := 0; found != 0; i, found = i+1, found>>1 {
		if found&1 != 0 {
			look(shapes[i].re, shapes[i].with, shapes[i].name)
		}
	}
	for _, p := range r.patterns {
		look(p.re, Masked, p.name)
	}
	if len(secrets) == 0 {
		return text
	}
	slices.SortFunc(secrets, func(a, b [2]int) int { return a[0] - b[0] })
	var out []byte
	last, masked := 0, false
	for _, s := range secrets {
		if s[0] >= last || !masked {
			out = append(append(out, text[last:s[0]]...), Masked...)
		}
		last, masked = max(last, s[1]), true
	}
	return append(out, text[last:]...)
}

// secretIn is the part of a match that is taken out: not what its first group says
// it was for, nor what follows the mask.
func secretIn(m []int, with string) (begin, end int) {
	if with == Masked {
		return m[0], m[1]
	}
	_, after, _ := strings.Cut(with, Masked)
	return m[3], m[1] - len(after)
}

// escapes are what terminals take for colours and the like: CSI and OSC sequences,
// and those of two characters.
var escapes = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])`)

// plain is the text without what is meant for a terminal, which would tear a secret
// apart or look like a letter before it, and where each of its bytes is in the text.
// Of most texts it is the text itself, and nil.
func plain(text []byte) (bare []byte, at []int) {
	if bytes.IndexByte(text, 0x1b) < 0 {
		return text, nil
	}
	found := escapes.FindAllIndex(text, -1)
	if len(found) == 0 {
		return text, nil
	}
	bare, at = make([]byte, 0, len(text)), make([]int, 0, len(text))
	last := 0
	for _, m := range append(found, []int{len(text), len(text)}) {
		for i := last; i < m[0]; i++ {
			bare, at = append(bare, text[i]), append(at, i)
		}
		last = m[1]
	}
	return bare, at
}

// original is where a part of the plain text is in the text.
func original(at []int, begin, end int) (from, to int) {
	if at == nil || begin == end {
		return begin, end
	}
	return at[begin], at[end-1] + 1
}
