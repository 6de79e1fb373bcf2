package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	ctdsandbox "github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/sandgate/sandgate/sandbox"
)

// annotationGroup makes the runc shim serve all containers of a group.
const annotationGroup = "io.containerd.runc.v2.group"

// shimDeleter stands in for the shim's program when a task is deleted. Without it
// that program is run as a whole for every cell.
const shimDeleter = "sandgate-shim"

const (
	// shimTotal is how many it serves in its life, so that none grows for ever.
	shimTotal = 512
	// shimAPI is the version of the task service that a grouped shim speaks.
	shimAPI = 3
	// exitBudget is how long containerd may take to notice that a killed init ended.
	exitBudget = 2 * time.Second
)

// shims puts cells into groups that share a shim, so that most cells start no
// process of their own in containerd's way of making them. It is safe for
// concurrent use.
type shims struct {
	state string // containerd's directory of tasks; empty when it cannot be read
	bound int    // cells of a group

	mu     sync.Mutex
	groups []*shimGroup // those that may take another cell
	ready  *sync.Cond   // signalled when a cell has joined or failed to
}

// seat is a cell's place in a group.
type seat struct {
	group   *shimGroup // nil: it has none, or no more
	address string     // of the shim; empty if containerd is to start or to find it
}

// shimGroup is the cells of one shim. Its fields are guarded by shims.mu.
type shimGroup struct {
	id      string
	kind    sandbox.Isolation
	address string // of the shim; empty until its first cell has its task
	cells   int    // that have their task in it
	joining int    // that are getting it
	leaving int    // of cells, those whose task is being deleted
	total   int    // that ever joined
}

func newShims(state string, bound int) *shims {
	s := &shims{state: state, bound: bound}
	s.ready = sync.NewCond(&s.mu)
	return s
}

// join finds a group for a cell about to be made; joined must be called after.
func (s *shims) join(kind sandbox.Isolation) seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	var g *shimGroup
	for _, have := range s.groups {
		// One that is being emptied would end under the newcomer.
		if have.kind != kind || have.cells <= have.leaving || have.cells+have.joining >= s.bound {
			continue
		}
		if g == nil || have.cells > g.cells {
			g = have
		}
	}
	if g == nil {
		g = &shimGroup{id: "g" + randomHex(8), kind: kind}
		s.groups = append(s.groups, g)
	}
	g.joining++
	g.total++
	if g.total >= shimTotal {
		s.drop(g)
	}
	return seat{group: g, address: g.address}
}

// joined tells how the making of a cell's task in a group ended.
func (s *shims) joined(g *shimGroup, cellID string, ok bool) {
	address := ""
	if ok && s.state != "" {
		address = s.addressOf(cellID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g.joining--
	switch {
	case ok:
		g.cells++
		if g.address == "" {
			g.address = address
		}
	default: // its shim may be gone or sick: whoever comes next gets another
		s.drop(g)
	}
	s.ready.Broadcast()
}

// leave is to be called before a cell's task is deleted. A shim ends with its
// last task: while others are about to join, this waits for them.
func (s *shims) leave(g *shimGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.leaving++
	for g.cells <= g.leaving && g.joining > 0 {
		s.ready.Wait()
	}
}

// left tells that a cell's task is deleted, or that it is not.
func (s *shims) left(g *shimGroup, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.leaving--
	if gone {
		g.cells--
	}
	if g.cells == 0 && g.joining == 0 {
		s.drop(g)
		removeSocket(g.address)
	}
}

// removeSocket removes what a shim that ends with its last task leaves of its
// socket: a grouped one does not do so itself. Nobody connects to it any more.
func removeSocket(address string) {
	if _, path, ok := strings.Cut(address, "unix://"); ok && filepath.IsAbs(path) {
		_ = os.Remove(path) // a dead name in the run directory, which goes with the daemon at the latest
	}
}

// count is how many cells have their task in a shim that takes more.
func (s *shims) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, g := range s.groups {
		n += g.cells
	}
	return n
}

// drop takes no more cells into a group; s.mu is held.
func (s *shims) drop(g *shimGroup) {
	s.groups = slices.DeleteFunc(s.groups, func(have *shimGroup) bool { return have == g })
}

// addressOf reads where the shim of a cell's task listens; empty when that cannot
// be told, so that containerd asks the shim's own program instead.
func (s *shims) addressOf(cellID string) string {
	text, err := os.ReadFile(filepath.Join(s.state, cellID, "bootstrap.json")) //nolint:gosec // containerd's own directory
	if err != nil {
		return ""
	}
	var boot struct {
		Version  int    `json:"version"`
		Protocol string `json:"protocol"`
		Address  string `json:"address"`
	}
	if json.Unmarshal(text, &boot) != nil || boot.Version != shimAPI || boot.Address == "" {
		return ""
	}
	return boot.Protocol + "+" + boot.Address
}

// prepareShims makes what grouped containers refer to in containerd: a sandbox
// record with nothing behind it, and a lease so that none is made for each cell.
func (r *Runtime) prepareShims(ctx context.Context) error {
	state := ""
	if r.cfg.Address == "" {
		state = filepath.Join(r.cfg.RunDir, "containerd", "io.containerd.runtime.v2.task", r.cfg.Namespace)
	}
	r.shims = newShims(state, r.cfg.CellsPerShim)
	if path, err := r.cfg.findBinary(shimDeleter); err == nil && state != "" {
		r.deleter = path
	}
	_, err := r.conn.SandboxStore().Create(ctx, ctdsandbox.Sandbox{
		ID: r.shimSandbox(), Sandboxer: "shim", Runtime: ctdsandbox.RuntimeOpts{Name: runcShim},
		Labels: map[string]string{labelInstance: r.instance},
	})
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("make the cells' group in containerd: %w", err)
	}
	_, err = r.conn.LeasesService().Create(ctx, leases.WithID(r.shimSandbox()))
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("make the cells' lease in containerd: %w", err)
	}
	return nil
}

