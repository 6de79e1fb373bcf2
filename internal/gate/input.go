package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
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
	root, release, err := g.workspaceFS(p)
	if err != nil {
		return policy.Input{}, err
	}
	defer release()
	p.looked = seen.Watch(root)
	call, tool, err := proposal.Build(p.tool, proposal.Call{
		ID: p.call.ID, Args: p.call.Args, Cwd: p.call.Cwd, Env: p.call.Env,
		StdinBytes: p.call.StdinBytes, Digest: p.digest, StdinDigest: p.call.StdinDigest, Detached: p.call.Detach,
		Terminal: p.call.Terminal != nil,
	}, p.looked)
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
// call would get. A workspace that does not exist yet is known to be empty.
func (g *Gate) workspaceFS(p *prepared) (facts.FS, func(), error) {
	dir, err := g.workspaceOf(p)
	if err != nil {
		return nil, nil, err
	}
	if dir == "" {
		return facts.NewMemFS(nil, nil), func() {}, nil
	}
	root, err := facts.OpenOSRoot(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("workspace (%v): %w", err, errdefs.ErrFailedPrecondition)
	}
	return root, func() { _ = root.Close() }, nil // a read-only descriptor: nothing is lost
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
