package cgroup

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestKernelFilesAreReadWhole(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, kernelFileBytes - 1, kernelFileBytes, kernelFileBytes + 1, 40 * kernelFileBytes} {
		path, want := filepath.Join(dir, "file"), bytes.Repeat([]byte("pid 7\n"), size)[:size]
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadKernelFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	if got, err := ReadKernelFile("/proc/self/status"); err != nil || !bytes.Contains(got, []byte("\nPid:")) {
		t.Errorf("own status: %q, %v", got, err)
	}
	var fault *fs.PathError
	if _, err := ReadKernelFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &fault) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := ReadKernelFile(dir); err == nil {
		t.Error("a directory was read")
	}
}
