package parts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/gowatch"
	"github.com/sandgate/sandgate/sandbox/oci"
)

// Limits of what the cell is made from and of its calls.
const (
	startWithin = 20 * time.Second
	cellBytes   = 512 << 20
	callBytes   = 16 << 20
	cellPids    = 128
	openFiles   = 1024
)

// Cell is a cell that runc made, without containerd and without a daemon. It runs one
// call at a time.
type Cell struct {
	dir, id string
	exec    cell.Exec
	runc    string
	cgroup  string
	cmd     *exec.Cmd
	log     bytes.Buffer
	conn    *cell.Conn
	slot    int
}

// Walls is a cell of NewCell that runs its command: both walls, and nobody who decides
// or records.
func Walls(ctx context.Context, binDir, dir string, argv, env []string) (*Part, error) {
	w, err := NewCell(ctx, binDir, dir, argv, env)
	if err != nil {
		return nil, err
	}
	return &Part{Close: w.Close, Op: func(ctx context.Context) error { return w.Run(ctx, nil) }}, nil
}

// NewCell makes a cell as the daemon does, with runc from binDir in the new directory
// dir, whose parents anybody may search, for runs of argv with env.
func NewCell(ctx context.Context, binDir, dir string, argv, env []string) (_ *Cell, err error) {
	w := &Cell{dir: dir, id: fmt.Sprintf("floor-%d-%s", os.Getpid(), filepath.Base(dir)), runc: filepath.Join(binDir, "runc")}
	w.cgroup = "/sandgate-" + w.id
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if err := w.start(ctx, binDir); err != nil {
		return nil, err
	}
	w.exec = cell.Exec{Argv: argv, Env: env, WallTime: time.Minute, OutputBytes: 1 << 20, DiskBytes: callBytes}
	return w, nil
}

// Run runs the command, with the next stage made meanwhile, and returns when its whole
// tree is gone. The program is not executed before ready, which may be nil, has returned.
func (w *Cell) Run(ctx context.Context, ready func() error) error {
	if _, err := w.conn.Prepare(ctx, *w.next()); err != nil {
		return fmt.Errorf("prepare a stage: %w", err)
	}
	w.slot = (w.slot + 1) % cell.Slots
	x := w.exec
	x.Next, x.Ready = w.next(), ready
	exit, err := w.conn.Exec(ctx, x, cell.Handlers{})
	if err != nil || exit.StartError != "" || exit.ExitCode != 0 || exit.Signal != 0 || exit.Poisoned != "" {
		return fmt.Errorf("call in a cell without a daemon: %+v: %w", exit, err)
	}
	return nil
}

func (w *Cell) next() *cell.Stage {
	return &cell.Stage{Slot: (w.slot + 1) % cell.Slots, DiskBytes: callBytes}
}

// start makes the bundle, starts it and waits for the greeting of its init.
func (w *Cell) start(ctx context.Context, binDir string) error {
	rootfs, socket := filepath.Join(w.dir, "rootfs"), filepath.Join(w.dir, "init.sock")
	binds, err := makeRootfs(rootfs)
	if err != nil {
		return err
	}
	initPath, err := filepath.EvalSymlinks(filepath.Join(binDir, "sandgate-init"))
	if err != nil {
		return fmt.Errorf("find sandgate-init: %w", err)
	}
	spec, err := oci.Build(oci.Cell{
		ID: w.id, Rootfs: rootfs, Init: initPath, Socket: socket, Binds: binds, CgroupsPath: w.cgroup + "/cell",
		IDBase: oci.DefaultIDBase, IDCount: oci.DefaultIDCount, MemoryBytes: cellBytes, Pids: cellPids, OpenFiles: openFiles,
	})
	if err != nil {
		return err
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("encode the bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "config.json"), raw, 0o600); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for init: %w", err)
	}
	defer listener.Close()                                                                                          //nolint:errcheck // it has served, or failed
	if err := errors.Join(os.Chmod(socket, 0o666), listener.SetDeadline(time.Now().Add(startWithin))); err != nil { //nolint:gosec // init is another user
		return fmt.Errorf("listen for init: %w", err)
	}
	w.cmd = exec.CommandContext(context.WithoutCancel(ctx), w.runc, "--root", filepath.Join(w.dir, "state"), "run", "--bundle", w.dir, w.id) //nolint:gosec // the product's own
	w.cmd.Stdout, w.cmd.Stderr = &w.log, &w.log
	if err := w.cmd.Start(); err != nil {
		w.cmd = nil
		return fmt.Errorf("start runc: %w", err)
	}
	conn, err := listener.AcceptUnix()
	if err != nil {
		return fmt.Errorf("wait for init: %w", err)
	}
	w.conn = cell.NewConn(conn, conn)
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	hello, err := w.conn.Hello(ctx)
	if err != nil {
		return fmt.Errorf("greeting of init: %w", err)
	}
	if err := calm(conn); err != nil {
		return err
	}
	if hello.Doors {
		return w.conn.GiveDoors(conn)
	}
	return nil
}

