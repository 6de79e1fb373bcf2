package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// somebody owns directories of the machine in these tests.
const somebody = 12345

// shared makes a directory of somebody's and gives it to the configuration.
func shared(t *testing.T) (dir, config string) {
	t.Helper()
	daemontest.RequireRoot(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chown(dir, somebody, somebody), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir, fmt.Sprintf("pool: {idle: 2}\ncallers: [{match: {uid: 0}, profiles: [open], admin: true, workspace_dirs: [%s], repositories: [%s]}]\n", dir, dir)
}

// sandgate runs the CLI and fails the test unless it succeeds.
func sandgate(t *testing.T, d *daemontest.Daemon, args ...string) string {
	t.Helper()
	out, problem, code := d.Sandgate(t, "", args...)
	if code != 0 {
		t.Fatalf("sandgate %v: exit code %d\n%s%s", args, code, out, problem)
	}
	return out
}

// in runs a command in a session and returns its output; it has to succeed.
func in(t *testing.T, d *daemontest.Daemon, session, command string) string {
	t.Helper()
	res := d.Execute(t, daemontest.Bash(command, daemontest.Session(session)))
	if res.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || res.GetExitCode() != 0 {
		t.Fatalf("%s: %v", command, res)
	}
	return daemontest.Text(res.GetStdout())
}

func sessions(t *testing.T, d *daemontest.Daemon) sandgatev1.SessionServiceClient {
	t.Helper()
	conn, err := daemontest.Dial("unix://" + d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return sandgatev1.NewSessionServiceClient(conn)
}

func TestSessionsFromTheCommandLineOutliveTheDaemon(t *testing.T) {
	_, config := shared(t)
	d := daemontest.Start(t, config)
	var made struct {
		ID    string `json:"session_id"`
		Quota struct {
			Calls json.Number `json:"calls"`
		} `json:"quota"`
	}
	if err := json.Unmarshal([]byte(sandgate(t, d, "session", "create", "work", "--calls", "2", "--label", "ticket=7", "--ttl", "1h", "--json")), &made); err != nil {
		t.Fatal(err)
	}
	if made.ID != "work" || made.Quota.Calls.String() != "2" {
		t.Errorf("made %+v", made)
	}
	sandgate(t, d, "session", "create", "gone", "--ephemeral")
	sandgate(t, d, "session", "create", "never-used")
	in(t, d, "work", "echo kept >file")
	in(t, d, "gone", "echo lost >file")
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := in(t, d, "work", "cat file"); got != "kept\n" {
		t.Errorf("the file has %q", got)
	}
	res := d.Execute(t, daemontest.Bash("true", daemontest.Session("work")))
	if res.GetOutcome() != sandgatev1.Outcome_OUTCOME_DENIED || !strings.Contains(res.GetMessage(), "daemon:session-quota") {
		t.Errorf("a third call of two, over a crash: %v", res)
	}
	out := sandgate(t, d, "session", "get", "work")
	for _, want := range []string{"2 allowed of 2", "1 denied", "ticket=7", "DENIED"} {
		if !strings.Contains(out, want) {
			t.Errorf("get does not say %q:\n%s", want, out)
		}
	}
	out = sandgate(t, d, "session", "list", "--all")
	if !strings.Contains(out, "never-used") || strings.Contains(out, "gone") {
		t.Errorf("list:\n%s", out)
	}
	sandgate(t, d, "session", "close", "work", "never-used")
	if _, problem, code := d.Sandgate(t, "", "session", "get", "work"); code == 0 || !strings.Contains(problem, "was closed") {
		t.Errorf("get after close: %d %s", code, problem)
	}
}

func TestParallelCallsShareAWorkspaceUntilTheSessionIsClosed(t *testing.T) {
	_, config := shared(t)
	d := daemontest.Start(t, config)
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			in(t, d, "s", fmt.Sprintf("echo %d >%d; until [ -e 0 -a -e 1 -a -e 2 -a -e 3 ]; do sleep 0.01; done", i, i))
		})
	}
	wait.Wait()
	ended := make(chan *sandgatev1.Result, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		resp, err := d.Tools.Execute(ctx, daemontest.Bash("touch begun; sleep 1000", daemontest.Session("s")))
		if err != nil {
			t.Error(err)
		}
		ended <- resp.GetResult()
	}()
	in(t, d, "s", "until [ -e begun ]; do sleep 0.01; done")
	if _, err := sessions(t, d).CloseSession(t.Context(), &sandgatev1.CloseSessionRequest{SessionId: "s"}); err != nil {
		t.Fatal(err)
	}
	if res := <-ended; res.GetOutcome() != sandgatev1.Outcome_OUTCOME_CANCELLED {
		t.Errorf("the running call: %v", res)
	}
	if left, err := filepath.Glob(filepath.Join(d.DataDir, "sessions", "*")); err != nil || len(left) != 0 {
		t.Errorf("left are %v (%v)", left, err)
	}
	_, err := d.Tools.Execute(t.Context(), daemontest.Bash("true", daemontest.Session("s")))
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a call in a closed session: %v", err)
	}
}

