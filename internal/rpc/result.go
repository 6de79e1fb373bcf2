package rpc

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/gate"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

func resultProto(r gate.Result) *sandgatev1.Result {
	out := &sandgatev1.Result{
		CallId: r.CallID, Outcome: outcomeProto(r.Outcome), ExitCode: int32of(r.ExitCode), Signal: r.Signal,
		Message: validText(r.Message), IsError: r.IsError,
		Stdout: outputProto(r.Stdout), Stderr: outputProto(r.Stderr),
		Duration: &sandgatev1.Durations{
			Queue: durationpb.New(r.Duration.Queue), Decide: durationpb.New(r.Duration.Decide),
			Start: durationpb.New(r.Duration.Start), Run: durationpb.New(r.Duration.Run), Total: durationpb.New(r.Duration.Total),
		},
		ResultSizeBytes: r.ResultSizeBytes, Decision: decisionProto(r.Decision), Digest: r.Digest, Replayed: r.Replayed, ApprovalId: r.ApprovalID, Redactions: r.Redactions,
	}
	if r.Receipt != nil {
		out.Receipt, out.Usage = receiptProto(*r.Receipt), usageProto(r.Usage)
	}
	out.Changes, out.Effects, out.ChangesUnknown = changesProto(r.Changes), effectsProto(r.Effects), changesUnknownProto(r.ChangesUnknown)
	return out
}

// outcomeProto maps by name; a name that the contract does not have is UNKNOWN,
// which promises nothing.
func outcomeProto(o gate.Outcome) sandgatev1.Outcome {
	if v, ok := sandgatev1.Outcome_value["OUTCOME_"+string(o)]; ok && v != 0 {
		return sandgatev1.Outcome(v)
	}
	return sandgatev1.Outcome_OUTCOME_UNKNOWN
}

func outputProto(o sandbox.Output) *sandgatev1.Output {
	return &sandgatev1.Output{Head: o.Head, Tail: o.Tail, TotalBytes: o.TotalBytes, Truncated: o.Truncated()}
}

func usageProto(u sandbox.Usage) *sandgatev1.Usage {
	out := &sandgatev1.Usage{
		MemoryPeakBytes: u.MemoryPeakBytes, PidsPeak: u.PidsPeak, PidsLimitHits: u.PidsLimitHits, OomKills: u.OOMKills,
		IoReadBytes: u.IOReadBytes, IoWriteBytes: u.IOWriteBytes, BackgroundKilled: u.BackgroundKilled,
	}
	if u.CPUUser >= 0 {
		out.CpuUser = durationpb.New(u.CPUUser)
	}
	if u.CPUSystem >= 0 {
		out.CpuSystem = durationpb.New(u.CPUSystem)
	}
	return out
}

func receiptProto(r sandbox.Receipt) *sandgatev1.Receipt {
	var mounts []*sandgatev1.Mount
	for _, m := range r.Mounts {
		mounts = append(mounts, &sandgatev1.Mount{Path: validText(m.Path), Mode: m.Mode})
	}
	return &sandgatev1.Receipt{
		Mounts: mounts,
		CellId: r.CellID, CellCalls: r.CellCalls, Image: r.Image, ImageDigest: r.ImageDigest, Isolation: string(r.Isolation),
		Runtime: validText(r.Runtime), CgroupVersion: int32of(r.CgroupVersion), Enforced: r.Enforced, Unverified: r.Unverified,
		Uid: int32of(r.UID), HostUid: int32of(r.HostUID), NoNewPrivs: r.NoNewPrivs, SeccompMode: int32of(r.SeccompMode),
		SeccompSha256: r.SeccompSHA256, CapEffective: r.CapEffective, CapBounding: r.CapBounding,
		Namespaces: r.Namespaces, Network: r.Network, Workspace: r.Workspace,
	}
}

func streamProto(s sandbox.Stream) sandgatev1.Stream {
	switch s {
	case sandbox.Stdout:
		return sandgatev1.Stream_STREAM_STDOUT
	case sandbox.Stderr:
		return sandgatev1.Stream_STREAM_STDERR
	}
	return sandgatev1.Stream_STREAM_UNSPECIFIED
}

func toolProto(t catalog.Tool) (*sandgatev1.Tool, error) {
	schema := &structpb.Struct{}
	if len(t.InputSchema) > 0 {
		var m map[string]any
		if err := json.Unmarshal(t.InputSchema, &m); err != nil {
			return nil, fmt.Errorf("input schema of tool %s: %w", t.Name, err)
		}
		var err error
		if schema, err = structpb.NewStruct(m); err != nil {
			return nil, fmt.Errorf("input schema of tool %s: %w", t.Name, err)
		}
	}
	return &sandgatev1.Tool{
		Name: t.Name, Title: t.Title, Description: t.Description, InputSchema: schema, Annotations: t.Annotations.Map(),
		Effects: t.Effects, Source: t.Source, Risk: t.Risk,
	}, nil
}

func timeProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// int32of narrows a number to the wire's; what does not fit becomes its bound.
func int32of(v int) int32 {
	return int32(min(max(v, math.MinInt32), math.MaxInt32))
}

// validText makes text that came from elsewhere fit for a string field.
func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
