package rpc

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/session"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// sessionGate is what SessionService needs of the gate.
type sessionGate interface {
	CreateSession(ctx context.Context, caller gate.Caller, spec gate.SessionSpec) (session.Info, error)
	GetSession(ctx context.Context, owner, id string) (session.Info, error)
	ListSessions(ctx context.Context, owner string, after session.Page, limit int) ([]session.Info, bool)
	CloseSession(ctx context.Context, caller gate.Caller, owner, id string, discard bool) error
	fileGate
}

// sessionService serves sandgate.v1.SessionService.
type sessionService struct {
	sandgatev1.UnimplementedSessionServiceServer
	gate   sessionGate
	access func(gate.Caller) Access
}

func (s *Server) registerSessions(sessions sessionGate) {
	if sessions == nil {
		sandgatev1.RegisterSessionServiceServer(s.grpc, sandgatev1.UnimplementedSessionServiceServer{})
		return
	}
	sandgatev1.RegisterSessionServiceServer(s.grpc, &sessionService{gate: sessions, access: s.access})
}

// Bounds of the requests.
const (
	maxRefBytes       = 200
	maxOwnerBytes     = 1024
	sessionPage       = 100
	maxSessionPage    = 1000
	maxPageTokenBytes = 4096
)

// CreateSession implements SessionServiceServer.
func (s *sessionService) CreateSession(ctx context.Context, req *sandgatev1.CreateSessionRequest) (*sandgatev1.CreateSessionResponse, error) {
	spec, err := convertSession(req)
	if err != nil {
		return nil, err
	}
	info, err := s.gate.CreateSession(ctx, callerFrom(ctx), spec)
	if err != nil {
		return nil, err
	}
	return &sandgatev1.CreateSessionResponse{Session: sessionProto(&info, false)}, nil
}

// GetSession implements SessionServiceServer.
func (s *sessionService) GetSession(ctx context.Context, req *sandgatev1.GetSessionRequest) (*sandgatev1.GetSessionResponse, error) {
	owner, err := s.owner(ctx, req.GetSessionId(), req.GetOwner())
	if err != nil {
		return nil, err
	}
	info, err := s.gate.GetSession(ctx, owner, req.GetSessionId())
	if err != nil {
		return nil, err
	}
	return &sandgatev1.GetSessionResponse{Session: sessionProto(&info, true)}, nil
}

