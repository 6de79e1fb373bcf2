package containerd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	crashGVisorEnv  = "SANDGATE_TEST_CRASH_GVISOR" // its data directory
	crashGVisorDirs = "SANDGATE_TEST_CRASH_DIRS"   // where its calls' directories are
	crashSessions   = 2
)

// TestCrashingGVisorDaemon is the daemon of TestKillNineInGVisorLeavesNothing.
func TestCrashingGVisorDaemon(t *testing.T) {
	data, dirs := os.Getenv(crashGVisorEnv), os.Getenv(crashGVisorDirs)
	if data == "" {
		t.Skip("only runs as the child of TestKillNineInGVisorLeavesNothing")
	}
	cfg := gvisorConfig(t)
	cfg.DataDir, cfg.PoolSize = data, -1
	r := start(t, cfg)
	for i := range crashSessions {
		dir := filepath.Join(dirs, fmt.Sprint(i))
		if err := r.PrepareDir(dir); err != nil {
			t.Fatal(err)
		}
		go func() {
			call := inDir(fmt.Sprint(i), dir, `echo mine >mark; trap "" TERM HUP; setsid sleep 1000 & sleep 1000`)
			call.Observer = started(func() { _, _ = fmt.Fprintln(os.Stdout, "\nstarted") }) // the parent reads it
			_, _ = r.Run(context.Background(), call)                                        // it dies with the process
		}()
	}
	<-time.After(5 * time.Minute)
}

// TestKillNineInGVisorLeavesNothing: neither a process nor a mount is left of cells that
// had directories, and no file of those goes away with them.
func TestKillNineInGVisorLeavesNothing(t *testing.T) {
	cfg, dirs := gvisorConfig(t), t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrashingGVisorDaemon$", "-test.v") //nolint:gosec // this very binary
	child.Env = append(os.Environ(), crashGVisorEnv+"="+cfg.DataDir, crashGVisorDirs+"="+dirs, "SANDGATE_BIN_DIR="+binDir,
		"TMPDIR="+t.TempDir()) // a killed child removes nothing
	pipe, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	running := 0
	for in := bufio.NewScanner(pipe); running < crashSessions && in.Scan(); {
		if in.Text() == "started" {
			running++
		}
	}
	marks := func() (n int) {
		for i := range crashSessions {
			if text, err := os.ReadFile(filepath.Join(dirs, fmt.Sprint(i), "mark")); err == nil && string(text) == "mine\n" {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(20 * time.Second); marks() < crashSessions && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := child.Wait(); !errors.As(err, &exit) || running < crashSessions {
		t.Fatalf("child ended with %v after %d calls had started, want it killed after %d", err, running, crashSessions)
	}
	noneOnTheMachine(t, dirs)
	r := start(t, cfg)
	for i := range crashSessions {
		runIn(t, r, inDir(fmt.Sprint(i), filepath.Join(dirs, fmt.Sprint(i)), "cat mark"), "mine\n")
	}
	for _, left := range leftovers(t, cfg.DataDir) {
		if strings.Contains(left, "sleep") {
			t.Errorf("orphan %s", left)
		}
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := stays(t, cfg.DataDir); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	if n := marks(); n != crashSessions {
		t.Errorf("%d of %d workspaces have their file, want all", n, crashSessions)
	}
}
