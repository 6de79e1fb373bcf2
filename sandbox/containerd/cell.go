package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// Budgets of a cell's life off the hot path.
const (
	createBudget  = 30 * time.Second
	destroyBudget = 30 * time.Second
	prepareBudget = 10 * time.Second
)

// ownPids are the processes of a call's control group that are not the call's:
// the fork server of the slot and the stage.
const ownPids = 2

// aCell is one container with init in it. Fields above mu are set once before it
// is shared; a cell that is claimed belongs to the claiming goroutine alone.
type aCell struct {
	id    string
	class class
	path  string // control group, from the root of each hierarchy
	leaf  string // control group of init within it
	born  time.Time
	conn  *cell.Conn
	link  *link
	hello cell.Hello
	task  ctd.Task
	cont  ctd.Container
	shim  seat          // its place in a shim that it shares
	gone  chan struct{} // closed when init has ended
	code  uint32        // its exit code, valid after gone

	key     string           // reuse key that it belongs to; guarded by the pool
	since   time.Time        // when it became idle; guarded by the pool
	calls   int64            // calls that it has served
	slots   [cell.Slots]slot // owned by the claiming goroutine, and by staging while that is not done
	next    int64            // number of the next call's control group; as slots
	staging *staging         // the next stage, being made or ready
	look    []byte           // memory for a look at a process; staging's
	heavy   time.Time        // when its last call was seen to be a heavy one; guarded by heavies
	alarm   *alarm           // of its calls, a piece of memory of its own: its timer may outlive the cell; nil before the first
	outer   cgroup.Limits    // of the cell as a whole, as last written and read back
	disk    int64            // bytes of its last call's file systems, 0 before; as slots

	gofer    *os.File   // in /proc, the process of a veiled cell in whose mount namespace its directory is
	outside  evidence   // of gVisor's process, in a veiled cell
	wanted   *workspace // what its last call had; as slots
	attached *workspace // what is mounted in it for further calls; as slots
}

// slot is where a stage is made: one serves a call while the other gets the next
// stage ready.
type slot struct {
	server int           // pid of its fork server on the machine
	group  *cgroup.Group // of its calls, with the fork server in it
	seen   evidence      // of its last stage
	worn   bool          // group needs to be renewed before the next call
}

// staging is a stage being prepared in the background.
type staging struct {
	slot  int
	spec  cell.Stage
	done  chan struct{} // closed when the rest is set
	group *cgroup.Group // of the call to come, with the holder in it
	stage int           // pid of the stage on the machine
	proof cell.Proof
	seen  evidence // of the holder
	err   error

	attached *workspace // what it has at its workspace from its beginning, nil if it has nothing
}

// nextSpec is the stage that a cell most likely needs next, in a slot. ready
// says that it can be asked for at once: nothing is to be done on this side first.
func (r *Runtime) nextSpec(c *aCell, slot int) (spec cell.Stage, ready bool) {
	spec = cell.Stage{Slot: slot, DiskBytes: cmp.Or(c.disk, r.last().disk)}
	if c.wanted != nil {
		spec.Workspace = cell.WorkspaceCell
	}
	if c.class.veiled() {
		if c.wanted != nil {
			spec.Workspace = cell.WorkspaceBelow
		}
		return spec, true
	}
	return spec, !c.slots[slot].worn && c.wanted.same(c.attached)
}

// prepareNext starts to make the next stage, in a slot whose last call is over,
// off the hot path. One at a time.
func (r *Runtime) prepareNext(c *aCell, slot int) {
	s := &staging{slot: slot, done: make(chan struct{})}
	c.staging = s
	r.background.Go(func() {
		defer close(s.done)
		ctx, cancel := context.WithTimeoutCause(context.Background(), prepareBudget, errors.New("no stage in time"))
		defer cancel()
		s.err = r.prepare(ctx, c, s)
	})
}

func (r *Runtime) prepare(ctx context.Context, c *aCell, s *staging) error {
	var ready bool
	if s.spec, ready = r.nextSpec(c, s.slot); !ready {
		if c.slots[s.slot].worn {
			if err := r.renew(c, s.slot); err != nil {
				return err
			}
		}
		if err := r.attachForNext(c); err != nil {
			r.log.Debug("workspace not kept for the next call", "cell_id", c.id, "error", err)
			if c.attached != nil {
				return err
			}
			s.spec.Workspace = cell.WorkspaceEphemeral // the call itself will tell what is wrong
		}
	}
	if s.spec.Workspace == cell.WorkspaceCell {
		s.attached = c.attached
	}
	s.group = c.slots[s.slot].group
	prepared, err := c.conn.Prepare(ctx, s.spec)
	if err != nil {
		return fmt.Errorf("prepare a stage: %w", err)
	}
	if prepared.Slot != s.slot {
		return fmt.Errorf("stage came in slot %d, asked for in %d: %w", prepared.Slot, s.slot, errdefs.ErrInternal)
	}
	s.proof = prepared.Proof
	if c.class.veiled() {
		return r.believe(c, s)
	}
	if err := r.findStage(c, s, prepared); err != nil {
		return err
	}
	return r.verify(s.seen)
}

