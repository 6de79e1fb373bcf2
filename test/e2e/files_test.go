package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// What a host uploads is the program's to change; what the program made, a link to
// /etc included, gets the host nothing but the files of the session.
func TestFilesOfASession(t *testing.T) {
	_, config := shared(t)
	d := daemontest.Start(t, config)
	local := t.TempDir()
	for name, content := range map[string]string{"src/main.c": "int main;", "run.sh": "#!/bin/sh\necho ran\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(local, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(local, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sandgate(t, d, "session", "create", "s")
	sandgate(t, d, "session", "upload", "s", local)
	sandgate(t, d, "session", "upload", "s", filepath.Join(local, "src", "main.c"), "copy/of.c")
	got := in(t, d, "s", `./run.sh && cat copy/of.c && echo more >> src/main.c && stat -c %U run.sh copy && ln -s /etc/hostname leak && echo made > out.txt`)
	if got != "ran\nint main;agent\nagent\n" {
		t.Errorf("the program saw %q", got)
	}
	if got := sandgate(t, d, "session", "download", "s", "out.txt"); got != "made\n" {
		t.Errorf("downloaded %q", got)
	}
	if _, problem, code := d.Sandgate(t, "", "session", "download", "s", "leak"); code == 0 {
		t.Error("the link was followed")
	} else if !strings.Contains(problem, "leak") {
		t.Errorf("the error is %q", problem)
	}
	back := filepath.Join(t.TempDir(), "back")
	sandgate(t, d, "session", "download", "s", ".", back, "--tar")
	if raw, err := os.ReadFile(filepath.Join(back, "src", "main.c")); err != nil || string(raw) != "int main;more\n" {
		t.Errorf("%q, %v", raw, err)
	}
	if target, err := os.Readlink(filepath.Join(back, "leak")); err != nil || target != "/etc/hostname" {
		t.Errorf("%q, %v", target, err)
	}
}

// A session is taken back to what it was and forked, also while cells of it are kept.
func TestSnapshotRestoreAndFork(t *testing.T) {
	_, config := shared(t)
	d := daemontest.Start(t, config)
	in(t, d, "s", "echo first > f; mkdir d; echo kept > d/g")
	sandgate(t, d, "session", "snapshot", "s", "one")
	in(t, d, "s", "echo second > f; rm -r d; echo new > n")
	if got := sandgate(t, d, "session", "changes", "s", "--since-snapshot", "one"); got != "A n\nM f\nD d\nD d/g\n" {
		t.Errorf("changes:\n%s", got)
	}
	sandgate(t, d, "session", "fork", "s", "now")
	sandgate(t, d, "session", "fork", "s", "then", "--snapshot", "one")
	if got := sandgate(t, d, "session", "restore", "s", "one"); !strings.Contains(got, "3 files") {
		t.Errorf("restored: %s", got)
	}
	const look = "cat f d/g n 2>/dev/null; echo $? >> f"
	for session, want := range map[string]string{"s": "first\nkept\n", "then": "first\nkept\n", "now": "second\nnew\n"} {
		for range 2 { // the second in a cell that was kept
			if got := in(t, d, session, look); !strings.HasPrefix(got, want[:5]) || !strings.Contains(got, want[6:]) {
				t.Errorf("%s has %q, want %q", session, got, want)
			}
		}
	}
	if _, err := sessions(t, d).RestoreSnapshot(t.Context(), &sandgatev1.RestoreSnapshotRequest{SessionId: "then", SnapshotId: "one"}); status.Code(err) != codes.NotFound {
		t.Errorf("a fork has the snapshots of its origin: %v", err)
	}
	sandgate(t, d, "session", "close", "s", "then", "now")
}
