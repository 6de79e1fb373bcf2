// Package diskimage bounds a directory by making it a file system of its own: a
// sparse file with ext4 in it, mounted by a loop device. That binds on every kernel
// with loop devices, whatever the file system below can do, for bytes and for inodes,
// and it costs about 20 ms once, some 150 KiB of disk, and 4 MiB or more of the bound
// for the file system's journal. The daemon uses it for the workspaces of sessions that
// have a disk quota.
//
// An image is only ever mounted from one loop device: two would damage it. Whoever
// uses a directory serialises Attach and Detach of it. It decides nothing.
package diskimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// MinBytes is the smallest image: ext4 with its journal needs some itself.
const MinBytes = 16 << 20

// bytesPerInode bounds the files: one for so many bytes.
const bytesPerInode = 8 << 10

// makeBudget bounds how long making a file system may take.
const makeBudget = 30 * time.Second

// inodeBytes is the size of an inode. Smaller ones, which mkfs makes when nothing is
// configured, keep times in whole seconds and not when a file was made: what a call has
// changed could not be told from them.
const inodeBytes = "256"

// features are those that ext4 has in the distributions, a journal above all: without
// one what a power cut leaves may be no file system. Left to its configuration, which
// is not read, mkfs makes none.
const features = "has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize"

// mkfs is the program that makes file systems, of the package e2fsprogs.
const mkfs = "mkfs.ext4"

// Suffix is that of the image's name, which is otherwise the directory's.
const Suffix = ".img"

// Attach makes dir, which exists, the root of a file system of at most size bytes, in
// an image beside it that is made if it is not there; then the directory has to be
// empty. A directory that is so already stays as it is. What cannot be done here
// wraps errdefs.ErrFailedPrecondition.
func Attach(ctx context.Context, dir string, size int64) error {
	if root, err := isMountRoot(dir); err != nil || root {
		return err
	}
	if size < MinBytes {
		return fmt.Errorf("a disk quota of %d bytes: want at least %d: %w", size, MinBytes, errdefs.ErrInvalidArgument)
	}
	image := dir + Suffix
	if _, err := os.Lstat(image); errors.Is(err, os.ErrNotExist) {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			return fmt.Errorf("%s has %d files of before it was to be bounded (%v): want it empty: %w", dir, len(entries), err, errdefs.ErrFailedPrecondition)
		}
		if err := makeImage(ctx, image, size); err != nil {
			return err
		}
	} else if err != nil {
		return fmt.Errorf("disk image: %w", err)
	}
	device, release, err := loop(image)
	if err != nil {
		return err
	}
	defer release()
	failpoint.At(failpoint.DiskLooped)
	if err := unix.Mount(device, dir, "ext4", unix.MS_NOSUID|unix.MS_NODEV, "discard"); err != nil {
		return fmt.Errorf("mount %s: %w: %w", image, err, errdefs.ErrFailedPrecondition)
	}
	failpoint.At(failpoint.DiskMounted)
	if err := os.Remove(filepath.Join(dir, "lost+found")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("tidy disk image: %w", err), Detach(dir))
	}
	return nil
}

