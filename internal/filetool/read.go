package filetool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Bounds of read_file.
const (
	defaultLines  = 2000
	maxLineChars  = 2000
	maxReadOutput = 128 << 10
	maxReadScan   = 256 << 20 // bytes looked at to find a line
	sniffBytes    = 8 << 10
)

type readArgs struct {
	Path   string `json:"path"`
	Offset int    `json:"offset"`
	Limit  int    `json:"limit"`
}

func readFile(p *place, raw []byte, out *bufio.Writer) error {
	a := readArgs{Offset: 1, Limit: defaultLines}
	if err := decode(raw, &a); err != nil {
		return err
	}
	if a.Offset < 1 || a.Limit < 1 {
		return fail(codeUsage, "offset and limit must be at least 1")
	}
	rel, err := p.rel(a.Path)
	if err != nil {
		return err
	}
	f, info, err := p.openRegular(a.Path, rel)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // opened for reading: there is nothing to lose
	br := bufio.NewReaderSize(io.LimitReader(f, maxReadScan), 64<<10)
	head, err := br.Peek(sniffBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return explain(a.Path, err)
	}
	if isBinary(head) {
		return fail(codeBinary, "%q is a binary file of %d bytes: read_file shows text only", a.Path, info.Size())
	}
	if len(head) == 0 {
		_, err := out.WriteString("[the file is empty]\n")
		return err
	}
	return printLines(br, a, info.Size(), out)
}

// printLines writes the asked lines with their numbers and a note about the rest.
func printLines(br *bufio.Reader, a readArgs, size int64, out *bufio.Writer) error {
	var line lineReader
	written, replaced := 0, false
	n := 0
	for {
		text, err := line.next(br, maxLineChars*utf8.UTFMax)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return explain(a.Path, err)
		}
		n++
		if n < a.Offset {
			continue
		}
		if n >= a.Offset+a.Limit || written >= maxReadOutput {
			_, err := fmt.Fprintf(out, "[there is more: lines %d to %d are shown of a file of %d bytes; go on with offset %d]\n", a.Offset, n-1, size, n)
			return err
		}
		shown, cut, bad := clip(text, maxLineChars)
		if cut || line.long {
			shown += "… [line cut]"
		}
		replaced = replaced || bad
		m, err := fmt.Fprintf(out, "%6d\t%s\n", n, shown)
		if err != nil {
			return err
		}
		written += m
	}
	switch {
	case line.read >= maxReadScan:
		_, err := fmt.Fprintf(out, "[stopped after %d bytes of a file of %d; use bash to look further]\n", int64(maxReadScan), size)
		return err
	case n < a.Offset:
		return fail(codeUsage, "offset %d is beyond the end: the file has %d lines", a.Offset, n)
	case replaced:
		_, err := out.WriteString("[the file is not valid UTF-8: what could not be read is shown as \uFFFD]\n")
		return err
	}
	return nil
}

// lineReader reads lines of any length in bounded memory.
type lineReader struct {
	buf  []byte
	long bool  // the line was longer than the bound; the rest was skipped
	read int64 // bytes read so far
}

// next returns the next line without its newline, at most limit bytes of it. The
// slice is valid until the next call. io.EOF means that there is none.
func (l *lineReader) next(br *bufio.Reader, limit int) ([]byte, error) {
	l.buf, l.long = l.buf[:0], false
	got := false
	for {
		part, err := br.ReadSlice('\n')
		l.read += int64(len(part))
		got = got || len(part) > 0
		whole := err == nil
		if whole {
			part = part[:len(part)-1]
		}
		if room := limit - len(l.buf); len(part) > room {
			part, l.long = part[:room], true
		}
		l.buf = append(l.buf, part...)
		switch {
		case whole:
			return l.buf, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && got:
			return l.buf, nil
		default:
			return nil, err
		}
	}
}

// clip returns at most limit characters of the line as valid UTF-8, and whether
// something was cut or replaced.
func clip(line []byte, limit int) (text string, cut, bad bool) {
	if len(line) > limit && utf8.RuneCount(line) > limit {
		end := 0
		for range limit {
			_, n := utf8.DecodeRune(line[end:])
			end += n
		}
		line, cut = line[:end], true
	}
	if !utf8.Valid(line) {
		return strings.ToValidUTF8(string(line), "\uFFFD"), cut, true
	}
	return string(line), cut, false
}

// isBinary judges by the beginning of a file, as grep and git do.
func isBinary(head []byte) bool { return bytes.IndexByte(head, 0) >= 0 }
