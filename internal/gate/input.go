package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/proposal"
	"github.com/sandgate/sandgate/internal/seen"
	"github.com/sandgate/sandgate/internal/session"
)

// input builds the whole document that policy decides on. state is nil for a
// call without a session, or whose session does not exist yet.
func (g *Gate) input(p *prepared, state *session.State) (policy.Input, error) {
	root, end, err := g.workspaceFS(p)
	if err != nil {
		return policy.Input{}, err
	}
	p.looked = seen.Watch(root)
	call, tool, err := proposal.Build(p.tool, proposal.Call{
		ID: p.call.ID, Args: p.call.Args, Cwd: p.call.Cwd, Env: p.call.Env,
		StdinBytes: p.call.StdinBytes, Digest: p.digest, StdinDigest: p.call.StdinDigest, Detached: p.call.Detach,
		Terminal: p.call.Terminal != nil,
	}, p.looked)
	if unopened := end(); unopened != nil {
		return policy.Input{}, unopened
	}
	if err != nil {
		return policy.Input{}, err
	}
	in := policy.Input{
		Caller:  callerInput(p.call.Caller),
		Agent:   policy.AgentInput{Name: p.call.Agent.Name, Version: p.call.Agent.Version, Model: p.call.Agent.Model},
		Session: sessionInput(p, state),
		Call:    call,
		Tool:    tool,
	}
	g.putGrants(&in.Session, p)
	g.describe(&in.Session, state)
	return g.cfg.Policy.Complete(in), nil
}

// workspaceOf is the directory of the machine that the call works on; empty: it has none,
// or none yet.
func (g *Gate) workspaceOf(p *prepared) (string, error) {
	dir := p.call.WorkspaceDir
	bound := dir != ""
	if !bound && p.call.SessionID != "" {
		dir = g.cfg.Sessions.WorkspaceDir(p.call.Caller.ID, p.call.SessionID)
	}
	if dir == "" {
		return "", nil
	}
	if info, err := os.Lstat(dir); !bound && errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil || !info.IsDir() {
		return "", fmt.Errorf("the workspace is no directory that can be used: %w", errdefs.ErrFailedPrecondition)
	}
	return dir, nil
}

// workspaceFS gives the fact builders a read-only view of the workspace that the
// call would get. A workspace that does not exist yet is known to be empty. end is to be
// called when all has been looked up.
func (g *Gate) workspaceFS(p *prepared) (root facts.FS, end func() error, err error) {
	dir, err := g.workspaceOf(p)
	if err != nil {
		return nil, nil, err
	}
	if dir == "" {
		return facts.NewMemFS(nil, nil), func() error { return nil }, nil
	}
	w := &workspaceRoot{dir: dir}
	return w, w.end, nil
}

// workspaceRoot is a workspace that is opened by the first lookup: many calls name no
// file.
type workspaceRoot struct {
	dir  string
	once sync.Once
	root *facts.OSRoot
	err  error // it could not be opened, so that nothing is known
}

var _ facts.DirFS = (*workspaceRoot)(nil)

func (w *workspaceRoot) open() (*facts.OSRoot, error) {
	w.once.Do(func() { w.root, w.err = facts.OpenOSRoot(w.dir) })
	return w.root, w.err
}

// end closes the workspace, and tells that it could not be opened.
func (w *workspaceRoot) end() error {
	if w.err != nil {
		return fmt.Errorf("workspace (%v): %w", w.err, errdefs.ErrFailedPrecondition)
	}
	if w.root != nil {
		_ = w.root.Close() // a read-only descriptor: nothing is lost
	}
	return nil
}

// Lstat implements facts.FS.
func (w *workspaceRoot) Lstat(name string) (fs.FileInfo, error) {
	root, err := w.open()
	if err != nil {
		return nil, err
	}
	return root.Lstat(name)
}

// Readlink implements facts.FS.
func (w *workspaceRoot) Readlink(name string) (string, error) {
	root, err := w.open()
	if err != nil {
		return "", err
	}
	return root.Readlink(name)
}

// ReadDirNames implements facts.DirFS.
func (w *workspaceRoot) ReadDirNames(name string, limit int) ([]string, bool, error) {
	root, err := w.open()
	if err != nil {
		return nil, false, err
	}
	return root.ReadDirNames(name, limit)
}

func callerInput(c Caller) policy.CallerInput {
	return policy.CallerInput{ID: c.ID, Transport: c.Transport, UID: c.UID, GID: c.GID, PID: c.PID, Exe: c.Exe, Tenant: c.Tenant}
}

func sessionInput(p *prepared, state *session.State) policy.SessionInput {
	in := policy.SessionInput{
		ID: p.call.SessionID, Profile: p.profile, Counts: map[string]int{"allow": 0, "ask": 0, "deny": 0},
		Labels: []string{}, Recent: []policy.RecentCall{}, Grants: []string{},
	}
	if state == nil {
		return in
	}
	in.Seq = state.Seq
	maps.Copy(in.Counts, state.Counts)
	in.Labels = append(in.Labels, state.Labels...)
	in.Recent = make([]policy.RecentCall, 0, len(state.Recent))
	for _, r := range state.Recent {
		in.Recent = append(in.Recent, policy.RecentCall{
			Seq: r.Seq, Time: timeText(r.At), Tool: r.Tool, Outcome: r.Outcome, Digest: r.Digest,
		})
	}
	return in
}

// timeText is a time as policy sees it, empty for none.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func encodeInput(in policy.Input) (json.RawMessage, error) {
	raw, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode policy input: %w", err)
	}
	return raw, nil
}
