package python

import (
	"errors"
	"strconv"
	"strings"
)

// str reads the string whose quotes stand at l.pos, after prefix. The expressions in an f-string are parsed.
func (l *lexer) str(prefix string, p *parser) (token, error) {
	t := token{kind: tokString, pos: l.pos, str: &node{kind: isString, literal: true}}
	quote := l.src[l.pos : l.pos+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(l.src[l.pos:], triple) {
		quote = triple
	}
	l.pos += len(quote)
	raw := strings.Contains(prefix, "r")
	if strings.ContainsAny(prefix, "ft") {
		t.str.literal = false
		return t, l.formatted(quote, raw, p)
	}
	from := l.pos
	for {
		if l.pos >= len(l.src) || l.src[l.pos] == '\n' && len(quote) == 1 {
			return t, errors.New("a string is not closed")
		}
		if strings.HasPrefix(l.src[l.pos:], quote) {
			break
		}
		if l.src[l.pos] == '\\' {
			l.pos++
		}
		l.pos++
	}
	text := l.src[from:l.pos]
	l.pos += len(quote)
	if !raw {
		text, t.str.literal = unescape(text, strings.Contains(prefix, "b"))
	}
	t.str.name = text
	return t, nil
}

// formatted reads the rest of an f-string, to its closing quote.
func (l *lexer) formatted(quote string, raw bool, p *parser) error {
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		switch {
		case strings.HasPrefix(rest, quote):
			l.pos += len(quote)
			return nil
		case rest[0] == '\n' && len(quote) == 1:
			return errors.New("a string is not closed")
		case !raw && strings.HasPrefix(rest, `\N{`):
			l.pos += 3
			for l.pos < len(l.src) && l.src[l.pos] != '}' {
				l.pos++
			}
			l.pos++
		case rest[0] == '\\':
			l.pos++
			if c := l.peekByte(0); c != '{' && c != '}' {
				l.pos++
			}
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			l.pos += 2
		case rest[0] == '}':
			return errors.New("a single } in an f-string")
		case rest[0] == '{':
			if err := l.field(quote, raw, p); err != nil {
				return err
			}
		default:
			l.pos++
		}
	}
	return errors.New("a string is not closed")
}

// field reads a replacement field, from its { to its }.
func (l *lexer) field(quote string, raw bool, p *parser) error {
	sub := p.sub(l.src, l.pos+1)
	if sub.depth > maxDepth {
		return errDepth
	}
	if err := sub.advance(); err != nil {
		return err
	}
	if _, err := sub.exprList(); err != nil {
		return err
	}
	if sub.isOp("=") {
		if err := sub.advance(); err != nil {
			return err
		}
	}
	l.pos = sub.tok.pos
	if l.peekByte(0) == '!' {
		l.pos++
		for isNameByte(l.peekByte(0)) || l.peekByte(0) == ' ' {
			l.pos++
		}
	}
	if l.peekByte(0) == ':' {
		l.pos++
		if err := l.spec(quote, raw, p); err != nil {
			return err
		}
	}
	if l.peekByte(0) != '}' {
		return errors.New("an expression in an f-string does not end")
	}
	l.pos++
	return nil
}

// spec reads a format specification up to its }, which can hold fields again.
func (l *lexer) spec(quote string, raw bool, p *parser) error {
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == '}':
			return nil
		case c == '{':
			if err := l.field(quote, raw, p); err != nil {
				return err
			}
		case strings.HasPrefix(l.src[l.pos:], quote), c == '\n' && len(quote) == 1:
			return errors.New("an expression in an f-string does not end")
		case c == '\\' && !raw && strings.HasPrefix(l.src[l.pos:], `\N{`):
			for l.pos < len(l.src) && l.src[l.pos] != '}' {
				l.pos++
			}
			l.pos++
		default:
			l.pos++
		}
	}
	return errors.New("a string is not closed")
}

// unescape replaces the escapes of a literal; known is false for one that is not understood.
func unescape(s string, isBytes bool) (text string, known bool) {
	if !strings.Contains(s, `\`) {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if at := strings.IndexByte("abfnrtv\\'\"", s[i]); at >= 0 {
			b.WriteByte("\a\b\f\n\r\t\v\\'\""[at])
			continue
		}
		width := 0
		switch c := s[i]; {
		case c == '\n':
			continue
		case c == 'x':
			width = 2
		case c == 'u' && !isBytes:
			width = 4
		case c == 'U' && !isBytes:
			width = 8
		case c == 'N' && !isBytes:
			return "", false
		case c >= '0' && c <= '7':
			n := 1
			for n < 3 && i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '7' {
				n++
			}
			v, err := strconv.ParseUint(s[i:i+n], 8, 32)
			if err != nil || isBytes && v > 127 {
				return "", false
			}
			b.WriteRune(rune(v)) //nolint:gosec // at most 0777
			i += n - 1
			continue
		default:
			b.WriteByte('\\')
			b.WriteByte(s[i])
			continue
		}
		if i+width >= len(s) {
			return "", false
		}
		v, err := strconv.ParseUint(s[i+1:i+1+width], 16, 32)
		if err != nil || v > 0x10ffff || v >= 0xd800 && v < 0xe000 || isBytes && v > 127 {
			return "", false
		}
		b.WriteRune(rune(v))
		i += width
	}
	return b.String(), true
}
