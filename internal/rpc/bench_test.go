package rpc

import (
	"context"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

// quickGate has the answers ready, of the size that those to `bash -c true` have.
type quickGate struct {
	fakeGate
	result gate.Result
}

func newQuickGate() *quickGate {
	decision := policy.Decision{
		ID: "0198a7f2-1111-7000-8000-000000000000", Outcome: policy.Allow, Profile: "workspace", Revision: "sha256:0123456789abcdef",
		Reasons: []policy.Reason{{Rule: "workspace.allow", Message: "the profile workspace allows commands that stay in the workspace"}},
		Obligations: policy.Obligations{Sandbox: policy.SandboxObligations{
			Isolation: "runc", Reuse: "session", Network: "none", Workspace: "session", CPUMillis: 1000, MemoryBytes: 512 << 20, Pids: 128,
			WallTimeMs: 60000, OutputBytes: 1 << 20, OutputTotalBytes: 64 << 20, DiskBytes: 256 << 20, FileBytes: 256 << 20, OpenFiles: 1024,
		}},
	}
	receipt := &sandbox.Receipt{
		CellID: "cell-0123456789", CellCalls: 3, Image: "base", ImageDigest: "sha256:0123456789abcdef", Isolation: "runc", Runtime: "runc 1.5.2",
		CgroupVersion: 1, UID: 1000, HostUID: 101000, NoNewPrivs: true, SeccompMode: 2, SeccompSHA256: "0123456789abcdef", Network: "none",
		Workspace: "ephemeral",
		Enforced: map[string]int64{
			"memory_bytes": 512 << 20, "cpu_millis": 1000, "pids": 128, "wall_time_ms": 60000, "output_bytes": 1 << 20,
			"disk_bytes": 256 << 20, "file_bytes": 256 << 20, "open_files": 1024,
		},
		Namespaces: map[string]string{
			"pid": "pid:[4026532001]", "net": "net:[4026532002]", "mnt": "mnt:[4026532003]", "ipc": "ipc:[4026532004]",
			"uts": "uts:[4026532005]", "user": "user:[4026532006]", "cgroup": "cgroup:[4026532007]",
		},
	}
	return &quickGate{result: gate.Result{
		CallID: "0198a7f2-2222-7000-8000-000000000000", Outcome: "EXITED", Decision: decision, Receipt: receipt,
		Duration: gate.Durations{Decide: 90 * time.Microsecond, Start: 100 * time.Microsecond, Run: time.Millisecond, Total: 2 * time.Millisecond},
		Digest:   "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	}}
}

func (g *quickGate) Execute(context.Context, gate.Call, gate.Observer) (gate.Result, error) {
	return g.result, nil
}

func (g *quickGate) Evaluate(context.Context, gate.Call, bool) (gate.Evaluation, error) {
	return gate.Evaluation{CallID: g.result.CallID, Digest: g.result.Digest, Decision: g.result.Decision}, nil
}

// BenchmarkUnary is a whole RPC over the unix socket, client and server in this
// process, around a gate that has nothing to do.
func BenchmarkUnary(b *testing.B) {
	h := serve(b, func(_ *harness, c *Config) { c.Gate = newQuickGate() })
	tools, probe := sandgatev1.NewToolServiceClient(h.conn), healthpb.NewHealthClient(h.conn)
	call := &sandgatev1.Call{Tool: "bash", ArgsJson: `{"command":"true"}`, SessionId: "s-1"}
	for _, rpc := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"Health", func(ctx context.Context) error {
			_, err := probe.Check(ctx, &healthpb.HealthCheckRequest{})
			return err
		}},
		{"Evaluate", func(ctx context.Context) error {
			_, err := tools.Evaluate(ctx, &sandgatev1.EvaluateRequest{Call: call})
			return err
		}},
		{"Execute", func(ctx context.Context) error {
			_, err := tools.Execute(ctx, &sandgatev1.ExecuteRequest{Call: call})
			return err
		}},
	} {
		b.Run(rpc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := rpc.do(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
