// Package gate is the one way of a call: validate, facts, decide, record, run,
// record. Every front (gRPC, MCP, hooks) goes through it, so there is one
// enforcement path. It must never run a call without a positive decision and a
// durable intent record, and it knows nothing of wire formats.
package gate

import (
	"encoding/json"
	"io"
	"time"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/sandbox"
)

// Caller is the authenticated identity of a host. Fronts make it; the zero
// value is refused.
type Caller struct {
	ID        string // "unix:uid:1000", "tcp:anonymous"
	Transport string // unix, tcp
	UID       *int   // of a unix socket's peer
	GID       *int
	PID       *int
	Exe       string // executable of the peer, when readable
	Tenant    string // set by the gate from Config.Profiles
}

// Agent is what the host says of itself, unauthenticated.
type Agent struct{ Name, Version, Model string }

// Call is one proposed tool execution.
type Call struct {
	// ID makes the call idempotent; empty means that the gate makes one (a UUIDv7).
	ID        string
	Caller    Caller
	Agent     Agent
	SessionID string // empty: no session, ephemeral workspace
	Profile   string // empty: the caller's default; must be one of the caller's
	Tool      string
	Args      json.RawMessage // a JSON object
	Cwd       string          // empty: the workspace
	Env       map[string]string
	Stdin     io.Reader // nil: empty
	// StdinDigest is "sha256:…" of Stdin when it is known beforehand, StdinBytes
	// its size; both unset for a streamed stdin.
	StdinDigest string
	StdinBytes  *int64
	// Terminal gives the program a terminal; nil: pipes. That there is one is part of the
	// digest, its size is not.
	Terminal *Terminal
	// Inputs are signals and new sizes of the terminal, taken while the program runs; nil:
	// none. Whoever sends MUST stop when Execute returns, and be ready to be left waiting
	// until then.
	Inputs <-chan sandbox.Input
	// WorkspaceDir is a directory of the machine to work on; permitted only where
	// the daemon's configuration says so.
	WorkspaceDir string
	// Timeout is the host's wish; it can shorten the deadline, never lengthen it.
	Timeout time.Duration
	// Detach runs the call in the background: see Start, which alone takes it. Its
	// deadline is that of Config.Background. It is no part of the digest.
	Detach bool
	// DetachOnDisconnect lets the call go on when the context of Execute ends.
	DetachOnDisconnect bool
	// WantChanges has all of the workspace looked at, where that is needed to tell which
	// files the call changes; else as much is looked at as takes about a millisecond.
	// NoChanges: they are not told. Neither is a part of the digest.
	WantChanges, NoChanges bool
}

// Terminal is what the host says of its own.
type Terminal struct {
	Size sandbox.TerminalSize // in characters; 0 by 0 means 24 by 80
	Term string               // its kind, the variable TERM unless Env has that; empty: xterm
}

// Outcome of a call as the host sees it: the sandbox's outcomes and the gate's own.
type Outcome string

// The gate's own outcomes; the others are those of sandbox.Outcome.
const (
	OutcomeDenied           Outcome = "DENIED"
	OutcomeApprovalRequired Outcome = "APPROVAL_REQUIRED"
)

// Result is the one structured answer to a call.
type Result struct {
	CallID   string
	Outcome  Outcome
	ExitCode int // -1 when there is none
	Signal   string
	Message  string // for START_FAILED, UNKNOWN, DENIED: one line
	// IsError is true for everything but EXITED with code 0.
	IsError        bool
	Stdout, Stderr sandbox.Output

	Duration        Durations
	ResultSizeBytes int64 // bytes of Stdout and Stderr that are returned
	Usage           sandbox.Usage
	Decision        policy.Decision
	Receipt         *sandbox.Receipt // nil when nothing ran
	Effects         *Effects         // of a transactional call; nil: it was none, or what it left is not known
	Changes         *Changes         // nil: not known, or nothing ran, or there is no workspace that stays
	ChangesUnknown  ChangesUnknown   // why Changes is nil, or not all
	Digest          string           // of the call, as the host sent it
	Redactions      map[string]int64 // how often which secret was taken out of the output; nil: never
	ApprovalID      string           // of the approval that the call waits for, ran by or was denied for; empty: none
	Replayed        bool             // a stored result of an earlier call with this id
}

// Durations splits the time of a call.
type Durations struct{ Queue, Decide, Start, Run, Total time.Duration }

// Evaluation is the answer to a call that is only to be decided.
type Evaluation struct {
	CallID   string
	Digest   string
	Decision policy.Decision
	Input    json.RawMessage // the input document that policy saw, if it was asked for
}

// Observer is told of a call's progress: first Decided, when the call is refused
// or has its place among those that run, then (if it runs) Started, then Output chunks. Optional methods do not exist: implement all.
type Observer interface {
	Decided(callID string, d policy.Decision)
	Started(r sandbox.Receipt)
	Output(stream sandbox.Stream, offset int64, data []byte)
}

// Tracer is an Observer that wants to know where the time of its call went, too.
// Traced is called before Execute returns, unless the call is a replay.
type Tracer interface {
	Observer
	Traced(t telemetry.Trace)
}
