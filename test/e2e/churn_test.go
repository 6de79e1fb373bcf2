package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// loopsOf lists the loop devices whose files are below a directory.
func loopsOf(t *testing.T, dir string) (loops []string) {
	t.Helper()
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(text), dir) { // it may go meanwhile
			loops = append(loops, strings.TrimSpace(string(text)))
		}
	}
	return loops
}

// branches counts the lines of a text.
func branches(text string) map[string]int {
	out := map[string]int{}
	for line := range strings.FieldsSeq(text) {
		out[line]++
	}
	return out
}

// TestClosedSessionsLeaveNothing opens and closes sessions with file systems of their own,
// bound directories and working trees of a git repository, their calls under way: no mount, loop device, cell or file of
// them is left, and all the calls have an outcome.
func TestClosedSessionsLeaveNothing(t *testing.T) {
	daemontest.RequireRoot(t)
	bound, repository := t.TempDir(), t.TempDir()
	for _, dir := range []string{bound, repository} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", repository, "-c", "user.name=T", "-c", "user.email=t@example.com"}, args...)...)
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here")
	}
	git("init", "-q", "-b", "main", ".")
	git("commit", "-q", "--allow-empty", "-m", "one")
	d := daemontest.Start(t, "pool: {idle: 1, max_cells: 6}\ncallers: [{match: {uid: 0}, profiles: [open], workspace_dirs: ["+bound+"], repositories: ["+repository+"], admin: true}]\n")
	client := sessions(t, d)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	before := d.Footprint()
	life := func(id string, n int) {
		req := &sandgatev1.CreateSessionRequest{SessionId: id, Profile: "open", Quota: &sandgatev1.SessionQuota{DiskBytes: 16 << 20}}
		switch n % 3 {
		case 1: // with a quota, too
			req.Workspace = &sandgatev1.WorkspaceSpec{
				Kind:        sandgatev1.WorkspaceKind_WORKSPACE_KIND_GIT_WORKTREE,
				GitWorktree: &sandgatev1.GitWorktree{Repository: repository, Branch: "topic/" + id, KeepBranch: true},
			}
		case 2:
			req.Quota = nil
			req.Workspace = &sandgatev1.WorkspaceSpec{Kind: sandgatev1.WorkspaceKind_WORKSPACE_KIND_DIRECTORY, Directory: bound}
		}
		if _, err := client.CreateSession(ctx, req); err != nil {
			t.Errorf("%s: %v", id, err)
			return
		}
		in := []daemontest.Option{daemontest.Session(id), daemontest.Profile("open")}
		for i := range 3 {
			script := fmt.Sprintf("echo %d >%s-%d", i, id, i)
			if req.GetWorkspace().GetGitWorktree() != nil {
				script += " && git add . && git commit -q -m " + id
			}
			resp, err := d.Tools.Execute(ctx, daemontest.Bash(script, in...))
			if want := fmt.Sprintf("%s-%d", id, i); err != nil || len(resp.GetResult().GetChanges().GetCreated()) == 0 {
				t.Errorf("%s made no %s: %v, %v", id, want, resp, err)
			}
		}
		late := daemontest.Bash("sleep 60 & exec 3>open; rm open; echo x >&3; wait", in...)
		late.Detach = n%2 == 0
		var running sync.WaitGroup
		running.Go(func() {
			if _, err := d.Tools.Execute(ctx, late); err != nil && !strings.Contains(err.Error(), "session") && !strings.Contains(err.Error(), "cancel") {
				t.Errorf("%s: %v", id, err)
			}
		})
		if late.GetDetach() {
			running.Wait()
		}
		if _, err := client.CloseSession(ctx, &sandgatev1.CloseSessionRequest{SessionId: id}); err != nil {
			t.Errorf("close %s: %v", id, err)
		}
		running.Wait()
	}
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for n := range 4 {
				life(fmt.Sprintf("s%d-%d", w, n), w+n)
			}
		})
	}
	workers.Wait()
	git("fsck", "--strict")
	const trees = 5 // of the 16 sessions
	for branch, n := range branches(git("log", "--branches=topic/*", "--no-walk", "--format=%s")) {
		if got := strings.Count(git("log", "--format=%s", "main..topic/"+branch), branch+"\n"); n != 1 || got != 3 {
			t.Errorf("branch %s has %d of 3 commits", branch, got)
		}
	}
	if n := len(branches(git("for-each-ref", "--format=%(refname)", "refs/heads/topic"))); n != trees {
		t.Errorf("the repository has %d branches of %d sessions", n, trees)
	}
	if list := git("worktree", "list"); strings.Count(list, "\n") != 1 {
		t.Errorf("the repository has the working trees\n%s", list)
	}
	left := func() []string {
		paths, err := filepath.Glob(filepath.Join(d.DataDir, "sessions", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return append(paths, loopsOf(t, d.DataDir)...)
	}
	if !daemontest.Eventually(10*time.Second, func() bool { return len(left()) == 0 }) {
		t.Errorf("left behind: %q", left())
	}
	before.Cells, before.Inits, before.NetNS = 6, max(before.Inits, 12), max(before.NetNS, 24) // a pool may be filled
	before.CallGroups = max(before.CallGroups, 6)
	before.Mounts = max(before.Mounts, 12)
	d.WaitFootprint(t, before, 20*time.Second)
}

// TestDetachedCallWhenTheDaemonStops has an outcome of its own, which a daemon that is
// started again tells, and leaves no process.
func TestDetachedCallWhenTheDaemonStops(t *testing.T) {
	d := daemontest.Start(t, "pool: {idle: 1}\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	call := daemontest.Bash("trap '' TERM INT; echo begun; sleep 300", daemontest.Profile("open"), daemontest.CallID("bg"), daemontest.Session("s"))
	call.Detach = true
	if resp, err := d.Tools.Execute(ctx, call); err != nil || resp.GetRunning() == nil {
		t.Fatalf("start: %v, %v", resp, err)
	}
	if _, err := attach(ctx, d.Tools, "bg", 0, func(s string) bool { return s == "begun\n" }); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	d.WaitFootprint(t, daemontest.Footprint{}, 10*time.Second)
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
	again, err := d.Tools.Execute(ctx, call)
	res := again.GetResult()
	if err != nil || res.GetOutcome() != sandgatev1.Outcome_OUTCOME_CANCELLED || !res.GetReplayed() || daemontest.Text(res.GetStdout()) != "begun\n" {
		t.Errorf("sent again: got %v (replayed %v), %q, %v", res.GetOutcome(), res.GetReplayed(), daemontest.Text(res.GetStdout()), err)
	}
	if text := res.GetMessage(); !strings.Contains(text, "daemon") {
		t.Errorf("the result does not say that the daemon stopped: %q", text)
	}
}
