package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/version"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// fakeGate answers calls with execute and keeps what it was asked.
type fakeGate struct {
	execute func(ctx context.Context, call gate.Call, obs gate.Observer) (gate.Result, error)
	attach  func(ctx context.Context, stdout, stderr int64, f gate.Follower) (gate.Result, error)
	calls   map[string]gate.CallStatus

	mu        sync.Mutex
	seen      []gate.Call
	cancelled []string
}

func (g *fakeGate) Execute(ctx context.Context, call gate.Call, obs gate.Observer) (gate.Result, error) {
	g.mu.Lock()
	g.seen = append(g.seen, call)
	g.mu.Unlock()
	return g.execute(ctx, call, obs)
}

func (g *fakeGate) Evaluate(_ context.Context, call gate.Call, _ bool) (gate.Evaluation, error) {
	return gate.Evaluation{
		CallID: call.ID, Digest: "sha256:d", Input: json.RawMessage(`{"schema":"x"}`),
		Decision: policy.Decision{Outcome: policy.Ask, Ask: &policy.AskTerms{Quorum: 2, TTLMs: 5, OnTimeout: policy.Deny}},
	}, nil
}

func (g *fakeGate) ListTools(_ context.Context, caller gate.Caller, profile string) ([]catalog.Tool, error) {
	if profile == "stolen" {
		return nil, fmt.Errorf("profile %q: %w", profile, errdefs.ErrPermissionDenied)
	}
	return []catalog.Tool{{
		Name: "bash", Description: caller.ID, InputSchema: json.RawMessage(`{"type":"object"}`), Source: "builtin",
	}}, nil
}

func (g *fakeGate) Cancel(_ context.Context, _ gate.Caller, callID string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cancelled = append(g.cancelled, callID)
	return nil
}

func (g *fakeGate) Start(ctx context.Context, call gate.Call) (*gate.Running, *gate.Result, error) {
	res, err := g.Execute(ctx, call, nil)
	if err != nil || res.Outcome != "RUNNING" {
		return nil, &res, err
	}
	return &gate.Running{CallID: call.ID, Digest: "sha256:d", Started: time.Unix(3, 0)}, nil, nil
}

func (g *fakeGate) Attach(ctx context.Context, _ gate.Caller, callID string, stdout, stderr int64, f gate.Follower) (gate.Result, error) {
	if g.attach == nil {
		return gate.Result{}, fmt.Errorf("call %q: %w", callID, errdefs.ErrNotFound)
	}
	return g.attach(ctx, stdout, stderr, f)
}

func (g *fakeGate) ListCalls(_ context.Context, _ gate.Caller, want gate.CallFilter, limit int, page string) ([]gate.CallEntry, string, error) {
	return []gate.CallEntry{{CallID: fmt.Sprintf("%s %v %v %d %s", want.SessionID, want.Running, want.Finished, limit, page), Outcome: "EXITED"}}, "next", nil
}

func (g *fakeGate) GetCall(_ context.Context, _ gate.Caller, callID string) (gate.CallStatus, error) {
	info, ok := g.calls[callID]
	if !ok {
		return gate.CallStatus{}, fmt.Errorf("call %q: %w", callID, errdefs.ErrNotFound)
	}
	return info, nil
}

// fakeApprovals has one question, "a0", whose binding is "b0".
type fakeApprovals struct {
	approvalGate // what no test needs

	mu       sync.Mutex
	approved []string // by whom
}

func (f *fakeApprovals) asked() gate.AskedCall {
	a := gate.AskedCall{Approval: approval.Approval{ID: "a0", CallID: "c1", State: approval.Pending, Binding: "b0"}}
	for _, by := range f.approved {
		a.State, a.Votes = approval.Approved, append(a.Votes, approval.Vote{By: by})
	}
	return a
}

func (f *fakeApprovals) ListApprovals(_ context.Context, _ gate.Caller, state approval.State) ([]gate.AskedCall, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a := f.asked(); state == "" || a.State == state {
		return []gate.AskedCall{a}, nil
	}
	return nil, nil
}

func (f *fakeApprovals) Approve(_ context.Context, caller gate.Caller, id, binding, _ string, _ *grant.Terms) (gate.AskedCall, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id != "a0" || binding != "b0" {
		return gate.AskedCall{}, fmt.Errorf("approval %q of %q: %w", id, binding, errdefs.ErrNotFound)
	}
	f.approved = append(f.approved, caller.ID)
	return f.asked(), nil
}

// fakePolicy is a policy whose Reload fails with reload and that is not ready
// with notReady.
type fakePolicy struct{ reload, notReady error }

func (p *fakePolicy) Status() policy.Status {
	s := policy.Status{Revision: "r1", Source: "embedded", LoadedAt: time.Unix(1, 0), Profiles: []string{"open"}}
	if p.reload != nil {
		s.Error, s.ErrorAt = p.reload.Error(), time.Unix(2, 0)
	}
	return s
}
func (p *fakePolicy) Ready() error                 { return p.notReady }
func (p *fakePolicy) Reload(context.Context) error { return p.reload }

func (p *fakePolicy) EvalRaw(_ context.Context, input []byte) (json.RawMessage, error) {
	if input[0] != '{' {
		return nil, errors.New("policy input is a string, want a JSON object")
	}
	return json.RawMessage(`{"outcome":"deny","reasons":[{"rule":"r","message":"m"}]}`), nil
}

// harness is a served Server on a unix socket with its parts.
type harness struct {
	gate   *fakeGate
	policy *fakePolicy
	fake   *sandboxtest.Fake
	server *Server
	conn   *grpc.ClientConn
	access Access
}

// serve starts a ready server whose caller is a known administrator; change may
// alter both before it starts.
func serve(t testing.TB, change func(*harness, *Config)) *harness {
	t.Helper()
	h := &harness{
		gate: &fakeGate{execute: func(_ context.Context, call gate.Call, _ gate.Observer) (gate.Result, error) {
			return gate.Result{CallID: call.ID, Outcome: "EXITED"}, nil
		}},
		policy: &fakePolicy{}, fake: sandboxtest.NewFake(nil), access: Access{Known: true, Admin: true},
	}
	cfg := Config{
		Gate: h.gate, Policy: h.policy, Sandbox: h.fake, Images: h.fake, Version: version.Info{Version: "v1"},
		Access: func(gate.Caller) Access { return h.access }, Logger: zap.NewNop(),
	}
	if change != nil {
		change(h, &cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.server = s
	s.SetReady(nil)
	dir, err := os.MkdirTemp("", "rpc") //nolint:usetesting // must be short: the kernel bounds a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	h.conn = h.listen(t, l, "unix://"+l.Addr().String())
	return h
}

// listen serves l until the test ends and returns a connection to target.
func (h *harness) listen(t testing.TB, l net.Listener, target string) *grpc.ClientConn {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(l) }()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		h.server.Close(ctx)
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return conn
}
