package facts

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"mvdan.cc/sh/v3/syntax"
)

// maxBodyCuts bounds how often a body is shortened until it can be parsed.
const maxBodyCuts = 32

var (
	errUnclosed = errors.New("a here-document that is not closed")
	errBody     = errors.New("a here-document with an expansion that cannot be parsed")

	// plainDelim is a delimiter that the parser and bash cannot see differently.
	plainDelim = regexp.MustCompile(`^(?:\w+|\\\w+|'\w+'|"\w+")$`)
	// plainNested are the operators of here-documents inside the body of another one, with such delimiters.
	plainNested = regexp.MustCompile(`<<-?[ \t]*(?:\w+|\\\w+|'\w+'|"\w+")`)
)

// heredocs makes the here-documents of a script unmistakable for the parser, whose reading of the delimiter and of the
// end of the body is not bash's: bash joins continued lines before it looks for the delimiter, and it takes the lines
// of the body before it looks at what is in them. Each one that is not plain gets a delimiter of its own.
type heredocs struct {
	from   int // all before it is settled
	probed int // bytes
	count  int
	more   bool   // the line of the last one may hold another
	prefix string // of the new delimiters; stands nowhere in the script
	doubt  error  // why the script as a whole is not known, nil if it is
}

// hereDoc is one here-document; all fields but the delimiter are offsets.
type hereDoc struct {
	word, wordEnd int
	delim         string
	quoted, dash  bool
	body          int // begins
	end, endLine  int // of the body, and of the closing line without its newline
	closed        bool
	cut           bool // more of the closing line follows: the end of a substitution
}

// next settles the here-documents of src up to the first one that has to be written anew, and returns src with that
// done; changed is false when there are no more. It stops before a here-document whose body begins after limit.
func (h *heredocs) next(src string, limit int) (out string, changed bool) {
	for h.more || strings.Contains(src[min(h.from, len(src)):], "<<") {
		at, body, ok := h.find(src)
		if !ok || limit >= 0 && body > limit {
			return src, false
		}
		d, err := readHeredoc(src, at, body)
		if err != nil {
			h.doubtful(err)
			h.from, h.more = body, false
			continue
		}
		if out, changed = h.settle(src, d); changed {
			return out, true
		}
	}
	return src, false
}

func (h *heredocs) doubtful(err error) {
	if h.doubt == nil {
		h.doubt = err
	}
}

// find returns the first here-document that is not settled: where its redirection stands, and where its body begins.
// It is the one that the parser misses the end of when src is cut off where the body would begin.
func (h *heredocs) find(src string) (at, body int, ok bool) {
	open := false // the beginning that was tried last ends within something
	for end := min(h.from, len(src)); ; {
		if h.more {
			// A second here-document on the line of the last one begins where that one ends.
			h.more = false
			if at, ok, open = h.probe(src[:end]); ok {
				h.more = true // until it is settled
				return at, end, true
			}
		}
		if end >= len(src) {
			return 0, 0, false
		}
		start := end
		end = lineEnd(src, end)
		for strings.HasSuffix(src[start:end], "\\\n") && escapes(src[:end-1]) && end < len(src) {
			end = lineEnd(src, end)
		}
		if !open && !strings.Contains(strings.ReplaceAll(src[start:end], "<<<", ""), "<<") {
			continue
		}
		if at, ok, open = h.probe(src[:end]); ok {
			return at, end, true
		}
	}
}

// probe returns where the redirection of the first here-document without an end is. Without one, open tells that head
// does not end where a command does, so that the line may go on.
func (h *heredocs) probe(head string) (at int, ok, open bool) {
	if h.probed += len(head); h.probed > maxReparsed {
		h.doubtful(errTooMany)
		return 0, false, false
	}
	_, err := parseOnce(head)
	var perr syntax.ParseError
	if !errors.As(err, &perr) || !strings.HasPrefix(perr.Text, "unclosed here-document") {
		return 0, false, err != nil
	}
	return int(perr.Pos.Offset()), true, false
}

func lineEnd(s string, from int) int {
	if i := strings.IndexByte(s[from:], '\n'); i >= 0 {
		return from + i + 1
	}
	return len(s)
}

