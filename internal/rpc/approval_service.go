package rpc

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/grant"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// approvalGate is what ApprovalService needs of the gate.
type approvalGate interface {
	ListApprovals(ctx context.Context, caller gate.Caller, state approval.State) ([]gate.AskedCall, error)
	GetApproval(ctx context.Context, caller gate.Caller, id string) (gate.AskedCall, error)
	WatchApprovals(ctx context.Context, caller gate.Caller, tell func(gate.AskedCall) error) error
	Approve(ctx context.Context, caller gate.Caller, id, binding, comment string, terms *grant.Terms) (gate.AskedCall, error)
	Deny(ctx context.Context, caller gate.Caller, id, message string) (gate.AskedCall, error)
	ListGrants(ctx context.Context, caller gate.Caller) ([]grant.Grant, error)
	RevokeGrant(ctx context.Context, caller gate.Caller, id string) (grant.Grant, error)
}

// approvalService serves sandgate.v1.ApprovalService.
type approvalService struct {
	sandgatev1.UnimplementedApprovalServiceServer
	server *Server
	gate   approvalGate
}

func (s *Server) registerApprovals(approvals approvalGate) {
	if approvals == nil {
		sandgatev1.RegisterApprovalServiceServer(s.grpc, sandgatev1.UnimplementedApprovalServiceServer{})
		return
	}
	sandgatev1.RegisterApprovalServiceServer(s.grpc, &approvalService{server: s, gate: approvals})
}

// Bounds of the requests.
const (
	approvalPage    = 100
	maxApprovalPage = 1000
	maxWords        = 1024
)

var approvalStates = map[sandgatev1.ApprovalState]approval.State{
	sandgatev1.ApprovalState_APPROVAL_STATE_PENDING: approval.Pending, sandgatev1.ApprovalState_APPROVAL_STATE_APPROVED: approval.Approved,
	sandgatev1.ApprovalState_APPROVAL_STATE_DENIED: approval.Denied, sandgatev1.ApprovalState_APPROVAL_STATE_EXPIRED: approval.Expired,
	sandgatev1.ApprovalState_APPROVAL_STATE_USED: approval.Used, sandgatev1.ApprovalState_APPROVAL_STATE_VOID: approval.Void,
}

func stateProto(s approval.State) sandgatev1.ApprovalState {
	for wire, state := range approvalStates {
		if state == s {
			return wire
		}
	}
	return sandgatev1.ApprovalState_APPROVAL_STATE_UNSPECIFIED
}

// ListApprovals implements ApprovalServiceServer. A page token is the number of
// approvals before the page.
func (s *approvalService) ListApprovals(ctx context.Context, req *sandgatev1.ListApprovalsRequest) (*sandgatev1.ListApprovalsResponse, error) {
	state, known := approvalStates[req.GetState()]
	if !known && req.GetState() != 0 {
		return nil, fieldError("state", "is %d: want a state", req.GetState())
	}
	size := int(req.GetPageSize())
	if size < 0 || size > maxApprovalPage {
		return nil, fieldError("page_size", "is %d: want 0 to %d", size, maxApprovalPage)
	}
	if size == 0 {
		size = approvalPage
	}
	skip := 0
	if token := req.GetPageToken(); token != "" {
		n, err := strconv.Atoi(token)
		if err != nil || n < 0 || strconv.Itoa(n) != token {
			return nil, fieldError("page_token", "is none of this daemon's")
		}
		skip = n
	}
	list, err := s.gate.ListApprovals(ctx, callerFrom(ctx), state)
	if err != nil {
		return nil, err
	}
	out := &sandgatev1.ListApprovalsResponse{}
	list = list[min(skip, len(list)):]
	if len(list) > size {
		list, out.NextPageToken = list[:size], strconv.Itoa(skip+size)
	}
	for i := range list {
		out.Approvals = append(out.Approvals, approvalProto(&list[i]))
	}
	return out, nil
}

// GetApproval implements ApprovalServiceServer.
func (s *approvalService) GetApproval(ctx context.Context, req *sandgatev1.GetApprovalRequest) (*sandgatev1.GetApprovalResponse, error) {
	if err := requireID("approval_id", req.GetApprovalId()); err != nil {
		return nil, err
	}
	a, err := s.gate.GetApproval(ctx, callerFrom(ctx), req.GetApprovalId())
	if err != nil {
		return nil, err
	}
	return &sandgatev1.GetApprovalResponse{Approval: approvalProto(&a)}, nil
}

