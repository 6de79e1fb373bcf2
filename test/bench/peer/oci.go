package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"github.com/containerd/containerd/api/types/runc/options"
	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// ctdNamespace keeps the measured containers apart from the daemon's cells.
const ctdNamespace = "bench"

// cgroupParent is the group of all measured containers of this process.
func cgroupParent() string { return "/sandgate-bench-" + strconv.Itoa(os.Getpid()) }

// spec is that of a minimal container: the machine's own programs, five
// namespaces, no user namespace, no limits.
func spec(rootfs, id string, argv []string) *specs.Spec {
	return &specs.Spec{
		Version: "1.2.1",
		Root:    &specs.Root{Path: rootfs, Readonly: true},
		Process: &specs.Process{Args: argv, Cwd: "/", Env: []string{"PATH=/usr/bin:/bin"}},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755"}},
			{Destination: "/usr", Type: "bind", Source: "/usr", Options: []string{"bind", "ro"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: cgroupParent() + "/" + id,
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

// makeRootfs makes a root that gets its programs from a mount of /usr.
func makeRootfs(dir string) error {
	for _, d := range []string{"proc", "dev", "usr", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o750); err != nil {
			return fmt.Errorf("make a root: %w", err)
		}
	}
	for _, link := range []string{"bin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+link, filepath.Join(dir, link)); err != nil {
			return fmt.Errorf("make a root: %w", err)
		}
	}
	return nil
}

// removeCgroups removes the measured containers' parent group.
func removeCgroups() error {
	dirs, err := filepath.Glob("/sys/fs/cgroup/*" + cgroupParent())
	errs := []error{err}
	for _, dir := range append(dirs, "/sys/fs/cgroup"+cgroupParent()) {
		if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

const ociWall = "five namespaces; no user namespace, no limits, no seccomp filter"

func runcRun(ctx context.Context, e Env) (*Peer, error) {
	runc := filepath.Join(e.BinDir, "runc")
	if _, err := os.Stat(runc); err != nil {
		return nil, fmt.Errorf("%s: %w", runc, ErrAbsent)
	}
	dir := filepath.Join(e.Dir, "runc")
	rootfs, state := filepath.Join(dir, "rootfs"), filepath.Join(dir, "state")
	if err := makeRootfs(rootfs); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(spec(rootfs, "runc", e.Bash))
	if err != nil {
		return nil, fmt.Errorf("encode the bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o600); err != nil {
		return nil, fmt.Errorf("write the bundle: %w", err)
	}
	var seq atomic.Int64
	return &Peer{
		Name: "runc", Version: firstLine(ctx, runc, "--version"), Argv: e.Bash, Clients: []int{1}, Wall: ociWall + "; no daemon",
		Op: func(ctx context.Context, _ int) error {
			id := fmt.Sprintf("bench-%d-%d", os.Getpid(), seq.Add(1))
			_, err := command(ctx, nil, runc, "--root", state, "run", "--bundle", dir, id)
			return err
		},
		Close: removeCgroups,
	}, nil
}

// bareContainerd runs containers on a containerd without sandgate.
type bareContainerd struct {
	client *ctd.Client
	rootfs string
	runc   string
	argv   []string
	seq    atomic.Int64
}

func containerd(ctx context.Context, e Env) (*Peer, error) {
	if e.ContainerdSocket == "" {
		return nil, fmt.Errorf("no containerd runs: %w", ErrAbsent)
	}
	client, err := ctd.New(e.ContainerdSocket)
	if err != nil {
		return nil, fmt.Errorf("connect to containerd: %w", err)
	}
	b := &bareContainerd{client: client, rootfs: filepath.Join(e.Dir, "containerd"), runc: filepath.Join(e.BinDir, "runc"), argv: e.Bash}
	version, err := client.Version(ctx)
	if err == nil {
		err = makeRootfs(b.rootfs)
	}
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &Peer{
		Name: "containerd", Version: version.Version, Argv: e.Bash, Clients: []int{1},
		Wall: "create, start, wait and delete through its Go client; " + ociWall,
		Op:   b.lifecycle,
		Close: func() error {
			return errors.Join(client.Close(), removeCgroups())
		},
	}, nil
}

// lifecycle creates, starts, awaits and deletes one container.
func (b *bareContainerd) lifecycle(ctx context.Context, _ int) (err error) {
	ctx = namespaces.WithNamespace(ctx, ctdNamespace)
	id := fmt.Sprintf("bench-%d", b.seq.Add(1))
	container, err := b.client.NewContainer(ctx, id, ctd.WithSpec(spec(b.rootfs, id, b.argv)),
		ctd.WithRuntime("io.containerd.runc.v2", &options.Options{BinaryName: b.runc}))
	if err != nil {
		return fmt.Errorf("create container: %w", err)
	}
	defer func() { err = errors.Join(err, container.Delete(context.WithoutCancel(ctx))) }()
	task, err := container.NewTask(ctx, cio.NullIO)
	if err != nil {
		return fmt.Errorf("create task: %w", err)
	}
	exited, err := task.Wait(ctx)
	if err == nil {
		err = task.Start(ctx)
	}
	if err != nil {
		_, derr := task.Delete(context.WithoutCancel(ctx), ctd.WithProcessKill)
		return errors.Join(fmt.Errorf("start task: %w", err), derr)
	}
	status := <-exited
	if _, err := task.Delete(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("delete task: %w", err)
	}
	if code, _, err := status.Result(); err != nil || code != 0 {
		return fmt.Errorf("task ended with %d: %w", code, err)
	}
	return nil
}
