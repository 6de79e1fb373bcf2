package containerd

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// Capabilities implements sandbox.Runtime: what was found at start, with the
// state of the readiness probe now.
func (r *Runtime) Capabilities(ctx context.Context) (sandbox.Capabilities, error) {
	caps := sandbox.Capabilities{
		Kernel: kernelRelease(), CgroupVersion: r.groups.Version(),
		Runtime: r.runtimeVersion(sandbox.IsolationRunc), Controls: append([]sandbox.Control(nil), r.controls...),
	}
	caps.Controls = append(caps.Controls, r.probeFindings(ctx)...)
	if _, ok := r.cfg.Runtimes[sandbox.IsolationGVisor]; ok {
		caps.Controls = append(caps.Controls, r.veiledFinding())
	}
	return caps, nil
}

// probeFindings are what the readiness probe has shown by running in a cell.
func (r *Runtime) probeFindings(ctx context.Context) []sandbox.Control {
	err := r.Ready(ctx)
	r.mu.Lock()
	res := r.probeResult
	r.mu.Unlock()
	seen, usage := res.Receipt, res.Usage
	counters := make([]string, 0, 4)
	for name, value := range map[string]int64{
		"peak memory": usage.MemoryPeakBytes, "peak pids": usage.PidsPeak, "memory kills": usage.OOMKills, "io": usage.IOReadBytes,
	} {
		if value < 0 {
			counters = append(counters, name)
		}
	}
	slices.Sort(counters)
	controls := []sandbox.Control{
		{Name: "cell_process", Required: true, Binds: true, Detail: "a process ran in a cell, behind both walls"},
		{
			Name: "user_namespace", Required: true, Binds: seen.HostUID > 0,
			Detail: fmt.Sprintf("the program is uid %d of the machine", seen.HostUID),
		},
		{
			Name: "seccomp", Required: true, Binds: seen.SeccompMode == 2,
			Detail: fmt.Sprintf("mode %d, filter %.16s", seen.SeccompMode, seen.SeccompSHA256),
		},
		{
			Name: "privileges", Required: true, Binds: seen.NoNewPrivs && seen.CapEffective == 0,
			Detail: fmt.Sprintf("no_new_privs %v, capabilities %#x", seen.NoNewPrivs, seen.CapEffective),
		},
		{Name: "disk_bytes", Required: true, Binds: seen.Enforced["disk_bytes"] > 0, Detail: "the size of a call's tmpfs mounts was read back"},
		{Name: "usage_counters", Binds: len(counters) == 0, Detail: "all counters are there"},
	}
	if len(counters) > 0 {
		controls[5].Detail = "the kernel does not tell " + strings.Join(counters, ", ")
		controls[5].Remedy = "results show them as -1; a newer kernel has them"
	}
	if err != nil {
		for i := range controls {
			controls[i].Binds, controls[i].Detail = false, err.Error()
			controls[i].Remedy = "see the log of the daemon, and containerd/containerd.log in the data directory"
		}
	}
	return controls
}

// probeControls tries what can be tried without a cell.
func (r *Runtime) probeControls() []sandbox.Control {
	controls := r.probeLimits()
	return append(controls, r.probeIDMap(), r.probeIsolation(), r.probeDisk())
}

// probeLimits makes a group, bounds it and reads the bounds back.
func (r *Runtime) probeLimits() []sandbox.Control {
	remedy := map[string]string{
		"memory_bytes": "enable the memory controller (on some kernels cgroup_enable=memory at boot), or delegate it to the daemon's group",
		"cpu_millis":   "enable the cpu controller with CONFIG_CFS_BANDWIDTH, or delegate it to the daemon's group",
		"pids":         "enable the pids controller, or delegate it to the daemon's group",
	}
	group := r.cgroupRoot + "/probe"
	err := r.groups.PrepareParent(r.cgroupRoot)
	if err == nil {
		err = r.groups.Create(group)
	}
	defer func() {
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, errors.New("group stays busy"))
		defer cancel()
		if err := r.groups.Remove(ctx, group); err != nil {
			r.log.Warn("probe's control group not removed", "error", err)
		}
	}()
	var out []sandbox.Control
	for _, limit := range []struct {
		name string
		l    cgroup.Limits
	}{
		{"memory_bytes", cgroup.Limits{MemoryBytes: 64 << 20}},
		{"cpu_millis", cgroup.Limits{CPUMillis: 500}},
		{"pids", cgroup.Limits{Pids: 64}},
	} {
		c := sandbox.Control{Name: limit.name, Required: true, Remedy: remedy[limit.name]}
		lerr := err
		if lerr == nil {
			var got map[string]int64
			got, lerr = r.groups.SetLimits(group, limit.l)
			c.Detail = fmt.Sprintf("written and read back as %d on cgroup v%d", got[limit.name], r.groups.Version())
		}
		if lerr != nil {
			c.Detail = lerr.Error()
		} else {
			c.Binds, c.Remedy = true, ""
		}
		out = append(out, c)
	}
	return append(out, r.probeSwap(group))
}

