//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cell/raw"
	"github.com/sandgate/sandgate/sandbox/cell/seccomp"
)

// Records that the processes of a stage write, beside raw's own.
const (
	recordStage   = raw.RecordUser + iota // pid of the stage, from the fork server, where the holder does not know it
	recordReady                           // the stage's view is made, the holder has lost everything
	recordProof                           // what the holder reads about itself
	recordFitted                          // the stage's view was fitted to the call
	recordStarted                         // the holder's limits, just before its execve
)

// stageNamespaces are made anew for each call. The network namespace is the fork
// server's, which makes itself a new one when a call has used it.
const stageNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// Descriptors that come with a request, in this order.
const (
	fdControl = iota // scripts for the stage
	fdReport         // records
	fdGo             // the script for the holder
	fdStdin
	fdStdout
	fdStderr
	fdDoor // where the holder waits for the host, if the call has such
	fdCount
)

const forkSocket = 3 // a fork server's end of its socket

// Inboxes of the processes of a stage.
const (
	stageInbox = iota
	holderInbox
)

// optionBytes holds the mount options of one tmpfs.
const optionBytes = 96

// Layout of a request.
const (
	requestEntry   = 0  // where the fork server goes on
	requestStack   = 8  // of the stage, 0 if it gets a copy of the memory
	requestForget  = 16 // how many bytes of the inboxes hold nothing any more
	requestOptions = 24 // of /tmp and /dev/shm, then of home and workspace
	requestBytes   = requestOptions + 2*optionBytes
)

// bulk is how large a script may be whose memory is not given back after its call.
const bulk = 64 << 10

// plan is the arena with the scripts of all processes, and the places in it that
// a request fills.
type plan struct {
	arena *raw.Arena
	rooms [raw.Inboxes]raw.Room
	start *raw.Script // of fork server, stage and holder

	// selfProof lets the holder look at itself, for a host that cannot.
	selfProof bool

	// shared lets the processes of a slot share their memory: fork server, stage and
	// holder until it becomes the program, all of which init trusts alike. What each
	// writes to is its own. The stage has its stacks in turn, since the one before may
	// not have left the kernel when the next is asked for; the one before that has been
	// reaped, or there would be no next.
	shared bool
	stacks [2]uintptr
	stage  raw.Role
	hold   raw.Role
	stack  uintptr // of the holder

	report    raw.Int
	fds       [fdCount]raw.Int
	entry     raw.Word // where the fork server goes on
	optsOpen  uintptr  // options of /tmp and /dev/shm
	optsOwned uintptr  // options of home and workspace
	holder    raw.Word // pid of the holder, as its stage sees it
	tty       raw.Word // descriptor of its terminal
	door      raw.Door // through which the host lets the holder pass
	ready     uintptr  // the record that a stage is: pids of stage and holder, then what is mounted

	entryWait   uintptr    // the fork server waits for a request
	entryShared [2]uintptr // it forks a stage without and with a workspace of its own
	entryFresh  [2]uintptr // likewise, with a new network namespace
}

// request is what a fork server is sent, with the descriptors.
type request struct {
	fresh     bool // make a new network namespace
	workspace bool // mount a workspace of the call's own
	diskBytes int64
}

// forkServer is init's side of one.
type forkServer struct {
	pid     int
	sock    int
	network network
	asked   int  // stages so far
	bulky   bool // the last call's scripts were
}

// startForkServer forks one. It keeps nothing of init's descriptors but its
// socket and stderr.
func (p *plan) startForkServer() (*forkServer, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket to a fork server: %w", err)
	}
	s := p.start
	binary.NativeEndian.PutUint64(p.arena.Bytes(p.arena.Addr(p.entry), 8), uint64(pair[1])) //nolint:gosec // a descriptor, for the moment
	// Its stages' ends are told by what its own is told by: with no signal init is not
	// interrupted, it looks for them itself.
	signal := unix.Signal(0)
	if p.selfProof {
		signal = unix.SIGCHLD // gVisor
	}
	pid, err := p.arena.Fork(s, p.report, signal)
	err = errors.Join(err, unix.Close(pair[1]))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fork a fork server: %w", err), unix.Close(pair[0]))
	}
	return &forkServer{pid: pid, sock: pair[0]}, nil
}

