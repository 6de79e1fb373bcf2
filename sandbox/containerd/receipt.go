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
	pid  int
	ids  []int // from the machine's pid namespace inwards
	text []byte
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
	for f := range bytes.FieldsSeq(s.field("NSpid")) {
		id, err := strconv.Atoi(string(f))
		if err != nil {
			return s, fmt.Errorf("inspect process %d: %w", pid, err)
		}
		s.ids = append(s.ids, id)
	}
	return s, nil
}

// field is the rest of the line that begins with a key.
func (s status) field(key string) []byte {
	_, rest, ok := bytes.Cut(s.text, []byte("\n"+key+":"))
	if !ok {
		return nil
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return bytes.TrimSpace(line)
}

// evidence takes from the status, and from the links of its namespaces, what the
// machine says of a holder.
func (s status) evidence() (evidence, error) {
	var err error
	first := func(key string) string {
		f := bytes.Fields(s.field(key))
		if len(f) == 0 {
			return ""
		}
		return string(f[0])
	}
	hex := func(key string) uint64 {
		v, perr := strconv.ParseUint(first(key), 16, 64)
		if perr != nil {
			err = fmt.Errorf("inspect process: %s is %q", key, first(key))
		}
		return v
	}
	number := func(key string) int {
		v, perr := strconv.Atoi(first(key))
		if perr != nil {
			err = fmt.Errorf("inspect process: %s is %q", key, first(key))
		}
		return v
	}
	e := evidence{seccompFilters: -1, namespaces: make(map[string]string, 8)}
	e.uid, e.seccompMode, e.noNewPrivs = number("Uid"), number("Seccomp"), number("NoNewPrivs") == 1
	e.capEffective, e.capPermitted, e.capBounding = hex("CapEff"), hex("CapPrm"), hex("CapBnd")
	if first("Seccomp_filters") != "" {
		e.seccompFilters = number("Seccomp_filters")
	}
	if nerr := readNamespaces(s.pid, e.namespaces); nerr != nil {
		return e, fmt.Errorf("inspect process: %w", nerr)
	}
	return e, err
}

// readNamespaces reads which namespaces a process is in.
func readNamespaces(pid int, into map[string]string) error {
	dir := "/proc/" + strconv.Itoa(pid) + "/ns"
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var link [64]byte
	for _, name := range append(namespaceNames(), "cgroup") {
		n, err := unix.Readlinkat(fd, name, link[:])
		if err != nil {
			return &os.PathError{Op: "readlink", Path: dir + "/" + name, Err: err}
		}
		into[name] = string(link[:n])
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
