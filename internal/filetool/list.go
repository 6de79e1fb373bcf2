package filetool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of list_dir.
const (
	maxListed  = 1000
	maxDirRead = 100_000 // entries of one directory that are looked at
)

type listArgs struct {
	Path string `json:"path"`
}

func listDir(p *place, raw []byte, out *bufio.Writer) error {
	a := listArgs{Path: "."}
	if err := decode(raw, &a); err != nil {
		return err
	}
	rel, err := p.rel(a.Path)
	if err != nil {
		return err
	}
	entries, more, err := p.entries(a.Path, rel)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		_, err := out.WriteString("[the directory is empty]\n")
		return err
	}
	for _, e := range entries[:min(len(entries), maxListed)] {
		if _, err := fmt.Fprintln(out, p.describe(rel, e)); err != nil {
			return err
		}
	}
	switch {
	case more:
		_, err = fmt.Fprintf(out, "[there is more: the directory has over %d entries, %d are shown; use glob]\n", maxDirRead, maxListed)
	case len(entries) > maxListed:
		_, err = fmt.Fprintf(out, "[there is more: %d of %d entries are shown; use glob]\n", maxListed, len(entries))
	}
	return err
}

// entries reads a directory, sorted by name, and tells whether it has more than
// is ever looked at.
func (p *place) entries(name, rel string) ([]fs.DirEntry, bool, error) {
	f, info, err := p.open(rel)
	if err != nil {
		return nil, false, explain(name, err)
	}
	defer f.Close() //nolint:errcheck // opened for reading: there is nothing to lose
	if !info.IsDir() {
		return nil, false, fail(codeNotDir, "%q is no directory: use read_file", name)
	}
	entries, err := f.ReadDir(maxDirRead + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, explain(name, err)
	}
	more := len(entries) > maxDirRead
	entries = entries[:min(len(entries), maxDirRead)]
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, more, nil
}

// describe is one line of the listing. The size is looked up through the root: a
// DirEntry would look it up by a path that may have changed.
func (p *place) describe(dir string, e fs.DirEntry) string {
	kind, size, name := "file", "-", shown(e.Name())
	switch t := e.Type(); {
	case t.IsDir():
		kind, name = "dir", name+"/"
	case t&fs.ModeSymlink != 0:
		kind = "link"
		if to, err := p.root.Readlink(path.Join(dir, e.Name())); err == nil {
			name += " -> " + shown(to)
		}
	case !t.IsRegular():
		kind = "other"
	default:
		if info, err := p.root.Lstat(dir + "/" + e.Name()); err == nil {
			size = strconv.FormatInt(info.Size(), 10)
		}
	}
	return fmt.Sprintf("%-5s %12s  %s", kind, size, name)
}

// shown is a name as it is printed: quoted when it would not be one plain line.
func shown(name string) string {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}
