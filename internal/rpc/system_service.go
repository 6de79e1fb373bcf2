package rpc

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/internal/version"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

// systemService serves sandgate.v1.SystemService.
type systemService struct {
	sandgatev1.UnimplementedSystemServiceServer
	server  *Server
	sandbox prober
	policy  policyEngine
	load    telemetry.Sources
	version version.Info
	started time.Time
}

// GetCapabilities implements SystemServiceServer.
func (s *systemService) GetCapabilities(ctx context.Context, _ *sandgatev1.GetCapabilitiesRequest) (*sandgatev1.GetCapabilitiesResponse, error) {
	out := &sandgatev1.GetCapabilitiesResponse{Policy: policyStatus(s.policy)}
	if reason := s.server.reason.Load(); reason != nil {
		out.NotReadyReasons = []string{validText(*reason)}
	}
	out.Ready = len(out.NotReadyReasons) == 0
	found, err := s.sandbox.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	out.Kernel, out.CgroupVersion, out.Runtime = validText(found.Kernel), int32of(found.CgroupVersion), validText(found.Runtime)
	for _, c := range found.Controls {
		out.Controls = append(out.Controls, controlProto(c))
	}
	return out, nil
}

// GetVersion implements SystemServiceServer.
func (s *systemService) GetVersion(context.Context, *sandgatev1.GetVersionRequest) (*sandgatev1.GetVersionResponse, error) {
	return &sandgatev1.GetVersionResponse{
		Version: s.version.Version, Commit: s.version.Commit, GoVersion: s.version.GoVersion, StartTime: timestamppb.New(s.started),
	}, nil
}

func controlProto(c sandbox.Control) *sandgatev1.Control {
	return &sandgatev1.Control{
		Name: validText(c.Name), Binds: c.Binds, Required: c.Required, Detail: validText(c.Detail), Remedy: validText(c.Remedy),
	}
}

// serviceOf returns the service of a full method name.
func serviceOf(method string) string {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	return service
}
