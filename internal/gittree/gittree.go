// Package gittree takes commits out of git repositories of the machine and puts
// branches into them, for sessions that work on a working tree of their own. The
// gate uses it. It must never run anything that a repository names.
//
// The threat: a repository's configuration, hooks and attributes name programs,
// and a tool that can write to it, or a host that may only name it, would have
// them run by the daemon or, later, by the user's own git. So
//
//   - a session's working tree is a repository by itself. A linked worktree
//     (`git worktree add`) would have its administrative files in the user's
//     repository: either git does not work in the cell, or a tool can plant a hook;
//   - on the machine git only reads objects and, at the end, takes some in and makes
//     one new ref. It checks out nothing, so no filter runs, and never looks at what
//     the tool has made of its own repository: packs are made of that in a cell;
//   - git runs as the owner of the repository, without groups, with nothing of the
//     daemon's environment or of any user's configuration, with hooks, monitors,
//     pagers, replacements, lazy fetching and all protocols switched off, and its
//     process group is killed when its time is over.
//
// What a tool hands back is checked as git checks what it fetches from strangers:
// each object, and that all of them are there.
package gittree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// Repository is a git repository of the machine. It is safe for concurrent use.
type Repository struct {
	dir      string
	program  string
	uid, gid uint32
}

const (
	// maxPackBytes bounds what is taken into a repository.
	maxPackBytes = 1 << 30
	// maxMessage bounds what git says in an error.
	maxMessage = 500
	// settle is how long git's pipes may stay open after its end.
	settle = time.Second
)

var commitForm = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// Open opens the repository in a directory, absolute and without symlinks.
// permitted is asked whether the directory that really holds it may be used: a
// file .git can name another one.
func Open(ctx context.Context, dir string, permitted func(dir string) error) (*Repository, error) {
	program, err := findGit()
	if err != nil {
		return nil, err
	}
	r := &Repository{dir: dir, program: program}
	if err := r.ownedBy(dir); err != nil {
		return nil, err
	}
	out, err := r.run(ctx, nil, "rev-parse", "--path-format=absolute", "--git-common-dir", "--is-shallow-repository")
	if err != nil {
		return nil, fmt.Errorf("%s is no git repository that can be used: %w: %w", dir, err, errdefs.ErrFailedPrecondition)
	}
	common, shallow, _ := strings.Cut(out, "\n")
	if shallow == "true" {
		return nil, fmt.Errorf("%s is a shallow clone: fetch the rest of its history first (git fetch --unshallow): %w", dir, errdefs.ErrFailedPrecondition)
	}
	common, err = filepath.EvalSymlinks(common)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", dir, err, errdefs.ErrFailedPrecondition)
	}
	if err := permitted(common); err != nil {
		return nil, fmt.Errorf("%s has its repository elsewhere: %w", dir, err)
	}
	return r, r.ownedBy(common)
}

// findGit looks where a package puts it: PATH is not the daemon's to trust.
func findGit() (string, error) {
	for _, path := range []string{"/usr/bin/git", "/usr/local/bin/git", "/bin/git"} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no git on the daemon's machine: %w", errdefs.ErrFailedPrecondition)
}

// ownedBy makes the owner of a directory the one that git runs as.
func (r *Repository) ownedBy(dir string) error {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return fmt.Errorf("%s is no directory: %w", dir, errdefs.ErrFailedPrecondition)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("the owner of %s is not known: %w", dir, errdefs.ErrFailedPrecondition)
	}
	if self := os.Geteuid(); self != 0 && stat.Uid != uint32(self) { //nolint:gosec // an id of this machine
		return fmt.Errorf("%s belongs to the user %d, as whom this daemon cannot run git: %w", dir, stat.Uid, errdefs.ErrFailedPrecondition)
	}
	r.uid, r.gid = stat.Uid, stat.Gid
	return nil
}

// settings are what no repository may say otherwise.
func settings() []string {
	var args []string
	for _, s := range []string{
		"core.hooksPath=/dev/null", "core.fsmonitor=false", "core.attributesFile=/dev/null", "core.alternateRefsCommand=", "protocol.allow=never",
		"gc.auto=0", "maintenance.auto=false", "transfer.fsckObjects=true", "uploadpack.packObjectsHook=", "advice.detachedHead=false",
	} {
		args = append(args, "-c", s)
	}
	return args
}