// lastWords is what a fork server said when it could not go on.
func (f *forkServer) lastWords(p *plan) error {
	var b [64]byte
	n, _, err := unix.Recvfrom(f.sock, b[:], unix.MSG_DONTWAIT)
	if err != nil || n < 8 {
		return errors.New("it did not say why")
	}
	fault, err := raw.DecodeFault(b[8:n])
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", p.start.Tag(fault.Tag), fault.Errno)
}

// fork asks for a stage with these descriptors. It does not wait for it.
func (f *forkServer) fork(p *plan, r request, fds [fdCount]int) error {
	var message [requestBytes]byte
	w := 0
	if r.workspace {
		w = 1
	}
	entry := p.entryShared[w]
	if r.fresh {
		entry = p.entryFresh[w]
	}
	n := binary.NativeEndian
	n.PutUint64(message[requestEntry:], uint64(entry))
	if p.shared {
		n.PutUint64(message[requestStack:], uint64(p.stacks[f.asked%len(p.stacks)]))
	}
	if f.bulky {
		_, bytes := p.arena.InboxMemory()
		n.PutUint64(message[requestForget:], uint64(bytes))
	}
	f.asked, f.bulky = f.asked+1, false
	size := sizeOptions(r.diskBytes)
	const open, owned = requestOptions, requestOptions + optionBytes
	copy(message[open:owned-1], "mode=1777,"+size)
	copy(message[owned:owned+optionBytes-1], ownedOptions()+size)
	rights := unix.UnixRights(fds[:]...)
	if err := unix.Sendmsg(f.sock, message[:], rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT); err != nil {
		return fmt.Errorf("ask the fork server: %w", err)
	}
	return nil
}

// newPlan writes all scripts.
func newPlan(first, last seccomp.Program, selfProof bool) (*plan, error) {
	arena, err := raw.NewArena()
	if err != nil {
		return nil, err
	}
	p := &plan{arena: arena, selfProof: selfProof, shared: raw.SharesMemory}
	// A message with descriptors: struct msghdr, the iovec, the control buffer.
	control := arena.Reserve(unix.CmsgSpace(4 * fdCount))
	for i := range p.fds {
		p.fds[i] = arena.IntAt(control + uintptr(unix.CmsgLen(0)) + uintptr(4*i))
	}
	report := arena.Reserve(4)
	p.report = arena.IntAt(report)
	binary.NativeEndian.PutUint32(arena.Bytes(report, 4), forkSocket) // until there is a stage's
	body := arena.Reserve(requestBytes)
	p.entry = arena.WordAt(body + requestEntry)
	p.optsOpen, p.optsOwned = body+requestOptions, body+requestOptions+optionBytes
	p.stage, p.hold = arena.Role(p.report), arena.Role(p.report)
	if p.shared {
		p.stacks, p.stack = [...]uintptr{arena.Stack(), arena.Stack()}, arena.Stack()
	}
	p.ready, p.holder, p.tty = p.record(recordReady, 16+mountsBytes), arena.Word(), arena.Word()
	p.door = arena.Door()

	s := arena.Script(512, 64<<10)
	p.start = s
	p.writeForkServer(s, control, body, first)
	stage := [2]*raw.Step{}
	for w := range 2 {
		p.entryFresh[w] = s.Here()
		p.freshNetwork(s)
		p.entryShared[w] = s.Here()
		stage[w] = p.writeFork(s, arena.WordAt(body+requestStack))
	}
	holder := [2]*raw.Step{}
	for w := range 2 {
		stage[w].To(s.Here())
		holder[w] = p.writeStage(s, w == 1)
	}
	for w := range 2 {
		holder[w].To(s.Here())
	}
	p.writeHolder(s, last)
	arena.Put(s)
	return p, nil
}

