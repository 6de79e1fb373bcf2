//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// lockRoot makes every mount that came from the cell private and read-only, so
// that nothing can pass from one call to the next through the cell's own files.
// Only a workspace that the cell has of its own stays as it was.
func lockRoot() error {
	keep, err := writableMount(cell.Workspace)
	if err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID, Propagation: unix.MS_PRIVATE}
	err = unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &attr)
	switch {
	case err == nil:
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		return lockRootByOne(keep) // gVisor, or a kernel before 5.12
	default:
		return fmt.Errorf("make the cell's root read-only: %w", err)
	}
	if keep {
		attr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(unix.AT_FDCWD, cell.Workspace, 0, &attr); err != nil {
			return fmt.Errorf("keep the cell's workspace writable: %w", err)
		}
	}
	return nil
}

// writableMount reports whether path is the root of a mount that can be written.
func writableMount(path string) (bool, error) {
	var s unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS, &s); err != nil {
		return false, fmt.Errorf("look at %s (the cell's root must have this directory): %w", path, err)
	}
	isMount := s.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	if s.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 { // gVisor, or a kernel before 5.8
		points, err := mountPoints()
		if err != nil {
			return false, err
		}
		_, isMount = points[path]
	}
	if !isMount {
		return false, nil
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return false, fmt.Errorf("look at the file system of %s: %w", path, err)
	}
	return fs.Flags&unix.ST_RDONLY == 0, nil
}

// lockRootByOne does with a mount call each what mount_setattr does at once.
func lockRootByOne(keepWorkspace bool) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the cell's mounts private: %w", err)
	}
	points, err := mountPoints()
	if err != nil {
		return err
	}
	for path, flags := range points {
		if path == cell.Workspace && keepWorkspace {
			continue
		}
		if err := readOnly(path, flags|unix.MS_NOSUID); err != nil {
			return err
		}
	}
	return nil
}

// mountPoints are those of the cell, with the flags that a remount must repeat.
func mountPoints() (map[string]uintptr, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list the cell's mounts: %w", err)
	}
	points := map[string]uintptr{}
	for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 6 {
			return nil, fmt.Errorf("list the cell's mounts: cannot read %q", line)
		}
		points[unescapeMount(fields[4])] = mountFlags(fields[5])
	}
	return points, nil
}

// mountFlags translates the per-mount options of mountinfo that a remount must repeat.
func mountFlags(options string) uintptr {
	known := map[string]uintptr{
		"nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
		"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME,
	}
	var flags uintptr
	for o := range strings.SplitSeq(options, ",") {
		flags |= known[o]
	}
	return flags
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func readOnly(path string, flags uintptr) error {
	if err := unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", path, err)
	}
	return nil
}

func touch(path string) error {
	f, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
