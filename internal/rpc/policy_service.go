package rpc

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/source"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// policyService serves sandgate.v1.PolicyService.
type policyService struct {
	sandgatev1.UnimplementedPolicyServiceServer
	engine policyEngine
}

// GetStatus implements PolicyServiceServer.
func (p *policyService) GetStatus(context.Context, *sandgatev1.GetStatusRequest) (*sandgatev1.GetStatusResponse, error) {
	return &sandgatev1.GetStatusResponse{Status: policyStatus(p.engine)}, nil
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
	return &sandgatev1.ReloadResponse{Status: policyStatus(p.engine)}, nil
}

// policySource is what a policy engine has besides that knows its source.
type policySource interface {
	SourceState() source.State
}

func policyStatus(engine policyEngine) *sandgatev1.PolicyStatus {
	s := engine.Status()
	out := &sandgatev1.PolicyStatus{
		Revision: s.Revision, Source: validText(s.Source), LoadTime: timeProto(s.LoadedAt), ErrorTime: timeProto(s.ErrorAt), Profiles: s.Profiles,
	}
	if s.Error != "" {
		out.Errors = []string{validText(s.Error)}
	}
	from, ok := engine.(policySource)
	if !ok {
		return out
	}
	state := from.SourceState()
	out.SourceKind, out.LastSuccessTime = state.Kind, timeProto(state.LastSuccess)
	out.Activations, out.Refusals, out.Rules, out.DroppedLogEvents = state.Activations, state.Refusals, int64(state.Rules), state.LogDropped
	for _, b := range state.Bundles {
		out.Bundles = append(out.Bundles, &sandgatev1.PolicyBundle{
			Name: b.Name, Revision: validText(b.Revision), Etag: validText(b.ETag), Type: b.Type, SizeBytes: b.Size,
			RequestTime: timeProto(b.LastRequest), DownloadTime: timeProto(b.LastDownload), ActivationTime: timeProto(b.LastActivation),
			Error: validText(b.Error),
		})
	}
	return out
}
