package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// reapBudget bounds the removal of what an earlier daemon left.
const reapBudget = 20 * time.Second

// reapProcesses ends and removes everything on the machine that belongs to this
// data directory, with no help from containerd: the processes of cells by their
// control groups; a private containerd and its shims by its socket's path in
// their command lines; mounts below the run directory.
func (r *Runtime) reapProcesses(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reapBudget, errors.New("leftovers do not go away"))
	defer cancel()
	if err := r.groups.RemoveTree(ctx, r.cgroupRoot); err != nil {
		return fmt.Errorf("remove cells of an earlier run: %w", err)
	}
	if r.cfg.Address == "" {
		if err := r.groups.RemoveTree(ctx, r.serviceGroup()); err != nil {
			return fmt.Errorf("remove containerd of an earlier run: %w", err)
		}
		if err := r.reapContainerd(ctx); err != nil {
			return err
		}
	}
	return unmountBelow(r.cfg.RunDir)
}

// reapContainerd ends a private containerd of an earlier daemon and its shims.
func (r *Runtime) reapContainerd(ctx context.Context) error {
	marks := []string{filepath.Join(r.cfg.RunDir, "containerd.toml"), filepath.Join(r.cfg.RunDir, "containerd.sock")}
	for {
		pids, err := processesWith(marks)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := killMarked(pid, marks); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("end containerd of an earlier run: %w", context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// processesWith lists live processes that have one of these words as an argument
// of their own, this process excepted.
func processesWith(words []string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if hasArgument(pid, words) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// hasArgument looks only at containerd and its shims, so that an operator's
// editor with the same file open is never meant.
func hasArgument(pid int, words []string) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args := strings.Split(string(bytes.TrimRight(text, "\x00")), "\x00")
	if !strings.HasPrefix(filepath.Base(args[0]), "containerd") {
		return false
	}
	return slices.ContainsFunc(args[1:], func(a string) bool { return slices.Contains(words, a) })
}

// killMarked kills through a pidfd after a second look, so that a reused pid is
// never hit.
func killMarked(pid int, words []string) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if !hasArgument(pid, words) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	return nil
}

// unmountBelow takes off what is mounted below a directory, innermost first.
func unmountBelow(dir string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > 4 && strings.HasPrefix(unescape(f[4]), dir+"/") {
			points = append(points, unescape(f[4]))
		}
	}
	for _, point := range slices.Backward(points) {
		if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return nil
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// reapContainers removes all containers of this data directory from containerd.
func (r *Runtime) reapContainers(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reapBudget, errors.New("containers do not go away"))
	defer cancel()
	list, err := r.conn.Containers(ctx, fmt.Sprintf("labels.%q==%s", labelInstance, r.instance))
	if err != nil {
		return fmt.Errorf("list containers of an earlier run: %w", err)
	}
	var errs []error
	for _, c := range list {
		task, err := c.Task(ctx, nil)
		if err == nil {
			_, err = task.Delete(ctx, ctd.WithProcessKill)
		}
		if err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove task %s: %w", c.ID(), err))
		}
		if err := c.Delete(ctx, ctd.WithSnapshotCleanup); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove container %s: %w", c.ID(), err))
		}
	}
	return errors.Join(errs...)
}

// removeRunDir removes what New has made there.
func (r *Runtime) removeRunDir() error {
	if err := r.dropBound(); err != nil {
		return err
	}
	if err := unmountBelow(r.cfg.RunDir); err != nil {
		return err
	}
	if err := os.RemoveAll(r.cfg.RunDir); err != nil {
		return fmt.Errorf("remove run directory: %w", err)
	}
	return nil
}
