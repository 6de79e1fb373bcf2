package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
)

// v1 has a directory tree per controller.
type v1 struct {
	root  string
	names []string          // as on v2
	mount map[string]string // controller's v1 name to its mount point
	order []string          // mount points of those, pids first
	every []string          // mount points of all controllers, also of those not used here
}

func openV1(root string) (*v1, error) {
	b := &v1{root: root, mount: map[string]string{}}
	for _, c := range []struct{ dir, name string }{
		{"pids", Pids}, {"memory", Memory}, {"cpu", CPU}, {"cpuacct", ""}, {"blkio", IO},
	} {
		// cpu and cpuacct may be one mount with links to it.
		dir, err := filepath.EvalSymlinks(filepath.Join(root, c.dir))
		if err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
			continue
		}
		b.mount[c.dir] = dir
		if c.name != "" {
			b.names = append(b.names, c.name)
		}
		if !slices.Contains(b.order, dir) {
			b.order = append(b.order, dir)
		}
	}
	b.every = everyMount(root)
	if len(b.order) == 0 {
		return nil, fmt.Errorf("no control groups at %s: mount cgroup2 there, or the v1 controllers: %w",
			root, errdefs.ErrFailedPrecondition)
	}
	return b, nil
}

// everyMount finds all hierarchies: runc makes a cell's group in each of them.
func everyMount(root string) []string {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		dir, err := filepath.EvalSymlinks(filepath.Join(root, e.Name()))
		if err != nil || slices.Contains(out, dir) {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			out = append(out, dir)
		}
	}
	return out
}

func (b *v1) allDirs(path string) []string {
	out := make([]string, len(b.every))
	for i, mount := range b.every {
		out[i] = filepath.Join(mount, path)
	}
	return out
}

func (b *v1) version() int                 { return 1 }
func (b *v1) leaf(path string) string      { return path }
func (b *v1) controllers() []string        { return b.names }
func (b *v1) prepareParent(_ string) error { return nil }

// file names a file of a group; below a place that is not there when the
// controller is not mounted, so that using it fails.
func (b *v1) file(ctrl, path, name string) string {
	mount, ok := b.mount[ctrl]
	if !ok {
		mount = filepath.Join(b.root, ctrl)
	}
	return fileAt(mount, path, name)
}

func (b *v1) dirs(path string) []string {
	out := make([]string, len(b.order))
	for i, mount := range b.order {
		out[i] = filepath.Join(mount, path)
	}
	return out
}

func (b *v1) setLimits(path string, l Limits) error {
	if l.MemoryBytes > 0 {
		if err := b.setMemory(path, fmt.Sprint(l.MemoryBytes)); err != nil {
			return precondition("limit memory_bytes cannot be set (%v)", err)
		}
	}
	if l.Pids > 0 {
		if err := writeFile(b.file("pids", path, "pids.max"), fmt.Sprint(l.Pids)); err != nil {
			return precondition("limit pids cannot be set (%v)", err)
		}
	}
	if l.CPUMillis > 0 {
		quota, period := cpuPeriod(l.CPUMillis)
		err := writeFile(b.file("cpu", path, "cpu.cfs_period_us"), fmt.Sprint(period))
		if err == nil {
			err = writeFile(b.file("cpu", path, "cpu.cfs_quota_us"), fmt.Sprint(quota))
		}
		if err != nil {
			return precondition("limit cpu_millis cannot be set (%v)", err)
		}
	}
	return nil
}

// setMemory keeps memory <= memory+swap at every step: which of the two goes
// first depends on whether the limit rises.
func (b *v1) setMemory(path, value string) error {
	plain, both := b.file("memory", path, "memory.limit_in_bytes"), b.file("memory", path, "memory.memsw.limit_in_bytes")
	err := writeFile(plain, value)
	if errors.Is(err, syscall.EINVAL) {
		if err := writeFile(both, value); err != nil {
			return err
		}
		return writeFile(plain, value)
	}
	if err != nil {
		return err
	}
	return ignoreMissing(writeFile(both, value)) // no such file: swap is not accounted
}

func (b *v1) readLimits(path string) (map[string]int64, error) {
	out := map[string]int64{}
	memory, err := readInt(b.file("memory", path, "memory.limit_in_bytes"))
	if err != nil {
		return nil, fmt.Errorf("read back limit memory_bytes: %w", err)
	}
	out["memory_bytes"] = memory
	if both, err := readInt(b.file("memory", path, "memory.memsw.limit_in_bytes")); err == nil {
		out["memory_swap_bytes"] = both
	}
	if out["pids"], err = readInt(b.file("pids", path, "pids.max")); err != nil {
		return nil, fmt.Errorf("read back limit pids: %w", err)
	}
	quota, err := readInt(b.file("cpu", path, "cpu.cfs_quota_us"))
	if err != nil {
		return nil, fmt.Errorf("read back limit cpu_millis: %w", err)
	}
	period, err := readInt(b.file("cpu", path, "cpu.cfs_period_us"))
	if err != nil {
		return nil, fmt.Errorf("read back limit cpu_millis: %w", err)
	}
	if quota > 0 && period > 0 {
		out["cpu_millis"] = quota * 1000 / period
	}
	return out, nil
}

func (b *v1) at(path string, f file) string { return b.file(f.controller, path, f.name) }

func (b *v1) peakFile() file { return file{"memory", "memory.max_usage_in_bytes"} }

func (b *v1) memoryFile() file { return file{"memory", "memory.usage_in_bytes"} }

func (b *v1) unthrottle(path string) {
	_ = writeFile(b.file("cpu", path, "cpu.cfs_quota_us"), "-1") // without it the end only comes later
}

func (b *v1) usage(read reader) Usage {
	u := Usage{
		MemoryPeakBytes: intOr(read, b.peakFile()),
		PidsPeak:        intOr(read, file{"pids", "pids.peak"}),
		PidsLimitHits:   keyOr(read, file{"pids", "pids.events"}, "max"),
		OOMKills:        keyOr(read, file{"memory", "memory.oom_control"}, "oom_kill"),
	}
	u.CPUUser, u.CPUSystem = b.cpu(read)
	u.IOReadBytes, u.IOWriteBytes = b.io(read)
	return u
}

// cpu divides the exact total by the ratio of the tick-counted parts, as the
// kernel itself does for a process.
func (b *v1) cpu(read reader) (user, system time.Duration) {
	total := intOr(read, file{"cpuacct", "cpuacct.usage"})
	if total < 0 {
		return -1, -1
	}
	u, s := intOr(read, file{"cpuacct", "cpuacct.usage_user"}), intOr(read, file{"cpuacct", "cpuacct.usage_sys"})
	if u < 0 || s < 0 || u+s == 0 {
		return time.Duration(total), 0
	}
	user = time.Duration(float64(total) * float64(u) / float64(u+s))
	return user, time.Duration(total) - user
}

func (b *v1) io(read reader) (in, out int64) {
	text, err := read(file{"blkio", "blkio.throttle.io_service_bytes_recursive"})
	if err != nil {
		return -1, -1
	}
	for line := range bytes.Lines(text) {
		// "254:0 Read 4096"; the last line is "Total N"
		_, rest, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		what, value, ok := bytes.Cut(rest, []byte(" "))
		if !ok {
			continue
		}
		v, err := parseInt(string(value))
		if err != nil {
			continue
		}
		switch string(what) {
		case "Read":
			in += v
		case "Write":
			out += v
		}
	}
	return in, out
}
