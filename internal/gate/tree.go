package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/gittree"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// A session's working tree is made and handed back in a cell of its own, as the
// programs of the session run; see package gittree for why. On the machine, git
// only reads the repository and takes a pack in.
const (
	// unpackScript makes the workspace of a branch ($1) at a commit ($2) whose pack
	// comes on stdin.
	unpackScript = `set -e
git init -q --template= .
git index-pack --stdin >/dev/null
git symbolic-ref HEAD "refs/heads/$1"
git update-ref "refs/heads/$1" "$2"
git reset -q --hard`
	// packScript leaves what the branch ($1) has beyond a commit ($2) in the workspace.
	packScript = `set -e
rm -rf ` + packName + ` ` + headName + `
head=$(git rev-parse --verify "refs/heads/$1^{commit}")
printf '%s\n^%s\n' "$head" "$2" | git pack-objects --revs --stdout -q >` + packName + `
printf %s "$head" >` + headName

	packName = ".sandgate-pack"
	headName = ".sandgate-head"
	maxHead  = 128 // bytes of headName
	// treeTime bounds the making and the handing back of a tree.
	treeTime = 10 * time.Minute
)

var errTreeTime = fmt.Errorf("git took longer than %s: %w", treeTime, errdefs.ErrUnavailable)

// checkTree finds the repository and the commit that a host wishes to begin at.
func (g *Gate) checkTree(ctx context.Context, caller Caller, t session.Tree) (session.Tree, error) {
	repo, err := g.openRepository(ctx, caller, &t)
	if err != nil {
		return t, err
	}
	if t.Base == "" {
		t.Base = "HEAD"
	}
	if t.Base, err = repo.Commit(ctx, t.Base); err != nil {
		return t, err
	}
	return t, repo.CheckNew(ctx, t.Branch)
}

// openRepository opens the repository of a tree if the caller may have it.
func (g *Gate) openRepository(ctx context.Context, caller Caller, t *session.Tree) (*gittree.Repository, error) {
	if !plainText(t.Repository) || !filepath.IsAbs(t.Repository) || len(t.Repository) > maxCwdBytes {
		return nil, &FieldError{"repository", "is not valid", "an absolute path of this machine"}
	}
	permitted := func(dir string) error {
		if g.cfg.Repositories == nil {
			return fmt.Errorf("this daemon gives no repositories (its configuration names none): %w", errdefs.ErrPermissionDenied)
		}
		if err := g.cfg.Repositories(caller, dir); err != nil {
			return fmt.Errorf("repository %q: %w", dir, err)
		}
		return nil
	}
	if err := permitted(filepath.Clean(t.Repository)); err != nil {
		return nil, err
	}
	resolved, err := filepath.EvalSymlinks(t.Repository)
	if err != nil {
		return nil, fmt.Errorf("repository %q cannot be used (%v): %w", t.Repository, err, errdefs.ErrFailedPrecondition)
	}
	if err := permitted(resolved); err != nil {
		return nil, err
	}
	t.Repository = resolved
	return gittree.Open(ctx, resolved, permitted)
}

// makeTree makes the workspace of a new session.
func (g *Gate) makeTree(ctx context.Context, caller Caller, s *session.Session, t session.Tree) error {
	ctx, cancel := context.WithTimeoutCause(ctx, treeTime, errTreeTime)
	defer cancel()
	repo, err := g.openRepository(ctx, caller, &t)
	if err != nil {
		return err
	}
	dir, err := s.BeginWorkspace()
	if err != nil {
		return err
	}
	from, to := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := repo.Pack(ctx, t.Base, to)
		_ = to.CloseWithError(err) // never fails
		packed <- err
	}()
	err = g.inTree(ctx, s, dir, unpackScript, from, t)
	_ = from.CloseWithError(errors.New("the tree is not being made any more")) // never fails; ends Pack if it still writes
	if perr := <-packed; err == nil {
		err = perr
	}
	if err != nil {
		return fmt.Errorf("make the working tree of session %q: %w", s.Snapshot().ID, err)
	}
	failpoint.At(failpoint.TreeUnpacked)
	return s.FinishWorkspace()
}

