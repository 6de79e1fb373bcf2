package filetool

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// Bounds of a search.
const (
	maxVisited = 500_000 // entries
	maxDepth   = 100
)

var errStop = errors.New("stop the walk")

// walker visits the files below a directory in the order of their paths. It
// skips .git and follows no symbolic link.
type walker struct {
	place   *place
	visit   func(rel string, e fs.DirEntry) error // rel is relative to the start
	visited int
	skipped int // directories that could not be read or are too deep
	stopped bool
}

// walk visits what is below start, a directory relative to the workspace. prefix
// limits it to that sub-directory. visit's errStop ends it early.
func (w *walker) walk(name, start, prefix string) error {
	_, _, err := w.place.entries(name, start) // the start itself must be a directory
	if err != nil {
		return err
	}
	err = w.dir(start, prefix, strings.Count(prefix, "/"))
	if errors.Is(err, errStop) {
		w.stopped = true
		return nil
	}
	return err
}

func (w *walker) dir(start, rel string, depth int) error {
	if depth > maxDepth {
		w.skipped++
		return nil
	}
	entries, more, err := w.place.entries(rel, start+"/"+rel)
	if err != nil {
		if rel != "" {
			w.skipped++
		}
		return nil // gone meanwhile, not a directory any more, or not ours
	}
	if more {
		w.skipped++
	}
	for _, e := range entries {
		if w.visited++; w.visited > maxVisited {
			return errStop
		}
		name := path.Join(rel, e.Name())
		if e.IsDir() {
			if e.Name() == ".git" {
				continue
			}
			if err := w.dir(start, name, depth+1); err != nil {
				return err
			}
			continue
		}
		if err := w.visit(name, e); err != nil {
			return err
		}
	}
	return nil
}