// writeForkServer is the beginning of a fork server: it lets go of what is
// init's, takes the part of the system call filter that it can live with itself, gets a
// network namespace of its own and waits for requests.
func (p *plan) writeForkServer(s *raw.Script, control, body uintptr, filter seccomp.Program) {
	s.Signals()
	s.Slim()
	s.Call("take the socket", unix.SYS_DUP3, p.entry, forkSocket, 0).Ignore(unix.EINVAL)
	s.Call("let go of init's descriptors", unix.SYS_CLOSE_RANGE, forkSocket+1, 0x7fffffff, 0)
	null := p.arena.Word()
	s.Call("open /dev/null", unix.SYS_OPENAT, unix.AT_FDCWD, "/dev/null", unix.O_RDWR, 0).Keep(null)
	s.Call("take stdin", unix.SYS_DUP3, null, 0, 0)
	s.Call("take stdout", unix.SYS_DUP3, null, 1, 0)
	s.Call("close /dev/null", unix.SYS_CLOSE, null)
	shed(s)
	if len(filter) > 0 {
		install(s, filter)
	}
	p.freshNetwork(s)
	wait := s.Here()
	p.entryWait = wait
	n := p.arena.Word()
	var iov [16]byte
	binary.NativeEndian.PutUint64(iov[:], uint64(body))
	binary.NativeEndian.PutUint64(iov[8:], requestBytes)
	iovAt := s.Data(iov[:])
	var head [56]byte // struct msghdr
	binary.NativeEndian.PutUint64(head[16:], uint64(iovAt))
	binary.NativeEndian.PutUint64(head[24:], 1)
	binary.NativeEndian.PutUint64(head[32:], uint64(control))
	binary.NativeEndian.PutUint64(head[40:], uint64(unix.CmsgSpace(4*fdCount))) //nolint:gosec // a small constant
	headAt := s.Data(head[:])
	s.Call("take a request", unix.SYS_RECVMSG, forkSocket, headAt, unix.MSG_CMSG_CLOEXEC).Keep(n)
	s.ExitIfZero(n)
	s.Copy(p.fds[fdReport], p.report)
	if inboxes, _ := p.arena.InboxMemory(); p.shared {
		s.Call("forget the call before", unix.SYS_MADVISE, inboxes, p.arena.WordAt(body+requestForget), unix.MADV_DONTNEED)
	}
	s.Jump(p.entry)
}

// freshNetwork gives the process a network namespace in which nothing happened
// yet. Without CAP_NET_ADMIN it has no working 127.0.0.1: that is a convenience,
// not a wall.
func (p *plan) freshNetwork(s *raw.Script) {
	s.Call("make a network namespace", unix.SYS_UNSHARE, unix.CLONE_NEWNET)
	var ifreq [40]byte
	copy(ifreq[:], "lo")
	binary.NativeEndian.PutUint16(ifreq[16:], unix.IFF_UP|unix.IFF_RUNNING)
	sock := p.arena.Word()
	s.Call("open a socket", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0).Keep(sock)
	s.Call("raise loopback", unix.SYS_IOCTL, sock, unix.SIOCSIFFLAGS, s.Data(ifreq[:])).Ignore(unix.EPERM, unix.ENOTTY)
	s.Call("close the socket", unix.SYS_CLOSE, sock)
}

// writeFork forks a stage whose parent is init and waits again. Its pid is told by the
// holder, if that can know it, or else here.
func (p *plan) writeFork(s *raw.Script, stack raw.Word) *raw.Step {
	flags := uintptr(stageNamespaces | unix.CLONE_PARENT)
	if !exists("/proc/self/ns/cgroup") {
		flags &^= unix.CLONE_NEWCGROUP
	}
	var fork *raw.Step
	if p.shared {
		fork = s.Spawn("fork a stage", flags|unix.CLONE_VM|unix.CLONE_PARENT_SETTID, p.stage, stack, p.ready+8)
	} else {
		record := p.record(recordStage, 8)
		fork = s.Spawn("fork a stage", flags|uintptr(unix.SIGCHLD), p.stage, stack, 0).Keep(p.arena.WordAt(record + 8))
		s.Call("tell the stage's pid", unix.SYS_WRITE, p.fds[fdReport], record, 16).Ignore(unix.EPIPE)
	}
	// They came into the lowest places that were free, one after another.
	s.Call("close the stage's descriptors", unix.SYS_CLOSE_RANGE, p.fds[fdControl], p.fds[fdDoor], 0)
	s.Jump(int(p.entryWait))
	return fork
}