// initSlack is what sandbox/containerd gives the inits of its cells.
const initSlack = time.Second

// calm has the runtime of init, which is at the other end, wake seldom, as in the cells of
// the daemon.
func calm(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("find init: %w", err)
	}
	var peer *unix.Ucred
	var perr error
	if err := raw.Control(func(fd uintptr) { peer, perr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || perr != nil {
		return fmt.Errorf("find init: %w", errors.Join(err, perr))
	}
	return gowatch.Calm(int(peer.Pid), initSlack)
}

// Close ends the cell; the end of its connection ends init.
func (w *Cell) Close() error {
	var errs []error
	if w.conn != nil {
		_ = w.conn.Close() // its ends are gone, or will be with the processes
	}
	if w.cmd != nil {
		if w.conn == nil { // it never came up
			errs = append(errs, w.cmd.Process.Kill())
		}
		if err := w.cmd.Wait(); w.conn == nil {
			errs = append(errs, fmt.Errorf("%w: %.300s", err, w.log.String()))
		}
		// It has gone with its init; this is for what a killed runc has left.
		_ = exec.Command(w.runc, "--root", filepath.Join(w.dir, "state"), "delete", "--force", w.id).Run() //nolint:gosec // the product's own
	}
	return errors.Join(append(errs, removeCgroup(w.cgroup), os.RemoveAll(w.dir))...)
}

// removeCgroup removes the parent of what an OCI runtime has made and removed.
func removeCgroup(path string) error {
	dirs, err := filepath.Glob("/sys/fs/cgroup/*" + path)
	errs := []error{err}
	for _, dir := range append(dirs, "/sys/fs/cgroup"+path) {
		if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
			errs = append(errs, fmt.Errorf("remove the cell's control group: %w", err))
		}
	}
	return errors.Join(errs...)
}

// makeRootfs makes a root with the machine's programs: mount points and links, and
// what is to be bound.
func makeRootfs(rootfs string) ([]oci.Bind, error) {
	var binds []oci.Bind
	points := append(append(oci.MountPoints(), cell.MountPoints...), "/etc")
	for _, dir := range []string{"/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/alternatives"} {
		info, err := os.Lstat(dir)
		switch {
		case err != nil: // this machine has none
		case info.Mode()&os.ModeSymlink != 0:
			to, err := os.Readlink(dir)
			if err == nil {
				err = errors.Join(os.MkdirAll(rootfs, 0o755), os.Symlink(to, filepath.Join(rootfs, dir))) //nolint:gosec // read by the cell's ids
			}
			if err != nil {
				return nil, fmt.Errorf("make a root: %w", err)
			}
		default:
			points, binds = append(points, dir), append(binds, oci.Bind{Source: dir, Target: dir})
		}
	}
	for _, dir := range points {
		if err := os.MkdirAll(filepath.Join(rootfs, dir), 0o755); err != nil { //nolint:gosec // as above
			return nil, fmt.Errorf("make a root: %w", err)
		}
	}
	init := filepath.Join(rootfs, oci.InitPath)
	// As in the daemon's host image; without it ld.so looks for libraries in forty places.
	libraries, err := os.ReadFile("/etc/ld.so.cache")
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("make a root: %w", err)
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(rootfs, "etc/ld.so.cache"), libraries, 0o644),                                         //nolint:gosec // as above
		os.WriteFile(filepath.Join(rootfs, "etc/nsswitch.conf"), []byte("passwd: files\ngroup: files\n"), 0o644),         //nolint:gosec // as above
		os.MkdirAll(filepath.Dir(init), 0o755),                                                                           //nolint:gosec // as above
		os.WriteFile(init, nil, 0o644),                                                                                   //nolint:gosec // as above
		os.WriteFile(filepath.Join(rootfs, "etc/passwd"), []byte("agent:x:1000:1000::"+cell.Home+":/bin/bash\n"), 0o644), //nolint:gosec // as above
	)
	if err != nil {
		return nil, fmt.Errorf("make a root: %w", err)
	}
	return binds, nil
}
