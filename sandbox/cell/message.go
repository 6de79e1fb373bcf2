package cell

import (
	"io"
	"time"
)

// ProtocolVersion is what Hello carries. Host and init come from one build; a
// difference means that a wrong binary is in the cell.
const ProtocolVersion = 8

// What a program finds in a cell.
const (
	PayloadUID = 1000          // uid of the program inside the user namespace
	PayloadGID = 1000          // gid of it
	Workspace  = "/workspace"  // where the call's files are
	Home       = "/home/agent" // HOME, on a tmpfs of the call
)

// SocketPath is where init looks for the host's socket. It is covered before
// there is another process in the cell.
const SocketPath = "/dev/sandgate.sock"

// MountPoints are the directories that init mounts on and that therefore must
// exist in the cell's root. /sys and /var/tmp are covered if they exist.
var MountPoints = []string{"/proc", "/dev", "/tmp", Home, Workspace}

// StdinWindowBytes is how much stdin may be under way to a call that does not
// read it; StdinChunkBytes is the most that one Stdin frame carries.
const (
	StdinWindowBytes = 256 << 10
	StdinChunkBytes  = 64 << 10
	// OutputChunkBytes is the most that one Output frame carries.
	OutputChunkBytes = 128 << 10
)

// MaxOutputBytes bounds Exec.OutputBytes: half of it is held by init per stream.
const MaxOutputBytes = 64 << 20

// Hello is the first frame of init.
type Hello struct {
	Protocol      int    // ProtocolVersion
	Version       string // version of sandgate-init
	SeccompSHA256 string // hex digest of the filter that every payload gets, of its programs one after another
	// ForkServers are the pids, as seen in the cell, of the processes that fork the
	// stages of each slot. What they fork is in the control group that they are in.
	ForkServers [Slots]int
	// Doors says that init takes a Doors frame: one without a body, before the first
	// Prepare, with the reading ends of as many pipes as there are slots, as SCM_RIGHTS.
	Doors bool
}

// SeccompFilters is how many programs the filter is made of that a holder has beyond what
// init itself has, where the host reaches init by a socket.
const SeccompFilters = 2

// Slots is how many stages a cell can have at once: one runs a call while the
// next one is made in the other.
const Slots = 2

// Stage says how a stage is to be made.
type Stage struct {
	Slot int // 0 to Slots-1; its last call must be over
	// Workspace is what the call will most likely want; for WorkspaceCell it is
	// binding, since a stage made so has no other.
	Workspace WorkspaceKind
	// DiskBytes is what the call's Exec will most likely say; 0 = not known. When
	// it says something else the stage is refitted, which costs a moment.
	DiskBytes int64
}

// Proof is what the holder reads about itself from the kernel when everything
// that it must lose is lost, just before it waits for a program to become. Where
// the host reaches init by a socket it can look at the holder itself, and only
// SeccompSHA256 is set.
type Proof struct {
	UID, GID       int
	NoNewPrivs     bool
	SeccompMode    int    // 2 = filter; -1 = the kernel does not tell
	SeccompSHA256  string // hex digest of the filter installed
	CapEffective   uint64
	CapPermitted   uint64
	CapInheritable uint64
	CapBounding    uint64
	CapAmbient     uint64
	Namespaces     map[string]string // "pid": "pid:[4026532…]"
}

// Prepared says that a stage waits for an Exec.
type Prepared struct {
	Slot int
	// StagePID is pid 1 of the call's pid namespace, as seen in the cell's.
	StagePID int
	// HolderPID is the process that becomes the program, as seen in the call's pid
	// namespace: the last NSpid of the stage's only child.
	HolderPID int
	Proof     Proof
}

// WorkspaceKind says what is to be at Workspace when the program starts.
type WorkspaceKind uint8

// Kinds of workspaces.
const (
	// WorkspaceEphemeral is a fresh tmpfs of Exec.DiskBytes.
	WorkspaceEphemeral WorkspaceKind = 0
	// WorkspaceMoved was moved by the host into the stage's mount namespace after
	// Prepared; init refuses to start the program when nothing was mounted there.
	WorkspaceMoved WorkspaceKind = 1
	// WorkspaceCell is what the cell itself has there: since its start, or put
	// there by the host before the stage was made.
	WorkspaceCell WorkspaceKind = 2
	// WorkspaceEmpty is an empty directory that cannot be written to: an ephemeral
	// workspace that is read-only. Only an Exec has it; init looks that it is so.
	WorkspaceEmpty WorkspaceKind = 3
	// WorkspaceBelow is the directory BelowName of what the cell itself has at
	// Workspace since its start, bound over that. It is for cells in gVisor, which
	// sees what the host mounts in the middle of a file system, and not at its root.
	// The host has put it there before the first Exec or Prepare that names it.
	WorkspaceBelow WorkspaceKind = 4
)

// BelowName is the directory of WorkspaceBelow.
const BelowName = "ws"

