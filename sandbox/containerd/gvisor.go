package containerd

import (
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cgroup"
	"github.com/sandgate/sandgate/sandbox/oci"
)

// A cell in gVisor is veiled: its programs run on a kernel of their own, and the
// machine sees that kernel's process and threads but none of the cell's. So there
//
//   - memory and processor time of a call are those of the cell as a whole, gVisor's
//     own part included, bounded and counted in the cell's control group;
//   - processes are bounded inside, by an rlimit;
//   - what init reads about a call's process is all there is to know of it: the
//     receipt names it as not verified by the machine. Of the outer wall the machine
//     verifies gVisor's own process;
//   - a directory cannot be taken away again: a cell has the first one for life.
const (
	// veiledLeastBytes is the least memory of a call, since gVisor lives on it too.
	veiledLeastBytes = 64 << 20
	// veiledPids bounds gVisor's own threads and processes, of which it has several
	// for each one of the call's. It is a backstop, no limit of the call.
	veiledPids       = 1024
	veiledPidsPerPid = 4
	// veiledCells is how many cells a key's calls take in turn while one comes after
	// the other: making a stage takes as long as a short program there, and while one
	// cell does so the other runs the next call.
	veiledCells = 2
	// veiledRoom must be free below a limit of memory that is set while in use.
	veiledRoom = 8 << 20
)

// veiled reports whether the machine sees nothing of what runs in such a cell.
func (cl class) veiled() bool { return cl.isolation == sandbox.IsolationGVisor }

// meetVeiled looks at gVisor's process as the machine sees it.
func (r *Runtime) meetVeiled(c *aCell) error {
	if err := r.meetGofer(c); err != nil {
		return err
	}
	status, err := readStatus(int(c.task.Pid()))
	if err != nil {
		return err
	}
	if c.outside, err = status.evidence(evidence{}); err != nil {
		return err
	}
	if err := r.verifyVeil(c.outside); err != nil {
		return err
	}
	group := r.groups.At(c.path, 0)
	for i := range c.slots {
		c.slots[i].group = group
	}
	return nil
}

