package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
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

// aCell is one container with init in it. Fields above mu are set once before it
// is shared; a cell that is claimed belongs to the claiming goroutine alone.
type aCell struct {
	id    string
	class class
	path  string // control group, from the root of each hierarchy
	leaf  string // control group of init within it
	born  time.Time
	conn  *cell.Conn
	pipes *pipes
	hello cell.Hello
	task  ctd.Task
	cont  ctd.Container
	shim  seat          // its place in a shim that it shares
	gone  chan struct{} // closed when init has ended
	code  uint32        // its exit code, valid after gone

	key     string        // reuse key that it belongs to; guarded by the pool
	since   time.Time     // when it became idle; guarded by the pool
	calls   int64         // calls that it has served
	next    int64         // number of the next call's control group
	staging *staging      // the next stage, being made or ready
	outer   cgroup.Limits // of the cell as a whole, as last written and read back
}

// staging is a stage being prepared in the background.
type staging struct {
	done  chan struct{} // closed when the rest is set
	group string        // control group of the call to come, with the holder in it
	stage int           // pid of the stage on the machine
	proof cell.Proof
	seen  evidence // of the holder
	err   error
}

// prepareNext starts to make the next stage and the control group of the next
// call, off the hot path. One at a time.
func (r *Runtime) prepareNext(c *aCell) {
	s := &staging{done: make(chan struct{}), group: fmt.Sprintf("%s/call-%d", c.path, c.next)}
	c.next++
	c.staging = s
	r.background.Go(func() {
		defer close(s.done)
		ctx, cancel := context.WithTimeoutCause(context.Background(), prepareBudget, errors.New("no stage in time"))
		defer cancel()
		s.err = r.prepare(ctx, c, s)
	})
}

func (r *Runtime) prepare(ctx context.Context, c *aCell, s *staging) error {
	if err := r.groups.Create(s.group); err != nil {
		return err
	}
	prepared, err := c.conn.Prepare(ctx)
	if err != nil {
		return fmt.Errorf("prepare a stage: %w", err)
	}
	s.proof = prepared.Proof
	stage, holder, err := r.findStage(c, prepared)
	if err != nil {
		return err
	}
	s.stage = stage
	if s.seen, err = inspect(holder); err != nil {
		return err
	}
	if err := r.verify(s.seen); err != nil {
		return err
	}
	return r.groups.Add(s.group, holder)
}

// findStage finds the machine's pids of a stage and its holder among the
// processes of the cell's own control group.
func (r *Runtime) findStage(c *aCell, p cell.Prepared) (stage, holder int, err error) {
	pids, err := r.groups.Procs(c.leaf)
	if err != nil {
		return 0, 0, err
	}
	seen := map[int][]int{}
	for _, pid := range pids {
		ids, err := namespacePIDs(pid)
		if err != nil || len(ids) < 3 {
			continue // init itself, or a process that has just ended
		}
		seen[pid] = ids
		if ids[len(ids)-1] == 1 && ids[len(ids)-2] == p.StagePID {
			stage = pid
		}
	}
	if stage == 0 {
		return 0, 0, fmt.Errorf("stage %d of cell %s is not among its %d processes: %w", p.StagePID, c.id, len(pids), errdefs.ErrInternal)
	}
	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", stage))
	if err != nil {
		return 0, 0, fmt.Errorf("read stage's namespace: %w", err)
	}
	for pid, ids := range seen {
		if ids[len(ids)-1] != p.HolderPID {
			continue
		}
		if have, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err == nil && have == want {
			return stage, pid, nil
		}
	}
	return 0, 0, fmt.Errorf("holder %d of cell %s is not among its %d processes: %w", p.HolderPID, c.id, len(pids), errdefs.ErrInternal)
}

// namespacePIDs returns a process's ids from the machine's namespace inwards.
func namespacePIDs(pid int) ([]int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, err
	}
	_, rest, ok := bytes.Cut(text, []byte("\nNSpid:"))
	if !ok {
		return nil, fmt.Errorf("process %d has no NSpid", pid)
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	var ids []int
	for f := range bytes.FieldsSeq(line) {
		id, err := strconv.Atoi(string(f))
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
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
