// Package seen keeps, in a few bytes of the journal, what a policy saw of a call
// beside its arguments and what nobody could put together later: the time, the
// state of the session, and what the lookups in the workspace found. The gate
// writes it, `sandgate policy replay` decides by it. It holds no content of any
// file, and must never grow with the workspace or the session.
package seen

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
)

// Version of the form. A reader takes what it does not know for absent.
const Version = 1

// The most bytes that a call's lookups and labels take in a record.
const (
	maxLookups = 180
	maxLabels  = 512
	// maxHostLabels are written once for most sessions.
	maxHostLabels = 4096
	maxGrants     = 4096 // few sessions have any
)

// Call is what the journal keeps.
type Call struct {
	Version     int      `json:"v"`
	At          string   `json:"at"` // input.time
	Environment string   `json:"env,omitempty"`
	Seq         int64    `json:"seq,omitempty"`
	Counts      []int    `json:"counts,omitempty"` // allow, ask, deny; of a session that has had calls
	Labels      []string `json:"labels,omitempty"`
	CPUMs       int64    `json:"cpu_ms,omitempty"` // that the session had used
	// Life is what the session was made with. In the records of a session it is at first
	// and where it is another than before.
	Life *Life `json:"life,omitempty"`
	// Granted are the grants that the policy was told of.
	Granted []policy.GrantInput `json:"granted,omitempty"`
	Lookups []string            `json:"fs,omitempty"` // see Workspace
	// Cut names what would have been too long: "fs", "labels", "host_labels",
	// "grants".
	Cut []string `json:"cut,omitempty"`
}

// Life is what a session was made with.
type Life struct {
	Kind       string                    `json:"kind"`
	Created    string                    `json:"created,omitempty"`
	Expires    string                    `json:"expires,omitempty"`
	Quota      *policy.SessionQuotaInput `json:"quota,omitempty"`
	HostLabels map[string]string         `json:"host_labels,omitempty"`
}

// Same reports whether both are the same.
func (l *Life) Same(o *Life) bool {
	if l == nil || o == nil {
		return l == o
	}
	quota := l.Quota == o.Quota || l.Quota != nil && o.Quota != nil && *l.Quota == *o.Quota
	return quota && l.Kind == o.Kind && l.Created == o.Created && l.Expires == o.Expires && maps.Equal(l.HostLabels, o.HostLabels)
}

// live notes what the session was made with and what it has used.
func (c *Call) live(s *policy.SessionInput) {
	if s.Kind == "" {
		return
	}
	c.Life = &Life{Kind: s.Kind, Created: s.Created, Expires: s.Expires, Quota: s.Quota}
	if s.Usage != nil {
		c.CPUMs = s.Usage.CPUMs
	}
	bytes := 0
	for name, value := range s.HostLabels {
		bytes += len(name) + len(value) + 6
	}
	if bytes <= maxHostLabels {
		c.Life.HostLabels = s.HostLabels
	} else {
		c.Cut = append(c.Cut, "host_labels")
	}
}

// grant notes the grants.
func (c *Call) grant(granted []policy.GrantInput) {
	if len(granted) == 0 {
		return
	}
	if raw, err := json.Marshal(granted); err != nil || len(raw) > maxGrants {
		c.Cut = append(c.Cut, "grants")
		return
	}
	c.Granted = granted
}

// Of is what the policy saw in an input whose facts were derived from w; nil
// where nothing was looked up.
func Of(in *policy.Input, w *Workspace) *Call {
	c := &Call{Version: Version, At: in.Time, Environment: in.Daemon.Environment, Seq: in.Session.Seq}
	if n := in.Session.Counts; in.Session.Seq > 0 {
		c.Counts = []int{n["allow"], n["ask"], n["deny"]}
	}
	c.live(&in.Session)
	c.grant(in.Session.Granted)
	bytes := 0
	for _, label := range in.Session.Labels {
		bytes += len(label) + 3
	}
	if bytes <= maxLabels {
		c.Labels = in.Session.Labels
	} else {
		c.Cut = append(c.Cut, "labels")
	}
	if w == nil {
		return c
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		c.Cut = append(c.Cut, "fs")
		return c
	}
	c.Lookups = slices.Clone(w.found)
	return c
}

// The first byte of a lookup's text says what was found; the name follows. Of a
// link its target, of a listing its names follow after a zero.
const (
	foundFile, foundDir, foundOther = 'f', 'd', 'o'
	foundNothing, foundUnknown      = 'x', '?'
	foundLink, foundTarget          = 's', 'l'
	foundList, foundMore            = 'g', 'G'
)