// probeSwap tells whether the memory bound holds swap too.
func (r *Runtime) probeSwap(group string) sandbox.Control {
	c := sandbox.Control{Name: "memory_swap_bytes"}
	got, err := r.groups.SetLimits(group, cgroup.Limits{MemoryBytes: 64 << 20})
	if _, ok := got["memory_swap_bytes"]; err == nil && ok {
		c.Binds, c.Detail = true, "memory and swap are bounded together"
		return c
	}
	c.Detail = "the kernel does not account swap by group"
	c.Remedy = "turn swap off, or boot with swapaccount=1"
	return c
}

// probeIDMap maps a clone of the data directory's mount.
func (r *Runtime) probeIDMap() sandbox.Control {
	c := sandbox.Control{
		Name: "idmapped_mounts", Detail: "a directory of the machine can be a workspace and its files keep their owner",
	}
	err := func() error {
		userns, err := mount.GetUsernsFD(fmt.Sprintf("0:%d:1", r.cfg.IDBase), fmt.Sprintf("0:%d:1", r.cfg.IDBase))
		if err != nil {
			return err
		}
		defer userns.Close() //nolint:errcheck // only looked at
		tree, err := unix.OpenTree(unix.AT_FDCWD, r.cfg.DataDir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return err
		}
		defer unix.Close(tree) //nolint:errcheck // never attached
		return unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
			Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd()),
		})
	}()
	if err != nil {
		c.Detail = err.Error()
		c.Remedy = "use a kernel from 5.12 on and ext4, xfs, btrfs or tmpfs for workspaces, or workspaces without KeepOwner"
		return c
	}
	c.Binds = true
	return c
}

// probeIsolation runs the OCI runtimes' version command.
func (r *Runtime) probeIsolation() sandbox.Control {
	c := sandbox.Control{Name: "runtime", Required: true}
	if v := r.runtimeVersion(sandbox.IsolationRunc); v != "" {
		c.Binds, c.Detail = true, v
		return c
	}
	c.Detail = "runc does not run"
	c.Remedy = "build it with make runtimes, or put it in PATH"
	return c
}

// required names the required limits that do not bind. Without them nothing runs.
func (r *Runtime) required() error {
	var errs []error
	for _, c := range r.controls {
		if c.Required && !c.Binds {
			errs = append(errs, fmt.Errorf("%s does not bind here (%s): %s: %w", c.Name, c.Detail, c.Remedy, errdefs.ErrFailedPrecondition))
		}
	}
	return errors.Join(errs...)
}

// runtimeVersion is "runc 1.5.2"; empty when the runtime does not tell.
func (r *Runtime) runtimeVersion(isolation sandbox.Isolation) string {
	r.mu.Lock()
	v := r.shown[isolation]
	r.mu.Unlock()
	if v == "" {
		v = r.findVersion(isolation)
		r.mu.Lock()
		r.shown[isolation] = v
		r.mu.Unlock()
	}
	return v
}

func (r *Runtime) findVersion(isolation sandbox.Isolation) string {
	binary, err := r.cfg.findBinary(r.cfg.Runtimes[isolation].Binary)
	if err != nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.versions[binary]; ok {
		return v
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), 5*time.Second, errNoAnswer)
	defer cancel()
	text, err := exec.CommandContext(ctx, binary, "--version").Output() //nolint:gosec // the operator's own binary
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), "\n")
	v := strings.Join(strings.Fields(strings.Replace(first, "version", "", 1)), " ")
	v = strings.Replace(v, unstamped, moduleVersion(binary), 1)
	r.versions[binary] = v
	return v
}

// unstamped is what gVisor says of itself when no other build than Go's own made it.
const unstamped = "VERSION_MISSING"

// moduleVersion is that of the module that a binary was built from.
func moduleVersion(binary string) string {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return unstamped
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Version != "" && strings.HasPrefix(info.Path, m.Path+"/") {
			return m.Version
		}
	}
	return unstamped
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}
