//go:build linux

package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// hostname is what a call sees as its machine's name.
const hostname = "sandgate"

const tmpfsFlags = unix.MS_NOSUID | unix.MS_NODEV

// A tmpfs of the call is tiny until the call's own size is known.
const waitingSize = "size=64k,nr_inodes=64"

// Paths in /proc that the world outside of the namespaces shines through: hidden
// altogether, or only readable. They are those of the OCI runtimes' defaults; the
// cell's own /proc has to do without, or the kernel would not let this one be made.
var (
	hiddenFiles = []string{
		"/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/timer_list", "/proc/timer_stats",
	}
	hiddenDirs    = []string{"/proc/acpi", "/proc/asound", "/proc/scsi"}
	readOnlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
	deviceNames   = []string{"full", "null", "random", "tty", "urandom", "zero"}
)

// callFilesystems are the tmpfs mounts of a call that are bound by its DiskBytes.
func callFilesystems(w cell.WorkspaceKind) []string {
	m := []string{"/tmp", "/dev/shm", cell.Home}
	if w == cell.WorkspaceEphemeral {
		m = append(m, cell.Workspace)
	}
	return m
}

// buildView makes the call's file system view over the cell's root, which turns
// read-only as a whole first. It returns the identity of what is mounted at the
// workspace, so that fitView can tell whether the host has put something there.
func buildView() (uint64, error) {
	for _, step := range []func() error{lockRoot, buildDev, buildProc, buildScratch} {
		if err := step(); err != nil {
			return 0, err
		}
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return 0, fmt.Errorf("set host name: %w", err)
	}
	raiseLoopback()
	return mountID(cell.Workspace)
}

func buildDev() error {
	// From the old /dev as working directory its devices can still be named when
	// the new one lies over it.
	if err := unix.Chdir("/dev"); err != nil {
		return fmt.Errorf("enter /dev: %w", err)
	}
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755,size=64k,nr_inodes=64"); err != nil {
		return fmt.Errorf("mount /dev: %w", err)
	}
	for _, name := range deviceNames {
		to := "/dev/" + name
		if err := touch(to); err != nil {
			return err
		}
		if err := unix.Mount(name, to, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", to, err)
		}
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("leave /dev: %w", err)
	}
	for _, dir := range []string{"/dev/shm", "/dev/pts"} {
		if err := unix.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	for to, from := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
		"/dev/stderr": "/proc/self/fd/2", "/dev/ptmx": "pts/ptmx",
	} {
		if err := unix.Symlink(from, to); err != nil {
			return fmt.Errorf("link %s: %w", to, err)
		}
	}
	if err := unix.Mount("devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return fmt.Errorf("mount /dev/pts: %w", err)
	}
	return readOnly("/dev", unix.MS_NOSUID|unix.MS_NOEXEC)
}

func buildProc() error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", "/proc", "proc", flags, ""); err != nil {
		return fmt.Errorf("mount /proc (the cell's own must not be masked): %w", err)
	}
	for _, p := range hiddenFiles {
		if err := unix.Mount("/dev/null", p, "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("hide %s: %w", p, err)
		}
	}
	for _, p := range append([]string{"/sys"}, hiddenDirs...) {
		err := unix.Mount("tmpfs", p, "tmpfs", flags|unix.MS_RDONLY, "mode=0555,size=4k,nr_inodes=2")
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("hide %s: %w", p, err)
		}
	}
	for _, p := range readOnlyPaths {
		err := unix.Mount(p, p, "", unix.MS_BIND|unix.MS_REC, "")
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("bind %s: %w", p, err)
		}
		if err := readOnly(p, flags); err != nil {
			return err
		}
	}
	return nil
}

// scratch is a tmpfs of a call.
type scratch struct{ path, options string }

func scratches() []scratch {
	owned := fmt.Sprintf("mode=0755,uid=%d,gid=%d,", cell.PayloadUID, cell.PayloadGID)
	return []scratch{{"/tmp", "mode=1777,"}, {"/dev/shm", "mode=1777,"}, {cell.Home, owned}, {cell.Workspace, owned}}
}

func (s scratch) mount(size string) error {
	if err := unix.Mount("tmpfs", s.path, "tmpfs", tmpfsFlags, s.options+size); err != nil {
		return fmt.Errorf("mount %s (the cell's root must have this directory): %w", s.path, err)
	}
	if s.path != "/tmp" {
		return nil
	}
	if err := unix.Mount("/tmp", "/var/tmp", "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("bind /var/tmp: %w", err)
	}
	return nil
}

// resize gives the tmpfs its final size and looks that it has it. gVisor takes
// the remount and ignores it; there a second tmpfs goes over the first.
func (s scratch) resize(bytes int64) error {
	// Small files count by their inode: half a page each.
	options := fmt.Sprintf("size=%d,nr_inodes=%d", bytes, bytes/2048+1024)
	if err := unix.Mount("tmpfs", s.path, "", unix.MS_REMOUNT|tmpfsFlags, options); err != nil {
		return fmt.Errorf("size %s to %d bytes: %w", s.path, bytes, err)
	}
	if ok, err := s.has(bytes); ok || err != nil {
		return err
	}
	if err := s.mount(options); err != nil {
		return err
	}
	ok, err := s.has(bytes)
	if err == nil && !ok {
		err = fmt.Errorf("size %s to %d bytes: the kernel took it but did not do it", s.path, bytes)
	}
	return err
}

// has reports whether the tmpfs has a size of bytes, rounded up to its blocks.
func (s scratch) has(bytes int64) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.path, &fs); err != nil {
		return false, fmt.Errorf("read back the size of %s: %w", s.path, err)
	}
	size := int64(fs.Blocks) * fs.Bsize //nolint:gosec // of a tmpfs
	return size >= bytes && size < bytes+fs.Bsize, nil
}

func buildScratch() error {
	for _, s := range scratches() {
		if err := s.mount(waitingSize); err != nil {
			return err
		}
	}
	return nil
}

// fitView gives the scratch file systems the size of the call, and looks that
// the workspace is what the call says.
func fitView(x cell.Exec, before uint64) error {
	for _, s := range scratches() {
		if s.path == cell.Workspace && x.Workspace != cell.WorkspaceEphemeral {
			continue
		}
		if err := s.resize(x.DiskBytes); err != nil {
			return err
		}
	}
	switch x.Workspace {
	case cell.WorkspaceCell:
		if err := unix.Unmount(cell.Workspace, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("uncover the cell's workspace: %w", err)
		}
	case cell.WorkspaceMoved:
		now, err := mountID(cell.Workspace)
		if err != nil {
			return err
		}
		if now == before {
			return errors.New("workspace was not mounted by the host")
		}
	}
	return nil
}

// mountID identifies the mount that a path is on.
func mountID(path string) (uint64, error) {
	var s unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &s); err != nil {
		return 0, fmt.Errorf("look at the mount of %s: %w", path, err)
	}
	if s.Mask&unix.STATX_MNT_ID == 0 {
		return uint64(s.Dev_major)<<32 | uint64(s.Dev_minor), nil // a kernel before 5.8
	}
	return s.Mnt_id, nil
}
