package diskimage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// loopTries bounds how often another takes the free device first.
const loopTries = 32

// loop returns the device of an image: the one that it has, or a new one that is
// given back by itself when nothing is mounted from it any more. release is to be
// called when it was mounted.
func loop(image string) (device string, release func(), err error) {
	f, err := os.OpenFile(image, os.O_RDWR|unix.O_NOFOLLOW, 0) // #nosec G304 -- below the daemon's own directory
	if err != nil {
		return "", nil, fmt.Errorf("disk image: %w", err)
	}
	defer f.Close() //nolint:errcheck // the device has its own
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", nil, fmt.Errorf("disk image: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", nil, fmt.Errorf("disk image %s is no regular file: %w", image, errdefs.ErrFailedPrecondition)
	}
	have, err := loopOf(&st)
	if err != nil || have != nil {
		return closing(have, err)
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", nil, fmt.Errorf("a disk quota needs loop devices: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	defer control.Close() //nolint:errcheck // nothing is written
	for range loopTries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", nil, fmt.Errorf("get a loop device: %w: %w", err, errdefs.ErrFailedPrecondition)
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return "", nil, fmt.Errorf("open a loop device: %w: %w", err, errdefs.ErrFailedPrecondition)
		}
		config := unix.LoopConfig{Fd: uint32(f.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}} // #nosec G115 -- a descriptor
		copy(config.Info.File_name[:len(config.Info.File_name)-1], filepath.Base(image))
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &config)
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return closing(dev, err)
		}
		_ = dev.Close() // another was quicker
	}
	return "", nil, fmt.Errorf("no loop device is free: %w", errdefs.ErrUnavailable)
}

func closing(dev *os.File, err error) (string, func(), error) {
	if err != nil {
		if dev != nil {
			err = errors.Join(err, dev.Close())
		}
		return "", nil, fmt.Errorf("loop device: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	return dev.Name(), func() { _ = dev.Close() }, nil // what is mounted holds the device
}

// loopOf finds the device that a file is at, nil if it is at none.
func loopOf(image *unix.Stat_t) (*os.File, error) {
	names, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		dev, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(filepath.Dir(name))), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		info, err := unix.IoctlLoopGetStatus64(int(dev.Fd()))
		if err == nil && info.Inode == image.Ino && info.Device == image.Dev {
			return dev, nil
		}
		_ = dev.Close() // another file's
		if err != nil && !errors.Is(err, unix.ENXIO) {
			return nil, err
		}
	}
	return nil, nil
}
