package containerd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/types/runc/options"
	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/failpoint"
	"github.com/sandgate/sandgate/sandbox/gowatch"
	"github.com/sandgate/sandgate/sandbox/oci"
)

// labelInstance marks the containers of one data directory.
const labelInstance = "io.sandgate.instance"

// What a cell may use beyond its call, and before its first one.
const (
	overheadBytes = 96 << 20
	overheadPids  = 128
	freshBytes    = 256 << 20
)

// class says what a cell is made of; cells of one class are alike. The profile of policy
// is no part of it: a fresh cell is nobody's, and what policy demands of a call is set on
// the cell that the call claims. Memory, processes and processor time are limits of its
// control groups; disk, file size, open files, output and deadline go with init's Exec;
// the workspace, transactions and the mounts in it are mounted when it is claimed; reuse is
// the key under which it is kept afterwards; network "none" is what every cell has. Of the
// obligations isolation alone makes another class, and in gVisor also those that its cells
// have from their beginning: a workspace that is read only, and cpu_millis beyond one
// processor.
type class struct {
	image     string // name as asked
	digest    string // of the image's target; empty for the host image
	isolation sandbox.Isolation
	dir       workspace // of veiled ones: the directory that a cell has, from its first call on; zero for none, and of those just made
	readOnly  bool      // of veiled ones: that directory cannot be written to
	wide      bool      // veiled ones: they are on all processors, not on one
}

// createCell makes a cell that waits for its first call with a stage prepared.
// Whatever an error leaves behind is removed.
func (r *Runtime) createCell(ctx context.Context, cl class) (_ *aCell, err error) {
	c := &aCell{id: "c" + randomHex(8), class: cl, born: time.Now(), gone: make(chan struct{})}
	c.path = r.cgroupRoot + "/" + c.id
	c.leaf = r.groups.Leaf(c.path)
	defer func() {
		if err != nil {
			err = fmt.Errorf("make cell %s: %w", c.id, err)
			if derr := r.destroyCell(context.WithoutCancel(ctx), c); derr != nil {
				r.log.Error("cell not removed", "cell_id", c.id, "error", derr)
			}
		}
	}()
	// gVisor reaches no socket of the machine.
	if c.link, err = openLink(filepath.Join(r.cfg.RunDir, "io", c.id), cl.isolation != sandbox.IsolationRunc); err != nil {
		return nil, err
	}
	failpoint.At(failpoint.CellLinked)
	if err := r.createContainer(ctx, c); err != nil {
		return nil, err
	}
	failpoint.At(failpoint.CellContainer)
	if err := r.newTask(ctx, c, c.link.creator); err != nil {
		return nil, err
	}
	failpoint.At(failpoint.CellTask)
	exited, err := c.task.Wait(context.WithoutCancel(ctx))
	if err != nil {
		return nil, fmt.Errorf("wait for task: %w", err)
	}
	go c.watch(exited)
	// The shim holds a writing end of init's stdin too. Without it, stdin ends
	// with this process, and with its stdin the cell: also when the daemon is killed.
	if c.link.socket == "" {
		if err := c.task.CloseIO(ctx, ctd.WithStdinCloser); err != nil {
			return nil, fmt.Errorf("let go of init's stdin: %w", err)
		}
	}
	c.link.wait.Go(func() { c.link.logStderr(r.log.With("cell_id", c.id)) })
	if err := c.task.Start(ctx); err != nil {
		return nil, fmt.Errorf("start task: %w", err)
	}
	failpoint.At(failpoint.CellStarted)
	if err := r.meet(ctx, c); err != nil {
		return nil, fmt.Errorf("%w (init says %q)", err, c.link.lastWords())
	}
	return c, nil
}

// meet waits for init's greeting, puts its fork servers into the control groups
// of the calls to come and waits for the first stage.
func (r *Runtime) meet(ctx context.Context, c *aCell) error {
	helloCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-c.gone:
			cancel(fmt.Errorf("init ended with code %d before it was ready", c.code))
		case <-helloCtx.Done():
		}
	}()
	in, out, err := c.link.accept(helloCtx)
	if err != nil {
		return err
	}
	c.conn = cell.NewConn(in, out)
	if c.hello, err = c.conn.Hello(helloCtx); err != nil {
		return fmt.Errorf("greeting of init: %w", err)
	}
	failpoint.At(failpoint.CellGreeted)
	if c.hello.Doors {
		conn, ok := out.(*net.UnixConn)
		if !ok {
			return fmt.Errorf("init wants doors, which cannot be sent over its stdin: %w", cell.ErrProtocol)
		}
		if err := c.conn.GiveDoors(conn); err != nil {
			return err
		}
	}
	if c.class.veiled() {
		err = r.meetVeiled(c)
	} else {
		err = r.meetForkServers(c)
	}
	if err != nil {
		return err
	}
	r.prepareNext(c, 0)
	<-c.staging.done
	failpoint.At(failpoint.CellStaged)
	c.link.settle()
	return c.staging.err
}

