package rpc

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/policy"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// policyService serves sandgate.v1.PolicyService.
type policyService struct {
	sandgatev1.UnimplementedPolicyServiceServer
	engine policyEngine
}

// GetStatus implements PolicyServiceServer.
func (p *policyService) GetStatus(context.Context, *sandgatev1.GetStatusRequest) (*sandgatev1.GetStatusResponse, error) {
	return &sandgatev1.GetStatusResponse{Status: policyStatus(p.engine.Status())}, nil
}

// Evaluate implements PolicyServiceServer.
func (p *policyService) Evaluate(ctx context.Context, req *sandgatev1.PolicyServiceEvaluateRequest) (*sandgatev1.PolicyServiceEvaluateResponse, error) {
	input := req.GetInputJson()
	switch {
	case input == "":
		return nil, fieldError("input_json", "is missing")
	case len(input) > maxInputBytes:
		return nil, fieldError("input_json", "has %d bytes: want at most %d", len(input), maxInputBytes)
	}
	if err := p.engine.Ready(); err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrUnavailable)
	}
	raw, err := p.engine.EvalRaw(ctx, []byte(input))
	if err != nil {
		return nil, fieldError("input_json", "%v", err)
	}
	var d policy.Decision
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("decode decision: %w", err)
	}
	return &sandgatev1.PolicyServiceEvaluateResponse{Decision: decisionProto(d)}, nil
}

// Reload implements PolicyServiceServer.
func (p *policyService) Reload(ctx context.Context, _ *sandgatev1.ReloadRequest) (*sandgatev1.ReloadResponse, error) {
	if err := p.engine.Reload(ctx); err != nil {
		return nil, fmt.Errorf("the policy was refused, the one before stays in force: %v: %w", err, errdefs.ErrFailedPrecondition)
	}
	return &sandgatev1.ReloadResponse{Status: policyStatus(p.engine.Status())}, nil
}

func policyStatus(s policy.Status) *sandgatev1.PolicyStatus {
	out := &sandgatev1.PolicyStatus{
		Revision: s.Revision, Source: validText(s.Source), LoadTime: timeProto(s.LoadedAt), ErrorTime: timeProto(s.ErrorAt), Profiles: s.Profiles,
	}
	if s.Error != "" {
		out.Errors = []string{validText(s.Error)}
	}
	return out
}
