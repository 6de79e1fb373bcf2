//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// The test binary has two more faces: "cell" makes a root file system and
// becomes init, "probe" is a program that looks around inside a call.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "cell":
			fmt.Fprintln(os.Stderr, "cell:", becomeInit(os.Args[2], os.Args[3], os.Args[4]))
			os.Exit(99)
		case "probe":
			os.Exit(probe(os.Args[2:]))
		}
	}
	code := m.Run()
	if built.dir != "" {
		if err := os.RemoveAll(built.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

func requireRoot(tb testing.TB) {
	tb.Helper()
	if os.Getenv("SANDGATE_ROOT_TESTS") != "1" {
		tb.Skip("makes namespaces and mounts as root: set SANDGATE_ROOT_TESTS=1")
	}
	if os.Getuid() != 0 {
		tb.Fatal("SANDGATE_ROOT_TESTS=1 wants root")
	}
}

// built is the init binary and a copy of this one, where a mapped root can read them.
var built struct {
	once    sync.Once
	dir     string
	err     error
	sockets atomic.Int64 // made in dir
}

func binaries(tb testing.TB) (string, string) {
	tb.Helper()
	built.once.Do(func() {
		built.dir, built.err = os.MkdirTemp("", "sandgate-init-test-") //nolint:usetesting // outlives the first test, and a mapped root must reach it
		if built.err != nil {
			return
		}
		if built.err = os.Chmod(built.dir, 0o755); built.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", filepath.Join(built.dir, "init"), ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
			return
		}
		var self []byte
		if self, built.err = os.ReadFile("/proc/self/exe"); built.err == nil {
			built.err = os.WriteFile(filepath.Join(built.dir, "probe"), self, 0o755)
		}
	})
	if built.err != nil {
		tb.Fatal(built.err)
	}
	return filepath.Join(built.dir, "init"), filepath.Join(built.dir, "probe")
}

// testCell is a cell made by hand: what a container runtime would do.
type testCell struct {
	*cell.Conn
	slot  int // of the last stage
	pid   int
	hello cell.Hello
	log   *lockedBuffer

	socket *net.UnixConn // nil: none
	held   bool          // each call is one that waits until it is let run
	doors  [cell.Slots]io.WriteCloser
}

// startCell makes a cell whose init is reached by a socket, as in a container.
func startCell(tb testing.TB) *testCell { return startCellBy(tb, true) }

// startCellByStdio makes one whose init is reached by its stdin and stdout, as in
// gVisor: its holders look at themselves.
func startCellByStdio(tb testing.TB) *testCell { return startCellBy(tb, false) }

// startCellWithDoors makes one as startCell does, whose calls are let run by doors.
func startCellWithDoors(tb testing.TB) *testCell {
	tb.Helper()
	c := startCell(tb)
	c.held = true
	if !c.hello.Doors {
		tb.Skip("processes do not share their memory here, so init takes no doors")
	}
	var theirs []int
	for i := range c.doors {
		r, w, err := os.Pipe()
		if err != nil {
			tb.Fatal(err)
		}
		defer func() {
			if err := r.Close(); err != nil {
				tb.Error(err)
			}
		}()
		theirs, c.doors[i] = append(theirs, int(r.Fd())), w // which makes it a blocking one, too
	}
	if _, _, err := c.socket.WriteMsgUnix(cell.AppendFrame(nil, cell.KindDoors), unix.UnixRights(theirs...), nil); err != nil {
		tb.Fatal(err)
	}
	c.UseDoors(c.doors)
	return c
}

func startCellBy(tb testing.TB, bySocket bool) *testCell {
	tb.Helper()
	requireRoot(tb)
	initPath, probePath := binaries(tb)
	socket := ""
	var listen *net.UnixListener
	if bySocket {
		socket = filepath.Join(built.dir, fmt.Sprintf("socket-%d", built.sockets.Add(1)))
		var err error
		if listen, err = net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"}); err == nil {
			err = os.Chmod(socket, 0o666)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/exe", "cell", initPath, probePath, socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
			unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
		GidMappingsEnableSetgroups: true,
		Credential:                 &syscall.Credential{Uid: 0, Gid: 0},
	}
	log := &lockedBuffer{}
	cmd.Stderr = log
	cmd.Env = []string{"SECRET_OF_THE_DAEMON=canary"}
	var in io.WriteCloser
	var out io.ReadCloser
	var err error
	if !bySocket {
		if in, err = cmd.StdinPipe(); err != nil {
			tb.Fatal(err)
		}
		if out, err = cmd.StdoutPipe(); err != nil {
			tb.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	var conn *net.UnixConn
	if bySocket {
		conn, err = acceptOne(listen)
		if err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was killed
			tb.Fatalf("wait for init: %v; log:\n%s", err, log)
		}
		in, out = conn, conn
	}
	c := &testCell{Conn: cell.NewConn(out, in), pid: cmd.Process.Pid, log: log, socket: conn}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, os.ErrClosed) && !errors.Is(err, net.ErrClosed) {
			tb.Errorf("close: %v", err)
		}
		// The end of its stdin alone must end init, and it everything in the cell.
		guard := time.AfterFunc(5*time.Second, func() {
			tb.Errorf("init still runs 5 s after the end of its stdin")
			_ = cmd.Process.Kill()
		})
		_ = cmd.Wait() // its exit code is of no interest
		guard.Stop()
		if tb.Failed() {
			tb.Logf("log of the cell:\n%s", log)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if c.hello, err = c.Hello(ctx); err != nil {
		tb.Fatalf("hello: %v; log:\n%s", err, log)
	}
	return c
}

// acceptOne takes one connection.
func acceptOne(listen *net.UnixListener) (*net.UnixConn, error) {
	err := listen.SetDeadline(time.Now().Add(20 * time.Second))
	if err != nil {
		return nil, errors.Join(err, listen.Close())
	}
	conn, err := listen.AcceptUnix()
	if err := errors.Join(err, listen.Close()); err != nil {
		return nil, err
	}
	return conn, nil
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// becomeInit makes the root of the cell in the namespaces that it was started in.
func becomeInit(initPath, probePath, socket string) error {
	const root = "/mnt/root"
	must := func(what string, err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "cell:", what, err)
			os.Exit(98)
		}
	}
	must("private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must("tmpfs", unix.Mount("tmpfs", "/mnt", "tmpfs", 0, "mode=755"))
	for _, d := range []string{"", "/proc", "/dev", "/tmp", "/var", "/var/tmp", "/home", "/home/agent", "/workspace", "/etc", "/sys", "/old"} {
		must(d, os.Mkdir(root+d, 0o755))
	}
	bind := func(from, to string) {
		must("bind "+from, unix.Mount(from, root+to, "", unix.MS_BIND|unix.MS_REC, ""))
	}
	for _, d := range []string{"/usr", "/bin", "/lib", "/lib64", "/etc/alternatives"} {
		info, err := os.Lstat(d)
		if err != nil {
			continue
		}
		if info.Mode()&os.ModeSymlink != 0 {
			to, err := os.Readlink(d)
			must(d, err)
			must(d, os.Symlink(to, root+d))
			continue
		}
		must(d, os.Mkdir(root+d, 0o755))
		bind(d, d)
	}
	must("passwd", os.WriteFile(root+"/etc/passwd", []byte("agent:x:1000:1000::/home/agent:/bin/sh\n"), 0o644))
	must("proc", unix.Mount("proc", root+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
	files := map[string]string{initPath: "/sandgate-init", probePath: "/probe"}
	for _, d := range deviceNames {
		files["/dev/"+d] = "/dev/" + d
	}
	if socket != "" {
		files[socket] = cell.SocketPath
	}
	for from, to := range files {
		must(to, os.WriteFile(root+to, nil, 0o600))
		bind(from, to)
	}
	must("chdir", unix.Chdir(root))
	must("self bind", unix.Mount(root, root, "", unix.MS_BIND|unix.MS_REC, ""))
	must("chdir", unix.Chdir(root))
	must("pivot", unix.PivotRoot(".", "old"))
	must("umount", unix.Unmount("/old", unix.MNT_DETACH))
	must("chdir", unix.Chdir("/"))
	must("read-only", unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	// No more than doc.go of the protocol says that init wants.
	wanted := map[int]bool{
		unix.CAP_SYS_ADMIN: true, unix.CAP_SETUID: true, unix.CAP_SETGID: true,
		unix.CAP_SETPCAP: true, unix.CAP_KILL: true, unix.CAP_NET_ADMIN: true,
	}
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		if !wanted[c] {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
				return err
			}
		}
	}
	return syscall.Exec("/sandgate-init", []string{"/sandgate-init"}, os.Environ())
}

// result is what came of a call in a test.
type result struct {
	cell.Exit
	started        *cell.Started
	stdout, stderr []byte // what was delivered, gaps left out
	chunks         []cell.Output
}

// base is a call with bounds that no test is meant to meet.
func base(argv ...string) cell.Exec {
	return cell.Exec{
		Argv: argv, Env: []string{"PATH=/usr/bin:/bin", "HOME=" + cell.Home},
		WallTime: time.Minute, OutputBytes: 1 << 20, DiskBytes: 16 << 20,
	}
}

func (c *testCell) run(tb testing.TB, x cell.Exec) result {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if _, err := c.Prepare(ctx); err != nil {
		tb.Fatalf("prepare: %v; log:\n%s", err, c.log)
	}
	return c.exec(ctx, tb, x)
}

// Prepare waits for the next stage, in the slots by turns.
func (c *testCell) Prepare(ctx context.Context) (cell.Prepared, error) {
	p, err := c.Conn.Prepare(ctx, *c.after())
	c.slot = p.Slot
	return p, err
}

// after is the stage after the last one.
func (c *testCell) after() *cell.Stage {
	return &cell.Stage{Slot: (c.slot + 1) % cell.Slots, DiskBytes: 16 << 20}
}

// readNames lists a directory.
func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	return names, errors.Join(err, d.Close())
}

func (c *testCell) exec(ctx context.Context, tb testing.TB, x cell.Exec) result {
	tb.Helper()
	var r result
	var err error
	if x.Next != nil {
		x.Next = c.after()
	}
	if c.held && x.Ready == nil {
		x.Ready = func() error { return nil }
	}
	r.Exit, err = c.Exec(ctx, x, cell.Handlers{
		Started: func(s cell.Started) { r.started = &s },
		Output: func(s cell.Stream, offset int64, data []byte) {
			data = bytes.Clone(data)
			r.chunks = append(r.chunks, cell.Output{Stream: s, Offset: offset, Data: data})
			if s == cell.Stdout {
				r.stdout = append(r.stdout, data...)
			} else {
				r.stderr = append(r.stderr, data...)
			}
		},
	})
	if err != nil {
		tb.Fatalf("exec %q: %v; log:\n%s", x.Argv, err, c.log)
	}
	if r.Poisoned != "" {
		tb.Fatalf("exec %q: poisoned: %s; log:\n%s", x.Argv, r.Poisoned, c.log)
	}
	return r
}

var _ io.Writer = (*lockedBuffer)(nil)
