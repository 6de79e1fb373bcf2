package gittree

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// git runs the user's git as a test's user would.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=T", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// repository makes one with a commit on main whose configuration, hooks and
// attributes all make the file canary when they run.
func repository(t *testing.T) (dir, canary string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here")
	}
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir, canary = filepath.Join(top, "repo"), filepath.Join(top, "canary")
	git(t, top, "init", "-q", "-b", "main", dir)
	write(t, filepath.Join(dir, "a.txt"), "one\n", 0o600)
	write(t, filepath.Join(dir, ".gitattributes"), "*.txt filter=evil diff=evil\n", 0o600)
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-q", "-m", "one")
	trap := filepath.Join(top, "trap")
	write(t, trap, "#!/bin/sh\ntouch "+canary+"\ncat\n", 0o700)
	for _, hook := range []string{"reference-transaction", "post-checkout", "pre-auto-gc", "post-index-change"} {
		write(t, filepath.Join(dir, ".git/hooks", hook), "#!/bin/sh\ntouch "+canary+"\n", 0o700)
	}
	for _, key := range []string{
		"filter.evil.smudge", "filter.evil.process", "core.fsmonitor", "core.pager", "core.sshCommand", "uploadpack.packObjectsHook", "core.alternateRefsCommand",
	} {
		git(t, dir, "config", key, trap)
	}
	if err := os.RemoveAll(canary); err != nil {
		t.Fatal(err)
	}
	return dir, canary
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func anywhere(string) error { return nil }

func open(t *testing.T, dir string) *Repository {
	t.Helper()
	r, err := Open(t.Context(), dir, anywhere)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestABranchGoesOutAndComesBackAndNothingRuns(t *testing.T) {
	dir, canary := repository(t)
	r := open(t, dir)
	base, err := r.Commit(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.CheckNew(t.Context(), "topic/x"); err != nil {
		t.Fatal(err)
	}
	var pack bytes.Buffer
	if err := r.Pack(t.Context(), base, &pack); err != nil {
		t.Fatal(err)
	}
	// What a cell does with it.
	work := t.TempDir()
	git(t, work, "init", "-q", "-b", "topic/x", ".")
	cmd := exec.Command("git", "-C", work, "index-pack", "--stdin")
	cmd.Stdin = &pack
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	git(t, work, "reset", "-q", "--hard", base)
	write(t, filepath.Join(work, "a.txt"), "two\n", 0o600)
	git(t, work, "commit", "-q", "-a", "-m", "two")
	head := git(t, work, "rev-parse", "HEAD")
	thin := func() *bytes.Buffer {
		cmd := exec.Command("git", "-C", work, "pack-objects", "--revs", "--stdout", "-q")
		cmd.Stdin = strings.NewReader(head + "\n^" + base + "\n")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return bytes.NewBuffer(out)
	}
	// A second time, since nobody was told of the first; then somebody else has the name.
	for n, want := range []string{"topic/x", "topic/x", "topic/x-" + head[:8]} {
		if n == 2 {
			git(t, dir, "update-ref", "refs/heads/topic/x", base)
		}
		name, err := r.Take(t.Context(), thin(), head, "topic/x")
		if err != nil || name != want {
			t.Fatalf("took it as %q, %v, want %q", name, err, want)
		}
		if got := git(t, dir, "show", "--no-ext-diff", "refs/heads/"+name+":a.txt"); got != "two" {
			t.Errorf("the branch has %q", got)
		}
	}
	if err := os.RemoveAll(canary); err != nil { // the user's own git above may run his own hooks
		t.Fatal(err)
	}
	if err := r.CheckNew(t.Context(), "topic/x"); !errdefs.IsAlreadyExists(err) {
		t.Errorf("a name that is taken: got %v", err)
	}
}

func TestNothingOfTheRepositoryRuns(t *testing.T) {
	dir, canary := repository(t)
	r := open(t, dir)
	base, err := r.Commit(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	var pack bytes.Buffer
	if err := errors.Join(r.CheckNew(t.Context(), "b"), r.Pack(t.Context(), base, &pack)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Take(t.Context(), &pack, base, "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(canary); !os.IsNotExist(err) {
		t.Errorf("a program of the repository has run (%v)", err)
	}
	// The traps work: with the user's own git one goes off.
	git(t, dir, "update-ref", "refs/heads/c", base)
	if _, err := os.Stat(canary); err != nil {
		t.Errorf("the trap did not go off: %v", err)
	}
}

func TestWhatCannotBeUsedIsRefused(t *testing.T) {
	dir, _ := repository(t)
	ctx := t.Context()
	if _, err := Open(ctx, t.TempDir(), anywhere); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("no repository: got %v", err)
	}
	elsewhere := filepath.Join(t.TempDir(), "link")
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(elsewhere, ".git"), "gitdir: "+filepath.Join(dir, ".git")+"\n", 0o600)
	not := errors.New("not that one")
	if _, err := Open(ctx, elsewhere, func(string) error { return not }); !errors.Is(err, not) {
		t.Errorf("a repository elsewhere: got %v", err)
	}
	r := open(t, dir)
	for _, name := range []string{"none", "--all", "main:a.txt", "-h"} {
		if _, err := r.Commit(ctx, name); !errdefs.IsNotFound(err) {
			t.Errorf("commit %q: got %v", name, err)
		}
	}
	for _, name := range []string{"", "-d", "a..b", "a b", "x.lock", "@{"} {
		if err := r.CheckNew(ctx, name); !errdefs.IsInvalidArgument(err) {
			t.Errorf("branch %q: got %v", name, err)
		}
	}
	base, err := r.Commit(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ pack, commit string }{
		"garbage":         {"PACKgarbage", base},
		"an odd commit":   {"", "main"},
		"a missing one":   {"", strings.Repeat("1", 40)},
		"an option as id": {"", "--all"},
	} {
		if _, err := r.Take(ctx, strings.NewReader(c.pack), c.commit, "b"); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := r.run(stopped, nil, "rev-parse", "HEAD"); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: got %v", err)
	}
}

// slow takes its time for the first bytes, as a tree does whose cell has to be made.
type slow struct {
	got  bytes.Buffer
	wait <-chan struct{}
}

func (s *slow) Write(p []byte) (int, error) {
	<-s.wait
	return s.got.Write(p)
}

// TestPackWaitsForWhoTakesIt: also when git has long ended, and not beyond its context.
func TestPackWaitsForWhoTakesIt(t *testing.T) {
	dir, _ := repository(t)
	r := open(t, dir)
	base, err := r.Commit(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	late, cancel := context.WithTimeout(t.Context(), settle*3/2)
	defer cancel()
	to := &slow{wait: late.Done()}
	if err := r.Pack(t.Context(), base, to); err != nil || !bytes.HasPrefix(to.got.Bytes(), []byte("PACK")) {
		t.Errorf("got %d bytes, %v", to.got.Len(), err)
	}
	ended, cancel := context.WithTimeout(t.Context(), settle/10)
	defer cancel()
	if err := r.Pack(ended, base, &slow{wait: ended.Done()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beyond its context: got %v", err)
	}
}
