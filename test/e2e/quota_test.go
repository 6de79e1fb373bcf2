package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// TestDiskQuotaBinds fills the workspace of a session with a quota in each way, and
// restarts the daemon: what was written is there, and the quota still binds.
func TestDiskQuotaBinds(t *testing.T) {
	daemontest.RequireRoot(t)
	const quota = 32 << 20
	d := daemontest.Start(t, "pool: {idle: 1}\nsessions: {quota: {disk: 32MiB}}\ncallers: [{match: {uid: 0}, profiles: [open], admin: true}]\n")
	system, err := d.System.GetCapabilities(t.Context(), &sandgatev1.GetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(system.GetControls(), func(c *sandgatev1.Control) bool {
		return c.GetName() == "workspace_disk_bytes" && c.GetBinds()
	}) {
		t.Errorf("the daemon does not say that it bounds workspaces: %v", system.GetControls())
	}
	in := func(name string) daemontest.Option { return daemontest.Session(name) }
	const limit = sandgatev1.Outcome_OUTCOME_DISK_LIMIT
	for _, tt := range []struct {
		name, command string
		outcome       sandgatev1.Outcome
	}{
		{"bytes", "head -c 100m /dev/zero | tr '\\0' x >big", limit},
		{"files", "mkdir d; cd d; for i in {1..20000}; do : >f$i || exit 1; done", limit},
		// There is room again once the program has ended.
		{"deleted and open", "exec 5>gone; rm gone; head -c 100m /dev/zero | tr '\\0' x >&5", sandgatev1.Outcome_OUTCOME_EXITED},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := d.Execute(t, daemontest.Bash("set -o pipefail; "+tt.command, in(strings.ReplaceAll(tt.name, " ", "-"))))
			bytes := r.GetReceipt().GetEnforced()["workspace_disk_bytes"]
			if r.GetOutcome() != tt.outcome || !r.GetIsError() || bytes == 0 || bytes > quota || slices.Contains(r.GetReceipt().GetUnverified(), "workspace_disk_bytes") {
				t.Errorf("got %s under %d bytes: %s %s", r.GetOutcome(), bytes, r.GetMessage(), daemontest.Text(r.GetStderr()))
			}
			if text := daemontest.Text(r.GetStderr()); !strings.Contains(text, "No space left on device") {
				t.Errorf("the program saw %q", text)
			}
		})
	}
	r := d.Execute(t, daemontest.Bash("truncate -s 200M sparse && stat -c %s sparse; echo kept >f; df --output=size -B1 . | tail -1", in("sparse")))
	if r.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || !strings.HasPrefix(daemontest.Text(r.GetStdout()), "209715200\n") {
		t.Errorf("a sparse file: got %s %s", r.GetOutcome(), daemontest.Text(r.GetStderr()))
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(mounts), d.DataDir) {
		t.Errorf("something is still mounted below %s (%v)", d.DataDir, err)
	}
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = d.Execute(t, daemontest.Bash("cat f; head -c 100m /dev/zero | tr '\\0' x >big; test $? = 1 && exit 9", in("sparse")))
	if daemontest.Text(r.GetStdout()) != "kept\n" || r.GetReceipt().GetEnforced()["workspace_disk_bytes"] == 0 {
		t.Errorf("after a restart: got %q, %v", daemontest.Text(r.GetStdout()), r.GetReceipt().GetEnforced())
	}
	if _, stderr, code := d.Sandgate(t, "", "session", "close", "bytes"); code != 0 {
		t.Errorf("close: %s", stderr)
	}
	images, err := filepath.Glob(filepath.Join(d.DataDir, "sessions", "*.img"))
	if err != nil || len(images) != 3 {
		t.Errorf("%d images (%v), want those of the three sessions that are left", len(images), err)
	}
}