// escapes reports whether s ends in a backslash that is not itself escaped.
func escapes(s string) bool {
	return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1
}

// settle passes a plain here-document, and writes any other anew.
func (h *heredocs) settle(src string, d hereDoc) (out string, changed bool) {
	h.count++
	h.more = strings.Contains(src[d.wordEnd:d.body], "<<")
	body := src[d.body:d.end]
	if strings.Count(src[:d.word], "`")%2 == 1 {
		h.doubtful(errors.New("a here-document between backquotes"))
	}
	plain := d.closed && !d.cut && plainDelim.MatchString(src[d.word:d.wordEnd])
	if plain && (d.quoted || !strings.ContainsAny(body, "$`\\")) && strings.TrimLeft(src[d.end:d.endLine], "\t") == d.delim {
		h.from = min(d.endLine+1, len(src))
		return src, false
	}
	if !d.quoted {
		body = h.bodyOf(body)
	}
	if !d.closed {
		h.doubtful(errUnclosed)
		if escapes(body) {
			body += `\`
		}
		if body != "" && !strings.HasSuffix(body, "\n") {
			body += "\n"
		}
	}
	name := h.name(src)
	word := name
	if d.quoted {
		word = "'" + name + "'"
	}
	between := src[d.wordEnd:d.body]
	if !strings.HasSuffix(between, "\n") {
		between += "\n"
	}
	rest := src[d.endLine:]
	if d.cut || rest == "" {
		rest = "\n" + rest
	}
	head := src[:d.word] + word + between + body + name
	h.from = len(head) + 1
	return head + rest, true
}

// name makes a new delimiter.
func (h *heredocs) name(src string) string {
	for h.prefix == "" || h.count == 1 && strings.Contains(src, h.prefix) {
		h.prefix += "HD"
	}
	return fmt.Sprintf("%s_%d_", h.prefix, h.count)
}

// bodyOf returns the body, if what is expanded in it can be parsed, and otherwise as much of it as can be.
func (h *heredocs) bodyOf(body string) string {
	if strings.Contains(plainNested.ReplaceAllString(strings.ReplaceAll(body, "<<<", ""), ""), "<<") && strings.ContainsAny(body, "$`") {
		h.doubtful(errors.New("a here-document inside another one"))
	}
	if !strings.ContainsAny(body, "$`") || isDocument(body) {
		return body
	}
	h.doubtful(errBody)
	head := body
	for range maxBodyCuts {
		i := strings.LastIndexAny(head, "$`")
		if i < 0 {
			break
		}
		if head = head[:i]; isDocument(head) {
			break
		}
	}
	if !isDocument(head) {
		head = ""
	}
	if head != "" && !strings.HasSuffix(head, "\n") {
		if escapes(head) {
			head += `\`
		}
		head += "\n"
	}
	return head
}

func isDocument(body string) bool {
	_, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Document(strings.NewReader(body))
	return err == nil
}

// check doubts the script if the parser sees other here-documents than those that were settled.
func (h *heredocs) check(stmts []*syntax.Stmt) {
	seen := 0
	count := func(n syntax.Node) bool {
		r, ok := n.(*syntax.Redirect)
		if !ok || r.Op != syntax.Hdoc && r.Op != syntax.DashHdoc {
			return true
		}
		seen++
		return false // neither the delimiter nor the body is looked into
	}
	for _, s := range stmts {
		syntax.Walk(s, count)
	}
	if seen != h.count {
		h.doubtful(errors.New("here-documents that bash may read in another way"))
	}
}

// readHeredoc reads the here-document whose redirection stands at at, and whose body begins at body, as bash does.
func readHeredoc(src string, at, body int) (hereDoc, error) {
	d := hereDoc{body: body}
	op := strings.Index(src[at:body], "<<")
	if op < 0 {
		return d, errors.New("a here-document whose operator is not found")
	}
	i := at + op + 2
	if i < body && src[i] == '-' {
		d.dash = true
		i++
	}
	for i < body {
		switch {
		case src[i] == ' ' || src[i] == '\t':
			i++
			continue
		case strings.HasPrefix(src[i:], "\\\n"):
			i += 2
			continue
		}
		break
	}
	d.word = i
	if err := d.readDelim(src); err != nil {
		return d, err
	}
	inSubst := strings.Contains(src[:at], "$(") || strings.Contains(src[:at], "<(") || strings.Contains(src[:at], ">(")
	for pos := body; pos < len(src); {
		line, next := bodyLine(src, pos, !d.quoted)
		stripped := line
		if d.dash {
			stripped = strings.TrimLeft(line, "\t")
		}
		d.end, d.endLine = pos, next
		if next > pos && src[next-1] == '\n' {
			d.endLine = next - 1
		}
		if d.closed = line == d.delim || stripped == d.delim; d.closed {
			return d, nil
		}
		if inSubst && strings.HasPrefix(stripped, d.delim) && strings.Contains(stripped, ")") {
			lead := len(line) - len(stripped)
			if !strings.HasPrefix(src[pos+lead:], d.delim) {
				return d, errors.New("a here-document that ends with a substitution")
			}
			d.closed, d.cut, d.endLine = true, true, pos+lead+len(d.delim)
			return d, nil
		}
		pos = next
	}
	d.end, d.endLine = len(src), len(src)
	return d, nil
}

// bodyLine reads one line of a body, without its newline; next is where the one after it begins. Lines are joined
// where a backslash ends them if join is set.
func bodyLine(src string, from int, join bool) (line string, next int) {
	var b strings.Builder
	for i := from; i < len(src); i++ {
		switch {
		case src[i] == '\n':
			return b.String(), i + 1
		case src[i] == '\\' && join && i+1 < len(src):
			if i++; src[i] != '\n' {
				b.WriteByte('\\')
				b.WriteByte(src[i])
			}
		default:
			b.WriteByte(src[i])
		}
	}
	return b.String(), len(src)
}

// readDelim reads the word at d.word and removes its quotes as bash does.
func (d *hereDoc) readDelim(src string) error {
	var b strings.Builder
	i := d.word
	for i < len(src) && strings.IndexByte(" \t\n;&|()<>", src[i]) < 0 {
		rest := src[i:]
		switch {
		case strings.HasPrefix(rest, "\\\n"):
			i += 2
		case rest[0] == '\\' && len(rest) > 1:
			d.quoted = true
			b.WriteByte(rest[1])
			i += 2
		case rest[0] == '\'', rest[0] == '"', strings.HasPrefix(rest, "$'"), strings.HasPrefix(rest, `$"`):
			text, n := quotedDelim(rest)
			if n == 0 {
				return errors.New("a here-document whose delimiter is not clear")
			}
			d.quoted = true
			b.WriteString(text)
			i += n
		case rest[0] == '`', strings.HasPrefix(rest, "${"), strings.HasPrefix(rest, "$["), strings.HasPrefix(rest, "$("):
			return errors.New("a here-document whose delimiter holds an expansion")
		default:
			b.WriteByte(rest[0])
			i++
		}
	}
	d.wordEnd, d.delim = i, b.String()
	odd := func(r rune) bool { return r != '\t' && r != '\n' && unicode.IsControl(r) }
	if i == d.word || strings.ContainsFunc(d.delim, odd) {
		return errors.New("a here-document whose delimiter is not clear")
	}
	return nil
}

// quotedDelim reads the quotes that s begins with; n is their length, 0 if they are not understood.
func quotedDelim(s string) (text string, n int) {
	dollar := 0
	if s[0] == '$' {
		dollar = 1
	}
	mark := s[dollar]
	end := dollar + 1
	for ; end < len(s) && s[end] != mark; end++ {
		if s[end] == '\\' && (mark == '"' || dollar == 1) {
			end++
		}
	}
	if end >= len(s) {
		return "", 0
	}
	in := s[dollar+1 : end]
	switch {
	case mark == '"' && (strings.Contains(in, "$(") || strings.Contains(in, "${") || strings.Contains(strings.ReplaceAll(in, "\\`", ""), "`")):
		return "", 0
	case mark == '"':
		in = unescapeIn(in, "$`\"\\")
	case dollar == 1:
		in = ansiC(in)
	}
	return in, end + 1
}