// Detach takes the file system of a directory away; the image stays. Calls that have
// it mounted in their cells keep it. A directory that has none is no error.
func Detach(dir string) error {
	err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil // nothing is mounted there
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// Remove takes the file system of a directory away for good, with the image.
func Remove(dir string) error {
	if err := Detach(dir); err != nil {
		return err
	}
	failpoint.At(failpoint.DiskRemoving)
	if err := os.Remove(dir + Suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove disk image: %w", err)
	}
	return nil
}

// probePrefix marks the directories of probes.
const (
	probePrefix = "disk-probe-"
	probeName   = "workspace"
)

// Probe tries in a directory whether images can be made and mounted here. What a probe
// of before has left there, whose process was killed, it removes; nobody else may probe
// there at the same time.
func Probe(ctx context.Context, in string) (err error) {
	left, err := filepath.Glob(filepath.Join(in, probePrefix+"*"))
	if err != nil {
		return fmt.Errorf("probe disk images: %w", err)
	}
	for _, dir := range left {
		if err := errors.Join(Remove(filepath.Join(dir, probeName)), os.RemoveAll(dir)); err != nil {
			return fmt.Errorf("remove a disk probe of before: %w", err)
		}
	}
	dir, err := os.MkdirTemp(in, probePrefix)
	if err != nil {
		return fmt.Errorf("probe disk images: %w", err)
	}
	at := filepath.Join(dir, probeName)
	defer func() { err = errors.Join(err, Remove(at), os.RemoveAll(dir)) }()
	if err := os.Mkdir(at, 0o700); err != nil {
		return fmt.Errorf("probe disk images: %w", err)
	}
	if err := Attach(ctx, at, MinBytes); err != nil {
		return err
	}
	bytes, _, err := Size(at)
	if err == nil && bytes > MinBytes {
		err = fmt.Errorf("a file system of %d bytes has %d: %w", MinBytes, bytes, errdefs.ErrFailedPrecondition)
	}
	return err
}

// Size is what the file system that a directory is on holds at most, as the kernel
// shows it.
func Size(dir string) (bytes, inodes int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(s.Blocks) * s.Bsize, int64(s.Files), nil //nolint:gosec // far below 2^63
}

// ext4 keeps some blocks to itself, a fiftieth or this many, and tells them as free.
// What is written next is often larger than one block, too.
const (
	keptBlocks  = 4096
	spareBlocks = 32
)

// Full reports whether there is no room, or no inode, left.
func Full(dir string) bool {
	var s unix.Statfs_t
	err := unix.Statfs(dir, &s)
	return err == nil && (s.Bavail < min(s.Blocks/50, keptBlocks)+spareBlocks || s.Ffree == 0)
}

func isMountRoot(dir string) (bool, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &st); err != nil {
		return false, &os.PathError{Op: "statx", Path: dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return false, fmt.Errorf("%s is no directory: %w", dir, errdefs.ErrFailedPrecondition)
	}
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return false, fmt.Errorf("the kernel does not tell what is mounted: want 5.8 or later: %w", errdefs.ErrFailedPrecondition)
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// makeImage makes the file with a file system in it, under another name until it is
// whole.
func makeImage(ctx context.Context, image string, size int64) (err error) {
	program, err := exec.LookPath(mkfs)
	if err != nil {
		for _, dir := range []string{"/usr/sbin", "/sbin"} { // often not in PATH
			if _, serr := os.Stat(filepath.Join(dir, mkfs)); serr == nil {
				program, err = filepath.Join(dir, mkfs), nil
			}
		}
	}
	if err != nil {
		return fmt.Errorf("a disk quota needs %s: install e2fsprogs: %w: %w", mkfs, err, errdefs.ErrFailedPrecondition)
	}
	making := image + ".making"
	if err := os.Remove(making); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("make disk image: %w", err)
	}
	f, err := os.OpenFile(making, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600) // #nosec G304 -- below the daemon's own directory
	if err != nil {
		return fmt.Errorf("make disk image: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(making))
		}
	}()
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return fmt.Errorf("make disk image: %w", err)
	}
	failpoint.At(failpoint.DiskMaking)
	ctx, cancel := context.WithTimeoutCause(ctx, makeBudget, errors.New("mkfs takes too long"))
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-q", "-F", "-m", "0", "-O", features, "-I", inodeBytes, "-N", strconv.FormatInt(max(size/bytesPerInode, 1024), 10), //nolint:gosec // our own arguments
		"-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", making)
	cmd.Env = []string{"LC_ALL=C", "MKE2FS_CONFIG=/dev/null"}
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make disk image: %s: %w: %w", bytes.TrimSpace(text), err, errdefs.ErrFailedPrecondition)
	}
	if err := os.Rename(making, image); err != nil {
		return fmt.Errorf("make disk image: %w", err)
	}
	failpoint.At(failpoint.DiskMade)
	return nil
}
