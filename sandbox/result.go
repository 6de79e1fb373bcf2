package sandbox

import (
	"errors"
	"time"

	"github.com/sandgate/sandgate/sandbox/changeset"
)

// ErrDeadline is the cancellation cause that makes a cancelled call TIMED_OUT.
var ErrDeadline = errors.New("deadline of the call has passed")

// Outcome says how a call ended. A host can act on it without reading text.
type Outcome string

// Outcomes of a call that reached the sandbox.
const (
	OutcomeExited      Outcome = "EXITED"        // by itself; ExitCode holds
	OutcomeSignaled    Outcome = "SIGNALED"      // by a signal that sandgate did not send of itself; Signal holds
	OutcomeTimedOut    Outcome = "TIMED_OUT"     // WallTime passed
	OutcomeOutOfMemory Outcome = "OUT_OF_MEMORY" // the kernel killed it for MemoryBytes
	OutcomeOutputLimit Outcome = "OUTPUT_LIMIT"  // wrote more than OutputTotalBytes
	OutcomeDiskLimit   Outcome = "DISK_LIMIT"    // failed while one of its file systems was full
	OutcomeCancelled   Outcome = "CANCELLED"     // the host cancelled, went away, or the daemon stops
	OutcomeStartFailed Outcome = "START_FAILED"  // the program could not be executed; Message says why
	OutcomeUnknown     Outcome = "UNKNOWN"       // it may have run; what came of it is not known
)

// Result is what came of one call.
type Result struct {
	Outcome  Outcome
	ExitCode int    // for EXITED; else -1
	Signal   string // for SIGNALED: "SIGSEGV"
	Message  string // for START_FAILED and UNKNOWN: cause in one line

	Stdout, Stderr Output

	QueueTime time.Duration // waiting for a cell
	StartTime time.Duration // from having a cell to the program running
	RunTime   time.Duration // program running, to its tree being gone

	// Steps are what Run did, in order and without gaps: their sum is the time
	// from its start to its return. Names are stable, they become metric labels.
	Steps []Step

	Usage   Usage
	Receipt Receipt

	// Overlay is what a call with Workspace.Transaction has left. Whoever calls Run
	// closes it. Nil: it left nothing, or how it ended is not known.
	Overlay *changeset.Overlay
}

// Step is a part of a call's way and the time that it took.
type Step struct {
	// Name is "claim", "limits", "workspace", "ready" (in Call.Ready), "start", "run" (the
	// program, until its own end), "reap" (until nothing of the call is left and its output
	// is read) or "collect".
	Name string
	Took time.Duration
}

// Output is what was kept of one stream.
type Output struct {
	Head       []byte // from offset 0
	Tail       []byte // the last bytes; empty when Head holds everything
	TotalBytes int64  // what the program wrote
}

// Truncated reports whether bytes between Head and Tail were dropped.
func (o Output) Truncated() bool { return int64(len(o.Head)+len(o.Tail)) < o.TotalBytes }

// Usage is read from the call's own cgroup after its end. Counters that this
// machine cannot give are -1.
type Usage struct {
	CPUUser, CPUSystem time.Duration
	MemoryPeakBytes    int64
	PidsPeak           int64
	PidsLimitHits      int64 // how often fork was refused
	OOMKills           int64
	IOReadBytes        int64
	IOWriteBytes       int64
	BackgroundKilled   int64 // processes still alive when the program ended
}

// Receipt is what was really enforced, read back from the kernel. A field that
// could not be read back is listed in Unverified, never filled by assumption.
type Receipt struct {
	CellID        string    `json:"cell_id"`
	CellCalls     int64     `json:"cell_calls"` // calls that this cell had served before
	Image         string    `json:"image"`
	ImageDigest   string    `json:"image_digest,omitempty"`
	Isolation     Isolation `json:"isolation"`
	Runtime       string    `json:"runtime"`        // "runc 1.5.2"
	CgroupVersion int       `json:"cgroup_version"` // 1 or 2

	// Enforced are the limits as the kernel shows them, by name with unit:
	// "memory_bytes", "cpu_millis", "pids", "wall_time_ms", "output_bytes",
	// "disk_bytes", "file_bytes", "open_files".
	Enforced map[string]int64 `json:"enforced"`
	// Unverified are names of Enforced or of fields below that could not be read back,
	// and "workspace_disk_bytes" when the workspace is a directory of the machine:
	// "disk_bytes" then binds only what the cell has of its own.
	Unverified []string `json:"unverified,omitempty"`

	UID           int               `json:"uid"`      // of the program inside the cell
	HostUID       int               `json:"host_uid"` // of the program as the machine sees it
	NoNewPrivs    bool              `json:"no_new_privs"`
	SeccompMode   int               `json:"seccomp_mode"` // 2 = filter
	SeccompSHA256 string            `json:"seccomp_sha256,omitempty"`
	CapEffective  uint64            `json:"cap_effective"`
	CapBounding   uint64            `json:"cap_bounding"`
	Namespaces    map[string]string `json:"namespaces,omitempty"` // "pid": "pid:[4026532…]"
	Network       string            `json:"network"`              // "none"
	// Workspace is "ephemeral", "directory" or "directory:idmapped", the latter two
	// with ":transaction" where the call had an overlay of it.
	Workspace string `json:"workspace"`
	// Mounts are those of the call's Mounts, parents first, and before them the
	// workspace itself if it was demanded read-only.
	Mounts []MountState `json:"mounts,omitempty"`
}

// Capabilities is what a Runtime can enforce here.
type Capabilities struct {
	Kernel        string
	CgroupVersion int
	Runtime       string
	Controls      []Control
}

// Control is one thing that can or cannot be enforced on this machine.
type Control struct {
	Name     string // "memory_bytes", "seccomp", "idmapped_mounts", …
	Binds    bool   // seen to bind by trying
	Required bool   // without it calls are refused
	Detail   string // what was seen
	Remedy   string // what an operator can do if it does not bind
}

// Pool is the state of the cells of one class.
type Pool struct {
	Image     string
	Isolation Isolation

	Fresh   int // made ahead, belong to nobody
	Kept    int // idle, belong to a reuse key
	Busy    int // claimed by a call
	Making  int // being made
	Dying   int // being destroyed
	Waiting int // calls that wait for a cell
	Target  int // fresh cells that the pool wants at present

	// Counters since the runtime was made.
	Made     int64 // cells
	Claims   int64 // calls that got a cell
	Dry      int64 // claims that had to wait for a cell to be made
	Retired  int64 // cells destroyed for age or count of calls
	Poisoned int64 // cells destroyed because their reset was in doubt
	Failed   int64 // cells that could not be made
}
