package policy

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Package is a policy as it was read, before anything of it is understood.
type Package struct {
	// Name tells people where it is from: a path, or the names of bundles.
	Name string
	// Files by their slash-separated path: Rego, data.json, data.yaml, .manifest.
	// They are not changed any more once the engine has them.
	Files map[string][]byte
	// Revision is what its author calls it. Empty: what .manifest says.
	Revision string
}

func (p Package) sources() sources {
	return sources{name: p.Name, files: p.Files, author: p.Revision}
}

// ReadDir reads the policy of a directory, or the default library for "", with
// its tests and its signatures. Symlinks are followed, hidden directories left
// out. Too many files, too many bytes or too deep a tree is an error.
func ReadDir(dir string) (Package, error) {
	src, err := readSources(dir)
	return Package{Name: src.name, Files: src.files}, err
}

// ID is the revision that the package has once it decides.
func (p Package) ID() (string, error) { return p.sources().revision() }

// Data is what the data files of the package hold together.
func (p Package) Data() (map[string]any, error) { return p.sources().documents() }

// Candidate is a policy that may decide, and does not yet.
type Candidate struct {
	engine *Engine
	rev    *revision
}

// Prepare compiles a policy and proves it fit to decide, as Reload does; it
// changes nothing, the status neither. The error says why it must not decide.
func (e *Engine) Prepare(ctx context.Context, p Package) (*Candidate, error) {
	rev, err := makeRevision(ctx, e.cfg, p.sources())
	if err != nil {
		return nil, err
	}
	return &Candidate{engine: e, rev: rev}, nil
}

// Revision names the content of the candidate.
func (c *Candidate) Revision() string { return c.rev.id }

// Activate lets the candidate decide from the next call on. Calls that are being
// decided keep the one that they began with.
func (c *Candidate) Activate() {
	e := c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	e.current.Store(c.rev)
	e.status = Status{
		Revision: c.rev.id, Source: c.rev.source, LoadedAt: time.Now().UTC(),
		Files: c.rev.files, Profiles: c.rev.profiles,
	}
}

// Activate prepares a policy and lets it decide. One that is refused changes
// nothing but the status.
func (e *Engine) Activate(ctx context.Context, p Package) error {
	e.reload.Lock()
	defer e.reload.Unlock()
	c, err := e.Prepare(ctx, p)
	if err != nil {
		e.Refuse(p.Name, err)
		return err
	}
	c.Activate()
	return nil
}

// Refuse keeps in the status why the newest attempt to get a policy failed. What
// decided before goes on deciding.
func (e *Engine) Refuse(name string, err error) {
	if err == nil {
		err = errors.New("refused without a reason")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status.Error, e.status.ErrorAt = err.Error(), time.Now().UTC()
	if e.status.Source == "" {
		e.status.Source = name
	}
}

// Rules is how many rule ids the policy in force can emit by a literal.
func (e *Engine) Rules() int {
	if rev := e.current.Load(); rev != nil {
		return len(rev.rules)
	}
	return 0
}

// bounds of what one policy may be: an operator's own policy has some hundred
// kilobytes, and compiling takes time and memory that nothing can interrupt.
const (
	maxModuleBytes = 1 << 20
	maxRegoBytes   = 4 << 20
	maxDataBytes   = 8 << 20
	maxNesting     = 500 // brackets within brackets, in Rego and in data
)

// check holds the files to the bounds of a policy.
func (s sources) check() error {
	if len(s.files) > maxPolicyFiles {
		return fmt.Errorf("%s has %d files, the most is %d", s.name, len(s.files), maxPolicyFiles)
	}
	var rego, data int
	for _, name := range s.names() {
		body := s.files[name]
		switch {
		case !isRego(name):
			data += len(body)
		case len(body) > maxModuleBytes:
			return fmt.Errorf("%s has %d bytes, the most of one module is %d", s.shownName(name), len(body), maxModuleBytes)
		default:
			rego += len(body)
		}
		if deep := nesting(body); deep > maxNesting {
			return fmt.Errorf("%s nests brackets %d deep, the most is %d", s.shownName(name), deep, maxNesting)
		}
	}
	switch {
	case rego > maxRegoBytes:
		return fmt.Errorf("%s has %d bytes of Rego, the most is %d", s.name, rego, maxRegoBytes)
	case data > maxDataBytes:
		return fmt.Errorf("%s has %d bytes of data, the most is %d", s.name, data, maxDataBytes)
	}
	return nil
}

// nesting is at least how deep brackets nest: brackets in texts and comments
// count too, closing ones as much as opening ones, so that it needs no parser.
func nesting(body []byte) int {
	depth, most := 0, 0
	for _, c := range body {
		switch c {
		case '(', '[', '{':
			depth++
			most = max(most, depth)
		case ')', ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return most
}

// Recovered clears the error of the newest attempt: there is nothing newer than
// what decides.
func (e *Engine) Recovered() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status.Error, e.status.ErrorAt = "", time.Time{}
}
