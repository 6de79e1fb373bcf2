package oci_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sandgate/sandgate/sandbox/oci"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func hostCell() oci.Cell {
	return oci.Cell{
		ID: "cell-1", Rootfs: "/run/sandgate/rootfs", Init: "/opt/sandgate/sandgate-init",
		Binds:       []oci.Bind{{Source: "/usr", Target: "/usr"}, {Source: "/etc/ssl/certs", Target: "/etc/ssl/certs"}},
		CgroupsPath: "/sandgate-abc/cell-1", IDBase: oci.DefaultIDBase, IDCount: oci.DefaultIDCount,
		MemoryBytes: 1 << 30, Pids: 512, OpenFiles: 4096,
	}
}

func TestBuildMatchesGolden(t *testing.T) {
	image := hostCell()
	image.Rootfs, image.Binds = "rootfs", nil
	for name, cell := range map[string]oci.Cell{"host": hostCell(), "image": image} {
		t.Run(name, func(t *testing.T) {
			spec, err := oci.Build(cell)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(spec, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Errorf("spec changed (-want +got), rewrite with -update if meant:\n%s", diff)
			}
		})
	}
}

func TestCellHasNoWayToTheMachine(t *testing.T) {
	spec, err := oci.Build(hostCell())
	if err != nil {
		t.Fatal(err)
	}
	if !spec.Root.Readonly || !spec.Process.NoNewPrivileges {
		t.Errorf("root read-only %v, no_new_privs %v: want both", spec.Root.Readonly, spec.Process.NoNewPrivileges)
	}
	have := map[specs.LinuxNamespaceType]bool{}
	for _, ns := range spec.Linux.Namespaces {
		have[ns.Type] = ns.Path == ""
	}
	for _, ns := range []specs.LinuxNamespaceType{"user", "pid", "mount", "ipc", "uts", "network", "cgroup"} {
		if !have[ns] {
			t.Errorf("no fresh %s namespace", ns)
		}
	}
	for _, m := range spec.Mounts {
		for _, option := range []string{"ro", "nosuid", "nodev"} {
			if m.Type == "bind" && !slices.Contains(m.Options, option) {
				t.Errorf("bind %s has options %v: want %s", m.Destination, m.Options, option)
			}
		}
	}
	for _, forbidden := range []string{"CAP_NET_RAW", "CAP_SYS_PTRACE", "CAP_MKNOD", "CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_SYS_CHROOT", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_BPF"} {
		if slices.Contains(spec.Process.Capabilities.Bounding, forbidden) {
			t.Errorf("bounding set has %s", forbidden)
		}
	}
}

func TestSeccompRefusesByDefault(t *testing.T) {
	filter := oci.Seccomp()
	if filter.DefaultAction != specs.ActErrno {
		t.Errorf("default action %s, want an errno", filter.DefaultAction)
	}
	var allowed []string
	for _, s := range filter.Syscalls {
		if s.Action == specs.ActAllow && len(s.Args) == 0 {
			allowed = append(allowed, s.Names...)
		}
	}
	for _, name := range []string{
		"ptrace", "keyctl", "add_key", "request_key", "bpf", "userfaultfd", "io_uring_setup", "perf_event_open",
		"process_vm_readv", "kexec_load", "init_module", "open_by_handle_at", "reboot", "swapon", "clone", "clone3", "socket",
		"unshare", "setns", "pivot_root", "open_tree", "move_mount", "fsopen",
	} {
		if slices.Contains(allowed, name) {
			t.Errorf("%s is allowed without a condition", name)
		}
	}
	for _, name := range []string{"read", "write", "execve", "mount", "exit_group", "mmap", "futex"} {
		if !slices.Contains(allowed, name) {
			t.Errorf("%s is not allowed", name)
		}
	}
	if sum, err := oci.SeccompSHA256(filter); err != nil || len(sum) != 64 {
		t.Errorf("hash %q, %v: want 64 digits", sum, err)
	}
}

func TestBuildRefusesBadCells(t *testing.T) {
	for want, spoil := range map[string]func(*oci.Cell){
		"cell id ":      func(c *oci.Cell) { c.ID = "Up/per" },
		"rootfs":        func(c *oci.Cell) { c.Rootfs = "../x" },
		"init":          func(c *oci.Cell) { c.Init = "" },
		"cgroups path":  func(c *oci.Cell) { c.CgroupsPath = "/one" },
		"bind":          func(c *oci.Cell) { c.Binds = []oci.Bind{{Source: "/a/../b", Target: "/b"}} },
		"id base":       func(c *oci.Cell) { c.IDBase = 0 },
		"id count":      func(c *oci.Cell) { c.IDCount = 1000 },
		"below 2^32":    func(c *oci.Cell) { c.IDBase = 1<<32 - 2 },
		"memory bytes":  func(c *oci.Cell) { c.MemoryBytes = 0 },
		"pids":          func(c *oci.Cell) { c.Pids = -1 },
		"open files is": func(c *oci.Cell) { c.OpenFiles = 3 },
	} {
		c := hostCell()
		spoil(&c)
		if _, err := oci.Build(c); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an invalid argument naming %q", err, want)
		}
	}
}

func TestInitEnvComesBesidePath(t *testing.T) {
	c := hostCell()
	c.InitEnv = []string{"GODEBUG=asyncpreemptoff=1"}
	spec, err := oci.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	if env := spec.Process.Env; len(env) != 2 || !strings.HasPrefix(env[0], "PATH=") || env[1] != c.InitEnv[0] {
		t.Errorf("environment %q, want PATH and %q", env, c.InitEnv)
	}
}
