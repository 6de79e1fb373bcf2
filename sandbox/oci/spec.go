package oci

import (
	"fmt"
	"path"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Fixed places inside a cell. The root file system has all of them as
// directories or files to mount on: see MountPoints.
const (
	// InitPath is where sandgate-init is seen.
	InitPath = "/.sandgate/init"
	// SocketPath is where init finds the host's socket.
	SocketPath = "/dev/sandgate.sock"
	// WorkspacePath is where a call's workspace is mounted.
	WorkspacePath = "/workspace"
)

// imageRootfs is where containerd mounts an image's root, in the bundle.
const imageRootfs = "rootfs"

// Defaults of the id mapping.
const (
	DefaultIDBase  = 100000
	DefaultIDCount = 65536
)

// PayloadID is the user and group id of a call's program inside the cell.
const PayloadID = 1000

// MountPoints are the directories that a root file system needs for a cell.
func MountPoints() []string {
	return []string{"/.sandgate", "/dev", "/proc", "/run", "/tmp", "/var/tmp", "/home/agent", WorkspacePath}
}

// Bind is a read-only bind mount of a path of the machine.
type Bind struct {
	Source string // on the machine, absolute
	Target string // in the cell, absolute
}

// Cell describes one cell. All fields are required unless said otherwise.
type Cell struct {
	ID string // host name of the cell: 1 to 63 of [a-z0-9-]
	// Rootfs is the root directory: absolute for a directory of the machine, or
	// "rootfs" for the one that containerd mounts in the bundle.
	Rootfs string
	// Init is the path of the sandgate-init binary on the machine.
	Init string
	// Socket is the host's socket on the machine, which init finds at SocketPath and
	// covers. Optional: without it init talks over its stdin and stdout.
	Socket string
	// InitArgs are its arguments after argv[0]. Optional.
	InitArgs []string
	// InitEnv is what its environment has beside PATH, of which no call's program gets
	// anything. Optional.
	InitEnv []string
	// Workspace is a directory of the machine that is mounted at WorkspacePath.
	// Optional: where the runtime can, a workspace is attached later.
	Workspace         string
	WorkspaceReadOnly bool
	// GiveAway lets init change owners of files (CAP_CHOWN). gVisor needs it: it
	// cannot make files for another user otherwise.
	GiveAway bool
	// Binds are further read-only mounts, in order. Optional.
	Binds []Bind
	// CgroupsPath is the cell's cgroup from the root of each hierarchy.
	CgroupsPath string
	// IDBase is the first of IDCount ids of the machine that the cell's ids from
	// 0 are mapped to.
	IDBase, IDCount uint32
	// MemoryBytes and Pids bound the cell as a whole until its first call sets
	// them anew.
	MemoryBytes, Pids int64
	// OpenFiles is RLIMIT_NOFILE of init, at most the hard limit of the daemon.
	OpenFiles uint64
}

// capabilities are those of init, all of them in the cell's user namespace only:
// it makes namespaces and mounts (SYS_ADMIN), brings the call's loopback up
// (NET_ADMIN), becomes the payload's user without any capability (SETUID,
// SETGID, SETPCAP) and ends what the payload left (KILL).
func capabilities() []string {
	return []string{"CAP_KILL", "CAP_NET_ADMIN", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_ADMIN"}
}

// Build returns the runtime-spec of a cell, or an error wrapping
// errdefs.ErrInvalidArgument that names the field.
func Build(c Cell) (*specs.Spec, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	caps := capabilities()
	if c.GiveAway {
		caps = append(caps, "CAP_CHOWN")
	}
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: c.IDBase, Size: c.IDCount}}
	return &specs.Spec{
		Version:  "1.2.1",
		Hostname: c.ID,
		Root:     &specs.Root{Path: c.Rootfs, Readonly: true},
		Process: &specs.Process{
			Args:            append([]string{InitPath}, c.InitArgs...),
			Env:             append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, c.InitEnv...),
			Cwd:             "/",
			NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{
				Bounding: caps, Effective: caps, Permitted: caps,
			},
			Rlimits: []specs.POSIXRlimit{
				{Type: "RLIMIT_CORE", Soft: 0, Hard: 0},
				{Type: "RLIMIT_NOFILE", Soft: c.OpenFiles, Hard: c.OpenFiles},
			},
		},
		Mounts: c.mounts(),
		Linux: &specs.Linux{
			UIDMappings: ids,
			GIDMappings: ids,
			CgroupsPath: c.CgroupsPath,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.UserNamespace},
				{Type: specs.PIDNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.CgroupNamespace},
			},
			Resources: &specs.LinuxResources{
				Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
				Memory:  &specs.LinuxMemory{Limit: &c.MemoryBytes},
				Pids:    &specs.LinuxPids{Limit: &c.Pids},
			},
			Seccomp:           Seccomp(),
			RootfsPropagation: "private",
			// No masked or read-only paths: the kernel refuses a call its own
			// /proc under a masked one. init masks inside each call.
		},
	}, nil
}

