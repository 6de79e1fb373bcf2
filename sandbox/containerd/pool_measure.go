package containerd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// shimLookEvery is how often the memory of the shims is read anew: that means to
// look at every process of the machine.
const shimLookEvery = 30 * time.Second

func (r *Runtime) poolConfig() poolConfig {
	return poolConfig{
		maker: r, standard: r.standardClass(),
		floor: r.cfg.PoolSize, ceiling: r.cfg.PoolCeiling, maxCells: r.cfg.MaxCells, makers: r.cfg.Makers,
		idleTimeout: r.cfg.IdleTimeout, maxAge: r.cfg.MaxAge, maxCalls: r.cfg.MaxCalls, idleMemory: r.cfg.IdleMemoryBytes,
		ctx: r.ctx, background: &r.background, log: r.log,
	}
}

// idleBytes is what the kernel accounts to the cell's control group, and the
// cell's part of the shims.
func (r *Runtime) idleBytes(c *aCell) int64 {
	own := groupBytes(r.cfg.CgroupRoot, c.path)
	if own <= 0 {
		return 0
	}
	return own + r.shimShare()
}

// groupBytes reads the memory in use of a group and those below it, on both kinds
// of control groups; 0 if it is not told.
func groupBytes(root, path string) int64 {
	for _, file := range []string{
		filepath.Join(root, path, "memory.current"), filepath.Join(root, "memory", path, "memory.usage_in_bytes"),
	} {
		text, err := os.ReadFile(file) //nolint:gosec // below the control groups' root
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			return n
		}
	}
	return 0
}

// shimShare is the memory of all shims, divided by the cells in them.
func (r *Runtime) shimShare() int64 {
	if r.shims == nil {
		return 0
	}
	cells := r.shims.count()
	r.shimLook.Lock()
	defer r.shimLook.Unlock()
	if time.Since(r.shimSeen) > shimLookEvery || r.shimBytes == 0 {
		r.shimBytes, r.shimSeen = r.readShims(), time.Now()
	}
	return r.shimBytes / int64(max(cells, 1))
}

// readShims adds up what the shims of this runtime take. They are found by the
// socket of the private containerd, which is an argument of theirs; those of another
// containerd serve others too.
func (r *Runtime) readShims() int64 {
	if r.cfg.Address != "" {
		return 0
	}
	pids, err := processesWith([]string{filepath.Join(r.cfg.RunDir, "containerd.sock")})
	if err != nil {
		return 0
	}
	sum := int64(0)
	for _, pid := range pids {
		sum += proportionalBytes(pid)
	}
	return sum
}

// proportionalBytes is a process's memory with its part of what it shares; 0 if it
// is gone.
func proportionalBytes(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	_, rest, ok := bytes.Cut(text, []byte("\nPss:"))
	if !ok {
		return 0
	}
	kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}
