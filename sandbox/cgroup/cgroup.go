package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
)

// DefaultRoot is where control groups are mounted.
const DefaultRoot = "/sys/fs/cgroup"

// Controllers that a call needs, by their name on v2.
const (
	CPU    = "cpu"
	Memory = "memory"
	Pids   = "pids"
	IO     = "io" // only measured
)

// Limits of a group. A zero field is left as it is.
type Limits struct {
	MemoryBytes int64 // memory and swap together
	Pids        int64
	CPUMillis   int64 // 1000 = one core
}

// Usage of a group since it was made. What the kernel does not tell is -1.
type Usage struct {
	CPUUser, CPUSystem time.Duration
	MemoryPeakBytes    int64
	PidsPeak           int64
	PidsLimitHits      int64
	OOMKills           int64
	IOReadBytes        int64
	IOWriteBytes       int64
}

// backend is what differs between v1 and v2. Paths are absolute within the
// hierarchies, "/sandgate-x/cell/call-1".
type backend interface {
	version() int
	controllers() []string
	dirs(path string) []string    // directories of a group, the one with the most complete process list first
	allDirs(path string) []string // also where only runc has made one
	prepareParent(path string) error
	setLimits(path string, l Limits) error
	leaf(path string) string
	readLimits(path string) (map[string]int64, error)
	unthrottle(path string)
	setWeight(path string, weight int64) (int64, error)
	// at is where a group's file is.
	at(path string, f file) string
	usage(read reader) Usage
	cpu(read reader) (user, system time.Duration)
	// peakFile is what is written to in order to reset the peak of memory.
	peakFile() file
	// memoryFile has the memory in use.
	memoryFile() file
}

// file is one of any group's files.
type file struct{ controller, name string } // the controller's v1 name; on v2 there is none

// reader returns the content of a file of one group; the bytes are valid until the
// next call.
type reader func(f file) ([]byte, error)

// readerOf reads the files of a group that are not kept open.
func (m *Manager) readerOf(path string) reader {
	return func(f file) ([]byte, error) { return os.ReadFile(m.b.at(path, f)) }
}

// Manager makes groups. It is safe for concurrent use on different groups.
type Manager struct{ b backend }

// Open finds which kind of control groups is mounted at root and which
// controllers can be used there. It changes nothing.
func Open(root string) (*Manager, error) {
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		b, err := openV2(root)
		if err != nil {
			return nil, err
		}
		return &Manager{b: b}, nil
	}
	b, err := openV1(root)
	if err != nil {
		return nil, err
	}
	return &Manager{b: b}, nil
}

// Version is 1 or 2.
func (m *Manager) Version() int { return m.b.version() }

// Controllers returns the names of those of CPU, Memory, Pids and IO that are
// mounted (v1) or delegated (v2).
func (m *Manager) Controllers() []string { return m.b.controllers() }

// Has reports whether a controller is there.
func (m *Manager) Has(controller string) bool { return slices.Contains(m.b.controllers(), controller) }

// PrepareParent makes path, a group that only holds other groups, and on v2
// hands its controllers down. Repeated calls are harmless.
func (m *Manager) PrepareParent(path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	if err := m.mkdir(path); err != nil {
		return err
	}
	return m.b.prepareParent(path)
}

// Leaf is where the processes are that were in path when PrepareParent was
// called, and those that they have started since: path itself on v1, a group
// below it on v2, where a group has either processes or controlled groups.
func (m *Manager) Leaf(path string) string { return m.b.leaf(path) }

// Create makes the group of a call under a parent that PrepareParent has seen.
func (m *Manager) Create(path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	return m.mkdir(path)
}

func (m *Manager) mkdir(path string) error {
	for _, dir := range m.b.dirs(path) {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // groups are readable everywhere in sysfs
			return fmt.Errorf("make control group: %w", err)
		}
	}
	return nil
}

// Exists reports whether the group is there in any hierarchy.
func (m *Manager) Exists(path string) bool {
	return slices.ContainsFunc(m.b.dirs(path), func(dir string) bool {
		_, err := os.Stat(dir)
		return err == nil
	})
}

// Add moves a process with all its threads into the group.
func (m *Manager) Add(path string, pid int) error {
	for _, dir := range m.b.dirs(path) {
		if err := writeFile(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("move process into control group: %w", err)
		}
	}
	return nil
}

