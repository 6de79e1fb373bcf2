package session

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestWorkspaceIsWholeOrNotThere: a daemon that dies while it makes a workspace must
// not leave one that calls cannot write to.
func TestWorkspaceIsWholeOrNotThere(t *testing.T) {
	died := errors.New("died")
	prepared := ""
	fail := true
	m, err := NewManager(Config{Dir: t.TempDir(), Prepare: func(dir string) error {
		if prepared = dir; fail {
			// What a dead daemon leaves: nobody removes anything.
			if err := os.WriteFile(filepath.Join(dir, "left"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return died
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Use("c", "s", "open")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release(s)
	if err := s.EnsureWorkspace(); !errors.Is(err, died) {
		t.Fatalf("got %v, want the error of preparing", err)
	}
	if _, err := os.Lstat(s.WorkspaceDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a workspace that is not prepared: %v", err)
	}
	fail = false
	if err := os.MkdirAll(prepared, 0o700); err != nil { // as if nothing had been removed
		t.Fatal(err)
	}
	if err := s.EnsureWorkspace(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(s.WorkspaceDir())
	if err != nil || len(entries) != 0 {
		t.Errorf("the workspace holds %v, %v; want nothing", entries, err)
	}
}
