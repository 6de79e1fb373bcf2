package facts

import (
	"strconv"
	"strings"
	"unicode"
)

// ansiSimple are the escapes of one letter.
var ansiSimple = map[byte]byte{
	'a': 7, 'b': 8, 'e': 27, 'E': 27, 'f': 12, 'n': '\n', 'r': '\r', 't': '\t', 'v': 11,
	'\\': '\\', '\'': '\'', '"': '"', '?': '?',
}

// ansiC decodes the inside of $'…' as bash does; a NUL ends the string. Where what bash makes is not UTF-8, or depends
// on the locale, the result is not UTF-8 either, though not always the same bytes.
func ansiC(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if c, ok := ansiSimple[s[i]]; ok {
			b.WriteByte(c)
			continue
		}
		switch c := s[i]; c {
		case '0', '1', '2', '3', '4', '5', '6', '7':
			n := digits(s[i:], 3, 8)
			v, _ := strconv.ParseUint(s[i:i+n], 8, 16)
			i += n - 1
			if byte(v&0xff) == 0 {
				return b.String()
			}
			b.WriteByte(byte(v & 0xff))
		case 'x', 'u', 'U':
			n, end := ansiHex(&b, s[i:])
			if end {
				return b.String()
			}
			i += n - 1
		case 'c':
			if i+1 >= len(s) {
				b.WriteString(`\c`)
				continue
			}
			i++
			if s[i] == '\\' && i+1 < len(s) && s[i+1] == '\\' {
				i++
			}
			v := control(s[i])
			if v == 0 {
				return b.String()
			}
			b.WriteByte(v)
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String()
}

// control is what \cX stands for.
func control(c byte) byte {
	if c == '?' {
		return 127
	}
	if c >= 'a' && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c & 0x1f
}

// ansiHex decodes \xHH, \x{H…}, \uHHHH and \UHHHHHHHH; s begins at the letter. It returns how much of s was read,
// and whether a NUL ended the string.
func ansiHex(b *strings.Builder, s string) (n int, end bool) {
	if strings.HasPrefix(s, "x{") {
		return ansiBraced(b, s)
	}
	width := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]
	n = digits(s[1:], width, 16)
	if n == 0 {
		b.WriteByte('\\')
		b.WriteByte(s[0])
		return 1, false
	}
	v, err := strconv.ParseUint(s[1:1+n], 16, 64)
	switch {
	case err != nil || v == 0:
		return 1 + n, true
	case s[0] == 'x':
		b.WriteByte(byte(v & 0xff))
	case v > unicode.MaxASCII:
		b.WriteByte(0xff) // what bash writes depends on the locale
	default:
		b.WriteRune(rune(v))
	}
	return 1 + n, false
}

// ansiBraced decodes \x{H…}, of which bash keeps the low byte; without any digit that is a NUL.
func ansiBraced(b *strings.Builder, s string) (n int, end bool) {
	width := digits(s[2:], len(s), 16)
	v, err := strconv.ParseUint(s[2+max(0, width-8):2+width], 16, 64)
	if err != nil || byte(v&0xff) == 0 {
		return 2 + width, true
	}
	b.WriteByte(byte(v & 0xff))
	n = 2 + width
	if strings.HasPrefix(s[n:], "}") {
		n++
	}
	return n, false
}

// digits counts the leading digits of base in s, at most width.
func digits(s string, width, base int) int {
	n := 0
	for n < len(s) && n < width {
		c := s[n]
		ok := c >= '0' && c <= '7' || base == 16 && (c == '8' || c == '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F')
		if !ok {
			break
		}
		n++
	}
	return n
}
