package main

import (
	"bufio"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/test/bench/peer"
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

// built are the programs that take part, what they are called in the report, and the
// modules of their main packages.
var built = []struct{ name, program, module string }{
	{"sandgate", "sandgated", "github.com/sandgate/sandgate"},
	{"containerd", "containerd", "github.com/containerd/containerd/v2"},
	{"runc", "runc", "github.com/opencontainers/runc"},
	{"gVisor", "runsc", "gvisor.dev/gvisor"},
}

// versions are those of everything that takes part, as the binaries themselves tell
// them. A program that is not there takes no part.
func versions(binDir string) ([]report.Version, error) {
	var out []report.Version
	for _, p := range built {
		path := filepath.Join(binDir, p.program)
		version, err := peer.Build(path, p.module)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, report.Version{Name: p.name, Version: version})
		if info, err := buildinfo.ReadFile(path); err == nil && p.name == "sandgate" {
			out = append(out, report.Version{Name: "Go", Version: strings.TrimPrefix(info.GoVersion, "go")})
		}
	}
	return out, nil
}
