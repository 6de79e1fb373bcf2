package main

import (
	"bufio"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/test/bench/report"
)

// machine tells where this run is made.
func machine() report.Machine {
	m := report.Machine{
		CPU: fieldOf("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		Kernel: "Linux " + firstLineOf("/proc/sys/kernel/osrelease"), CgroupVersion: 1,
		DataFS: fsOf(os.TempDir()), LoadBefore: firstLineOf("/proc/loadavg"),
	}
	var kib int64
	if _, err := fmt.Sscan(fieldOf("/proc/meminfo", "MemTotal"), &kib); err == nil {
		m.MemoryBytes = kib << 10
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		m.CgroupVersion = 2
	}
	return m
}

// firstLineOf is the first line of a file; "?" when it cannot be read.
func firstLineOf(path string) string {
	data, err := os.ReadFile(path) //nolint:gosec // files of the kernel
	if err != nil {
		return "?"
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}

// fieldOf is the value of the first "name: value" line of a file.
func fieldOf(path, name string) string {
	f, err := os.Open(path) //nolint:gosec // files of the kernel
	if err != nil {
		return "?"
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "?"
}

func fsOf(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "an unknown file system"
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	}
	return fmt.Sprintf("file system %#x", st.Type)
}

// modules are the programs that take part and the modules that they are built
// from.
var modules = []struct{ program, module string }{
	{"containerd", "github.com/containerd/containerd/v2"},
	{"runc", "github.com/opencontainers/runc"},
	{"runsc", "gvisor.dev/gvisor"},
}

// versions are those of everything that takes part, as the binaries themselves
// tell them.
func (b *bench) versions() []report.Version {
	out := []report.Version{
		{Name: "sandgate", Version: "commit unknown"},
		{Name: "Go", Version: strings.TrimPrefix(runtime.Version(), "go")},
	}
	if info, err := buildinfo.ReadFile(filepath.Join(b.binDir, "sandgated")); err == nil {
		set := map[string]string{}
		for _, s := range info.Settings {
			set[s.Key] = s.Value
		}
		if set["vcs.revision"] != "" {
			out[0].Version = "commit " + set["vcs.revision"][:min(12, len(set["vcs.revision"]))]
		}
		if set["vcs.modified"] == "true" {
			out[0].Version += " and changes"
		}
	}
	for _, m := range modules {
		info, err := buildinfo.ReadFile(filepath.Join(b.binDir, m.program))
		if err != nil {
			continue
		}
		for _, dep := range info.Deps {
			if dep.Path == m.module {
				out = append(out, report.Version{Name: m.program, Version: dep.Version})
			}
		}
	}
	return out
}