// verifyVeil refuses a gVisor that is not behind the outer wall itself.
func (r *Runtime) verifyVeil(e evidence) error {
	fault := ""
	switch {
	case e.uid < int(r.cfg.IDBase) || e.uid >= int(r.cfg.IDBase+r.cfg.IDCount):
		fault = fmt.Sprintf("runs as uid %d", e.uid)
	case e.seccompMode != 2:
		fault = fmt.Sprintf("has seccomp mode %d, want its own filter", e.seccompMode)
	}
	for _, name := range namespaceNames() {
		if e.namespaces[name] == r.ownNamespaces[name] {
			fault = "shares the machine's " + name + " namespace"
		}
	}
	if fault != "" {
		return fmt.Errorf("the outer wall is not up: gVisor's process %s: %w", fault, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// believe takes init's word for a stage and its holder, and refuses what it would
// refuse of the machine's.
func (r *Runtime) believe(c *aCell, s *staging) error {
	p := s.proof
	s.stage = int(c.task.Pid())
	s.seen = evidence{
		uid: c.outside.uid, noNewPrivs: p.NoNewPrivs, seccompMode: p.SeccompMode,
		capEffective: p.CapEffective, capPermitted: p.CapPermitted, capBounding: p.CapBounding, namespaces: p.Namespaces,
	}
	fault := ""
	switch {
	case p.UID != cell.PayloadUID || p.GID != cell.PayloadGID:
		fault = fmt.Sprintf("runs as %d:%d", p.UID, p.GID)
	case !p.NoNewPrivs:
		fault = "may gain privileges"
	case p.SeccompMode != 2 || p.SeccompSHA256 != c.hello.SeccompSHA256:
		fault = fmt.Sprintf("has seccomp mode %d", p.SeccompMode)
	case p.CapEffective|p.CapPermitted|p.CapInheritable|p.CapBounding|p.CapAmbient != 0:
		fault = "has capabilities"
	}
	if fault != "" {
		return fmt.Errorf("the inner wall is not up: init says that the prepared process %s: %w", fault, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// notVerified are the fields of a receipt that nobody but a veiled cell's init has seen.
func notVerified() []string {
	return []string{
		"pids", "open_files", "file_bytes", "disk_bytes",
		"uid", "no_new_privs", "seccomp_mode", "seccomp_sha256", "cap_effective", "cap_bounding", "namespaces",
	}
}

// boundVeiled bounds a veiled cell as a whole to what its call may have.
func (u *running) boundVeiled() error {
	l := u.call.Limits
	// Some kernels would kill the cell for a limit below what it has.
	if have := groupBytes(u.r.cfg.CgroupRoot, u.c.path); have+veiledRoom > l.MemoryBytes {
		return fmt.Errorf("bound call %s: the idle cell has %d bytes of memory already, with a limit of %d: %w",
			u.call.ID, have, l.MemoryBytes, errdefs.ErrFailedPrecondition)
	}
	got, err := u.stage.group.SetLimits(cgroup.Limits{
		MemoryBytes: l.MemoryBytes, CPUMillis: l.CPUMillis, Pids: l.Pids*veiledPidsPerPid + veiledPids,
	})
	if err != nil {
		return fmt.Errorf("bound call %s: %w", u.call.ID, err)
	}
	delete(got, "pids") // init bounds and reads it
	u.enforced = got
	return nil
}

// veiledTries is how often gVisor is tried at start.
const veiledTries = 3

// probeVeiled runs a process in gVisor, to tell whether calls could.
func (r *Runtime) probeVeiled() {
	for try := 1; ; try++ {
		_, err := r.probeOnce(sandbox.IsolationGVisor, 2*veiledLeastBytes)
		r.mu.Lock()
		r.unveiled = err
		r.mu.Unlock()
		if err == nil || r.ctx.Err() != nil {
			return
		}
		r.log.Warn("gVisor does not run here", "error", err)
		if try == veiledTries {
			return
		}
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(failBackoffFirst << (2 * try)):
		}
	}
}

// veiledFinding tells what came of probeVeiled.
func (r *Runtime) veiledFinding() sandbox.Control {
	r.mu.Lock()
	err := r.unveiled
	r.mu.Unlock()
	return finding("isolation_gvisor", "a program ran in "+r.runtimeVersion(sandbox.IsolationGVisor),
		"build runsc with make runtimes or put it in PATH, and see the log of the daemon; calls that demand it fail until then", err)
}

// usageVeiled is what a veiled cell's control group tells of a call.
func (u *running) usageVeiled(g cgroup.Usage) cgroup.Usage {
	g.PidsPeak, g.PidsLimitHits = -1, -1 // of gVisor's own threads
	if u.c.calls > 0 && !u.stage.group.Resets() {
		g.MemoryPeakBytes = -1
	}
	return g
}

// checkVeiled refuses what gVisor cannot give a call. Of its mount namespaces the
// machine sees nothing, so it can neither mount parts of the workspace there nor tell
// whether they are mounted.
func checkVeiled(call *sandbox.Call) error {
	if call.Isolation == sandbox.IsolationGVisor && len(call.Mounts) > 0 {
		return fmt.Errorf("mounts of parts of the workspace cannot be made with isolation %q: use %q, or workspace ro: %w",
			sandbox.IsolationGVisor, sandbox.IsolationRunc, errdefs.ErrFailedPrecondition)
	}
	if call.Isolation == sandbox.IsolationGVisor && call.Workspace.Transaction {
		return fmt.Errorf("an overlay of the workspace cannot be made with isolation %q: use %q, or workspace ro: %w",
			sandbox.IsolationGVisor, sandbox.IsolationRunc, errdefs.ErrFailedPrecondition)
	}
	if call.Isolation == sandbox.IsolationGVisor && call.Terminal != nil {
		return fmt.Errorf("a terminal cannot be had with isolation %q: use %q, or no terminal: %w",
			sandbox.IsolationGVisor, sandbox.IsolationRunc, errdefs.ErrFailedPrecondition)
	}
	if call.Isolation == sandbox.IsolationGVisor && call.Limits.MemoryBytes < veiledLeastBytes {
		return fmt.Errorf("limit memory_bytes is %d: gVisor's own kernel lives on it too, want at least %d with isolation %q: %w",
			call.Limits.MemoryBytes, veiledLeastBytes, sandbox.IsolationGVisor, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// veil is what the spec of a veiled cell has beyond others.
func (r *Runtime) veil(c *aCell, desc *oci.Cell) error {
	if !c.class.veiled() {
		return nil
	}
	desc.GiveAway = true
	// A signal with which init's runtime interrupts itself is four system calls and two
	// ways into gVisor, on the program's processor. Init has no goroutine that computes.
	desc.InitEnv = []string{"GODEBUG=asyncpreemptoff=1"}
	desc.Pids = veiledPids
	desc.Workspace, desc.WorkspaceReadOnly = r.boundDirs(), c.class.readOnly
	return r.makeBound()
}
