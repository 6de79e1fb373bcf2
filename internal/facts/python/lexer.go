package python

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

type kind byte

const (
	tokEnd kind = iota
	tokNewline
	tokIndent
	tokDedent
	tokName
	tokKeyword
	tokNumber
	tokString
	tokOp
)

// token is one token. A string has its value in str.
type token struct {
	kind kind
	text string
	pos  int
	str  *node
}

// The limits are CPython's own, or below them.
const (
	maxBytes   = 256 << 10
	maxNesting = 200 // MAXLEVEL
	maxIndent  = 100
	maxDepth   = 400 // calls of the parser within each other
)

func isKeyword(s string) bool {
	switch s {
	case "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
		"else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not",
		"or", "pass", "raise", "return", "try", "while", "with", "yield":
		return true
	}
	return false
}

// lexer makes tokens of src, from pos on.
type lexer struct {
	src     string
	pos     int
	nest    int // open brackets
	base    int // of them, those that were open where it began: in the braces of an f-string
	indents []column
	pending int // dedents to come
	bol     bool
	blank   bool // no token on this line yet
}

// column is an indentation with tabs to eight, and with tabs as one.
type column struct{ wide, narrow int }

var errIndent = errors.New("unexpected or inconsistent indentation")

func (l *lexer) peekByte(n int) byte {
	if l.pos+n < len(l.src) {
		return l.src[l.pos+n]
	}
	return 0
}

// next reads one token.
func (l *lexer) next(p *parser) (token, error) {
	if l.pending > 0 {
		l.pending--
		return token{kind: tokDedent, pos: l.pos}, nil
	}
	if l.bol && l.nest == 0 {
		if t, ok, err := l.indent(); ok || err != nil {
			return t, err
		}
	}
	if err := l.blanks(); err != nil {
		return token{}, err
	}
	if l.pos >= len(l.src) {
		return l.atEnd()
	}
	c := l.src[l.pos]
	if c == '\n' {
		t := token{kind: tokNewline, pos: l.pos}
		l.pos++
		l.bol = true
		return t, nil
	}
	l.blank = false
	switch {
	case c >= '0' && c <= '9', c == '.' && isDigit(l.peekByte(1)):
		return l.number(), nil
	case c == '\'' || c == '"':
		return l.str("", p)
	case c < utf8.RuneSelf && isNameByte(c), c >= utf8.RuneSelf:
		return l.name(p)
	}
	return l.op()
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNameByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c)
}

// atEnd closes the last line and all blocks.
func (l *lexer) atEnd() (token, error) {
	if l.nest > 0 {
		return token{}, errors.New("a bracket is not closed")
	}
	if !l.bol {
		l.bol = true
		return token{kind: tokNewline, pos: l.pos}, nil
	}
	if n := len(l.indents); n > 0 {
		l.indents, l.pending = nil, n-1
		return token{kind: tokDedent, pos: l.pos}, nil
	}
	return token{kind: tokEnd, pos: l.pos}, nil
}

// indent measures the beginning of a line. Blank lines and those of a comment do not count.
func (l *lexer) indent() (t token, ok bool, err error) {
	var col column
	for {
		switch l.peekByte(0) {
		case ' ':
			col.wide, col.narrow = col.wide+1, col.narrow+1
			l.pos++
			continue
		case '\t':
			col.wide, col.narrow = col.wide/8*8+8, col.narrow+1
			l.pos++
			continue
		case '\f':
			col = column{}
			l.pos++
			continue
		case '\\':
			if l.peekByte(1) == '\n' { // the indentation is the one before it
				l.pos += 2
				for c := l.peekByte(0); c == ' ' || c == '\t' || c == '\f'; c = l.peekByte(0) {
					l.pos++
				}
			}
		case '#':
			l.comment()
		}
		if l.pos < len(l.src) && l.src[l.pos] == '\n' {
			l.pos++
			col = column{}
			continue
		}
		break
	}
	if l.pos >= len(l.src) {
		return token{}, false, nil
	}
	l.bol = false
	return l.compare(col)
}

func (l *lexer) compare(col column) (t token, ok bool, err error) {
	top := column{}
	if n := len(l.indents); n > 0 {
		top = l.indents[n-1]
	}
	switch {
	case col == top:
		return token{}, false, nil
	case col.wide > top.wide:
		if col.narrow <= top.narrow || len(l.indents) >= maxIndent {
			return token{}, false, errIndent
		}
		l.indents = append(slices.Clip(l.indents), col)
		return token{kind: tokIndent, pos: l.pos}, true, nil
	}
	n := 0
	for len(l.indents) > 0 && l.indents[len(l.indents)-1].wide > col.wide {
		l.indents = l.indents[:len(l.indents)-1]
		n++
	}
	top = column{}
	if k := len(l.indents); k > 0 {
		top = l.indents[k-1]
	}
	if n == 0 || top != col {
		return token{}, false, errIndent
	}
	l.pending = n - 1
	return token{kind: tokDedent, pos: l.pos}, true, nil
}