// WatchApprovals implements ApprovalServiceServer.
func (s *approvalService) WatchApprovals(_ *sandgatev1.WatchApprovalsRequest, stream sandgatev1.ApprovalService_WatchApprovalsServer) error {
	ctx, cancel := s.server.untilStop(stream.Context())
	defer cancel(nil)
	return s.gate.WatchApprovals(ctx, callerFrom(stream.Context()), func(a gate.AskedCall) error {
		return stream.Send(&sandgatev1.WatchApprovalsResponse{Approval: approvalProto(&a)})
	})
}

// Approve implements ApprovalServiceServer.
func (s *approvalService) Approve(ctx context.Context, req *sandgatev1.ApproveRequest) (*sandgatev1.ApproveResponse, error) {
	var c checker
	c.id("approval_id", req.GetApprovalId(), true)
	c.text("comment", req.GetComment(), maxWords)
	if req.GetDigest() == "" {
		c.bad("digest", "is missing: want the binding_digest of the approval as it was seen")
	}
	terms := c.grantTerms(req.GetGrant())
	if err := c.err(); err != nil {
		return nil, err
	}
	a, err := s.gate.Approve(ctx, callerFrom(ctx), req.GetApprovalId(), req.GetDigest(), req.GetComment(), terms)
	if err != nil {
		return nil, err
	}
	return &sandgatev1.ApproveResponse{Approval: approvalProto(&a)}, nil
}

func (c *checker) grantTerms(g *sandgatev1.GrantTerms) *grant.Terms {
	if g == nil {
		return nil
	}
	terms := &grant.Terms{Scope: g.GetScope(), Uses: int(g.GetUses())}
	if g.GetTtl() != nil {
		if err := g.GetTtl().CheckValid(); err != nil || g.GetTtl().AsDuration() < time.Second {
			c.bad("grant.ttl", "is not valid: want at least 1s")
		}
		terms.TTL = g.GetTtl().AsDuration()
	}
	if terms.Uses < 0 {
		c.bad("grant.uses", "is negative: want 1 to %d, or 0 for the default", grant.MaxUses)
	}
	return terms
}

// Deny implements ApprovalServiceServer.
func (s *approvalService) Deny(ctx context.Context, req *sandgatev1.DenyRequest) (*sandgatev1.DenyResponse, error) {
	var c checker
	c.id("approval_id", req.GetApprovalId(), true)
	c.text("message", req.GetMessage(), maxWords)
	if err := c.err(); err != nil {
		return nil, err
	}
	a, err := s.gate.Deny(ctx, callerFrom(ctx), req.GetApprovalId(), req.GetMessage())
	if err != nil {
		return nil, err
	}
	return &sandgatev1.DenyResponse{Approval: approvalProto(&a)}, nil
}

// ListGrants implements ApprovalServiceServer.
func (s *approvalService) ListGrants(ctx context.Context, _ *sandgatev1.ListGrantsRequest) (*sandgatev1.ListGrantsResponse, error) {
	list, err := s.gate.ListGrants(ctx, callerFrom(ctx))
	if err != nil {
		return nil, err
	}
	out := &sandgatev1.ListGrantsResponse{}
	for i := range list {
		out.Grants = append(out.Grants, grantProto(&list[i]))
	}
	return out, nil
}

// RevokeGrant implements ApprovalServiceServer.
func (s *approvalService) RevokeGrant(ctx context.Context, req *sandgatev1.RevokeGrantRequest) (*sandgatev1.RevokeGrantResponse, error) {
	if err := requireID("grant_id", req.GetGrantId()); err != nil {
		return nil, err
	}
	g, err := s.gate.RevokeGrant(ctx, callerFrom(ctx), req.GetGrantId())
	if err != nil {
		return nil, err
	}
	return &sandgatev1.RevokeGrantResponse{Grant: grantProto(&g)}, nil
}

