package gate

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/seen"
)

// A workspace is opened by the first lookup, and that it could not be is told.
func TestWorkspaceIsOpenedForLookups(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unused := &workspaceRoot{dir: filepath.Join(dir, "gone")}
	if err := unused.end(); err != nil || unused.root != nil {
		t.Errorf("without a lookup: root %v, %v; want nothing opened and no error", unused.root, err)
	}

	used := &workspaceRoot{dir: dir}
	look := seen.Watch(used)
	if info, err := look.Lstat("a"); err != nil || !info.Mode().IsRegular() {
		t.Errorf("Lstat: got %v, %v, want a file", info, err)
	}
	if names, more, err := look.ReadDirNames(".", 10); err != nil || more || len(names) != 1 {
		t.Errorf("ReadDirNames: got %v, %v, %v, want one name", names, more, err)
	}
	if err := used.end(); err != nil {
		t.Errorf("end: %v", err)
	}
	if _, err := look.Lstat("a"); err == nil {
		t.Error("a lookup after the end found something")
	}

	gone := &workspaceRoot{dir: filepath.Join(dir, "gone")}
	look = seen.Watch(gone)
	if _, err := look.Lstat("a"); err == nil {
		t.Error("Lstat in a workspace that is not there: want an error")
	}
	if _, err := look.Readlink("a"); err == nil {
		t.Error("Readlink in a workspace that is not there: want an error")
	}
	if _, _, err := look.ReadDirNames(".", 1); err == nil {
		t.Error("ReadDirNames in a workspace that is not there: want an error")
	}
	if err := gone.end(); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("end: got %v, want a failed precondition", err)
	}
}
