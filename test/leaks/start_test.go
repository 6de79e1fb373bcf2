package leaks

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/sandgate/sandgate/policies"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// missingTool is an operator's tool whose program does not exist.
const missingTool = "missing_program"

// config keeps what may differ between two moments of rest small: cells of
// sessions go soon, few results are kept.
const config = `
pool: {idle: 2, max_cells: 12, idle_timeout: 1s}
ceiling: {output_total: 4MiB}
defaults: {output_total: 4MiB, memory: 128MiB, pids: 64, wall_time: 30s, output: 256KiB, disk: 64MiB, file: 64MiB}
results: {max_count: 1000, max_size: 4MiB, max_log: 1MiB, max_disk: 1MiB}
approvals: {max_open_per_caller: 1000} # of 10,000 calls 300 ask
log: {level: warn}
`

// target is the daemon under test.
type target struct {
	*daemontest.Daemon
	sessions sandgatev1.SessionServiceClient
}

// extraTools are declarations, by the name of their files.
func extraTools() map[string]string {
	const schema = "input_schema: {type: object, additionalProperties: false}\neffects: [execute]\nrisk: low\n"
	return map[string]string{
		"missing.yaml": "name: " + missingTool + "\ndescription: A program that is not there.\n" + schema + "exec: {argv: [/no/such/program]}\n",
		"image.yaml":   "name: " + imageTool + "\ndescription: Repeats its standard input.\n" + schema + "image: " + imageName + "\nexec: {argv: [/cat]}\n",
	}
}

// extraProfiles are packages beside the library's, by the name of their files.
func extraProfiles() map[string]string {
	profile := func(name, cage string) string {
		return "package sandgate.profiles." + name + "\n\nallow contains {\"rule\": \"cage-holds\", \"message\": \"the cage is the limit\"}\n\n" +
			"obligations := {\"sandbox\": " + cage + "}\n"
	}
	return map[string]string{
		"stronger.rego": profile(gvisorProfile, `{"network": "none", "reuse": "session", "workspace": "rw", "isolation": "gvisor"}`),
		"careful.rego":  profile(transactionProfile, `{"workspace": "transaction"}`),
	}
}

// write makes a file each in a directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// start starts the daemon with gVisor, metrics, and an image; dir may be bound.
func start(t *testing.T, dir string) (d *target, metrics string) {
	t.Helper()
	bin, err := daemontest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	runsc := filepath.Join(bin, "runsc")
	if _, err := os.Stat(runsc); err != nil {
		t.Fatalf("%v: run make runtimes", err)
	}
	tools, policy := t.TempDir(), filepath.Join(t.TempDir(), "policy")
	write(t, tools, extraTools())
	if err := os.CopyFS(policy, policies.FS); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(policy, "sandgate", "profiles"), extraProfiles())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	metrics = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	daemon, err := daemontest.Launch(t.Context(), config+fmt.Sprintf("tools: {dir: %s}\npolicy: {dir: %s}\nmetrics: {address: %q}\n"+
		"containerd: {runtimes: {gvisor: {binary: %s}}}\n"+
		"callers: [{match: {uid: 0}, profiles: [workspace, readonly, open, locked, %s, %s], workspace_dirs: [%s], admin: true}]\n",
		tools, policy, metrics, runsc, gvisorProfile, transactionProfile, dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := daemon.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("end of the daemon's log:\n%s", daemon.LogTail(20))
		}
		if err := os.RemoveAll(daemon.DataDir); err != nil {
			t.Error(err)
		}
	})
	conn, err := daemontest.Dial("unix://" + daemon.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	if out, errOut, code := daemon.Sandgate(t, "", "image", "import", imageArchive(t)); code != 0 {
		t.Fatalf("image import: exit code %d: %s%s", code, out, errOut)
	}
	return &target{Daemon: daemon, sessions: sandgatev1.NewSessionServiceClient(conn)}, metrics
}