// initSlack is for the watching thread of init's runtime, which has nothing to do there:
// no goroutine of init waits for another one's processor. In a cell that rests between
// two calls it would take the processor of the loop that waits for the host away, and,
// since that has run for so long when the next call comes, interrupt it in that call.
const initSlack = time.Second

// meetForkServers puts a cell's fork servers into the control groups of the calls to come.
func (r *Runtime) meetForkServers(c *aCell) error {
	if err := gowatch.Calm(int(c.task.Pid()), initSlack); err != nil {
		r.log.Debug("init's runtime wakes more often", "cell_id", c.id, "error", err)
	}
	if err := r.groups.PrepareParent(c.path); err != nil {
		return err
	}
	if err := r.findForkServers(c); err != nil {
		return err
	}
	for i := range c.slots {
		if err := r.renew(c, i); err != nil {
			return err
		}
	}
	return nil
}

func (r *Runtime) createContainer(ctx context.Context, c *aCell) error {
	runtime, ok := r.cfg.Runtimes[c.class.isolation]
	if !ok {
		return fmt.Errorf("isolation %q has no runtime here: %w", c.class.isolation, errdefs.ErrFailedPrecondition)
	}
	binary, err := r.cfg.findBinary(runtime.Binary)
	if err != nil {
		return err
	}
	spec, opts, err := r.rootfs(ctx, c)
	if err != nil {
		return err
	}
	binary = r.place(c, binary)
	client := r.client()
	opts = append(opts, r.joinShim(c, spec)...)
	opts = append(opts,
		ctd.WithSpec(spec),
		ctd.WithRuntime(runtime.Shim, &options.Options{
			BinaryName: binary, Root: filepath.Join(r.cfg.RunDir, string(c.class.isolation)), NoNewKeyring: !c.class.veiled(), // which gVisor has none of
		}),
		ctd.WithContainerLabels(map[string]string{labelInstance: r.instance}),
	)
	if c.cont, err = client.NewContainer(r.leased(ctx, c), c.id, opts...); err != nil {
		return fmt.Errorf("create container: %w", err)
	}
	return nil
}

// rootfs returns the spec of a cell and what containerd needs for its root.
func (r *Runtime) rootfs(ctx context.Context, c *aCell) (*specs.Spec, []ctd.NewContainerOpts, error) {
	desc := oci.Cell{
		ID: c.id, Init: r.initPath, CgroupsPath: c.path, Socket: c.link.socket,
		IDBase: r.cfg.IDBase, IDCount: r.cfg.IDCount,
		MemoryBytes: freshBytes, Pids: overheadPids, OpenFiles: r.openFiles,
	}
	if err := r.veil(c, &desc); err != nil {
		return nil, nil, err
	}
	if c.class.digest == "" {
		desc.Rootfs, desc.Binds = r.hostRootfs, r.hostBinds
		spec, err := oci.Build(desc)
		return spec, nil, err
	}
	desc.Rootfs = "rootfs"
	spec, err := oci.Build(desc)
	if err != nil {
		return nil, nil, err
	}
	opt, err := r.snapshotFor(ctx, c, spec.Linux.UIDMappings)
	return spec, []ctd.NewContainerOpts{ctd.WithSnapshotter(snapshotter), opt}, err
}

// destroyCell removes everything of a cell and is safe to repeat. It first ends
// the processes, which needs nobody's help, then tells containerd.
func (r *Runtime) destroyCell(ctx context.Context, c *aCell) error {
	ctx, cancel := context.WithTimeoutCause(ctx, destroyBudget, errors.New("cell does not go away"))
	defer cancel()
	var errs []error
	if c.conn != nil {
		_ = c.conn.Close() // its ends are gone, or will be with the processes
	}
	errs = append(errs, r.killCell(c))
	failpoint.At(failpoint.CellKilled)
	if c.staging != nil {
		<-c.staging.done
	}
	errs = append(errs, r.deleteTask(ctx, c))
	failpoint.At(failpoint.CellDeleted)
	c.leaveGofer()
	for _, s := range c.slots {
		if s.group != nil {
			s.group.Close()
		}
	}
	errs = append(errs, r.groups.RemoveTree(ctx, c.path))
	if c.link != nil {
		errs = append(errs, c.link.Close())
	}
	r.unplace(c)
	failpoint.At(failpoint.CellDestroyed)
	return errors.Join(errs...)
}

// killCell ends all processes of a cell at once: init is pid 1 of the namespace
// that all of them are in.
func (r *Runtime) killCell(c *aCell) error {
	_, err := r.groups.Kill(c.path)
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	return err
}

func ignoreNotFound(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return hex.EncodeToString(b)
}
