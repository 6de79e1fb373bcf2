// Package sandbox is the execution half of sandgate as a library of its own:
// it says what a call to be run is (Call), under which bounds (Limits), what
// came of it (Result) and what was really enforced (Receipt). Runtime is the
// contract that the containerd implementation and the fake both fulfil.
//
// It decides nothing: whoever calls it has already a positive decision. It
// imports nothing of sandgate's internal packages, no containerd and no proto.
package sandbox

import (
	"context"
	"io"
	"time"
)

// Runtime runs calls in cells. Implementations MUST be safe for concurrent use.
type Runtime interface {
	// Run runs one call in a cell and returns when its whole process tree is
	// gone. A program that fails, is killed, runs out of memory or time is a
	// Result, never an error. An error means that the sandbox could not do its
	// job: nothing of the call is running when Run returns it.
	//
	// Run MUST end the call when ctx is cancelled (Outcome CANCELLED, or
	// TIMED_OUT if the cause is ErrDeadline) and MUST hold no more of its output
	// in memory than Limits.OutputBytes per stream.
	Run(ctx context.Context, call Call) (Result, error)

	// EndSession releases what is kept for a reuse key: its cells are destroyed.
	// Unknown keys are not an error.
	EndSession(ctx context.Context, reuseKey string) error

	// Capabilities tells what this runtime can enforce on this machine, found by
	// trying, not by guessing.
	Capabilities(ctx context.Context) (Capabilities, error)

	// Ready reports nil once a cell has really run a process and cells can be
	// had; otherwise the reason why not.
	Ready(ctx context.Context) error

	// Pools tells the state of the cells, a class each. It does not block.
	Pools() []Pool

	// Close destroys all cells and waits for it. Run MUST NOT be called after.
	Close(ctx context.Context) error
}

// ImageStore manages the OCI images that cells can be made from. The host
// image needs no store.
type ImageStore interface {
	// Import reads an OCI or docker archive (a tar stream) and returns what came in.
	Import(ctx context.Context, archive io.Reader, name string) ([]Image, error)
	// List returns all images, sorted by name.
	List(ctx context.Context) ([]Image, error)
	// Remove deletes an image by name; errdefs.ErrNotFound when there is none.
	Remove(ctx context.Context, name string) error
}

// Image is an imported OCI image.
type Image struct {
	Name      string    // reference that a policy or a tool names
	Digest    string    // digest of the manifest or index, "sha256:…"
	SizeBytes int64     // compressed content
	CreatedAt time.Time // when it was imported
}

// HostImage is the reserved image name for a read-only view of the machine's
// own /usr, /bin, /lib* and a short list of /etc files.
const HostImage = "host"

// Isolation is a class of outer wall.
type Isolation string

// Isolation classes. The runtime behind each is configuration.
const (
	IsolationRunc   Isolation = "runc"
	IsolationGVisor Isolation = "gvisor"
)

// Reuse tells whether a cell may serve another call.
type Reuse string

// Reuse modes: never, within the same session, within the same caller. A cell
// is never used across callers.
const (
	ReuseNever   Reuse = "never"
	ReuseSession Reuse = "session"
	ReuseCaller  Reuse = "caller"
)

