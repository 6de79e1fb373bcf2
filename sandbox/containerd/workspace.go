package containerd

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/oci"
)

// idmaps keeps a user namespace for each owner of a workspace that was seen.
type idmaps struct {
	mu    sync.Mutex
	files map[idmap]*os.File
}

// maxIDMaps bounds the kept namespaces; beyond it all are let go.
const maxIDMaps = 64

// idmap says whose files on disk are the program's.
type idmap struct {
	uid, gid uint32
	root     bool // the cell's root must be able to make files: it gives them away then
}

// get returns a user namespace in which the owner on disk is the program of a cell
// whose ids begin at base on this machine.
func (m *idmaps) get(owner idmap, base uint32) (*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[owner]; f != nil {
		return f, nil
	}
	list := func(id, as uint32) string {
		text := fmt.Sprintf("%d:%d:1", id, base+as)
		if spare := base; owner.root {
			if spare == id {
				spare++
			}
			text += fmt.Sprintf(",%d:%d:1", spare, base)
		}
		return text
	}
	f, err := mount.GetUsernsFD(list(owner.uid, cell.PayloadUID), list(owner.gid, cell.PayloadGID))
	if err != nil {
		return nil, fmt.Errorf("make user namespace for id mapping: %w", err)
	}
	if m.files == nil || len(m.files) >= maxIDMaps {
		// Those let go may be in use: the collector closes them.
		m.files = map[idmap]*os.File{}
	}
	m.files[owner] = f
	return f, nil
}

func (m *idmaps) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.files {
		_ = f.Close() // a mount that uses it holds its own reference
	}
	m.files = nil
}

// workspace is a directory of the machine as it was found, and how it is mounted.
type workspace struct {
	sandbox.Workspace
	dev, ino uint64
	uid, gid uint32
}

// same reports whether both are the same directory, mounted alike.
func (w *workspace) same(o *workspace) bool {
	return w == o || w != nil && o != nil && *w == *o
}

// mountWorkspace gives the stage the call's directory: the one that it was made
// with, if that is the call's, or else by a mount of its own. Every mount is made
// detached and attached only in the cell's mount namespaces, so it is never visible
// on the machine. An error wraps errUnfit when the cell is at fault and not the
// directory or the machine.
func (u *running) mountWorkspace() error {
	w := u.call.Workspace
	if u.c.class.veiled() && w.HostDir != "" {
		return u.mountVeiled()
	}
	if w.HostDir == "" {
		u.workdir, u.kind, u.c.wanted = "ephemeral", cell.WorkspaceEphemeral, nil
		return u.mountEphemeral()
	}
	u.workdir = "directory"
	if w.KeepOwner {
		u.workdir = "directory:idmapped"
	}
	found, dir, err := u.r.openWorkspace(w)
	if err != nil {
		return fmt.Errorf("workspace %s: %w", w.HostDir, err)
	}
	if err := u.bounded(); err != nil {
		return fmt.Errorf("workspace %s: %w", w.HostDir, err)
	}
	defer unix.Close(dir) //nolint:errcheck // an O_PATH descriptor
	if w.Transaction {
		return u.mountTransaction(found, dir)
	}
	parts, missing, err := findParts(dir, w.ReadOnly, u.call.Mounts)
	if err != nil {
		return fmt.Errorf("workspace %s: %w", w.HostDir, err)
	}
	u.c.wanted = found
	if u.stage.spec.Workspace == cell.WorkspaceCell && found.same(u.stage.attached) {
		u.kind = cell.WorkspaceCell
		return u.arrange(parts, missing)
	}
	u.kind = cell.WorkspaceMoved
	tree, err := u.r.cloneTree(found, dir, false)
	if err != nil {
		return fmt.Errorf("workspace %s: %w", w.HostDir, err)
	}
	defer unix.Close(tree) //nolint:errcheck // attached, or dropped with the descriptor
	// Never one over the other: when a directory is removed, the kernel takes away
	// what is mounted on it.
	if err := attachIn(u.stage.stage, tree, u.stage.attached != nil); err != nil {
		return fmt.Errorf("workspace %s: %w: %w", w.HostDir, err, errUnfit)
	}
	return u.arrange(parts, missing)
}

// attachForNext mounts the directory of the last call in the cell itself, whose
// further stages then have it from their beginning. If that call had none, what is
// there is taken away.
func (r *Runtime) attachForNext(c *aCell) error {
	if c.wanted.same(c.attached) {
		return nil
	}
	if c.attached != nil {
		if err := attachIn(int(c.task.Pid()), noTree, true); err != nil {
			return err
		}
		c.attached = nil
	}
	if c.wanted == nil {
		return nil
	}
	found, dir, err := r.openWorkspace(c.wanted.Workspace)
	if err != nil {
		return err
	}
	defer unix.Close(dir) //nolint:errcheck // an O_PATH descriptor
	tree, err := r.cloneTree(found, dir, false)
	if err != nil {
		return err
	}
	defer unix.Close(tree) //nolint:errcheck // as above
	if err := attachIn(int(c.task.Pid()), tree, false); err != nil {
		return err
	}
	c.attached, c.wanted = found, found
	return nil
}

