package cgroup

import (
	"errors"
	"io/fs"
	"slices"
	"syscall"
)

// kernelFileBytes is more than most files of the kernel have.
const kernelFileBytes = 4096

// wholeRead reports whether a first read of n bytes got all of a kernel file. The kernel
// stops before the end only when what comes next does not fit a page any more, and none
// of its lines has half of one.
func wholeRead(n int) bool { return n < kernelFileBytes/2 }

// ReadKernelFile reads a file of /proc or of a control group whole. os.ReadFile would
// ask for its size, which it has none of, and tell the poller of it: twice the system
// calls, for what is looked at with every call. Errors are of type *fs.PathError. It
// is safe for concurrent use.
func ReadKernelFile(path string) ([]byte, error) { return AppendKernelFile(nil, path) }

// AppendKernelFile is ReadKernelFile into memory that the caller has: it appends to text
// and returns that, also beside an error.
func AppendKernelFile(text []byte, path string) ([]byte, error) {
	fd, err := again(func() (int, error) { return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return text, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer syscall.Close(fd) //nolint:errcheck // it was only read
	start := len(text)
	text = slices.Grow(text, kernelFileBytes)
	for {
		n, err := again(func() (int, error) { return syscall.Read(fd, text[len(text):cap(text)]) })
		if err != nil {
			return text, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if text = text[:len(text)+n]; n == 0 || wholeRead(len(text)-start) {
			return text, nil
		}
		if len(text) == cap(text) {
			text = slices.Grow(text, 3*cap(text))
		}
	}
}

func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}
