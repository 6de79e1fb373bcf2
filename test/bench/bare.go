package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/api/types/runc/options"
	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// bareNamespace keeps the measured containers apart from the daemon's cells.
const bareNamespace = "bench"

// bareContainerd runs containers on the daemon's own containerd, without the daemon.
type bareContainerd struct {
	ctx    context.Context //nolint:containedctx // of the whole measurement
	client *ctd.Client
	rootfs string
	runc   string
	seq    int
}

// newBareContainerd connects to the containerd whose socket is given and makes
// a root file system of the machine's own programs.
func newBareContainerd(ctx context.Context, socket, dir, binDir string) (*bareContainerd, error) {
	client, err := ctd.New(socket)
	if err != nil {
		return nil, fmt.Errorf("connect to containerd: %w", err)
	}
	rootfs := filepath.Join(dir, "bare")
	for _, d := range []string{"proc", "dev", "usr", "tmp"} {
		if err := os.MkdirAll(filepath.Join(rootfs, d), 0o750); err != nil {
			return nil, fmt.Errorf("make a root: %w", err)
		}
	}
	for _, link := range []string{"bin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+link, filepath.Join(rootfs, link)); err != nil {
			return nil, fmt.Errorf("make a root: %w", err)
		}
	}
	return &bareContainerd{
		ctx: namespaces.WithNamespace(ctx, bareNamespace), client: client,
		rootfs: rootfs, runc: filepath.Join(binDir, "runc"),
	}, nil
}

// lifecycle creates, starts, awaits and deletes one container of `bash -c true`.
func (b *bareContainerd) lifecycle(int) (err error) {
	b.seq++
	id := fmt.Sprintf("bare-%d", b.seq)
	container, err := b.client.NewContainer(b.ctx, id, ctd.WithSpec(b.spec(id)),
		ctd.WithRuntime("io.containerd.runc.v2", &options.Options{BinaryName: b.runc}))
	if err != nil {
		return fmt.Errorf("create container: %w", err)
	}
	defer func() {
		if derr := container.Delete(b.ctx); err == nil {
			err = derr
		}
	}()
	task, err := container.NewTask(b.ctx, cio.NullIO)
	if err != nil {
		return fmt.Errorf("create task: %w", err)
	}
	exited, err := task.Wait(b.ctx)
	if err != nil {
		return fmt.Errorf("wait for task: %w", err)
	}
	if err := task.Start(b.ctx); err != nil {
		return fmt.Errorf("start task: %w", err)
	}
	status := <-exited
	if _, err := task.Delete(b.ctx); err != nil {
		return fmt.Errorf("delete task: %w", err)
	}
	if code, _, err := status.Result(); err != nil || code != 0 {
		return fmt.Errorf("task ended with %d: %w", code, err)
	}
	return nil
}

func (b *bareContainerd) spec(id string) *specs.Spec {
	return &specs.Spec{
		Version: "1.2.1",
		Root:    &specs.Root{Path: b.rootfs, Readonly: true},
		Process: &specs.Process{Args: []string{"/bin/bash", "-c", "true"}, Cwd: "/", Env: []string{"PATH=/usr/bin:/bin"}},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755"}},
			{Destination: "/usr", Type: "bind", Source: "/usr", Options: []string{"bind", "ro"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: "/sandgate-bench/" + id,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.NetworkNamespace},
			},
		},
	}
}

// close disconnects and removes the containers' parent cgroup.
func (b *bareContainerd) close() error {
	dirs, err := filepath.Glob("/sys/fs/cgroup/*/sandgate-bench")
	errs := []error{b.client.Close(), err}
	for _, dir := range append(dirs, "/sys/fs/cgroup/sandgate-bench") {
		if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
