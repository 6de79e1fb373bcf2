package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// TestRunningContainerdIsUsed runs calls on a containerd that somebody else
// started, and leaves it running and empty.
func TestRunningContainerdIsUsed(t *testing.T) {
	daemontest.RequireRoot(t)
	socket := startContainerd(t)
	d := daemontest.Start(t, "pool: {idle: 1}\ncontainerd: {address: "+socket+", namespace: e2e}\n")
	if own := d.ContainerdSocket(); own != "" {
		t.Errorf("the daemon started a containerd of its own at %s", own)
	}
	r := d.Execute(t, daemontest.Bash("id -u; cat /proc/1/comm", daemontest.Profile("open")))
	if r.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || daemontest.Text(r.GetStdout()) == "" || r.GetReceipt().GetSeccompMode() != 2 {
		t.Errorf("call: got %v %q", r.GetOutcome(), daemontest.Text(r.GetStdout()))
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	bin, err := daemontest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(bin, "ctr"), "-a", socket, "-n", "e2e", "containers", "ls", "-q").Output()
	if err != nil || len(bytes.TrimSpace(out)) != 0 {
		t.Errorf("containers left: %q, %v", out, err)
	}
}

// startContainerd starts a containerd that ends with the test.
func startContainerd(t *testing.T) (socket string) {
	t.Helper()
	bin, err := daemontest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "containerd.sock")
	config := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 3\nroot = %q\nstate = %q\n[grpc]\n  address = %q\n", filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(filepath.Join(bin, "containerd"), "--config", config)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("containerd: %.2000s", log.String())
		}
	})
	ctr := func() bool {
		return exec.Command(filepath.Join(bin, "ctr"), "-a", socket, "version").Run() == nil
	}
	if !daemontest.Eventually(time.Minute, ctr) {
		t.Fatalf("containerd does not answer")
	}
	return socket
}
