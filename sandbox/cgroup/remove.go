package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Remove removes an empty group. It is not an error if it is gone already. The
// kernel may take a moment until a dead process has left, so it tries until ctx
// ends.
func (m *Manager) Remove(ctx context.Context, path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	for _, dir := range m.b.dirs(path) {
		if err := removeDir(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}

// RemoveTree kills every process in the group and in those below it and removes
// them all. It is not an error if there is no such group.
func (m *Manager) RemoveTree(ctx context.Context, path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	for {
		alive := 0
		for _, dir := range m.b.allDirs(path) {
			n, err := killTree(dir)
			if err != nil {
				return err
			}
			alive += n
		}
		if alive == 0 {
			break
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%d processes left in control group %s: %w", alive, path, err)
		}
	}
	for _, top := range m.b.allDirs(path) {
		for _, dir := range slices.Backward(subdirs(top)) {
			if err := removeDir(ctx, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// Kill sends SIGKILL to every process in the group and below, once. It returns
// how many there were.
func (m *Manager) Kill(path string) (int, error) {
	if err := checkPath(path); err != nil {
		return 0, err
	}
	return killTree(m.b.dirs(path)[0])
}

// killTree uses cgroup.kill where there is one; elsewhere it signals each
// process through a pidfd whose membership it has checked again, so that a
// reused pid is never hit.
func killTree(top string) (int, error) {
	killed := 0
	for _, dir := range subdirs(top) {
		pids, err := readProcs(ReadKernelFile, dir+procsFile)
		if err = ignoreMissing(err); err != nil {
			return killed, err
		}
		killed += len(pids)
		if len(pids) == 0 {
			continue
		}
		if err := writeFile(filepath.Join(dir, "cgroup.kill"), "1"); err == nil {
			continue
		}
		for _, pid := range pids {
			if err := killMember(dir, pid); err != nil {
				return killed, err
			}
		}
	}
	return killed, nil
}

func killMember(dir string, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	now, err := readProcs(ReadKernelFile, dir+procsFile)
	if err != nil || !slices.Contains(now, pid) {
		return ignoreMissing(err)
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	return nil
}

// subdirs returns top and all directories below it, parents first; none if top
// is gone.
func subdirs(top string) []string {
	var dirs []string
	walk := func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignoreMissing(err)
		}
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	}
	if err := filepath.WalkDir(top, walk); err != nil {
		return dirs
	}
	return dirs
}

func removeDir(ctx context.Context, dir string) error {
	for {
		err := syscall.Rmdir(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("remove control group: %w", &os.PathError{Op: "rmdir", Path: dir, Err: err})
		}
		if perr := pause(ctx); perr != nil {
			return fmt.Errorf("remove control group %s: %w (%w)", dir, err, perr)
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(2 * time.Millisecond):
		return nil
	}
}
