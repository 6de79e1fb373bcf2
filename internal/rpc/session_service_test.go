package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/session"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// fakeSessions has a session "s" of each owner and keeps what it was asked.
type fakeSessions struct {
	fileGate // unset but where a test sets it
	spec     gate.SessionSpec
	asked    []string
	list     []session.Info
}

func (f *fakeSessions) CreateSession(_ context.Context, caller gate.Caller, spec gate.SessionSpec) (session.Info, error) {
	f.spec = spec
	return session.Info{State: session.State{Caller: caller.ID, ID: spec.ID, Profile: "open", Created: time.Unix(1, 0)}, Terms: spec.Terms}, nil
}

func (f *fakeSessions) GetSession(_ context.Context, owner, id string) (session.Info, error) {
	f.asked = append(f.asked, "get "+owner+" "+id)
	if id != "s" {
		return session.Info{}, fmt.Errorf("session %q was closed: %w", id, errdefs.ErrNotFound)
	}
	return session.Info{
		State: session.State{
			Caller: owner, ID: id, Seq: 3, Counts: map[string]int{"allow": 2, "deny": 1}, LastUsed: time.Unix(9, 0), CPU: time.Second,
			Labels: []string{"read:secrets"}, Recent: []session.Recent{{Seq: 3, Tool: "bash", Outcome: "EXITED", Digest: "sha256:d"}},
		},
		Terms: session.Terms{Kind: session.Directory, Dir: "/srv", Quota: session.Quota{Calls: 5}}, Running: 1,
	}, nil
}

func (f *fakeSessions) ListSessions(_ context.Context, owner string, after session.Page, limit int) ([]session.Info, bool) {
	f.asked = append(f.asked, fmt.Sprintf("list %q after %q/%q, %d", owner, after.Caller, after.ID, limit))
	list := slices.DeleteFunc(slices.Clone(f.list), func(i session.Info) bool { return i.ID <= after.ID })
	return list[:min(limit, len(list))], len(list) > limit
}

func (f *fakeSessions) CloseSession(_ context.Context, caller gate.Caller, owner, id string, _ bool) error {
	f.asked = append(f.asked, fmt.Sprintf("close %s %s by %s", owner, id, caller.ID))
	return nil
}

func serveSessions(t *testing.T, admin bool) (*fakeSessions, sandgatev1.SessionServiceClient) {
	t.Helper()
	f := &fakeSessions{}
	h := serve(t, func(h *harness, cfg *Config) {
		h.access.Admin = admin
		cfg.Sessions = f
	})
	return f, sandgatev1.NewSessionServiceClient(h.conn)
}