func approvalProto(a *gate.AskedCall) *sandgatev1.Approval {
	c := &a.Call
	out := &sandgatev1.Approval{
		ApprovalId: a.ID, State: stateProto(a.State), Digest: a.Bound.Digest, ToolDigest: a.Bound.Tool, CallerId: validText(a.Caller), Decision: decisionProto(a.Decision),
		CreateTime: timeProto(a.CreatedAt), ExpireTime: timeProto(a.ExpiresAt), BindingDigest: a.Binding,
		Quorum: int32of(a.Quorum()), DeniedBy: validText(a.By), Message: validText(a.Message), GrantId: a.GrantID,
		CallerPrincipal: validText(a.Principal), WaitsFor: validText(a.WaitsFor),
		NoGrantReason: validText(a.NoOffer), MayNotApprove: validText(a.Refusal), StdinDigest: c.StdinDigest, StdinBytes: c.StdinBytes, ArgumentsCut: c.Cut,
		Call: &sandgatev1.Call{
			CallId: a.CallID, SessionId: a.Session, Profile: c.Profile, Tool: c.Tool, ArgsJson: validText(string(c.Args)), Cwd: validText(c.Cwd),
			WorkspaceDir: validText(c.WorkspaceDir),
		},
	}
	if c.Agent.Name+c.Agent.Version+c.Agent.Model != "" {
		out.Call.Agent = &sandgatev1.Agent{Name: validText(c.Agent.Name), Version: validText(c.Agent.Version), Model: validText(c.Agent.Model)}
	}
	for _, name := range c.EnvNames {
		if out.Call.Env == nil {
			out.Call.Env = map[string]string{}
		}
		out.Call.Env[validText(name)] = ""
	}
	out.Files = filesProto(a.Bound.Files)
	out.NotFrozen, out.Changes = validTexts(a.Unfrozen), validTexts(a.Changed)
	if run := &a.Bound.Run; !run.Cage.IsZero() {
		out.Run = &sandgatev1.ApprovalRun{Cage: sandboxProto(run.Cage), Terminal: run.Terminal, Detached: run.Detached, Image: validText(run.Image)}
	}
	for i := range a.Votes {
		v := &a.Votes[i]
		vote := &sandgatev1.ApprovalVote{Approver: validText(v.By), Time: timeProto(v.At), Comment: validText(v.Comment)}
		if i < len(a.Principals) {
			vote.Principal = validText(a.Principals[i])
		}
		if v.Grant != nil {
			vote.Grant = termsProto(*v.Grant)
		}
		out.Votes = append(out.Votes, vote)
	}
	if a.Offer != nil {
		out.SuggestedGrant = &sandgatev1.SuggestedGrant{
			Summary: validText(a.Offer.Summary), Terms: termsProto(grant.Terms{}.WithDefaults(a.Session)), Rules: validTexts(a.Offer.Rules),
		}
		if e := a.Offer.Exact; e != nil {
			out.SuggestedGrant.Files, out.SuggestedGrant.NotFrozen = filesProto(e.Files), validTexts(e.Unfrozen)
		}
	}
	return out
}

func filesProto(files []approval.File) []*sandgatev1.ApprovalFile {
	var out []*sandgatev1.ApprovalFile
	for i := range files {
		f := &files[i]
		out = append(out, &sandgatev1.ApprovalFile{
			Path: validText(f.Path), RealPath: validText(f.Real), Op: f.Op, Sha256: f.SHA256, SizeBytes: f.Bytes,
		})
	}
	return out
}

func termsProto(t grant.Terms) *sandgatev1.GrantTerms {
	return &sandgatev1.GrantTerms{Scope: t.Scope, Uses: int32of(t.Uses), Ttl: durationpb.New(t.TTL)}
}

func grantProto(g *grant.Grant) *sandgatev1.Grant {
	var files []*sandgatev1.ApprovalFile
	if e := g.Class.Exact; e != nil {
		files = filesProto(e.Files)
	}
	return &sandgatev1.Grant{
		Files:   files,
		GrantId: g.ID, Summary: validText(g.Class.Summary), Terms: termsProto(g.Terms), CallerId: validText(g.Caller), SessionId: g.Session,
		Tool: g.Class.Tool, ToolDigest: g.Class.ToolDigest, Profile: g.Class.Profile, Rules: validTexts(g.Class.Rules), Used: int32of(g.Used), CreateTime: timeProto(g.CreatedAt),
		ExpireTime: timeProto(g.ExpiresAt), LastUseTime: timeProto(g.LastUsed), ApprovalId: g.ApprovalID, Approvers: validTexts(g.Approvers),
	}
}
