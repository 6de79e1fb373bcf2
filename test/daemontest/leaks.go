package daemontest

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox/containerd"
)

// Footprint is what a daemon has on the machine at one moment: counted, so
// that what a call leaves behind shows as a difference.
type Footprint struct {
	Cells      int // cell cgroups
	CallGroups int // cgroups of calls, prepared ones included
	Shims      int
	Inits      int // sandgate-init processes in cells, all roles
	Guests     int // other processes in cells
	Mounts     int // mounts of the daemon, seen from the machine
	NetNS      int // network namespaces of the processes in cells
}

// instance is the name under which the daemon's cgroups and sockets are.
func (d *Daemon) instance() string {
	return "sandgate-" + containerd.InstanceOf(filepath.Join(d.DataDir, "containerd"))
}

// Footprint counts what this daemon has on the machine now.
func (d *Daemon) Footprint() Footprint {
	var f Footprint
	instance := d.instance()
	for _, dir := range cgroupDirs(instance) {
		switch parts := strings.Split(dir, "/"); {
		case len(parts) == 2:
			f.Cells++
		case len(parts) == 3 && strings.HasPrefix(parts[2], "call"):
			f.CallGroups++
		}
	}
	netns := map[string]bool{}
	eachProcess(func(pid int, exe, cmdline string) {
		if strings.Contains(cmdline, instance) && strings.Contains(filepath.Base(exe), "shim") {
			f.Shims++
		}
		groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil || !strings.Contains(string(groups), "/"+instance+"/") {
			return
		}
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil {
			netns[ns] = true
		}
		if strings.HasPrefix(cmdline, "sandgate-init") || strings.HasPrefix(cmdline, "/.sandgate/init") {
			f.Inits++
		} else if state(pid) != "Z" {
			f.Guests++
		}
	})
	f.NetNS = len(netns)
	if data, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		f.Mounts = strings.Count(string(data), instance) + strings.Count(string(data), " "+d.DataDir)
	}
	return f
}

// state is a process's state letter; empty when it is gone.
func state(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return rest[:min(1, len(rest))]
}

// cgroupDirs returns the cgroups of one daemon, each once whatever the number of
// hierarchies, as paths from the hierarchy's root.
func cgroupDirs(instance string) []string {
	seen := map[string]bool{}
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/" + instance)
	for _, root := range append(roots, "/sys/fs/cgroup/"+instance) {
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				rel, _ := filepath.Rel(filepath.Dir(root), path)
				seen[rel] = true
			}
			return nil
		})
	}
	return slices.Sorted(maps.Keys(seen))
}

func eachProcess(visit func(pid int, exe, cmdline string)) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		visit(pid, exe, strings.ReplaceAll(string(cmdline), "\x00", " "))
	}
}

// WaitFootprint waits until the daemon has no more on the machine than want
// and no guest process is left, and fails the test if that does not come true
// in time. Fewer is fine: a pool may be filling. Cells share shims as it comes, so
// there may be one for each cell.
func (d *Daemon) WaitFootprint(t testing.TB, want Footprint, within time.Duration) {
	t.Helper()
	var got Footprint
	ok := Eventually(within, func() bool {
		got = d.Footprint()
		return got.Guests == 0 && got.Cells <= want.Cells && got.CallGroups <= want.CallGroups &&
			got.Shims <= max(want.Shims, got.Cells) && got.Inits <= want.Inits && got.Mounts <= want.Mounts && got.NetNS <= want.NetNS
	})
	if !ok {
		t.Errorf("left behind after %v: got %+v, want at most %+v", within, got, want)
	}
}

// Eventually polls until cond holds or within has passed, and reports which.
func Eventually(within time.Duration, cond func() bool) bool {
	deadline := time.Now().Add(within)
	for {
		if cond() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
}
