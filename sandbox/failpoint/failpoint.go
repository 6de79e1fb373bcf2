// Package failpoint names the places at which the daemon can be made to die, to
// stall or to fail, for the crash tests: one for every step of a call, of the
// journal, of a cell's life, of start and of stop. The gate, the journal, the
// sandbox and the daemon call At at their places; test/crash arms them.
//
// In a normal build every function here is empty and costs nothing: a daemon that
// is in use must never be able to be armed. Built with the tag
// "sandgate_failpoints", a program reads SANDGATE_FAILPOINTS once:
//
//	SANDGATE_FAILPOINTS='gate/decided=kill@3,journal/written=stall:20ms@*'
//
// Each item is a point, an action and at which hit it is done: "@3" at the third,
// "@*" at each, nothing at the first. The actions are "kill", by which the program
// kills itself with SIGKILL after one line on stderr; "stall:DURATION"; and
// "error:eio" or "error:enospc", which only the points of Err know.
//
// It lies below sandbox because the sandbox imports nothing of internal.
package failpoint

// Point is a place in the program.
type Point string

// The points of a call on its way through the gate, in their order.
const (
	RPCRequest        Point = "rpc/request"         // a call has come in
	GateValidated     Point = "gate/validated"      // it is a call that can be
	GateClaimed       Point = "gate/claimed"        // its id is taken
	GateFacts         Point = "gate/facts"          // the policy's input is made
	GateDecided       Point = "gate/decided"        // the policy has answered
	GateRefusalBefore Point = "gate/refusal-before" // a refusal is about to be recorded
	GateRefusalAfter  Point = "gate/refusal-after"  // it is on disk
	GateAdmitted      Point = "gate/admitted"       // the call has its place
	GateIntentBefore  Point = "gate/intent-before"  // its intent is about to be recorded
	GateIntentAfter   Point = "gate/intent-after"   // it is on disk
	GateAsked         Point = "gate/asked"          // the sandbox asks whether the program may run
	GateReleased      Point = "gate/released"       // it may
	GateRan           Point = "gate/ran"            // the sandbox is done with it
	GateOutcomeBefore Point = "gate/outcome-before" // its outcome is about to be recorded
	GateOutcomeAfter  Point = "gate/outcome-after"  // it is on disk
	GateKept          Point = "gate/kept"           // its result is kept for those who ask again
	RPCReply          Point = "rpc/reply"           // its result is about to be sent
	StreamRequest     Point = "stream/request"      // a streamed call has come in
	StreamReply       Point = "stream/reply"        // its result is about to be sent
	StreamAttached    Point = "stream/attached"     // somebody follows a call
	DetachBegun       Point = "detach/begun"        // a call goes on without a request
	DetachReply       Point = "detach/reply"        // its host is about to be told that it runs
	GateRecoverBefore Point = "gate/recover-before" // at start: a call is about to be recorded as UNKNOWN
	GateRecoverAfter  Point = "gate/recover-after"  // that is on disk
)

// The points of the journal.
const (
	JournalQueued   Point = "journal/queued"   // a record goes to the writer
	JournalBatch    Point = "journal/batch"    // a batch is encoded
	JournalTorn     Point = "journal/torn"     // a part of a batch is written (see Torn)
	JournalWritten  Point = "journal/written"  // a batch is written, perhaps not synced
	JournalDurable  Point = "journal/durable"  // it is on disk, and nobody knows yet
	JournalAnswered Point = "journal/answered" // everybody knows
	JournalAhead    Point = "journal/ahead"    // a piece of zeros is written ahead
	JournalOpened   Point = "journal/opened"   // at start: it is read, and a torn tail cut

	JournalTurnBefore     Point = "journal/turn-before"     // the live segment is about to be closed
	JournalTurnBetween    Point = "journal/turn-between"    // it has the name of a closed one, and there is no live one
	JournalTurnAfter      Point = "journal/turn-after"      // the next one is live
	JournalSnapshotBefore Point = "journal/snapshot-before" // a snapshot is there that the journal does not know
	JournalSnapshotAfter  Point = "journal/snapshot-after"  // the journal knows it
	JournalRemove         Point = "journal/remove"          // a segment is recorded as removed, and is there
	JournalCheckpoint     Point = "journal/checkpoint"      // a checkpoint is recorded, and not yet in its file
)