// Workspace is a workspace that notes what lookups find. It is safe for
// concurrent use.
type Workspace struct {
	under facts.FS

	mu    sync.Mutex
	found []string
	bytes int
	cut   bool
}

// Watch notes what lookups in a workspace find.
func Watch(under facts.FS) *Workspace { return &Workspace{under: under} }

func (w *Workspace) note(kind byte, name, more string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return
	}
	text := string(kind) + name + more
	if slices.Contains(w.found, text) {
		return
	}
	if w.bytes += len(text) + 3; w.bytes > maxLookups {
		w.cut, w.found = true, nil
		return
	}
	w.found = append(w.found, text)
}

// Lstat implements facts.FS.
func (w *Workspace) Lstat(name string) (fs.FileInfo, error) {
	info, err := w.under.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.note(foundNothing, name, "")
	case err != nil:
		w.note(foundUnknown, name, "")
	default:
		w.note(kindOf(info.Mode()), name, "")
	}
	return info, err
}

func kindOf(mode fs.FileMode) byte {
	switch {
	case mode.IsRegular():
		return foundFile
	case mode.IsDir():
		return foundDir
	case mode&fs.ModeSymlink != 0:
		return foundLink
	}
	return foundOther
}

// Readlink implements facts.FS.
func (w *Workspace) Readlink(name string) (string, error) {
	target, err := w.under.Readlink(name)
	if err == nil {
		w.note(foundTarget, name, "\x00"+target)
	}
	return target, err
}

// ReadDirNames implements facts.DirFS.
func (w *Workspace) ReadDirNames(name string, limit int) ([]string, bool, error) {
	under, ok := w.under.(facts.DirFS)
	if !ok {
		return nil, false, errors.ErrUnsupported
	}
	names, more, err := under.ReadDirNames(name, limit)
	if err == nil {
		kind := byte(foundList)
		if more {
			kind = foundMore
		}
		w.note(kind, name, "\x00"+strings.Join(names, "/"))
	}
	return names, more, err
}

// Replay is a workspace in which lookups find what they found. It is used by one
// goroutine.
type Replay struct {
	found map[string]string // name to kind and more
	lists map[string]string
	// Missed: something was looked up that was not then, so that nothing is known.
	Missed bool
}

// Workspace is that of the recorded call.
func (c *Call) Workspace() *Replay {
	r := &Replay{found: map[string]string{}, lists: map[string]string{}}
	for _, text := range c.Lookups {
		if text == "" {
			continue
		}
		name, more, _ := strings.Cut(text[1:], "\x00")
		switch text[0] {
		case foundList, foundMore:
			r.lists[name] = text[:1] + more
		case foundTarget:
			r.found[name] = text[:1] + more
		default:
			if _, known := r.found[name]; !known {
				r.found[name] = text[:1]
			}
		}
	}
	return r
}

var errUnknown = errors.New("not known any more")

// Lstat implements facts.FS.
func (r *Replay) Lstat(name string) (fs.FileInfo, error) {
	found, ok := r.found[name]
	if !ok {
		r.Missed = true
		return nil, errUnknown
	}
	mode := fs.FileMode(0o644)
	switch found[0] {
	case foundNothing:
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
	case foundFile:
	case foundDir:
		mode = fs.ModeDir | 0o755
	case foundLink, foundTarget:
		mode = fs.ModeSymlink | 0o777
	case foundOther:
		mode = fs.ModeNamedPipe
	default:
		return nil, errUnknown
	}
	return info{name: name, mode: mode}, nil
}

// Readlink implements facts.FS.
func (r *Replay) Readlink(name string) (string, error) {
	if found := r.found[name]; found != "" && found[0] == foundTarget {
		return found[1:], nil
	}
	return "", errUnknown
}

// ReadDirNames implements facts.DirFS.
func (r *Replay) ReadDirNames(name string, limit int) ([]string, bool, error) {
	list, ok := r.lists[name]
	if !ok {
		r.Missed = true
		return nil, false, errUnknown
	}
	names := strings.Split(list[1:], "/")
	if list[1:] == "" {
		names = nil
	}
	return names[:min(len(names), limit)], list[0] == foundMore || len(names) > limit, nil
}

type info struct {
	name string
	mode fs.FileMode
}

func (i info) Name() string       { return i.name[strings.LastIndexByte(i.name, '/')+1:] }
func (i info) Size() int64        { return 0 }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
