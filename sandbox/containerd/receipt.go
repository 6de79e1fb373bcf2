package containerd

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// evidence is what the machine's own /proc says of a holder, once it has lost
// what it must lose. It does not rest on anything that came out of the cell.
type evidence struct {
	uid            int // as the machine sees it
	noNewPrivs     bool
	seccompMode    int
	seccompFilters int // -1 on a kernel that does not tell
	capEffective   uint64
	capPermitted   uint64
	capBounding    uint64
	namespaces     map[string]string
}

// namespaceNames are those that a call must not share with the machine.
func namespaceNames() []string { return []string{"user", "pid", "mnt", "net", "ipc", "uts"} }

// status is what /proc tells of a process.
type status struct {
	pid    int
	ids    []int // from the machine's pid namespace inwards
	parent int
	text   []byte
}

// readStatus reads it.
func readStatus(pid int) (status, error) { return readStatusInto(nil, pid) }

// readStatusInto reads it into memory that the caller has.
func readStatusInto(into []byte, pid int) (status, error) {
	s := status{pid: pid}
	var err error
	if s.text, err = cgroup.AppendKernelFile(into, "/proc/"+strconv.Itoa(pid)+"/status"); err != nil {
		return s, fmt.Errorf("inspect process: %w", err)
	}
	for line := range bytes.Lines(s.text) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		switch string(key) {
		case "PPid":
			s.parent, err = strconv.Atoi(string(first(value)))
		case "NSpid":
			for f := range bytes.FieldsSeq(value) {
				var id int
				if id, err = strconv.Atoi(string(f)); err != nil {
					break
				}
				s.ids = append(s.ids, id)
			}
		}
		if err != nil {
			return s, fmt.Errorf("inspect process %d: %s: %w", pid, key, err)
		}
		if s.ids != nil { // it comes last
			break
		}
	}
	return s, nil
}

// first is the first word of a value.
func first(value []byte) []byte {
	for f := range bytes.FieldsSeq(value) {
		return f
	}
	return nil
}

// evidence takes from the status, and from the links of its namespaces, what the
// machine says of a holder. Names of namespaces that it has in common with an earlier
// look share that one's memory.
func (s status) evidence(before evidence) (evidence, error) {
	e := evidence{seccompFilters: -1, namespaces: make(map[string]string, 8)}
	found := 0
	for line := range bytes.Lines(s.text) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		var err error
		switch string(key) {
		case "Uid":
			e.uid, err = strconv.Atoi(string(first(value)))
		case "Seccomp":
			e.seccompMode, err = strconv.Atoi(string(first(value)))
		case "NoNewPrivs":
			var n int
			n, err = strconv.Atoi(string(first(value)))
			e.noNewPrivs = n == 1
		case "CapEff":
			e.capEffective, err = strconv.ParseUint(string(first(value)), 16, 64)
		case "CapPrm":
			e.capPermitted, err = strconv.ParseUint(string(first(value)), 16, 64)
		case "CapBnd":
			e.capBounding, err = strconv.ParseUint(string(first(value)), 16, 64)
		case "Seccomp_filters":
			found-- // it is none of those that every kernel tells
			e.seccompFilters, err = strconv.Atoi(string(first(value)))
		default:
			continue
		}
		if err != nil {
			return e, fmt.Errorf("inspect process: %s: %w", key, err)
		}
		found++
	}
	if found != 6 {
		return e, fmt.Errorf("inspect process %d: /proc tells %d of 6 of uid, seccomp mode, no_new_privs and capabilities: %w", s.pid, found, errdefs.ErrInternal)
	}
	if err := readNamespaces(s.pid, e.namespaces, before.namespaces); err != nil {
		return e, fmt.Errorf("inspect process: %w", err)
	}
	return e, nil
}