func (r *Runtime) shimSandbox() string { return "sandgate-" + r.instance }

// leased keeps containerd's client from making and removing a lease of its own for
// a cell of the host image. What images are unpacked to must not be held for ever.
func (r *Runtime) leased(ctx context.Context, c *aCell) context.Context {
	if c.class.digest != "" {
		return ctx
	}
	return leases.WithLease(ctx, r.shimSandbox())
}

// forgetShims removes what prepareShims has made.
func (r *Runtime) forgetShims(ctx context.Context) error {
	if r.shims == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reapBudget, errNoAnswer)
	defer cancel()
	return errors.Join(
		ignoreNotFound(r.conn.SandboxStore().Delete(ctx, r.shimSandbox())),
		ignoreNotFound(r.conn.LeasesService().Delete(ctx, leases.Lease{ID: r.shimSandbox()})),
	)
}

// joinShim finds the cell a place, before its container is made; newTask or
// deleteTask must follow. The container is to be made with what it returns. Only
// the runc shim has groups.
func (r *Runtime) joinShim(c *aCell, spec *specs.Spec) []ctd.NewContainerOpts {
	shieldSpec(spec)
	if r.cfg.Runtimes[c.class.isolation].Shim != runcShim {
		return nil
	}
	c.shim = r.shims.join(c.class.isolation)
	spec.Annotations = map[string]string{annotationGroup: c.shim.group.id}
	if c.shim.address == "" {
		return nil
	}
	return []ctd.NewContainerOpts{ctd.WithSandbox(r.shimSandbox())}
}

// newTask makes the task of a cell's container, in the shim of its group.
func (r *Runtime) newTask(ctx context.Context, c *aCell, creator cio.Creator) error {
	var opts []ctd.NewTaskOpts
	if c.shim.address != "" {
		opts = append(opts, ctd.WithTaskAPIEndpoint(c.shim.address, shimAPI), withoutOptions)
		if r.deleter != "" && !c.class.veiled() { // it knows what runc leaves
			opts = append(opts, ctd.WithRuntimePath(r.deleter))
		}
	}
	task, err := c.cont.NewTask(ctx, creator, opts...)
	if c.shim.group != nil {
		r.shims.joined(c.shim.group, c.id, err == nil)
	}
	if err != nil {
		c.shim = seat{}
		return fmt.Errorf("create task: %w", err)
	}
	c.task = task
	return nil
}

// withoutOptions lets those of the container hold: the endpoint is told to older
// versions of containerd through options, which would replace them.
func withoutOptions(_ context.Context, _ *ctd.Client, info *ctd.TaskInfo) error {
	info.Options = nil
	return nil
}

// deleteTask removes a cell's task and container. Its processes have been killed.
// It is safe to repeat.
func (r *Runtime) deleteTask(ctx context.Context, c *aCell) error {
	var errs []error
	group := c.shim.group
	switch {
	case c.task != nil:
		if group != nil {
			r.shims.leave(group)
		}
		err := r.deleteEnded(ctx, c)
		if group != nil {
			r.shims.left(group, err == nil)
		}
		if err == nil {
			c.shim, c.task = seat{}, nil
		}
		errs = append(errs, err)
	case group != nil: // its container could not be made
		r.shims.joined(group, c.id, false)
		c.shim = seat{}
	}
	switch {
	case c.cont == nil:
	case c.class.digest == "": // without the client's questions before it
		errs = append(errs, ignoreNotFound(r.conn.ContainerService().Delete(ctx, c.id)))
	default:
		errs = append(errs, ignoreNotFound(c.cont.Delete(ctx, ctd.WithSnapshotCleanup)))
	}
	return errors.Join(errs...)
}

// deleteEnded waits until containerd knows that init has ended, which spares the
// runtime a process that kills what is dead already. If it does not hear of it,
// containerd is to kill.
func (r *Runtime) deleteEnded(ctx context.Context, c *aCell) error {
	select {
	case <-c.gone:
		// The client would ask for the state first, which is known.
		_, err := r.conn.TaskService().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: c.id})
		if err == nil || grpcstatus.Code(err) == codes.NotFound {
			return nil
		}
	case <-time.After(exitBudget):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	_, err := c.task.Delete(ctx, ctd.WithProcessKill)
	return ignoreNotFound(err)
}
