package containerd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/oci"
)

// A veiled cell is made without a call's directory and gets one with its first call
// that has one, for life. The machine sees none of the mount namespaces of its
// programs, but all files of theirs come from one: that of gVisor's gofer, which
// hands gVisor a descriptor of each mount's root when the cell is made. From there
// gVisor opens what is below by name, so it sees what is mounted below since then,
// and does not see what is mounted on the root itself. So the cell is made with a
// directory of the machine's that has nothing but an empty one in it. A call's
// directory is mounted on that, in the gofer's mount namespace alone, and init binds
// it over the cell's workspace: see cell.WorkspaceBelow.
const (
	// goferName is argv[0] of a gofer.
	goferName = "runsc-gofer"
	// belowPath is where the gofer has a call's directory.
	belowPath = oci.WorkspacePath + "/" + cell.BelowName
)

// bind says which directory a call's cell must have, if it is to be its own.
func (r *Runtime) bind(cl class, w sandbox.Workspace) (class, error) {
	if !cl.veiled() || w.HostDir == "" {
		return cl, nil
	}
	found, dir, err := r.openWorkspace(w)
	if err != nil {
		return cl, fmt.Errorf("workspace %s: %w", w.HostDir, err)
	}
	cl.dir, cl.readOnly = *found, w.ReadOnly
	if err := unix.Close(dir); err != nil {
		return cl, fmt.Errorf("workspace %s: %w", w.HostDir, err)
	}
	return cl, nil
}

// made is the class of the cells that serve such a call when they are made: of none
// of them is it known yet what its directory will be.
func (cl class) made() class {
	cl.dir = workspace{}
	return cl
}

// boundDirs is the directory that every veiled cell has at its workspace at first.
func (r *Runtime) boundDirs() string { return filepath.Join(r.cfg.RunDir, "bound") }

// makeBound makes it, with what calls' directories are mounted on. It belongs to the
// machine's root, so nobody in a cell can write there.
func (r *Runtime) makeBound() error {
	if err := makeDir(r.boundDirs(), 0o755); err != nil {
		return err
	}
	return makeDir(filepath.Join(r.boundDirs(), cell.BelowName), 0o755)
}

// dropBound lets go of what a daemon of an earlier version may have mounted in the
// machine's own namespace and not taken away, since it was killed. It must come
// before anything is removed with what is in it.
func (r *Runtime) dropBound() error {
	entries, err := os.ReadDir(r.boundDirs())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("let go of workspaces: %w", err)
	}
	for _, e := range entries {
		if err := letGo(filepath.Join(r.boundDirs(), e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// letGo removes a mount and the empty directory below it, and never any file: a
// directory that is still mounted on cannot be removed.
func letGo(at string) error {
	unmounted := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err := os.Remove(at); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("let go of workspace: %w", errors.Join(err, unmounted))
	}
	return nil
}

// meetGofer finds the gofer of a cell in which nothing has run yet.
func (r *Runtime) meetGofer(c *aCell) error {
	pids, err := r.groups.Procs(c.leaf)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if name, err := os.ReadFile(procOf(pid) + "/cmdline"); err != nil || !bytes.HasPrefix(name, []byte(goferName+"\x00")) {
			continue
		}
		if c.gofer != nil {
			return fmt.Errorf("more than one process of cell %s is a gofer: %w", c.id, errdefs.ErrInternal)
		}
		if c.gofer, err = os.Open(procOf(pid)); err != nil {
			return fmt.Errorf("look at gVisor's gofer: %w", err)
		}
	}
	if c.gofer == nil {
		return fmt.Errorf("gVisor's gofer is not among the %d processes of cell %s: %w", len(pids), c.id, errdefs.ErrInternal)
	}
	have, err := os.Readlink(goferOf(c) + "/ns/mnt")
	if err != nil {
		return fmt.Errorf("look at gVisor's gofer: %w", err)
	}
	if have == r.ownNamespaces["mnt"] {
		return fmt.Errorf("the outer wall is not up: gVisor's gofer shares the machine's mount namespace: %w", errdefs.ErrFailedPrecondition)
	}
	return nil
}

// goferOf is where the kernel tells of a cell's gofer. When that has ended nothing is
// there: another process that got its number since is not meant.
func goferOf(c *aCell) string { return fmt.Sprintf("/proc/self/fd/%d", c.gofer.Fd()) }

// leaveGofer forgets the gofer of a cell that is destroyed. It is safe to repeat.
func (c *aCell) leaveGofer() {
	if c.gofer != nil {
		_ = c.gofer.Close() // nothing was written through it
		c.gofer = nil
	}
}

// mountVeiled gives a veiled cell the call's directory. It is the first one that the
// cell gets, or the one that it has.
func (u *running) mountVeiled() error {
	w := u.call.Workspace
	u.workdir, u.kind = "directory", cell.WorkspaceBelow
	if w.KeepOwner {
		u.workdir = "directory:idmapped"
	}
	if u.c.attached == nil {
		if err := u.r.attachVeiled(u.c, &u.dir); err != nil {
			return fmt.Errorf("workspace %s: %w", w.HostDir, err)
		}
	}
	if !u.c.attached.same(&u.dir) {
		return fmt.Errorf("workspace %s: the cell has %s: %w: %w", w.HostDir, u.c.attached.HostDir, errdefs.ErrInternal, errUnfit)
	}
	u.believeReadOnly()
	return u.bounded()
}

// attachVeiled mounts a directory in the namespace of a cell's gofer, where the
// machine then looks at it. An error leaves the cell as it was, or wraps errUnfit.
func (r *Runtime) attachVeiled(c *aCell, w *workspace) error {
	if w.ReadOnly != c.class.readOnly {
		return fmt.Errorf("read-only %t in a cell for read-only %t: %w", w.ReadOnly, c.class.readOnly, errdefs.ErrInternal)
	}
	found, dir, err := r.openWorkspace(w.Workspace)
	if err != nil {
		return err
	}
	defer unix.Close(dir) //nolint:errcheck // an O_PATH descriptor
	if !found.same(w) {
		return fmt.Errorf("it is another directory than a moment ago: want one that stays: %w", errdefs.ErrFailedPrecondition)
	}
	tree, err := r.cloneTree(found, dir, true)
	if err != nil {
		return err
	}
	defer unix.Close(tree)              //nolint:errcheck // attached, or dropped with the descriptor
	c.attached, c.wanted = found, found // from here on, whether it is there or not, it serves nobody else
	if err := inCellOf(goferOf(c), func() error { return attachBelow(tree, found) }); err != nil {
		return fmt.Errorf("%w: %w", err, errUnfit)
	}
	seen, err := readMounts(goferOf(c))
	if err != nil {
		return fmt.Errorf("%w: %w", err, errUnfit)
	}
	if m, ok := seen[belowPath]; !ok || !m.restricted || w.ReadOnly && !m.readOnly {
		return fmt.Errorf("the cell does not have its workspace as demanded, says the kernel: its options are %q: %w", m.options, errUnfit)
	}
	return nil
}

// attachBelow attaches a detached mount in the namespace of a gofer, and looks that
// it is the one directory there.
func attachBelow(tree int, want *workspace) error {
	const place = "." + belowPath // no call can write there
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, place, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attach it in the cell: %w", err)
	}
	var stat unix.Stat_t
	if err := unix.Lstat(place, &stat); err != nil {
		return fmt.Errorf("look at it in the cell: %w", err)
	}
	if stat.Dev != want.dev || stat.Ino != want.ino {
		return fmt.Errorf("the cell has another directory there: %w", errdefs.ErrInternal)
	}
	return nil
}
