package containerd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/changeset"
)

// A transactional call works on an overlay of its workspace. The machine makes it,
// not the cell: so its own attributes are those of the machine's root (trusted.*),
// which no program can set or see, and it is attached in the call's mount namespace
// as every workspace is. What the call writes goes to a tmpfs of disk_bytes, whose
// pages are the call's memory, and which is gone with the last descriptor of it:
// nothing is left on the machine, whatever happens to the daemon.

// overlayPlace holds the two directories, below RunDir, that layers are mounted at
// in a mount namespace that lasts no longer than it takes.
const overlayPlace = "overlay"

// overlay is the workspace of a transactional call.
type overlay struct {
	*changeset.Overlay
	tree  int   // its mount, detached until it is attached in the cell
	bytes int64 // size of the upper file system, as the kernel shows it
}

// mountTransaction gives a transactional call its overlay of the directory.
func (u *running) mountTransaction(found *workspace, dir int) error {
	u.workdir += ":transaction"
	o, err := u.r.makeOverlay(found, dir, u.call.Limits.DiskBytes)
	if err != nil {
		return fmt.Errorf("workspace %s: %w", found.HostDir, err)
	}
	u.overlay = o
	parts, missing, err := findParts(o.tree, false, u.call.Mounts)
	if err != nil {
		return fmt.Errorf("workspace %s: %w", found.HostDir, err)
	}
	// What the cell is to have for its next call is the directory itself.
	plain := *found
	plain.Transaction = false
	u.c.wanted = &plain
	u.kind = cell.WorkspaceMoved
	if err := attachIn(u.stage.stage, o.tree, u.stage.attached != nil); err != nil {
		return fmt.Errorf("workspace %s: %w: %w", found.HostDir, err, errUnfit)
	}
	return u.arrange(parts, missing)
}

// dropOverlay lets go of the overlay of a call of which there is no result that has
// it.
func (u *running) dropOverlay() {
	if u.overlay == nil {
		return
	}
	if err := u.overlay.drop(); err != nil {
		u.r.log.Warn("overlay not closed", "call_id", u.call.ID, "error", err)
	}
	u.overlay = nil
}

// handOver gives the overlay to the result of a call whose processes are gone.
func (u *running) handOver() *changeset.Overlay {
	o := u.overlay
	if o == nil {
		return nil
	}
	u.overlay = nil
	if err := unix.Close(o.tree); err != nil {
		u.r.log.Warn("overlay not closed", "call_id", u.call.ID, "error", err)
	}
	return o.Overlay
}

// makeOverlay mounts an overlay of a directory, detached.
func (r *Runtime) makeOverlay(w *workspace, dir int, bytes int64) (_ *overlay, err error) {
	began := time.Now()
	mnt, upper, err := r.upperFS(bytes, dir)
	if err != nil {
		return nil, fmt.Errorf("make the upper layer: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	defer unix.Close(mnt) //nolint:errcheck // its directory is held
	o := &overlay{Overlay: &changeset.Overlay{Upper: upper, Dir: w.HostDir, UID: int(w.uid), GID: int(w.gid)}, tree: noTree}
	lower, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("keep the directory: %w", err), upper.Close())
	}
	o.Lower = os.NewFile(uintptr(lower), w.HostDir)
	defer func() {
		if err != nil {
			err = errors.Join(err, o.drop())
		}
	}()
	var size unix.Statfs_t
	if err := unix.Fstatfs(int(upper.Fd()), &size); err != nil {
		return nil, fmt.Errorf("look at the upper layer: %w", err)
	}
	o.bytes = int64(size.Blocks) * size.Bsize //nolint:gosec // far below 2^63
	plain := *w
	plain.ReadOnly = true // the kernel never writes to a lower layer
	tree, err := r.cloneTree(&plain, dir, false)
	if err != nil {
		return nil, err
	}
	defer unix.Close(tree) //nolint:errcheck // the overlay holds what it needs
	place := filepath.Join(r.cfg.RunDir, overlayPlace)
	for _, name := range []string{"upper", "lower"} {
		if err := makeDir(filepath.Join(place, name), 0o700); err != nil {
			return nil, err
		}
	}
	if o.tree, err = mountOverlay(place, mnt, tree); err != nil {
		return nil, fmt.Errorf("mount an overlay of it: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	if o.Since, err = clockBehind(began); err != nil {
		return nil, err
	}
	return o, nil
}

// drop lets go of everything.
func (o *overlay) drop() error {
	err := o.Close()
	if o.tree != noTree {
		err = errors.Join(err, unix.Close(o.tree))
	}
	return err
}

// full reports whether there is no room left in the upper layer.
func (o *overlay) full() bool {
	var s unix.Statfs_t
	err := unix.Fstatfs(int(o.Upper.Fd()), &s)
	return err == nil && (s.Bavail == 0 || s.Ffree == 0)
}

// clockPatience bounds the wait for the clock, which is one of milliseconds.
const clockPatience = time.Second

// clockBehind returns a time of which it is certain that whatever was changed before
// began has an earlier time of change, and whatever is changed from now on has not. File
// systems take times from the coarse clock, which is up to two ticks behind, or from the
// fine one where somebody has looked at the time before (multigrain timestamps, Linux
// 6.13). So it waits until the coarse one has passed began, some milliseconds at most.
func clockBehind(began time.Time) (time.Time, error) {
	for {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
			return time.Time{}, fmt.Errorf("read the clock: %w", err)
		}
		// Wall clocks are compared: the monotonic one is not what files have.
		if coarse := time.Unix(now.Unix()); coarse.After(began.Round(0)) {
			return coarse, nil
		}
		if time.Since(began) > clockPatience {
			return time.Time{}, fmt.Errorf("the clock was set back: what others change could not be told: %w", errdefs.ErrUnavailable)
		}
		time.Sleep(500 * time.Microsecond) //nolint:forbidigo // it is a time that is waited for
	}
}

