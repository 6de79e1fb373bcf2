package e2e

import (
	"context"
	"errors"
	"fmt"
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
// it ends at the first command that fails and names it, and ends what it has
// started. When the test program is gone, however that came, a pipe that only it
// holds open ends: then the script takes everything down by itself.
const walkthroughBegin = `set -e
trap 'exit 1' TERM
trap 'code=$?; set +x; echo "FAILED with exit code $code: $BASH_COMMAND"' ERR
(
	read -r -u 3 || true
	trap "" TERM
	kill -TERM 0
	while kill -0 $$; do sleep 0.1; done
	rm -rf --one-file-system "$PWD"
) 2>/dev/null &
watch=$!
trap '{ set +e +x; started=$(jobs -p)
	for job in $started; do [ $job = $watch ] || kill $job; done
	for job in $started; do [ $job = $watch ] || wait $job; done
	kill $watch; } 2>/dev/null' EXIT
PS4='+ $SECONDS: '
set -x
`

// walkthroughWithin bounds it: it takes a minute on a machine that is busy.
const walkthroughWithin = 4 * time.Minute

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
	dir := shortDir(t)
	text, err := runScript(t, walkthrough(t), dir, append(daemontest.Environ(),
		"SANDGATE_BIN_DIR="+bin, fmt.Sprintf("PATH=%s:%s", bin, os.Getenv("PATH"))))
	t.Logf("with the seconds since the beginning:\n%s", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, circumstances(bin, dir))
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
		"\nexit code 126\n",
		"\nexit code 1\n", // of replay --fail-on widened
		"widened 1: deny no-publish -> allow",
		"house-2@sha256:",
		"allowed",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("the walk-through does not print %q, or not in its place:\n%s", want, circumstances(bin, dir))
		}
		rest = after
	}
}

// runScript runs a script in dir and returns all that it printed. Whatever becomes
// of it, nothing that it started is left.
func runScript(t *testing.T, script, dir string, env []string) (string, error) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out")) // no pipe: nobody waits for those who hold it open
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() //nolint:errcheck // it was read
	alive, held, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close() //nolint:errcheck // nothing was written
	ctx, cancel := context.WithTimeoutCause(t.Context(), walkthroughWithin, fmt.Errorf("the walk-through took more than %s", walkthroughWithin))
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.Env = dir, env
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out, out, []*os.File{alive}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Start(); err != nil {
		t.Fatal(errors.Join(err, alive.Close()))
	}
	err = errors.Join(alive.Close(), cmd.Wait(), context.Cause(ctx))
	if err != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // who did not end by SIGTERM
	}
	text, readErr := os.ReadFile(out.Name())
	return string(text), errors.Join(err, readErr)
}

// circumstances are what a failure of the walk-through may come from: the end of
// the daemon's log, the web server's, and programs that were not built together.
func circumstances(bin, dir string) string {
	var b strings.Builder
	for _, program := range []string{"sandgate", "sandgated"} {
		info, err := os.Stat(filepath.Join(bin, program))
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
			continue
		}
		fmt.Fprintf(&b, "%s is of %s\n", program, info.ModTime().Format(time.DateTime))
	}
	for _, name := range []string{"sandgated.log", "www.log"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
			continue
		}
		lines := strings.SplitAfter(string(raw), "\n")
		fmt.Fprintf(&b, "end of %s:\n%s", name, strings.Join(lines[max(0, len(lines)-40):], ""))
	}
	return b.String()
}
