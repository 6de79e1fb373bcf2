package containerd

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/diskimage"
)

// bounded looks that the workspace's file system is bounded as it is said to be.
func (u *running) bounded() error {
	w := &u.call.Workspace
	if w.DiskBytes == 0 {
		return nil
	}
	size, _, err := diskimage.Size(w.HostDir)
	if err == nil && size > w.DiskBytes {
		err = fmt.Errorf("its file system holds %d bytes, the bound is %d: %w", size, w.DiskBytes, errdefs.ErrFailedPrecondition)
	}
	u.diskBytes = size
	return err
}

// full reports whether what the call wrote to had no room left at its end.
func (u *running) full() bool {
	if u.overlay != nil {
		return u.overlay.full()
	}
	return u.diskBytes > 0 && diskimage.Full(u.call.Workspace.HostDir)
}

// probeDisk tries whether the workspaces of sessions can be bounded here.
func (r *Runtime) probeDisk() sandbox.Control {
	c := sandbox.Control{Name: "workspace_disk_bytes"}
	ctx, cancel := context.WithTimeoutCause(context.Background(), destroyBudget, errors.New("no disk image in time"))
	defer cancel()
	if err := diskimage.Probe(ctx, r.cfg.DataDir); err != nil {
		c.Detail = err.Error()
		c.Remedy = "install e2fsprogs (mkfs.ext4), and let the daemon use loop devices and mount ext4; until then sessions with a disk quota are refused"
		return c
	}
	c.Binds, c.Detail = true, "a session with a disk quota gets a file system of its own (ext4 in an image), tried by making one"
	return c
}
