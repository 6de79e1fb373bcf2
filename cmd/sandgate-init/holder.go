//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cell/raw"
	"github.com/sandgate/sandgate/sandbox/cell/seccomp"
)

const (
	defaultOpenFiles = 1024
	defaultPath      = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	lastCapability   = 63 // bounds the search for capabilities that the kernel knows
)

// namespaces are those that a proof names.
func namespaces() []string {
	return []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}
}

// Layout of a proof's body.
const (
	proofStatusBytes = 3072
	proofLinkBytes   = 64
	proofBytes       = proofStatusBytes + 8*proofLinkBytes
)

// shed takes from a fork server what its stages need as little as their programs: groups,
// and the capabilities that an execve could give, of which there is none before the
// program's. What the fork server has it keeps, and hands on to its stages.
func shed(s *raw.Script) {
	s.Call("clear ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0).Ignore(unix.EINVAL)
	for _, c := range boundingSet() {
		s.Call(fmt.Sprintf("drop capability %d from the bounding set", c), unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0)
	}
	s.Call("set groups", unix.SYS_SETGROUPS, 0, 0)
}

// writeHolder takes every privilege from the process that its fork server still had, for
// good: ids, capabilities, the gaining of new ones, system calls. Then it tells what the
// kernel says about it now, and waits for its program.
func (p *plan) writeHolder(s *raw.Script, filter seccomp.Program) {
	s.Call("begin a session", unix.SYS_SETSID).Ignore(unix.EPERM)
	for i, fd := range []int{fdStdin, fdStdout, fdStderr} {
		s.Call("take the program's descriptors", unix.SYS_DUP3, p.fds[fd], i, 0)
	}
	s.Call("let go of the fork server's socket", unix.SYS_CLOSE, forkSocket)
	s.Call("set gid", unix.SYS_SETRESGID, cell.PayloadGID, cell.PayloadGID, cell.PayloadGID)
	s.Call("set uid", unix.SYS_SETRESUID, cell.PayloadUID, cell.PayloadUID, cell.PayloadUID)
	var header [8]byte
	binary.NativeEndian.PutUint32(header[:], unix.LINUX_CAPABILITY_VERSION_3)
	s.Call("clear capabilities", unix.SYS_CAPSET, s.Data(header[:]), s.Data(make([]byte, 24)))
	s.Call("set umask", unix.SYS_UMASK, 0o022)
	s.Call("set no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	install(s, filter)

	p.writeProof(s)
	s.Receive("take the call", p.fds[fdGo], holderInbox)
}

// install writes down the installation of a system call filter.
func install(s *raw.Script, filter seccomp.Program) {
	var program [16]byte                                                                    // struct sock_fprog
	binary.NativeEndian.PutUint16(program[:], uint16(len(filter)/seccomp.InstructionBytes)) //nolint:gosec // checked by filters
	binary.NativeEndian.PutUint64(program[8:], uint64(s.Data(filter)))
	const setModeFilter = 1 // SECCOMP_SET_MODE_FILTER
	s.Call("install seccomp filter", unix.SYS_SECCOMP, setModeFilter, 0, s.Data(program[:]))
}

// writeProof tells that the stage is made and everything is lost and, where the host
// cannot look, what the kernel says about the process. The files of /proc that this
// takes cost as much as a third of all else that the holder does.
func (p *plan) writeProof(s *raw.Script) {
	s.Call("ask for the holder's pid", unix.SYS_GETPID).Keep(p.arena.WordAt(p.ready + 16))
	s.Call("tell that the stage is ready", unix.SYS_WRITE, p.fds[fdReport], p.ready, 24+mountsBytes)
	if !p.selfProof {
		return
	}
	proof := p.record(recordProof, proofBytes)
	status := p.arena.Word()
	s.Call("read proof", unix.SYS_OPENAT, unix.AT_FDCWD, "/proc/self/status", unix.O_RDONLY|unix.O_CLOEXEC, 0).Keep(status)
	s.Call("read proof", unix.SYS_READ, status, proof+8, proofStatusBytes-1)
	s.Call("read proof", unix.SYS_CLOSE, status)
	for i, name := range namespaces() {
		link := proof + 8 + proofStatusBytes + uintptr(i*proofLinkBytes)
		s.Call("read namespace "+name, unix.SYS_READLINKAT, unix.AT_FDCWD, "/proc/self/ns/"+name, link, proofLinkBytes-1).Ignore(unix.ENOENT)
	}
	s.Call("report proof", unix.SYS_WRITE, p.fds[fdReport], proof, 8+proofBytes)
}

// boundingSet are the capabilities that a process of the cell could still get.
func boundingSet() []int {
	var out []int
	for c := range lastCapability + 1 {
		n, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err != nil {
			break // beyond the last one that the kernel knows
		}
		if n == 1 {
			out = append(out, c)
		}
	}
	return out
}

// decodeProof takes apart what a holder read about itself.
func decodeProof(b []byte) (cell.Proof, error) {
	if len(b) != proofBytes {
		return cell.Proof{}, fmt.Errorf("a holder's proof of %d bytes, want %d", len(b), proofBytes)
	}
	p := cell.Proof{SeccompMode: -1, UID: -1, GID: -1, Namespaces: make(map[string]string, 8)}
	caps := map[string]*uint64{
		"CapEff": &p.CapEffective, "CapPrm": &p.CapPermitted, "CapInh": &p.CapInheritable,
		"CapBnd": &p.CapBounding, "CapAmb": &p.CapAmbient,
	}
	var err error
	for line := range strings.SplitSeq(cString(b[:proofStatusBytes]), "\n") {
		key, value, _ := strings.Cut(line, ":")
		value, _, _ = strings.Cut(strings.TrimSpace(value), "\t")
		switch key {
		case "Uid":
			p.UID, err = strconv.Atoi(value)
		case "Gid":
			p.GID, err = strconv.Atoi(value)
		case "NoNewPrivs":
			p.NoNewPrivs = value == "1"
		case "Seccomp":
			p.SeccompMode, err = strconv.Atoi(value)
		default:
			if to := caps[key]; to != nil {
				*to, err = strconv.ParseUint(value, 16, 64)
			}
		}
		if err != nil {
			return cell.Proof{}, fmt.Errorf("read proof: %s: %w", key, err)
		}
	}
	for i, name := range namespaces() {
		if link := cString(b[proofStatusBytes+i*proofLinkBytes:][:proofLinkBytes]); link != "" {
			p.Namespaces[name] = link // what is not there is not claimed
		}
	}
	return p, nil
}

func cString(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// rlimit is one that the holder sets and reads back.
type rlimit struct {
	name     string
	resource int
	value    int64
}

// rlimits are in the order of recordStarted; the last one is optional.
func rlimits(x *cell.Exec) []rlimit {
	files, size := x.OpenFiles, x.FileBytes
	if files == 0 {
		files = defaultOpenFiles
	}
	if size == 0 {
		size = x.DiskBytes
	}
	limits := []rlimit{{"open files", unix.RLIMIT_NOFILE, files}, {"file bytes", unix.RLIMIT_FSIZE, size}, {"core bytes", unix.RLIMIT_CORE, 0}}
	if x.Pids > 0 {
		// The program itself does not count: root forked it.
		limits = append(limits, rlimit{"further processes", unix.RLIMIT_NPROC, x.Pids - 1})
	}
	return limits
}

const startedBytes = 4 * 16

// holderScript makes the holder the program of x. It names what fails.
func (p *plan) holderScript(x *cell.Request, t *terminal) *raw.Script {
	steps := 16
	if t != nil {
		steps += 8
	}
	s := p.arena.Inbox(holderInbox, steps, &p.rooms[holderInbox])
	if t != nil {
		s.Call("open the terminal", unix.SYS_OPENAT, unix.AT_FDCWD, t.path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0).Keep(p.tty)
		s.Call("control the terminal", unix.SYS_IOCTL, p.tty, unix.TIOCSCTTY, 0)
		for fd := range 3 {
			s.Call("take the terminal", unix.SYS_DUP3, p.tty, fd, 0)
		}
	}
	record := s.Data(make([]byte, 8+startedBytes))
	binary.NativeEndian.PutUint32(s.Bytes(record, 8), recordStarted)
	binary.NativeEndian.PutUint32(s.Bytes(record, 8)[4:], 8+startedBytes)
	for i, l := range rlimits(&x.Exec) {
		var limit [16]byte
		binary.NativeEndian.PutUint64(limit[:], uint64(l.value))  //nolint:gosec // validated not to be negative
		binary.NativeEndian.PutUint64(limit[8:], uint64(l.value)) //nolint:gosec // likewise
		at := record + 8 + uintptr(i*16)
		s.Call(fmt.Sprintf("limit of %d %s", l.value, l.name), unix.SYS_PRLIMIT64, 0, l.resource, s.Data(limit[:]), 0)
		s.Call("read back limit of "+l.name, unix.SYS_PRLIMIT64, 0, l.resource, 0, at)
	}
	cwd := x.Cwd
	if cwd == "" {
		cwd = cell.Workspace
	}
	s.Call(fmt.Sprintf("working directory %q", cwd), unix.SYS_CHDIR, cwd)
	s.Call("report limits", unix.SYS_WRITE, p.fds[fdReport], record, 8+startedBytes)
	switch {
	case x.Door:
		s.Pass("wait at the door", p.fds[fdDoor], x.Seq, p.door)
	case x.Hold:
		s.ReadAll("wait for the release", p.fds[fdGo], s.Data(make([]byte, 8)), 1)
	}
	s.Call("unblock signals", unix.SYS_RT_SIGPROCMASK, 2, s.Data(make([]byte, 8)), 0, 8)
	s.Exec("execute", candidates(&x.Exec), x.Argv, x.Env)
	return s
}

// decodeStarted reads the limits as the kernel showed them; one of processes only
// if it was asked for.
func decodeStarted(b []byte, asked bool) (cell.Started, error) {
	if len(b) != startedBytes {
		return cell.Started{}, fmt.Errorf("a holder's limits of %d bytes, want %d", len(b), startedBytes)
	}
	hard := func(i int) int64 { return int64(binary.NativeEndian.Uint64(b[i*16+8:])) } //nolint:gosec // what was just set
	started := cell.Started{OpenFiles: hard(0), FileBytes: hard(1), CoreBytes: hard(2)}
	if asked {
		started.Pids = hard(3) + 1
	}
	return started, nil
}

// candidates are the paths that an execve is tried on, as execvp(3) has it.
func candidates(x *cell.Exec) []string {
	if strings.ContainsRune(x.Argv[0], '/') {
		return x.Argv[:1]
	}
	var out []string
	for dir := range strings.SplitSeq(searchPath(x), ":") {
		if dir == "" {
			dir = "." // as POSIX has it
		}
		out = append(out, dir+"/"+x.Argv[0])
	}
	return out
}

func searchPath(x *cell.Exec) string {
	for _, kv := range x.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			return v
		}
	}
	return defaultPath
}

// startFault says in one line why no program was executed.
func startFault(x *cell.Exec, s *raw.Script, f raw.Fault) error {
	if s.Tag(f.Tag) != "execute" {
		return fmt.Errorf("%s: %w", s.Tag(f.Tag), f.Errno)
	}
	paths := candidates(x)
	if len(paths) == 1 && paths[0] == x.Argv[0] {
		return fmt.Errorf("execute %q: %w", x.Argv[0], f.Errno)
	}
	switch {
	case errors.Is(f.Errno, os.ErrPermission):
		return fmt.Errorf("execute %q, found in PATH %q: %w", x.Argv[0], searchPath(x), f.Errno)
	case errors.Is(f.Errno, os.ErrNotExist):
		return fmt.Errorf("program %q not found in PATH %q: %w", x.Argv[0], searchPath(x), f.Errno)
	case int(f.Detail) < len(paths):
		return fmt.Errorf("execute %q: %w", paths[f.Detail], f.Errno)
	}
	return fmt.Errorf("execute %q: %w", x.Argv[0], f.Errno)
}
