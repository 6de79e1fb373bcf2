package containerd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// Protection says how the machine, the daemon and containerd are kept from their
// guests, beyond the limits of each call. What the machine cannot do is reported
// by Capabilities.
type Protection struct {
	// CellsWeight is the share of processor and disk time of all cells together, where
	// every other group of the machine has 100 unless it says otherwise. 1 to 10000,
	// default 50. It binds only while others want the time as well.
	CellsWeight int64
	// ServiceWeight is that of containerd and its shims, where they get a group of
	// their own: a daemon that a service manager has put into one keeps them there.
	// Default 200.
	ServiceWeight int64
	// MemoryBytes is what all cells may take together. Default: what the daemon itself
	// may have of the machine less an eighth, at least 512 MiB; negative: no bound.
	MemoryBytes int64
	// Required refuses calls where the cells cannot be held together in processor
	// time, memory, processes and their place when memory runs out. Default: that is
	// only reported.
	Required bool
}

const (
	defaultCellsWeight   = 50
	defaultServiceWeight = 200
	mostWeight           = 10000
	leastReserve         = 512 << 20
	// cellsOOMScore is what cells have above the daemon and above others when the
	// kernel looks for somebody to kill; serviceOOMScore what containerd asks for.
	// The daemon's own is its service manager's business.
	cellsOOMScore   = 500
	serviceOOMScore = -500
)

func (p Protection) withDefaults() (Protection, error) {
	setDefault(&p.CellsWeight, defaultCellsWeight)
	setDefault(&p.ServiceWeight, defaultServiceWeight)
	if min(p.CellsWeight, p.ServiceWeight) < 1 || max(p.CellsWeight, p.ServiceWeight) > mostWeight {
		return p, fmt.Errorf("protection: weights are %d and %d: want 1 to %d: %w",
			p.CellsWeight, p.ServiceWeight, mostWeight, errdefs.ErrInvalidArgument)
	}
	return p, nil
}

// protector applies a Protection. Its paths are from the root of each hierarchy.
type protector struct {
	want           Protection
	root           string // where control groups are mounted
	version        int
	cells, service string
	groups         *cgroup.Manager
}

func (r *Runtime) protector() protector {
	return protector{
		want: r.cfg.Protection, root: r.cfg.CgroupRoot, version: r.groups.Version(),
		cells: r.cgroupRoot, service: r.serviceGroup(), groups: r.groups,
	}
}

// serviceGroup is the group of containerd and its shims, beside that of the cells.
func (r *Runtime) serviceGroup() string { return r.cgroupRoot + "-service" }

// protect bounds the cells as a whole and reports what came of it. The cells'
// group is there already.
func (r *Runtime) protect() []sandbox.Control {
	p := r.protector()
	controls := p.bound()
	if r.supervisor != nil {
		controls = append(controls, p.own(r.supervisor.runningPID()))
	}
	return controls
}

// bound is what holds the cells together. Disk time is a matter of the disk, and
// never required.
func (p protector) bound() []sandbox.Control {
	controls := []sandbox.Control{p.cpu(), p.pids(), p.oom()}
	if p.want.MemoryBytes >= 0 {
		controls = append(controls, p.memory())
	}
	for i := range controls {
		controls[i].Required = p.want.Required
	}
	return append(controls, p.disk())
}

// finding makes a control of what was tried.
func finding(name, detail, remedy string, err error) sandbox.Control {
	if err != nil {
		return sandbox.Control{Name: name, Detail: err.Error(), Remedy: remedy}
	}
	return sandbox.Control{Name: name, Binds: true, Detail: detail}
}

const remedyDelegate = "delegate the controller to the group in which the daemon makes the cells'"

func (p protector) cpu() sandbox.Control {
	got, err := p.groups.SetWeight(p.cells, p.want.CellsWeight)
	return finding("cells_cpu_weight", fmt.Sprintf("all cells together have weight %d of processor time, others 100", got), remedyDelegate, err)
}

// disk gives the cells a share of disk time, where the scheduler of a disk knows
// such a thing.
func (p protector) disk() sandbox.Control {
	files := []string{"io.weight", "io.bfq.weight"}
	base, weight := filepath.Join(p.root, p.cells), p.want.CellsWeight
	if p.version == 1 {
		files = []string{"blkio.bfq.weight", "blkio.weight"}
		base, weight = filepath.Join(p.root, "blkio", p.cells), max(weight, 10)
	}
	var err error
	for _, name := range files {
		var got int64
		if got, err = writeBack(filepath.Join(base, name), min(weight, 1000)); err == nil {
			return finding("cells_io_weight", fmt.Sprintf("all cells together have weight %d of disk time, others 100", got), "", nil)
		}
	}
	return finding("cells_io_weight", "", "use a disk scheduler with weights (bfq), or iocost on cgroup v2", err)
}

func (p protector) memory() sandbox.Control {
	bytes := p.want.MemoryBytes
	if bytes == 0 {
		bytes = cellsMemory(p.ownMemory())
	}
	got, err := p.groups.SetLimits(p.cells, cgroup.Limits{MemoryBytes: bytes})
	return finding("cells_memory_bytes", fmt.Sprintf("all cells together have at most %d MiB", got["memory_bytes"]>>20), remedyDelegate, err)
}

// cellsMemory leaves a part of what there is to everybody else.
func cellsMemory(all int64) int64 {
	return all - min(max(all/8, leastReserve), all/2)
}

