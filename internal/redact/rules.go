package redact

import (
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

// line takes the secrets out of one line and counts them.
func (r *Rules) line(text []byte, counts map[string]int64) []byte {
	found := find(hinted, text) & r.shapes
	for i := 0; found != 0; i, found = i+1, found>>1 {
		if found&1 != 0 {
			text = replaced(text, shapes[i].re, shapes[i].with, shapes[i].name, counts)
		}
	}
	for _, p := range r.patterns {
		text = replaced(text, p.re, Masked, p.name, counts)
	}
	return text
}

func replaced(text []byte, re *regexp.Regexp, with, name string, counts map[string]int64) []byte {
	matches := re.FindAllSubmatchIndex(text, -1)
	if len(matches) == 0 {
		return text
	}
	var out []byte
	last := 0
	for _, m := range matches {
		if m[0] == m[1] {
			continue // of an assertion only; nothing to take out
		}
		out = append(out, text[last:m[0]]...)
		if with == Masked {
			out = append(out, Masked...)
		} else {
			out = re.Expand(out, []byte(with), text, m)
		}
		last = m[1]
		counts[name]++
	}
	return append(out, text[last:]...)
}
