package cgroup

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"sync/atomic"
	"syscall"
)

// Group is a control group that serves one call after another: its files stay
// open, its limits are written only when they change, and what its counters show
// is told from the beginning of the call on. It is for one goroutine at a time.
type Group struct {
	m    *Manager
	path string
	own  int64 // processes in it that are not the call's

	procs  string // the list of its processes
	files  []kept
	buf    []byte
	limits Limits
	shown  map[string]int64
	loose  atomic.Bool // Unthrottle was called

	before Usage // at Begin
	begun  bool
	memory int64 // in use, at the first Begin
	resets bool  // the peak of memory was reset at Begin
}

// kept is a file that stays open. Its descriptor is asked for once: os.File asks the
// kernel about it each time.
type kept struct {
	file
	*os.File
	fd int
}

// What a call may leave behind before a later one's peaks would no longer be its
// own: memory charged to the group, and processes. The kernel takes its time to let
// go of a stage that has ended, so for a moment there is one more of those.
const (
	leftoverBytes = 2 << 20
	leftoverPids  = 2
)

// Group makes a group that holds, beside the call's, own processes of whoever
// runs it: they are added to every limit of processes, and left out of counts.
func (m *Manager) Group(path string, own int) (*Group, error) {
	if err := m.Create(path); err != nil {
		return nil, err
	}
	return m.At(path, own), nil
}

// At is Group for a group that was made before, or is gone.
func (m *Manager) At(path string, own int) *Group {
	return &Group{m: m, path: path, own: int64(own), procs: m.b.dirs(path)[0] + procsFile}
}

// Path is the group's path from the root of each hierarchy.
func (g *Group) Path() string { return g.path }

// Close closes the files. The group stays.
func (g *Group) Close() {
	for _, f := range g.files {
		_ = f.Close() // only counters were read
	}
	g.files = nil
}

// Add moves a process into the group; what it forks is born there.
func (g *Group) Add(pid int) error { return g.m.Add(g.path, pid) }

// Procs returns the processes in the group.
func (g *Group) Procs() ([]int, error) {
	// The file is opened anew each time: v1 shows who has it open a list that it made
	// for him before.
	return readProcs(func(file string) ([]byte, error) {
		var err error
		g.buf, err = AppendKernelFile(g.buf[:0], file)
		return g.buf, err
	}, g.procs)
}

// SetLimits is that of Manager, and does nothing when the limits are the same as
// before. The map is the caller's.
func (g *Group) SetLimits(l Limits) (map[string]int64, error) {
	if l == g.limits && !g.loose.Swap(false) {
		return g.copied(), nil
	}
	with := l
	if with.Pids > 0 {
		with.Pids += g.own
	}
	g.limits = Limits{}
	shown, err := g.m.SetLimits(g.path, with)
	if err != nil {
		return nil, err
	}
	if _, ok := shown["pids"]; ok {
		shown["pids"] -= g.own
	}
	g.limits, g.shown = l, shown
	return g.copied(), nil
}

// copied is what is shown, with room for as much as a receipt adds.
func (g *Group) copied() map[string]int64 {
	out := make(map[string]int64, len(g.shown)+6)
	maps.Copy(out, g.shown)
	return out
}

// Unthrottle is that of Manager, until the next SetLimits. It may be called
// beside anything else.
func (g *Group) Unthrottle() {
	g.loose.Store(true)
	g.m.Unthrottle(g.path)
}

// Begin notes where the counters stand before a call. Beside processor time, which
// the making of a stage takes, they stand where the last Usage has seen them.
func (g *Group) Begin() {
	if !g.begun {
		g.begun = true
		g.before = g.m.b.usage(g.read)
		g.memory = intOr(g.read, g.m.b.memoryFile())
	} else {
		g.before.CPUUser, g.before.CPUSystem = g.m.b.cpu(g.read)
	}
	f, err := g.open(g.m.b.peakFile())
	if err == nil {
		_, err = f.WriteAt([]byte("0"), 0)
	}
	g.resets = err == nil
}