// ownMemory is what this process may have: the machine's memory, or less by the
// group that it is in.
func (p protector) ownMemory() int64 {
	least := int64(1<<63 - 1)
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		least = int64(info.Totalram) * int64(info.Unit) //nolint:gosec // bytes of memory
	}
	own, file := ownGroup("memory"), "memory.limit_in_bytes"
	base := filepath.Join(p.root, "memory")
	if p.version == 2 {
		own, file, base = ownGroup(""), "memory.max", p.root
	}
	for dir := own; dir != ""; dir = filepath.Dir(dir) {
		if n, err := readNumber(filepath.Join(base, dir, file)); err == nil && n > 0 {
			least = min(least, n)
		}
		if dir == "/" {
			break
		}
	}
	return least
}

// pids leaves half of the machine's processes to everybody else.
func (p protector) pids() sandbox.Control {
	most, err := readNumber("/proc/sys/kernel/pid_max")
	if err == nil {
		if threads, terr := readNumber("/proc/sys/kernel/threads-max"); terr == nil {
			most = min(most, threads)
		}
		_, err = p.groups.SetLimits(p.cells, cgroup.Limits{Pids: most / 2})
	}
	return finding("cells_pids", fmt.Sprintf("all cells together have at most %d processes and threads", most/2), remedyDelegate, err)
}

// oom tells whether the kernel takes the cells first: their spec puts them there.
func (p protector) oom() sandbox.Control {
	own, err := readNumber("/proc/self/oom_score_adj")
	if err != nil {
		return finding("cells_oom_first", "", "mount /proc", err)
	}
	detail := fmt.Sprintf("when memory runs out, cells (score %d) are killed before the daemon (%d)", oomScore(own), own)
	if oomScore(own) <= own {
		return finding("cells_oom_first", "", "start the daemon with an oom_score_adj below 1000", errors.New("the daemon itself is the first to be killed"))
	}
	return finding("cells_oom_first", detail, "", nil)
}

// oomScore is that of cells beside a daemon's.
func oomScore(own int64) int64 { return min(max(own, 0)+cellsOOMScore, 1000) }

// shieldSpec puts a cell's processes before the daemon when the kernel looks for one
// to kill. To raise the score needs no privilege.
func shieldSpec(spec *specs.Spec) {
	own, err := readNumber("/proc/self/oom_score_adj")
	if err != nil || spec.Process == nil {
		return
	}
	score := int(oomScore(own))
	spec.Process.OOMScoreAdj = &score
}

// own tells of the group of containerd and its shims, in which shield puts them.
func (p protector) own(pid int) sandbox.Control {
	const name = "service_cpu_weight"
	if at := p.processorGroup("self"); at != "/" {
		return finding(name, fmt.Sprintf("containerd is in the daemon's own group %s, beside the cells'", at), "", nil)
	}
	if at := p.processorGroup(strconv.Itoa(pid)); at != p.service {
		return finding(name, "", remedyDelegate, fmt.Errorf("containerd is in group %q and not in one of its own", at))
	}
	got, err := p.groups.SetWeight(p.service, p.want.ServiceWeight)
	return finding(name, fmt.Sprintf("containerd and its shims have weight %d of processor time, cells %d together", got, p.want.CellsWeight), remedyDelegate, err)
}

// processorGroup is the group of a process that shares processor time out.
func (p protector) processorGroup(pid string) string {
	if p.version == 2 {
		return groupOf(pid, "")
	}
	return groupOf(pid, "cpu")
}

// shield gives a containerd that has just started its own group, if nobody else has
// given the daemon one, and a place behind the cells for when memory runs out. What
// cannot be had is told by protect.
func (r *Runtime) shield(pid int) {
	p := r.protector()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(serviceOOMScore)), 0); err != nil {
		r.log.Debug("containerd keeps the daemon's place when memory runs out", "error", err)
	}
	if p.processorGroup("self") != "/" {
		return
	}
	dirs := []string{filepath.Join(p.root, p.service)}
	if p.version == 1 {
		dirs = []string{filepath.Join(p.root, "cpu", p.service), filepath.Join(p.root, "cpuacct", p.service)}
	}
	for _, dir := range dirs {
		err := os.MkdirAll(dir, 0o755) //nolint:gosec // groups are readable everywhere in sysfs
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
		}
		if err != nil {
			r.log.Debug("containerd has no group of its own", "error", err)
			return
		}
	}
}

// ownGroup is this process's group in a controller's hierarchy, or in the unified
// one for the empty name.
func ownGroup(controller string) string { return groupOf("self", controller) }

func groupOf(pid, controller string) string {
	text, err := os.ReadFile("/proc/" + pid + "/cgroup") //nolint:gosec // a number, or self
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // "4:cpu,cpuacct:/path", "0::/path"
		if len(f) != 3 {
			continue
		}
		for name := range strings.SplitSeq(f[1], ",") {
			if name == controller && (name != "" || f[0] == "0") {
				return f[2]
			}
		}
	}
	return ""
}

// writeBack writes a number and reads what the kernel made of it; a weight may read
// back as "default 50".
func writeBack(file string, value int64) (int64, error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0) //nolint:gosec // below the control groups' root
	if err != nil {
		return 0, err
	}
	_, err = f.WriteString(strconv.FormatInt(value, 10))
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	return readNumber(file)
}

func readNumber(file string) (int64, error) {
	text, err := os.ReadFile(file) //nolint:gosec // of the kernel
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(strings.TrimPrefix(first, "default "))
	if len(fields) == 0 {
		return 0, fmt.Errorf("read %s: it is empty", file)
	}
	if n, err := strconv.ParseInt(fields[0], 10, 64); err == nil {
		return n, nil
	}
	return 0, fmt.Errorf("read %s: %q is no number", file, fields[0])
}