// keepTree puts what was committed on the session's branch into its repository.
func (g *Gate) keepTree(ctx context.Context, s *session.Session, t session.Tree) error {
	state := s.Snapshot()
	ctx, cancel := context.WithTimeoutCause(ctx, treeTime, errTreeTime)
	defer cancel()
	// Whether the caller may have it was asked when the session was made; what was
	// promised then holds.
	repo, err := gittree.Open(ctx, t.Repository, func(string) error { return nil })
	if err != nil {
		return keepFailed(state.ID, err)
	}
	if err := g.inTree(ctx, s, s.WorkspaceDir(), packScript, nil, t); err != nil {
		return keepFailed(state.ID, err)
	}
	failpoint.At(failpoint.TreePacked)
	head, err := readLeft(s.WorkspaceDir(), headName, func(f io.Reader) (string, error) {
		raw, err := io.ReadAll(io.LimitReader(f, maxHead))
		return string(raw), err
	})
	if err != nil {
		return keepFailed(state.ID, err)
	}
	if head == t.Base {
		return nil // nothing was committed
	}
	branch, err := readLeft(s.WorkspaceDir(), packName, func(f io.Reader) (string, error) { return repo.Take(ctx, f, head, t.Branch) })
	if err != nil {
		return keepFailed(state.ID, err)
	}
	failpoint.At(failpoint.TreeKept)
	g.log.Info("branch kept", zap.String("session", state.ID), zap.String("repository", t.Repository), zap.String("branch", branch), zap.String("commit", head))
	return nil
}

func keepFailed(id string, err error) error {
	return fmt.Errorf("the branch of session %q could not be put into its repository: %w", id, err)
}

// readLeft reads a file that a cell has left in a workspace: a tool may have put
// anything in its place.
func readLeft(dir, name string, read func(io.Reader) (string, error)) (_ string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("workspace: %w", err)
	}
	defer root.Close() //nolint:errcheck // only read
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("workspace: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no file: %w", name, errdefs.ErrFailedPrecondition)
	}
	return read(f)
}

// inTree runs a script of sandgate's own in a directory of the session, in a fresh
// cell that nobody else gets, within the ceiling. It waits its turn as calls do.
func (g *Gate) inTree(ctx context.Context, s *session.Session, dir, script string, stdin io.Reader, t session.Tree) error {
	state := s.Snapshot()
	cage := policy.Effective(policy.Obligations{}, g.cfg.Ceiling, g.cfg.Defaults)
	cage.DiskBytes, cage.FileBytes = g.cfg.Ceiling.DiskBytes, g.cfg.Ceiling.FileBytes
	cage.WallTimeMs = treeTime.Milliseconds()
	place, err := g.cfg.Admission.Enter(ctx, admission.Request{Caller: state.Caller, Class: state.Profile, CPUMillis: cage.CPUMillis, MemoryBytes: cage.MemoryBytes})
	if err != nil {
		return notAdmitted(ctx, err)
	}
	defer place.Leave()
	res, err := g.cfg.Runtime.Run(ctx, sandbox.Call{
		ID: "tree-" + session.Key(state.Caller, state.ID), Image: g.cfg.DefaultImage, Reuse: sandbox.ReuseNever,
		Owner: opaqueKey("owner", state.Caller),
		Argv:  []string{"/bin/sh", "-c", script, "sh", t.Branch, t.Base},
		Env:   []string{"HOME=/tmp", "LC_ALL=C", "GIT_TERMINAL_PROMPT=0"},
		Stdin: stdin, Limits: limitsOf(cage), Workspace: sandbox.Workspace{HostDir: dir},
	})
	switch {
	case err != nil:
		return err
	case res.Outcome != sandbox.OutcomeExited || res.ExitCode != 0:
		text := strings.ToValidUTF8(strings.TrimSpace(string(res.Stderr.Head)), "?")
		return fmt.Errorf("git in the cell: %s, exit code %d: %s %s: %w", res.Outcome, res.ExitCode, res.Message, shortened(text), errdefs.ErrFailedPrecondition)
	}
	return nil
}