// command is git on the repository, as its owner and with nothing else.
func (r *Repository) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append(append(append([]string{"--no-replace-objects", "--no-pager"}, settings()...), "-C", r.dir), args...)
	cmd := exec.CommandContext(ctx, r.program, args...) // #nosec G204 -- a fixed program; what a host names comes after --end-of-options
	cmd.Dir = "/"
	cmd.Env = []string{
		"PATH=/usr/bin:/bin", "HOME=/nonexistent", "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_ATTR_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none", "GIT_OPTIONAL_LOCKS=0",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: r.uid, Gid: r.gid}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = settle
	return cmd
}

// run runs git and returns what it printed, without the last line break.
func (r *Repository) run(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := r.command(ctx, args...)
	var out, problem bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &problem
	if err := cmd.Run(); err != nil {
		return "", failure(args[0], err, problem.String())
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

func failure(what string, err error, text string) error {
	text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
	if len(text) > maxMessage {
		text = text[:maxMessage] + "…"
	}
	return fmt.Errorf("git %s: %w: %s", what, err, text)
}

// Commit returns the id of the commit that a name stands for.
func (r *Repository) Commit(ctx context.Context, name string) (string, error) {
	id, err := r.run(ctx, nil, "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
	if err != nil || !commitForm.MatchString(id) {
		return "", fmt.Errorf("%q is no commit, branch or tag of %s: %w", name, r.dir, errdefs.ErrNotFound)
	}
	return id, nil
}

// CheckNew reports whether a branch of that name can be made.
func (r *Repository) CheckNew(ctx context.Context, branch string) error {
	if strings.HasPrefix(branch, "-") {
		return fmt.Errorf("%q is no name of a branch: %w", branch, errdefs.ErrInvalidArgument)
	}
	if _, err := r.run(ctx, nil, "check-ref-format", "refs/heads/"+branch); err != nil {
		return fmt.Errorf("%q is no name of a branch: %w", branch, errdefs.ErrInvalidArgument)
	}
	if _, err := r.run(ctx, nil, "show-ref", "--verify", "--quiet", "refs/heads/"+branch); err == nil {
		return fmt.Errorf("%s has the branch %q already: choose another name: %w", r.dir, branch, errdefs.ErrAlreadyExists)
	}
	return nil
}

// Pack writes the commit with all its history as a pack. It waits for whoever takes it
// in, as long as the context lasts.
func (r *Repository) Pack(ctx context.Context, commit string, to io.Writer) error {
	cmd := r.command(ctx, "pack-objects", "--revs", "--stdout", "-q", "--delta-base-offset")
	var problem bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(commit+"\n"), &problem
	pack, err := cmd.StdoutPipe() // not Stdout: who takes it in may be slower than git's end and its WaitDelay
	if err != nil {
		return fmt.Errorf("pack-objects: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return failure("pack-objects", err, "")
	}
	stop := context.AfterFunc(ctx, func() { _ = pack.Close() })
	_, copied := io.Copy(to, pack)
	stop()
	_ = pack.Close() // so that git ends also when nobody takes it in
	if err := cmd.Wait(); copied == nil && err != nil {
		return failure("pack-objects", err, problem.String())
	}
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("pack-objects: %w", err)
	}
	if copied != nil {
		return fmt.Errorf("pack-objects: hand it over: %w", copied)
	}
	return nil
}

// Take takes the objects of a pack in and makes the branch at the commit. Where
// there is such a branch by now at another commit, another name is found; it is
// returned. A second time changes nothing.
func (r *Repository) Take(ctx context.Context, pack io.Reader, commit, branch string) (string, error) {
	if !commitForm.MatchString(commit) {
		return "", fmt.Errorf("the commit of the branch is %.80q, which is none: %w", commit, errdefs.ErrFailedPrecondition)
	}
	if _, err := r.run(ctx, pack, "index-pack", "--stdin", "--strict", "--fix-thin", fmt.Sprintf("--max-input-size=%d", maxPackBytes)); err != nil {
		return "", fmt.Errorf("take in what was committed: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	failpoint.At(failpoint.TreeTaken)
	// All that the branch needs has to be there, or the repository would be broken.
	if _, err := r.run(ctx, nil, "rev-list", "--objects", "--quiet", commit, "--not", "--all"); err != nil {
		return "", fmt.Errorf("what was committed is not whole: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	var err error
	for _, name := range []string{branch, branch + "-" + commit[:8]} {
		if _, err = r.run(ctx, nil, "update-ref", "refs/heads/"+name, commit, strings.Repeat("0", len(commit))); err == nil {
			return name, nil
		}
		if at, rerr := r.run(ctx, nil, "rev-parse", "--verify", "--quiet", "refs/heads/"+name); rerr == nil && at == commit {
			return name, nil // whoever did it before could not say so
		}
	}
	return "", errors.Join(fmt.Errorf("make the branch %q: %w", branch, errdefs.ErrFailedPrecondition), err)
}
