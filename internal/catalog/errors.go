package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// ArgumentError says which argument of a call is wrong, how, and what would be
// right. It is errdefs.ErrInvalidArgument.
type ArgumentError struct {
	Tool    string
	Field   string // "command", "paths[2]"; empty: the arguments as a whole
	Problem string // "is missing"
	Want    string // "a string"; may be empty
}

// Error implements error.
func (e *ArgumentError) Error() string {
	var b strings.Builder
	b.WriteString("tool " + e.Tool + ": ")
	if e.Field == "" {
		b.WriteString("arguments ")
	} else {
		fmt.Fprintf(&b, "argument %q ", e.Field)
	}
	b.WriteString(e.Problem)
	if e.Want != "" {
		b.WriteString(": want " + e.Want)
	}
	return b.String()
}

// Unwrap makes it an errdefs.ErrInvalidArgument.
func (e *ArgumentError) Unwrap() error { return errdefs.ErrInvalidArgument }

// UnknownToolError says that no tool of that name is declared. It is
// errdefs.ErrNotFound.
type UnknownToolError struct {
	Name  string
	Near  []string // names that may have been meant, best first
	Known []string // all names, sorted
}

// Error implements error.
func (e *UnknownToolError) Error() string {
	name := e.Name
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	if len(e.Near) > 0 {
		return fmt.Sprintf("no tool %q: did you mean %s?", name, strings.Join(e.Near, " or "))
	}
	return fmt.Sprintf("no tool %q: want one of %s", name, strings.Join(e.Known, ", "))
}

// Unwrap makes it an errdefs.ErrNotFound.
func (e *UnknownToolError) Unwrap() error { return errdefs.ErrNotFound }

// near returns up to three names that a typing slip or another product's naming
// could have meant.
func near(name string, names []string) []string {
	if name == "" || len(name) > 64 {
		return nil
	}
	plain := func(s string) string {
		return strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(strings.ToLower(s))
	}
	type scored struct {
		name string
		dist int
	}
	var found []scored
	for _, n := range names {
		d := editDistance(plain(name), plain(n))
		if len(name) >= 3 && (strings.Contains(plain(n), plain(name)) || strings.Contains(plain(name), plain(n))) {
			d = min(d, 2)
		}
		if d <= max(1, len(n)/3) {
			found = append(found, scored{n, d})
		}
	}
	slices.SortStableFunc(found, func(a, b scored) int { return a.dist - b.dist })
	var out []string
	for _, f := range found[:min(3, len(found))] {
		out = append(out, f.name)
	}
	return out
}

// editDistance is the Levenshtein distance in bytes; both strings are short.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diag, row[j] = row[j], min(row[j]+1, row[j-1]+1, diag+cost)
		}
	}
	return row[len(b)]
}
