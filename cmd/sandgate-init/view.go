//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cell/raw"
)

// hostname is what a call sees as its machine's name.
const hostname = "sandgate"

const tmpfsFlags = unix.MS_NOSUID | unix.MS_NODEV

// Paths in /proc that the world outside of the namespaces shines through are
// hidden; they are those of the OCI runtimes' defaults. The rest can only be read.
// The cell's own /proc has to do without, or the kernel would not let this one be
// made.
var (
	hiddenFiles = []string{
		"/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/timer_list", "/proc/timer_stats",
	}
	hiddenDirs  = []string{"/proc/acpi", "/proc/asound", "/proc/scsi"}
	deviceNames = []string{"full", "null", "random", "tty", "urandom", "zero"}
)

// callFilesystems are the tmpfs mounts of a call that are bound by its DiskBytes.
func callFilesystems(w cell.WorkspaceKind) []string {
	m := []string{"/tmp", "/dev/shm", cell.Home}
	if w == cell.WorkspaceEphemeral {
		m = append(m, cell.Workspace)
	}
	return m
}

// buildTemplate makes what the views of all calls have in common, in the cell's
// own mount namespace: its root turns read-only as a whole, with a /dev that has
// nothing but harmless devices and an empty /sys over it. The cell's own /dev, the host's
// socket in it, is taken away, or covered where mounts cannot be moved: no call can reach
// it.
func buildTemplate(moves bool) error {
	dev := coverDev
	if moves {
		dev = replaceDev
	}
	for _, step := range []func() error{lockRoot, dev, hideSys} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func hideSys() error {
	err := unix.Mount("tmpfs", "/sys", "tmpfs", procFlags|unix.MS_RDONLY, "mode=0555,size=4k,nr_inodes=2")
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("hide /sys: %w", err)
	}
	return nil
}

// aside is where the new /dev is made where the old one can be taken away: a directory
// that each cell has, and each call gets a file system of its own over.
const aside = "/tmp"

// replaceDev puts a new /dev in the place of the cell's own. That and what is mounted in it
// is taken away: each call's mount namespace would get a copy of it, though covered, which
// costs as much as all else that is copied.
func replaceDev() error {
	if err := buildDev(aside); err != nil {
		return err
	}
	// What the kernel has locked stays, covered.
	if err := unix.Unmount("/dev", unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("take the cell's /dev away: %w", err)
	}
	if err := unix.Mount(aside, "/dev", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the new /dev to its place: %w", err)
	}
	return nil
}

// coverDev puts the new /dev over the old one: gVisor cannot move a mount.
func coverDev() error { return buildDev("/dev") }

// buildDev makes a new /dev at a directory.
func buildDev(at string) error {
	// From the old /dev as working directory its devices can still be named when
	// the new one lies over it.
	if err := unix.Chdir("/dev"); err != nil {
		return fmt.Errorf("enter /dev: %w", err)
	}
	if err := unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755,size=64k,nr_inodes=64"); err != nil {
		return fmt.Errorf("mount /dev: %w", err)
	}
	for _, name := range deviceNames {
		to := at + "/" + name
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
	for _, dir := range []string{"/shm", "/pts"} {
		if err := unix.Mkdir(at+dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", at+dir, err)
		}
	}
	if err := unix.Mount("devpts", at+"/pts", "devpts", terminalFlags, terminalOption); err != nil {
		return fmt.Errorf("mount %s: %w", terminals, err)
	}
	for to, from := range map[string]string{
		"/fd": "/proc/self/fd", "/stdin": "/proc/self/fd/0", "/stdout": "/proc/self/fd/1",
		"/stderr": "/proc/self/fd/2", "/ptmx": "pts/ptmx",
	} {
		if err := unix.Symlink(from, at+to); err != nil {
			return fmt.Errorf("link %s: %w", at+to, err)
		}
	}
	return readOnly(at, unix.MS_NOSUID|unix.MS_NOEXEC)
}

const procFlags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// stageView writes down how a stage makes the view of its call over the
// template: a read-only /proc of its own pid namespace, less what the world outside
// shines through, and file systems of its own. The options of those are at the two
// addresses when the stage gets there.
func stageView(s *raw.Script, open, owned uintptr, workspace bool) {
	s.Call("mount /proc (the cell's own must not be masked)", unix.SYS_MOUNT, "proc", "/proc", "proc", procFlags|unix.MS_RDONLY, 0)
	for _, p := range hiddenFiles {
		if exists(p) {
			s.Call("hide "+p, unix.SYS_MOUNT, "/dev/null", p, 0, unix.MS_BIND, 0).Ignore(unix.ENOENT)
		}
	}
	for _, p := range hiddenDirs {
		if exists(p) {
			s.Call("hide "+p, unix.SYS_MOUNT, "/sys", p, 0, unix.MS_BIND, 0).Ignore(unix.ENOENT)
		}
	}
	s.Call("mount /dev/pts", unix.SYS_MOUNT, "devpts", terminals, "devpts", terminalFlags, terminalOption)
	scratch(s, open, owned, workspace)
	s.Call("set host name", unix.SYS_SETHOSTNAME, hostname, len(hostname))
}

// scratch writes down the mounts of the call's own file systems.
func scratch(s *raw.Script, open, owned uintptr, workspace bool) {
	for _, m := range []struct {
		path    string
		options uintptr
		wanted  bool
	}{
		{"/tmp", open, true}, {"/dev/shm", open, true}, {cell.Home, owned, true}, {cell.Workspace, owned, workspace},
	} {
		if m.wanted {
			s.Call("mount "+m.path+" (the cell's root must have this directory)", unix.SYS_MOUNT, "tmpfs", m.path, "tmpfs", tmpfsFlags, m.options)
		}
	}
	if exists("/var/tmp") {
		s.Call("bind /var/tmp", unix.SYS_MOUNT, "/tmp", "/var/tmp", 0, unix.MS_BIND, 0)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func ownedOptions() string {
	return fmt.Sprintf("mode=0755,uid=%d,gid=%d,", cell.PayloadUID, cell.PayloadGID)
}

// sizeOptions bounds a tmpfs. Small files count by their inode: half a page each.
// While the call's size is not known it is tiny.
func sizeOptions(bytes int64) string {
	if bytes == 0 {
		return "size=64k,nr_inodes=64"
	}
	return fmt.Sprintf("size=%d,nr_inodes=%d", bytes, bytes/2048+1024)
}

// fits reports whether a tmpfs of the size has bytes, rounded up to its pages.
func fits(size, bytes int64) bool {
	return size >= bytes && size < bytes+int64(os.Getpagesize())
}

// workspaceBelow is what is bound over the cell's workspace for cell.WorkspaceBelow.
const workspaceBelow = cell.Workspace + "/" + cell.BelowName

// bindBelow gives the stages to come the workspace that the host has put below the
// cell's own. It does so once: a cell keeps its workspace for life.
func (s *server) bindBelow(want cell.WorkspaceKind) error {
	if want != cell.WorkspaceBelow || s.below {
		return nil
	}
	if err := unix.Mount(workspaceBelow, cell.Workspace, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind the workspace that the host has put below: %w", err)
	}
	s.below = true
	return nil
}