// The points of sessions.
const (
	SessionWorkspace Point = "session/workspace" // its workspace is there, and not yet the program's
	SessionBefore    Point = "session/before"    // what becomes of it or its files is about to be recorded
	SessionAfter     Point = "session/after"     // it is on disk
	SessionQuiet     Point = "session/quiet"     // its calls have ended, and its end is about to be recorded
	SessionEnding    Point = "session/ending"    // its end is on disk, and its cells and files are there
	SessionTrash     Point = "session/trash"     // the files of one that has ended are moved away

	SnapshotPacked   Point = "snapshot/packed"   // its files are packed, and nothing says what they are
	SnapshotTaken    Point = "snapshot/taken"    // it is whole, and not recorded
	SnapshotRemoving Point = "snapshot/removing" // it is none any more, and its files are there
	RestoreUnpacked  Point = "restore/unpacked"  // it is unpacked beside the workspace
	RestoreReplacing Point = "restore/replacing" // that it is put back is on disk, and the workspace is that of before
	RestoreReplaced  Point = "restore/replaced"  // the workspace is replaced, and that of before is there
	ForkRecorded     Point = "fork/recorded"     // that it is being made is on disk
	ForkCopied       Point = "fork/copied"       // its files are there, and not yet its workspace
	ForkMade         Point = "fork/made"         // it is whole, which is not on disk

	TreeUnpacked Point = "tree/unpacked" // a working tree is there, and not yet a session's workspace
	TreePacked   Point = "tree/packed"   // what was committed in it is packed in the workspace
	TreeTaken    Point = "tree/taken"    // its objects are in the repository, without a branch
	TreeKept     Point = "tree/kept"     // the branch is there, and the session has not ended

	DiskMaking   Point = "disk/making"   // the image of a quota is a file without a file system
	DiskMade     Point = "disk/made"     // it has one
	DiskLooped   Point = "disk/looped"   // and a device
	DiskMounted  Point = "disk/mounted"  // and is mounted
	DiskRemoving Point = "disk/removing" // it is not mounted any more, and there
)

// The points of approvals and grants.
const (
	ApprovalFrozen  Point = "approval/frozen"  // the files that a question is about are looked at
	ApprovalBefore  Point = "approval/before"  // what an approver is asked or says is about to be recorded
	ApprovalAfter   Point = "approval/after"   // it is on disk
	ApprovalAsked   Point = "approval/asked"   // the question is, and nobody knows
	ApprovalDecided Point = "approval/decided" // what became of it is, and nobody knows
	ApprovalTaken   Point = "approval/taken"   // a call has taken it for its run, without an intent
	GrantGiving     Point = "grant/giving"     // a call is approved, and the grant with it is not made
	GrantBefore     Point = "grant/before"     // that one is given or revoked is about to be recorded
	GrantAfter      Point = "grant/after"      // it is on disk
	GrantRevoking   Point = "grant/revoking"   // nobody can use it any more, which is not on disk
	GrantTaken      Point = "grant/taken"      // a call has taken a use of it for its run, without an intent
)

// The points of what is kept of outputs.
const (
	SpoolFile   Point = "spool/file"   // the output of a running call goes to a file
	SpoolStore  Point = "spool/store"  // that of calls that have ended is about to be stored
	SpoolStored Point = "spool/stored" // it is, and is read from where it was meanwhile
	SpoolLeft   Point = "spool/left"   // at start: the output of calls that were cut off is found
	SpoolKept   Point = "spool/kept"   // it is stored, and its file is there
)

// The points of a call in its cell, in their order.
const (
	SandboxClaimed   Point = "sandbox/claimed"    // it has a cell
	SandboxLimits    Point = "sandbox/limits"     // which is bounded
	SandboxWorkspace Point = "sandbox/workspace"  // and has its workspace
	SandboxReady     Point = "sandbox/ready"      // init is about to hear that it may start
	SandboxStarted   Point = "sandbox/started"    // it has started the program
	SandboxExited    Point = "sandbox/exited"     // the program's tree has ended
	SandboxCollected Point = "sandbox/collected"  // its result is put together
	SandboxGivenBack Point = "sandbox/given-back" // the cell is back in the pool
)