// Exec is one program to be run. Its output is read to the end, whatever of it is
// kept; beyond 64 MiB (8 MiB where others want the processors) at 128 MiB a second,
// which the program feels as a slow reader.
type Exec struct {
	Argv []string // Argv[0] without a slash is looked up in PATH of Env
	Env  []string // the whole environment, "K=V"
	Cwd  string   // absolute; empty means Workspace

	WallTime         time.Duration // from the program's start; > 0
	OutputBytes      int64         // kept per stream, half head, half tail; > 0
	Live             bool          // all output comes, not only what is kept
	OutputTotalBytes int64         // kill beyond this on both streams together; 0 = never
	DiskBytes        int64         // size of each tmpfs of the call; > 0
	FileBytes        int64         // RLIMIT_FSIZE; 0 means DiskBytes
	OpenFiles        int64         // RLIMIT_NOFILE; 0 means 1024
	// Pids bounds the processes and threads of the call by RLIMIT_NPROC, where no
	// control group of the host can: in gVisor. 0 = init sets no bound.
	Pids int64

	Workspace WorkspaceKind
	Next      *Stage // the next stage to be made as soon as this program runs; nil = none

	// Terminal makes a terminal of this size the program's stdin, stdout and stderr, and
	// controlling terminal: all its output is Stdout. The end of Stdin is typed as the
	// terminal's end-of-file character. nil = pipes.
	Terminal *Size

	// Stdin is read to its end or until the call ends; nil is an empty stdin. It
	// does not travel in the Exec frame.
	Stdin io.Reader

	// Control is read from the moment the program is let run until the call ends; nil or
	// its close is the end of it. What comes before the program runs waits for it, what
	// comes after its end is dropped. It does not travel either.
	Control <-chan Control

	// Ready, if not nil, is asked while init gets everything ready but the execve
	// itself, which waits for it. An error ends the call, and the program has not
	// run. It does not travel either.
	Ready func() error
}

// Size is that of a terminal's window, in characters.
type Size struct{ Rows, Cols uint16 }

// Control is one thing that is done to a running program: a signal or, of a program with
// a terminal, a new size.
type Control struct {
	// Signal is the number of a signal for the program's process group, for the one in
	// the foreground of its terminal; 0 = none.
	Signal int
	Size   Size // without Signal
}

// Started says that the program was executed, with limits as the kernel showed
// them just before.
type Started struct {
	OpenFiles int64            // RLIMIT_NOFILE, hard
	FileBytes int64            // RLIMIT_FSIZE, hard
	CoreBytes int64            // RLIMIT_CORE, hard
	Pids      int64            // by RLIMIT_NPROC, hard; 0 = no bound of init's
	DiskBytes map[string]int64 // size of each tmpfs by mount point
	WallTime  time.Duration    // the deadline that is armed
}

// Stream is one of the two output streams.
type Stream uint8

// The output streams.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// Output is one chunk of output. Offset counts the stream's bytes from 0; what
// lies between two chunks of a stream was dropped.
type Output struct {
	Stream Stream
	Offset int64
	Data   []byte // valid until the next frame is read
}

// Exit says that the whole process tree of the call is gone and that every
// Output frame of it was sent before.
type Exit struct {
	ExitCode int // -1 unless the program exited by itself
	Signal   int // number of the signal that ended it, else 0; also for a kill by init

	// Why init ended the call; all false when it ended by itself.
	TimedOut    bool // WallTime passed
	Cancelled   bool // a Kill frame came
	OutputLimit bool // OutputTotalBytes was exceeded

	// DiskFull says that a tmpfs of the call was full when the program had ended,
	// and that it had failed: by an exit code or by a signal, mostly SIGXFSZ.
	DiskFull bool

	// StartError is not empty when no program was executed: the cause in one
	// line. StartErrno is the kernel's number for it, 0 if there is none.
	StartError string
	StartErrno int

	StdoutTotal, StderrTotal int64 // bytes that the program wrote

	// BackgroundKilled counts processes still alive when the program ended. When
	// init ended the call it is 0: nobody counted.
	BackgroundKilled int64
	RunTime          time.Duration // from the start to the tree being gone
	// OwnTime is the part of RunTime until the program itself had ended, as the kernel told
	// its parent, or init ended the call; ReapTime is from there until init answers: the end
	// of what the program had left, the rest of its output. What init does after its answer
	// is in neither: it closes the pipes of the call, and its stage ends.
	OwnTime, ReapTime time.Duration
	// Answered is when init answered, by the monotonic clock of the kernel that it runs on:
	// the host's, or gVisor's own.
	Answered time.Duration

	// Resources of the program and those of its children that it waited for.
	CPUUser, CPUSystem time.Duration
	MaxRSSBytes        int64 // of the largest single process

	// Poisoned is not empty when the cell must not be used again, and says why.
	Poisoned string
}
