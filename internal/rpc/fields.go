package rpc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// violation is one field of a request that is wrong.
type violation struct{ field, problem string }

// requestError says which fields of a request are wrong. It is
// errdefs.ErrInvalidArgument; status.go makes a google.rpc.BadRequest of it.
type requestError struct{ violations []violation }

// Error implements error.
func (e *requestError) Error() string {
	texts := make([]string, len(e.violations))
	for i, v := range e.violations {
		texts[i] = v.problem
		if v.field != "" {
			texts[i] = v.field + ": " + v.problem
		}
	}
	return strings.Join(texts, "; ")
}

// Unwrap makes it an errdefs.ErrInvalidArgument.
func (e *requestError) Unwrap() error { return errdefs.ErrInvalidArgument }

// fieldError is a requestError about one field.
func fieldError(field, format string, args ...any) error {
	return &requestError{violations: []violation{{field, fmt.Sprintf(format, args...)}}}
}

// checker collects what is wrong with the fields of one message.
type checker struct{ violations []violation }

func (c *checker) bad(field, format string, args ...any) {
	c.violations = append(c.violations, violation{field, fmt.Sprintf(format, args...)})
}

// err returns nil when nothing was bad.
func (c *checker) err() error {
	if len(c.violations) == 0 {
		return nil
	}
	return &requestError{violations: c.violations}
}

// token checks a name: 1 to limit bytes of which allowed says yes.
func (c *checker) token(field, value string, required bool, limit int, allowed func(byte) bool, set string) {
	switch {
	case value == "" && !required:
		return
	case value == "":
		c.bad(field, "is missing")
		return
	case len(value) > limit:
		c.bad(field, "has %d bytes: want at most %d", len(value), limit)
		return
	case value == "." || value == "..":
		c.bad(field, "is %q: want a name, not a path element", value)
		return
	}
	for i := range len(value) {
		if !allowed(value[i]) {
			c.bad(field, "has the byte %q at %d: want only %s", value[i], i, set)
			return
		}
	}
}

func (c *checker) id(field, value string, required bool) {
	c.token(field, value, required, maxIDBytes, idByte, "[A-Za-z0-9._-]")
}

func (c *checker) profile(field, value string) {
	c.token(field, value, false, maxProfileBytes, profileByte, "[a-z0-9_-]")
}

// text checks free text: at most limit bytes, no NUL. UTF-8 was seen to by the codec.
func (c *checker) text(field, value string, limit int) {
	if len(value) > limit {
		c.bad(field, "has %d bytes: want at most %d", len(value), limit)
	} else if i := strings.IndexByte(value, 0); i >= 0 {
		c.bad(field, "has a NUL byte at %d: want text without it", i)
	}
}

// word checks that a text is empty or one of those that are known.
func (c *checker) word(field, value string, known []string) {
	if value != "" && !slices.Contains(known, value) {
		c.bad(field, "is %.80q, which is not known: want one of %s", value, strings.Join(known, ", "))
	}
}

func idByte(b byte) bool {
	return letter(b) || digit(b) || b == '.' || b == '_' || b == '-'
}

func profileByte(b byte) bool {
	return b >= 'a' && b <= 'z' || digit(b) || b == '_' || b == '-'
}

func imageByte(b byte) bool { return idByte(b) || b == '/' || b == ':' || b == '@' }

func letter(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }

func digit(b byte) bool { return b >= '0' && b <= '9' }
