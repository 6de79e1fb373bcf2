package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sandgate/sandgate/test/daemontest"
)

// walkthroughBegin is what the script of a person at a terminal does not need:
// it ends at the first command that fails, and ends what it has started.
const walkthroughBegin = `set -e -x
trap 'exit 1' TERM
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
`

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// walkthrough is every command of the walk-through in policies/README.md, in order.
func walkthrough(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "policies", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(raw), "\n## From an empty folder\n")
	if !found {
		t.Fatal("policies/README.md has no section \"From an empty folder\"")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := shellBlock.FindAllStringSubmatch(section, -1)
	if len(blocks) < 10 {
		t.Fatalf("the walk-through has %d blocks of commands, want at least 10", len(blocks))
	}
	script := walkthroughBegin
	for _, block := range blocks {
		script += block[1] + "\n"
	}
	return script
}

// freePort is a port of loopback that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestWalkthrough does what policies/README.md tells a new author, in an empty
// folder: a rule, its tests, a signed bundle, a daemon that takes it, a change
// that replay tells, and its roll-out.
func TestWalkthrough(t *testing.T) {
	daemontest.RequireRoot(t)
	for _, program := range []string{"openssl", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s, as the walk-through says", program)
		}
	}
	bin, err := daemontest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	script := strings.ReplaceAll(walkthrough(t), "8765", freePort(t))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = shortDir(t)
	cmd.Env = append(daemontest.Environ(), "SANDGATE_BIN_DIR="+bin, fmt.Sprintf("PATH=%s:%s", bin, os.Getenv("PATH")))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(cmd.Dir, "sandgated.log"))
		t.Fatalf("%v\n%s\nlog of the daemon:\n%s", err, text, log)
	}
	rest := text
	for _, want := range []string{
		"deny no-publish: agents publish no packages",
		"score 100.0 %",
		"revision house-1, signed",
		"the signature is good",
		"house-1@sha256:",
		"\nhello\n",
		"\nexit code 126\n",
		"\nexit code 1\n", // of replay --fail-on widened
		"widened 1: deny no-publish -> allow",
		"house-2@sha256:",
		"allowed",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("the walk-through does not print %q, or not in its place:\n%s", want, text)
		}
		rest = after
	}
}