// writeStage makes the view of a call, forks the holder and waits for the script
// that fits the view to the call and reaps.
func (p *plan) writeStage(s *raw.Script, workspace bool) *raw.Step {
	stageView(s, p.optsOpen, p.optsOwned, workspace)
	lookAtMounts(s, p.ready+24)
	flags := uintptr(unix.SIGCHLD)
	if p.shared {
		flags |= unix.CLONE_VM
	}
	fork := s.Spawn("fork the holder", flags, p.hold, p.stack, 0).Keep(p.holder)
	s.Call("close the holder's descriptors", unix.SYS_CLOSE_RANGE, p.fds[fdGo], p.fds[fdDoor], 0)
	s.Receive("take the call", p.fds[fdControl], stageInbox)
	return fork
}

const statfsBytes = int(unsafe.Sizeof(unix.Statfs_t{}))

// mountsBytes is what lookAtMounts writes.
const mountsBytes = 256 + 4*statfsBytes

// record reserves a record of a kind with a body of n bytes.
func (p *plan) record(kind uint32, n int) uintptr {
	at := p.arena.Reserve(8 + n)
	head := p.arena.Bytes(at, 8)
	binary.NativeEndian.PutUint32(head, kind)
	binary.NativeEndian.PutUint32(head[4:], uint32(8+n)) //nolint:gosec // a small constant
	return at
}

// lookAtMounts asks what is mounted at the workspace and how large the call's
// file systems are, into memory at an address: a struct statx, then as many
// structs statfs.
func lookAtMounts(s *raw.Script, to uintptr) {
	s.Call("look at the workspace", unix.SYS_STATX, unix.AT_FDCWD, cell.Workspace, 0, unix.STATX_MNT_ID, to)
	to += 256
	for _, path := range callFilesystems(cell.WorkspaceEphemeral) {
		s.Call("look at the size of "+path, unix.SYS_STATFS, path, to)
		to += uintptr(statfsBytes)
	}
}

// mounts is what lookAtMounts found.
type mounts struct {
	workspace uint64 // identity of the mount
	writable  bool   // it, as far as the kernel tells
	sizes     map[string]int64
}

func decodeMounts(b []byte) (mounts, error) {
	files := callFilesystems(cell.WorkspaceEphemeral)
	if len(b) != mountsBytes {
		return mounts{}, fmt.Errorf("a stage's view of %d bytes", len(b))
	}
	n := binary.NativeEndian
	m := mounts{sizes: make(map[string]int64, len(files))}
	const statxMask, statxDevMajor, statxMntID = 0, 136, 144
	if n.Uint32(b[statxMask:])&unix.STATX_MNT_ID != 0 {
		m.workspace = n.Uint64(b[statxMntID:])
	} else { // a kernel before 5.8
		m.workspace = uint64(n.Uint32(b[statxDevMajor:]))<<32 | uint64(n.Uint32(b[statxDevMajor+4:]))
	}
	for i, path := range files {
		fs := b[256+i*statfsBytes:]
		m.sizes[path] = int64(n.Uint64(fs[8:]) * n.Uint64(fs[16:])) //nolint:gosec // block size, then blocks of a tmpfs
		const flagsAt, valid = 80, 0x20                             // gVisor does not say that its flags are valid
		if flags := n.Uint64(fs[flagsAt:]); path == cell.Workspace && flags&valid != 0 {
			m.writable = flags&unix.ST_RDONLY == 0
		}
	}
	return m, nil
}
