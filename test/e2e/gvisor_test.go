package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sandgate/sandgate/policies"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

const gvisorProfile = `package sandgate.profiles.suspicious

allow contains {"rule": "cage-holds", "message": "the stronger wall is the limit"}

obligations := {"sandbox": {"network": "none", "reuse": "session", "workspace": "rw", "isolation": "gvisor"}}
`

// TestPolicyPutsACallInGVisor demands the class by an obligation and looks at what
// the call, its receipt and the machine show.
func TestPolicyPutsACallInGVisor(t *testing.T) {
	daemontest.RequireRoot(t)
	bin, err := daemontest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	runsc := filepath.Join(bin, "runsc")
	if _, err := os.Stat(runsc); err != nil {
		t.Fatalf("%v: run make runtimes", err)
	}
	dir := filepath.Join(shortDir(t), "policy")
	if err := os.CopyFS(dir, policies.FS); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sandgate", "profiles", "suspicious.rego"), []byte(gvisorProfile), 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemontest.Start(t, "pool: {idle: 1}\npolicy: {dir: "+dir+"}\ncontainerd: {runtimes: {gvisor: {binary: "+runsc+"}}}\n"+
		"callers: [{match: {uid: 0}, profiles: [suspicious, open]}]\n")
	in := []daemontest.Option{daemontest.Profile("suspicious"), daemontest.Session("doubtful")}
	first := d.Execute(t, daemontest.Bash("cat /proc/version; echo kept > file", in...))
	if got := daemontest.Text(first.GetStdout()); !strings.HasPrefix(got, "Linux version 4.19.0-gvisor") {
		t.Errorf("the call sees %q (%s), want gVisor's kernel", got, daemontest.Text(first.GetStderr()))
	}
	wantGVisorReceipt(t, first.GetReceipt())
	again := d.Execute(t, daemontest.Bash("cat file", in...))
	if got := daemontest.Text(again.GetStdout()); got != "kept\n" || again.GetReceipt().GetCellId() != first.GetReceipt().GetCellId() {
		t.Errorf("the session's next call sees %q in cell %s, want its file in cell %s", got, again.GetReceipt().GetCellId(), first.GetReceipt().GetCellId())
	}
	other := d.Execute(t, daemontest.Bash("cat /proc/version", daemontest.Profile("open"), daemontest.Session("trusted")))
	if got := daemontest.Text(other.GetStdout()); strings.Contains(got, "gvisor") || other.GetReceipt().GetIsolation() != "runc" {
		t.Errorf("without the demand: got %q by %s, want the machine's kernel", got, other.GetReceipt().GetIsolation())
	}
	told := func() bool {
		out, _, _ := d.Sandgate(t, "", "doctor")
		return strings.Contains(out, "isolation_gvisor") && strings.Contains(out, "a program ran in runsc")
	}
	if !daemontest.Eventually(20*time.Second, told) {
		t.Error("doctor does not tell that gVisor runs here")
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	d.WaitFootprint(t, daemontest.Footprint{NetNS: 64}, 5*time.Second)
}

func wantGVisorReceipt(t *testing.T, r *sandgatev1.Receipt) {
	t.Helper()
	if r.GetIsolation() != "gvisor" || !strings.HasPrefix(r.GetRuntime(), "runsc ") || r.GetWorkspace() != "directory" {
		t.Errorf("receipt: %s by %q on workspace %q, want gvisor by runsc on a directory", r.GetIsolation(), r.GetRuntime(), r.GetWorkspace())
	}
	for _, name := range []string{"pids", "no_new_privs", "seccomp_mode", "namespaces"} {
		if !slices.Contains(r.GetUnverified(), name) {
			t.Errorf("receipt: %s counts as verified, which the machine cannot see: %v", name, r.GetUnverified())
		}
	}
}