// Names of the directories in the upper file system.
const (
	upperName = "upper"
	workName  = "work"
)

// upperFS makes a tmpfs of the size, detached, and opens its upper directory, which
// is the program's as the workspace dir is.
func (r *Runtime) upperFS(bytes int64, dir int) (mnt int, _ *os.File, err error) {
	var like unix.Stat_t
	if err := unix.Fstat(dir, &like); err != nil {
		return -1, nil, err
	}
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, nil, err
	}
	defer unix.Close(fs) //nolint:errcheck // its mount is what counts
	for _, kv := range [][2]string{
		{"source", "sandgate"},
		{"size", strconv.FormatInt(bytes, 10)},
		{"nr_inodes", strconv.FormatInt(bytes/2048+1024, 10)},
		{"mode", "0700"},
	} {
		if err := unix.FsconfigSetString(fs, kv[0], kv[1]); err != nil {
			return -1, nil, fmt.Errorf("set %s=%s: %w", kv[0], kv[1], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, nil, err
	}
	mnt, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return -1, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Close(mnt))
		}
	}()
	for _, name := range []string{upperName, workName} {
		if err := unix.Mkdirat(mnt, name, 0o700); err != nil {
			return -1, nil, err
		}
	}
	upper, err := unix.Openat(mnt, upperName, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, nil, err
	}
	owned := os.NewFile(uintptr(upper), upperName)
	err = unix.Fchown(upper, int(r.cfg.IDBase)+cell.PayloadUID, int(r.cfg.IDBase)+cell.PayloadGID)
	if err = errors.Join(err, unix.Fchmod(upper, like.Mode&0o777)); err != nil {
		return -1, nil, errors.Join(err, owned.Close())
	}
	return mnt, owned, nil
}

// mountOverlay mounts the overlay of two detached mounts. The kernel takes layers by
// their paths, so they get some in a mount namespace of a thread that ends here.
func mountOverlay(place string, upper, lower int) (int, error) {
	type made struct {
		tree int
		err  error
	}
	result := make(chan made, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			tree, err := mountOverlay(place, upper, lower)
			result <- made{tree, err}
			runtime.UnlockOSThread()
			return
		}
		tree, err := overlayIn(place, upper, lower)
		result <- made{tree, err}
	}()
	m := <-result
	return m.tree, m.err
}

func overlayIn(place string, upper, lower int) (int, error) {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return noTree, fmt.Errorf("part from the machine's mounts: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return noTree, fmt.Errorf("part from the machine's mounts: %w", err)
	}
	if err := unix.Chdir(place); err != nil {
		return noTree, err
	}
	for _, m := range []struct {
		tree int
		at   string
	}{{upper, "upper"}, {lower, "lower"}} {
		if err := unix.MoveMount(m.tree, "", unix.AT_FDCWD, m.at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return noTree, fmt.Errorf("attach the %s layer: %w", m.at, err)
		}
	}
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return noTree, err
	}
	defer unix.Close(fs) //nolint:errcheck // its mount is what counts
	for _, kv := range [][2]string{
		{"source", "sandgate"},
		{"lowerdir", "lower"},
		{"upperdir", "upper/" + upperName},
		{"workdir", "upper/" + workName},
		// What is in the upper layer must be all that there is to be known of a change.
		{"redirect_dir", "nofollow"},
		{"index", "off"},
		{"metacopy", "off"},
		{"xino", "off"},
	} {
		if err := unix.FsconfigSetString(fs, kv[0], kv[1]); err != nil {
			return noTree, fmt.Errorf("set %s=%s: %w", kv[0], kv[1], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return noTree, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
}