func (l *lexer) comment() {
	for l.pos < len(l.src) && l.src[l.pos] != '\n' {
		l.pos++
	}
}

// blanks skips what separates tokens; inside brackets newlines do.
func (l *lexer) blanks() error {
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == ' ' || c == '\t' || c == '\f', c == '\n' && l.nest > 0:
			l.pos++
		case c == '#':
			l.comment()
		case c == '\\':
			if l.peekByte(1) != '\n' {
				return errors.New("a backslash that joins no lines")
			}
			l.pos += 2
		default:
			return nil
		}
	}
	return nil
}

func (l *lexer) number() token {
	from := l.pos
	digits := func(ok func(byte) bool) {
		for l.pos < len(l.src) && (ok(l.src[l.pos]) || l.src[l.pos] == '_' && ok(l.peekByte(1))) {
			l.pos++
		}
	}
	if next := l.peekByte(1) | 0x20; l.src[l.pos] == '0' && (next == 'x' || next == 'o' || next == 'b') {
		l.pos += 2
		digits(func(c byte) bool { return isDigit(c) || next == 'x' && (c|0x20) >= 'a' && (c|0x20) <= 'f' })
		return token{kind: tokNumber, text: l.src[from:l.pos], pos: from}
	}
	digits(isDigit)
	if l.peekByte(0) == '.' {
		l.pos++
		digits(isDigit)
	}
	if l.peekByte(0)|0x20 == 'e' {
		n := 1
		if c := l.peekByte(1); c == '+' || c == '-' {
			n = 2
		}
		if isDigit(l.peekByte(n)) {
			l.pos += n
			digits(isDigit)
		}
	}
	if l.peekByte(0)|0x20 == 'j' {
		l.pos++
	}
	return token{kind: tokNumber, text: l.src[from:l.pos], pos: from}
}

// name reads a name, a keyword, or the prefix of a string.
func (l *lexer) name(p *parser) (token, error) {
	from, ascii := l.pos, true
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		if c < utf8.RuneSelf {
			if !isNameByte(c) {
				break
			}
			l.pos++
			continue
		}
		r, n := utf8.DecodeRuneInString(l.src[l.pos:])
		if !nameRune(r) {
			return token{}, fmt.Errorf("the character %U stands where none may", r)
		}
		ascii = false
		l.pos += n
	}
	text := l.src[from:l.pos]
	if c := l.peekByte(0); (c == '\'' || c == '"') && len(text) <= 2 {
		if prefix := strings.ToLower(text); strings.Contains(" r b u f t br rb fr rf tr rt ", " "+prefix+" ") {
			return l.str(prefix, p)
		}
	}
	if ascii && isKeyword(text) {
		return token{kind: tokKeyword, text: text, pos: from}, nil
	}
	if !ascii {
		text = norm.NFKC.String(text) // as Python does: other letters are the same name
	}
	return token{kind: tokName, text: text, pos: from}, nil
}

func nameRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.In(r, unicode.Nl, unicode.Mn, unicode.Mc, unicode.Pc,
		unicode.Other_ID_Start, unicode.Other_ID_Continue)
}

var operators = [...]string{
	"**=", "//=", ">>=", "<<=", "...", "!=", "->", ":=", "==", "<=", ">=", "+=", "-=", "*=", "/=", "%=", "@=", "&=", "|=", "^=",
	"**", "//", "<<", ">>",
}

func (l *lexer) op() (token, error) {
	from := l.pos
	c := l.src[from]
	inner := l.base > 0 && l.nest == l.base
	if inner && (c == ':' || c == '}' || c == '!' && l.peekByte(1) != '=') {
		return token{kind: tokOp, text: l.src[from : from+1], pos: from}, nil // the end of an expression in an f-string
	}
	for _, op := range operators {
		if strings.HasPrefix(l.src[from:], op) {
			l.pos += len(op)
			return token{kind: tokOp, text: op, pos: from}, nil
		}
	}
	switch c {
	case '(', '[', '{':
		if l.nest++; l.nest > maxNesting {
			return token{}, errors.New("brackets nest too deeply")
		}
	case ')', ']', '}':
		if l.nest--; l.nest < l.base {
			return token{}, fmt.Errorf("a %q that closes nothing", c)
		}
	case '+', '-', '*', '/', '%', '@', '&', '|', '^', '~', '<', '>', ',', ':', '.', ';', '=':
	default:
		return token{}, fmt.Errorf("the character %q stands where none may", c)
	}
	l.pos++
	return token{kind: tokOp, text: l.src[from:l.pos], pos: from}, nil
}
