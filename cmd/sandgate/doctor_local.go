package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// examineMachine looks whether a daemon could run here. It changes nothing.
func examineMachine(reason, binDir string) health {
	h := health{
		Daemon: reason, Reasons: []string{"no daemon runs; start one with `sandgated` (as root), or name its address with --addr"},
		Kernel: kernelRelease(), Cgroup: cgroupVersion("/sys/fs/cgroup"),
	}
	h.Controls = []check{
		{
			Name: "root", OK: os.Geteuid() == 0, Required: true, Detail: fmt.Sprintf("you are uid %d", os.Geteuid()),
			Remedy: "run sandgated as root: it has to make user namespaces and control groups",
		},
		userNamespaces("/proc/sys/user/max_user_namespaces"),
		{
			Name: "cgroups", OK: h.Cgroup != 0, Required: true, Detail: fmt.Sprintf("version %d at /sys/fs/cgroup", h.Cgroup),
			Remedy: "mount control groups: mount -t cgroup2 cgroup2 /sys/fs/cgroup",
		},
	}
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "runc", "sandgate-init"} {
		h.Controls = append(h.Controls, program(name, binDir))
	}
	return h
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// cgroupVersion is 2 or 1 by what is mounted at root, 0 for nothing.
func cgroupVersion(root string) int32 {
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return 2
	}
	if _, err := os.Stat(filepath.Join(root, "memory")); err == nil {
		return 1
	}
	return 0
}

func userNamespaces(path string) check {
	c := check{Name: "user_namespaces", Required: true, Remedy: "sysctl user.max_user_namespaces=15000"}
	raw, err := os.ReadFile(path) //nolint:gosec // a fixed path but for tests
	if err != nil {
		c.Detail = err.Error()
		return c
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	c.OK, c.Detail = err == nil && n > 0, "at most "+strings.TrimSpace(string(raw))
	return c
}

// program looks for a program as the daemon does: in its directory, beside the
// command, in PATH.
func program(name, binDir string) check {
	c := check{Name: name, Required: true, Remedy: "build it with make, or tell sandgated where it is with --bin-dir"}
	dirs := []string{binDir}
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(self))
	}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			c.OK, c.Detail = true, path
			return c
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		c.Detail = "not found"
		return c
	}
	c.OK, c.Detail = true, path
	return c
}
