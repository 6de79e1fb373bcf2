package session

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

// notedDisk notes what is asked of it.
type notedDisk struct {
	asked []string
	fail  error
}

func (d *notedDisk) note(what, dir string) error {
	if _, err := os.Stat(dir); err != nil && what != "remove" {
		return err
	}
	d.asked = append(d.asked, what)
	return nil
}

func (d *notedDisk) Attach(dir string, bytes int64) error {
	return errors.Join(d.note(fmt.Sprintf("attach %d", bytes), dir), d.fail)
}

func (d *notedDisk) Detach(dir string) error { return d.note("detach", dir) }
func (d *notedDisk) Remove(dir string) error { return d.note("remove", dir) }

// TestDiskQuota: the directory is bounded before its first use and not again, and not
// at all without a quota; its bound goes with the session.
func TestDiskQuota(t *testing.T) {
	disk := &notedDisk{}
	m := manager(t, Config{Disk: disk})
	create(t, m, "c", "s", Terms{Kind: Persistent, Quota: Quota{DiskBytes: 64 << 20}})
	create(t, m, "c", "free", Terms{Kind: Persistent})
	disk.asked = nil
	bounded, free := use(t, m, "c", "s", "p"), use(t, m, "c", "free", "p")
	for range 2 {
		for _, s := range []*Session{bounded, free} {
			if err := errors.Join(s.BoundDisk(), s.EnsureWorkspace()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if d := cmp.Diff([]string{"attach 67108864"}, disk.asked); d != "" {
		t.Error(d)
	}
	if bounded.DiskBytes() != 64<<20 || free.DiskBytes() != 0 {
		t.Errorf("got %d and %d", bounded.DiskBytes(), free.DiskBytes())
	}
	disk.asked = nil
	end(t, m, "c", "s", EndedClosed)
	if d := cmp.Diff([]string{"remove"}, disk.asked); d != "" {
		t.Error(d)
	}
	disk.asked = nil
	if err := m.DetachDisks(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"detach"}, disk.asked); d != "" {
		t.Error(d)
	}
}

// TestDiskQuotaThatCannotBindIsRefused: nothing is ever put where nothing bounds it.
func TestDiskQuotaThatCannotBindIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		disk Disk
		term Terms
	}{
		{"nothing to bound it with", nil, Terms{Kind: Persistent}},
		{"it fails", &notedDisk{fail: fmt.Errorf("no loop devices: %w", errdefs.ErrFailedPrecondition)}, Terms{Kind: Persistent}},
		{"a directory of the machine", &notedDisk{}, Terms{Kind: Directory, Dir: t.TempDir()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := manager(t, Config{Disk: tt.disk})
			tt.term.Quota.DiskBytes = 64 << 20
			create(t, m, "c", "s", tt.term)
			s := use(t, m, "c", "s", "p")
			if err := s.BoundDisk(); !errdefs.IsFailedPrecondition(err) {
				t.Errorf("got %v, want FAILED_PRECONDITION", err)
			}
			if err := s.EnsureWorkspace(); !errdefs.IsFailedPrecondition(err) {
				t.Errorf("workspace: got %v, want FAILED_PRECONDITION", err)
			}
		})
	}
}