// SetLimits writes limits and returns what the kernel then shows, by the names
// of sandbox.Receipt.Enforced: "memory_bytes", "pids", "cpu_millis". A limit
// that cannot be written, or that reads back looser than asked, is an error
// wrapping errdefs.ErrFailedPrecondition that names it.
func (m *Manager) SetLimits(path string, l Limits) (map[string]int64, error) {
	if err := m.b.setLimits(path, l); err != nil {
		return nil, err
	}
	got, err := m.b.readLimits(path)
	if err != nil {
		return nil, err
	}
	for _, want := range []struct {
		name  string
		value int64
	}{{"memory_bytes", l.MemoryBytes}, {"pids", l.Pids}, {"cpu_millis", l.CPUMillis}} {
		if want.value == 0 {
			continue
		}
		if have, ok := got[want.name]; !ok || have > want.value || have <= 0 {
			return nil, precondition("limit %s of %d reads back as %d", want.name, want.value, have)
		}
	}
	return got, nil
}

// Unthrottle lifts the bound on cpu time, so that killed processes can end at
// once instead of waiting for their next period. Best effort.
func (m *Manager) Unthrottle(path string) { m.b.unthrottle(path) }

// Usage reads the counters of the group.
func (m *Manager) Usage(path string) Usage { return m.b.usage(m.readerOf(path)) }

// Procs returns the processes in the group itself, not in groups below it.
func (m *Manager) Procs(path string) ([]int, error) {
	return readProcs(ReadKernelFile, m.b.dirs(path)[0]+procsFile)
}

// Children returns the names of the groups in a group.
func (m *Manager) Children(path string) ([]string, error) {
	entries, err := os.ReadDir(m.b.dirs(path)[0])
	if err != nil {
		return nil, fmt.Errorf("list control group: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// checkPath refuses what could reach a group of somebody else.
func checkPath(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
		return fmt.Errorf("control group %q: want a clean absolute path below the root: %w", path, errdefs.ErrInvalidArgument)
	}
	return nil
}

// fileAt names a file of the group at a path that checkPath has seen: filepath.Join would
// look for what is to be cleaned in each of a dozen names for each call.
func fileAt(root, path, name string) string { return root + path + "/" + name }

func precondition(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrFailedPrecondition)...)
}

// procsFile is the list of processes in the directory of a group.
const procsFile = "/cgroup.procs"

func readProcs(read func(path string) ([]byte, error), path string) ([]int, error) {
	text, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("list control group: %w", err)
	}
	pids := make([]int, 0, 8)
	for f := range bytes.FieldsSeq(text) {
		pid, err := strconv.Atoi(string(f))
		if err != nil {
			return nil, fmt.Errorf("list control group: %w", err)
		}
		if pid > 0 { // 0 is a process of another pid namespace
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func writeFile(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0) //nolint:gosec // as above
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// readInt reads a file with one number. "max" is math.MaxInt64.
func readInt(path string) (int64, error) {
	text, err := os.ReadFile(path) //nolint:gosec // below the control groups' root
	if err != nil {
		return 0, err
	}
	return parseInt(string(bytes.TrimSpace(text)))
}

func parseInt(s string) (int64, error) {
	if s == "max" {
		return 1<<63 - 1, nil
	}
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil // cfs_quota_us is -1 without a limit
		}
		return 0, err
	}
	return int64(min(v, 1<<63-1)), nil
}

// intOr reads a number, or -1 when the kernel has no such file.
func intOr(read reader, f file) int64 {
	text, err := read(f)
	if err != nil {
		return -1
	}
	v, err := parseInt(string(bytes.TrimSpace(text)))
	if err != nil {
		return -1
	}
	return v
}

// keyOr reads the number of a key in a file of "key value" lines, or -1 when there is none.
func keyOr(read reader, f file, key string) int64 {
	text, err := read(f)
	if err != nil {
		return -1
	}
	if v, ok := valueOf(text, key); ok {
		return v
	}
	return -1
}

// valueOf finds the number of a key in "key value" lines.
func valueOf(text []byte, key string) (int64, bool) {
	for line := range bytes.Lines(text) {
		if k, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(" ")); ok && string(k) == key {
			v, err := parseInt(string(value))
			return v, err == nil
		}
	}
	return 0, false
}

// cpuPeriod returns quota and period in microseconds for a share of cores. The
// period is short, so that a throttled program stalls for less than 50 ms, and
// grows where the kernel's least quota of 1 ms would not do.
func cpuPeriod(millis int64) (quota, period int64) {
	const least, usual, most = 1000, 50000, 1000000
	period = usual
	if millis*period/1000 < least {
		period = min(least*1000/millis, most)
	}
	return max(millis*period/1000, least), period
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