// renew gives a slot a new control group: what the kernel cannot reset of the
// old one's counters would be told of the next call.
func (r *Runtime) renew(c *aCell, at int) error {
	s := &c.slots[at]
	group, err := r.groups.Group(fmt.Sprintf("%s/call-%d", c.path, c.next), ownPids)
	if err != nil {
		return err
	}
	c.next++
	if err := group.Add(s.server); err != nil {
		group.Close()
		return fmt.Errorf("fork server of slot %d: %w", at, err)
	}
	if last := r.last(); last.inner != (cgroup.Limits{}) {
		_, _ = group.SetLimits(last.inner) // ahead of time; the call sets its own and looks
	}
	old := s.group
	s.group, s.worn = group, false
	if old != nil {
		old.Close()
		r.background.Go(func() { r.removeGroup(old.Path()) })
	}
	return nil
}

// limits are what calls had last: most likely the next ones have the same.
type limits struct {
	inner cgroup.Limits
	disk  int64
}

// last is what the last call had.
func (r *Runtime) last() limits {
	if l := r.lastLimits.Load(); l != nil {
		return *l
	}
	return limits{}
}

// findForkServers finds the machine's pids of a cell's fork servers.
func (r *Runtime) findForkServers(c *aCell) error {
	pids, err := r.groups.Procs(c.leaf)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		status, err := readStatus(pid)
		if err != nil || len(status.ids) != 2 {
			continue
		}
		for i, want := range c.hello.ForkServers {
			if status.ids[1] == want {
				c.slots[i].server = pid
			}
		}
	}
	for i, s := range c.slots {
		if s.server == 0 {
			return fmt.Errorf("fork server %d of cell %s is not among its %d processes: %w", c.hello.ForkServers[i], c.id, len(pids), errdefs.ErrInternal)
		}
	}
	return nil
}

// findStage finds the machine's pids of a stage and its holder in their control
// group, where beside them is only the fork server, and inspects the holder. Its
// parent is the stage: that needs no look at a second process.
func (r *Runtime) findStage(c *aCell, s *staging, p cell.Prepared) error {
	pids, err := s.group.Procs()
	if err != nil {
		return err
	}
	pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == c.slots[s.slot].server })
	if len(pids) != 2 {
		return fmt.Errorf("%d processes beside the fork server are in the group of the next call in cell %s, want a stage and its holder: %w", len(pids), c.id, errdefs.ErrInternal)
	}
	slices.Sort(pids)
	for _, at := range []int{1, 0} { // the holder is the younger one, until pids begin again
		status, err := readStatusInto(c.look[:0], pids[at])
		if err != nil {
			return fmt.Errorf("look for the stage of cell %s: %w", c.id, err)
		}
		c.look = status.text
		if n := len(status.ids); n < 2 || status.ids[n-1] != p.HolderPID || status.parent != pids[1-at] {
			continue
		}
		s.stage = pids[1-at]
		s.seen, err = status.evidence(c.slots[s.slot].seen)
		c.slots[s.slot].seen = s.seen
		return err
	}
	return fmt.Errorf("holder %d of cell %s, or its stage, is not among its processes: %w", p.HolderPID, c.id, errdefs.ErrInternal)
}

// watch closes gone when init ends. A containerd that went away says nothing
// about the cell; then the end of the connection is the sign.
func (c *aCell) watch(exited <-chan ctd.ExitStatus) {
	status := <-exited
	if status.Error() != nil {
		return
	}
	c.code = status.ExitCode()
	close(c.gone)
}

// alive reports whether init is not known to have ended. The end of the
// connection tells it sooner than containerd does, and also when containerd was
// away.
func (c *aCell) alive() bool {
	select {
	case <-c.gone:
		return false
	default:
		return c.conn == nil || !c.conn.Ended()
	}
}

// prepared reports whether an idle cell has its next stage, or failed to make it.
func (c *aCell) prepared() bool {
	if c.staging == nil {
		return true
	}
	select {
	case <-c.staging.done:
		return true
	default:
		return false
	}
}