func TestCreateSession(t *testing.T) {
	f, client := serveSessions(t, false)
	resp, err := client.CreateSession(t.Context(), &sandgatev1.CreateSessionRequest{
		SessionId: "s", Profile: "open", HostLabels: map[string]string{"ticket": "7"},
		Ttl: durationpb.New(time.Hour), Quota: &sandgatev1.SessionQuota{Calls: 3, CpuTime: durationpb.New(time.Second)},
		Workspace: &sandgatev1.WorkspaceSpec{
			Kind:        sandgatev1.WorkspaceKind_WORKSPACE_KIND_GIT_WORKTREE,
			GitWorktree: &sandgatev1.GitWorktree{Repository: "/srv/r", Branch: "b", KeepBranch: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := gate.SessionSpec{ID: "s", Profile: "open", Terms: session.Terms{
		Kind: session.Worktree, Tree: &session.Tree{Repository: "/srv/r", Branch: "b", Keep: true}, HostLabels: map[string]string{"ticket": "7"},
		TTL: time.Hour, Quota: session.Quota{Calls: 3, CPUTime: time.Second},
	}}
	if diff := cmp.Diff(want, f.spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	got := resp.GetSession()
	if got.GetOwner() == "" || got.GetTtl().AsDuration() != time.Hour || got.GetIdleTimeout() != nil || got.GetWorkspace().GetGitWorktree().GetBranch() != "b" ||
		got.GetWorkspace().GetKind() != sandgatev1.WorkspaceKind_WORKSPACE_KIND_GIT_WORKTREE || got.GetLastUsedTime() != nil {
		t.Errorf("session: %v", got)
	}
	// Whatever is beyond ten years is taken back to them.
	resp, err = client.CreateSession(t.Context(), &sandgatev1.CreateSessionRequest{
		SessionId: "s", Ttl: durationpb.New(longestSpan + 1), IdleTimeout: &durationpb.Duration{Seconds: 9_000 * 365 * 86400},
	})
	if err != nil || f.spec.Terms.TTL != longestSpan || resp.GetSession().GetIdleTimeout().AsDuration() != longestSpan {
		t.Errorf("longer than may be: %+v, %v", f.spec.Terms, err)
	}
	_, err = client.CreateSession(t.Context(), &sandgatev1.CreateSessionRequest{
		SessionId: "../x", Ttl: durationpb.New(-1), IdleTimeout: &durationpb.Duration{Seconds: 1 << 60},
		Quota: &sandgatev1.SessionQuota{DiskBytes: -1}, Workspace: &sandgatev1.WorkspaceSpec{Kind: 77, Directory: strings.Repeat("x", maxPathBytes+1)},
	})
	wantCode(t, err, codes.InvalidArgument, "session_id", "ttl", "idle_timeout", "quota.disk_bytes", "workspace.kind", "workspace.directory")
}

func TestSessionsOfOthersAreForAdministrators(t *testing.T) {
	for _, admin := range []bool{false, true} {
		f, client := serveSessions(t, admin)
		check := func(err error) {
			t.Helper()
			if admin && err != nil {
				t.Error(err)
			} else if !admin {
				wantCode(t, err, codes.PermissionDenied, "administrator")
			}
		}
		_, err := client.GetSession(t.Context(), &sandgatev1.GetSessionRequest{SessionId: "s", Owner: "token:other"})
		check(err)
		_, err = client.CloseSession(t.Context(), &sandgatev1.CloseSessionRequest{SessionId: "s", Owner: "token:other"})
		check(err)
		_, err = client.ListSessions(t.Context(), &sandgatev1.ListSessionsRequest{AllOwners: true})
		check(err)
		if len(f.asked) != map[bool]int{true: 3}[admin] {
			t.Errorf("administrator %t: the gate was asked %q", admin, f.asked)
		}
	}
}

func TestGetSession(t *testing.T) {
	_, client := serveSessions(t, false)
	resp, err := client.GetSession(t.Context(), &sandgatev1.GetSessionRequest{SessionId: "s"})
	if err != nil {
		t.Fatal(err)
	}
	s := resp.GetSession()
	u := s.GetUsage()
	if s.GetCallCount() != 3 || u.GetAllowedCalls() != 2 || u.GetDeniedCalls() != 1 || u.GetCpuTime().AsDuration() != time.Second || u.GetRunningCalls() != 1 ||
		s.GetQuota().GetCalls() != 5 || s.GetWorkspace().GetDirectory() != "/srv" || len(s.GetRecentCalls()) != 1 || s.GetRecentCalls()[0].GetTool() != "bash" {
		t.Errorf("session: %v", s)
	}
	_, err = client.GetSession(t.Context(), &sandgatev1.GetSessionRequest{SessionId: "x"})
	wantCode(t, err, codes.NotFound, "was closed")
	_, err = client.GetSession(t.Context(), &sandgatev1.GetSessionRequest{})
	wantCode(t, err, codes.InvalidArgument, "session_id")
}

func TestListSessionsIsPaged(t *testing.T) {
	f, client := serveSessions(t, false)
	for _, id := range []string{"a", "b", "c"} {
		f.list = append(f.list, session.Info{State: session.State{Caller: "c", ID: id}})
	}
	var got []string
	token := ""
	for {
		resp, err := client.ListSessions(t.Context(), &sandgatev1.ListSessionsRequest{PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range resp.GetSessions() {
			got = append(got, s.GetSessionId())
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	if strings.Join(got, "") != "abc" {
		t.Errorf("got %v", got)
	}
	for _, req := range []*sandgatev1.ListSessionsRequest{{PageSize: -1}, {PageSize: 1001}, {PageToken: "x"}, {PageToken: "Li4vCg"}} {
		_, err := client.ListSessions(t.Context(), req)
		wantCode(t, err, codes.InvalidArgument, "page_")
	}
}