func (c Cell) mounts() []specs.Mount {
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{
			Destination: "/dev", Type: "tmpfs", Source: "tmpfs",
			Options: []string{"nosuid", "noexec", "strictatime", "mode=755", "size=64k"},
		},
		{
			Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"},
		},
		{
			Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=64k"},
		},
	}
	if c.Rootfs == imageRootfs {
		mounts = append(mounts, imagePoints()...)
	}
	for _, b := range c.Binds {
		mounts = append(mounts, readOnlyBind(b))
	}
	if c.Socket != "" {
		mounts = append(mounts, readOnlyBind(Bind{Source: c.Socket, Target: SocketPath}))
	}
	if c.Workspace != "" {
		mounts = append(mounts, c.workspace())
	}
	return append(mounts, readOnlyBind(Bind{Source: c.Init, Target: InitPath}))
}

// imagePoints make the directories that init mounts on, where an image has none:
// the runtime makes the target of every mount.
func imagePoints() []specs.Mount {
	var out []specs.Mount
	for _, dir := range []string{"/home/agent", "/tmp", WorkspacePath} {
		out = append(out, specs.Mount{
			Destination: dir, Type: "tmpfs", Source: "tmpfs",
			Options: []string{"ro", "nosuid", "noexec", "nodev", "mode=755", "size=4k"},
		})
	}
	return out
}

func (c Cell) workspace() specs.Mount {
	m := readOnlyBind(Bind{Source: c.Workspace, Target: WorkspacePath})
	if !c.WorkspaceReadOnly {
		m.Options = []string{"bind", "rw", "nosuid", "nodev", "private"}
	}
	return m
}

func readOnlyBind(b Bind) specs.Mount {
	return specs.Mount{
		Destination: b.Target, Type: "bind", Source: b.Source,
		Options: []string{"bind", "ro", "nosuid", "nodev", "private"},
	}
}

func (c Cell) validate() error {
	if !validHostname(c.ID) {
		return invalid("id", c.ID, "1 to 63 characters of [a-z0-9-]")
	}
	if c.Rootfs != imageRootfs && !cleanAbs(c.Rootfs) {
		return invalid("rootfs", c.Rootfs, "a clean absolute path or \"rootfs\"")
	}
	if !cleanAbs(c.Init) {
		return invalid("init", c.Init, "a clean absolute path")
	}
	if c.Socket != "" && !cleanAbs(c.Socket) {
		return invalid("socket", c.Socket, "a clean absolute path")
	}
	if !cleanAbs(c.CgroupsPath) || strings.Count(c.CgroupsPath, "/") < 2 {
		return invalid("cgroups path", c.CgroupsPath, "a clean absolute path of at least two elements")
	}
	if c.Workspace != "" && !cleanAbs(c.Workspace) {
		return invalid("workspace", c.Workspace, "a clean absolute path")
	}
	for _, b := range c.Binds {
		if !cleanAbs(b.Source) || !cleanAbs(b.Target) {
			return invalid("bind", b.Source+":"+b.Target, "clean absolute paths")
		}
	}
	switch {
	case c.IDBase == 0:
		return invalid("id base", c.IDBase, "above 0: the cell's root must not be the machine's")
	case c.IDCount <= PayloadID:
		return invalid("id count", c.IDCount, fmt.Sprintf("above %d, the id of a call's program", PayloadID))
	case uint64(c.IDBase)+uint64(c.IDCount) > 1<<32-1:
		return invalid("id base", c.IDBase, "a range that ends below 2^32-1")
	case c.MemoryBytes <= 0:
		return invalid("memory bytes", c.MemoryBytes, "above 0")
	case c.Pids <= 0:
		return invalid("pids", c.Pids, "above 0")
	case c.OpenFiles < 64:
		return invalid("open files", c.OpenFiles, "at least 64")
	}
	return nil
}

func cleanAbs(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && !strings.ContainsRune(p, 0)
}

func validHostname(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func invalid(field string, got any, want string) error {
	return fmt.Errorf("cell %s is %v: want %s: %w", field, got, want, errdefs.ErrInvalidArgument)
}