// Call is one decided execution.
type Call struct {
	// ID names the call in logs, cgroups and the receipt. Required: 1 to 128
	// characters of [A-Za-z0-9._-].
	ID string
	// Image is HostImage or the name of an imported image. Empty means HostImage.
	Image string
	// Isolation is the class of the outer wall. Empty means IsolationRunc.
	Isolation Isolation
	// Reuse says whether the cell may be used again; ReuseKey for whom (the
	// runtime uses it as an opaque name: the caller plus, for ReuseSession, the
	// session). Empty Reuse means ReuseNever.
	Reuse    Reuse
	ReuseKey string

	// Owner is an opaque name of the caller: calls that wait for cells are served
	// fairly between owners. Empty is an owner of its own.
	Owner string

	// Argv is the program and its arguments; Argv[0] is looked up in the PATH of
	// Env inside the cell if it has no slash. Required.
	Argv []string
	// Env is the whole environment, "K=V". Nothing is added but what the cell
	// itself needs (HOME, PATH, TMPDIR and a UTF-8 locale when absent: LC_CTYPE if there
	// is no LANG, and SHELL for the host image).
	Env []string
	// Cwd is the working directory inside the cell; empty means WorkspacePath.
	Cwd string
	// Stdin is read to its end or until the call ends; nil is an empty stdin
	// (immediate EOF).
	Stdin io.Reader

	// Terminal gives the program a controlling terminal of this size as its stdin, stdout
	// and stderr: all its output is Stdout, and the end of Stdin is typed as the terminal's
	// end-of-file character. Nil: none.
	Terminal *TerminalSize
	// Control is read while the call runs, until it is closed; nil: never. What is sent
	// before the program runs waits for it. Whoever sends MUST stop when Run returns.
	Control <-chan Input

	// Workspace is what is mounted at WorkspacePath.
	Workspace Workspace
	// Mounts say what else may be done with parts of it, in any order.
	Mounts []Mount
	// Limits are the bounds of this very call. Zero fields are errors except
	// where the field says otherwise: whoever calls fills in defaults.
	Limits Limits

	// Ready is called once, from Run, when a cell is claimed and bounded and before
	// anything of the program is started. While it has not returned nil, nothing of
	// the call may run; an error means that it must not run, and Run returns it
	// wrapped, or the Result of a cancelled call if ctx has ended meanwhile. So what
	// has to be true before a program runs can come true while its cell is made
	// ready. Optional. Its time is the step "ready".
	Ready func(ctx context.Context) error

	// Live: the Observer is told of all output as it comes, also of what is not kept in
	// the Result, and the program waits while it is told.
	Live bool
	// Observer is told of the call's progress. Optional. Methods are called from
	// one goroutine at a time and MUST NOT block for long: a slow observer slows
	// the call, never the daemon's memory.
	Observer Observer
}

// WorkspacePath is where the workspace is seen in a cell.
const WorkspacePath = "/workspace"

// Workspace says what files the call works on.
type Workspace struct {
	// HostDir is a directory of the machine; empty means an ephemeral tmpfs of
	// Limits.DiskBytes that is gone with the call.
	HostDir string
	// KeepOwner mounts HostDir idmapped, so that the call's files belong on disk
	// to the owner of HostDir; no part of HostDir may then be a symbolic link, since
	// others may be able to exchange it. Without it HostDir must already belong to the
	// payload's host uid (Runtime implementations prepare it: see PrepareDir of
	// the containerd runtime).
	KeepOwner bool
	// ReadOnly mounts it read-only.
	ReadOnly bool
	// DiskBytes says that HostDir is on a file system that holds at most so many bytes,
	// as diskimage makes it. The call is refused if that is not so. 0: nothing is said.
	DiskBytes int64
	// Transaction gives the call an overlay of HostDir, which stays as it is: what
	// the call writes, at most Limits.DiskBytes of it, goes into Result.Overlay.
	// Without HostDir it means nothing.
	Transaction bool
}

// Limits are the bounds of one call. They are hard: a call that cannot be
// bounded so is refused with errdefs.ErrFailedPrecondition naming the limit.
type Limits struct {
	WallTime    time.Duration // deadline from start of the program; > 0
	CPUMillis   int64         // 1000 = one core; > 0
	MemoryBytes int64         // whole process tree, tmpfs included; >= 4 MiB
	Pids        int64         // processes and threads; > 0
	OutputBytes int64         // kept per stream, half head, half tail; > 0
	// OutputTotalBytes ends the call with OUTPUT_LIMIT when it has written more
	// on both streams together. 0 means no such end: the rest is counted and dropped.
	OutputTotalBytes int64
	// DiskBytes bounds each of the call's tmpfs mounts (/tmp, /dev/shm, ephemeral
	// workspace); > 0.
	DiskBytes int64
	// FileBytes is RLIMIT_FSIZE, the largest file it may write; 0 means DiskBytes.
	FileBytes int64
	// OpenFiles is RLIMIT_NOFILE; 0 means 1024.
	OpenFiles int64
}

// Observer is told of a running call.
type Observer interface {
	// Started is called once, when the program has been executed.
	Started(Receipt)
	// Output is called for each chunk that is kept, of a live call for all, in order per
	// stream. The
	// offset counts the stream's bytes from 0; a gap between chunks is output
	// that was dropped. data is only valid during the call.
	Output(stream Stream, offset int64, data []byte)
}

// Stream is one of the two output streams.
type Stream int

// The output streams.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)