// The points of a transactional call's changes, in their order.
const (
	CommitRead   Point = "commit/read"   // they are known, and nothing is decided
	CommitMerged Point = "commit/merged" // policy lets them be made, and nothing is in their way
	CommitCopied Point = "commit/copied" // they are copied beside the workspace
	CommitStaged Point = "commit/staged" // and are on disk there, with the plan
	CommitStep   Point = "commit/step"   // one of them is about to be made in the workspace
	CommitDone   Point = "commit/done"   // all are made, and on disk

	CommitRecorded  Point = "commit/recorded"  // that they are about to be made is on disk
	CommitEnded     Point = "commit/ended"     // the call's outcome is on disk, and its stage is there
	CommitRemoved   Point = "commit/removed"   // and that is gone
	CommitRecover   Point = "commit/recover"   // at start: an interrupted commit is about to be ended
	CommitRecovered Point = "commit/recovered" // that it was is on disk, and its stage is there
)

// The points of a cell's life, in their order.
const (
	CellLinked    Point = "cell/linked"    // its socket is there
	CellContainer Point = "cell/container" // containerd knows it
	CellTask      Point = "cell/task"      // its task is made
	CellStarted   Point = "cell/started"   // init runs
	CellGreeted   Point = "cell/greeted"   // and has greeted
	CellStaged    Point = "cell/staged"    // it waits for a call
	CellKilled    Point = "cell/killed"    // its processes are killed
	CellDeleted   Point = "cell/deleted"   // containerd has forgotten it
	CellDestroyed Point = "cell/destroyed" // nothing of it is left
)

// The points of the daemon's start and stop, in their order.
const (
	StartJournal    Point = "start/journal"    // the journal is open and says that the daemon started
	StartPolicy     Point = "start/policy"     // the policy is loaded
	StartReaped     Point = "start/reaped"     // what an earlier daemon left is removed
	StartContainerd Point = "start/containerd" // containerd answers
	StartContainers Point = "start/containers" // and has forgotten the earlier daemon's containers
	StartGate       Point = "start/gate"       // the gate knows the earlier calls
	StartListening  Point = "start/listening"  // the sockets are open
	StopDraining    Point = "stop/draining"    // no more calls are taken
	StopDrained     Point = "stop/drained"     // none runs
	StopPart        Point = "stop/part"        // a part is taken down; hit by each
)

// KilledAt is the line that a program writes before it kills itself at a point.
func KilledAt(p Point) string { return "failpoint: killed at " + string(p) + "\n" }

// All returns every point, in the order of this file.
func All() []Point {
	return []Point{
		RPCRequest, GateValidated, GateClaimed, GateFacts, GateDecided, GateRefusalBefore, GateRefusalAfter, GateAdmitted,
		GateIntentBefore, GateIntentAfter, GateAsked, GateReleased, GateRan, GateOutcomeBefore, GateOutcomeAfter, GateKept,
		RPCReply, StreamRequest, StreamReply, StreamAttached, DetachBegun, DetachReply, GateRecoverBefore, GateRecoverAfter,
		JournalQueued, JournalBatch, JournalTorn, JournalWritten, JournalDurable, JournalAnswered, JournalAhead, JournalOpened,
		JournalTurnBefore, JournalTurnBetween, JournalTurnAfter, JournalSnapshotBefore, JournalSnapshotAfter, JournalRemove, JournalCheckpoint,
		SessionWorkspace, SessionBefore, SessionAfter, SessionQuiet, SessionEnding, SessionTrash,
		SnapshotPacked, SnapshotTaken, SnapshotRemoving, RestoreUnpacked, RestoreReplacing, RestoreReplaced, ForkRecorded, ForkCopied, ForkMade,
		TreeUnpacked, TreePacked, TreeTaken, TreeKept, DiskMaking, DiskMade, DiskLooped, DiskMounted, DiskRemoving,
		ApprovalFrozen, ApprovalBefore, ApprovalAfter, ApprovalAsked, ApprovalDecided, ApprovalTaken,
		GrantGiving, GrantBefore, GrantAfter, GrantRevoking, GrantTaken, SpoolFile, SpoolStore, SpoolStored, SpoolLeft, SpoolKept,
		SandboxClaimed, SandboxLimits, SandboxWorkspace, SandboxReady, SandboxStarted, SandboxExited, SandboxCollected, SandboxGivenBack,
		CommitRead, CommitMerged, CommitCopied, CommitStaged, CommitStep, CommitDone, CommitRecorded, CommitEnded, CommitRemoved, CommitRecover, CommitRecovered,
		CellLinked, CellContainer, CellTask, CellStarted, CellGreeted, CellStaged, CellKilled, CellDeleted, CellDestroyed,
		StartJournal, StartPolicy, StartReaped, StartContainerd, StartContainers, StartGate, StartListening,
		StopDraining, StopDrained, StopPart,
	}
}
