//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

const (
	defaultOpenFiles = 1024
	defaultPath      = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// runHolder gives up everything, proves it, waits for an Exec and becomes the
// program. It returns only when that fails, after having reported it.
func runHolder() int {
	report := cell.NewFrameWriter(fd(holderReport))
	if err := hold(report); err != nil {
		if werr := report.Write(cell.KindExit, cell.AppendExit(nil, fault(err))); werr != nil {
			fmt.Fprintf(os.Stderr, "holder: %v; report it: %v\n", err, werr)
		}
		return 1
	}
	return 0
}

func hold(report *cell.FrameWriter) error {
	if err := sealDescriptors(); err != nil {
		return err
	}
	control := fd(holderControl).frames()
	filter, err := expect(control, kindSetup)
	if err != nil {
		return fmt.Errorf("read setup: %w", err)
	}
	if err := dropPrivileges(filter); err != nil {
		return err
	}
	proof, err := readProof()
	if err != nil {
		return err
	}
	if err := report.Write(kindProof, cell.AppendProof(nil, proof)); err != nil {
		return fmt.Errorf("report proof: %w", err)
	}
	body, err := expect(control, cell.KindExec)
	if errors.Is(err, io.EOF) {
		return nil // the stage gave up; it tells itself
	}
	if err != nil {
		return fmt.Errorf("read exec: %w", err)
	}
	request, err := cell.DecodeExec(body)
	if err != nil {
		return err
	}
	started, err := setLimits(request.Exec)
	if err != nil {
		return err
	}
	cwd := request.Cwd
	if cwd == "" {
		cwd = cell.Workspace
	}
	if err := unix.Chdir(cwd); err != nil {
		return fmt.Errorf("working directory %q: %w", cwd, err)
	}
	if err := report.Write(cell.KindStarted, cell.AppendStarted(nil, started)); err != nil {
		return fmt.Errorf("report limits: %w", err)
	}
	if err := defaultSignals(); err != nil {
		return err
	}
	return execute(request.Argv, request.Env)
}

// setLimits sets the resource limits and reads them back, with the sizes of the
// call's file systems.
func setLimits(x cell.Exec) (cell.Started, error) {
	files, size := x.OpenFiles, x.FileBytes
	if files == 0 {
		files = defaultOpenFiles
	}
	if size == 0 {
		size = x.DiskBytes
	}
	started := cell.Started{WallTime: x.WallTime, DiskBytes: make(map[string]int64)}
	for _, l := range []struct {
		name     string
		resource int
		value    int64
		seen     *int64
	}{
		{"open files", unix.RLIMIT_NOFILE, files, &started.OpenFiles},
		{"file bytes", unix.RLIMIT_FSIZE, size, &started.FileBytes},
		{"core bytes", unix.RLIMIT_CORE, 0, &started.CoreBytes},
	} {
		want := unix.Rlimit{Cur: uint64(l.value), Max: uint64(l.value)} //nolint:gosec // validated not to be negative
		if err := unix.Prlimit(0, l.resource, &want, nil); err != nil {
			return started, fmt.Errorf("limit of %d %s: %w", l.value, l.name, err)
		}
		var got unix.Rlimit
		if err := unix.Prlimit(0, l.resource, nil, &got); err != nil {
			return started, fmt.Errorf("read back limit of %s: %w", l.name, err)
		}
		*l.seen = int64(got.Max) //nolint:gosec // what was just set
	}
	for _, m := range callFilesystems(x.Workspace) {
		var s unix.Statfs_t
		if err := unix.Statfs(m, &s); err != nil {
			return started, fmt.Errorf("read back size of %s: %w", m, err)
		}
		started.DiskBytes[m] = int64(s.Blocks) * s.Bsize //nolint:gosec // sizes of tmpfs
	}
	return started, nil
}

// defaultSignals undoes what this process inherited: an ignored signal or a
// blocked one would stay so in the program. It works on the raw system calls:
// nothing of the runtime's signal handling is of use any more.
func defaultSignals() error {
	type sigaction struct {
		handler, flags, restorer, mask uintptr
	}
	const ignore, setBytes = 1, 8 // SIG_IGN, the size of a set of signals
	for sig := uintptr(1); sig <= 64; sig++ {
		var sa sigaction
		at := unsafe.Pointer(&sa) //nolint:gosec // package syscall has no call for it
		_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(at), setBytes, 0, 0)
		if e != 0 || sa.handler != ignore {
			continue // the kernel's own signals cannot be asked about
		}
		sa = sigaction{}
		if _, _, e = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(at), 0, setBytes, 0, 0); e != 0 {
			return fmt.Errorf("reset signal %d: %w", sig, e)
		}
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil); err != nil {
		return fmt.Errorf("unblock signals: %w", err)
	}
	return nil
}

// execute replaces this process by the program. argv and env go over as they are.
func execute(argv, env []string) error {
	argvp, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return fmt.Errorf("argv: %w", err)
	}
	envp, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	if strings.ContainsRune(argv[0], '/') {
		return fmt.Errorf("execute %q: %w", argv[0], execve(argv[0], argvp, envp))
	}
	path := defaultPath
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
			break
		}
	}
	refused := false
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "." // as POSIX has it
		}
		err := execve(dir+"/"+argv[0], argvp, envp)
		switch {
		case errors.Is(err, unix.EACCES):
			refused = true
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENAMETOOLONG):
		default:
			return fmt.Errorf("execute %q: %w", dir+"/"+argv[0], err)
		}
	}
	if refused {
		return fmt.Errorf("execute %q, found in PATH %q: %w", argv[0], path, unix.EACCES)
	}
	return fmt.Errorf("program %q not found in PATH %q: %w", argv[0], path, unix.ENOENT)
}

// execve is the bare system call: syscall.Exec would put back the limit of open
// files that this process was started with.
func execve(path string, argvp, envp []*byte) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	_, _, e := unix.RawSyscall(unix.SYS_EXECVE,
		uintptr(unsafe.Pointer(p)),         //nolint:gosec // the system call takes addresses
		uintptr(unsafe.Pointer(&argvp[0])), //nolint:gosec // likewise
		uintptr(unsafe.Pointer(&envp[0])))  //nolint:gosec // likewise
	return e
}
