package changeset

import (
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// beneath is how everything is opened.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

func openAt(dir int, name string, flags uint64) (int, error) {
	return unix.Openat2(dir, name, &unix.OpenHow{Flags: flags | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: beneath})
}

// openDir opens a directory to be read.
func openDir(dir int, name string) (int, error) {
	return openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// openPath opens a directory to look things up in.
func openPath(dir int, name string) (int, error) {
	return openAt(dir, name, unix.O_PATH|unix.O_DIRECTORY)
}

// reopenDir opens a directory anew, to be read from its beginning.
func reopenDir(dir int) (int, error) { return openDir(dir, ".") }

// openFile opens a regular file and nothing else: what it is is looked at before
// anything is opened that could wait or act.
func openFile(dir int, name string) (*os.File, error) {
	at, err := openAt(dir, name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer unix.Close(at) //nolint:errcheck // an O_PATH descriptor
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%q is no regular file", name)
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", at), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// parents opens the directories that steps work in, and keeps the last one.
type parents struct {
	root int
	at   string
	fd   int // -1: none
}

func newParents(root int) *parents { return &parents{root: root, fd: -1} }

// of returns the directory that a path is in, and its name there.
func (p *parents) of(at string) (dir int, name string, err error) {
	parent, name := path.Split(at)
	if parent == "" {
		return p.root, name, nil
	}
	if p.fd < 0 || p.at != parent {
		p.close()
		if p.fd, err = openPath(p.root, path.Clean(parent)); err != nil {
			p.fd = -1
			return -1, "", fmt.Errorf("the directory of %q: %w", at, err)
		}
		p.at = parent
	}
	return p.fd, name, nil
}

func (p *parents) close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd) // an O_PATH descriptor
		p.fd = -1
	}
}
