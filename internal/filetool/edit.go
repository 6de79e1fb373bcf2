package filetool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxEditBytes bounds the files that edit_file takes, before and after.
const maxEditBytes = 16 << 20

type editArgs struct {
	Path       string `json:"path"`
	OldString  string `json:"old_string"`
	NewString  string `json:"new_string"`
	ReplaceAll bool   `json:"replace_all"`
}

func editFile(p *place, raw []byte, out *bufio.Writer) error {
	var a editArgs
	if err := decode(raw, &a); err != nil {
		return err
	}
	switch a.OldString {
	case "":
		return fail(codeUsage, "old_string is empty: use write_file to make a file")
	case a.NewString:
		return fail(codeUsage, "old_string and new_string are the same: there is nothing to do")
	}
	rel, err := p.rel(a.Path)
	if err != nil {
		return err
	}
	target, info, err := p.target(a.Path, rel)
	if err != nil {
		return err
	}
	if info == nil {
		return fail(codeNotFound, "%q does not exist: use write_file to make it", a.Path)
	}
	content, err := p.content(a.Path, target)
	if err != nil {
		return err
	}
	old := []byte(a.OldString)
	count := bytes.Count(content, old)
	switch {
	case count == 0:
		return fail(codeNoMatch, "old_string is not in %q%s", a.Path, missHint(string(content), a.OldString))
	case count > 1 && !a.ReplaceAll:
		return fail(codeAmbiguous, "old_string is %d times in %q (at lines %s): add lines around it to make it unique, or set replace_all",
			count, a.Path, linesOf(content, old, 5))
	}
	if size := len(content) + count*(len(a.NewString)-len(old)); size > maxEditBytes {
		return fail(codeTooLarge, "%q would have %d bytes: at most %d", a.Path, size, maxEditBytes)
	}
	first := linesOf(content, old, 1)
	if err := p.replace(a.Path, target, info, bytes.ReplaceAll(content, old, []byte(a.NewString))); err != nil {
		return err
	}
	places := "place"
	if count > 1 {
		places = "places"
	}
	_, err = fmt.Fprintf(out, "edited %s: replaced %d %s, the first at line %s\n", a.Path, count, places, first)
	return err
}

// content reads a whole text file within the bound.
func (p *place) content(name, rel string) ([]byte, error) {
	f, info, err := p.openRegular(name, rel)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading: there is nothing to lose
	if info.Size() > maxEditBytes {
		return nil, fail(codeTooLarge, "%q has %d bytes: edit_file takes at most %d, use bash", name, info.Size(), maxEditBytes)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxEditBytes+1))
	if err != nil {
		return nil, explain(name, err)
	}
	if len(content) > maxEditBytes {
		return nil, explain(name, errors.New("it grows while it is read"))
	}
	if isBinary(content[:min(len(content), sniffBytes)]) {
		return nil, fail(codeBinary, "%q is a binary file", name)
	}
	return content, nil
}

// linesOf lists the numbers of the first lines on which old begins.
func linesOf(content, old []byte, limit int) string {
	var b strings.Builder
	line, at := 1, 0
	for n := 0; ; n++ {
		i := bytes.Index(content[at:], old)
		if i < 0 {
			return b.String()
		}
		if n == limit {
			return b.String() + ", …"
		}
		line += bytes.Count(content[at:at+i], []byte{'\n'})
		if n > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d", line)
		line += bytes.Count(old, []byte{'\n'})
		at += i + len(old)
		if limit == 1 {
			return b.String()
		}
	}
}

// missHint says what probably went wrong when old is not in the content.
func missHint(content, old string) string {
	if strings.Contains(content, "\r\n") && strings.Contains(strings.ReplaceAll(content, "\r\n", "\n"), old) {
		return `: the file has CRLF line ends; edit within one line, or use bash`
	}
	wanted := strings.Split(old, "\n")
	for i, l := range wanted {
		if num, rest, ok := strings.Cut(strings.TrimLeft(l, " "), "\t"); ok && isNumber(num) {
			wanted[i] = rest
		}
	}
	if stripped := strings.Join(wanted, "\n"); stripped != old && strings.Contains(content, stripped) {
		return ": leave out the line numbers of read_file"
	}
	first := ""
	for _, l := range wanted {
		if first = strings.TrimSpace(l); first != "" {
			break
		}
	}
	line, text, score := nearest(content, first)
	switch {
	case score == 1:
		return fmt.Sprintf(": line %d is the same but for white space, or the lines after it differ: %q", line, text)
	case score >= 0.5:
		return fmt.Sprintf(": nearest is line %d: %q", line, text)
	}
	return ": read the file again, it may have changed"
}

func isNumber(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}

// nearest finds the line that is most like want, judged by what they have in
// common at their ends; 1 means equal but for white space around.
func nearest(content, want string) (line int, text string, score float64) {
	if want == "" {
		return 0, "", 0
	}
	n := 0
	for l := range strings.SplitSeq(content, "\n") {
		n++
		got := strings.TrimSpace(l)
		if s := likeness(got, want); s > score {
			line, text, score = n, l, s
		}
	}
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return line, text, score
}

func likeness(a, b string) float64 {
	short, long := min(len(a), len(b)), max(len(a), len(b))
	if long == 0 {
		return 0
	}
	head := 0
	for head < short && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < short-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	return float64(head+tail) / float64(long)
}
