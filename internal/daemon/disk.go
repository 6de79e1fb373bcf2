package daemon

import (
	"context"

	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/sandbox/diskimage"
)

// sessionDisks bounds the directories of sessions by file systems of their own.
type sessionDisks struct{}

var _ session.Disk = sessionDisks{}

// Attach implements session.Disk.
func (sessionDisks) Attach(dir string, bytes int64) error {
	return diskimage.Attach(context.Background(), dir, bytes)
}

// Detach implements session.Disk.
func (sessionDisks) Detach(dir string) error { return diskimage.Detach(dir) }

// Remove implements session.Disk.
func (sessionDisks) Remove(dir string) error { return diskimage.Remove(dir) }