// ListSessions implements SessionServiceServer.
func (s *sessionService) ListSessions(ctx context.Context, req *sandgatev1.ListSessionsRequest) (*sandgatev1.ListSessionsResponse, error) {
	var c checker
	size := int(req.GetPageSize())
	if size < 0 || size > maxSessionPage {
		c.bad("page_size", "is %d: want 1 to %d, or 0 for %d", size, maxSessionPage, sessionPage)
	}
	after, ok := readPage(req.GetPageToken())
	if !ok {
		c.bad("page_token", "is not one that this daemon gave: want next_page_token of the page before")
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	if size == 0 {
		size = sessionPage
	}
	owner := callerFrom(ctx).ID
	if req.GetAllOwners() {
		if err := s.admin(ctx, "list the sessions of others"); err != nil {
			return nil, err
		}
		owner = ""
	}
	list, more := s.gate.ListSessions(ctx, owner, after, size)
	out := &sandgatev1.ListSessionsResponse{Sessions: make([]*sandgatev1.Session, 0, len(list))}
	for i := range list {
		out.Sessions = append(out.Sessions, sessionProto(&list[i], false))
	}
	if more {
		last := &list[len(list)-1]
		out.NextPageToken = pageToken(session.Page{Caller: last.Caller, ID: last.ID})
	}
	return out, nil
}

// CloseSession implements SessionServiceServer.
func (s *sessionService) CloseSession(ctx context.Context, req *sandgatev1.CloseSessionRequest) (*sandgatev1.CloseSessionResponse, error) {
	owner, err := s.owner(ctx, req.GetSessionId(), req.GetOwner())
	if err != nil {
		return nil, err
	}
	if err := s.gate.CloseSession(ctx, callerFrom(ctx), owner, req.GetSessionId(), req.GetDiscardBranch()); err != nil {
		return nil, err
	}
	return &sandgatev1.CloseSessionResponse{}, nil
}

// owner returns whose session is meant, if the caller may have to do with it.
func (s *sessionService) owner(ctx context.Context, id, owner string) (string, error) {
	var c checker
	c.id("session_id", id, true)
	c.text("owner", owner, maxOwnerBytes)
	if err := c.err(); err != nil {
		return "", err
	}
	self := callerFrom(ctx).ID
	if owner == "" || owner == self {
		return self, nil
	}
	return owner, s.admin(ctx, "use the sessions of others")
}

func (s *sessionService) admin(ctx context.Context, what string) error {
	caller := callerFrom(ctx)
	if s.access(caller).Admin {
		return nil
	}
	return fmt.Errorf("caller %s is no administrator and may not %s: an operator can set admin for it under callers: %w", caller.ID, what, errdefs.ErrPermissionDenied)
}

// pageToken writes where a page ends; readPage reads it.
func pageToken(p session.Page) string {
	return base64.RawURLEncoding.EncodeToString([]byte(p.ID + "\n" + p.Caller)) // an id has no line break
}

func readPage(token string) (session.Page, bool) {
	if token == "" {
		return session.Page{}, true
	}
	if len(token) > maxPageTokenBytes {
		return session.Page{}, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	id, caller, ok := strings.Cut(string(raw), "\n")
	if err != nil || !ok || session.ValidateID(id) != nil || caller == "" {
		return session.Page{}, false
	}
	return session.Page{Caller: caller, ID: id}, true
}

// convertSession checks what a host wishes of a session.
func convertSession(req *sandgatev1.CreateSessionRequest) (gate.SessionSpec, error) {
	var c checker
	c.id("session_id", req.GetSessionId(), false)
	c.profile("profile", req.GetProfile())
	spec := gate.SessionSpec{ID: req.GetSessionId(), Profile: req.GetProfile()}
	spec.Terms = session.Terms{
		HostLabels: req.GetHostLabels(), TTL: c.span("ttl", req.GetTtl()), IdleTimeout: c.span("idle_timeout", req.GetIdleTimeout()),
	}
	q := req.GetQuota()
	spec.Terms.Quota = session.Quota{
		Calls: c.natural("quota.calls", q.GetCalls()), CPUTime: c.span("quota.cpu_time", q.GetCpuTime()),
		DiskBytes:       c.natural("quota.disk_bytes", q.GetDiskBytes()),
		ConcurrentCalls: c.natural("quota.concurrent_calls", q.GetConcurrentCalls()),
		BackgroundCalls: c.natural("quota.background_calls", q.GetBackgroundCalls()),
	}
	c.workspace(req.GetWorkspace(), &spec.Terms)
	return spec, c.err()
}

func (c *checker) natural(field string, n int64) int64 {
	if n < 0 {
		c.bad(field, "is %d: want 0 or more", n)
	}
	return n
}

// longestSpan is the longest that a session lives, ten years: what a host wishes beyond
// it is taken back to it, as what is beyond the configuration's bounds.
const longestSpan = 87600 * time.Hour

func (c *checker) span(field string, d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	v := d.AsDuration()
	if d.CheckValid() != nil || v < 0 {
		c.bad(field, "is no duration from 0 on: want one, or 0 for the default")
	}
	return min(v, longestSpan)
}

func (c *checker) workspace(w *sandgatev1.WorkspaceSpec, t *session.Terms) {
	c.text("workspace.directory", w.GetDirectory(), maxPathBytes)
	kind, ok := kinds()[w.GetKind()]
	if !ok {
		c.bad("workspace.kind", "is %d, which is not known: want a WorkspaceKind", w.GetKind())
	}
	t.Kind, t.Dir = kind, w.GetDirectory()
	if tree := w.GetGitWorktree(); tree != nil {
		c.text("workspace.git_worktree.repository", tree.GetRepository(), maxPathBytes)
		c.text("workspace.git_worktree.branch", tree.GetBranch(), maxRefBytes)
		c.text("workspace.git_worktree.base", tree.GetBase(), maxRefBytes)
		t.Tree = &session.Tree{Repository: tree.GetRepository(), Branch: tree.GetBranch(), Base: tree.GetBase(), Keep: tree.GetKeepBranch()}
	}
}

func kinds() map[sandgatev1.WorkspaceKind]session.Kind {
	return map[sandgatev1.WorkspaceKind]session.Kind{
		sandgatev1.WorkspaceKind_WORKSPACE_KIND_UNSPECIFIED:  session.Persistent,
		sandgatev1.WorkspaceKind_WORKSPACE_KIND_PERSISTENT:   session.Persistent,
		sandgatev1.WorkspaceKind_WORKSPACE_KIND_EPHEMERAL:    session.Ephemeral,
		sandgatev1.WorkspaceKind_WORKSPACE_KIND_DIRECTORY:    session.Directory,
		sandgatev1.WorkspaceKind_WORKSPACE_KIND_GIT_WORKTREE: session.Worktree,
	}
}

func sessionProto(i *session.Info, recent bool) *sandgatev1.Session {
	out := &sandgatev1.Session{
		SessionId: i.ID, Profile: i.Profile, CreateTime: timeProto(i.Created), Labels: i.Labels, CallCount: i.Seq, Owner: i.Caller,
		Workspace: workspaceProto(&i.Terms), HostLabels: i.Terms.HostLabels, Ttl: spanProto(i.Terms.TTL), IdleTimeout: spanProto(i.Terms.IdleTimeout),
		ExpireTime: timeProto(i.Expires), IdleExpireTime: timeProto(i.IdleUntil),
		Quota: &sandgatev1.SessionQuota{
			Calls: i.Terms.Quota.Calls, CpuTime: spanProto(i.Terms.Quota.CPUTime), DiskBytes: i.Terms.Quota.DiskBytes,
			ConcurrentCalls: i.Terms.Quota.ConcurrentCalls, BackgroundCalls: i.Terms.Quota.BackgroundCalls,
		},
		Usage: &sandgatev1.SessionUsage{
			AllowedCalls: int64(i.Counts["allow"]), AskedCalls: int64(i.Counts["ask"]), DeniedCalls: int64(i.Counts["deny"]),
			CpuTime: spanProto(i.CPU), RunningCalls: i.Running, BackgroundCalls: i.Background,
		},
	}
	if i.Seq > 0 {
		out.LastUsedTime = timeProto(i.LastUsed)
	}
	if !recent {
		return out
	}
	for _, r := range i.Recent {
		out.RecentCalls = append(out.RecentCalls, &sandgatev1.SessionCall{
			Seq: r.Seq, Tool: validText(r.Tool), Outcome: r.Outcome, Digest: r.Digest, DecideTime: timeProto(r.At),
		})
	}
	return out
}

func workspaceProto(t *session.Terms) *sandgatev1.WorkspaceSpec {
	out := &sandgatev1.WorkspaceSpec{Directory: t.Dir}
	for kind, domain := range kinds() {
		if domain == t.Kind && kind != sandgatev1.WorkspaceKind_WORKSPACE_KIND_UNSPECIFIED {
			out.Kind = kind
		}
	}
	if t.Tree != nil {
		out.GitWorktree = &sandgatev1.GitWorktree{Repository: t.Tree.Repository, Branch: t.Tree.Branch, Base: t.Tree.Base, KeepBranch: t.Tree.Keep}
	}
	return out
}

// spanProto is a duration as the wire has it, unset for none.
func spanProto(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
