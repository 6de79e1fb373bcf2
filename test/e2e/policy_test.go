package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/sandgate/sandgate/policies"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// TestBadPolicyNeverDecides loads the default library from a directory, breaks
// it under a running daemon and then before a start.
func TestBadPolicyNeverDecides(t *testing.T) {
	daemontest.RequireRoot(t)
	dir := filepath.Join(shortDir(t), "policy")
	if err := os.CopyFS(dir, policies.FS); err != nil {
		t.Fatal(err)
	}
	d := daemontest.Start(t, "pool: {idle: 1}\npolicy: {dir: "+dir+"}\n")
	call := daemontest.Bash("echo decided", daemontest.Profile("open"))
	good := d.Execute(t, call).GetDecision().GetPolicyRevision()
	if good == "" {
		t.Fatal("the decision names no revision")
	}

	broken := filepath.Join(dir, "sandgate", "broken.rego")
	if err := os.WriteFile(broken, []byte("package sandgate.broken\n\nthis is no rego\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Policy.Reload(t.Context(), &sandgatev1.ReloadRequest{}); err == nil || !strings.Contains(err.Error(), "broken.rego") {
		t.Errorf("Reload: got %v, want an error that names broken.rego", err)
	}
	if r := d.Execute(t, call); daemontest.Text(r.GetStdout()) != "decided\n" || r.GetDecision().GetPolicyRevision() != good {
		t.Errorf("after a bad reload: got %v under %q, want the good revision %q", r.GetOutcome(), r.GetDecision().GetPolicyRevision(), good)
	}

	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := d.Spawn(); err != nil {
		t.Fatal(err)
	}
	wait := func(want healthpb.HealthCheckResponse_ServingStatus) bool {
		return daemontest.Eventually(30*time.Second, func() bool {
			resp, err := d.Health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "sandgate.v1.ToolService"})
			return err == nil && resp.GetStatus() == want
		})
	}
	if !wait(healthpb.HealthCheckResponse_NOT_SERVING) {
		t.Fatal("with a bad policy the daemon does not say that it is not ready")
	}
	if _, err := d.Tools.Execute(t.Context(), call); status.Code(err) != codes.Unavailable {
		t.Errorf("Execute without a policy: got %v, want UNAVAILABLE", err)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Policy.Reload(t.Context(), &sandgatev1.ReloadRequest{}); err != nil {
		t.Errorf("Reload of a mended policy: %v", err)
	}
	if !wait(healthpb.HealthCheckResponse_SERVING) {
		t.Fatal("with a mended policy the daemon does not become ready")
	}
	if r := d.Execute(t, call); daemontest.Text(r.GetStdout()) != "decided\n" {
		t.Errorf("after mending: got %v", r.GetOutcome())
	}
}
