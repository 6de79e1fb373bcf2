package changeset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// What the kernel is to tell of a directory and what is in it. A program that writes to
// a mapping of a file is told of when it lets go of the file, at the latest when it ends.
const (
	watchMask = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK
	// goneMask are events after which a directory is not where it was.
	goneMask = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_UNMOUNT
)

// event is one that the kernel told.
type event struct {
	watch  int32
	mask   uint32
	cookie uint32 // the same of both halves of a rename
	name   string // in the watched directory; empty: that itself
}

// notifier is an inotify instance. It is used by one goroutine at a time.
type notifier struct {
	fd  int
	buf []byte
}

func newNotifier() (*notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	return &notifier{fd: fd}, nil
}

// add watches an open directory. The number is the same for the same directory.
func (n *notifier) add(dir int) (int32, error) {
	wd, err := unix.InotifyAddWatch(n.fd, fmt.Sprintf("/proc/self/fd/%d", dir), watchMask)
	if err != nil {
		return -1, fmt.Errorf("watch a directory: %w", err)
	}
	return int32(wd), nil //nolint:gosec // the kernel's own are 32 bits wide
}

// remove ends a watch. One that has ended by itself is no error.
func (n *notifier) remove(watch int32) {
	_, _ = unix.InotifyRmWatch(n.fd, uint32(watch)) //nolint:gosec // it was made by add
}

// eventBytes is what is read at once.
const eventBytes = 32 << 10

// read tells all that has happened so far. It does not wait.
func (n *notifier) read(tell func(event)) error {
	var first [4 << 10]byte // enough for most calls, and on the stack
	buf := first[:]
	for {
		got, err := unix.Read(n.fd, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return fmt.Errorf("read what happened to files: %w", err)
		}
		for rest := buf[:got]; len(rest) >= unix.SizeofInotifyEvent; {
			size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(rest[12:]))
			if size > len(rest) {
				return errors.New("read what happened to files: an event is cut off")
			}
			name, _, _ := bytes.Cut(rest[unix.SizeofInotifyEvent:size], []byte{0})
			tell(event{
				watch: int32(binary.NativeEndian.Uint32(rest)), //nolint:gosec // a signed number
				mask:  binary.NativeEndian.Uint32(rest[4:]), cookie: binary.NativeEndian.Uint32(rest[8:]), name: string(name),
			})
			rest = rest[size:]
		}
		if n.buf == nil {
			n.buf = make([]byte, eventBytes)
		}
		buf = n.buf
	}
}

// close lets go of all watches, which the kernel may take some milliseconds for.
func (n *notifier) close() error { return unix.Close(n.fd) }
