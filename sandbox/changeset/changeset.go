package changeset

import (
	"os"
	"path"
	"strings"
	"time"
)

// Kind says what happened to a path.
type Kind string

// Kinds of changes. A file that was renamed is deleted at one path and created at
// another.
const (
	Created  Kind = "created"
	Modified Kind = "modified" // in content, mode, or what it is
	Deleted  Kind = "deleted"
)

// Type says what a path is.
type Type string

// Types of paths.
const (
	File    Type = "file"
	Dir     Type = "dir"
	Symlink Type = "symlink"
	Special Type = "special" // fifo, socket, device: cannot be committed
)

// Change is one path that differs from the directory below.
type Change struct {
	Path string `json:"path"` // relative, clean, with slashes
	Kind Kind   `json:"kind"`
	// Type is what is there now, of a deleted path what was there. Was is what was
	// there where that is another type.
	Type Type `json:"type"`
	Was  Type `json:"was,omitempty"`
	// Mode are the permission bits and set-user-id, set-group-id and sticky, as in
	// stat(2). Zero for symbolic links and deleted paths.
	Mode uint32 `json:"mode,omitempty"`
	// OldMode is that of a modified file or directory before.
	OldMode uint32 `json:"old_mode,omitempty"`
	Size    int64  `json:"size,omitempty"` // of a file, in bytes
	// Target of a symbolic link. Escapes: it leads out of the directory, or might,
	// since it goes up after it went down.
	Target  string `json:"target,omitempty"`
	Escapes bool   `json:"escapes,omitempty"`
	Links   int    `json:"links,omitempty"` // of a file with several names, how many
	// Xattrs are names of extended attributes. Those that do not begin with "user."
	// are not committed.
	Xattrs []string `json:"xattrs,omitempty"`
}

// Set is what a program changed. It is not changed after Read.
type Set struct {
	Changes []Change // sorted by path; what is below a deleted directory, too
	// Conflicts are paths of Changes that somebody else changed meanwhile.
	Conflicts []string
	// Unfit says why the whole cannot be committed, whatever policy says. Empty: it can.
	Unfit string

	steps []step // how it is committed
}

// Totals sums a set up.
type Totals struct {
	Created  int   `json:"created"`
	Modified int   `json:"modified"`
	Deleted  int   `json:"deleted"`
	Bytes    int64 `json:"bytes"` // of files created and modified
}

// Totals counts the changes.
func (s *Set) Totals() Totals {
	var t Totals
	for i := range s.Changes {
		c := &s.Changes[i]
		switch c.Kind {
		case Created:
			t.Created++
		case Modified:
			t.Modified++
		case Deleted:
			t.Deleted++
			continue
		}
		t.Bytes += c.Size
	}
	return t
}

// Overlay is what a program worked on and has left. Whoever has it closes it, which
// drops what was not staged.
type Overlay struct {
	// Upper is the overlay's upper directory, Lower the directory below as this
	// machine sees it (opened with O_PATH).
	Upper, Lower *os.File
	// Since is from when on nobody else should have changed what the program did:
	// a time of the file system's own clock, just before the overlay was made.
	Since time.Time
	// Dir is the path of Lower on this machine.
	Dir string
	// UID and GID own what is committed.
	UID, GID int
	// Done is called by Close. Optional.
	Done func()
}

// Close drops the overlay.
func (o *Overlay) Close() error {
	err := o.Upper.Close()
	if lerr := o.Lower.Close(); err == nil {
		err = lerr
	}
	if o.Done != nil {
		o.Done()
	}
	return err
}

// StagePrefix begins the names of stages, so that what is in them is not taken for
// a part of the workspace.
const StagePrefix = ".sandgate-stage-"

// Bounds of a set that can be read.
const (
	DefaultMaxChanges = 20_000
	maxDepth          = 64
	maxPathBytes      = 4096
)

// escapes reports whether a symbolic link at a path leads out of the directory, or
// might. root is where the program sees the directory.
func escapes(at, target, root string) bool {
	if target == "" {
		return true
	}
	depth := strings.Count(at, "/")
	if path.IsAbs(target) {
		rest, ok := strings.CutPrefix(target, root)
		if !ok || rest != "" && rest[0] != '/' {
			return true
		}
		target, depth = strings.TrimPrefix(rest, "/"), 0
	}
	down := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; down || depth < 0 {
				return true // after a name it may go up from wherever that leads
			}
		default:
			down = true
		}
	}
	return false
}