// openWorkspace finds the directory and looks that it can be mounted.
func (r *Runtime) openWorkspace(w sandbox.Workspace) (_ *workspace, dir int, err error) {
	if w.HostDir == "/" {
		return nil, -1, fmt.Errorf("it is the machine's whole file system: want a directory in it: %w", errdefs.ErrFailedPrecondition)
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_DIRECTORY | unix.O_CLOEXEC}
	if w.KeepOwner {
		// The path was judged by its name, and others may write to parts of it: a
		// link that takes the place of a part since then must lead nowhere.
		how.Resolve = unix.RESOLVE_NO_SYMLINKS
	}
	dir, err = unix.Openat2(unix.AT_FDCWD, w.HostDir, &how)
	if err != nil {
		return nil, -1, fmt.Errorf("open: %w: want an existing directory with no symbolic link on the way: %w", err, errdefs.ErrFailedPrecondition)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(dir, &stat); err != nil {
		return nil, -1, errors.Join(fmt.Errorf("look: %w", err), unix.Close(dir))
	}
	if owner := r.cfg.IDBase + cell.PayloadUID; !w.KeepOwner && stat.Uid != owner {
		return nil, -1, errors.Join(fmt.Errorf("it belongs to uid %d: want %d (PrepareDir makes it so), or keep its owner by an id mapping: %w",
			stat.Uid, owner, errdefs.ErrFailedPrecondition), unix.Close(dir))
	}
	return &workspace{Workspace: w, dev: stat.Dev, ino: stat.Ino, uid: stat.Uid, gid: stat.Gid}, dir, nil
}

// cloneTree returns a detached copy of the directory's mount with the flags and
// the id mapping of the call. root lets the cell's root make files in it, too.
func (r *Runtime) cloneTree(w *workspace, dir int, root bool) (_ int, err error) {
	tree, err := unix.OpenTree(dir, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return -1, fmt.Errorf("clone its mount: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(tree) // it was never attached
		}
	}()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	if w.ReadOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	var userns *os.File
	if w.KeepOwner {
		userns, err = r.maps.get(idmap{w.uid, w.gid, root}, r.cfg.IDBase)
		if err != nil {
			return -1, err
		}
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(userns.Fd())
	}
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr)
	runtime.KeepAlive(userns)
	if err != nil {
		if w.KeepOwner {
			return -1, fmt.Errorf("map its ids: %w: its file system has no id-mapped mounts, use a directory on ext4, xfs, btrfs or tmpfs: %w",
				err, errdefs.ErrFailedPrecondition)
		}
		return -1, fmt.Errorf("restrict its mount: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	return tree, nil
}

// noTree stands for no mount to be attached.
const noTree = -1

// attachIn attaches a detached mount at the workspace in the mount namespace of
// a process, after it has taken away the one that is to be replaced.
func attachIn(pid, tree int, replace bool) error {
	return inCell(pid, func() error { return attach(tree, replace) })
}

// inCell does something in the mount namespace of a process, with its root as
// working directory. It is done on a thread that ends with it, since it could not
// come back. The main thread never ends, and what /proc says of this process is
// said of that one, so it is held back while another thread does the work.
func inCell(pid int, do func() error) error { return inCellOf(procOf(pid), do) }

// procOf is where the kernel tells of a process.
func procOf(pid int) string { return "/proc/" + strconv.Itoa(pid) }

// inCellOf does so for the process that is told of there.
func inCellOf(proc string, do func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			result <- inCellOf(proc, do)
			runtime.UnlockOSThread()
			return
		}
		err := enter(proc)
		if err == nil {
			err = do()
		}
		result <- err // never unlocked: the thread ends with the goroutine
	}()
	return <-result
}

func enter(proc string) (err error) {
	namespace, err := unix.Open(proc+"/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the cell's mount namespace: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(namespace)) }()
	// The cell's root need not be that of its namespace: without pivot_root(2) it is
	// only a directory there.
	root, err := unix.Open(proc+"/root", unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("open the cell's root: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(root)) }()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("part from the daemon's working directory: %w", err)
	}
	if err := unix.Setns(namespace, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter the cell's mount namespace: %w", err)
	}
	if err := unix.Fchdir(root); err != nil {
		return fmt.Errorf("go to the cell's root: %w", err)
	}
	return nil
}

func attach(tree int, replace bool) error {
	const place = "." + oci.WorkspacePath // no call can write there
	if replace {
		if err := unix.Unmount(place, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("let go of the workspace before: %w", err)
		}
	}
	if tree == noTree {
		return nil
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, place, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attach it in the cell: %w", err)
	}
	return nil
}

// PrepareDir makes path, if it is not there, and gives it to the program of a
// call (0700), so that it can be a Workspace without KeepOwner. Only the
// directory itself is changed, and a symbolic link is refused.
func (r *Runtime) PrepareDir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("prepare workspace: %w", err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("prepare workspace %s: %w", path, err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written through it
	if err := unix.Fchown(fd, int(r.cfg.IDBase)+cell.PayloadUID, int(r.cfg.IDBase)+cell.PayloadGID); err != nil {
		return fmt.Errorf("prepare workspace %s: %w", path, err)
	}
	if err := unix.Fchmod(fd, 0o700); err != nil {
		return fmt.Errorf("prepare workspace %s: %w", path, err)
	}
	return nil
}
