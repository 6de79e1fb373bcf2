package crash

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	sandboxd "github.com/sandgate/sandgate/sandbox/containerd"
	"github.com/sandgate/sandgate/test/daemontest"
)

// armable builds the daemon with failpoints and puts the other programs beside it.
func armable(t *testing.T) string {
	t.Helper()
	from, err := daemontest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "sgc-") //nolint:usetesting // reachable by everybody, which a test's own is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	programs, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		target, err := filepath.EvalSymlinks(filepath.Join(from, p.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if p.Name() == "sandgated" {
			continue
		}
		if err := os.Symlink(target, filepath.Join(dir, p.Name())); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-tags", "sandgate_failpoints", "-o", filepath.Join(dir, "sandgated"), "../../cmd/sandgated")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the daemon with failpoints: %v\n%s", err, out)
	}
	return dir
}

// process is one process, also when its pid is another's by now.
type process struct {
	pid   int
	start string // time of its start
}

func (p process) lives() bool { return startOf(p.pid) == p.start }

// startOf is when a process started; empty when it is gone or a zombie.
func startOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 20 || f[0] == "Z" {
		return ""
	}
	return f[19]
}

// machine looks at what the daemon has on the machine.
type machine struct {
	d        *daemontest.Daemon
	instance string
	ctr      string
}

func newMachine(d *daemontest.Daemon) *machine {
	return &machine{
		d: d, ctr: filepath.Join(d.Bin, "ctr"),
		instance: "sandgate-" + sandboxd.InstanceOf(filepath.Join(d.DataDir, "containerd")),
	}
}

// traces are things of one life of the daemon that must be gone in the next.
type traces struct {
	cells     []string // ids
	processes []process
}

// traces looks at what is there now.
func (m *machine) traces() traces {
	var t traces
	for _, root := range m.cgroupRoots() {
		entries, _ := os.ReadDir(root)
		for _, e := range entries {
			if e.IsDir() && strings.HasPrefix(e.Name(), "c") && len(e.Name()) == 17 && !slices.Contains(t.cells, e.Name()) {
				t.cells = append(t.cells, e.Name())
			}
		}
	}
	for _, kind := range []victim{containerd, shim} {
		t.processes = append(t.processes, m.find(kind)...)
	}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if groups, err := os.ReadFile("/proc/" + e.Name() + "/cgroup"); err == nil && strings.Contains(string(groups), "/"+m.instance+"/") {
			if start := startOf(pid); start != "" {
				t.processes = append(t.processes, process{pid, start})
			}
		}
	}
	return t
}

// disks are the mounts and loop devices of disk quotas that are there.
func (m *machine) disks() (out []string) {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], m.d.DataDir+"/") {
			out = append(out, f[4])
		}
	}
	devices, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, d := range devices {
		if text, err := os.ReadFile(d); err == nil && strings.HasPrefix(string(text), m.d.DataDir+"/") {
			out = append(out, d)
		}
	}
	return out
}

func (m *machine) cgroupRoots() []string {
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/" + m.instance)
	return append(roots, "/sys/fs/cgroup/"+m.instance)
}

// find lists the processes of the daemon's containerd or of its shims.
func (m *machine) find(kind victim) []process {
	var out []process
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || !strings.Contains(string(text), "/"+m.instance+"/containerd.") {
			continue
		}
		name := filepath.Base(strings.Split(string(text), "\x00")[0])
		if (kind == containerd && name == "containerd") || (kind == shim && strings.HasPrefix(name, "containerd-shim")) {
			if start := startOf(pid); start != "" {
				out = append(out, process{pid, start})
			}
		}
	}
	return out
}

// left tells what of these traces is still there.
func (m *machine) left(ctx context.Context, t traces, ask bool) []string {
	var out []string
	for _, p := range t.processes {
		if p.lives() {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
			out = append(out, fmt.Sprintf("process %d (%.80q)", p.pid, text))
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	known := ""
	if ask {
		for _, what := range []string{"containers", "tasks", "snapshots"} {
			cmd := exec.CommandContext(ctx, m.ctr, "-a", "/run/"+m.instance+"/containerd.sock", "-n", "sandgate", what, "ls")
			text, err := cmd.Output()
			if err != nil {
				out = append(out, fmt.Sprintf("ctr %s ls: %v", what, err))
			}
			known += string(text)
		}
	}
	for _, id := range t.cells {
		for _, root := range m.cgroupRoots() {
			if _, err := os.Stat(filepath.Join(root, id)); err == nil {
				out = append(out, "control group "+filepath.Join(root, id))
			}
		}
		if strings.Contains(string(mounts), id) {
			out = append(out, "a mount of cell "+id)
		}
		if strings.Contains(known, id) {
			out = append(out, "cell "+id+" in containerd")
		}
	}
	return out
}

// kill kills a process with SIGKILL.
func (p process) kill() error {
	if !p.lives() {
		return nil
	}
	return syscall.Kill(p.pid, syscall.SIGKILL)
}