// readNamespaces reads which namespaces a process is in.
func readNamespaces(pid int, into, before map[string]string) error {
	dir := "/proc/" + strconv.Itoa(pid) + "/ns"
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var link [64]byte
	for _, name := range [...]string{"user", "pid", "mnt", "net", "ipc", "uts", "cgroup"} {
		n, err := unix.Readlinkat(fd, name, link[:])
		if err != nil {
			return &os.PathError{Op: "readlink", Path: dir + "/" + name, Err: err}
		}
		was := before[name]
		if was != string(link[:n]) {
			was = string(link[:n])
		}
		into[name] = was
	}
	return nil
}

// verify refuses a holder that could do more than a call may: with it the inner
// wall would not be what the receipt says.
func (r *Runtime) verify(e evidence) error {
	fault := ""
	switch {
	case e.uid != int(r.cfg.IDBase)+cell.PayloadUID:
		fault = fmt.Sprintf("runs as uid %d", e.uid)
	case !e.noNewPrivs:
		fault = "may gain privileges"
	case e.seccompMode != 2 || e.seccompFilters >= 0 && e.seccompFilters < 1+cell.SeccompFilters:
		fault = fmt.Sprintf("has seccomp mode %d with %d filters, want both walls", e.seccompMode, e.seccompFilters)
	case e.capEffective != 0 || e.capPermitted != 0:
		fault = fmt.Sprintf("has capabilities %#x", e.capEffective|e.capPermitted)
	}
	for _, name := range namespaceNames() {
		if e.namespaces[name] == r.ownNamespaces[name] {
			fault = "shares the machine's " + name + " namespace"
		}
	}
	if fault != "" {
		return fmt.Errorf("the inner wall is not up: the prepared process %s: %w", fault, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// makeReceipt says what was enforced: limits as the kernel and init read them
// back, walls as the machine's /proc shows them.
func (u *running) makeReceipt(s cell.Started) sandbox.Receipt {
	e := u.stage.seen
	enforced := u.enforced
	enforced["wall_time_ms"] = s.WallTime.Milliseconds()
	enforced["output_bytes"] = u.call.Limits.OutputBytes
	enforced["open_files"] = s.OpenFiles
	enforced["file_bytes"] = s.FileBytes
	var unverified []string
	if u.c.class.veiled() {
		enforced["pids"] = s.Pids
		unverified = notVerified()
		if len(u.mounts) > 0 {
			unverified = append(unverified, "mounts")
		}
	}
	if len(s.DiskBytes) > 0 {
		enforced["disk_bytes"] = largest(s.DiskBytes)
	} else {
		unverified = append(unverified, "disk_bytes")
	}
	switch {
	case u.overlay != nil:
		enforced["workspace_disk_bytes"] = u.overlay.bytes
	case u.diskBytes > 0:
		enforced["workspace_disk_bytes"] = u.diskBytes
	case u.call.Workspace.HostDir != "":
		// disk_bytes binds what the cell has of its own, not the machine's directory.
		unverified = append(unverified, "workspace_disk_bytes")
	}
	return sandbox.Receipt{
		CellID: u.c.id, CellCalls: u.c.calls,
		Image: u.call.Image, ImageDigest: u.c.class.digest,
		Isolation: u.c.class.isolation, Runtime: u.r.runtimeVersion(u.c.class.isolation),
		CgroupVersion: u.r.groups.Version(),
		Enforced:      enforced, Unverified: unverified,
		UID: cell.PayloadUID, HostUID: e.uid,
		NoNewPrivs: e.noNewPrivs, SeccompMode: e.seccompMode, SeccompSHA256: u.stage.proof.SeccompSHA256,
		CapEffective: e.capEffective, CapBounding: e.capBounding, Namespaces: e.namespaces,
		Network: "none", Workspace: u.workdir, Mounts: u.mounts,
	}
}

func largest(sizes map[string]int64) int64 {
	var most int64
	for _, n := range sizes {
		most = max(most, n)
	}
	return most
}