// Usage is what the call has used since Begin; it is asked once. The peaks of a group that is not
// Worn may be those of the calls before: at most two processes and 2 MiB.
func (g *Group) Usage() Usage {
	seen := g.m.b.usage(g.read)
	defer func() { g.before = seen }()
	return g.since(seen)
}

// Meter tells what a call has used so far. It may be asked beside anything else, by
// several at once, and until long after the group is gone.
type Meter struct{ g Group }

// Meter is made after Begin, and is of that call alone.
func (g *Group) Meter() *Meter {
	return &Meter{Group{m: g.m, path: g.path, own: g.own, before: g.before}}
}

// Usage is what the call has used since Begin. What cannot be read is -1.
func (m *Meter) Usage() Usage { return m.g.since(m.g.m.b.usage(m.g.m.readerOf(m.g.path))) }

// since is what was used since Begin, given what the counters say now.
func (g *Group) since(now Usage) Usage {
	since := func(now, before int64) int64 {
		if now < 0 || before < 0 {
			return now
		}
		return now - before
	}
	if now.CPUUser >= 0 && g.before.CPUUser >= 0 {
		now.CPUUser, now.CPUSystem = max(0, now.CPUUser-g.before.CPUUser), max(0, now.CPUSystem-g.before.CPUSystem)
	}
	now.PidsLimitHits = since(now.PidsLimitHits, g.before.PidsLimitHits)
	now.OOMKills = since(now.OOMKills, g.before.OOMKills)
	now.IOReadBytes = since(now.IOReadBytes, g.before.IOReadBytes)
	now.IOWriteBytes = since(now.IOWriteBytes, g.before.IOWriteBytes)
	if now.PidsPeak >= 0 {
		now.PidsPeak = max(0, now.PidsPeak-g.own)
	}
	return now
}

// Resets reports whether the peak of memory was reset at the last Begin.
func (g *Group) Resets() bool { return g.resets }

// Worn reports whether the group's peaks would tell a further call what it did
// not do: the kernel cannot reset all of them. u is the last call's usage.
func (g *Group) Worn(u Usage) bool {
	return !g.resets || u.PidsPeak > leftoverPids || u.OOMKills != 0 || u.PidsLimitHits > 0 ||
		intOr(g.read, g.m.b.memoryFile()) > g.memory+leftoverBytes
}

func (g *Group) open(f file) (*kept, error) {
	for i := range g.files {
		if g.files[i].file == f {
			return &g.files[i], nil
		}
	}
	path := g.m.b.at(g.path, f)
	opened, err := os.OpenFile(path, os.O_RDWR, 0)                          //nolint:gosec // below the control groups' root
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EINVAL) { // one that can only be read
		opened, err = os.Open(path) //nolint:gosec // likewise
	}
	if err != nil {
		return nil, err
	}
	g.files = append(g.files, kept{f, opened, int(opened.Fd())})
	return &g.files[len(g.files)-1], nil
}

// read is a reader on files that stay open.
func (g *Group) read(of file) ([]byte, error) {
	f, err := g.open(of)
	if err != nil {
		return nil, err
	}
	if g.buf == nil {
		g.buf = make([]byte, kernelFileBytes)
	}
	g.buf = g.buf[:cap(g.buf)]
	n, err := g.readAt(f, 0)
	for err == nil && !wholeRead(n) { // a large one comes in pieces
		if n == len(g.buf) {
			g.buf = append(g.buf, make([]byte, len(g.buf))...)
		}
		var more int
		if more, err = g.readAt(f, n); more == 0 {
			break
		}
		n += more
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: err}
	}
	return g.buf[:n], nil
}

// readAt is one read into buf from n on. os.File would read until it sees the end, which
// doubles the system calls.
func (g *Group) readAt(f *kept, n int) (int, error) {
	more, err := again(func() (int, error) { return syscall.Pread(f.fd, g.buf[n:], int64(n)) })
	return max(0, more), err
}
