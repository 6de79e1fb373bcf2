package filetool

import (
	"bufio"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// maxGlobbed bounds the paths that glob returns.
const maxGlobbed = 1000

type globArgs struct {
	Pattern string `json:"pattern"`
	Path    string `json:"path"`
}

func globFiles(p *place, raw []byte, out *bufio.Writer) error {
	a := globArgs{Path: "."}
	if err := decode(raw, &a); err != nil {
		return err
	}
	pattern, err := checkPattern(a.Pattern)
	if err != nil {
		return err
	}
	rel, err := p.rel(a.Path)
	if err != nil {
		return err
	}
	found := 0
	w := &walker{place: p}
	w.visit = func(name string, _ fs.DirEntry) error {
		if !doublestar.MatchUnvalidated(pattern, name) {
			return nil
		}
		if found++; found > maxGlobbed {
			return errStop
		}
		_, err := fmt.Fprintln(out, shown(joined(a.Path, name)))
		return err
	}
	prefix, _ := doublestar.SplitPattern(pattern)
	if prefix == "." {
		prefix = ""
	}
	if err := w.walk(a.Path, rel, prefix); err != nil {
		return err
	}
	return w.note(out, found, maxGlobbed, "files")
}

// checkPattern refuses what cannot match below the start.
func checkPattern(pattern string) (string, error) {
	pattern = strings.TrimPrefix(pattern, "./")
	switch {
	case pattern == "" || !doublestar.ValidatePattern(pattern):
		return "", fail(codeUsage, "the pattern %q is not valid: want for example **/*.go", pattern)
	case strings.HasPrefix(pattern, "/"):
		return "", fail(codeUsage, "the pattern %q is absolute: put the directory into path", pattern)
	case slices.Contains(strings.Split(pattern, "/"), ".."):
		return "", fail(codeUsage, `the pattern %q has ".." in it: put the directory into path`, pattern)
	}
	return pattern, nil
}

// note ends a search: what was not shown, or that there was nothing.
func (w *walker) note(out *bufio.Writer, found, limit int, what string) error {
	var err error
	switch {
	case w.stopped && found > limit:
		_, err = fmt.Fprintf(out, "[there is more: the first %d %s are shown; narrow the search]\n", limit, what)
	case w.stopped:
		_, err = fmt.Fprintf(out, "[stopped after %d entries; narrow the search with path]\n", maxVisited)
	case found == 0:
		_, err = fmt.Fprintf(out, "[no %s found]\n", what)
	}
	if err == nil && w.skipped > 0 {
		_, err = fmt.Fprintf(out, "[%d files or directories could not be searched]\n", w.skipped)
	}
	return err
}

// joined is a found path as the caller can use it in the next call.
func joined(start, name string) string {
	if start == "." || start == "./" {
		return name
	}
	return path.Join(start, name)
}
