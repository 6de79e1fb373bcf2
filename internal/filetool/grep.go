package filetool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Bounds of grep.
const (
	defaultHead     = 250
	maxGrepLine     = 64 << 10 // bytes of a line that are matched
	maxGrepShown    = 500      // characters of a line that are shown
	maxGrepFile     = 256 << 20
	maxGrepOutput   = 256 << 10
	maxContextLines = 1000
)

type grepArgs struct {
	Pattern    string `json:"pattern"`
	Path       string `json:"path"`
	Glob       string `json:"glob"`
	OutputMode string `json:"output_mode"`
	IgnoreCase bool   `json:"-i"`
	After      int    `json:"-A"`
	Before     int    `json:"-B"`
	Context    int    `json:"-C"`
	HeadLimit  int    `json:"head_limit"`
}

// Output modes of grep.
const (
	modeFiles   = "files_with_matches"
	modeContent = "content"
	modeCount   = "count"
)

// grepper is one search.
type grepper struct {
	grepArgs
	place   *place
	re      *regexp.Regexp
	out     *bufio.Writer
	printed int // lines or entries
	bytes   int
	line    lineReader
	walker  *walker
}

func grepFiles(p *place, raw []byte, out *bufio.Writer) error {
	g := &grepper{grepArgs: grepArgs{Path: ".", OutputMode: modeFiles, HeadLimit: defaultHead}, place: p, out: out}
	if err := decode(raw, &g.grepArgs); err != nil {
		return err
	}
	if err := g.check(); err != nil {
		return err
	}
	rel, err := p.rel(g.Path)
	if err != nil {
		return err
	}
	g.walker = &walker{place: p, visit: func(name string, e fs.DirEntry) error {
		if !e.Type().IsRegular() || !g.wanted(name) {
			return nil
		}
		return g.search(joined(g.Path, name), rel+"/"+name)
	}}
	f, info, err := p.open(rel)
	if err != nil {
		return explain(g.Path, err)
	}
	if err := f.Close(); err != nil {
		return explain(g.Path, err)
	}
	if info.IsDir() {
		err = g.walker.walk(g.Path, rel, "")
	} else if err = regular(g.Path, info); err == nil {
		err = g.search(g.Path, rel)
		g.walker.stopped = errors.Is(err, errStop)
	}
	if err != nil && !errors.Is(err, errStop) {
		return err
	}
	what := "matches"
	if g.OutputMode == modeFiles {
		what = "files with matches"
	}
	if g.walker.stopped && g.printed <= g.HeadLimit && g.bytes >= maxGrepOutput {
		_, err := fmt.Fprintf(out, "[there is more: the output is cut at %d bytes; narrow the search]\n", maxGrepOutput)
		return err
	}
	return g.walker.note(out, g.printed, g.HeadLimit, what)
}

func (g *grepper) check() error {
	if g.Before == 0 {
		g.Before = g.Context
	}
	if g.After == 0 {
		g.After = g.Context
	}
	if g.Before < 0 || g.After < 0 || g.Before > maxContextLines || g.After > maxContextLines || g.HeadLimit < 1 {
		return fail(codeUsage, "-A, -B and -C must be 0 to %d, head_limit at least 1", maxContextLines)
	}
	switch g.OutputMode {
	case modeFiles, modeContent, modeCount:
	default:
		return fail(codeUsage, "output_mode %q: want %s, %s or %s", g.OutputMode, modeContent, modeFiles, modeCount)
	}
	if g.Glob != "" {
		glob, err := checkPattern(g.Glob)
		if err != nil {
			return err
		}
		g.Glob = glob
	}
	pattern := g.Pattern
	if g.IgnoreCase {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return fail(codeUsage, "the pattern cannot be used: %s (RE2 syntax; escape characters that are meant literally)",
			strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	g.re = re
	return nil
}

// wanted applies the glob: without a slash to the file's name, else to its path.
func (g *grepper) wanted(name string) bool {
	if g.Glob == "" {
		return true
	}
	if !strings.Contains(g.Glob, "/") {
		name = path.Base(name)
	}
	return doublestar.MatchUnvalidated(g.Glob, name)
}

// search looks through one file. A file that cannot be read or is binary is
// skipped: it must not end the search.
func (g *grepper) search(name, rel string) error {
	f, info, err := g.place.open(rel)
	if err != nil {
		g.walker.skipped++
		return nil
	}
	defer f.Close() //nolint:errcheck // opened for reading: there is nothing to lose
	if !info.Mode().IsRegular() {
		return nil // exchanged for something else meanwhile
	}
	br := bufio.NewReaderSize(io.LimitReader(f, maxGrepFile), 64<<10)
	if head, err := br.Peek(sniffBytes); (err != nil && !errors.Is(err, io.EOF)) || isBinary(head) {
		return nil
	}
	s := fileSearch{grepper: g, name: shown(name)}
	for {
		text, err := g.line.next(br, maxGrepLine)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			g.walker.skipped++
			return nil
		}
		done, err := s.one(text)
		if err != nil || done {
			return err
		}
	}
	if g.OutputMode == modeCount && s.matches > 0 {
		return g.print(fmt.Sprintf("%s:%d", s.name, s.matches))
	}
	return nil
}

// print writes one line of the result, or ends the search at its bounds.
func (g *grepper) print(line string) error {
	if g.printed++; g.printed > g.HeadLimit || g.bytes >= maxGrepOutput {
		return errStop
	}
	n, err := fmt.Fprintln(g.out, line)
	g.bytes += n
	return err
}

// fileSearch is the search in one file.
type fileSearch struct {
	*grepper
	name    string
	n       int // of the current line
	matches int
	before  []string // the last lines, oldest first, at most Before
	after   int      // lines still to show after a match
	last    int      // the last line that was shown
}

// one takes the next line; done means that the rest of the file does not matter.
func (s *fileSearch) one(text []byte) (done bool, err error) {
	s.n++
	if !s.re.Match(text) {
		return false, s.context(text)
	}
	s.matches++
	switch s.OutputMode {
	case modeFiles:
		return true, s.print(s.name)
	case modeCount:
		return false, nil
	}
	if first := s.n - len(s.before); s.last > 0 && first > s.last+1 && s.Before+s.After > 0 {
		if err := s.print("--"); err != nil {
			return false, err
		}
	}
	for i, line := range s.before {
		if err := s.print(fmt.Sprintf("%s-%d-%s", s.name, s.n-len(s.before)+i, line)); err != nil {
			return false, err
		}
	}
	s.before, s.after, s.last = s.before[:0], s.After, s.n
	return false, s.print(fmt.Sprintf("%s:%d:%s", s.name, s.n, s.text(text)))
}

// context keeps or shows a line without a match.
func (s *fileSearch) context(text []byte) error {
	if s.OutputMode != modeContent {
		return nil
	}
	if s.after > 0 {
		s.after--
		s.last = s.n
		return s.print(fmt.Sprintf("%s-%d-%s", s.name, s.n, s.text(text)))
	}
	if s.Before > 0 {
		if len(s.before) == s.Before {
			copy(s.before, s.before[1:])
			s.before = s.before[:s.Before-1]
		}
		s.before = append(s.before, s.text(text))
	}
	return nil
}

func (s *fileSearch) text(line []byte) string {
	text, cut, _ := clip(line, maxGrepShown)
	if cut || s.line.long {
		text += "… [line cut]"
	}
	return strings.TrimSuffix(text, "\r")
}
