package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

// v2 is one tree for all controllers.
type v2 struct {
	root  string
	names []string
}

// initLeaf is where the processes of a group go that is to have groups below it.
const initLeaf = "init"

func openV2(root string) (*v2, error) {
	text, err := os.ReadFile(filepath.Join(root, "cgroup.controllers")) //nolint:gosec // the configured root
	if err != nil {
		return nil, fmt.Errorf("read controllers: %w", err)
	}
	b := &v2{root: root}
	for name := range strings.FieldsSeq(string(text)) {
		if slices.Contains([]string{CPU, Memory, Pids, IO}, name) {
			b.names = append(b.names, name)
		}
	}
	return b, nil
}

func (b *v2) version() int                 { return 2 }
func (b *v2) leaf(path string) string      { return filepath.Join(path, initLeaf) }
func (b *v2) controllers() []string        { return b.names }
func (b *v2) dirs(path string) []string    { return []string{filepath.Join(b.root, path)} }
func (b *v2) allDirs(path string) []string { return b.dirs(path) }
func (b *v2) file(path, n string) string {
	return fileAt(b.root, path, n)
}

// prepareParent enables the controllers for the groups below path, from the root
// on. A group with processes of its own cannot do that, so they move into a leaf
// first: only within path itself, never in groups of somebody else above it.
func (b *v2) prepareParent(path string) error {
	elements := strings.Split(strings.Trim(path, "/"), "/")
	at := "/"
	for i := 0; i <= len(elements); i++ {
		err := b.enable(at)
		if err != nil && i == len(elements) {
			if err = b.moveToLeaf(at); err == nil {
				err = b.enable(at)
			}
		}
		if err != nil {
			return fmt.Errorf("hand controllers %v down from control group %s (%w): "+
				"let the daemon run in a delegated group without other processes in it: %w",
				b.names, at, err, errdefs.ErrFailedPrecondition)
		}
		if i < len(elements) {
			at = filepath.Join(at, elements[i])
		}
	}
	return nil
}

func (b *v2) enable(path string) error {
	file := b.file(path, "cgroup.subtree_control")
	text, err := os.ReadFile(file) //nolint:gosec // below the control groups' root
	if err != nil {
		return err
	}
	var missing []string
	for _, name := range b.names {
		if !slices.Contains(strings.Fields(string(text)), name) {
			missing = append(missing, "+"+name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return writeFile(file, strings.Join(missing, " "))
}

// moveToLeaf repeats itself while processes are still being forked.
func (b *v2) moveToLeaf(path string) error {
	leaf := filepath.Join(path, initLeaf)
	if err := os.MkdirAll(b.file(leaf, ""), 0o755); err != nil { //nolint:gosec // as all groups
		return err
	}
	for range 100 {
		pids, err := readProcs(ReadKernelFile, b.file(path, "cgroup.procs"))
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := writeFile(b.file(leaf, "cgroup.procs"), fmt.Sprint(pid)); err != nil && !gone(pid) {
				return err
			}
		}
	}
	return fmt.Errorf("processes keep appearing in %s", path)
}

func gone(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return os.IsNotExist(err)
}

func (b *v2) setLimits(path string, l Limits) error {
	if l.MemoryBytes > 0 {
		err := writeFile(b.file(path, "memory.max"), fmt.Sprint(l.MemoryBytes))
		if err == nil {
			err = ignoreMissing(writeFile(b.file(path, "memory.swap.max"), "0"))
		}
		if err != nil {
			return precondition("limit memory_bytes cannot be set (%v)", err)
		}
	}
	if l.Pids > 0 {
		if err := writeFile(b.file(path, "pids.max"), fmt.Sprint(l.Pids)); err != nil {
			return precondition("limit pids cannot be set (%v)", err)
		}
	}
	if l.CPUMillis > 0 {
		quota, period := cpuPeriod(l.CPUMillis)
		if err := writeFile(b.file(path, "cpu.max"), fmt.Sprintf("%d %d", quota, period)); err != nil {
			return precondition("limit cpu_millis cannot be set (%v)", err)
		}
	}
	return nil
}

func (b *v2) readLimits(path string) (map[string]int64, error) {
	out := map[string]int64{}
	memory, err := readInt(b.file(path, "memory.max"))
	if err != nil {
		return nil, fmt.Errorf("read back limit memory_bytes: %w", err)
	}
	out["memory_bytes"] = memory
	if swap, err := readInt(b.file(path, "memory.swap.max")); err == nil && swap < 1<<62 {
		out["memory_swap_bytes"] = memory + swap // as on v1: both together
	}
	if out["pids"], err = readInt(b.file(path, "pids.max")); err != nil {
		return nil, fmt.Errorf("read back limit pids: %w", err)
	}
	text, err := os.ReadFile(b.file(path, "cpu.max"))
	if err != nil {
		return nil, fmt.Errorf("read back limit cpu_millis: %w", err)
	}
	var quota, period int64
	if n, _ := fmt.Sscan(string(text), &quota, &period); n == 2 && period > 0 { // "max 100000" has no limit
		out["cpu_millis"] = quota * 1000 / period
	}
	return out, nil
}

func (b *v2) at(path string, f file) string { return b.file(path, f.name) }

func (b *v2) peakFile() file { return file{name: "memory.peak"} }

func (b *v2) memoryFile() file { return file{name: "memory.current"} }

func (b *v2) unthrottle(path string) {
	_ = writeFile(b.file(path, "cpu.max"), "max") // without it the end only comes later
}

func (b *v2) usage(read reader) Usage {
	u := Usage{
		MemoryPeakBytes: intOr(read, b.peakFile()),
		PidsPeak:        intOr(read, file{name: "pids.peak"}),
		PidsLimitHits:   keyOr(read, file{name: "pids.events"}, "max"),
		OOMKills:        keyOr(read, file{name: "memory.events"}, "oom_kill"),
	}
	u.CPUUser, u.CPUSystem = b.cpu(read)
	u.IOReadBytes, u.IOWriteBytes = b.io(read)
	return u
}

func (b *v2) cpu(read reader) (user, system time.Duration) {
	text, err := read(file{name: "cpu.stat"})
	if err != nil {
		return -1, -1
	}
	u, _ := valueOf(text, "user_usec")
	s, _ := valueOf(text, "system_usec")
	return time.Duration(u) * time.Microsecond, time.Duration(s) * time.Microsecond
}

func (b *v2) io(read reader) (in, out int64) {
	text, err := read(file{name: "io.stat"})
	if err != nil {
		return -1, -1
	}
	for f := range bytes.FieldsSeq(text) { // "254:0 rbytes=1 wbytes=2 …"
		key, value, _ := bytes.Cut(f, []byte("="))
		v, err := parseInt(string(value))
		if err != nil {
			continue
		}
		switch string(key) {
		case "rbytes":
			in += v
		case "wbytes":
			out += v
		}
	}
	return in, out
}