func TestIdleSessionsEndByThemselves(t *testing.T) {
	_, config := shared(t)
	d := daemontest.Start(t, config)
	client := sessions(t, d)
	_, err := client.CreateSession(t.Context(), &sandgatev1.CreateSessionRequest{SessionId: "s", IdleTimeout: durationpb.New(10 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		_, err := client.GetSession(ctx, &sandgatev1.GetSessionRequest{SessionId: "s"})
		if status.Code(err) == codes.NotFound && strings.Contains(err.Error(), "not used for too long") {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// It is told as over at once; that it is also cleaned up the journal tells.
	conn, err := daemontest.Dial("unix://" + d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	tail, err := sandgatev1.NewAuditServiceClient(conn).TailRecords(ctx, &sandgatev1.TailRecordsRequest{FromSequence: 1})
	if err != nil {
		t.Fatal(err)
	}
	for {
		got, err := tail.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if r := got.GetRecord(); r.GetKind() == "session" && r.GetSessionId() == "s" && strings.Contains(r.GetJson(), `"reason":"idle"`) {
			return
		}
	}
}

func TestBoundDirectoryKeepsItsOwner(t *testing.T) {
	dir, config := shared(t)
	d := daemontest.Start(t, config)
	sandgate(t, d, "session", "create", "s", "--directory", dir)
	in(t, d, "s", "echo hello >new")
	info, err := os.Stat(filepath.Join(dir, "new"))
	if err != nil {
		t.Fatal(err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Uid != somebody {
		t.Errorf("the new file belongs to %+v, want %d", info.Sys(), somebody)
	}
	sandgate(t, d, "session", "close", "s")
	if _, err := os.Stat(filepath.Join(dir, "new")); err != nil {
		t.Errorf("after the session: %v", err)
	}
	if _, problem, code := d.Sandgate(t, "", "session", "create", "--directory", "/etc"); code == 0 || !strings.Contains(problem, "workspace_dirs") {
		t.Errorf("another directory: %d %s", code, problem)
	}
}

func TestWorktree(t *testing.T) {
	dir, config := shared(t)
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=T", "-c", "user.email=t@example.com"}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody}}
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here")
	}
	git("init", "-q", "-b", "main", ".")
	git("commit", "-q", "--allow-empty", "-m", "one")
	d := daemontest.Start(t, config)
	for _, c := range []struct {
		session string
		close   []string
		kept    string
	}{
		{"kept", nil, "two"},
		{"dropped", []string{"--discard-branch"}, ""},
	} {
		sandgate(t, d, "session", "create", c.session, "--repository", dir, "--branch", "topic/"+c.session, "--keep-branch")
		got := in(t, d, c.session, `git symbolic-ref HEAD && git log --format=%s && echo x >file && git add file &&
			git commit -q -m two && git status --short`)
		if got != "refs/heads/topic/"+c.session+"\none\n" {
			t.Errorf("in the cell: %q", got)
		}
		sandgate(t, d, append([]string{"session", "close", c.session}, c.close...)...)
		if got := git("for-each-ref", "--format=%(subject)", "refs/heads/topic/"+c.session); got != c.kept {
			t.Errorf("%s: the repository has %q, want %q", c.session, got, c.kept)
		}
	}
	git("fsck", "--strict")
	if left, err := filepath.Glob(filepath.Join(d.DataDir, "sessions", "*")); err != nil || len(left) != 0 {
		t.Errorf("left are %v (%v)", left, err)
	}
	// What a tool makes of its repository stays in the cell, and the session with it.
	sandgate(t, d, "session", "create", "broken", "--repository", dir, "--keep-branch")
	in(t, d, "broken", "rm -rf .git && mkdir .git")
	if _, problem, code := d.Sandgate(t, "", "session", "close", "broken"); code == 0 || !strings.Contains(problem, "could not be put into its repository") {
		t.Errorf("close: %d %s", code, problem)
	}
	in(t, d, "broken", "true")
	sandgate(t, d, "session", "close", "broken", "--discard-branch")
	if _, problem, code := d.Sandgate(t, "", "session", "create", "--repository", "/usr"); code == 0 || !strings.Contains(problem, "repositories") {
		t.Errorf("another directory: %d %s", code, problem)
	}
}
